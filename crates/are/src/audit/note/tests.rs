use super::*;

fn key(seed: u8, name: &str) -> Key {
    Key::made(name, &[seed; 32]).unwrap()
}

fn keys(of: &[&Key]) -> VerifierKeys {
    VerifierKeys::parse(&of.iter().map(|key| key.vkey()).collect::<Vec<_>>().join("\n")).unwrap()
}

fn head(origin: &str) -> Head {
    Head { origin: origin.to_owned(), size: 7, root: Digest::of(&[b"root"]) }
}

#[test]
fn a_checkpoint_opens_with_each_key_that_signed_it_and_with_no_other() {
    let (old, new, stranger) = (key(1, "log.example"), key(2, "log.example"), key(3, "log.example"));
    let note = sign(&head("log.example"), &[&old, &new]).unwrap();
    for known in [keys(&[&old]), keys(&[&new]), keys(&[&stranger, &new])] {
        assert_eq!(open(&note, &known), Ok(head("log.example")));
    }
    assert_eq!(open(&note, &keys(&[&stranger])), Err(Rejected::Unsigned));
    assert_eq!(Key::parse(old.text().expose()).unwrap().vkey(), old.vkey());
}

#[test]
fn an_edited_note_a_foreign_origin_and_another_form_are_refused() {
    let signing = key(1, "log.example");
    let known = keys(&[&signing]);
    let note = sign(&head("log.example"), &[&signing]).unwrap();
    let edited = note.replacen("\n7\n", "\n8\n", 1);
    assert!(matches!(open(&edited, &known), Err(Rejected::Forged(_))));
    let foreign = sign(&head("other.example"), &[&signing]).unwrap();
    assert_eq!(open(&foreign, &known), Err(Rejected::Foreign("other.example".to_owned())));
    for odd in ["", "x", note.trim_end(), &note.replacen("\n7\n", "\n07\n", 1), &note.replace('\n', "\r\n")] {
        assert!(open(odd, &known).is_err(), "{odd:?}");
    }
    let huge = Head { size: u64::MAX, ..head("log.example") };
    assert_eq!(open(&sign(&huge, &[&signing]).unwrap(), &known), Err(Rejected::Malformed));
}

#[test]
fn notes_are_found_in_a_text_of_several() {
    let signing = key(1, "log.example");
    let one = sign(&head("log.example"), &[&signing]).unwrap();
    let two = sign(&Head { size: 9, ..head("log.example") }, &[&signing, &key(2, "log.example")]).unwrap();
    assert_eq!(split(&format!("{one}{two}{one}")), [&one, &two, &one]);
    assert_eq!(split(&format!("{one}\n{two}\n\n")), [&one, &two]);
    assert_eq!(split(""), [""; 0]);
}

#[test]
fn names_that_notes_cannot_hold_make_no_key() {
    for name in ["", "a b", "a+b", "a\nb", "a\u{7}b", &"x".repeat(129)] {
        assert_eq!(Key::made(name, &[1; 32]).err().map(|fault| fault.code), Some(Code::AUDIT_KEY), "{name:?}");
    }
}
