//! The command line: arguments, exit codes, printing. Every verb is a file; how anything is done is other rooms' business.

mod accept;
mod adopt;
mod args;
mod calls;
mod check;
mod claims;
mod detach;
mod diff;
mod export;
#[cfg(feature = "hub")]
mod fetch;
mod gc;
mod import;
mod kinds;
mod logs;
mod ls;
mod man;
mod output;
mod past;
mod pin;
mod plan;
mod provenance;
mod registry;
mod report;
mod run;
mod schema;
mod seeds;
mod settle;
mod show;
mod size;
mod status;
mod stop;
mod study;
mod table;
mod tokens;
mod verify;
mod why;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use engine::kind::Registry;
use output::{explain, print};
use std::path::PathBuf;

/// Members of every document that `--json` prints; held by a test.
const JSON: &str = include_str!("json.md");

const AFTER: &str = "Exit status: 0 done, 1 a node failed (of `diff`: something differs), 2 the recipe or the arguments are \
wrong, 3 the store or the machine cannot be used, or lacks what the run needs, 130 interrupted.\n\n`pipe help json` documents what `--json` prints, `pipe help metrics` what nodes measure. The store is `--store`, else the environment variable PIPE_STORE, else `cache` in the \
current folder.\n\nExample: pipe run recipes/tars.toml";

/// A declarative engine for LLM post-training studies: one TOML recipe is a graph of nodes that run once and are kept.
#[derive(Parser)]
#[command(name = "pipe", bin_name = "pipe", version, after_help = AFTER, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Check(check::Check),
    Plan(plan::Plan),
    Run(run::Run),
    Status(status::Status),
    Logs(logs::Logs),
    Stop(stop::Stop),
    Why(why::Why),
    Show(show::Show),
    Report(report::Report),
    Diff(diff::Diff),
    Table(table::Table),
    Claims(claims::Claims),
    Ls(ls::Ls),
    Calls(calls::Calls),
    Export(export::Export),
    Import(import::Import),
    #[cfg(feature = "hub")]
    Fetch(fetch::Fetch),
    Accept(accept::Accept),
    Adopt(adopt::Adopt),
    Pin(pin::Pin),
    Unpin(pin::Unpin),
    Gc(gc::Gc),
    Verify(verify::Verify),
    Kinds(kinds::Kinds),
    Schema(schema::Schema),
    Man(man::Man),
    Completions(man::Completions),
    // Both are pages with lines and tables of their own, which no terminal breaks anew.
    /// What `--json` prints.
    #[command(hide = true, before_long_help = JSON, term_width = 0)]
    Json,
    /// What nodes measure, by kind: names, units, meanings.
    #[command(hide = true, term_width = 0)]
    Metrics,
    /// Runs one attempt; started by `run`.
    #[command(hide = true)]
    Worker {
        attempt: PathBuf,
    },
}

/// Runs the command line with these kinds and returns the process's exit status.
pub fn main(kinds: &'static Registry) -> i32 {
    registry::set(kinds);
    base::memory::keep_freed();
    let command = Cli::command();
    let command = command.mut_subcommand("metrics", |c| c.before_long_help(kinds::metrics()));
    let cli = Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    let outcome = match cli.verb {
        Verb::Check(args) => check::run(&args),
        Verb::Plan(args) => plan::run(&args),
        Verb::Run(args) if args.until_settled => settle::run(&args),
        Verb::Run(args) => run::run(&args),
        Verb::Status(args) => status::run(&args),
        Verb::Logs(args) => logs::run(&args),
        Verb::Stop(args) => stop::run(&args),
        Verb::Json => {
            print(JSON);
            Ok(())
        }
        Verb::Metrics => {
            print(&kinds::metrics());
            Ok(())
        }
        Verb::Why(args) => why::run(&args),
        Verb::Show(args) => show::run(&args),
        Verb::Report(args) => report::run(&args),
        Verb::Diff(args) => diff::run(&args),
        Verb::Table(args) => table::run(&args),
        Verb::Claims(args) => claims::run(&args),
        Verb::Ls(args) => ls::run(&args),
        Verb::Calls(args) => calls::run(&args),
        Verb::Export(args) => export::run(&args),
        Verb::Import(args) => import::run(&args),
        #[cfg(feature = "hub")]
        Verb::Fetch(args) => fetch::run(&args),
        Verb::Accept(args) => accept::run(&args),
        Verb::Adopt(args) => adopt::run(&args),
        Verb::Pin(args) => pin::run(&args),
        Verb::Unpin(args) => pin::take_back(&args),
        Verb::Gc(args) => gc::run(&args),
        Verb::Verify(args) => verify::run(&args),
        Verb::Kinds(args) => kinds::run(&args),
        Verb::Schema(args) => schema::run(&args),
        Verb::Man(args) => man::run(Cli::command(), &args),
        Verb::Completions(args) => man::complete(Cli::command(), &args),
        Verb::Worker { attempt } => {
            return engine::run::worker::main(kinds, &attempt);
        }
    };
    match outcome {
        Ok(()) => 0,
        Err(error) => explain(&error),
    }
}
