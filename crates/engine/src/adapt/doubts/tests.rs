use serde_json::json;

use super::*;

fn figures(text: &str) -> Vec<String> {
    runs(text, false).filter_map(figure).collect()
}

fn known(text: &str) -> Known {
    let mut figures = BTreeSet::new();
    found(text, &mut figures);
    let mut terms = Terms::default();
    terms.add(&text.into(), &mut TERMS_MAX.clone());
    Known { figures, terms: Some(terms), touched: text.to_owned(), named: String::new(), tried: String::new() }
}

#[test]
fn a_figure_is_the_same_however_it_is_written() {
    assert_eq!(figures("1,234.50 and 1234.5, 0042 and 42."), ["1234.5", "1234.5", "42", "42"]);
    assert_eq!(figures("$99.00 (12) [13] 共42元"), ["99", "12", "13", "42"]);
}

#[test]
fn what_is_short_or_part_of_a_name_is_no_figure() {
    assert!(figures("3 files, v12, x86_64, 52kg, 1.2.3, 10.0.0.1, step 7.").is_empty());
}

#[test]
fn an_answer_is_doubted_for_figures_that_nothing_holds_and_for_no_others() {
    let known = known("apples,12,3.5\nport: 8431\ntotal 1,200");
    let unfounded = |answer: &str| known.unfounded(answer);
    assert!(unfounded("There are 12 apples at 3.5; the port is 8431, the total 1200.00.").is_empty());
    assert!(unfounded("The values are 12,8431 on 2027-03-14 at 14:30.").is_empty(), "a list, a date, a time");
    assert_eq!(unfounded("It is 13 or 1300, that is 13."), ["13", "1300"]);
    assert!(unfounded("Write this:\n```\nlet x = 4711;\n```\nThat is all.").is_empty(), "code claims nothing");
    assert_eq!(unfounded(&"77 88 ".repeat(10_000)), ["77", "88"], "however long the answer");
}

#[test]
fn what_results_come_to_is_founded_and_what_no_result_could_hold_is_not_doubted() {
    let of = |values: &[Value]| {
        let mut terms = Terms::default();
        values.iter().for_each(|value| terms.add(value, &mut TERMS_MAX.clone()));
        Known { terms: Some(terms), ..known("") }
    };
    let bills = of(&[json!({"content": "bread 12\ncheese 45\nwine 23", "bytes": 31}), json!(["0.1 and 0.2", true, 7])]);
    assert!(bills.unfounded("80, then 80.30; 57 and 33; 540.00 for twelve of them, and 38 in all.").is_empty());
    assert_eq!(bills.unfounded("81, or 0.37"), ["81", ".37"]);
    assert_eq!(of(&[json!({})]).unfounded("It holds 1969."), ["1969"]);
    let nothing = Known { terms: None, ..known("") };
    assert!(nothing.unfounded("It was founded in 1969.").is_empty(), "nothing was looked up");
}

#[test]
fn names_of_files_are_found_in_any_language_and_little_else_is_taken_for_one() {
    let names = |text: &'static str| file_names(text).collect::<Vec<_>>();
    assert_eq!(names("Read notes.txt, then src/main.rs."), ["notes.txt", "src/main.rs"]);
    assert_eq!(names("读取data.csv的内容 a.txt"), ["data.csv", "a.txt"]);
    assert!(names("e.g. version 1.2, i.e. 3.14 and so on at 5 p.m. ... end.").is_empty());
}

#[test]
fn no_more_is_looked_through_than_there_is_room_for() {
    let mut gathered = Gathered { room: 10, ..Gathered::default() };
    gathered.say("äöüäöü");
    gathered.find("more");
    assert_eq!((gathered.said.as_str(), gathered.found.as_str(), gathered.room), ("äöüäö\n", "\n", 0));
}
