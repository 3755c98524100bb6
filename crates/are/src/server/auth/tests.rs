use super::*;
use are_core::digest::{Digest, Nonce};

/// Long after every token here was made.
const NOW_MS: u64 = 1_000;

fn maker(scopes: &[Scope]) -> Principal {
    Principal { scopes: Scopes::of(scopes.iter().copied()), ..Principal::admin(Door::Network).unwrap() }
}

fn wish(scopes: &[Scope]) -> Wish {
    Wish { account: None, scopes: scopes.to_vec(), label: String::new(), reach: Reach::default(), expires_at_ms: None }
}

fn delegating(scopes: &[Scope], reach: Reach) -> Wish {
    Wish { reach, ..wish(scopes) }
}

fn group(name: &str) -> Reach {
    Reach::new([name.parse().unwrap()], []).unwrap()
}

fn account(name: &str) -> AccountId {
    name.parse().unwrap()
}

/// Everybody can speak: `alice` in the group `staff`, `bob` in none.
fn all(name: &AccountId) -> Option<Vec<are_core::ids::GroupName>> {
    match name.as_str() {
        "alice" => Some(vec!["staff".parse().unwrap()]),
        "nobody" => None,
        _ => Some(Vec::new()),
    }
}

fn nonce(byte: u8) -> Nonce {
    [byte; 32]
}

fn known(tokens: &Tokens, text: &str) -> Option<Principal> {
    tokens.recognise(text, NOW_MS, &all)
}

/// A token that is good.
fn made(tokens: &Tokens, maker: &Principal, wish: Wish, byte: u8) -> (Minted, Principal) {
    let made = tokens.mint(maker, wish, &nonce(byte), NOW_MS).unwrap();
    assert!(tokens.insert(&made.row));
    let principal = known(tokens, &made.text).unwrap();
    (made, principal)
}

fn refused(tokens: &Tokens, maker: &Principal, wish: Wish) -> Code {
    tokens.mint(maker, wish, &nonce(1), NOW_MS).unwrap_err().code
}

#[test]
fn a_minted_token_is_good_until_revoked_and_revocation_is_announced() {
    let tokens = Tokens::new(Digest::of(&[b"admin"]), Vec::new());
    let minted = tokens.mint(&maker(&[Scope::Admin]), wish(&[Scope::Read]), &nonce(7), NOW_MS).unwrap();
    assert!(known(&tokens, &minted.text).is_none());
    let (minted, principal) = made(&tokens, &maker(&[Scope::Admin]), wish(&[Scope::Read]), 7);
    assert!(principal.scopes.allow(Scope::Read) && !principal.scopes.allow(Scope::Prompt));
    tokens.revoke(&minted.row.id);
    assert!(principal.tie.is_cut());
    assert!(known(&tokens, &minted.text).is_none());
}

#[test]
fn a_token_whose_maker_is_revoked_is_never_taken_into_service() {
    let tokens = Tokens::new(Digest::ZERO, Vec::new());
    let (parent, by_parent) = made(&tokens, &maker(&[Scope::Admin]), wish(&[Scope::Read]), 7);
    let child = tokens.mint(&by_parent, wish(&[Scope::Read]), &nonce(8), NOW_MS).unwrap();
    assert_eq!(child.row.parent, Some(parent.row.id.clone()));
    tokens.revoke(&parent.row.id);
    // As when it was made while its maker was revoked.
    assert!(!tokens.insert(&child.row));
    let mut revoked = parent.row.clone();
    revoked.is_revoked = true;
    let tokens = Tokens::new(Digest::ZERO, vec![child.row.clone(), revoked]);
    assert!(known(&tokens, &child.text).is_none());
    let tokens = Tokens::new(Digest::ZERO, vec![child.row, parent.row]);
    assert!(known(&tokens, &child.text).is_some(), "in whatever order the rows come");
}

#[test]
fn a_stored_revoked_token_is_not_good_after_a_restart() {
    let tokens = Tokens::new(Digest::ZERO, Vec::new());
    let (mut minted, _) = made(&tokens, &maker(&[Scope::Admin]), wish(&[Scope::Read]), 7);
    minted.row.is_revoked = true;
    assert!(known(&Tokens::new(Digest::ZERO, vec![minted.row]), &minted.text).is_none());
}

