//! The documents: commands exist, links lead somewhere, and the reference pages
//! name what the code has.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Text, file, files, item, root, snake, variants};

fn pages() -> Vec<Text> {
    files("", |path| path.ends_with(".md"))
}

/// Targets of the Makefile.
fn targets() -> BTreeSet<String> {
    let makefile = file("Makefile").text;
    let rules = makefile.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()));
    rules
        .filter_map(|line| line.split_once(':'))
        .filter(|(_, rest)| !rest.starts_with('='))
        .map(|(name, _)| name.trim().to_owned())
        .collect()
}

/// Verbs of the command line.
fn verbs() -> BTreeSet<String> {
    variants(&file("crates/are/src/cli/args.rs").code(), "Verb").iter().map(|name| snake(name)).collect()
}

/// Commands on a page: lines behind a prompt in blocks of kind `console`, and code within a line.
fn commands(page: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut block = None;
    for line in page.lines() {
        match (line.trim_start().strip_prefix("```"), block) {
            (Some(kind), None) => block = Some(kind.trim()),
            (Some(_), Some(_)) => block = None,
            (None, Some("console")) => found.extend(line.trim().strip_prefix("$ ")),
            (None, Some(_)) => {}
            (None, None) => found.extend(line.split('`').skip(1).step_by(2).map(str::trim)),
        }
    }
    found
}

#[test]
fn the_commands_in_the_documents_exist() {
    let (targets, verbs) = (targets(), verbs());
    let (mut made, mut run) = (0, 0);
    for page in pages() {
        for command in commands(&page.text) {
            let word = |rest: &str| rest.split_whitespace().next().map(str::to_owned);
            if let Some(target) = command.strip_prefix("make ").and_then(word) {
                made += 1;
                assert!(targets.contains(&target), "{}: `{command}` is no target", page.path);
            }
            let verb = command.strip_prefix("./are ").or_else(|| command.strip_prefix("are ")).and_then(word);
            if let Some(verb) = verb.filter(|verb| !verb.starts_with('-')) {
                run += 1;
                assert!(verbs.contains(&verb), "{}: `{command}` is no verb", page.path);
            }
        }
    }
    println!("{} targets, {} verbs; `make` is used {made} times, `are` {run} times", targets.len(), verbs.len());
    assert!(targets.len() >= 4 && verbs.len() >= 10 && made >= 4 && run >= 40);
}

/// Flags by command, as the help pages show them: `session list` takes `--limit`.
fn flags() -> BTreeMap<String, BTreeSet<String>> {
    let pages = file("crates/are/tests/it/snapshots/it__cli_help__help_pages_are_as_reviewed.snap").text;
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut page = String::new();
    for line in pages.lines() {
        if let Some(name) = line.strip_prefix("$ are").and_then(|rest| rest.strip_suffix("--help")) {
            name.trim().clone_into(&mut page);
            found.entry(page.clone()).or_default();
        } else if line.trim_start().starts_with('-') {
            let flags = line.split([' ', ',', '[', '=']).filter(|word| word.starts_with('-')).map(str::to_owned);
            found.entry(page.clone()).or_default().extend(flags);
        }
    }
    found
}

/// What `are` is given on a command line: words up to a pipe or redirection, quoted text as one word.
fn words_for_are(command: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for (part, text) in command.split('"').enumerate() {
        if part % 2 == 1 {
            words.push(String::new());
            continue;
        }
        words.extend(text.split_whitespace().map(|word| word.trim_matches(['[', ']', '…']).to_owned()));
    }
    let is_setting = |word: &&String| word.split_once('=').is_some_and(|(name, _)| name.starts_with("ARE_"));
    let settings = words.iter().take_while(is_setting).count();
    let mut words = words.into_iter().skip(settings);
    words.next().filter(|program| program == "are" || program == "./are")?;
    Some(words.take_while(|word| !["|", ">", "<", "&&", ";", "#"].contains(&word.as_str())).collect())
}

#[test]
fn the_flags_in_the_documents_exist_for_their_verb() {
    let known = flags();
    let (mut lines, mut checked) = (0, 0);
    for page in pages().iter().filter(|page| page.path == "README.md" || page.path.starts_with("docs/")) {
        for command in commands(&page.text) {
            let Some(words) = words_for_are(command) else { continue };
            lines += 1;
            let mut verb = String::new();
            for word in words.iter().filter(|word| !word.starts_with('-')) {
                let longer = format!("{verb} {word}").trim().to_owned();
                if !known.contains_key(&longer) {
                    break;
                }
                verb = longer;
            }
            for flag in words.iter().filter(|word| word.len() > 1 && word.starts_with('-')) {
                checked += 1;
                let name = flag.split('=').next().unwrap_or_default();
                assert!(known[&verb].contains(name), "{}: `{command}`: `are {verb}` has no `{name}`", page.path);
            }
        }
    }
    println!("{} help pages, {lines} command lines, {checked} flags", known.len());
    assert!(known.len() >= 40 && lines >= 60 && checked >= 15, "{} pages, {lines}, {checked}", known.len());
}

