use are_core::error::Code;
use are_core::label::Integrity;
use are_policy::tools::{ARTIFACT_BYTES_MAX, Binding};
use serde_json::json;

use crate::support::{World, label};

#[tokio::test]
async fn a_file_goes_back_as_it_is_and_as_bad_as_any_file() {
    let world = World::new();
    let picture = [0x89, b'P', b'N', b'G', 0, 0xff];
    world.write("out/chart.png", picture);
    let (value, _, bindings) = world.answer("artifact_save", json!({"path": "out/chart.png"})).await;
    assert_eq!(value, json!({"name": "chart.png", "media_type": "image/png", "bytes": 6}));
    let [Binding::Artifact { name, media_type, bytes, label }] = bindings.as_slice() else { panic!("{bindings:?}") };
    assert_eq!((name.as_str(), media_type.as_str(), bytes.as_slice()), ("chart.png", "image/png", picture.as_slice()));
    assert_eq!(label.integrity, Integrity::Untrusted);
}

#[tokio::test]
async fn a_text_is_as_good_as_what_it_was_made_from() {
    let world = World::new();
    let args = json!({"content": "# Report", "name": "../../report.md", "media_type": "text/x-report; a=b"});
    let (value, _, bindings) = world.answer("artifact_save", args).await;
    assert_eq!(value, json!({"name": "report.md", "media_type": "text/x-report", "bytes": 8}));
    let [Binding::Artifact { label: found, bytes, .. }] = bindings.as_slice() else { panic!("{bindings:?}") };
    assert_eq!((found, bytes.as_slice()), (&label(), b"# Report".as_slice()));
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused() {
    let mut world = World::new();
    world.write("large", vec![7; ARTIFACT_BYTES_MAX + 1]);
    world.write("small", "12345");
    for (args, code) in [
        (json!({"path": "large"}), Code::TOOL_FAILED),
        (json!({}), Code::TOOL_ARGS),
        (json!({"path": "small", "content": "x", "name": "x"}), Code::TOOL_ARGS),
        (json!({"content": "x"}), Code::TOOL_ARGS),
        (json!({"path": "../small"}), Code::PATH_REFUSED),
        (json!({"path": "/etc/passwd"}), Code::PATH_REFUSED),
        (json!({"path": "none"}), Code::TOOL_NOT_FOUND),
    ] {
        assert_eq!(world.fault("artifact_save", args.clone()).await.code, code, "{args}");
    }
    std::os::unix::fs::symlink("/etc/passwd", world.path("link")).expect("a link");
    world.fault("artifact_save", json!({"path": "link"})).await;
    world.artifact_room = 4;
    let fault = world.fault("artifact_save", json!({"path": "small"})).await;
    assert!(fault.message.contains("4 more can be kept"), "{}", fault.message);
}
