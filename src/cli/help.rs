//! `pipe help`: of a verb its arguments, of a topic the page of `docs/` that the repository shows, too.

use super::offered::offered;
use super::output::{Error, Outcome, colour_out, print, room};
use super::overview;
use super::page::fitted;
use base::text::{did_you_mean, listed};
use clap::Command;
use clap_complete::engine::ArgValueCompleter;
use std::collections::BTreeSet;
use std::ffi::OsStr;

/// Explain a verb, or a topic of the manual; without a word, list both.
///
/// Example: pipe help recipe
#[derive(clap::Args)]
pub struct Help {
    /// A verb, as `run` or `calls show`; or a topic, as `recipe` or `metrics`
    #[arg(value_name = "VERB or TOPIC", add = names())]
    words: Vec<String>,
}

/// Verbs and topics, for a shell.
fn names() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        let topics = TOPICS.iter().map(|topic| topic.name);
        let names: BTreeSet<&str> = overview::verbs().chain(topics).collect();
        offered(begun, names.into_iter().map(String::from).collect())
    })
}

/// A page of the manual.
pub struct Topic {
    pub name: &'static str,
    /// Its file under `docs/`, as it is.
    pub page: &'static str,
}

impl Topic {
    /// Its heading.
    fn title(&self) -> &'static str {
        let first = self.page.lines().next().expect("a page has lines");
        first.trim_start_matches("# ")
    }
}

/// A file of `docs/` a name, in the order of `docs/SUMMARY.md`; a test holds the two together.
macro_rules! topics {
    ($($name:literal),* $(,)?) => {
        &[$(Topic { name: $name, page: include_str!(concat!("../../docs/", $name, ".md")) }),*]
    };
}

pub const TOPICS: &[Topic] = topics![
    "daily", "recipe", "claims", "report", "metrics", "training", "devices", "trainers", "data",
    "services", "judges", "attacks", "states", "spread", "store", "sharing", "cluster", "failures",
    "json", "paper", "results",
];

pub fn run(mut command: Command, args: &Help) -> Outcome {
    command.build();
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    match words[..] {
        [] => {
            print(&format!("{}\n{}", shown(&mut command), list()));
            Ok(())
        }
        // Before the verbs: `claims` is both, and `pipe claims --help` is the verb's.
        [name] if let Some(topic) = TOPICS.iter().find(|t| t.name == name) => {
            print(&fitted(topic.page, room()));
            Ok(())
        }
        _ => verb(command, &words),
    }
}

/// The help of a verb, or of a verb of a verb.
fn verb(mut command: Command, words: &[&str]) -> Outcome {
    let mut found = &mut command;
    for (depth, word) in words.iter().enumerate() {
        let verbs = found.get_subcommands().filter(|c| !c.is_hide_set());
        let mut known: Vec<String> = verbs.map(|c| c.get_name().to_string()).collect();
        if !known.iter().any(|name| name == word) {
            if depth == 0 {
                known.extend(TOPICS.iter().map(|t| t.name.to_string()));
            }
            return Err(unknown(word, &known));
        }
        found = found.find_subcommand_mut(word).expect("it was found");
    }
    print(&shown(found));
    Ok(())
}

fn unknown(word: &str, known: &[String]) -> Error {
    let near = did_you_mean(word, known.iter().map(String::as_str));
    let near = near.map_or_else(
        || {
            let topics = listed(TOPICS.iter().map(|t| t.name));
            format!("`pipe help` lists both; topics are {topics}")
        },
        |name| format!("did you mean `pipe help {name}`?"),
    );
    Error::Usage(format!("no verb or topic `{word}`; {near}"))
}

fn shown(command: &mut Command) -> String {
    let help = command.render_long_help();
    match colour_out() {
        true => help.ansi().to_string(),
        false => help.to_string(),
    }
}

/// The topics, a line each.
fn list() -> String {
    let widest = TOPICS.iter().map(|t| t.name.len()).max().unwrap_or(0);
    let lines = TOPICS
        .iter()
        .map(|t| format!("  {:widest$}  {}\n", t.name, t.title()));
    format!("Topics (pipe help TOPIC):\n{}", lines.collect::<String>())
}
