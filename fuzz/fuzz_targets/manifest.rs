//! Manifests, their schemas, and arguments checked against them: the digest is the declaration's, whatever it is.
#![no_main]

use are_core::canonical::Args;
use are_policy::manifest::ToolSet;
use are_policy::schema;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &str)| {
    let (bytes, args) = input;
    let Some(tools) = ToolSet::from_object(bytes) else { return };
    let again = ToolSet::from_object(&tools.object()).expect("a set is read back");
    assert_eq!(again.digest(), tools.digest());
    let args = Args::parse(args);
    for (manifest, digest) in tools.iter() {
        assert_eq!(manifest.digest(), digest);
        let is_supported = schema::supported(&manifest.schema).is_ok();
        if let Ok(args) = &args {
            // What cannot be enforced must not end the process either.
            let fits = schema::validate(manifest, args).is_ok();
            let _ = (is_supported, fits, manifest.effect_of(args));
            drop(manifest.labels(&serde_json::Value::Object(args.to_map()), "fuzz#1"));
        }
    }
});
