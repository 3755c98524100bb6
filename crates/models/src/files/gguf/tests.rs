use std::io::{Seek, SeekFrom, Write};

use super::*;

/// A small but complete file: one string key, one array key, one tensor.
fn sound() -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(MAGIC);
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend(1_u64.to_le_bytes());
    bytes.extend(2_u64.to_le_bytes());
    text(&mut bytes, "general.name");
    bytes.extend(8_u32.to_le_bytes());
    text(&mut bytes, "tiny");
    text(&mut bytes, "tokenizer.ggml.tokens");
    bytes.extend(9_u32.to_le_bytes());
    bytes.extend(8_u32.to_le_bytes());
    bytes.extend(2_u64.to_le_bytes());
    text(&mut bytes, "a");
    text(&mut bytes, "b");
    text(&mut bytes, "output.weight");
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(8_u64.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(32) + 32, 7);
    bytes
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn checked(bytes: &[u8]) -> Result<(), Flaw> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    check(file)
}

#[test]
fn a_whole_file_passes_and_every_shorter_one_is_refused() {
    let bytes = sound();
    checked(&bytes).unwrap();

    // The last tensor's 32 bytes are llama.cpp's to count; all before is ours.
    for length in 0..=bytes.len() - 32 {
        checked(&bytes[..length]).expect_err("a cut file must not pass");
    }
}

#[test]
fn a_byte_changed_in_a_header_never_panics_and_never_allocates_what_it_claims() {
    let bytes = sound();
    for position in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut damaged = bytes.clone();
            damaged[position] = value;
            let _verdict = checked(&damaged);
        }
    }
}

#[test]
fn other_kinds_and_versions_of_files_are_named() {
    assert!(matches!(checked(b"PK\x03\x04 a zip archive, say"), Err(Flaw::Magic)));
    assert!(matches!(checked(b""), Err(Flaw::Magic)));
    assert!(matches!(checked(b"GGUF\x01\0\0\0\0\0\0\0"), Err(Flaw::Version(1))));
}
