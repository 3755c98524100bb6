use agent_client_protocol::v1::schema::{
    AudioContent, EmbeddedResource, ImageContent, ResourceLink, TextResourceContents,
};

use super::*;

fn told(block: ContentBlock) -> Result<Value, Fault> {
    parts(vec![block], Some(Path::new("/home/me/project"))).map(|parts| parts[0].clone())
}

fn blob(bytes: &[u8]) -> ContentBlock {
    let contents = BlobResourceContents::new(STANDARD.encode(bytes), "file:///etc/motd");
    ContentBlock::Resource(EmbeddedResource::new(EmbeddedResourceResource::BlobResourceContents(contents)))
}

#[test]
fn only_text_is_the_users_word_and_attachments_are_files() {
    assert_eq!(told("hi".into()).unwrap(), json!({"type": "text", "text": "hi"}));
    let text = TextResourceContents::new("let x;", "file:///home/me/project/src/a%20b.rs").mime_type("text/rust");
    let text = EmbeddedResource::new(EmbeddedResourceResource::TextResourceContents(text));
    let file = json!({"type": "file", "name": "src/a b.rs", "media_type": "text/rust", "data": "let x;"});
    assert_eq!(told(ContentBlock::Resource(text)).unwrap(), file);
    let link = ResourceLink::new("page", "https://example.org/x");
    let file = json!({"type": "file", "name": "https://example.org/x", "media_type": ADDRESSES, "data": "https://example.org/x"});
    assert_eq!(told(ContentBlock::ResourceLink(link)).unwrap(), file);
    let file = json!({"type": "file", "name": "/etc/motd", "media_type": PLAIN, "data": "hello"});
    assert_eq!(told(blob(b"hello")).unwrap(), file);
}

#[test]
fn an_image_is_shown_however_it_is_attached() {
    let image = json!({"type": "image", "media_type": "image/png", "data": "AAAA"});
    assert_eq!(told(ContentBlock::Image(ImageContent::new("AAAA", "image/PNG"))).unwrap(), image);
    let blob = BlobResourceContents::new("AAAA", "file:///a.png").mime_type("image/png");
    let blob = EmbeddedResource::new(EmbeddedResourceResource::BlobResourceContents(blob));
    assert_eq!(told(ContentBlock::Resource(blob)).unwrap(), image);
}

#[test]
fn what_is_neither_text_nor_image_is_refused_by_name() {
    let sound = ContentBlock::Audio(AudioContent::new("AAAA", "audio/wav"));
    let broken =
        EmbeddedResource::new(EmbeddedResourceResource::BlobResourceContents(BlobResourceContents::new("%", "x")));
    for block in [sound, blob(&[0xff, 0xfe]), ContentBlock::Resource(broken)] {
        assert_eq!(told(block).unwrap_err().code, Code::REQUEST_INVALID);
    }
}

#[test]
fn names_and_kinds_are_such_as_the_server_takes() {
    let long = format!("https://example.org/{}", "ü".repeat(400));
    let name = name(&long, None);
    assert!(name.len() <= NAME_BYTES_MAX && name.starts_with('…') && name.ends_with('ü'), "{name}");
    assert_eq!(super::name("a\nb\u{202e}c", None), "a b\\u{202e}c");
    assert_eq!(kind(Some("text/\u{7}")), PLAIN);
    assert_eq!(kind(Some(&"x".repeat(300))), PLAIN);
    assert_eq!(kind(None), PLAIN);
}
