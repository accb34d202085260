//! `pipe run`: makes what is missing, shows it live; what it ends with is `closing`'s.

use super::args::{RecipesArgs, StoreArgs};
use super::closing::{self, Closing};
use super::complete;
use super::hint::Hint;
use super::output::{
    Error, Outcome, colour, complain, print, print_json, print_lines, room, room_aside, warn,
};
use super::remote::{self, Use};
use super::{detach, gc, on, store, study};
use base::text::{duration, parse_bytes};
use base::threads;
use engine::events::event::{Event, State};
use engine::kind::failure::Failure;
use engine::kind::failure::Retries;
use engine::plan::{PlannedNode, Wanted};
use engine::run::executor::away::pace::KILLED;
use engine::run::{self, Limit, Orphans, Outcome as Ended, Settings, Stop};
use engine::store::Store;
use engine::system::silence::{self, Heard};
use recipe::study::Study;
use report::progress::{Progress, View};
use report::summary::{self, Item};
use serde_json::json;
use std::io::IsTerminal;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Run a study: make what is missing, reuse what is there, end with the answer.
///
/// Several recipes, and the variants of a `[matrix]`, are one graph: what they share runs once.
///
/// Every node runs in a process of its own. Ctrl-C lets the nodes save their state and stops; a second Ctrl-C kills
/// them. The same command later goes on where it stopped. Progress goes to stderr, results to stdout. After a failure
/// everything that does not depend on it still runs.
///
/// It ends with verdicts on claims, the main measures (means over seeds where there are several), what it took, and what to do
/// next; all measures are shown by `pipe show`, all costs too.
///
/// Before the lines of nodes: `>` begins, `+` done, `=` was there already, `x` failed, `-` skipped or interrupted, `~` tried again,
/// `…` waits for another run, `?` silent for long, `!` to be looked at.
///
/// Example: pipe run recipes/tars.toml --set vars.lambda=0.3 --only rl-eval
///
/// Example: pipe run recipes/tars.toml recipes/ablations/*.toml --matrix seed=0,1,2
#[derive(clap::Args)]
pub struct Run {
    #[command(flatten)]
    pub(super) recipes: RecipesArgs,
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// Only this node and what it needs; a name that several variants have is all of them. May be repeated
    #[arg(long, value_name = "NODE", add = complete::nodes())]
    only: Vec<String>,
    /// Run this node although there is a record. May be repeated
    #[arg(long, value_name = "NODE", add = complete::nodes())]
    fresh: Vec<String>,
    /// Threads that all nodes together may use [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    threads: Option<u16>,
    /// Nodes that may run at once [default: as many as the threads allow]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    jobs: Option<u16>,
    /// Memory that the nodes that run at once are expected to take at most, by earlier records: `12GB`, `8GiB` [default: what is
    /// free now]. A node that never ran and needs more by its parameters is refused
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
    /// How often a node is tried again after a failure that may pass
    #[arg(long, value_name = "N", default_value_t = Retries::default().most)]
    retries: usize,
    /// Start nothing new after a failure
    #[arg(long)]
    fail_fast: bool,
    /// After a failure go on with what does not depend on it; this is what happens anyway
    #[arg(long, conflicts_with = "fail_fast")]
    keep_going: bool,
    /// Dollars that all nodes together may pay to services, at the prices of the recipe: nothing starts where the plan may cost more,
    /// and when they are spent the nodes that ask are stopped as by Ctrl-C. What is in flight then is still paid, and kept
    #[arg(long, value_name = "USD", value_parser = amount)]
    max_usd: Option<f64>,
    /// Calls that all nodes together may make to services; answers from the journal do not count
    #[arg(long, value_name = "N")]
    max_calls: Option<u64>,
    /// What to do with workers that a killed run left behind and that still hold a node: `kill` them when they have had 20 s to save
    /// their state, or `wait` for them
    #[arg(long, value_name = "WHAT", default_value = "kill", value_parser = ["wait", "kill"])]
    orphans: String,
    /// Run seed after seed, of the recipes whose claims are open and of what they are against, until every claim is settled or there are
    /// `--max-seeds`. Looking after every seed asks for a smaller p than looking once
    #[arg(long, conflicts_with_all = ["detach", "only", "fresh"])]
    pub(super) until_settled: bool,
    /// With `--until-settled`: as many seeds at most
    #[arg(long, value_name = "N", default_value_t = 10, requires = "until_settled", value_parser = clap::value_parser!(u64).range(2..=1000))]
    pub(super) max_seeds: u64,
    /// Execute the nodes where this profile says, each as a job there: a name of `pipe profiles`, or a file
    #[arg(long, value_name = "PROFILE")]
    pub(super) on: Option<String>,
    /// Take what the remote has, and give it nothing
    #[arg(long)]
    remote_only_read: bool,
    /// Run in the background: print the run's id and return once it has begun
    #[arg(long, short)]
    detach: bool,
    /// Begin under this id, which `--detach` has announced
    #[arg(long, value_name = "ID", hide = true)]
    as_run: Option<String>,
    /// Say nothing but failures and, at the end, one line: the answer
    #[arg(long, short)]
    pub(super) quiet: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// What is wanted, once; `settle::run` goes on from there.
pub fn run(args: &Run) -> Outcome {
    let started = Instant::now();
    if args.as_run.is_some() {
        detach::leave_terminal();
    }
    // Freeing thousands of nodes one by one, right before the process ends, takes longer than planning them.
    let study = ManuallyDrop::new(study::load_all(
        &args.recipes.recipes,
        &args.recipes.changes,
    )?);
    // Then the other process says all that is to be said.
    let elsewhere = args.detach && args.as_run.is_none();
    if !args.quiet && !elsewhere {
        complain(&study.warnings.render(colour()));
    }
    let store = store::to_write(&args.store, args.quiet || args.json || elsewhere)?;
    let store = match &args.on {
        Some(named) => on::shared(store, &on::profile(named)?)?,
        None => store,
    };
    let store = remote::attach(store, args.with_remote())?;
    let graph = &study.graph;
    let wanted = study::wanted(&study, &args.only, &args.fresh)?;
    if elsewhere {
        return detach::start(&store, args.json);
    }
    let settings = settings(args, &store, &study, Stop::on_signals()?)?;
    let outcome = execute(args, &store, &study, &wanted, &settings)?;
    let outcome = ManuallyDrop::new(outcome);

    let notes = study.notes();
    let items: Vec<Item> = outcome
        .nodes
        .iter()
        .filter_map(|n| {
            let brief = n.brief.as_ref()?;
            Some(Item {
                node: &n.name,
                kind: graph.node(n.id).kind,
                brief,
                hit: matches!(n.state, State::Hit { .. }),
                cost: n.cost()?,
                about: notes.get(&n.name).map(String::as_str),
            })
        })
        .collect();
    let sharing = closing::sharing(&study, &outcome);
    let wall = started.elapsed().as_secs_f64();
    let failure = outcome.failure();
    let made = outcome
        .nodes
        .iter()
        .any(|n| matches!(n.state, State::Done { .. }));
    let collected = match failure.is_none() && made {
        true => gc::after_run(&store).unwrap_or_else(|error| {
            complain(&format!("cannot keep the store under its cap: {error:#}\n"));
            None
        }),
        false => None,
    };
    if args.json {
        print_json(&json!({
            "recipes": study.names(),
            "run": outcome.run,
            "store": store.root(),
            "ok": failure.is_none(),
            "seconds": wall,
            "shared": sharing.map(|s| json!({ "nodes": s.nodes, "seconds": s.seconds })),
            "states": outcome.nodes.iter().map(|n| json!({
                "node": n.name, "state": n.state, "calls": Some(&n.spent.calls).filter(|calls| !calls.is_zero()),
            })).collect::<Vec<_>>(),
            "nodes": summary::json(&store, &items)?,
            "collected": collected.as_ref().map(|(cap, swept)| gc::collected_json(*cap, swept)),
        }));
    } else {
        let closing = Closing {
            store: &store,
            study: &study,
            ended: &outcome,
            items: &items,
            hint: args.hint(),
            only: &args.only,
            on: args.on.as_deref(),
            wall,
            threads: settings.capacity.threads,
        };
        match args.quiet {
            true => print_lines(&closing.in_short()?),
            false => print(&closing.text(sharing, room())?),
        }
        if let (Some((cap, swept)), false) = (&collected, args.quiet) {
            print_lines(&gc::collected(*cap, swept));
        }
    }
    ended(failure)
}

impl Run {
    pub(super) fn with_remote(&self) -> Use<'_> {
        Use {
            on: self.on.as_deref(),
            read_only: self.remote_only_read,
            gives: true,
            ..Use::default()
        }
    }

