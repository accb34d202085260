//! The command line: arguments, exit codes, printing. Every verb is a file; how anything is done is other rooms' business.

mod accept;
mod adopt;
mod answers;
mod args;
mod calls;
mod check;
mod claims;
mod closing;
mod complete;
mod detach;
mod diff;
mod doctor;
mod environment;
mod export;
#[cfg(feature = "hub")]
mod fetch;
mod follow;
mod gc;
mod gc_remote;
pub mod help;
mod hint;
mod import;
mod keyring;
mod keys;
mod kind_page;
mod kinds;
mod logs;
mod ls;
mod man;
mod new;
mod offered;
mod on;
mod output;
mod overview;
mod page;
mod past;
mod pin;
mod places;
mod plan;
mod profiles;
mod provenance;
mod pull;
mod push;
mod pushed;
mod registry;
mod remote;
mod report;
mod rewards;
mod run;
mod schema;
mod seeds;
mod serve;
mod settle;
mod show;
mod size;
mod status;
mod stop;
mod store;
mod study;
mod table;
mod tokens;
mod verify;
mod why;

use ::kinds::shared::devices;
use base::text::did_you_mean;
use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use engine::kind::Registry;
use engine::system::gpus;
use output::explain;

const AFTER: &str = "Exit status: 0 done, 1 a node failed (of `diff` something differs, of `verify` something is bad), 2 the recipe or the arguments are \
wrong, 3 the store or the machine cannot be used, or lacks what the run needs, 130 interrupted.\n\n`pipe help` lists the topics of the manual, as recipe, claims, metrics and json. The store is `--store`, else the environment variable PIPE_STORE, else the \
nearest store called `cache` in the current folder or above it, else `cache` in the current folder, which the first run makes.\n\nExample: pipe run recipes/tars.toml";

/// A declarative engine for LLM post-training studies: one TOML recipe is a graph of nodes that run once and are kept.
#[derive(Parser)]
#[command(name = "pipe", bin_name = "pipe", version, after_help = AFTER, max_term_width = 110, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    New(new::New),
    Check(check::Check),
    Plan(plan::Plan),
    Run(run::Run),
    Profiles(profiles::Profiles),
    Status(status::Status),
    Logs(logs::Logs),
    Stop(stop::Stop),
    Why(why::Why),
    Show(show::Show),
    Report(report::Report),
    Serve(rewards::Serve),
    Diff(diff::Diff),
    Table(table::Table),
    Claims(claims::Claims),
    Ls(ls::Ls),
    Calls(calls::Calls),
    Export(export::Export),
    Import(import::Import),
    #[cfg(feature = "hub")]
    Fetch(fetch::Fetch),
    Push(push::Push),
    Pull(pull::Pull),
    Keys(keys::Keys),
    Accept(accept::Accept),
    Adopt(adopt::Adopt),
    Pin(pin::Pin),
    Unpin(pin::Unpin),
    Gc(gc::Gc),
    Verify(verify::Verify),
    Doctor(doctor::Doctor),
    Kinds(kinds::Kinds),
    Schema(schema::Schema),
    Man(man::Man),
    Completions(man::Completions),
    Help(help::Help),
}

/// The command line as it is parsed.
pub fn command() -> clap::Command {
    overview::grouped(Cli::command())
}

/// An error about a verb that there is not, with the one that is like it where clap sees none: letters in another order, say.
fn like_a_verb(mut error: clap::Error) -> clap::Error {
    let word = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) => word.clone(),
        _ => return error,
    };
    let verbs = command();
    let verbs = verbs.get_subcommands().map(clap::Command::get_name);
    let near = did_you_mean(&word, verbs);
    if let Some(near) = near.filter(|_| error.get(ContextKind::SuggestedSubcommand).is_none()) {
        error.insert(
            ContextKind::SuggestedSubcommand,
            ContextValue::Strings(vec![near]),
        );
    }
    error
}

/// Runs the command line with these kinds and returns the process's exit status.
pub fn main(kinds: &'static Registry) -> i32 {
    if let Err(error) = devices::kernels(environment::variable(gpus::KERNELS).as_deref()) {
        return explain(&error.into());
    }
    // Every node is a process: it need not learn first what all the other verbs take.
    if let Some(attempt) = args::attempt() {
        base::memory::keep_freed();
        return engine::run::worker::main(kinds, &attempt);
    }
    if let Some((store, attempts)) = args::attended() {
        base::memory::keep_freed();
        return engine::run::attend::main(kinds, &store, &attempts);
    }
    registry::set(kinds);
    base::memory::keep_freed();
    complete::answer(command);
    let matches = command().try_get_matches();
    let matches = matches.unwrap_or_else(|error| like_a_verb(error).exit());
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let outcome = match cli.verb {
        Verb::New(args) => new::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Plan(args) => plan::run(&args),
        Verb::Run(args) if args.until_settled => settle::run(&args),
        Verb::Run(args) => run::run(&args),
        Verb::Profiles(args) => profiles::run(&args),
        Verb::Status(args) => status::run(&args),
        Verb::Logs(args) => logs::run(&args),
        Verb::Stop(args) => stop::run(&args),
        Verb::Why(args) => why::run(&args),
        Verb::Show(args) => show::run(&args),
        Verb::Report(args) => report::run(&args),
        Verb::Serve(args) => rewards::run(&args),
        Verb::Diff(args) => diff::run(&args),
        Verb::Table(args) => table::run(&args),
        Verb::Claims(args) => claims::run(&args),
        Verb::Ls(args) => ls::run(&args),
        Verb::Calls(args) => calls::run(&args),
        Verb::Export(args) => export::run(&args),
        Verb::Import(args) => import::run(&args),
        #[cfg(feature = "hub")]
        Verb::Fetch(args) => fetch::run(&args),
        Verb::Push(args) => push::run(&args),
        Verb::Pull(args) => pull::run(&args),
        Verb::Keys(args) => keys::run(&args),
        Verb::Accept(args) => accept::run(&args),
        Verb::Adopt(args) => adopt::run(&args),
        Verb::Pin(args) => pin::run(&args),
        Verb::Unpin(args) => pin::take_back(&args),
        Verb::Gc(args) => gc::run(&args),
        Verb::Verify(args) => verify::run(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Kinds(args) => kinds::run(&args),
        Verb::Schema(args) => schema::run(&args),
        Verb::Man(args) => man::run(command(), &args),
        Verb::Completions(args) => man::completions(&args),
        Verb::Help(args) => help::run(command(), &args),
    };
    match outcome {
        Ok(()) => 0,
        Err(error) => explain(&error),
    }
}
