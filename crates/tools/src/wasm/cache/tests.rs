use are_core::digest::Digest;

use super::seal;

/// The construction is HMAC-SHA-256: the same bytes by the definition's own words.
#[test]
fn an_entry_is_sealed_by_key_name_and_code() {
    let (key, name) = ([0x0b; 32], Digest::of(&[b"name"]));
    let sealed = seal(&key, &name, b"code");
    for (key, name, code) in [([0x0c; 32], name, "code"), (key, Digest::of(&[b"other"]), "code"), (key, name, "cod")] {
        assert_ne!(seal(&key, &name, code.as_bytes()), sealed);
    }
    let (mut inner, mut outer) = (vec![0x36 ^ 0x0b; 32], vec![0x5c ^ 0x0b; 32]);
    inner.resize(64, 0x36);
    outer.resize(64, 0x5c);
    inner.extend(name.0);
    inner.extend(b"code");
    outer.extend(Digest::of(&[&inner]).0);
    assert_eq!(sealed, Digest::of(&[&outer]));
}