#[test]
fn no_token_mints_a_broader_one_or_one_of_another_account() {
    let tokens = Tokens::new(Digest::ZERO, Vec::new());
    let reader = maker(&[Scope::Read]);
    for broader in [Scope::Prompt, Scope::Approve, Scope::Admin] {
        assert_eq!(refused(&tokens, &reader, wish(&[Scope::Read, broader])), Code::SCOPE_MISSING);
    }
    let delegate = delegating(&[Scope::Read, Scope::Delegate], group("staff"));
    assert_eq!(refused(&tokens, &reader, delegate), Code::SCOPE_MISSING);
    let other = Wish { account: Some(account("other")), ..wish(&[Scope::Read]) };
    assert_eq!(refused(&tokens, &reader, other), Code::SCOPE_MISSING);
    assert_eq!(refused(&tokens, &reader, wish(&[])), Code::REQUEST_INVALID);
}

#[test]
fn no_token_outlives_its_maker() {
    let tokens = Tokens::new(Digest::ZERO, Vec::new());
    let until = |end| Wish { expires_at_ms: Some(end), ..wish(&[Scope::Read]) };
    let admin = maker(&[Scope::Admin]);
    assert_eq!(refused(&tokens, &admin, until(NOW_MS)), Code::REQUEST_INVALID, "it would be over");
    let (_, parent) = made(&tokens, &admin, until(NOW_MS + 10), 2);
    assert_eq!(refused(&tokens, &parent, until(NOW_MS + 11)), Code::REQUEST_INVALID);
    let (child, of_child) = made(&tokens, &parent, wish(&[Scope::Read]), 3);
    assert_eq!(child.row.expires_at_ms, Some(NOW_MS + 10), "it ends with its maker");
    assert!(tokens.recognise(&child.text, NOW_MS + 10, &all).is_none(), "also before anybody looked");
    assert_eq!(tokens.expire(NOW_MS + 9), Some(NOW_MS + 10));
    assert!(!of_child.tie.is_cut());
    assert_eq!(tokens.expire(NOW_MS + 10), None);
    assert!(of_child.tie.is_cut() && parent.tie.is_cut());
}

#[test]
fn a_delegate_speaks_for_its_list_and_gains_nothing_by_it() {
    let tokens = Tokens::new(Digest::ZERO, Vec::new());
    let operator = admin_account().unwrap();
    let scopes = [Scope::Read, Scope::Prompt, Scope::Delegate];
    let (minted, delegate) = made(&tokens, &maker(&[Scope::Admin]), delegating(&scopes, group("staff")), 2);
    let speak = |who: &Principal, name: Option<&str>| tokens.speak_for(who.clone(), name.map(account), &operator, &all);
    let alice = speak(&delegate, Some("alice")).unwrap();
    assert_eq!(alice.account, account("alice"));
    assert_eq!(alice.via, Some(Via { token: minted.row.id.clone(), account: operator.clone() }));
    assert!(alice.scopes.allow(Scope::Prompt));
    for scope in [Scope::Approve, Scope::Admin, Scope::Delegate] {
        assert!(!alice.scopes.allow(scope), "{scope:?}");
    }
    let outside = [Some("bob"), Some("nobody"), Some("admin"), None];
    let faults: Vec<_> = outside.into_iter().map(|name| speak(&delegate, name).unwrap_err()).collect();
    assert!(faults.iter().all(|fault| *fault == faults[0] && fault.code == Code::ACCOUNT_UNKNOWN), "{faults:?}");
    assert_eq!(refused(&tokens, &alice, wish(&[Scope::Read])), Code::SCOPE_MISSING, "it makes no tokens for others");
    for other in [maker(&[Scope::Admin]), maker(&[Scope::Read, Scope::Prompt, Scope::Approve])] {
        assert_eq!(speak(&other, Some("alice")).unwrap_err().code, Code::SCOPE_MISSING);
    }
    assert_eq!(speak(&alice, Some("alice")).unwrap_err().code, Code::SCOPE_MISSING, "not from one to the next");
}

