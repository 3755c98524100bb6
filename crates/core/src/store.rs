//! The port to durable storage. SQLite is one implementation, PostgreSQL the next.
//!
//! A store keeps rows and projections and compares fences; it neither reads
//! what records say nor hashes anything but to keep a leaf hash.

use crate::BoxFuture;
use crate::body::Scope;
use crate::digest::Digest;
use crate::ids::{
    AccountId, AgentName, Epoch, Fence, GroupName, MemoryId, RequestId, Seq, SessionKey, ThreadId, TurnNo, VariableName,
};
use crate::journal::{Head, Row};
use crate::spent::Spent;

/// How safe an append must be before its [`Receipt`] exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// Committed: survives the process.
    Written,
    /// Synced: survives the power.
    Durable,
}

/// Proof that an append happened. Made only by stores (a census test holds it).
#[derive(Debug, PartialEq, Eq)]
pub struct Receipt {
    session: SessionKey,
    fence: Fence,
    last: Seq,
    durability: Durability,
}

impl Receipt {
    /// For implementations of [`Store`] only.
    #[must_use]
    pub const fn issue(session: SessionKey, fence: Fence, last: Seq, durability: Durability) -> Self {
        Self { session, fence, last, durability }
    }

    /// Session of the append.
    #[must_use]
    pub const fn session(&self) -> SessionKey {
        self.session
    }

    /// Fence under which it was made.
    #[must_use]
    pub const fn fence(&self) -> Fence {
        self.fence
    }

    /// Last entry of the append.
    #[must_use]
    pub const fn last(&self) -> Seq {
        self.last
    }

    /// How safe it is.
    #[must_use]
    pub const fn durability(&self) -> Durability {
        self.durability
    }
}

/// What can go wrong, by what the caller can do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no such session, object, artifact or token.
    #[error("not found")]
    NotFound,
    /// Somebody else has taken the session; this actor must end.
    #[error("another instance owns the session")]
    Fenced,
    /// The head is not where the caller thought; only a bug or an edited store does this.
    #[error("the journal's head is {found:?}")]
    HeadMoved {
        /// Where it is.
        found: Head,
    },
    /// The request id is taken.
    #[error("the request id belongs to turn {turn} of {session}")]
    RequestTaken {
        /// Session of the earlier request.
        session: SessionKey,
        /// Its turn.
        turn: TurnNo,
        /// Digest of its content.
        content: Digest,
    },
    /// No space left; nothing was written, later appends may succeed.
    #[error("no space left on the device")]
    Full,
    /// Stored data is unreadable.
    #[error("the store is corrupt: {0}")]
    Corrupt(String),
    /// A write or sync failed in a way that leaves its state unknown: stop the process.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// A session as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Key.
    pub key: SessionKey,
    /// Owner.
    pub owner: AccountId,
    /// Agent.
    pub agent: AgentName,
    /// Workspace.
    pub workspace: String,
    /// Fence.
    pub fence: Fence,
    /// Epoch.
    pub epoch: Epoch,
    /// End of the journal.
    pub head: Head,
    /// Account that spoke last.
    pub last_account_id: AccountId,
    /// Thread it spoke from.
    pub last_thread_id: Option<ThreadId>,
    /// First words of the first prompt, at most 80 characters; empty before.
    pub title: String,
    /// Turns started.
    pub turns: TurnNo,
    /// Creation, milliseconds since 1970.
    pub created_at_ms: u64,
    /// Last turn, milliseconds since 1970.
    pub updated_at_ms: u64,
    /// True after `session delete`.
    pub is_deleted: bool,
}

