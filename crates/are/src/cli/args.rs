//! The command line. What is not built is not here.

mod session;
mod wishes;

use std::path::PathBuf;

use are_policy::firewall::Channel;
use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

pub use self::session::Session;
pub use self::wishes::Wishes;
pub use super::acp::Acp;
pub use super::bench::Bench;
pub use super::usage::Usage;

/// Runs agents durably: every step is journaled, every effect decided, every token streamed.
#[derive(Debug, Parser)]
#[command(name = "are", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// Options of every verb.
    #[command(flatten)]
    pub global: Global,
    /// The verb.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options of every verb.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Where sessions, tokens and agents are kept
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data_dir: Option<PathBuf>,
    /// Configuration file to read instead of the platform's
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Print JSON on stdout
    #[arg(long, global = true)]
    pub json: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Serve until stopped
    Start(Start),
    /// Run one turn and print the answer
    Run(Run),
    /// Converse, one turn after another
    Chat(Chat),
    /// Print a link that opens the console in a browser, logged in
    Open,
    /// List, read and manage sessions
    #[command(subcommand)]
    Session(Session),
    /// Show what a turn changed in the workspace
    Diff {
        /// `KEY/N`, or `N` for one of the latest session; its latest turn when absent
        #[arg(value_name = "TURN")]
        turn: Option<String>,
    },
    /// Put back what a turn changed in the workspace, all of it or nothing
    Undo(Undo),
    /// Read and set variables
    #[command(subcommand)]
    Var(Var),
    /// Set, list and delete secrets
    #[command(subcommand)]
    Secret(Secret),
    /// Read and change what the account remembers
    #[command(subcommand)]
    Memory(Memory),
    /// List, add, try, call and remove tools
    #[command(subcommand)]
    Tool(Tool),
    /// List agents, and show one
    #[command(subcommand)]
    Agent(Agent),
    /// Use tools of MCP servers, and serve tools to MCP clients
    #[command(subcommand)]
    Mcp(Mcp),
    /// Speak the Agent Client Protocol with the editor that starts it
    Acp(Acp),
    /// Answer calls that wait for a person
    #[command(subcommand)]
    Approval(Approval),
    /// Show and check the rules
    #[command(subcommand)]
    Policy(Policy),
    /// Scan texts for attempts to steer a model
    #[command(subcommand)]
    Firewall(FirewallVerb),
    /// Export, sign, prove and verify the log of everything that happened
    #[command(subcommand)]
    Audit(Audit),
    /// List, fetch and remove local models
    #[command(subcommand)]
    Model(Model),
    /// Manage access tokens
    #[command(subcommand)]
    Token(Token),
    /// Manage accounts and their groups
    #[command(subcommand)]
    Account(Account),
    /// Show what accounts and sessions have used, and how their limits stand
    Usage(Usage),
    /// Show and check the settings
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Examine this installation
    Doctor,
    /// Measure this build on this machine
    Bench(Bench),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// `--local-llm`, where an engine may start in this process.
#[derive(Debug, Clone, Default, Args)]
pub struct Local {
    /// Answer with a local model: `small`, `medium` or the path of a GGUF file
    #[arg(long, value_name = "MODEL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub local_llm: Option<String>,
}

/// `are start`
#[derive(Debug, Args)]
pub struct Start {
    #[command(flatten)]
    pub local: Local,
    /// Port on loopback; 0 for any free one
    #[arg(long, value_name = "N", conflicts_with = "bind")]
    pub port: Option<u16>,
    /// Address to serve on, e.g. `localhost:8888` or `[::]:8888`
    #[arg(long, value_name = "ADDR")]
    pub bind: Option<String>,
    /// Serve loopback without tokens
    #[arg(long)]
    pub no_auth: bool,
}

/// Which session.
#[derive(Debug, Clone, Default, Args)]
pub struct Where {
    /// Session to go on with
    #[arg(long, value_name = "KEY")]
    pub session: Option<String>,
    /// Go on with the latest session
    #[arg(long = "continue", conflicts_with = "session")]
    pub is_continued: bool,
    /// Agent of a new session
    #[arg(long, value_name = "NAME", conflicts_with_all = ["session", "is_continued"])]
    pub agent: Option<String>,
}

