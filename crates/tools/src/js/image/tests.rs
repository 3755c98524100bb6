use super::*;

#[test]
fn only_what_differs_is_kept() {
    let base = vec![7_u8; PAGE * 3];
    let mut memory = base.clone();
    memory.resize(PAGE * 5, 0);
    memory[PAGE + 5] = 1;
    memory[PAGE * 4] = 2;
    let image = Image::between(&base, &memory);
    assert_eq!(image.pages.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [PAGE, PAGE * 4]);
    assert_eq!(image.bytes, PAGE * 5);
}

#[test]
fn numbers_are_written_as_they_are_read() {
    for value in [0, 1, 63, 64, 127, 128, 16_383, 16_384, 1 << 20, u32::MAX as usize] {
        let mut bytes = Vec::new();
        write_number(&mut bytes, value);
        assert_eq!(read_number(&bytes), Some((value, &[][..])), "{value}");
    }
    assert_eq!(read_number(&[0x80; 9]), None);
    let mut bytes = Vec::new();
    write_signed(&mut bytes, 64);
    assert_eq!(bytes, [0xc0, 0], "a number whose sixth bit is set needs a further byte, or it is negative");
}

#[test]
fn a_module_that_is_cut_off_is_none() {
    assert_eq!(with_memory(b"\0asm", &[]), None);
    assert_eq!(with_memory(b"\0asm\x01\0\0\0\x05\x09", &[]), None);
    assert!(with_memory(b"\0asm\x01\0\0\0", &[]).is_some());
}
