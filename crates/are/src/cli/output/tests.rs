use are_core::error::Code;

use super::*;

#[test]
fn a_fault_is_told_in_three_lines() {
    let fault = Fault::new(
        Code::PORT_IN_USE,
        "cannot start: port 8888 is already in use",
        "stop it, or choose a free port: `are start --port 8889`",
    );
    assert_eq!(
        fault_text(&fault, false),
        "error[ARE-0103]: cannot start: port 8888 is already in use\n  \
         why:  another process listens there, or the address is not this machine's\n  \
         help: stop it, or choose a free port: `are start --port 8889`"
    );
}

#[test]
fn what_could_steer_a_terminal_or_turn_its_text_is_shown_as_what_it_is() {
    assert_eq!(plain("a\u{1b}[2Jb\r\u{7f}\u{9b}c"), "a\\u{1b}[2Jb\\u{d}\\u{7f}\\u{9b}c");
    assert_eq!(plain("pay \u{202e}evil"), "pay \\u{202e}evil");
    assert_eq!(plain("züri\n\tok"), "züri\n\tok");
    assert_eq!(one_line("a\r\nb\tc"), "a  b c");
}

#[test]
fn every_code_has_a_meaning_of_its_own() {
    let general = meaning::of("ARE-9999".parse().expect("a code"));
    for &code in Code::ALL {
        let meaning = meaning::of(code);
        assert!(meaning != general && !meaning.ends_with('.') && !meaning.contains('\n'), "{code}: {meaning}");
    }
}
