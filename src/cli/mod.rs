//! The command line: arguments, printing and exit codes. How anything is done is not known here. A file a verb.

mod args;
mod check;
mod plan;
mod run;

use crate::base::diag::Diags;
use crate::engine::failure::Failure;
use crate::engine::worker;
use crate::kinds::REGISTRY;
use clap::{Parser, Subcommand};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

const CODES: &str = "\
Exit codes:
  0    everything asked for is there
  1    a node failed, or what was asked for is not made yet
  2    the recipe or the arguments are wrong
  3    the store or the machine is unusable
  130  interrupted; the next run goes on from what was saved

The store is the folder given by --store, else by the environment variable PIPE_STORE, else `cache` here.";

const START: &str = "\
A recipe (TOML) describes a study as nodes: data, models, training, evaluation. Every node has a key made of what it \
is; a node with an artifact under its key is not run again.

  pipe check study.toml           is the recipe right?
  pipe plan study.toml            what would run, why, and how long?
  pipe run study.toml             run it, then the table of results
  pipe show study.toml            the table again, nothing is run
  pipe show study.toml answers    rows of an artifact, readable";

/// Runs studies of LLM post-training from a recipe, and only what is not made yet.
#[derive(Parser)]
#[command(name = "pipe", version, long_about = START, after_help = CODES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Check(check::Check),
    Plan(plan::Plan),
    Run(run::Run),
    /// What the engine starts for every node.
    #[command(hide = true)]
    Worker {
        dir: PathBuf,
    },
}

/// What a verb has to say on stdout, and how it ended.
struct Done {
    text: String,
    code: u8,
}

impl Done {
    fn ok(text: impl Into<String>) -> Done {
        Done {
            text: text.into(),
            code: 0,
        }
    }

    fn json(value: &impl serde::Serialize) -> Done {
        let text = serde_json::to_string_pretty(value).expect("what is shown has a JSON form");
        Done::ok(text + "\n")
    }
}

/// Why a verb could not do what it was asked to.
enum Trouble {
    /// The arguments are wrong.
    Arguments(String),
    /// The recipe is wrong.
    Recipe(Diags),
    /// It is not made yet.
    Absent(String),
    Failure(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble::Failure(failure)
    }
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Trouble {
        Trouble::Failure(Failure::Environment(error))
    }
}

/// Reads the arguments, does what they say, and returns the exit code.
pub fn main() -> u8 {
    let verb = match Cli::try_parse() {
        Ok(cli) => cli.verb,
        Err(error) => {
            let _ = error.print(); // Nobody is left to be told.
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let done = match verb {
        Verb::Check(verb) => verb.run(),
        Verb::Plan(verb) => verb.run(),
        Verb::Run(verb) => verb.run(),
        Verb::Worker { dir } => {
            return u8::try_from(worker::main(&REGISTRY, &dir)).unwrap_or(1);
        }
    };
    match done {
        Ok(done) => {
            // A reader that went away, as `| head` does, has what it wanted.
            let _ = std::io::stdout().write_all(done.text.as_bytes());
            done.code
        }
        Err(trouble) => explain(trouble),
    }
}

fn explain(trouble: Trouble) -> u8 {
    match trouble {
        Trouble::Arguments(message) => {
            aside(&format!("error: {message}\n"));
            2
        }
        Trouble::Recipe(diags) => {
            aside(&diags.render(colour(&std::io::stderr())));
            2
        }
        Trouble::Absent(message) => {
            aside(&format!("error: {message}\n"));
            1
        }
        Trouble::Failure(failure) => {
            aside(&format!("error: {failure}\n"));
            failure.exit_code()
        }
    }
}

/// On stderr: what is not the answer.
fn aside(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes()); // As in `main`.
}

/// Whether to colour what goes to this stream. See <https://no-color.org>.
fn colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && args::environment("NO_COLOR").is_none_or(|v| v.is_empty())
}