    fn hint(&self) -> Hint<'_> {
        Hint {
            recipes: &self.recipes.recipes,
            changes: &self.recipes.changes,
            store: &self.store,
        }
    }
}

/// The exit status, and what is to be said of a run that did not end well.
pub(super) fn ended(failure: Option<Failure>) -> Outcome {
    match failure {
        None => Ok(()),
        Some(Failure::Interrupted) => {
            complain("interrupted; the same command goes on where it stopped\n");
            Err(Error::Told(i32::from(Failure::Interrupted.exit_code())))
        }
        Some(failure @ Failure::Limit(_)) => {
            complain(&format!(
                "{failure}; every answer is kept, and the same command with more goes on\n"
            ));
            Err(Error::Told(i32::from(failure.exit_code())))
        }
        Some(failure) => Err(failure.into()),
    }
}

/// Runs what is wanted and shows it.
pub(super) fn execute(
    args: &Run,
    store: &Store,
    study: &Study,
    wanted: &Wanted,
    settings: &Settings,
) -> Result<Ended, Error> {
    let view = match (args.quiet, std::io::stderr().is_terminal()) {
        (true, _) => View::Quiet,
        (false, true) => View::Terminal { colour: colour() },
        (false, false) => View::Plain,
    };
    let mut progress = Progress::new(view, room_aside);
    let over = Arc::new(AtomicBool::new(false));
    let there = settings.executor.elsewhere();
    let grace = there.map(|there| there.profile().grace());
    announce_stop(settings.stop.clone(), over.clone(), grace, progress.voice());
    announce_silence(store.root(), over.clone(), progress.voice());
    let ended = run::run(store, &study.graph, wanted, settings, &mut |event| {
        if let Event::RunStarted { nodes, .. } = event {
            let kept = args.as_run.as_ref();
            if let Some(Err(error)) = kept.map(|id| detach::keep_output(store, id)) {
                complain(&format!("{error:#}\n"));
            }
            uncounted(nodes);
        }
        progress.hear(event)
    });
    over.store(true, Ordering::Relaxed);
    Ok(ended?)
}

