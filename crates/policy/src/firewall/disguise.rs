//! The ways in which a text can hide what it says, by name.

/// A way of hiding words from a reader or from a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disguise {
    /// Written in characters that show nothing.
    Hidden,
    /// Broken up by characters that show nothing.
    Invisible,
    /// Direction controls.
    Direction,
    /// Look-alike letters of other scripts.
    Lookalikes,
    /// Full-width, mathematical, circled letters or small capitals.
    Styled,
    /// Piled-up accents.
    Marks,
    /// Letters with something between them.
    Spaced,
    /// Digits and signs for letters.
    Leet,
    /// Letters of words in another order.
    Scrambled,
    /// Letters replaced by others in a fixed way, or read backwards.
    Cipher,
    /// An encoding of bytes.
    Encoded,
}

impl Disguise {
    const ALL: [Self; 11] = [
        Self::Hidden,
        Self::Invisible,
        Self::Direction,
        Self::Lookalikes,
        Self::Styled,
        Self::Marks,
        Self::Spaced,
        Self::Leet,
        Self::Scrambled,
        Self::Cipher,
        Self::Encoded,
    ];

    /// As a reason.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Hidden => "disguise:hidden_characters",
            Self::Invisible => "disguise:invisible_characters",
            Self::Direction => "disguise:direction_controls",
            Self::Lookalikes => "disguise:lookalike_letters",
            Self::Styled => "disguise:styled_letters",
            Self::Marks => "disguise:piled_accents",
            Self::Spaced => "disguise:spaced_letters",
            Self::Leet => "disguise:digits_for_letters",
            Self::Scrambled => "disguise:scrambled_words",
            Self::Cipher => "disguise:cipher",
            Self::Encoded => "disguise:encoded",
        }
    }
}

/// A set of disguises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Disguises(u16);

impl Disguises {
    pub(super) const fn insert(&mut self, disguise: Disguise) {
        self.0 |= 1 << disguise as u16;
    }

    pub(super) const fn with(mut self, disguise: Disguise) -> Self {
        self.insert(disguise);
        self
    }

    pub(super) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn contains(self, disguise: Disguise) -> bool {
        self.0 & (1 << disguise as u16) != 0
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Disguise> {
        Disguise::ALL.into_iter().filter(move |disguise| self.contains(*disguise))
    }
}
