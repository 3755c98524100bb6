//! Whether the user asked for a call: this tool, about this object, this often.
//!
//! A clause asks for a tool clearly when it uses the tool's verb and no other
//! tool fits the rest of the clause better, when it names most of the tool's
//! words and no reading tool as many, when it uses a declared intent, or when
//! it sends something to the call's destination in so many words. A clause
//! that names objects of which the call has none asks for another call. What
//! is left is a doubt: a request whose verb no tool explains.

use are_core::body::Effect;
use serde_json::Value;

use super::request::{Clause, Kind, Mention, Token};
use super::text::{Needle, Text};
use super::trace::{Traced, Tracer, Trust, selectors};
use super::view::Source;
use super::vocabulary::{Stems, ToolWords};
use super::words;
use crate::manifest::{Manifest, Role};

/// Share of a tool's words that must be named when its verb is not: three of five.
const NAMED_SHARE: (usize, usize) = (3, 5);
/// Words of a tool that must be named when its verb is not.
const NAMED_MIN: usize = 2;

/// Whether a call was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Yes, by this word or phrase.
    Clearly(String),
    /// It may have been: the request names the tool's things, but another verb or object.
    Perhaps(String),
    /// There is a request that no tool explains.
    Unclear(String),
    /// No.
    No,
}

/// What a call is about.
pub(super) struct Subject<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) tool: &'a ToolWords,
    /// Checked arguments, traced; no links inside content.
    pub(super) traced: &'a [Traced],
    /// Its short contents, among them the name of what it makes.
    pub(super) names: &'a [String],
    /// True when its content consists of the user's words, or it has none.
    pub(super) is_worded: bool,
}

