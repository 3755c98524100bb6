use super::*;

const NOW_MS: u64 = 1_700_000_000_000;

fn draw() -> impl FnMut() -> [u8; 32] {
    let mut next = 0_u8;
    move || {
        next += 1;
        let mut bytes = [next; 32];
        bytes[0] = 0xa0;
        bytes
    }
}

fn master(byte: u8) -> Master {
    Master { keys: vec![MasterKey::new(Zeroizing::new([byte; 32]))], ..Master::none() }
}

fn vault(rows: Vec<SealedRow>, master: Master) -> Vault {
    Vault::new(rows, master, vec!["the-providers-key".to_owned()], Live::default())
}

fn account(text: &str) -> AccountId {
    text.parse().unwrap()
}

fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

fn bound_to(host: &str) -> BoundTo {
    BoundTo::read(&[host.to_owned()], &[]).unwrap()
}

/// A vault with two secrets of alice's and one of bob's, and all rows behind it.
fn filled() -> (Vault, Vec<SealedRow>) {
    let vault = vault(Vec::new(), master(1));
    let mut random = draw();
    let mut all = Vec::new();
    for (who, what, value) in
        [("alice", "a", "value-of-a-1"), ("alice", "b", "value-of-b-2"), ("bob", "a", "value-of-bob")]
    {
        let rows =
            vault.sealed((&account(who), &name(what)), value, &bound_to("h.example"), NOW_MS, &mut random).unwrap();
        vault.take_in(rows.clone());
        all.extend(rows);
    }
    assert_eq!(all.len(), 4, "the first comes with its key");
    (vault, all)
}

fn value(vault: &Vault, who: &str, what: &str) -> Result<String, Code> {
    vault.open(&account(who), &name(what)).map(|opened| opened.value.to_string()).map_err(|fault| fault.code)
}

#[test]
fn what_is_sealed_opens_again_and_holds_no_value() {
    let (_, rows) = filled();
    for row in &rows {
        let bytes = format!("{row:?}");
        assert!(!bytes.contains("value-of") && !String::from_utf8_lossy(&row.sealed).contains("value-of"));
    }
    let again = vault(rows, master(1));
    assert_eq!(value(&again, "alice", "a").unwrap(), "value-of-a-1");
    assert_eq!(value(&again, "bob", "a").unwrap(), "value-of-bob");
    assert_eq!(value(&again, "bob", "b").unwrap_err(), Code::SECRET_UNKNOWN);
    assert!(again.closed().is_none());
}

#[test]
fn rows_that_were_exchanged_or_edited_do_not_open() {
    let (_, rows) = filled();
    let edits: [(&str, fn(&mut Vec<SealedRow>)); 6] = [
        ("values of two names exchanged", |rows| {
            let sealed = rows[1].sealed.clone();
            rows[1].sealed = rows[2].sealed.clone();
            rows[2].sealed = sealed;
        }),
        ("another account's", |rows| rows[1].sealed = rows[3].sealed.clone()),
        ("bound to another host", |rows| rows[1].bound_to = rows[1].bound_to.replace("h.example", "e.example")),
        ("a bit", |rows| *rows[1].sealed.last_mut().unwrap() ^= 1),
        ("cut off", |rows| rows[1].sealed.truncate(30)),
        ("nothing", |rows| rows[1].sealed.clear()),
    ];
    for (what, edit) in edits {
        let mut rows = rows.clone();
        edit(&mut rows);
        let edited = vault(rows, master(1));
        assert_eq!(value(&edited, "alice", "a").unwrap_err(), Code::SECRET_CORRUPT, "{what}");
    }
    let mut given_away = rows.clone();
    given_away[1].account = Some(account("mallory"));
    assert_eq!(value(&vault(given_away, master(1)), "mallory", "a").unwrap_err(), Code::SECRET_CORRUPT);
}

#[test]
fn without_its_master_key_nothing_opens_nothing_is_written_over_and_the_ids_tell() {
    let (_, rows) = filled();
    for (keys, given) in [(master(2), "`"), (Master::none(), "none")] {
        let locked = vault(rows.clone(), keys);
        let fault = locked.closed().unwrap();
        assert_eq!(fault.code, Code::SECRETS_LOCKED);
        assert!(fault.message.contains(&rows[0].name) && fault.message.contains(&rows[0].key), "{}", fault.message);
        assert!(fault.message.contains(given), "{}", fault.message);
        assert_eq!(value(&locked, "alice", "a").unwrap_err(), Code::SECRETS_LOCKED);
        assert!(!locked.needs_master(), "a second master key would hide the first");
        let set = locked.sealed((&account("alice"), &name("a")), "a-new-value", &bound_to("h.example"), NOW_MS, draw());
        assert_eq!(set.unwrap_err().code, Code::SECRETS_LOCKED);
        assert_eq!(locked.resealing(NOW_MS, draw()).err().unwrap().code, Code::SECRETS_LOCKED);
        assert_eq!(locked.list(&account("alice")).iter().filter(|(_, is_readable)| *is_readable).count(), 0);
    }
    let mut both = master(2);
    both.keys.extend(master(1).keys);
    assert!(vault(rows, both).closed().is_none(), "an older key behind the one in use opens what it sealed");
}

