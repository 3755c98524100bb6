//! A connection of a running command to a place that the operator granted.
//!
//! The grant settles where: the lane refuses every other place. What is left is
//! whether anybody wanted the command, and what it could carry out. A tunnel
//! hides what goes through it, so it counts as one that sends what is in view:
//! with nothing untrusted there the grant is enough; else the user must have
//! asked for the call that makes it, and where something private is in view too,
//! a person is asked, unless the user named the place.

use are_core::label::{Confidentiality, Integrity};

use super::{Asked, Case, Facts, Question, Said, Traced, Trust, asked_for, short};

impl Case<'_> {
    pub(super) fn by_grant(&self) -> Said {
        let Question { parents, in_view, .. } = self.question;
        if parents.is_empty() {
            return self.deny("no-command", "only a running command connects to a place".to_owned());
        }
        if in_view.integrity != Integrity::Untrusted {
            let why = "commands may reach it by the operator's grant, and nothing untrusted is in view";
            return self.allow("granted", why.to_owned());
        }
        let is_named = self.is_place_named();
        let Some(by) = self.asked_for_maker(is_named) else {
            let maker = parents.first().map(|parent| parent.manifest.name.as_str()).unwrap_or_default();
            let why = format!("nothing you said asks for `{maker}`, which makes it, and untrusted content is in view");
            return self.deny("not-asked", why);
        };
        if in_view.confidentiality > Confidentiality::Public && !is_named {
            let place = self.facts.traced.first().map(|traced| short(&traced.value)).unwrap_or_default();
            let why = format!(
                "private data and untrusted content are in view, what a command sends to `{place}` cannot be seen, and \
                 you did not name that place"
            );
            return self.ask("private", why);
        }
        let why = format!("commands may reach it by the operator's grant, and you asked for this one (`{by}`)");
        self.allow("granted-and-asked", why)
    }

    /// The words by which the user asked for one of the calls that make this one, whatever these declare. A clause that
    /// names the place (`install it from …`) is about another object than the command line, and asks for it all the same.
    fn asked_for_maker(&self, is_named: bool) -> Option<String> {
        self.question.parents.iter().find_map(|parent| {
            let effect = parent.manifest.effect_of(parent.args);
            let made = Question { manifest: parent.manifest, args: parent.args, effect, ..*self.question };
            match asked_for(&made, self.tracer, &Facts::of(&made, self.tracer)).0 {
                Asked::Clearly(by) => Some(by),
                Asked::Perhaps(by) if is_named => Some(by),
                Asked::Perhaps(_) | Asked::Unclear(_) | Asked::No => None,
            }
        })
    }

    /// Whether the user's own words hold the host; nobody writes the port.
    fn is_place_named(&self) -> bool {
        let mut places = self.facts.traced.iter().filter(|traced| !traced.is_inside).peekable();
        let is_said = |traced: &Traced| {
            let host = traced.value.rsplit_once(':').map_or(traced.value.as_str(), |(host, _)| host);
            traced.trust == Trust::Said || self.tracer.text(host).0 == Trust::Said
        };
        places.peek().is_some() && places.all(is_said)
    }
}