impl Tracer<'_> {
    /// Whether the running turn asks for the call, and the clause that clearly does.
    pub(super) fn asked(&self, call: &Subject<'_>) -> (Asked, Option<&Clause>) {
        let clauses = &self.request.clauses;
        let mut doubt = None;
        for clause in clauses.iter().filter(|clause| matches!(clause.kind, Kind::Request | Kind::Statement)) {
            if let Some(destination) = self.sends_there(clause, call) {
                return (Asked::Clearly(format!("to {destination}")), Some(clause));
            }
            match self.asks(clause, call.tool) {
                Some(by) if !self.is_about_others(clause, call) => return (Asked::Clearly(by), Some(clause)),
                Some(by) => doubt = Some(format!("`{by}`, but about something else")),
                None if let Some(by) = self
                    .names_only(clause, call)
                    .or_else(|| self.bids(clause, call))
                    .or_else(|| self.makes_named(clause, call))
                    && !self.is_about_others(clause, call) =>
                {
                    return (Asked::Clearly(by), Some(clause));
                }
                None if doubt.is_none() && score(call.tool, clause) > 0 => doubt = Some("its name".to_owned()),
                None => {}
            }
        }
        if let Some(doubt) = doubt {
            return (Asked::Perhaps(doubt), None);
        }
        let head = |clause: &Clause| clause.head.map(|head| clause.tokens[head].word.clone());
        let unexplained = clauses.iter().find(|clause| self.is_unexplained(clause));
        match unexplained.or_else(|| clauses.iter().find(|clause| clause.kind == Kind::Request)) {
            Some(clause) => (Asked::Unclear(head(clause).unwrap_or_else(|| clause.text.as_str().to_owned())), None),
            None => (Asked::No, None),
        }
    }

    /// Whether the user forbade what a value names, and nowhere asks for it.
    pub(super) fn is_forbidden(&self, traced: &Traced) -> bool {
        let Some(value) = Needle::new(&traced.value) else { return false };
        let stands = |kind: Kind| {
            self.request.clauses.iter().any(|clause| clause.kind == kind && clause.text.find(&value, 0).is_some())
        };
        stands(Kind::Prohibition) && !stands(Kind::Request)
    }

    /// Whether a said value is the object of a request whose verb no tool explains, or the tool is asked for and the
    /// value named beside it.
    pub(super) fn is_ruled(&self, traced: &Traced, tool: &ToolWords) -> bool {
        let Some(value) = Needle::new(&traced.value) else { return false };
        let clauses = &self.request.clauses;
        let is_named = |clause: &Clause| {
            matches!(clause.kind, Kind::Request | Kind::Statement)
                && (clause.names(&value) || clause.text.find(&value, 0) == Some(0))
        };
        // `Set up a standing order. The recipient is …`
        let stems = Stems::new();
        let parameter: Vec<String> = Text::new(&traced.arg).words().map(|word| stems.of(word)).collect();
        let fills_in = |clause: &Clause| {
            clause.kind == Kind::Statement
                && clause.text.find(&value, 0).is_some()
                && parameter.iter().all(|stem| clause.has_stem(stem))
        };
        let is_new =
            |clause: &Clause| score(tool, clause) >= NAMED_MIN && clause.asks_for_new(|stem| tool.names.contains(stem));
        clauses.iter().any(|clause| clause.rules(&value) && self.is_unexplained(clause))
            || (clauses.iter().any(is_new) && clauses.iter().any(fills_in))
            || (clauses.iter().any(|clause| self.asks(clause, tool).is_some()) && clauses.iter().any(is_named))
    }

    /// The word by which a clause asks for a tool, whatever the call is about.
    fn asks(&self, clause: &Clause, tool: &ToolWords) -> Option<String> {
        let declared = tool.intents.iter().find(|phrase| clause.uses(phrase));
        if let Some(phrase) = declared {
            return Some(phrase.text.as_str().to_owned());
        }
        let others = || self.vocabulary().tools().map(|(_, other)| other).filter(|other| !std::ptr::eq(*other, tool));
        let score_of = |other: &ToolWords| 2 * score(other, clause);
        let verbs: Vec<&String> = tool.actions.iter().filter(|verb| clause.asks_by(verb)).collect();
        if let Some(verb) = verbs.first() {
            let shares_verb = |other: &&ToolWords| verbs.iter().any(|verb| other.actions.contains(*verb));
            let rival = others().filter(shares_verb).map(score_of).max().unwrap_or(0);
            let is_named = verbs.iter().any(|verb| tool.named_actions.contains(*verb));
            let own = score_of(tool) + usize::from(!is_named);
            return (own >= rival).then(|| (*verb).clone());
        }
        let named = tool.names.iter().filter(|stem| clause.rules_stem(stem)).count();
        let is_named = clause.kind == Kind::Request
            && named >= NAMED_MIN
            && named * NAMED_SHARE.1 >= tool.names.len() * NAMED_SHARE.0;
        let rival = others().filter(|other| !other.acts).map(score_of).max().unwrap_or(0);
        (is_named && 2 * named > rival).then(|| tool.names.iter().cloned().collect::<Vec<_>>().join(" "))
    }

    /// The word of a clause that means this tool and no other that could be meant, where no tool's verb asks: `get me a
    /// table` for the only tool that makes one, `give it two more replicas` for the only one about them. Nothing but what
    /// is mild is asked for so, with values that the user or a service stands for, and nobody hears of it whom the user
    /// did not name.
    fn names_only(&self, clause: &Clause, call: &Subject<'_>) -> Option<String> {
        let makes = call.manifest.effect == Effect::Create;
        let is_ours = |traced: &Traced| match (call.manifest.effect, call.manifest.role_of(&traced.arg)) {
            (Effect::Create | Effect::Modify, Role::Selector) => traced.trust.is_trusted(),
            (Effect::Create | Effect::Modify | Effect::Send, _) => self.is_named(traced),
            _ => false,
        };
        if clause.is_doubtful || call.traced.is_empty() || !call.traced.iter().all(is_ours) {
            return None;
        }
        let others =
            || self.vocabulary().tools().map(|(_, other)| other).filter(|other| !std::ptr::eq(*other, call.tool));
        let ruled: Vec<&Token> = clause.ruled_words().collect();
        let is_about = |other: &ToolWords, token: &&Token| other.subject.contains(&token.stem);
        let has_verb =
            |other: &&ToolWords| clause.head.is_some_and(|head| other.actions.contains(&clause.tokens[head].word));
        let is_rival = |other: &ToolWords| other.acts || ruled.iter().any(|token| is_about(other, token));
        if others().filter(has_verb).any(is_rival) {
            return None;
        }
        let is_only = |tool: &ToolWords, token: &&Token, makes: bool| {
            let having = |(_, other): &(_, &ToolWords)| (other.makes || !makes) && is_about(other, token);
            let mut having = self.vocabulary().tools().filter(having);
            having.next().is_some_and(|(_, first)| std::ptr::eq(first, tool)) && having.next().is_none()
        };
        let word = ruled.iter().find(|token| is_only(call.tool, token, makes))?;
        // `Show me the table` asks for nothing new, and `check the replicas` changes nothing.
        let is_meant = match call.manifest.effect == Effect::Modify {
            true => clause.gives_to_something(),
            false => clause.asks_for_new(|stem| stem == word.stem),
        };
        let is_others = |other: &ToolWords| ruled.iter().any(|token| is_only(other, token, false));
        (is_meant && !others().any(is_others)).then(|| word.word.clone())
    }

    /// The main verb of a clause, when it stands in this tool's name and in no other's (`execute it` for `sql_execute`),
    /// and the user said what is to be done with.
    fn bids(&self, clause: &Clause, call: &Subject<'_>) -> Option<String> {
        let verb = &clause.tokens[clause.head.filter(|_| clause.kind == Kind::Request && !clause.is_doubtful)?];
        let others = || self.vocabulary().tools().filter(|(_, other)| !std::ptr::eq(*other, call.tool));
        let is_taken =
            |(_, other): (_, &ToolWords)| other.names.contains(&verb.stem) || other.actions.contains(&verb.word);
        let is_grave = matches!(call.manifest.effect, Effect::Financial | Effect::Share | Effect::Credential);
        let is_said = !is_grave && !call.traced.is_empty() && call.traced.iter().all(|one| one.trust == Trust::Said);
        (is_said && call.tool.names.contains(&verb.stem) && !others().any(is_taken)).then(|| verb.word.clone())
    }

    /// The name that a clause gives to something new, where no tool's verb asks and this call makes it: `save the points as
    /// 'plan.txt'`.
    fn makes_named(&self, clause: &Clause, call: &Subject<'_>) -> Option<String> {
        let is_ours = call.traced.iter().all(|traced| self.is_named(traced));
        let is_open = clause.head.is_some_and(|head| {
            let word = &clause.tokens[head].word;
            !self.vocabulary().tools().any(|(_, other)| other.acts && other.actions.contains(word))
        });
        if call.manifest.effect != Effect::Create || clause.kind != Kind::Request || !is_ours || !is_open {
            return None;
        }
        let is_given = |name: &&String| {
            Needle::new(name).is_some_and(|value| {
                let is_name = value.is_address() || clause.mentions.iter().any(|one| one.text.text == value.text);
                is_name && ["as", "to", "into"].iter().any(|word| clause.goes_by(word, &value))
            })
        };
        call.names.iter().find(is_given).cloned()
    }

    /// The destination that a clause names behind a word of direction, when all of the call's were said.
    fn sends_there(&self, clause: &Clause, call: &Subject<'_>) -> Option<String> {
        if clause.kind != Kind::Request {
            return None;
        }
        let is_destination = |traced: &&Traced| call.manifest.role_of(&traced.arg) == Role::Destination;
        let destinations: Vec<&Traced> = call.traced.iter().filter(is_destination).collect();
        let looked_up = |traced: &Traced| traced.found.and_then(|place| self.looked_up_by(place));
        if destinations.is_empty()
            || destinations.iter().any(|traced| traced.trust != Trust::Said && looked_up(traced).is_none())
        {
            return None;
        }
        let goes_to = |value: &Needle| {
            clause.goes_to(value)
                || (call.manifest.effect == Effect::Send && clause.tells(value))
                || self.request.tells_address(clause, value)
        };
        let said = |traced: &Traced| match traced.trust == Trust::Said {
            true => Needle::new(&traced.value),
            false => looked_up(traced),
        };
        let there = destinations.iter().find(|traced| said(traced).is_some_and(|value| goes_to(&value)))?;
        let mut named = call.tool.names.iter().chain(&call.tool.described).filter(|stem| clause.rules_stem(stem));
        let is_heads = |stem: &&String| clause.head.is_some_and(|head| clause.tokens[head].stem == **stem);
        let is_open = clause.head.is_some_and(|head| !self.knows(clause, head));
        // `Look it up for Bob` says whose it is, not where it goes.
        if is_open && said(there).is_some_and(|value| clause.goes_by("for", &value)) {
            return None;
        }
        let is_grave = matches!(call.manifest.effect, Effect::Financial | Effect::Share | Effect::Destructive);
        // What it is sent by, and what no reading tool is about, may stand beside the destination.
        let reads =
            |stem: &String| self.vocabulary().tools().any(|(_, other)| !other.acts && other.names.contains(stem));
        let is_free = |stem: &String| {
            clause.is_means(stem)
                || clause.asks_for_new(|word| word == stem)
                || (!reads(stem) && said(there).is_some_and(|value| clause.goes_by("to", &value)))
        };
        // `Give it to Bob` may be any tool's. In `check the mail to Bob` it is the mail that went there.
        let is_asked = match is_open {
            true => !is_grave && (call.is_worded || named.all(|stem| is_heads(&stem) || is_free(stem))),
            false => named.next().is_some(),
        };
        is_asked.then(|| there.value.clone())
    }

    fn knows(&self, clause: &Clause, at: usize) -> bool {
        let token = &clause.tokens[at];
        self.vocabulary().knows(&token.word, &token.stem)
    }

    /// Whether the clause names objects, and the call is not about them: about none, or with a value beside them that
    /// the user neither said nor described, as somebody who gets it or in place of another that was named.
    fn is_about_others(&self, clause: &Clause, call: &Subject<'_>) -> bool {
        if call.traced.is_empty() {
            return false;
        }
        let looked_up: Vec<String> = call.traced.iter().flat_map(|traced| self.looked_up(traced)).collect();
        let objects: Vec<&Needle> = clause
            .mentions
            .iter()
            .filter(|mention| self.is_object(clause, mention))
            // What stands in a condition before the verb is not what the verb is about.
            .filter(|mention| clause.head.is_none_or(|head| clause.text.find(&mention.text, head).is_some()))
            .map(|mention| &mention.text)
            // What the value was read from is named too, but it is not what the verb is about.
            .filter(|object| !looked_up.iter().any(|one| *one == object.text.as_str()))
            .collect();
        if objects.is_empty() {
            return false;
        }
        if !call.traced.iter().any(|traced| self.is_meant(clause, traced, &objects)) {
            return true;
        }
        let is_left = objects.iter().any(|object| !call.traced.iter().any(|traced| self.is_object_of(traced, object)));
        call.traced.iter().filter(|traced| !self.is_meant(clause, traced, &objects)).any(|traced| {
            let is_chosen = traced.trust == Trust::Vouched && !self.is_named(traced);
            match call.manifest.role_of(&traced.arg) {
                Role::Destination if traced.trust == Trust::Said => clause.text.find_value(&traced.value),
                Role::Destination | Role::Identity | Role::Credential => is_chosen,
                Role::Selector | Role::Content | Role::Amount | Role::Time | Role::Option => is_chosen && is_left,
            }
        })
    }

    fn is_object(&self, clause: &Clause, mention: &Mention) -> bool {
        let is_known = mention.text.text.len() == 1 && {
            let word = mention.text.text.word(0);
            words::is_stop(word)
                || clause.tokens.iter().any(|token| token.word == word && self.vocabulary().knows(word, &token.stem))
        };
        let stands_as_object = mention.behind.is_none_or(|at| {
            let word = &clause.tokens[at].word;
            words::is_direction(word)
                || clause.head == Some(at)
                || at.checked_sub(1).is_some_and(|before| clause.tokens[before].word == "to")
                || (at < 2 && self.knows(clause, at))
        });
        !is_known && stands_as_object
    }

    /// Whether a value is one of the objects, stands beside one in its record, or is named in the clause itself.
    fn is_meant(&self, clause: &Clause, traced: &Traced, objects: &[&Needle]) -> bool {
        let Some(value) = Needle::new(&traced.value) else { return false };
        if clause.text.find(&value, 0).is_some() && (traced.trust != Trust::Said || clause.names(&value)) {
            return true;
        }
        if traced.trust == Trust::Said && objects.iter().any(|object| is_named_after(&value, object)) {
            return true;
        }
        (traced.trust == Trust::Described && clause.tokens.iter().any(|token| token.word == value.text.word(0)))
            || objects.iter().any(|object| self.stands_beside(traced, object))
    }

    /// Whether a value is the object, a part of it, or stands beside it in its record.
    fn is_object_of(&self, traced: &Traced, object: &Needle) -> bool {
        let is_part = |value: Needle| {
            value.text.find(object, 0).is_some()
                || object.text.find(&value, 0).is_some()
                || (traced.trust == Trust::Said && is_named_after(&value, object))
                || traced.trust == Trust::Described
        };
        Needle::new(&traced.value).is_some_and(is_part) || self.stands_beside(traced, object)
    }

    fn stands_beside(&self, traced: &Traced, object: &Needle) -> bool {
        match (traced.trust, traced.found) {
            (Trust::Vouched | Trust::Described | Trust::Item, Some(place)) => {
                let own = self.view.leaf(place.leaf);
                own.text.find(object, 0).is_some() && own.record.is_none()
                    || self.view.record(place.leaf).any(|field| field.text.find(object, 0).is_some())
            }
            _ => false,
        }
    }

    /// What was looked up to get a value.
    fn looked_up(&self, traced: &Traced) -> Vec<String> {
        let Some(Source::Tool { name, args }) = traced.found.map(|place| self.view.source_of(place.leaf)) else {
            return Vec::new();
        };
        let manifest = self.tools.get(name).map(|(manifest, _)| manifest);
        let selectors = selectors(manifest, &Value::Object(args.to_map()));
        selectors.iter().filter_map(|one| Some(Needle::new(one)?.text.as_str().to_owned())).collect()
    }

    /// A request whose verb no tool explains.
    fn is_unexplained(&self, clause: &Clause) -> bool {
        match clause.head {
            _ if clause.kind != Kind::Request || clause.is_doubtful => false,
            Some(head) => !self.knows(clause, head),
            // Written without spaces: only declared intents could explain it.
            None => !self.vocabulary().tools().any(|(_, tool)| tool.intents.iter().any(|one| clause.uses(one))),
        }
    }

    /// Whether the request as a whole is to do what a source says, and no tool was asked for by itself.
    pub(super) fn delegates_to(&self, source: usize) -> bool {
        let clauses = &self.request.clauses;
        let asks_itself = |clause: &Clause| {
            matches!(clause.kind, Kind::Request | Kind::Statement)
                && self.vocabulary().tools().any(|(name, tool)| {
                    let reads_only = self.tools.get(name.as_str()).is_some_and(|(manifest, _)| {
                        matches!(manifest.effect, are_core::body::Effect::None | are_core::body::Effect::NetworkRead)
                    });
                    tool.acts && !reads_only && self.asks(clause, tool).is_some()
                })
        };
        clauses
            .iter()
            .any(|clause| delegates(clause) && (self.names_source(clause, source) || self.means_source(clause, source)))
            && clauses.iter().any(|clause| self.is_unexplained(clause) || delegates(clause))
            && !clauses.iter().any(asks_itself)
    }

    /// Whether a clause speaks of somebody (`everything she asks for`) and the user's words hold what the source was looked
    /// up by.
    fn means_source(&self, clause: &Clause, source: usize) -> bool {
        let Source::Tool { name, args } = self.view.source_at(source) else { return false };
        let manifest = self.tools.get(name).map(|(manifest, _)| manifest);
        let is_pointed = self.is_pointed(source);
        let is_said = |one: &String| {
            Needle::new(one).is_some_and(|value| (is_pointed || value.text.len() > 1) && self.is_said(&value))
        };
        wish_of_others(clause) && selectors(manifest, &Value::Object(args.to_map())).iter().any(is_said)
    }

    /// Whether the user said where a value is to be found: words name what it was read with and ask for the argument there,
    /// as in `he mailed me which address`.
    pub(super) fn says_where(&self, traced: &Traced) -> bool {
        let Some(Source::Tool { name, .. }) = traced.found.map(|place| self.view.source_of(place.leaf)) else {
            return false;
        };
        let Ok(name) = name.parse() else { return false };
        let Some(tool) = self.vocabulary().of(&name) else { return false };
        let stems = Stems::new();
        let argument: Vec<String> =
            Text::new(&traced.arg).words().filter(|word| !words::is_stop(word)).map(|word| stems.of(word)).collect();
        let is_with =
            |stem: &String| tool.names.contains(stem) && !tool.actions.iter().any(|verb| stems.of(verb) == *stem);
        self.request.clauses.iter().filter(|clause| clause.kind != Kind::Prohibition).any(|clause| {
            let asks_there = |pair: &[Token]| words::is_question(&pair[0].word) && argument.contains(&pair[1].stem);
            clause.tokens.windows(2).any(asks_there) && clause.tokens.iter().any(|token| is_with(&token.stem))
        })
    }

    /// Whether a clause asks for all of what an argument says: `add all users` of `user`.
    pub(super) fn asks_for_all(&self, clause: &Clause, arg: &str) -> bool {
        let stems = Stems::new();
        let arg: Vec<String> = Text::new(arg).words().map(|word| stems.of(word)).collect();
        matches!(arg.as_slice(), [one] if clause.asks_for_all(|stem| stem == one))
    }

    /// Whether a clause names what was looked up, or the way to it began there.
    fn names_source(&self, clause: &Clause, source: usize) -> bool {
        let Source::Tool { name, args } = self.view.source_at(source) else { return true };
        let manifest = self.tools.get(name).map(|(manifest, _)| manifest);
        let selectors = selectors(manifest, &Value::Object(args.to_map()));
        let is_named = |one: &String| Needle::new(one).is_some_and(|value| clause.text.find(&value, 0).is_some());
        let is_said = |one: &String| Needle::new(one).is_some_and(|value| self.is_said(&value));
        selectors.iter().any(is_named) || (self.is_pointed(source) && !selectors.iter().all(is_said))
    }
}

