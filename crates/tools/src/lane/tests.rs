use super::*;

#[test]
fn a_call_given_up_before_its_effect_never_has_one() {
    let latch = Latch::default();
    assert!(latch.abandon());
    assert!(latch.is_abandoned());
    assert!(latch.begin().is_err());
    assert!(latch.abandon(), "giving up twice says the same");
}

#[test]
fn a_call_given_up_after_its_effect_began_is_unknown() {
    let latch = Latch::default();
    assert!(latch.begin().is_ok());
    assert!(!latch.abandon());
    assert!(!latch.is_abandoned());
    assert!(latch.begin().is_ok(), "a second change of the same call may follow");
}

#[test]
fn of_two_threads_exactly_one_is_first() {
    for _ in 0..200 {
        let latch = Arc::new(Latch::default());
        let other = Arc::clone(&latch);
        let begun = std::thread::spawn(move || other.begin().is_ok());
        let is_safe = latch.abandon();
        assert_ne!(begun.join().expect("thread"), is_safe);
    }
}

#[test]
fn dropping_the_call_abandons_it() {
    let latch = Arc::new(Latch::default());
    drop(AbandonOnDrop(Arc::clone(&latch)));
    assert!(latch.is_abandoned());
}
