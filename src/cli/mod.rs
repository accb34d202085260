//! The command line: arguments, exit codes, printing. Every verb is a file; how anything is done is other rooms' business.

mod accept;
mod adopt;
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
mod past;
mod pin;
mod plan;
mod provenance;
mod report;
mod run;
mod schema;
mod show;
mod size;
mod status;
mod stop;
mod study;
mod table;
mod tokens;
mod verify;
mod why;

use base::diag::Diags;
use clap::{Args, Parser, Subcommand, ValueHint};
use engine::events::failure::Failure;
use engine::kind::Registry;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::OnceLock;

/// Members of every document that `--json` prints; held by a test.
const JSON: &str = include_str!("json.md");

/// Raised when a documented member changes its meaning or goes; new members do not raise it.
const JSON_SCHEMA: u32 = 1;

const AFTER: &str = "Exit status: 0 done, 1 a node failed (of `diff`: something differs), 2 the recipe or the arguments are \
wrong, 3 the store or the machine cannot be used, or lacks what the run needs, 130 interrupted.\n\n`pipe help json` documents what `--json` prints. The store is `--store`, else the environment variable PIPE_STORE, else `cache` in the \
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
    /// What `--json` prints.
    #[command(hide = true, before_long_help = JSON)]
    Json,
    /// Runs one attempt; started by `run`.
    #[command(hide = true)]
    Worker {
        attempt: PathBuf,
    },
}

/// A recipe, with changes for this command only.
#[derive(Args)]
struct RecipeArgs {
    /// The recipe's TOML file
    #[arg(value_hint = ValueHint::FilePath)]
    recipe: PathBuf,
    #[command(flatten)]
    changes: Changes,
}

/// Recipes that are one study, with changes for this command only.
#[derive(Args)]
struct RecipesArgs {
    /// The recipes' TOML files; what they share is one node
    #[arg(required = true, value_name = "RECIPE", value_hint = ValueHint::FilePath)]
    recipes: Vec<PathBuf>,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Args)]
struct Changes {
    /// Change a value for this command: `vars.NAME=VALUE`, `NODE.PARAM=VALUE`. May be repeated
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// An axis for this command, over that of `[matrix]`: `seed=0,1,2`, `rl.lr=1e-4,2e-4`. May be repeated
    #[arg(long, value_name = "AXIS=VALUES")]
    matrix: Vec<String>,
}

#[derive(Args)]
struct StoreArgs {
    /// Folder of the store [default: $PIPE_STORE, else `cache`]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    store: Option<PathBuf>,
}

/// Why a command did not succeed.
enum Error {
    /// The recipe's author has to change something.
    Author(Diags),
    /// The command line's author has.
    Usage(String),
    Failure(Failure),
    /// The world failed while a result was being read or printed.
    World(anyhow::Error),
    /// The reader was told already; what is left is the exit status.
    Told(i32),
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Error {
        match error.downcast::<Diags>() {
            Ok(diags) => Error::Author(diags),
            Err(error) => Error::World(error),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        Error::Failure(failure)
    }
}

impl From<Diags> for Error {
    fn from(diags: Diags) -> Error {
        Error::Author(diags)
    }
}

type Outcome = Result<(), Error>;

/// The kinds that recipes may name.
static KINDS: OnceLock<&Registry> = OnceLock::new();

fn registry() -> &'static Registry {
    KINDS.get().expect("`main` says which kinds there are")
}

/// Runs the command line with these kinds and returns the process's exit status.
pub fn main(kinds: &'static Registry) -> i32 {
    KINDS.get_or_init(|| kinds);
    base::memory::keep_freed();
    let outcome = match Cli::parse().verb {
        Verb::Check(args) => check::run(&args),
        Verb::Plan(args) => plan::run(&args),
        Verb::Run(args) => run::run(&args),
        Verb::Status(args) => status::run(&args),
        Verb::Logs(args) => logs::run(&args),
        Verb::Stop(args) => stop::run(&args),
        Verb::Json => {
            print(JSON);
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
        Verb::Man(args) => man::run(&args),
        Verb::Completions(args) => man::complete(&args),
        Verb::Worker { attempt } => {
            return engine::run::worker::main(registry(), &attempt);
        }
    };
    match outcome {
        Ok(()) => 0,
        Err(error) => explain(&error),
    }
}

/// Prints the error and returns its exit status.
fn explain(error: &Error) -> i32 {
    match error {
        Error::Author(diags) => {
            complain(&diags.render(colour()));
            2
        }
        Error::Usage(message) => {
            complain(&format!("error: {message}\n"));
            2
        }
        Error::Failure(failure) => {
            complain(&format!("error: {failure}\n"));
            if failure.to_string().contains("No space left") {
                complain(
                    "make room, then the same command goes on; nothing that was finished is lost\n",
                );
            }
            i32::from(failure.exit_code())
        }
        Error::World(error) => {
            complain(&format!("error: {error:#}\n"));
            3
        }
        Error::Told(status) => *status,
    }
}

/// Writes to stdout. A reader that went away (`| head`) is no error; a disk that is full is.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if let Err(error) = written
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        complain(&format!("error: cannot write the result: {error}\n"));
        std::process::exit(3);
    }
}

/// Writes to stderr, whether anybody reads it or not: `eprint!` would panic.
fn complain(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Prints an object as JSON, with the version of its shape as the first member.
fn print_json(value: &serde_json::Value) {
    print(&format!("{:#}\n", versioned(value)));
}

fn versioned(value: &serde_json::Value) -> serde_json::Value {
    let members = value
        .as_object()
        .expect("what is printed as JSON is an object");
    let mut all = serde_json::Map::new();
    all.insert("schema".into(), JSON_SCHEMA.into());
    all.extend(members.clone());
    serde_json::Value::Object(all)
}

/// Whether stderr shows colours.
fn colour() -> bool {
    std::io::stderr().is_terminal() && environment("NO_COLOR").is_none()
}

/// Whether stdout does.
fn colour_out() -> bool {
    std::io::stdout().is_terminal() && environment("NO_COLOR").is_none()
}

/// The one place where the environment is read.
#[allow(clippy::disallowed_methods)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
