use super::*;

fn refused(guard: &Guard, path: &Path) -> String {
    let fault = guard.check(path).expect_err("refused");
    assert_eq!(fault.code, Code::WORKSPACE_REFUSED);
    fault.message
}

#[test]
fn the_root_and_a_bare_home_are_no_workspaces_but_what_is_below_is() {
    let home = tempfile::tempdir().expect("tempdir");
    let project = home.path().join("project");
    std::fs::create_dir(&project).expect("mkdir");
    let guard = Guard { home: Some(home.path().to_owned()), kept_apart: Vec::new() };
    assert!(refused(&guard, Path::new("/")).ends_with("it is the whole file system"));
    assert!(refused(&guard, home.path()).ends_with("it is the whole home directory"));
    assert!(refused(&guard, &project.join("..")).ends_with("it is the whole home directory"));
    assert_eq!(guard.check(&project).expect("fine"), std::fs::canonicalize(&project).expect("there"));
}

#[test]
fn a_link_is_judged_by_where_it_leads() {
    let dir = tempfile::tempdir().expect("tempdir");
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("/", &link).expect("link");
    assert!(refused(&Guard::default(), &link).ends_with("it is the whole file system"));
}

#[test]
fn workspace_and_data_directory_never_overlap_in_either_direction() {
    let dir = tempfile::tempdir().expect("tempdir");
    let data = dir.path().join("work/data");
    std::fs::create_dir_all(data.join("inside")).expect("mkdir");
    let guard = Guard { home: None, kept_apart: vec![data.clone()] };
    for path in [dir.path().join("work"), data.clone(), data.join("inside")] {
        assert!(refused(&guard, &path).contains("overlaps"), "{}", path.display());
    }
    std::fs::create_dir(dir.path().join("work/database")).expect("mkdir");
    assert!(guard.check(&dir.path().join("work/database")).is_ok(), "a longer name is another directory");
}

#[test]
fn files_missing_and_relative_paths_are_refused() {
    let dir = tempfile::tempdir().expect("tempdir");
    let file = dir.path().join("file");
    std::fs::write(&file, "x").expect("write");
    let guard = Guard::default();
    assert!(refused(&guard, &file).contains("not a directory"));
    assert!(refused(&guard, &dir.path().join("missing")).contains("cannot be a workspace"));
    assert!(refused(&guard, Path::new("relative")).ends_with("it is not an absolute path"));
}
