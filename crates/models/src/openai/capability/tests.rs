use super::{Capability, of};

#[test]
fn families_are_known_by_their_longest_prefix() {
    for (id, context, takes_temperature) in [
        ("gpt-5", 400_000, false),
        ("gpt-5.1-mini", 400_000, false),
        ("gpt-5-chat-latest", 128_000, true),
        ("openai/o3-mini", 200_000, false),
        ("o1-mini-2024-09-12", 128_000, false),
        ("o4-mini", 200_000, false),
        ("gpt-4.1-nano", 1_047_576, true),
        ("gpt-4o-mini", 128_000, true),
        ("gpt-4-0613", 8_192, true),
    ] {
        let known = of(id, &[]);
        assert_eq!((known.context_tokens, known.takes_temperature), (context, takes_temperature), "{id}");
    }
}

#[test]
fn what_reads_text_alone_is_known_and_any_other_is_taken_to_see() {
    for (id, takes_images) in [
        ("gpt-5.1", true),
        ("gpt-4o-mini", true),
        ("gpt-4-turbo", true),
        ("gpt-4-0613", false),
        ("openai/o3-mini", false),
        ("o3", true),
        ("gpt-oss-120b", false),
        ("deepseek-chat", false),
        ("llava:13b", true),
    ] {
        assert_eq!(of(id, &[]).takes_images, takes_images, "{id}");
    }
}

#[test]
fn unknown_models_pass_with_defaults() {
    for id in ["llama3.3:70b", "o10", "gpt-50", ""] {
        let known = of(id, &[]);
        assert_eq!(
            (known.context_tokens, known.output_tokens, known.takes_temperature),
            (128_000, 16_384, true),
            "{id}"
        );
    }
}

#[test]
fn the_configuration_comes_first() {
    let own = Capability { id: "gpt-5".to_owned(), context_tokens: Some(7), ..Capability::default() };
    let known = of("gpt-5", &[own]);
    assert_eq!((known.context_tokens, known.output_tokens, known.takes_temperature), (7, 128_000, false));
}
