use super::*;

fn chosen(quota: usize, siblings: &[&str]) -> (usize, usize) {
    let siblings: Vec<String> = siblings.iter().map(|&list| list.to_owned()).collect();
    let threads = Threads::choose(quota, &siblings);
    (threads.reading, threads.writing)
}

#[test]
fn one_core_is_left_to_others_while_writing_and_none_while_reading() {
    assert_eq!(chosen(1, &[]), (1, 1));
    assert_eq!(chosen(2, &["0", "1"]), (2, 1));
    assert_eq!(chosen(8, &[]), (8, 7));
    assert_eq!(chosen(64, &[]), (16, 8));
}

#[test]
fn hardware_threads_of_one_core_count_once_and_the_quota_still_holds() {
    assert_eq!(chosen(4, &["0,2", "1,3", "0,2", "1,3"]), (2, 1));
    assert_eq!(chosen(1, &["0,2", "1,3", "0,2", "1,3"]), (1, 1));
}

#[test]
fn a_fixed_number_is_at_least_one() {
    assert_eq!(Threads::fixed(0), Threads { reading: 1, writing: 1 });
}

#[test]
fn a_trial_compares_with_all_cores_and_with_half() {
    let rivals = |quota| Threads::choose(quota, &[]).rivals();
    assert_eq!(rivals(1), Vec::<usize>::new());
    assert_eq!(rivals(2), [2]);
    assert_eq!(rivals(8), [4, 8]);
    assert_eq!(rivals(64), [4]);
}