/// `are run`
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub place: Where,
    #[command(flatten)]
    pub local: Local,
    #[command(flatten)]
    pub wishes: Wishes,
    /// Hand a text file or an image over with the prompt; untrusted, may be given again
    #[arg(long, value_name = "FILE")]
    pub attach: Vec<PathBuf>,
    /// Cancel the turn after so many seconds
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: Option<u64>,
    /// Be heard although the prompt firewall may refuse the prompt; recorded
    #[arg(long)]
    pub allow_flagged: bool,
    /// What to do; `-` reads untrusted content from stdin
    #[arg(value_name = "PROMPT")]
    pub prompt: String,
}

/// `are chat`
#[derive(Debug, Args)]
pub struct Chat {
    #[command(flatten)]
    pub place: Where,
    #[command(flatten)]
    pub local: Local,
    #[command(flatten)]
    pub wishes: Wishes,
    /// Hand a text file or an image over with the first prompt; untrusted, may be given again
    #[arg(long, value_name = "FILE")]
    pub attach: Vec<PathBuf>,
}

/// `are undo`
#[derive(Debug, Args)]
pub struct Undo {
    /// `KEY/N`, or `N` for one of the latest session
    #[arg(value_name = "TURN")]
    pub turn: String,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Only say what would be put back
    #[arg(long)]
    pub dry_run: bool,
}

/// Whose variables.
#[derive(Debug, Clone, Args)]
pub struct Scope {
    /// The session's variables instead of the account's
    #[arg(long, value_name = "KEY")]
    pub session: Option<String>,
}

/// `are var …`
#[derive(Debug, Subcommand)]
pub enum Var {
    /// List variables
    List {
        #[command(flatten)]
        scope: Scope,
    },
    /// Print a variable's value as JSON
    Get {
        /// Its name
        name: String,
        #[command(flatten)]
        scope: Scope,
    },
    /// Set a variable
    Set {
        /// Its name
        name: String,
        /// Its value: JSON, or else a text
        value: String,
        #[command(flatten)]
        scope: Scope,
    },
    /// Delete a variable
    Delete {
        /// Its name
        name: String,
        #[command(flatten)]
        scope: Scope,
    },
}

/// `are secret …`
#[derive(Debug, Subcommand)]
pub enum Secret {
    /// Set a secret; its value comes from stdin, or is asked for without being shown
    Set {
        /// Its name, as in `${secret:NAME}`
        name: String,
        /// A host that it may be sent to over https: `HOST`, `HOST:PORT` or `*.DOMAIN`; may be repeated
        #[arg(long, value_name = "HOST")]
        to: Vec<String>,
        /// A tool that is given its value, in its environment or code; may be repeated
        #[arg(long, value_name = "TOOL")]
        env: Vec<String>,
        /// Take the value from this environment variable
        #[arg(long, value_name = "VARIABLE")]
        from_env: Option<String>,
    },
    /// List secrets: names and where they may go, never values
    List,
    /// Delete a secret
    Delete {
        /// Its name
        name: String,
    },
    /// Seal the secrets of all accounts by a new key
    RotateKey {
        /// Make a new master key too, where it is kept in the data directory
        #[arg(long)]
        master: bool,
    },
}

/// `are memory …`
#[derive(Debug, Subcommand)]
pub enum Memory {
    /// Remember a text
    Add {
        /// One fact, complete in itself
        text: String,
    },
    /// Find what is like a text, the likest first
    Search {
        /// Words to look for
        query: String,
        /// At most so many
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=100))]
        limit: u8,
    },
    /// List what is remembered, newest first
    List {
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u8).range(1..=100))]
        limit: u8,
        /// Only those of a lower order, for the next page
        #[arg(long, value_name = "ORDER")]
        before: Option<u64>,
    },
    /// Forget a memory
    Delete {
        /// Its id
        id: String,
    },
}

/// `are agent …`
#[derive(Debug, Subcommand)]
pub enum Agent {
    /// List agents, and the files that cannot be used with the reason
    List,
    /// Show an agent: instructions, limits, tools
    Show {
        /// Its name
        name: String,
    },
}

