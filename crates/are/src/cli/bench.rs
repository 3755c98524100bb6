//! `are bench`

use std::path::{Path, PathBuf};

use are_core::error::{Code, Fault};
use are_policy::rules::{Profile, Rules};
use clap::{Args, ValueHint};

use super::Env;
use super::exit::{Exit, Failure, Outcome};
use super::served::Served;
use crate::bench::adaptive::{Because, Estimate, Plan, Strategy};
use crate::bench::flow::{self, Plans, Report, Suite};
use crate::bench::{self, Case, Figure, Kernel, Target};
use crate::config::{files, model};
use crate::wiring::Need;

/// `are bench`
#[derive(Debug, Args)]
pub struct Bench {
    /// Measure a server, whose provider must answer without delay, or the local model
    #[arg(long, value_enum)]
    pub case: Option<Case>,
    /// Process of the running server, for its processor time and memory
    #[arg(long, value_name = "PID", requires = "case")]
    pub pid: Option<u32>,
    /// Empty directory on the disk to measure
    #[arg(long, value_name = "DIR", required_unless_present_any = ["case", "suite"])]
    pub dir: Option<PathBuf>,
    /// Local model to measure: `small`, `medium` (`local:small` is understood too) or the path of a GGUF file
    #[arg(long, value_name = "MODEL", requires = "case", default_value = "small")]
    pub model: String,
    /// How long `--case soak` lasts
    #[arg(long, value_name = "N", requires = "case", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1440))]
    pub minutes: u32,
    /// Component to run with `--case kernel`
    #[arg(long, value_name = "FILE", required_if_eq("case", "kernel"), value_hint = ValueHint::FilePath)]
    pub component: Option<PathBuf>,
    /// How much work the kernel is given
    #[arg(long, value_name = "N", requires = "component", default_value_t = 1)]
    pub size: u32,
    /// Measure so many runs, after as many to warm up, instead of one
    #[arg(long, value_name = "N", requires = "component", default_value_t = 0)]
    pub runs: usize,
    /// Run the kernel without the checks that stop a guest at its deadline, to see what they cost
    #[arg(long, requires = "component")]
    pub unchecked: bool,
    /// Labelled texts for the prompt firewall, prompts with the calls they ask for, or tasks for adaptive turns; JSON lines
    #[arg(long, value_name = "FILE", requires = "case", value_hint = ValueHint::FilePath)]
    pub data: Option<PathBuf>,
    /// Play so many of the tasks
    #[arg(long, value_name = "N", requires = "data", default_value_t = 1_000)]
    pub tasks: usize,
    /// Play so many variants of each task
    #[arg(long, value_name = "N", requires = "data", default_value_t = 3)]
    pub seeds: usize,
    /// How turns are asked: `lowest`, `warm`, `highest`, `adaptive`, or some of them
    #[arg(long, value_name = "LIST", requires = "data", value_delimiter = ',')]
    pub strategies: Vec<Strategy>,
    /// Play suites of tasks and attacks against the decision by flow
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["case", "dir"], value_hint = ValueHint::FilePath)]
    pub suite: Vec<PathBuf>,
    /// Under other names for every tool, field and person
    #[arg(long, requires = "suite")]
    pub renamed: bool,
    /// Ask this model, `provider:model`, once a task what its prompt asks for, and print the figures with these plans too
    #[arg(long, requires = "suite", value_name = "MODEL", conflicts_with_all = ["case", "dir"])]
    pub planner: Option<String>,
    /// Also print what was asked or denied, and why
    #[arg(long, requires = "suite")]
    pub reasons: bool,
}

pub(super) async fn run(env: &Env, args: Bench) -> Outcome {
    if !args.suite.is_empty() {
        return suites(env, &args).await;
    }
    if let Some(component) = &args.component {
        return kernel(env, component, &args).await;
    }
    let figures = match (args.case, args.dir.clone()) {
        (Some(case), dir) if case.is_of_a_running_server() => {
            let served = Served::find(env, Need::Model).await?;
            let target =
                Target { door: served.client().door(), pid: args.pid, dir: dir.as_deref(), provider: provider_of(env) };
            let figures = Box::pin(bench::served(case, &target)).await;
            served.end().await?;
            figures?
        }
        (Some(Case::Firewall), _) => return firewall(env, args.data.as_deref()),
        (Some(Case::Adaptive), dir) => return Box::pin(adaptive(env, dir.as_deref(), &args)).await,
        (Some(Case::Calls), _) => return calls(env, &args).await,
        (Some(Case::Local), _) => bench::local(&env.config.models_dir, bare(&args.model)).await?,
        (Some(case), dir) => Box::pin(bench::started(case, dir.as_deref(), args.minutes)).await?,
        (None, Some(dir)) => {
            let tools = crate::wiring::tool_set(&env.config)?;
            bench::inside(&dir, &tools).await?
        }
        (None, None) => return Ok(Exit::Usage),
    };
    print(env, &figures)
}

