use super::*;

fn sqlite(extended: i32) -> Trouble {
    Trouble::from(rusqlite::Error::SqliteFailure(ffi::Error::new(extended), None))
}

#[test]
fn each_sqlite_error_is_sorted_by_what_may_still_be_done() {
    assert!(matches!(sqlite(ffi::SQLITE_FULL), Trouble::Full));
    for damaged in [
        ffi::SQLITE_CORRUPT,
        ffi::SQLITE_NOTADB,
        ffi::SQLITE_CONSTRAINT_UNIQUE,
        ffi::SQLITE_IOERR_READ,
        ffi::SQLITE_IOERR_SHORT_READ,
    ] {
        assert!(matches!(sqlite(damaged), Trouble::Corrupt(_)), "{damaged}");
    }
    for unknown in [
        ffi::SQLITE_IOERR_FSYNC,
        ffi::SQLITE_IOERR_DIR_FSYNC,
        ffi::SQLITE_IOERR_WRITE,
        ffi::SQLITE_IOERR_SHMSIZE,
        ffi::SQLITE_IOERR,
        ffi::SQLITE_BUSY,
        ffi::SQLITE_NOMEM,
        ffi::SQLITE_READONLY,
        ffi::SQLITE_CANTOPEN,
    ] {
        assert!(matches!(sqlite(unknown), Trouble::Fatal(_)), "{unknown}");
    }
}

#[test]
fn a_write_beyond_the_quota_is_a_full_disk_and_a_sync_beyond_it_is_not() {
    let sorted = |extended, reason: io::ErrorKind| {
        Trouble::sorted(rusqlite::Error::SqliteFailure(ffi::Error::new(extended), None), &reason.into())
    };
    assert!(matches!(sorted(ffi::SQLITE_IOERR_WRITE, io::ErrorKind::QuotaExceeded), Trouble::Full));
    assert!(matches!(sorted(ffi::SQLITE_IOERR_WRITE, io::ErrorKind::Other), Trouble::Fatal(_)));
    for unknown in [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_TRUNCATE] {
        assert!(matches!(sorted(unknown, io::ErrorKind::QuotaExceeded), Trouble::Fatal(_)), "{unknown}");
    }
}

#[test]
fn open_errors_have_the_codes_of_the_interface() {
    let path = PathBuf::from("are.db");
    assert_eq!(OpenError::Locked { path: path.clone() }.code().to_string(), "ARE-0102");
    assert_eq!(OpenError::Mismatch { path: path.clone(), what: String::new() }.code().to_string(), "ARE-0307");
    assert_eq!(OpenError::TooNew { path: path.clone(), found: 2, known: 1 }.code().to_string(), "ARE-0308");
    for reason in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
        assert_eq!(OpenError::io(&path)(reason.into()).code().to_string(), "ARE-0306", "{reason}");
    }
}