/// `are tool …`
#[derive(Debug, Subcommand)]
pub enum Tool {
    /// List tools, and the files that are not served with the reason
    List,
    /// Show a tool's declaration
    Show {
        /// Its name
        name: String,
    },
    /// Add a file of tools; it is served from the next step on
    Add {
        /// The file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Its manifest; when absent, the file of the same name that ends in `.toml`, where there is one
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        manifest: Option<PathBuf>,
        /// Replace another file of that name
        #[arg(long)]
        replace: bool,
    },
    /// Remove a file of tools
    Remove {
        /// Name of the file, or of one of its tools
        name: String,
    },
    /// Load a file of tools without serving it, and run the tests in its manifest
    Test {
        /// The file, or the name of a tool of the data directory
        #[arg(value_name = "FILE_OR_NAME", value_hint = ValueHint::FilePath)]
        file: String,
    },
    /// Call a tool and print what it returns; to call it is to ask for it
    Call {
        /// Its name
        name: String,
        /// Its arguments, a JSON object
        #[arg(default_value = "{}")]
        args: String,
        /// Session to call it in; a new one when absent
        #[arg(long, value_name = "KEY")]
        session: Option<String>,
    },
}

/// `are mcp …`
#[derive(Debug, Subcommand)]
pub enum Mcp {
    /// Speak MCP over standard input and output, for editors that start this program
    Serve,
    /// List the servers and how they stand; with a name, all that is known of one
    List {
        /// Its name
        name: Option<String>,
    },
    /// Look at what a server declares, and serve its tools once you consent to it
    Add(Box<McpAdd>),
    /// Look again at a server that was added, and consent to what it declares by now
    Review {
        /// Its name
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Only show what it declares
        #[arg(long)]
        dry_run: bool,
    },
    /// Log in at a server: prints the address to open, and waits for the browser to come back
    Login(McpLogin),
    /// Forget the login at a server; its tools are not served until somebody logs in again
    Logout {
        /// Its name
        name: String,
    },
    /// Remove a server with its tools, and the login there
    Remove {
        /// Its name
        name: String,
    },
}

/// `are mcp add …`
#[derive(Debug, Args)]
pub struct McpAdd {
    /// Its name, which its tools' names begin with; alone, the server of `[mcp.NAME]` in `are.toml`
    #[arg(required_unless_present = "from")]
    pub name: Option<String>,
    /// Its address, for one that is reached over streamable HTTP
    #[arg(conflicts_with_all = ["command", "from"])]
    pub url: Option<String>,
    /// The command that starts it, for one that speaks over its standard streams; it runs in the cage
    #[arg(last = true, value_name = "COMMAND", conflicts_with = "from")]
    pub command: Vec<String>,
    /// Read the servers of an `mcpServers` JSON, those of `NAME` only where it is given; `-` is stdin
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub from: Option<PathBuf>,
    /// A variable of its environment; without a value, this terminal's
    #[arg(long = "env", value_name = "NAME[=VALUE]", requires = "command")]
    pub env: Vec<String>,
    /// A header that it is sent with every request
    #[arg(long = "header", value_name = "NAME: VALUE", requires = "url")]
    pub headers: Vec<String>,
    /// Where the command starts; it may read what is there
    #[arg(long, value_name = "DIR", requires = "command", value_hint = ValueHint::DirPath)]
    pub cwd: Option<PathBuf>,
    /// A file or directory that the command may read
    #[arg(long = "read", value_name = "PATH", requires = "command", value_hint = ValueHint::AnyPath)]
    pub reads: Vec<PathBuf>,
    /// Let it read the workspace of each session that calls it
    #[arg(long, requires = "command")]
    pub workspace: bool,
    /// A place that the command may reach, as `api.example.com`, or a preset such as `registries`; no other
    #[arg(long, value_name = "HOST", requires = "command")]
    pub egress: Vec<String>,
    /// A manifest that says more of its tools: effects, roles, labels, limits
    #[arg(long, value_name = "FILE", conflicts_with = "from", value_hint = ValueHint::FilePath)]
    pub manifest: Option<PathBuf>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Only show what it declares
    #[arg(long)]
    pub dry_run: bool,
}

/// `are mcp login …`
#[derive(Debug, Args)]
pub struct McpLogin {
    /// Name of the server
    pub name: String,
    /// Its address, for one that is not added yet
    pub url: Option<String>,
    /// Do not wait for a browser of this machine: take the address that it was sent to from the terminal or stdin
    #[arg(long)]
    pub no_browser: bool,
    /// What the login is to be allowed to do, instead of what the server asks for; can be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<String>,
    /// Id of this program at the place to log in at, where it does not register there by itself; an https address where
    /// that place reads what a client is from there
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// Name of the stored secret that goes with that id, bound to the place to log in at
    #[arg(long, value_name = "SECRET", requires = "client_id")]
    pub client_secret: Option<String>,
}