/// Change of a projection, made in the transaction of the append that causes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The session begins; first change of its first append. `fence`, `epoch` and `head` of the row are
    /// set by the store (fence 1, current epoch, the append's head).
    CreateSession(Box<SessionRow>),
    /// A turn begins.
    StartTurn {
        /// Its number.
        turn: TurnNo,
        /// Who spoke.
        account: AccountId,
        /// From where.
        thread: ThreadId,
        /// Sets the title when that is still empty.
        title: String,
        /// When.
        at_ms: u64,
    },
    /// Claims a request id; [`StoreError::RequestTaken`] when it is taken.
    Request {
        /// Account.
        account: AccountId,
        /// Its name for the request.
        request_id: RequestId,
        /// The turn it became.
        turn: TurnNo,
        /// Digest of what was asked.
        content: Digest,
    },
    /// The session has (`true`) or no longer has (`false`) an unfinished turn.
    OpenWork(bool),
    /// A variable's value as JSON; `None` deletes.
    Variable {
        /// Whose.
        scope: Scope,
        /// Account that owns the session.
        account: AccountId,
        /// Name.
        name: VariableName,
        /// JSON of the value and of its labels.
        value: Option<(String, String)>,
    },
    /// A memory of an account; `order` of the row is the store's to set.
    PutMemory {
        /// Whose.
        account: AccountId,
        /// What it remembers.
        row: MemoryRow,
    },
    /// A memory is forgotten, its text overwritten; [`StoreError::NotFound`] when the account has none of that id.
    DeleteMemory {
        /// Whose.
        account: AccountId,
        /// Which.
        id: MemoryId,
    },
    /// All memories of an account are forgotten, their texts overwritten.
    EraseMemories(AccountId),
    /// Something sealed, in place of what the account, or the store itself, had sealed under that name.
    PutSealed(SealedRow),
    /// What was sealed under that name goes; nothing is no change.
    DropSealed(Option<AccountId>, String),
    /// What the session used, added to what is kept of its account's hour and subject.
    Spend(SpentRow),
    /// A token; the store keeps only its hash.
    PutToken(TokenRow),
    /// A token is no longer good.
    RevokeToken(String),
    /// An account, in place of the one of that name.
    PutAccount(AccountRow),
    /// Erases nonce and payload of these entries of the session.
    ErasePayloads(Vec<Seq>),
    /// An object that records name by digest; the same one again is no change.
    PutObject(Digest, Vec<u8>),
    /// An artifact of the session: digest, media type and bytes. The same digest again is no change.
    PutArtifact(Digest, String, Vec<u8>),
    /// Erases all payloads, nonces and frames of the session, its variables and artifacts, and marks it deleted.
    /// Records, the head and request ids stay.
    Erase,
}

/// A token as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Public id.
    pub id: String,
    /// SHA-256 of the token.
    pub hash: Digest,
    /// Whose it is.
    pub account: AccountId,
    /// What it may do, comma-separated.
    pub scopes: String,
    /// For people.
    pub label: String,
    /// Creation, milliseconds since 1970.
    pub created_at_ms: u64,
    /// True when revoked.
    pub is_revoked: bool,
    /// Id of the token that made it, and with which it is revoked.
    pub parent: Option<String>,
    /// For whom it may speak beside its owner, comma-separated: `group:NAME` and `account:NAME`.
    pub speaks_for: String,
    /// When it ends, milliseconds since 1970.
    pub expires_at_ms: Option<u64>,
}

/// An account as stored; a deleted one keeps its row, so that its name is never given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// Name.
    pub name: AccountId,
    /// Groups, sorted, each once.
    pub groups: Vec<GroupName>,
    /// True while nobody can speak as it.
    pub is_disabled: bool,
    /// True for good after a deletion.
    pub is_deleted: bool,
    /// True when all that a deleted account said is erased.
    pub is_erased: bool,
    /// Rises with every change.
    pub revision: u64,
    /// Creation, milliseconds since 1970.
    pub created_at_ms: u64,
}

/// Something that only who has the key can read: a secret of an account, or a key that seals such secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRow {
    /// Whose secret it is; `None` for a key.
    pub account: Option<AccountId>,
    /// Name of the secret, id of the key.
    pub name: String,
    /// Id of the key that seals it.
    pub key: String,
    /// Nonce and ciphertext.
    pub sealed: Vec<u8>,
    /// JSON of where a secret may go; bound by the seal.
    pub bound_to: String,
    /// Creation, milliseconds since 1970.
    pub created_at_ms: u64,
    /// Last change, milliseconds since 1970.
    pub updated_at_ms: u64,
}

/// What was used of one subject: by one session when it is added, by all that were asked for when it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpentRow {
    /// Whose session.
    pub account: AccountId,
    /// `model:PROVIDER:MODEL` or `effect:EFFECT`.
    pub subject: String,
    /// When, milliseconds since 1970; kept by the hour. Read: the last time, within the hour where these are apart.
    pub at_ms: u64,
    /// How much.
    pub spent: Spent,
}

/// Which of what was used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpentFilter {
    /// Only by this account.
    pub account: Option<AccountId>,
    /// Only by this session.
    pub session: Option<SessionKey>,
    /// Only since the beginning of this time's hour, milliseconds since 1970.
    pub since_ms: u64,
    /// True for a row for each hour, false for the sums over them.
    pub is_by_hour: bool,
    /// At most so many rows.
    pub limit: u32,
}

/// A variable as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableRow {
    /// Whose.
    pub scope: Scope,
    /// Name.
    pub name: VariableName,
    /// JSON of the value.
    pub value: String,
    /// JSON of its labels.
    pub labels: String,
}