/// A limit on what the plan may ask for looks at what was counted; of the rest it acts when it is reached.
fn uncounted(nodes: &[PlannedNode]) {
    for node in nodes {
        let problem = node
            .expected_calls
            .as_ref()
            .and_then(|c| c.problem.as_ref());
        if let Some(problem) = problem {
            warn(format!(
                "the calls of `{}` cannot be counted before it runs, so that the limit acts only when it is reached: {problem}",
                node.node
            ));
        }
    }
}

pub(super) fn settings(
    args: &Run,
    store: &Store,
    study: &Study,
    stop: Stop,
) -> Result<Settings, Error> {
    let mut settings = match &args.on {
        None => Settings::new()?,
        Some(named) => Settings::on(on::executor(on::profile(named)?, store.root())?)?,
    };
    settings.capacity.threads = args.threads.map_or(settings.capacity.threads, usize::from);
    settings.jobs = args.jobs.map(usize::from);
    settings.capacity.memory = args.memory.or(settings.capacity.memory);
    settings.retries.most = args.retries;
    settings.fail_fast = args.fail_fast;
    settings.limit = Limit {
        dollars: args.max_usd,
        calls: args.max_calls,
    };
    if args.orphans == "wait" {
        settings.orphans = Orphans { patience: None };
    }
    settings.run = args.as_run.clone();
    settings.stop = stop;
    let texts = study.variants.iter();
    settings.recipes = texts
        .map(|v| (v.label(), v.loaded.resolved_text()))
        .collect();
    // One variant is what the commits take where nothing else is said.
    let several = study.variants.len() > 1 || study.variants.iter().any(|v| !v.axes().is_empty());
    if several {
        settings.origins = study.origins();
    }
    settings.workspace = std::env::current_dir()
        .and_then(|folder| folder.canonicalize())
        .ok();
    Ok(settings)
}

