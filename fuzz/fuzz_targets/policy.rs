//! Rules are read or refused with their lines; what is kept is read back as the same rules.
#![no_main]

use are_policy::manifest::{Manifest, ToolSet};
use are_policy::rules::{Profile, Rules, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let files = [("fuzz.cedar".to_owned(), text.to_owned())];
    let none = ToolSet::new::<Manifest>([]).expect("an empty set");
    let found = check(&files, &none);
    if let Ok(rules) = Rules::new(Profile::Strict, &files) {
        assert!(found.is_ok(), "rules that are taken can be checked");
        let again = Rules::from_object(rules.object()).expect("kept rules are read back");
        assert_eq!(again.digest(), rules.digest());
    }
    // As bytes of a store they are somebody else's words too.
    drop(Rules::from_object(text.as_bytes()));
});