/// Runs a component of `bench/kernels`; its answer alone where no figures were asked for.
async fn kernel(env: &Env, component: &Path, args: &Bench) -> Outcome {
    let component = files::read_tool(&env.surroundings.absolute(component))?;
    let kernel = Kernel {
        component: &component,
        cache: args.dir.as_deref(),
        size: args.size,
        runs: args.runs,
        is_unchecked: args.unchecked,
    };
    let (answer, figures) = bench::kernel(&kernel).await?;
    if figures.is_empty() {
        env.out.line(&answer)?;
        return Ok(Exit::Done);
    }
    print(env, &figures)
}

/// The model's name without `local:`.
fn bare(wish: &str) -> &str {
    wish.strip_prefix(model::LOCAL).and_then(|rest| rest.strip_prefix(':')).unwrap_or(wish)
}

/// Asks a local model for calls and says how many were right.
async fn calls(env: &Env, args: &Bench) -> Outcome {
    let given = args.data.as_ref().map(|data| files::read_suite(&env.surroundings.absolute(data))).transpose()?;
    let prompts = bench::calls::Prompts::parse(given.as_deref().unwrap_or(bench::calls::PROMPTS))?;
    let models = crate::wiring::local_model(&env.config, bare(&args.model))?;
    let tools = crate::wiring::tool_set(&env.config)?;
    let report = bench::calls::measure(models.as_ref(), &tools, prompts).await?;
    if env.out.is_json {
        env.out.json(&report)?;
        return Ok(Exit::Done);
    }
    env.out
        .line(&format!("{}, {} tools: {} of {} calls right", report.model, report.tools, report.right, report.total))?;
    for (language, share) in &report.languages {
        env.out.line(&format!("  {language}  {} of {}", share.right, share.total))?;
    }
    for failure in &report.failures {
        env.out.line(&format!("  not {}: {} => {}", failure.tool, failure.say, failure.answer))?;
    }
    Ok(Exit::Done)
}

/// Scans labelled texts and says how many were told apart.
fn firewall(env: &Env, data: Option<&std::path::Path>) -> Outcome {
    let Some(data) = data else { return Ok(Exit::Usage) };
    let text = files::read_suite(&env.surroundings.absolute(data))?;
    let report = bench::firewall::measure(&crate::config::firewall(&env.config)?, &text)?;
    if env.out.is_json {
        env.out.json(&report)?;
        return Ok(Exit::Done);
    }
    let ratio = report.ratio.map(|ratio| format!(" = {ratio:.1} x the words")).unwrap_or_default();
    env.out.line(&format!("attacks, harmless texts       {}, {}", report.attacks, report.harmless))?;
    env.out.line(&format!("found at 1 % false            {:.3}{ratio}", report.recall_at_1_percent))?;
    env.out.line(&format!("  by a list of words          {:.3}", report.keywords_at_1_percent))?;
    env.out.line(&format!("flagged: attacks              {:.3}", report.attacks_flagged))?;
    env.out.line(&format!("flagged: harmless texts       {:.3}", report.harmless_flagged))?;
    env.out.line(&format!("ms a KiB                      {:.3}", report.ms_per_kib))?;
    for (name, group) in &report.groups {
        env.out
            .line(&format!("  {name:<34} {:>6} flagged {:.3} above {:.3}", group.texts, group.flagged, group.above))?;
    }
    Ok(Exit::Done)
}

/// Plays tasks with local models, and says what each strategy came to.
async fn adaptive(env: &Env, dir: Option<&Path>, args: &Bench) -> Outcome {
    let Some(data) = &args.data else { return Ok(Exit::Usage) };
    let dir = env.surroundings.absolute(dir.ok_or_else(bench::no_dir)?);
    let data = files::read_suite(&env.surroundings.absolute(data))?;
    let strategies = if args.strategies.is_empty() { &Strategy::USUAL[..] } else { &args.strategies };
    let (tasks, seeds, tiers) = (args.tasks, args.seeds, env.config.tiers.value.as_slice());
    let plan = Plan { dir: &dir, data: &data, tasks, seeds, strategies, tiers };
    let (runs, report) = bench::adaptive::measure(&plan).await?;
    if env.out.is_json {
        runs.iter().try_for_each(|run| env.out.json(run))?;
        env.out.json(&report)?;
        return Ok(Exit::Done);
    }
    let span = |one: &Estimate| format!("{:>8.2} [{:.2}, {:.2}]", one.value, one.low, one.high);
    for row in &report.rows {
        env.out.line(&format!("{}: {} runs", row.strategy.word(), row.runs))?;
        env.out.line(&format!("  share of tasks done {}", span(&row.done)))?;
        env.out.line(&format!("  tokens a task       {}", span(&row.tokens)))?;
        env.out.line(&format!("    computed          {}", span(&row.computed_tokens)))?;
        env.out.line(&format!("  seconds a task      {}", span(&row.seconds)))?;
        for (kind, share) in &row.kinds {
            env.out.line(&format!("    {kind:<18}{share:>8.2}"))?;
        }
    }
    for one in &report.beside {
        env.out.line(&format!("adaptive beside {}: {} pairs", one.other.word(), one.pairs))?;
        env.out.line(&format!("  more tasks done     {}", span(&one.done)))?;
        env.out.line(&format!("  more tokens a task  {}", span(&one.tokens)))?;
        env.out.line(&format!("  more seconds a task {}", span(&one.seconds)))?;
        for because in &one.reasons {
            let Because { runs, won, lost, seconds, .. } = because;
            let why = if because.reasons.is_empty() { "as usual".to_owned() } else { because.reasons.join("; ") };
            env.out.line(&format!("    {runs:>4} runs, {won:>3} won, {lost:>3} lost, {seconds:>+6.1} s: {why}"))?;
        }
    }
    Ok(Exit::Done)
}