#[test]
fn a_delegates_list_is_never_widened_and_goes_with_the_scope() {
    let tokens = Tokens::new(Digest::ZERO, Vec::new());
    let scopes = [Scope::Read, Scope::Delegate];
    let (_, delegate) = made(&tokens, &maker(&[Scope::Admin]), delegating(&scopes, group("staff")), 2);
    assert_eq!(refused(&tokens, &delegate, delegating(&scopes, group("ops"))), Code::REQUEST_INVALID);
    let alice = Reach::new([], [account("alice")]).unwrap();
    assert_eq!(refused(&tokens, &delegate, delegating(&scopes, alice)), Code::REQUEST_INVALID);
    assert_eq!(refused(&tokens, &delegate, wish(&scopes)), Code::REQUEST_INVALID, "for nobody");
    assert_eq!(refused(&tokens, &delegate, delegating(&[Scope::Read], group("staff"))), Code::REQUEST_INVALID);
    let (_, child) = made(&tokens, &delegate, delegating(&scopes, group("staff")), 3);
    let operator = admin_account().unwrap();
    let speak = |who: &Principal| tokens.speak_for(who.clone(), Some(account("alice")), &operator, &all);
    assert!(speak(&child).is_ok());
    // What its maker loses, it loses too.
    tokens.narrow(delegate.token.as_deref().unwrap(), Scopes::of([Scope::Read]));
    assert!(child.tie.is_cut() && delegate.tie.is_cut());
    assert_eq!(speak(&child).unwrap_err().code, Code::ACCOUNT_UNKNOWN, "a principal from before");
}

#[test]
fn a_narrowed_token_and_its_children_do_less_and_what_they_opened_is_cut() {
    let tokens = Tokens::new(Digest::ZERO, Vec::new());
    let scopes = [Scope::Read, Scope::Prompt];
    let (parent, of_parent) = made(&tokens, &maker(&[Scope::Admin]), wish(&scopes), 2);
    let (child, of_child) = made(&tokens, &of_parent, wish(&scopes), 3);
    tokens.narrow(&parent.row.id, Scopes::of([Scope::Read]));
    assert!(of_parent.tie.is_cut() && of_child.tie.is_cut());
    for text in [parent.text, child.text] {
        let now = known(&tokens, &text).unwrap();
        assert!(now.scopes.allow(Scope::Read) && !now.scopes.allow(Scope::Prompt) && !now.tie.is_cut());
    }
}

#[test]
fn an_account_that_is_gone_takes_along_what_was_opened_with_its_tokens_and_their_children() {
    let tokens = Tokens::new(Digest::ZERO, Vec::new());
    let of_alice = Wish { account: Some(account("alice")), ..wish(&[Scope::Admin]) };
    let (minted, alice) = made(&tokens, &maker(&[Scope::Admin]), of_alice, 2);
    let of_bob = Wish { account: Some(account("bob")), ..wish(&[Scope::Read]) };
    let (child, bob) = made(&tokens, &alice, of_bob, 3);
    let scopes = [Scope::Read, Scope::Delegate];
    let (_, delegate) = made(&tokens, &maker(&[Scope::Admin]), delegating(&scopes, group("staff")), 4);
    let operator = admin_account().unwrap();
    let spoken = tokens.speak_for(delegate.clone(), Some(account("alice")), &operator, &all).unwrap();
    tokens.account_changed(&account("alice"), true);
    assert!(alice.tie.is_cut() && bob.tie.is_cut() && spoken.tie.is_cut() && !delegate.tie.is_cut());
    let without_alice = |name: &AccountId| all(name).filter(|_| name.as_str() != "alice");
    for text in [&minted.text, &child.text] {
        assert!(tokens.recognise(text, NOW_MS, &without_alice).is_none());
        assert!(known(&tokens, text).is_some(), "it comes back with its account");
    }
    tokens.account_deleted(&account("alice"));
    assert!([&minted.text, &child.text].iter().all(|text| known(&tokens, text).is_none()));
}

#[test]
fn tokens_make_tokens_only_so_deep() {
    let tokens = Tokens::new(Digest::ZERO, Vec::new());
    let mut maker = maker(&[Scope::Admin]);
    for depth in 0..super::tokens::TOKEN_DEPTH_MAX {
        (_, maker) = made(&tokens, &maker, wish(&[Scope::Read]), u8::try_from(depth).unwrap());
    }
    assert_eq!(refused(&tokens, &maker, wish(&[Scope::Read])), Code::ACCOUNT_LIMIT);
}

#[test]
fn near_misses_of_a_token_are_no_tokens() {
    let tokens = Tokens::new(Digest::of(&[b"are_admin_secret"]), Vec::new());
    assert!(known(&tokens, "are_admin_secret").is_some());
    for wrong in ["", "are_", "are_admin_secre", "are_admin_secret ", "ARE_admin_secret", &"a".repeat(10_000)] {
        assert!(known(&tokens, wrong).is_none(), "{wrong}");
    }
}