/// A memory as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryRow {
    /// Position among all memories, rising in order of arrival; never used again.
    pub order: u64,
    /// Id.
    pub id: MemoryId,
    /// Session in which it was added; `None` when outside of one.
    pub session: Option<SessionKey>,
    /// The text.
    pub text: String,
    /// JSON of its label.
    pub label: String,
    /// When, milliseconds since 1970.
    pub created_at_ms: u64,
}

/// Which of an account's memories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Memories {
    /// Those behind this position, oldest first.
    After(u64),
    /// Those before this position, newest first.
    Before(u64),
    /// These, in order of arrival; what is not there is left out.
    Named(Vec<MemoryId>),
}

/// One atomic append to one session.
#[derive(Debug, Clone)]
pub struct Append {
    /// Session.
    pub session: SessionKey,
    /// The appender's fence; ignored when the append creates the session.
    pub fence: Fence,
    /// Where the journal must end before.
    pub expect: Head,
    /// Rows in order.
    pub rows: Vec<Row>,
    /// Where it ends afterwards.
    pub head: Head,
    /// How safe it must be.
    pub durability: Durability,
    /// Projections.
    pub changes: Vec<Change>,
}

/// A page of sessions, newest `updated_at_ms` first.
#[derive(Debug, Clone, Default)]
pub struct SessionFilter {
    /// Only this account's.
    pub owner: Option<AccountId>,
    /// At most so many.
    pub limit: u32,
    /// Only those updated before this time (milliseconds since 1970), for paging.
    pub before_ms: Option<u64>,
}

/// Durable storage.
pub trait Store: Send + Sync + 'static {
    /// Appends atomically. The future may be dropped; the append may then have happened.
    fn append(&self, append: Append) -> BoxFuture<'_, Result<Receipt, StoreError>>;

    /// Takes the session for this instance: raises the fence and returns the row.
    /// [`StoreError::NotFound`] for unknown and deleted sessions.
    fn claim(&self, session: SessionKey) -> BoxFuture<'_, Result<SessionRow, StoreError>>;

    /// The row, also of a deleted session.
    fn session(&self, session: SessionKey) -> BoxFuture<'_, Result<SessionRow, StoreError>>;

    /// A page of sessions that are not deleted; the system session is not among them.
    fn sessions(&self, filter: SessionFilter) -> BoxFuture<'_, Result<Vec<SessionRow>, StoreError>>;

    /// Rows after `after`, in order, at most `limit` of them and about `bytes_max` bytes (at least one row).
    /// Gaps occur only where frames were erased.
    fn read(
        &self,
        session: SessionKey,
        after: Seq,
        limit: u32,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Vec<Row>, StoreError>>;

    /// Sessions with an unfinished turn.
    fn open_work(&self) -> BoxFuture<'_, Result<Vec<SessionKey>, StoreError>>;

    /// The turn that an account's request id became, with the digest of what was asked.
    fn request(
        &self,
        account: AccountId,
        request_id: RequestId,
    ) -> BoxFuture<'_, Result<Option<(SessionKey, TurnNo, Digest)>, StoreError>>;

    /// The variables of a session and of an account, session's first, by name.
    fn variables(
        &self,
        session: Option<SessionKey>,
        account: AccountId,
    ) -> BoxFuture<'_, Result<Vec<VariableRow>, StoreError>>;

    /// Some of an account's memories, at most `limit`.
    fn memories(
        &self,
        account: AccountId,
        which: Memories,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<MemoryRow>, StoreError>>;

    /// What was used, by account, subject and hour.
    fn spent(&self, filter: SpentFilter) -> BoxFuture<'_, Result<Vec<SpentRow>, StoreError>>;

    /// All that is sealed, keys first, by account and name.
    fn sealed(&self) -> BoxFuture<'_, Result<Vec<SealedRow>, StoreError>>;

    /// All tokens, revoked ones too.
    fn tokens(&self) -> BoxFuture<'_, Result<Vec<TokenRow>, StoreError>>;

    /// All accounts, deleted ones too, by name.
    fn accounts(&self) -> BoxFuture<'_, Result<Vec<AccountRow>, StoreError>>;

    /// An object by digest.
    fn object(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, StoreError>>;

    /// Media type and bytes of a session's artifact.
    fn artifact(&self, session: SessionKey, digest: Digest) -> BoxFuture<'_, Result<(String, Vec<u8>), StoreError>>;

    /// Resolves with the reason when the store has failed for good; never otherwise.
    fn failed(&self) -> BoxFuture<'static, String>;
}
