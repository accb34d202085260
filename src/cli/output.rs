//! What a command says, and how it ends.

use super::environment::variable;
use base::diag::Diags;
use engine::kind::failure::Failure;
use report::table::Table;
use report::wrap::wrap;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;

/// Raised when a documented member changes its meaning or goes; new members do not raise it.
pub const JSON_SCHEMA: u32 = 1;

/// Why a command did not succeed.
pub enum Error {
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

pub type Outcome = Result<(), Error>;

/// Prints the error and returns its exit status.
pub fn explain(error: &Error) -> i32 {
    match error {
        Error::Author(diags) => {
            complain(&diags.render(colour()));
            2
        }
        Error::Usage(message) => {
            complain(&wrapped(&format!("error: {message}\n"), room_aside()));
            2
        }
        Error::Failure(failure) => {
            complain(&wrapped(&format!("error: {failure}\n"), room_aside()));
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
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if let Err(error) = written
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        complain(&format!("error: cannot write the result: {error}\n"));
        std::process::exit(3);
    }
}

/// Columns of what stdout goes to: a terminal's; elsewhere what the environment variable COLUMNS says, else there is no end. The help's
/// are found in the same way.
pub fn room() -> usize {
    room_of(std::io::stdout())
}

/// The same of what stderr goes to.
pub fn room_aside() -> usize {
    room_of(std::io::stderr())
}

fn room_of(out: impl AsFd) -> usize {
    let seen = rustix::termios::tcgetwinsize(out).ok();
    let seen = seen.map(|size| usize::from(size.ws_col));
    let said = || variable("COLUMNS")?.parse().ok();
    let room = seen.filter(|n| *n > 0).or_else(said);
    room.filter(|n| *n > 0).unwrap_or(usize::MAX)
}

/// Lines in the columns that there are.
pub fn print_lines(text: &str) {
    print(&in_room(text));
}

pub fn in_room(text: &str) -> String {
    wrapped(text, room())
}

fn wrapped(text: &str, room: usize) -> String {
    let lines = text.lines().flat_map(|line| wrap(line, room, 2));
    lines.map(|line| line + "\n").collect()
}

pub fn print_table(table: &Table) {
    print(&table.fit(room()));
}

/// A path of the current folder without that folder.
pub fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let below = here.and_then(|here| path.strip_prefix(here).ok());
    below.unwrap_or(path).display().to_string()
}

/// Writes to stderr, whether anybody reads it or not: `eprint!` would panic.
pub fn complain(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// A warning in the columns that stderr has.
pub fn warn(text: impl Display) {
    complain(&wrapped(&format!("warning: {text}\n"), room_aside()));
}

/// Prints an object as JSON, with the version of its shape as the first member.
pub fn print_json(value: &serde_json::Value) {
    print(&format!("{:#}\n", versioned(value)));
}

pub fn versioned(value: &serde_json::Value) -> serde_json::Value {
    let members = value
        .as_object()
        .expect("what is printed as JSON is an object");
    let mut all = serde_json::Map::new();
    all.insert("schema".into(), JSON_SCHEMA.into());
    all.extend(members.clone());
    serde_json::Value::Object(all)
}

/// Whether stderr shows colours.
pub fn colour() -> bool {
    std::io::stderr().is_terminal() && variable("NO_COLOR").is_none()
}

/// Whether stdout does.
pub fn colour_out() -> bool {
    std::io::stdout().is_terminal() && variable("NO_COLOR").is_none()
}
