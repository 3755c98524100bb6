//! Every help page as a snapshot: a change of what is advertised is seen.

use are::cli::args::Cli;
use clap::{Command, CommandFactory};

fn pages(command: &mut Command, path: &str, out: &mut String) {
    let name = format!("{path}{}", command.get_name());
    let page = command.render_long_help().to_string();
    out.push_str(&format!("$ {name} --help\n{}\n\n", page.trim_end()));
    let children: Vec<String> = command.get_subcommands().map(|child| child.get_name().to_owned()).collect();
    for child in children {
        if let Some(child) = command.find_subcommand_mut(&child) {
            pages(child, &format!("{name} "), out);
        }
    }
}

#[test]
fn help_pages_are_as_reviewed() {
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut out = String::new();
    pages(&mut command, "", &mut out);
    insta::assert_snapshot!(out);
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}
