use super::{Thinking, of};

#[test]
fn families_are_known_by_their_longest_prefix() {
    for (id, context, output, thinking, takes_temperature) in [
        ("claude-opus-5-5", 1_000_000, 128_000, Thinking::Adaptive, false),
        ("anthropic/claude-sonnet-4-6", 1_000_000, 128_000, Thinking::Adaptive, false),
        ("claude-opus-4-5-20251101", 200_000, 64_000, Thinking::Budget, true),
        ("claude-opus-4-1-20250805", 200_000, 32_000, Thinking::Budget, true),
        ("claude-3-5-haiku-20241022", 200_000, 8_192, Thinking::None, true),
        ("claude-opus-50", 200_000, 64_000, Thinking::None, false),
        ("another-model", 128_000, 16_384, Thinking::None, true),
        ("", 128_000, 16_384, Thinking::None, true),
    ] {
        let known = of(id);
        let found = (known.context_tokens, known.output_tokens, known.thinking, known.takes_temperature);
        assert_eq!(found, (context, output, thinking, takes_temperature), "{id}");
    }
}

#[test]
fn levels_of_effort_are_in_order_and_only_where_there_is_thinking() {
    for id in ["claude-opus-5", "claude-sonnet-4-6", "claude-haiku-4-5", "claude-3-opus", "x"] {
        let known = of(id);
        assert!(known.efforts.is_sorted(), "{id}");
        assert_eq!(known.efforts.is_empty(), known.thinking == Thinking::None, "{id}");
    }
}
