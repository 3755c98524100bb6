/// `INSTA_UPDATE=always` writes it anew.
#[test]
fn the_component_is_its_text() {
    let made = wat::parse_str(include_str!("guest.wat")).expect("text");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/wasm/bench/guest.wasm");
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&path, &made).expect("written");
    }
    assert!(std::fs::read(&path).expect("component") == made, "make it anew with INSTA_UPDATE=always");
}
