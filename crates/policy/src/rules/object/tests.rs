use super::plain_path;

#[test]
fn paths_are_made_plain_so_that_no_spelling_slips_past_a_rule() {
    for (path, plain) in [
        ("notes.txt", "notes.txt"),
        ("./notes.txt", "notes.txt"),
        (".git/config", ".git/config"),
        ("a/../.git//config", ".git/config"),
        ("a/./b/../../.git/./config", ".git/config"),
        ("../a", "../a"),
        ("a/../../b", "../b"),
        ("../../a/..", "../.."),
        ("/a/../../b", "/b"),
        ("/", "/"),
        ("", "."),
        (".", "."),
        ("a/..", "."),
        ("dir/", "dir"),
    ] {
        assert_eq!(plain_path(path), plain, "{path}");
    }
}
