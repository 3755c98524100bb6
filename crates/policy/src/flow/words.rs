//! Function words of English and Chinese, by what they do in a sentence.
//!
//! These are the only natural words in the flow code. They carry no meaning of
//! their own (articles, pronouns, auxiliaries, prepositions, conjunctions), so
//! they say nothing about any tool, suite or user; what a sentence is *about*
//! is compared with the tools' own declarations only. Chinese words are looked
//! for in the text itself, since it is written without spaces.

/// Begin a question.
const QUESTION: &[&str] = &["what", "when", "where", "why", "how", "who", "whom", "whose", "which"];
/// Mark a Chinese question wherever they stand.
const QUESTION_ZH: &[&str] = &[
    "吗",
    "呢",
    "什么",
    "怎么",
    "多少",
    "为什么",
    "为何",
    "哪",
    "谁",
    "几个",
    "几次",
    "是否",
    "有没有",
    "对不对",
    "是不是",
];
/// Subjects and determiners that begin a statement.
const PRONOUNS: &[&str] = &[
    "i", "we", "they", "he", "she", "it", "there", "this", "that", "these", "those", "my", "our", "their", "his",
    "her", "its", "you", "your", "a", "an", "the", "any", "some", "no",
];
/// Determiners that may also stand behind `do` or `have` in a request.
const DETERMINERS: &[&str] = &["this", "that", "these", "those", "it", "my", "our", "a", "an", "the", "any", "some"];
const AUXILIARIES: &[&str] = &[
    "is", "are", "was", "were", "be", "am", "do", "does", "did", "have", "has", "had", "will", "would", "shall",
    "should", "can", "could", "may", "might", "must",
];
/// Auxiliaries that are verbs of requests too.
const PLAIN_VERBS: &[&str] = &["do", "be", "have"];
/// Auxiliaries that make a statement of what precedes them; `do`, `may` and `can` are nouns and names too.
const FINITE: &[&str] = &[
    "is", "are", "was", "were", "be", "am", "does", "did", "have", "has", "had", "will", "would", "shall", "should",
    "could", "might", "must",
];
/// Begin a subordinate clause, so that what follows is not the main verb.
const SUBORDINATORS: &[&str] = &[
    "that",
    "which",
    "who",
    "what",
    "if",
    "when",
    "whether",
    "where",
    "how",
    "whose",
    "whom",
    "as",
    "because",
    "than",
    "while",
    "until",
    "unless",
    "once",
    "so",
    "whoever",
    "whatever",
    "whichever",
];
/// Stand for somebody or something that the rest of the clause describes.
const INDEFINITES: &[&str] =
    &["whoever", "whatever", "whichever", "everything", "anyone", "anybody", "somebody", "someone"];
/// Stand for an object, or before it.
const OBJECTS: &[&str] =
    &["it", "them", "him", "her", "us", "me", "a", "an", "the", "this", "that", "these", "those", "my", "our"];
/// Begin a clause of their own within another, or are its subject.
const OPENERS: &[&str] = &[
    "i", "we", "they", "he", "she", "you", "what", "which", "who", "whom", "whose", "if", "when", "whether", "where",
    "how", "why", "because", "while", "until", "unless", "before", "since", "though", "although",
];
/// Subjects of a clause, which are no objects too.
const SUBJECTS: &[&str] = &["i", "we", "they", "he", "she"];
/// Make a prohibition of a request; the first words of `don't` and its like are words of their own.
const NEGATORS: &[&str] = &[
    "not", "never", "no", "nobody", "nothing", "none", "neither", "nor", "cannot", "don", "doesn", "didn", "won",
    "wouldn", "shouldn", "mustn",
];
const NEGATORS_ZH: &[&str] =
    &["不要", "不用", "不许", "不准", "不能", "不得", "不可", "勿", "禁止", "别再", "别把", "别给", "别发", "别向"];
/// Say that somebody wants what follows; what they want is another word's matter.
const VOLITIONS: &[&str] = &["want", "need", "like", "wish", "must", "have", "ask"];
/// Stand before a request without changing it.
const LEAD_INS: &[&str] =
    &["please", "kindly", "also", "then", "so", "hey", "hi", "hello", "now", "first", "next", "after", "that", "just"];