#[test]
fn after_each_append_of_a_rotation_every_secret_opens() {
    let (_, mut rows) = filled();
    let mut random = draw();
    let first = vault(rows.clone(), master(1));
    for number in 0..150 {
        let own = first.sealed(
            (&account("carol"), &name(&format!("n{number}"))),
            "value-of-carol",
            &bound_to("h.example"),
            NOW_MS,
            &mut random,
        );
        // Limits are the caller's to ask for; what is stored is sealed anew all the same.
        rows.extend(own.unwrap());
    }
    let mut keys = master(2);
    keys.keys.extend(master(1).keys);
    let vault_before = vault(rows.clone(), keys.clone());
    let resealing = vault_before.resealing(NOW_MS + 1, &mut random).unwrap();
    let appends = resealing.appends();
    assert!(appends.len() > 2, "it takes more than one append");
    let mut stored: BTreeMap<(Option<AccountId>, String), SealedRow> =
        rows.into_iter().map(|row| ((row.account.clone(), row.name.clone()), row)).collect();
    for (step, (_, changes)) in appends.into_iter().enumerate() {
        for change in changes {
            match change {
                Change::PutSealed(row) => drop(stored.insert((row.account.clone(), row.name.clone()), row)),
                Change::DropSealed(account, name) => drop(stored.remove(&(account, name))),
                other => panic!("{other:?}"),
            }
        }
        let killed_here = vault(stored.values().cloned().collect(), keys.clone());
        assert!(killed_here.closed().is_none(), "step {step}");
        assert_eq!(value(&killed_here, "alice", "a").unwrap(), "value-of-a-1");
        assert_eq!(value(&killed_here, "bob", "a").unwrap(), "value-of-bob");
        assert_eq!(value(&killed_here, "carol", "n149").unwrap(), "value-of-carol");
        // And it can be begun again from there.
        assert!(killed_here.resealing(NOW_MS + 2, draw()).is_ok(), "step {step}");
    }
    let after = vault(stored.values().cloned().collect(), master(2));
    assert!(after.closed().is_none(), "the older master key is not needed any more");
    assert_eq!(value(&after, "alice", "b").unwrap(), "value-of-b-2");
    assert_eq!(stored.keys().filter(|(account, _)| account.is_none()).count(), 1);
}

#[test]
fn limits_are_told_and_keep_values_findable() {
    let (vault, _) = filled();
    let admit = |value: &str| vault.admit(&account("alice"), &name("c"), value).map_err(|fault| fault.code);
    assert_eq!(admit("1234567"), Err(Code::SECRET_LIMIT));
    assert_eq!(admit("12345678"), Ok(()));
    assert_eq!(admit("1234\u{0}5678"), Err(Code::SECRET_LIMIT));
    assert_eq!(admit(&"x".repeat(VALUE_BYTES_MAX + 1)), Err(Code::SECRET_LIMIT));
    let big = "y".repeat(VALUE_BYTES_MAX);
    let mut random = draw();
    for number in 0..7 {
        let rows = vault.sealed(
            (&account("dora"), &name(&format!("n{number}"))),
            &big,
            &bound_to("h.example"),
            NOW_MS,
            &mut random,
        );
        vault.take_in(rows.unwrap());
    }
    assert!(vault.admit(&account("dora"), &name("n7"), &big).is_ok());
    assert!(vault.admit(&account("dora"), &name("n6"), &big).is_ok(), "in place of itself");
    vault.take_in(
        vault.sealed((&account("dora"), &name("n7")), &big, &bound_to("h.example"), NOW_MS, &mut random).unwrap(),
    );
    assert_eq!(vault.admit(&account("dora"), &name("n8"), "12345678").unwrap_err().code, Code::SECRET_LIMIT);
}

#[test]
fn an_accounts_texts_lose_its_own_values_and_no_others() {
    let (vault, _) = filled();
    let alice = |text: &str| vault.scrubber(&account("alice")).clean(text.to_owned());
    assert_eq!(
        alice("a value-of-a-1 the-providers-key value-of-bob"),
        "a [secret removed] [secret removed] value-of-bob"
    );
    // What was replaced or deleted may still be on its way.
    let mut random = draw();
    let rows =
        vault.sealed((&account("alice"), &name("a")), "another-value", &bound_to("h.example"), NOW_MS, &mut random);
    vault.take_in(rows.unwrap());
    vault.forget(&account("alice"), &[name("b")]);
    assert_eq!(alice("value-of-a-1 another-value value-of-b-2"), "[secret removed] [secret removed] [secret removed]");
    assert_eq!(value(&vault, "alice", "b").unwrap_err(), Code::SECRET_UNKNOWN);
    // The log loses what is known of any account by then.
    let live = vault.live.clone();
    assert_eq!(live.clean("another-value value-of-bob".to_owned()), "[secret removed] value-of-bob");
    vault.scrubber(&account("bob"));
    assert_eq!(live.clean("another-value value-of-bob".to_owned()), "[secret removed] [secret removed]");
}

#[test]
fn master_keys_are_32_bytes_and_no_passphrase() {
    let key = MasterKey::new(Zeroizing::new([7; 32]));
    for text in [
        key.to_text().to_string(),
        key.to_text().to_uppercase(),
        "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=".to_owned(),
    ] {
        assert_eq!(MasterKey::read(&text).unwrap().id(), key.id(), "{text}");
    }
    for text in ["", "correct horse battery staple", "07", &"0".repeat(63), &"g".repeat(64), "BwcHBw=="] {
        assert!(MasterKey::read(text).is_none(), "{text}");
    }
    assert!(!key.to_text().contains(key.id()));
}