/// `are approval …`
#[derive(Debug, Subcommand)]
pub enum Approval {
    /// List the calls that wait, each with its exact arguments
    List,
    /// Allow a call
    Allow {
        /// `KEY/N`, or `N` for one of the latest session
        approval: String,
        /// Allow the same call until the session ends or rules or tool change
        #[arg(long, conflicts_with = "always")]
        session: bool,
        /// Add the rule that is shown, so that the call is not asked about again
        #[arg(long)]
        always: bool,
    },
    /// Deny a call
    Deny {
        /// `KEY/N`, or `N` for one of the latest session
        approval: String,
    },
}

/// `are policy …`
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Show the rules in force
    Show,
    /// Check rule files and print every finding
    Check {
        /// Directory of `*.cedar` files; the rules in force when absent
        #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
    /// Decide about a call that was not made, and say why
    Explain {
        /// The tool
        tool: String,
        /// Its arguments, a JSON object
        #[arg(default_value = "{}")]
        args: String,
        /// What the user says
        #[arg(long, value_name = "TEXT", default_value = "")]
        prompt: String,
        /// A text that was read from outside before, as a file that the user named
        #[arg(long, value_name = "TEXT")]
        read: Vec<String>,
        /// A group of accounts that whoever asks belongs to
        #[arg(long, value_name = "GROUP")]
        group: Vec<String>,
        /// Tools that a planner found in what the user says, by commas; `""` for none of them
        #[arg(long, value_name = "TOOL", value_delimiter = ',')]
        plan: Option<Vec<String>>,
        /// Decide under this profile or directory of rules instead of those in force
        #[arg(long, value_name = "POLICY")]
        policy: Option<String>,
    },
    /// Decide about conversations that are told as JSON lines on stdin
    Replay {
        /// Decide under this profile or directory of rules
        #[arg(long, value_name = "POLICY", default_value = "strict")]
        policy: String,
    },
    /// Decide the cases of test files and print those that come out otherwise
    Test {
        /// Test files, TOML
        #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
        files: Vec<PathBuf>,
        /// Decide under the rules of this directory, or this profile
        #[arg(long, value_name = "DIR")]
        policy: Option<String>,
    },
}

/// `are firewall …`
#[derive(Debug, Subcommand)]
pub enum FirewallVerb {
    /// Say what the prompt firewall makes of a text, or of each text of JSON lines
    Scan {
        /// Read objects `{text, channel?}`, one a line, and answer each by a line
        #[arg(long)]
        jsonl: bool,
        /// Whose words the text is: a user's prompt, or what a tool returned
        #[arg(long, value_name = "CHANNEL", conflicts_with = "jsonl", value_parser = channel)]
        channel: Option<Channel>,
        /// File to read; stdin when absent or `-`
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
}

fn channel(text: &str) -> Result<Channel, &'static str> {
    match text {
        "user" => Ok(Channel::User),
        "tool" => Ok(Channel::Tool),
        _ => Err("write `user` or `tool`"),
    }
}

