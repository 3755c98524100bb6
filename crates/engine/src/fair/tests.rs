use futures_util::FutureExt as _;

use super::*;

fn account(name: &str) -> AccountId {
    name.parse().unwrap()
}

#[tokio::test]
async fn one_account_has_half_of_the_places_and_others_need_not_wait_for_it() {
    let fair = Fair::new(4);
    let noisy = account("noisy");
    let held: Vec<_> = (0..2).map(|_| fair.try_enter(&noisy).unwrap()).collect();
    assert!(fair.try_enter(&noisy).is_none());
    let quiet = fair.try_enter(&account("quiet")).unwrap();
    drop((held, quiet));
    assert!(fair.try_enter(&noisy).is_some());
}

#[tokio::test]
async fn whoever_waits_gets_its_turn_before_the_many_calls_of_another() {
    let fair = Fair::new(2);
    let (noisy, quiet) = (account("noisy"), account("quiet"));
    let first = fair.try_enter(&noisy).unwrap();
    let other = fair.try_enter(&account("third")).unwrap();
    let mut many: Vec<_> = (0..50).map(|_| Box::pin(Arc::clone(&fair).enter(noisy.clone()))).collect();
    assert!(many.iter_mut().all(|one| one.now_or_never().is_none()));
    let mut one = Box::pin(Arc::clone(&fair).enter(quiet));
    assert!((&mut one).now_or_never().is_none());
    drop(first);
    let second = (&mut many[0]).now_or_never().expect("it waited first");
    drop(other);
    let third = (&mut one).now_or_never().expect("it is its turn, though 49 came before it");
    drop(second);
    let fourth = (&mut many[1]).now_or_never().expect("a place is free");
    drop((third, fourth, many));
    assert!(fair.try_enter(&noisy).is_some(), "waits that were given up hold nothing");
}

#[tokio::test]
async fn a_place_that_is_given_to_nobody_goes_to_the_next() {
    let fair = Fair::new(1);
    let held = fair.try_enter(&account("a")).unwrap();
    let mut gone = Box::pin(Arc::clone(&fair).enter(account("b")));
    assert!((&mut gone).now_or_never().is_none());
    let mut next = Box::pin(Arc::clone(&fair).enter(account("c")));
    assert!((&mut next).now_or_never().is_none());
    drop(held);
    // It was given the place, and leaves without looking.
    drop(gone);
    assert!((&mut next).now_or_never().is_some());
}

#[tokio::test]
async fn the_more_accounts_are_there_the_less_has_each() {
    let fair = Fair::new(64);
    let (noisy, now) = (account("noisy"), Instant::now());
    let count = |at: Instant| std::iter::from_fn(|| fair.try_enter_at(&noisy, at)).collect::<Vec<_>>().len();
    assert_eq!(count(now), 32);
    for other in ["a", "b", "c"] {
        drop(fair.try_enter_at(&account(other), now));
    }
    assert_eq!(count(now), 16);
    for other in 0..60 {
        drop(fair.try_enter_at(&account(&format!("x{other}")), now));
    }
    assert_eq!(count(now), SHARE_MIN);
    assert_eq!(count(now + LATELY + LOOK), 32, "they are gone");
}

fn begun(fair: &Arc<Fair>, account: &AccountId, at: Instant) -> usize {
    std::iter::from_fn(|| fair.try_enter_at(account, at)).take(200).count()
}

#[tokio::test]
async fn while_the_process_is_late_whoever_begins_the_most_is_held_back_and_others_are_not() {
    let fair = Fair::new(1_000);
    let (noisy, quiet) = (account("noisy"), account("quiet"));
    let mut now = Instant::now();
    drop(fair.try_enter_at(&quiet, now));
    let mut counts = Vec::new();
    for tick in 0..100 {
        counts.push(begun(&fair, &noisy, now));
        now += pace::TICK;
        fair.felt(Duration::from_millis(20), now);
        assert!(tick % 3 > 0 || fair.try_enter_at(&quiet, now).is_some(), "one call in thirty milliseconds");
    }
    assert_eq!(counts[0], 200, "nobody is held back at first");
    assert!(counts.iter().rev().take(10).sum::<usize>() <= 10, "{counts:?}");
    assert!(counts.iter().rev().take(10).sum::<usize>() >= 3, "it is not shut out: {counts:?}");
    for _ in 0..2_000 {
        now += pace::TICK;
        fair.felt(Duration::from_micros(50), now);
    }
    assert_eq!(begun(&fair, &noisy, now), 200, "and nobody is once it is well");
}

#[tokio::test]
async fn an_account_that_is_alone_is_never_held_back() {
    let fair = Fair::new(1_000);
    let noisy = account("noisy");
    let mut now = Instant::now();
    for _ in 0..50 {
        assert_eq!(begun(&fair, &noisy, now), 200);
        now += pace::TICK;
        fair.felt(Duration::from_millis(50), now);
    }
}

#[tokio::test]
async fn a_call_that_is_held_back_begins_when_its_time_has_come_though_nobody_leaves() {
    let fair = Fair::new(1_000);
    let (noisy, quiet) = (account("noisy"), account("quiet"));
    drop(fair.try_enter(&quiet));
    while fair.queue().pace.per_second().is_none() {
        drop(fair.try_enter(&noisy));
        fair.felt(Duration::from_millis(50), Instant::now());
    }
    let mut many: Vec<_> = (0..20).map(|_| Box::pin(Arc::clone(&fair).enter(noisy.clone()))).collect();
    many.retain_mut(|one| one.now_or_never().is_none());
    assert!(!many.is_empty());
    futures_util::future::join_all(many).await;
}
