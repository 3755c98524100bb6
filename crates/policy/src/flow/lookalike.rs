//! Addresses that look like one that is trusted, and are not.
//!
//! `pay@kestre1.example` beside `pay@kestrel.example` is not a value of somebody
//! else's that a person could reasonably be asked about: it is made so that the
//! person says yes. Compared are the hosts of addresses, by the last two of their
//! names (three below a country's registry): what a domain's owner puts before these is the owner's. Numbers that
//! tell hosts of one owner apart (`node-1`, `node-2`) stand there too.
//!
//! SOURCE: UTS 39, skeletons; optimal string alignment distance.

use super::links;
use super::view::View;

/// Bytes of what the user and services said that are looked through, the newest first.
const LOOKED_AT_BYTES: usize = 32 << 10;
/// Below so many characters one change more or less is another name.
const CHARS_MIN: usize = 6;
/// From so many on two changes are overlooked as well.
const CHARS_LONG: usize = 14;

/// The trusted address that `value` looks like.
pub(super) fn of(value: &str, view: &View) -> Option<String> {
    let mut hosts: Vec<String> =
        links::in_text(value).into_iter().filter_map(|link| domain(links::host(link))).collect();
    if hosts.is_empty() {
        hosts.extend(domain(value.trim()));
    }
    if hosts.is_empty() {
        return None;
    }
    let mut room = LOOKED_AT_BYTES;
    for text in view.trusted_texts() {
        // A text that is longer than what is left is passed over, so that none keeps the others from being looked at.
        let Some(left) = room.checked_sub(text.len()) else { continue };
        room = left;
        let known = links::in_text(text).into_iter().find(|known| {
            let known = domain(links::host(known));
            known.is_some_and(|known| hosts.iter().any(|host| looks_like(host, &known)))
        });
        if let Some(known) = known {
            return Some(known.to_owned());
        }
    }
    None
}

/// The last two names of a host, in one case, and three where the last two are those of a country's registry (`co.uk`);
/// `None` for what is no host with a name.
fn domain(host: &str) -> Option<String> {
    /// Characters of what countries put before their own name.
    const REGISTRY_MAX: usize = 3;
    let host = host.trim_end_matches('.').to_lowercase();
    let is_of_host = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    let names: Vec<&str> = host.rsplit('.').take(3).collect();
    let [last, second, ..] = names[..] else { return None };
    let is_host = host.chars().all(is_of_host) && !last.is_empty() && !last.starts_with(|c: char| c.is_ascii_digit());
    let is_registry = last.len() == 2 && second.len() <= REGISTRY_MAX;
    let whole = match names.get(2).filter(|_| is_registry) {
        Some(third) => format!("{third}.{second}.{last}"),
        None => format!("{second}.{last}"),
    };
    is_host.then_some(whole)
}

fn looks_like(one: &str, known: &str) -> bool {
    if one == known {
        return false;
    }
    let skeleton = |text: &str| unicode_security::skeleton(text).collect::<String>();
    if skeleton(one) == skeleton(known) {
        return true;
    }
    let chars = known.chars().count();
    let most = match chars {
        CHARS_LONG.. => 2,
        CHARS_MIN.. => 1,
        _ => 0,
    };
    // A change of the last name alone is what other owners have: `example.com` and `example.org` are well known to differ.
    let same_end =
        |one: &str, other: &str| one.rsplit_once('.').map(|(_, end)| end) == other.rsplit_once('.').map(|(_, end)| end);
    same_end(one, known) && strsim::osa_distance(one, known) <= most
}

#[cfg(test)]
mod tests {
    use super::{domain, looks_like};

    #[test]
    fn a_domain_is_the_last_two_names() {
        for (host, found) in [
            ("kestrel.example", Some("kestrel.example")),
            ("Mail.KESTREL.example.", Some("kestrel.example")),
            ("shop.kestrel.co.uk", Some("kestrel.co.uk")),
            ("localhost", None),
            ("10.0.0.1", None),
            ("a b.example", None),
            ("", None),
        ] {
            assert_eq!(domain(host).as_deref(), found, "{host}");
        }
    }

    #[test]
    fn what_is_nearly_a_known_domain_looks_like_it() {
        for other in
            ["kestre1.example", "kestrell.example", "ketsrel.example", "k\u{435}strel.example", "kestrel-.example"]
        {
            assert!(looks_like(other, "kestrel.example"), "{other}");
        }
        for other in ["kestrel.example", "kestrel.test", "falcon.example", "petrel.example.org"] {
            assert!(!looks_like(other, "kestrel.example"), "{other}");
        }
        // Of short names nearly all are alike.
        assert!(!looks_like("ab.io", "ac.io"));
    }
}
