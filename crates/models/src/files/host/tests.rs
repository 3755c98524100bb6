use super::*;

#[test]
fn free_memory_is_read_as_the_kernel_writes_it_and_nothing_else() {
    let text = "MemTotal:       24604392 kB\nMemFree:          812312 kB\nMemAvailable:   12883404 kB\nBuffers: 1 kB\n";
    assert_eq!(free(text), Some(12_883_404 * 1024));
    for other in ["", "MemAvailable: many kB\n", "MemAvailable: 12\n", "MemAvailable: 18446744073709551615 kB\n"] {
        assert_eq!(free(other), None, "{other}");
    }
    assert!(memory_available().is_none_or(|bytes| bytes > 0));
}

#[test]
fn a_process_has_one_group_of_the_second_version() {
    assert_eq!(group("12:cpu:/x\n0::/user.slice/a.scope\n").as_deref(), Some("/user.slice/a.scope"));
    assert_eq!(group("0::/\n").as_deref(), Some(""));
    assert_eq!(group("3:memory:/x\n"), None);
}
