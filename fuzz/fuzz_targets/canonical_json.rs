//! What is accepted as arguments has one spelling, and that spelling is accepted again as the same value.
#![no_main]

use are_core::canonical::{Args, parse_strict, to_canonical};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = parse_strict(bytes) {
        // A number may be read and yet have no canonical form; it is then refused, never changed.
        if let Ok(text) = to_canonical(&value) {
            let again = parse_strict(text.as_bytes()).expect("the canonical form is accepted");
            assert_eq!(to_canonical(&again).expect("and has a canonical form"), text);
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(args) = Args::parse(text)
    {
        let again = Args::parse(args.as_str()).expect("canonical arguments are accepted");
        assert_eq!((again.as_str(), again.digest()), (args.as_str(), args.digest()));
    }
});