#[test]
fn the_readme_begins_with_the_two_commands() {
    let readme = file("README.md").text;
    let head: String = readme.lines().take(60).collect::<Vec<_>>().join("\n");
    for command in ["make run", "make test", "./are run \"Read notes.txt and tell me the total\""] {
        assert!(
            head.lines().any(|line| line.trim().trim_start_matches("$ ") == command),
            "the README shows `{command}`"
        );
    }
    println!("{} lines of README", readme.lines().count());
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = root();
    let pages = pages();
    let mut links = 0;
    for page in &pages {
        let dir = root.join(&page.path).parent().expect("a directory").to_owned();
        for (at, _) in page.text.match_indices("](") {
            let target = page.text[at + 2..].split(')').next().unwrap_or_default();
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            links += 1;
            assert!(dir.join(target).exists(), "{}: `{target}` does not exist", page.path);
        }
    }
    println!("{} pages, {links} links", pages.len());
    assert!(pages.len() >= 70 && links >= 100);
}

#[test]
fn nothing_committed_points_to_a_workplace() {
    // Put together here, so that this file does not hold them.
    let forbidden: Vec<String> = [
        &["../", "shared"][..],
        &["index.", "crates.io"],
        &["pypi", ".org"],
        &["deb.", "debian.org"],
        &["registry.", "npmjs.org"],
        &["INTERFACE", " §"],
        &["DESIGN", " §"],
        &["INTERFACE", "'s"],
    ]
    .iter()
    .map(|parts| parts.concat())
    .collect();
    let workplace = ["/work", "/"].concat();
    let is_text = |path: &str| [".md", ".rs", ".sh", "Makefile"].iter().any(|end| path.ends_with(end));
    let texts = files("", is_text);
    let mut found = Vec::new();
    for text in &texts {
        for (number, line) in (1..).zip(text.text.lines()) {
            let is_path =
                |at: usize| !line[..at].ends_with(|before: char| before.is_alphanumeric() || "._-".contains(before));
            let is_workplace = line.match_indices(&workplace).any(|(at, _)| is_path(at));
            if is_workplace || forbidden.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{number}: {}", text.path, line.trim()));
            }
        }
    }
    println!("{} files", texts.len());
    assert!(texts.len() >= 200);
    assert!(found.is_empty(), "these lines point outside the repository:\n  {}", found.join("\n  "));
}

/// Texts behind each `head` in a source, up to the next quote.
fn quoted_after(code: &str, head: &str) -> BTreeSet<String> {
    code.match_indices(head)
        .filter_map(|(at, _)| code[at + head.len()..].split('"').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_reference_names_every_setting_tool_route_frame_event_and_verb() {
    let keys = file("crates/are/src/config/keys.rs").code_with_strings();
    let table = &keys[keys.find("pub const KEYS").expect("the settings")..];
    let table = &table[..item(table)];
    let settings: BTreeSet<String> =
        quoted_after(table, " key(\"").union(&quoted_after(table, " outside(\"")).cloned().collect();

    let tools: BTreeSet<String> = ["crates/tools/src/fs.rs", "crates/tools/src/variables.rs"]
        .iter()
        .flat_map(|path| {
            let code = file(path).code_with_strings();
            let start = code.find("fn named(").expect("the names");
            let body = &code[start..start + item(&code[start..])];
            body.match_indices("\" => Self::")
                .filter_map(|(at, _)| body[..at].rsplit('"').next())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .chain(["http_request".to_owned()])
        .collect();

    let routes = file("crates/are/src/server/routes.rs").code_with_strings();
    let routes: BTreeSet<String> =
        quoted_after(&routes, " \"/api").into_iter().map(|rest| format!("/api{rest}")).collect();

    let client = file("crates/are/src/server/wire/client.rs").code();
    let event = file("crates/are/src/server/wire/event.rs").code();
    let frames = ["ClientFrame"].iter().flat_map(|name| variants(&client, name));
    let events = ["What", "Direct"].iter().flat_map(|name| variants(&event, name));
    let frames: BTreeSet<String> = frames.chain(events).map(|name| snake(&name)).collect();

    let args = ["args.rs", "args/session.rs"].map(|name| file(&format!("crates/are/src/cli/{name}")).code()).concat();
    let mut verbs = verbs();
    for group in [
        "Session", "Var", "Secret", "Memory", "Tool", "Mcp", "Approval", "Policy", "Audit", "Model", "Token", "Account",
    ] {
        // On the command line words are joined by hyphens.
        let verb = |name: &String| format!("{} {}", snake(group), snake(name).replace('_', "-"));
        verbs.extend(variants(&args, group).iter().map(verb));
    }
    verbs.extend(variants(&args, "ConfigVerb").iter().map(|name| format!("config {}", snake(name))));

    let profiles: BTreeSet<String> = variants(&file("crates/policy/src/rules/profile.rs").code(), "Profile")
        .iter()
        .map(|name| snake(name))
        .collect();
    let records: BTreeSet<String> =
        variants(&file("crates/core/src/body.rs").code(), "Body").iter().map(|name| snake(name)).collect();

    let checks: [(&str, BTreeSet<String>, usize); 7] = [
        ("docs/reference/configuration.md", settings, 15),
        ("docs/reference/tools.md", tools, 13),
        ("docs/reference/http.md", routes, 15),
        ("docs/reference/websocket.md", frames, 30),
        ("docs/reference/cli.md", verbs, 30),
        ("docs/reference/policy.md", profiles, 3),
        ("docs/reference/journal.md", records, 25),
    ];
    for (path, names, least) in checks {
        let page = file(path).text;
        println!("{path}: {} names", names.len());
        assert!(names.len() >= least, "{path}: only {names:?}");
        let is_named = |name: &&String| page.contains(&format!("`{name}")) || page.contains(&format!("`are {name}"));
        let missing: Vec<&String> = names.iter().filter(|name| !is_named(name)).collect();
        assert!(missing.is_empty(), "{path} does not name {missing:?}");
    }
}