/// Whether an e-mail address is that of somebody of this name: `bob.miller@a.example` is Bob's.
fn is_named_after(address: &Needle, name: &Needle) -> bool {
    name.text.len() == 1 && address.local_words().any(|word| word == name.text.word(0))
}

/// How many of a tool's words a clause names.
fn score(tool: &ToolWords, clause: &Clause) -> usize {
    tool.names.iter().filter(|stem| clause.has_stem(stem)).count()
}

/// `Everything she asks for`, `the way he wants it`.
fn wish_of_others(clause: &Clause) -> bool {
    let wants = |pair: &[Token]| {
        let verb = pair[1].word.strip_suffix('s').unwrap_or(&pair[1].word);
        matches!(pair[0].word.as_str(), "he" | "she" | "they") && words::is_volition(verb)
    };
    clause.tokens.windows(2).any(wants)
}

/// `Do all of it`, `fix what the issue asks for`.
fn delegates(clause: &Clause) -> bool {
    if clause.kind != Kind::Request {
        return false;
    }
    match clause.head {
        Some(head) => {
            words::is_pro_verb(&clause.tokens[head].word)
                || clause.tokens[head + 1..].iter().any(|token| words::is_free_relative(&token.word))
        }
        None => words::follows_in_chinese(clause.text.as_str()),
    }
}