/// `5`, `0.50`, `$5`.
fn amount(text: &str) -> Result<f64, String> {
    let number = text.strip_prefix('$').unwrap_or(text).parse::<f64>();
    let number = number.ok().filter(|n| n.is_finite() && *n >= 0.0);
    number.ok_or_else(|| "an amount of dollars is a number that is not negative".into())
}

fn size(text: &str) -> Result<u64, String> {
    parse_bytes(text)
        .ok_or_else(|| "a size is a number with kB, MB, GB, TB or KiB, MiB, GiB, TiB".into())
}

const CHOICE: &str = "`l` and Enter leaves the jobs running, Enter alone stops them: they save their state; so does another Ctrl-C";

/// Says at once that a Ctrl-C was heard, and what is waited for: saving the state of a large model takes a while, as do schedulers.
/// `grace`: how long jobs elsewhere have for it.
fn announce_stop(
    stop: Stop,
    over: Arc<AtomicBool>,
    grace: Option<Duration>,
    say: impl Fn(&str) + Send + 'static,
) {
    let asks = grace.is_some() && std::io::stdin().is_terminal();
    if asks {
        stop.ask_first();
    }
    // Without it the stop is heard all the same.
    let _ = threads::start(move || {
        let ended = || over.load(Ordering::Relaxed);
        let until = |done: &dyn Fn() -> bool| {
            while !done() && !ended() {
                std::thread::sleep(Duration::from_millis(50));
            }
        };
        if asks {
            until(&|| stop.heard() > 0 || stop.requests() > 0);
            if stop.requests() == 0 && !ended() {
                say(CHOICE);
                ask(stop.clone());
            }
        }
        until(&|| stop.requests() > 0);
        if ended() {
            return;
        }
        if stop.leaves() {
            return say("the jobs go on; the same command takes them up");
        }
        say(&match grace {
            None => "stopping: the nodes at work save their state; Ctrl-C again kills them".into(),
            Some(grace) => format!(
                "stopping: jobs at work have {} to save their state, those that wait are cancelled; Ctrl-C again kills all of them",
                duration(grace.as_secs_f64())
            ),
        });
        until(&|| stop.requests() > 1);
        if ended() {
            return;
        }
        say(&match grace {
            None => "killing the nodes at work; what they had saved is kept".into(),
            Some(_) => format!(
                "killing: the scheduler is asked to cancel all jobs, and has {} to confirm it; what they had saved is kept",
                duration(KILLED.as_secs_f64())
            ),
        });
    });
}

/// A store that does not answer for so long is said to: the run itself is stuck in it then.
const SILENCE: Duration = Duration::from_secs(10);

fn announce_silence(store: &Path, over: Arc<AtomicBool>, say: impl Fn(&str) + Send + 'static) {
    let (root, named) = (store.to_path_buf(), store.display().to_string());
    let ask = move || {
        let _ = silence::free(&root); // That it answers is all that is asked.
    };
    // Without it the run waits all the same.
    let _ = silence::tell(SILENCE, over, ask, move |heard| {
        say(&match heard {
            Heard::Nothing(silent) => format!(
                "! the store has not answered for {}, and the run waits for it: {named}",
                duration(silent.as_secs_f64())
            ),
            Heard::Again(took) => format!(
                "! the store answers again, after {}; the run goes on",
                duration(took.as_secs_f64())
            ),
        });
    });
}

/// Waits for the answer, which may never come: a signal is one as well.
fn ask(stop: Stop) {
    let _ = threads::start(move || {
        let mut answer = String::new();
        let heard = std::io::stdin().read_line(&mut answer);
        if stop.requests() > 0 {
            return;
        }
        match heard.is_ok() && answer.trim().eq_ignore_ascii_case("l") {
            true => stop.leave(),
            false => stop.request(),
        }
    });
}
