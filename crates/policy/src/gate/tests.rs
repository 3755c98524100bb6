use std::collections::BTreeMap;

use are_core::label::{Confidentiality, Integrity, Label};

use super::*;
use crate::call::Context;
use crate::flow::View;
use crate::manifest::{CallLimits, Lane, Manifest, OutputLabel, ToolSet};
use crate::rules::{Profile, Rules};

/// Fails to compile when `Permit` becomes `Clone`: the two impls would then both apply.
const _: fn() = || {
    trait AmbiguousIfClone<A> {
        fn name() {}
    }
    impl<T> AmbiguousIfClone<()> for T {}
    struct Both;
    impl<T: Clone> AmbiguousIfClone<Both> for T {}
    <Permit as AmbiguousIfClone<_>>::name();
};

fn session(number: u8) -> SessionKey {
    SessionKey::from_bytes([number; 16])
}

fn call() -> Call {
    let args = Args::parse(r#"{"path":"notes.txt"}"#).unwrap();
    let tool_digest = Digest::of(&[b"tool"]);
    Call { session: session(1), turn: 1, call: 7, parent: None, tool: "fs_write".to_owned(), tool_digest, args }
}

fn decide(call: &Call, effect: Effect, profile: Profile) -> Decision {
    let manifest = Manifest {
        name: "fs_write".parse().unwrap(),
        description: String::new(),
        lane: Lane::Builtin,
        version: "1".to_owned(),
        schema: serde_json::json!({}),
        example: None,
        effect,
        effect_by: None,
        retry: Retry::Pure,
        args: BTreeMap::new(),
        output_default: OutputLabel::default(),
        output_fields: BTreeMap::new(),
        is_contained: true,
        capabilities: None,
        limits: CallLimits::default(),
        intents: BTreeMap::new(),
    };
    let label = Label::new(Integrity::User, Confidentiality::Private, "user");
    let (account, agent) = ("alice".parse().unwrap(), "main".parse().unwrap());
    let ctx = Context {
        account: &account,
        groups: &[],
        agent: &agent,
        manifest: &manifest,
        in_view: &label,
        args_label: &label,
        view: &View::default(),
        tools: &ToolSet::new([manifest.clone()]).unwrap(),
        bound: &[],
        earlier: &[],
        parents: &[],
        narrowing: &crate::agent::NONE,
        is_approved: false,
    };
    Rules::new(profile, &[]).unwrap().decide(call, &ctx)
}

fn receipt(of: SessionKey, durability: Durability) -> Receipt {
    Receipt::issue(of, 3, 40, durability)
}

#[test]
fn a_spent_permit_gives_exactly_what_was_decided_about() {
    let decision = decide(&call(), Effect::Modify, Profile::Observe);
    let permit = authorize(call(), &decision, &receipt(session(1), Durability::Durable)).unwrap();
    assert_eq!((permit.call(), permit.retry()), (&call(), Retry::AtMostOnce));
    let spent = permit.spend();
    assert_eq!((spent.session, spent.call, spent.tool.as_str()), (session(1), 7, "fs_write"));
    assert_eq!((spent.tool_digest, spent.args), (call().tool_digest, call().args));
    assert_eq!((spent.effect, spent.fence), (Effect::Modify, 3));
    assert_eq!(spent.key, Digest::of(&[&[1; 16], &[0, 0, 0, 7]]));
}

#[test]
fn only_an_allow_is_authorised() {
    let asked = decide(&call(), Effect::Modify, Profile::Strict);
    assert_eq!(asked.outcome, Outcome::Ask);
    for outcome in [Outcome::Ask, Outcome::Deny] {
        let decision = Decision { outcome, ..asked.clone() };
        let refused = authorize(call(), &decision, &receipt(session(1), Durability::Durable));
        assert_eq!(refused.unwrap_err(), Refused::NotAllowed);
    }
}

#[test]
fn a_decision_is_good_for_its_own_call_only() {
    let decision = decide(&call(), Effect::None, Profile::Strict);
    let others = [
        Call { session: session(2), ..call() },
        Call { turn: 2, ..call() },
        Call { call: 8, ..call() },
        Call { parent: Some(6), ..call() },
        Call { tool: "fs_delete".to_owned(), ..call() },
        Call { tool_digest: Digest::ZERO, ..call() },
        Call { args: Args::parse(r#"{"path":"other.txt"}"#).unwrap(), ..call() },
    ];
    for other in others {
        let receipt = receipt(other.session, Durability::Durable);
        assert_eq!(authorize(other, &decision, &receipt).unwrap_err(), Refused::OtherCall);
    }
}

#[test]
fn a_receipt_of_another_session_is_refused() {
    let decision = decide(&call(), Effect::None, Profile::Strict);
    let refused = authorize(call(), &decision, &receipt(session(2), Durability::Durable));
    assert_eq!(refused.unwrap_err(), Refused::OtherSession);
}

#[test]
fn an_effect_needs_a_durable_intent_and_a_read_does_not() {
    let written = receipt(session(1), Durability::Written);
    let read = decide(&call(), Effect::None, Profile::Observe);
    assert_eq!(authorize(call(), &read, &written).unwrap().spend().effect, Effect::None);
    for effect in [Effect::NetworkRead, Effect::Create, Effect::Modify, Effect::Destructive, Effect::Send] {
        let decision = decide(&call(), effect, Profile::Observe);
        assert_eq!(authorize(call(), &decision, &written).unwrap_err(), Refused::NotDurable);
    }
}
