use super::*;

fn maker(scopes: &[Scope]) -> Principal {
    Principal { scopes: Scopes::of(scopes.iter().copied()), ..Principal::admin(Door::Network).unwrap() }
}

fn wish(scopes: &[Scope]) -> Wish {
    Wish { account: None, scopes: scopes.to_vec(), label: String::new() }
}

#[test]
fn a_minted_token_is_good_until_revoked_and_revocation_is_announced() {
    let tokens = Tokens::new(Digest::of(&[b"admin"]), Vec::new());
    let made = Tokens::mint(&maker(&[Scope::Admin]), wish(&[Scope::Read]), &[7; 32], 1).ok().unwrap();
    assert!(tokens.recognise(&made.text).is_none());
    tokens.insert(made.row.clone());
    let principal = tokens.recognise(&made.text).unwrap();
    assert!(principal.scopes.allow(Scope::Read) && !principal.scopes.allow(Scope::Prompt));
    tokens.revoke(&made.row.id);
    assert!(principal.revoked.is_cancelled());
    assert!(tokens.recognise(&made.text).is_none());
}

#[test]
fn a_token_whose_maker_is_revoked_is_never_taken_into_service() {
    let tokens = Tokens::new(Digest::ZERO, Vec::new());
    let parent = Tokens::mint(&maker(&[Scope::Admin]), wish(&[Scope::Read]), &[7; 32], 1).ok().unwrap();
    assert!(tokens.insert(parent.row.clone()));
    let by_parent = tokens.recognise(&parent.text).unwrap();
    let child = Tokens::mint(&by_parent, wish(&[Scope::Read]), &[8; 32], 1).ok().unwrap();
    assert_eq!(child.row.parent, Some(parent.row.id.clone()));
    tokens.revoke(&parent.row.id);
    // As when it was made while its maker was revoked.
    assert!(!tokens.insert(child.row.clone()));
    let mut revoked = parent.row.clone();
    revoked.is_revoked = true;
    let tokens = Tokens::new(Digest::ZERO, vec![child.row.clone(), revoked]);
    assert!(tokens.recognise(&child.text).is_none());
    let tokens = Tokens::new(Digest::ZERO, vec![child.row, parent.row]);
    assert!(tokens.recognise(&child.text).is_some(), "in whatever order the rows come");
}

#[test]
fn a_stored_revoked_token_is_not_good_after_a_restart() {
    let mut made = Tokens::mint(&maker(&[Scope::Admin]), wish(&[Scope::Read]), &[7; 32], 1).ok().unwrap();
    made.row.is_revoked = true;
    assert!(Tokens::new(Digest::ZERO, vec![made.row]).recognise(&made.text).is_none());
}

#[test]
fn no_token_mints_a_broader_one_or_one_of_another_account() {
    let reader = maker(&[Scope::Read]);
    for broader in [Scope::Prompt, Scope::Approve, Scope::Admin] {
        let fault = Tokens::mint(&reader, wish(&[Scope::Read, broader]), &[1; 32], 1).err().unwrap();
        assert_eq!(fault.code, Code::SCOPE_MISSING);
    }
    let other = Wish { account: Some("other".parse().unwrap()), ..wish(&[Scope::Read]) };
    assert_eq!(Tokens::mint(&reader, other, &[1; 32], 1).err().unwrap().code, Code::SCOPE_MISSING);
    assert_eq!(Tokens::mint(&reader, wish(&[]), &[1; 32], 1).err().unwrap().code, Code::REQUEST_INVALID);
}

#[test]
fn near_misses_of_a_token_are_no_tokens() {
    let tokens = Tokens::new(Digest::of(&[b"are_admin_secret"]), Vec::new());
    assert!(tokens.recognise("are_admin_secret").is_some());
    for wrong in ["", "are_", "are_admin_secre", "are_admin_secret ", "ARE_admin_secret", &"a".repeat(10_000)] {
        assert!(tokens.recognise(wrong).is_none(), "{wrong}");
    }
}
