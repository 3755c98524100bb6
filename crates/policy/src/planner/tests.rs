//! What a planner is told, and what is taken of what it says.

use serde_json::json;

use super::*;
use crate::replay::tool_set;

fn tool(name: &str, effect: &str) -> Value {
    let properties = json!({"to": {"type": "string"}, "body": {"type": "string"}});
    let description = format!("Does {name}.\nAnd more.");
    json!({"name": name, "description": description, "effect": effect,
           "parameters": {"type": "object", "properties": properties}})
}

fn info() -> ModelInfo {
    ModelInfo {
        name: "test:planner".to_owned(),
        context_tokens: 32_000,
        output_tokens: 4_000,
        takes_temperature: true,
        efforts: Vec::new(),
        is_either: false,
        takes_images: false,
        is_local: true,
        continues: false,
    }
}

fn names(tools: &[&Manifest]) -> Vec<String> {
    tools.iter().map(|tool| tool.name.to_string()).collect()
}

fn asked(tools: &ToolSet, words: &str) -> ModelRequest {
    let offered: Vec<ToolName> = tools.iter().map(|(manifest, _)| manifest.name.clone()).collect();
    request(&info(), words, &shown(offered.iter(), tools, words), 100)
}

#[test]
fn a_planner_is_told_the_words_and_what_has_an_effect_and_nothing_else() {
    let tools =
        tool_set(&[tool("read_mail", "none"), tool("send_mail", "send"), tool("drop_all", "destructive")]).unwrap();
    let request = asked(&tools, "Send it to Ann");
    let [Message::System { text }, Message::User { text: words }] = &request.messages[..] else {
        panic!("{:?}", request.messages)
    };
    assert_eq!(words, "Send it to Ann");
    let listed = text.split_once("Tools:\n").unwrap().1;
    let expected = "- drop_all (destructive): Does drop_all. And more. Parameters: body, to\n\
                    - send_mail (send): Does send_mail. And more. Parameters: body, to";
    assert_eq!(listed, expected);
    assert!(request.tools.is_empty(), "it can call nothing");
    assert_eq!((request.temperature_milli, request.output_tokens_max), (Some(0), 100));
}

#[test]
fn an_answer_is_read_strictly_and_of_its_names_only_those_that_were_shown() {
    let tools =
        tool_set(&[tool("read_mail", "none"), tool("send_mail", "send"), tool("drop_all", "destructive")]).unwrap();
    let request = asked(&tools, "Send it");
    let plans: &[(&str, Option<&[&str]>)] = &[
        (r#"{"tools":["send_mail"]}"#, Some(&["send_mail"])),
        (r#"{"tools":[]}"#, Some(&[])),
        (
            "Sure:\n```json\n{\"tools\": [\"send_mail\", \"drop_all\", \"send_mail\"]}\n```",
            Some(&["drop_all", "send_mail"]),
        ),
        (r#"{"tools":["no_such","read_mail","SEND_MAIL","send_mail "]}"#, Some(&[])),
        (r#"{"tools":["send_mail""#, None),
        (r#"{"tools":"send_mail"}"#, None),
        (r#"{"tools":[1]}"#, None),
        (r#"{"names":["send_mail"]}"#, None),
        (r#"["send_mail"]"#, None),
        ("} {", None),
        ("send_mail", None),
        ("", None),
    ];
    for (answer, expected) in plans {
        let plan = read(answer, &request);
        let plan: Option<Vec<&str>> = plan.as_ref().map(|plan| plan.iter().map(ToolName::as_str).collect());
        assert_eq!(plan.as_deref(), *expected, "{answer}");
    }
    let long = format!("{{\"tools\":[]{}}}", " ".repeat(ANSWER_BYTES_MAX));
    assert_eq!(read(&long, &request), None);
}

#[test]
fn of_too_many_tools_those_are_shown_that_the_words_are_about() {
    let mut declared: Vec<Value> = (0..TOOLS_MAX + 20).map(|n| tool(&format!("act_{n:03}"), "modify")).collect();
    declared.push(tool("water_plants", "modify"));
    let tools = tool_set(&declared).unwrap();
    let offered: Vec<ToolName> = tools.iter().map(|(manifest, _)| manifest.name.clone()).collect();
    let found = names(&shown(offered.iter(), &tools, "Water the plants"));
    assert_eq!((found.len(), found[0].as_str()), (TOOLS_MAX, "water_plants"));
    assert_eq!(found[1], "act_000", "the rest stays in its order");
    let other = "no_such".parse().unwrap();
    assert!(shown(std::iter::once(&other), &tools, "x").is_empty(), "what is not served is not shown");
}

#[test]
fn a_tool_counts_by_the_worst_that_it_may_do() {
    let mut tools: Vec<Manifest> =
        tool_set(&[tool("get", "none"), tool("put", "none")]).unwrap().iter().map(|(one, _)| one.clone()).collect();
    tools[1].effect_by = Some(crate::manifest::EffectBy {
        arg: "to".to_owned(),
        map: [("all".to_owned(), Effect::Send)].into(),
        absent: None,
    });
    let tools = ToolSet::new(tools).unwrap();
    let offered: Vec<ToolName> = tools.iter().map(|(manifest, _)| manifest.name.clone()).collect();
    assert_eq!(names(&shown(offered.iter(), &tools, "x")), ["put"]);
}
