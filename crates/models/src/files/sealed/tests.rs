use super::*;

fn text(plain: &Plain) -> String {
    fs::read_to_string(plain.path()).unwrap()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = paths.filter(|path| !path.ends_with(LOCK)).collect();
    files.sort();
    files
}

fn put(sealed: &mut Sealed, text: &str) -> u64 {
    sealed.put(|path| fs::write(path, text).is_ok()).unwrap().unwrap()
}

#[test]
fn what_was_sealed_comes_back_once_and_is_unreadable_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let mut sealed = Sealed::open(dir.path().join("cache")).unwrap();
    let number = put(&mut sealed, "what somebody said");
    let [file]: [PathBuf; 1] = files(&dir.path().join("cache")).try_into().unwrap();
    let bytes = fs::read(&file).unwrap();
    assert!(!bytes.windows(4).any(|four| four == b"what"), "{bytes:?}");

    assert!(sealed.holds(number));
    assert_eq!(text(&sealed.take(number).unwrap()), "what somebody said");
    assert!(!sealed.holds(number) && sealed.take(number).is_none() && !file.exists());
}

#[test]
fn a_file_that_was_changed_or_exchanged_or_cut_off_is_none_and_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut sealed = Sealed::open(dir.path().to_owned()).unwrap();
    let numbers: Vec<u64> = ["first one", "second", "third", "fourth"].map(|text| put(&mut sealed, text)).into();
    let [changed, exchanged, other, cut]: [PathBuf; 4] = files(dir.path()).try_into().unwrap();
    let mut bytes = fs::read(&changed).unwrap();
    bytes[3] ^= 1;
    fs::write(&changed, bytes).unwrap();
    fs::copy(&other, &exchanged).unwrap();
    fs::write(&cut, b"too short").unwrap();

    let opened: Vec<bool> = numbers.iter().map(|number| sealed.take(*number).is_some()).collect();
    assert_eq!(opened, [false, false, true, false]);
    assert!(files(dir.path()).is_empty());
}

#[test]
fn nothing_is_left_of_a_process_that_ended_and_one_directory_has_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Sealed::open(dir.path().to_owned()).unwrap();
    put(&mut first, "said");
    assert!(Sealed::open(dir.path().to_owned()).is_err());
    drop(first);
    assert!(files(dir.path()).is_empty());

    fs::write(dir.path().join("7.sealed"), "of one that was killed").unwrap();
    let mut second = Sealed::open(dir.path().to_owned()).unwrap();
    assert!(files(dir.path()).is_empty() && second.take(7).is_none());
}

#[test]
fn what_cannot_be_written_is_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut sealed = Sealed::open(dir.path().to_owned()).unwrap();
    assert_eq!(sealed.put(|_| false).unwrap(), None);
    assert!(files(dir.path()).is_empty());
    assert!(Sealed::open(dir.path().join("lock/below-a-file")).is_err());
}
