//! Scripts on the attacker's side: each fails by itself, and within its limit.

use std::time::{Duration, Instant};

use are_core::error::Code;
use serde::Deserialize;
use serde_json::{Value, json};

use super::world::World;

const ATTACKS: &str = include_str!("../../../../../tests/attacks/scripts.toml");
/// How late a script may be stopped on a machine that does much else.
const LATE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attacks {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    source: String,
    ms: Option<u64>,
    value: Option<String>,
    message: Option<String>,
}

async fn check(case: &Case) -> Result<(), String> {
    let mut world = World::new(&case.source);
    std::fs::write(world.root.path().join("secret.txt"), "TOP SECRET").expect("secret");
    if let Some(ms) = case.ms {
        world.timeout_ms = ms;
        let began = Instant::now();
        let fault = world.failed("x_f", json!({})).await;
        let took = began.elapsed();
        let is_good = fault.code == Code::TOOL_TIMEOUT && took < LATE;
        return is_good.then_some(()).ok_or(format!("after {took:?}: {fault:?}"));
    }
    if let Some(expected) = &case.value {
        let expected: Value = serde_json::from_str(expected).expect("JSON");
        let value = world.ok("x_f", json!({})).await;
        return (value == expected).then_some(()).ok_or(format!("{value}"));
    }
    let fault = world.failed("x_f", json!({})).await;
    let expected = case.message.as_deref().expect("what is expected");
    let is_good = fault.code == Code::TOOL_FAILED && fault.message.contains(expected) && fault.message.len() < 4_000;
    let is_good = is_good && fault.message.starts_with("tools/") && !fault.message.contains("TOP SECRET");
    is_good.then_some(()).ok_or(format!("{fault:?}"))
}

#[tokio::test]
async fn no_script_runs_on_takes_all_or_reaches_what_it_was_not_given() {
    let attacks: Attacks = toml::from_str(ATTACKS).expect("attacks");
    let mut broken = Vec::new();
    for case in &attacks.case {
        if let Err(why) = check(case).await {
            broken.push(format!("{}: {why}", case.name));
        }
    }
    println!("{} attacks", attacks.case.len());
    assert!(attacks.case.len() >= 40);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert_eq!(World::new("exports.f = () => 1").ok("x_f", json!({})).await, json!(1), "the lane is whole");
}

#[tokio::test]
async fn output_is_cut_where_it_floods() {
    let world =
        World::new("exports.f = () => { for (let i = 0; i < 1e5; i++) console.log('x'.repeat(100)); return 1; }");
    assert_eq!(world.ok("x_f", json!({})).await, json!(1));
    assert!(world.output().len() < 300_000, "{}", world.output().len());
    assert!(world.output().ends_with("[more output is left out]\n"));
}

#[tokio::test]
async fn many_scripts_at_once_do_not_wait_for_an_endless_one() {
    let mut endless = World::new("exports.f = () => { for (;;) {} }");
    endless.timeout_ms = 2_000;
    let quick = World::new("exports.f = () => 1");
    let began = Instant::now();
    let (stopped, value) = tokio::join!(endless.failed("x_f", json!({})), async {
        let value = quick.ok("x_f", json!({})).await;
        assert!(began.elapsed() < Duration::from_millis(1_900), "{:?}", began.elapsed());
        value
    });
    assert_eq!((stopped.code, value), (Code::TOOL_TIMEOUT, json!(1)));
}