/// Plays the suites under the profile `strict` and no rules; with a planner without and with its plans.
async fn suites(env: &Env, args: &Bench) -> Outcome {
    let models = args.planner.as_ref().map(|wish| crate::wiring::models(&env.config, wish)).transpose()?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for path in &args.suite {
        let mut suite = Suite::parse(&files::read_suite(&env.surroundings.absolute(path))?)?;
        if args.renamed {
            suite = flow::renamed(&suite)?;
        }
        without.push(played(env, &suite, None, args.reasons)?);
        if let Some(models) = &models {
            let plans = Plans::of(&suite, models.as_ref()).await?;
            with.push(played(env, &suite, Some(&plans), args.reasons)?);
        }
    }
    for (reports, what) in [(without, "together"), (with, "together, with plans")] {
        if reports.len() > 1 && !env.out.is_json {
            let [silent, ceiling, with_ask, asks, waved] = flow::pooled(&reports);
            env.out.line(&format!(
                "{what}: silent {silent:.3} (of {ceiling:.3}), with asking {with_ask:.3}, asks a task {asks:.2}, stopped with asks waved through {waved:.4}"
            ))?;
        }
    }
    Ok(Exit::Done)
}

/// Plays one suite and prints what it came to.
fn played(env: &Env, suite: &Suite, plans: Option<&Plans>, with_reasons: bool) -> Result<Report, Failure> {
    let rules = Rules::new(Profile::Strict, &[])
        .map_err(|error| Fault::new(Code::POLICY_INVALID, error.to_string(), "report this as a bug"))?;
    let report = flow::measure(suite, rules, plans)?;
    if env.out.is_json {
        env.out.json(&report)?;
    } else {
        shown(env, &report, with_reasons)?;
    }
    Ok(report)
}

fn shown(env: &Env, report: &Report, with_reasons: bool) -> Result<(), Failure> {
    let substitution = report.substitution_not_silent.map_or("-".to_owned(), |share| format!("{share:.3}"));
    let with = report.planner.as_ref().map(|_| ", with plans").unwrap_or_default();
    env.out
        .line(&format!("{}{with}: {} tasks, {} pairs of task and attack", report.suite, report.tasks, report.pairs))?;
    if let Some(plans) = &report.planner {
        env.out.line(&format!(
            "  plans, complete ones          {}, {} ({:.1} of {} tools named, p50 {:.1} s, {})",
            plans.plans, plans.complete, plans.named, plans.of_tools, plans.seconds.0, plans.model
        ))?;
    }
    env.out.line(&format!(
        "  tasks done without asking     {:.3} (ceiling {:.3})",
        report.silent, report.silent_ceiling
    ))?;
    env.out.line(&format!("  tasks done with asking        {:.3}", report.with_ask))?;
    env.out.line(&format!("  asks a task                   {:.3}", report.asks))?;
    env.out.line(&format!("  attacks stopped               {:.4}", report.stopped))?;
    env.out.line(&format!("  goals of attacks stopped      {:.4}", report.goal_stopped))?;
    env.out.line(&format!("  stopped, asks waved through   {:.4}", report.stopped_no_human))?;
    env.out.line(&format!("  substitution not silent       {substitution} (of {})", report.substitutions))?;
    env.out.line(&format!(
        "  decision p50, p99 (us)        {:.1}, {:.1} ({})",
        report.decision_us.0, report.decision_us.1, report.decisions
    ))?;
    let reasons = report.asked.iter().filter(|_| with_reasons).map(|line| format!("  {line}"));
    let breaches = report.breaches.iter().map(|pair| format!("  not stopped: {pair}"));
    reasons.chain(breaches).try_for_each(|line| env.out.line(&line))
}

/// Where the provider of the configured model is, if the model is not a local one.
fn provider_of(env: &Env) -> Option<&str> {
    let wish = &env.config.model.as_ref()?.value;
    let (name, _) = wish.split_once(':').filter(|(name, _)| *name != model::LOCAL)?;
    env.config.providers.get(name).map(|provider| provider.base_url.as_str())
}

fn print(env: &Env, figures: &[Figure]) -> Outcome {
    for figure in figures {
        if env.out.is_json {
            env.out.json(figure)?;
        } else {
            let ratio = figure.ratio.map(|(ratio, what)| format!("  = {ratio:.2} x {what}")).unwrap_or_default();
            env.out.line(&format!("{:<34} {:>12.1} {}{ratio}", figure.name, figure.value, figure.unit))?;
        }
    }
    Ok(Exit::Done)
}