/// Part clauses.
const CONNECTIVES: &[&str] = &["and", "then", "but"];
/// Point to where something goes.
const DIRECTIONS: &[&str] = &["to", "into", "onto", "for"];
const DIRECTIONS_ZH: &[&str] = &["给", "到", "向", "往", "至"];
/// Ask for more than one.
const QUANTIFIERS: &[&str] = &["all", "each", "every", "everyone", "everybody"];
const QUANTIFIERS_ZH: &[&str] = &["所有", "全部", "每", "各", "都", "大家"];
/// Stand for what is said elsewhere: `do what the file says`.
const FREE_RELATIVES: &[&str] = &["what", "whatever", "everything"];
const FREE_RELATIVES_ZH: &[&str] = &["按照", "照着", "按"];
/// Stands for any verb: `do all of it`.
const PRO_VERB: &str = "do";
/// Everything else without meaning of its own.
const OTHERS: &[&str] = &[
    "and", "or", "but", "nor", "too", "because", "while", "though", "although", "until", "unless", "since", "to",
    "into", "onto", "of", "in", "on", "at", "by", "for", "from", "with", "without", "about", "against", "between",
    "through", "during", "before", "above", "below", "over", "under", "within", "up", "down", "out", "off", "near",
    "been", "being", "done", "doing", "having", "not", "only", "very", "really", "here", "again", "once", "both",
    "few", "more", "most", "other", "such", "own", "same", "let", "s", "t", "re", "ve", "ll", "d", "m", "don", "doesn",
    "didn", "isn", "aren", "wasn", "weren", "me", "him", "us", "them", "mine", "yours", "hers", "ours", "theirs",
    "than", "if", "as",
];

macro_rules! is_in {
    ($($(#[$doc:meta])* $name:ident = $($list:ident)|+;)+) => {
        $($(#[$doc])* pub(super) fn $name(word: &str) -> bool { $($list.contains(&word))||+ })+
    };
}

is_in! {
    /// A word without meaning of its own.
    is_stop = OTHERS | QUESTION | PRONOUNS | AUXILIARIES | LEAD_INS | QUANTIFIERS;
    is_question = QUESTION;
    is_pronoun = PRONOUNS;
    is_determiner = DETERMINERS;
    is_auxiliary = AUXILIARIES;
    is_plain_verb = PLAIN_VERBS;
    is_finite = FINITE;
    is_subordinator = SUBORDINATORS;
    is_lead_in = LEAD_INS;
    is_connective = CONNECTIVES;
    is_quantifier = QUANTIFIERS;
    is_free_relative = FREE_RELATIVES;
    is_opener = OPENERS;
    is_subject = SUBJECTS;
    is_indefinite = INDEFINITES;
    is_object = OBJECTS;
    is_negator = NEGATORS;
    is_volition = VOLITIONS;
}

/// A verb that stands for others.
pub(super) fn is_pro_verb(word: &str) -> bool {
    word == PRO_VERB
}

/// Whether a Chinese text asks to do as something says.
pub(super) fn follows_in_chinese(text: &str) -> bool {
    FREE_RELATIVES_ZH.iter().any(|word| text.contains(word))
}

/// A word of direction: `to Alice`, `给Alice`.
pub(super) fn is_direction(word: &str) -> bool {
    DIRECTIONS.contains(&word) || DIRECTIONS_ZH.contains(&word)
}

/// Whether a Chinese text asks a question.
pub(super) fn asks_in_chinese(text: &str) -> bool {
    QUESTION_ZH.iter().any(|word| text.contains(word))
}

/// Whether a Chinese text forbids something.
pub(super) fn forbids_in_chinese(text: &str) -> bool {
    NEGATORS_ZH.iter().any(|word| text.contains(word))
}

/// Whether a text asks for more than one, in Chinese.
pub(super) fn is_plural_in_chinese(text: &str) -> bool {
    QUANTIFIERS_ZH.iter().any(|word| text.contains(word))
}