/// `are audit …`
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Write records as JSON lines, byte for byte as they are signed
    Export {
        /// Leave out so many records at the beginning
        #[arg(long, value_name = "N", default_value_t = 0)]
        after: u64,
        /// File to write, which must not exist; stdout when absent
        #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
        out: Option<PathBuf>,
        /// Also write the checkpoint that covers exactly these records, to a file which must not exist
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        checkpoint: Option<PathBuf>,
    },
    /// Sign what the log is now and print the signed note; keep it where the server cannot write
    Checkpoint {
        /// Print all that are kept, largest first
        #[arg(long)]
        all: bool,
    },
    /// Check the running store, or with `--log` or `--proof` what was handed over, without a server
    Verify(AuditVerify),
    /// Prove that a record is in the log, or that the log only grew
    Prove {
        /// Number of the record's leaf, from 0
        #[arg(long, value_name = "N", conflicts_with_all = ["session", "from"])]
        leaf: Option<u64>,
        /// Session of the record
        #[arg(long, value_name = "KEY", requires = "seq")]
        session: Option<String>,
        /// Its place in the session
        #[arg(long, value_name = "N", requires = "session")]
        seq: Option<u64>,
        /// File of an earlier checkpoint
        #[arg(long, value_name = "FILE", conflicts_with = "session", required_unless_present_any = ["leaf", "session"])]
        from: Option<PathBuf>,
        /// Also write the record's line, to a file which must not exist
        #[arg(long, value_name = "FILE", conflicts_with = "from")]
        record: Option<PathBuf>,
    },
    /// Print the keys to verify checkpoints with, the one in use first
    Vkey,
    /// Make another key sign from here on
    RotateKey {
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

/// `are audit verify`
#[derive(Debug, Args)]
pub struct AuditVerify {
    /// Exported log; several follow one another
    #[arg(long, value_name = "FILE", requires = "checkpoint", requires = "key", value_hint = ValueHint::FilePath)]
    pub log: Vec<PathBuf>,
    /// File of checkpoints that were kept elsewhere
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub checkpoint: Vec<PathBuf>,
    /// File of keys to verify with, as `are audit vkey` prints them
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key: Option<PathBuf>,
    /// A proof to check
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "log", value_hint = ValueHint::FilePath)]
    pub proof: Option<PathBuf>,
    /// File of the record's line that the proof is about
    #[arg(long, value_name = "FILE", requires = "proof", value_hint = ValueHint::FilePath)]
    pub record: Option<PathBuf>,
    /// Also check, by its chains alone, what follows the last record that a checkpoint covers
    #[arg(long, requires = "log")]
    pub allow_more: bool,
}

/// `are model …`
#[derive(Debug, Subcommand)]
pub enum Model {
    /// List local models
    List,
    /// Fetch a local model and check it
    Pull {
        /// Its alias
        alias: String,
    },
    /// Remove a local model's file
    Remove {
        /// Its alias
        alias: String,
    },
}

/// `are token …`
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token and print it, once
    Create {
        /// What it is for
        #[arg(long, value_name = "TEXT", default_value = "")]
        label: String,
        /// What it may do
        #[arg(long, value_name = "SCOPE", value_delimiter = ',', default_value = "read,prompt")]
        scopes: Vec<String>,
        /// Whose it is; another account than your own needs `admin`
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
        /// With the scope `delegate`: speak for the accounts of this group
        #[arg(long = "for", value_name = "GROUP")]
        for_groups: Vec<String>,
        /// With the scope `delegate`: speak for this account
        #[arg(long = "for-account", value_name = "NAME")]
        for_accounts: Vec<String>,
        /// End it after so many days
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3_650))]
        days: Option<u64>,
    },
    /// List tokens
    List,
    /// Leave a token only some of its scopes and close its connections
    Narrow {
        /// Its id
        id: String,
        /// What it may still do
        #[arg(long, value_name = "SCOPE", value_delimiter = ',', required = true)]
        scopes: Vec<String>,
    },
    /// Revoke a token and close its connections
    Revoke {
        /// Its id
        id: String,
    },
}

/// `are account …`
#[derive(Debug, Subcommand)]
pub enum Account {
    /// Make an account
    Create {
        /// Its name, which no other ever bears
        name: String,
        /// A group it is in
        #[arg(long, value_name = "GROUP")]
        group: Vec<String>,
    },
    /// List accounts
    List,
    /// Show one account
    Show {
        /// Its name
        name: String,
    },
    /// Set all groups of an account, from its next decision on
    Set {
        /// Its name
        name: String,
        /// A group it is in
        #[arg(long, value_name = "GROUP", required_unless_present = "no_groups")]
        group: Vec<String>,
        /// Take it out of all groups
        #[arg(long, conflicts_with = "group")]
        no_groups: bool,
    },
    /// Stop everything of an account until it is enabled
    Disable {
        /// Its name
        name: String,
    },
    /// Let a disabled account speak again
    Enable {
        /// Its name
        name: String,
    },
    /// Delete an account for good and erase what it said
    Delete {
        /// Its name
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Only say what would be deleted
        #[arg(long)]
        dry_run: bool,
    },
}

/// `are config …`
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Print the settings in force
    Show {
        /// Also print where each value came from
        #[arg(long)]
        origin: bool,
    },
    /// Check every setting, agent and rule
    Check,
    /// Show what the running server logs, or have it log otherwise until it ends
    Log {
        /// A level such as `debug`, or levels by module: `are_engine=debug,warn`
        filter: Option<String>,
    },
}
