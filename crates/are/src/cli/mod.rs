//! The command line: parses, loads the settings, runs one verb, ends with a code.
//!
//! Data goes to stdout, words to stderr. Every verb but those about this
//! machine alone speaks to a server through its public door.

mod account;
mod acp;
mod agent;
mod approval;
pub mod args;
mod ask;
mod attached;
mod audit;
mod bench;
mod chat;
mod config;
mod doctor;
pub mod exit;
mod explained;
mod firewall;
mod log;
mod mcp;
mod meaning;
mod memory;
mod model;
mod open;
pub mod output;
mod place;
mod policy;
mod run;
mod secret;
mod served;
mod session;
mod start;
mod tell;
mod timeline;
mod token;
mod tool;
mod usage;
mod var;
mod workspace;

use are_core::error::{Code, Fault};
use are_policy::rules::Rules;
use clap::{CommandFactory, Parser};

use args::{Acp, Chat, Cli, Global, Local, Run, Verb};
use exit::{Exit, Failure, Outcome};
use output::Output;

use crate::config::{Config, Flags, PolicyChoice, Surroundings, policy as policy_files};
use crate::wiring;

/// What a verb works with.
struct Env {
    surroundings: Surroundings,
    config: Config,
    out: Output,
}

impl Env {
    /// The rules in force.
    fn rules(&self) -> Result<Rules, Fault> {
        policy_files::rules(&self.config.policy.value, &self.config, &*wiring::tool_set(&self.config)?)
    }

    /// Those of a directory, or of a profile with the data directory's.
    fn other_rules(&self, text: &str) -> Result<Rules, Fault> {
        let choice = PolicyChoice::parse(text, &self.surroundings).map_err(|help| {
            Fault::new(Code::CONFIG_INVALID, format!("`{text}` is not a profile or directory of rules"), help)
        })?;
        policy_files::rules(&choice, &self.config, &*wiring::tool_set(&self.config)?)
    }
}

/// Runs the program.
#[must_use]
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let out = Output::of_process(cli.global.json);
    match run(cli, out) {
        Ok(exit) | Err(Failure::Said(exit)) => exit,
        Err(Failure::Fault(fault)) => {
            out.fault(&fault);
            Exit::of(fault.code)
        }
        // Whoever closed the pipe has read what it wanted.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Done,
        Err(Failure::Output(error)) => {
            out.say(&format!("error: the output cannot be written: {error}"));
            Exit::Failed
        }
    }
}

/// Help and version are data; anything else clap says is a mistake of usage.
fn usage(error: &clap::Error) -> Exit {
    // silent-ok: there is no third place to report to.
    drop(error.print());
    if error.use_stderr() { Exit::Usage } else { Exit::Done }
}

fn run(cli: Cli, out: Output) -> Outcome {
    if let Verb::Completions { shell } = cli.verb {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "are", &mut script);
        out.piece(&String::from_utf8_lossy(&script))?;
        return Ok(Exit::Done);
    }
    let surroundings = Surroundings::of_process()?;
    let config = Config::load(&surroundings, &flags(&cli.global, &cli.verb))?;
    log::start(&surroundings, &config, &cli.verb, out)?;
    for warning in &config.warnings {
        out.warn(warning);
    }
    let env = Env { surroundings, config, out };
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .map_err(Failure::Output)?;
    let outcome = runtime.block_on(Box::pin(verb(cli.verb, &env)));
    // A thread that waits for a line on stdin cannot be stopped, and need not be.
    runtime.shutdown_background();
    outcome
}

async fn verb(verb: Verb, env: &Env) -> Outcome {
    match verb {
        Verb::Start(_) => start::run(env).await,
        Verb::Run(args) => run::run(env, args).await,
        Verb::Chat(args) => chat::run(env, args).await,
        Verb::Open => open::run(env).await,
        Verb::Session(verb) => session::run(env, verb).await,
        Verb::Diff { turn } => workspace::diff(env, turn).await,
        Verb::Undo(args) => workspace::undo(env, args).await,
        Verb::Var(verb) => var::run(env, verb).await,
        Verb::Secret(verb) => secret::run(env, verb).await,
        Verb::Memory(verb) => memory::run(env, verb).await,
        Verb::Tool(verb) => tool::run(env, verb).await,
        Verb::Agent(verb) => agent::run(env, verb).await,
        Verb::Mcp(verb) => mcp::run(env, verb).await,
        Verb::Acp(args) => acp::run(env, args).await,
        Verb::Approval(verb) => approval::run(env, verb).await,
        Verb::Policy(verb) => policy::run(env, &verb),
        Verb::Firewall(verb) => firewall::run(env, &verb),
        Verb::Audit(verb) => audit::run(env, verb).await,
        Verb::Model(verb) => model::run(env, verb).await,
        Verb::Token(verb) => token::run(env, verb).await,
        Verb::Account(verb) => account::run(env, verb).await,
        Verb::Config(verb) => config::run(env, &verb).await,
        Verb::Usage(asked) => usage::run(env, asked).await,
        Verb::Doctor => doctor::run(env).await,
        Verb::Bench(args) => bench::run(env, args).await,
        Verb::Completions { .. } => Ok(Exit::Done),
    }
}

fn flags(global: &Global, verb: &Verb) -> Flags {
    let mut flags = Flags { data_dir: global.data_dir.clone(), config: global.config.clone(), ..Flags::default() };
    let local = |local: &Local| local.local_llm.clone();
    match verb {
        Verb::Start(start) => {
            flags.local_llm = local(&start.local);
            flags.port = start.port;
            flags.bind.clone_from(&start.bind);
            flags.no_auth = start.no_auth;
        }
        Verb::Run(Run { local: own, wishes, .. })
        | Verb::Chat(Chat { local: own, wishes, .. })
        | Verb::Acp(Acp { local: own, wishes, .. }) => {
            flags.local_llm = local(own);
            flags.model.clone_from(&wishes.model);
        }
        _ => {}
    }
    flags
}
