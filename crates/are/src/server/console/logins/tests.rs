use http::HeaderValue;

use super::*;

const NOW: u64 = 1_790_000_000_000;

fn account(name: &str) -> AccountId {
    name.parse().unwrap()
}

fn with_cookie(cookie: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(cookie).unwrap())])
}

fn open(logins: &Logins, seed: u8, name: &str) -> Opened {
    open_at(logins, seed, name, NOW)
}

fn open_at(logins: &Logins, seed: u8, name: &str, now_ms: u64) -> Opened {
    logins.open(Root::Operator, account(name), [&[seed; 32], &[seed + 1; 32], &[seed + 2; 32]], now_ms).unwrap()
}

#[test]
fn a_code_is_good_once_and_for_a_minute() {
    let logins = Logins::default();
    let root = Root::Token("abc".into());
    let first = logins.offer(root.clone(), &[1; 32], NOW).unwrap();
    let late = logins.offer(Root::Operator, &[2; 32], NOW).unwrap();
    assert_eq!(logins.redeem("", NOW), None);
    assert_eq!(logins.redeem(&first, NOW + CODE_MS - 1), Some(root));
    assert_eq!(logins.redeem(&first, NOW), None);
    assert_eq!(logins.redeem(&late, NOW + CODE_MS), None);
    assert_eq!(logins.redeem(&late, NOW), None, "a code that came too late is used up");
    for n in 0..CODES_MAX {
        logins.offer(Root::Operator, &[u8::try_from(n).unwrap(); 32], NOW).unwrap();
    }
    assert_eq!(logins.offer(Root::Operator, &[255; 32], NOW).unwrap_err().code, Code::ACCOUNT_LIMIT);
    logins.offer(Root::Operator, &[255; 32], NOW + CODE_MS).unwrap();
}

#[test]
fn a_login_needs_both_halves_of_itself() {
    let logins = Logins::default();
    let (one, other) = (open(&logins, 10, "admin"), open(&logins, 20, "admin"));
    let seen = |half: &str, cookie: &str| logins.recognise(half, &with_cookie(cookie), NOW).map(|login| login.id);
    assert_eq!(seen(&one.half, &one.cookie), Some(one.id.clone()));
    assert_eq!(seen(&one.half, &format!("{}; x=1; {}", other.cookie, one.cookie)), Some(one.id.clone()));
    let crossed = format!("{}={}", one.cookie.split('=').next().unwrap(), other.cookie.split('=').nth(1).unwrap());
    for cookie in ["", "x=1", &other.cookie, &crossed, &format!("{0}; {0}", one.cookie)] {
        assert_eq!(seen(&one.half, cookie), None, "{cookie}");
    }
    for half in ["", "arehalf_", &format!("{}x", one.half), &one.half.replace("arehalf_", "are_")] {
        assert_eq!(seen(half, &one.cookie), None, "{half}");
    }
    logins.close(&one.id);
    assert_eq!(seen(&one.half, &one.cookie), None);
    assert_eq!(logins.stale_cookies(&with_cookie(&format!("{}; {}", one.cookie, other.cookie))).len(), 1);
}

#[test]
fn a_login_ends_unused_and_by_its_age_and_takes_what_it_opened_along() {
    let logins = Logins::default();
    let login = open(&logins, 1, "admin");
    let at = |now_ms| logins.recognise(&login.half, &with_cookie(&login.cookie), now_ms);
    let tie = at(NOW).unwrap().open;
    assert_eq!(logins.expire(NOW), Some(NOW + IDLE_MS));
    let mut now_ms = NOW;
    while now_ms + IDLE_MS <= NOW + AGE_MS {
        now_ms += IDLE_MS - 1;
        assert!(at(now_ms).is_some() || now_ms >= NOW + AGE_MS);
    }
    assert!(!tie.is_cancelled());
    assert!(at(NOW + AGE_MS).is_none());
    assert_eq!(logins.expire(NOW + AGE_MS), None);
    assert!(tie.is_cancelled());
}

#[test]
fn an_account_that_logs_in_often_ends_its_own_logins_only() {
    let logins = Logins::default();
    let other = open(&logins, 200, "bob");
    let first = open(&logins, 0, "alice");
    let mut last = first.id.clone();
    for n in 1..=PER_ACCOUNT_MAX {
        last = open_at(&logins, u8::try_from(n * 3).unwrap(), "alice", NOW + n as u64).id;
    }
    let is_open = |login: &Opened| logins.recognise(&login.half, &with_cookie(&login.cookie), NOW).is_some();
    assert!(is_open(&other) && !is_open(&first));
    assert!(logins.inside().logins.contains_key(&last));
    assert_eq!(logins.inside().logins.len(), PER_ACCOUNT_MAX + 1);
}
