//! Stored bytes are read back as what they say or refused; nothing that was not sealed is taken for a chain.
#![no_main]

use are_core::ids::SessionKey;
use are_core::journal::{Class, Head, Reader, Row, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, u64, Vec<u8>, Option<([u8; 32], Vec<u8>)>)| {
    let (is_frame, seq, bytes, payload) = input;
    let session = SessionKey::new(1_700_000_000_000, &[7; 32]);
    let class = if is_frame { Class::Frame } else { Class::Record };
    let row = Row { seq, class, bytes, payload };
    let decoded = decode(session, &row);
    if let Ok(entry) = &decoded {
        assert_eq!(entry.seq(), seq);
    }
    let mut reader = Reader::new(session, Head::EMPTY);
    let read = reader.next(&row);
    // The chain never takes what alone would be refused.
    assert!(read.is_err() || decoded.is_ok());
    assert!(read.is_ok() || reader.head() == Head::EMPTY);
});
