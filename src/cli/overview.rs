//! `pipe --help`: the verbs in groups, by what one is about to do.

use super::output::room;
use base::text::width;
use clap::Command;
use report::wrap::wrap;

/// What one is about to do, and the verbs for it. Every verb that help shows stands in one of them; held by a test.
const GROUPS: [(&str, &[&str]); 5] = [
    (
        "Write a study",
        &["new", "check", "kinds", "schema", "import"],
    ),
    (
        "Run it",
        &["plan", "run", "status", "logs", "stop", "profiles"],
    ),
    (
        "Read what came of it",
        &["show", "diff", "table", "claims", "report", "why"],
    ),
    (
        "Keep the store",
        &[
            "ls", "pin", "unpin", "gc", "verify", "doctor", "accept", "adopt", "calls",
        ],
    ),
    (
        "Share, look up",
        &[
            "push",
            "pull",
            "keys",
            "serve",
            "export",
            "fetch",
            "help",
            "man",
            "completions",
        ],
    ),
];

const TEMPLATE: &str =
    "{about-with-newline}\n{usage-heading} {usage}\n\n{before-help}Options:\n{options}{after-help}";

/// What help is wide at most, however wide the terminal is; and where nobody knows how wide that is.
const WIDEST: usize = 110;
const USUAL: usize = 100;

pub fn verbs() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().flat_map(|(_, verbs)| verbs.iter().copied())
}

/// The command with this overview in place of one long list.
pub fn grouped(command: Command) -> Command {
    let room = match room() {
        usize::MAX => USUAL,
        room => room.min(WIDEST),
    };
    let text = text(&command, room);
    command.before_help(text).help_template(TEMPLATE)
}

fn text(command: &Command, room: usize) -> String {
    let names = GROUPS.iter().flat_map(|(_, verbs)| verbs.iter());
    let column = names.map(|name| width(name)).max().unwrap_or(0) + 4;
    let groups = GROUPS.iter().map(|(title, verbs)| {
        let verbs = verbs
            .iter()
            .filter_map(|name| command.find_subcommand(name));
        let lines = verbs.flat_map(|verb| {
            let about = verb.get_about().map(ToString::to_string);
            let about = about.unwrap_or_default();
            // What follows is told by the verb's own help.
            let about = about.split([':', ';']).next().unwrap_or_default();
            // Wrapped beside its name, which stands before the first line.
            let lines = wrap(
                about.trim_end_matches('.'),
                room.saturating_sub(column).max(20),
                0,
            );
            let name = std::iter::once(verb.get_name()).chain(std::iter::repeat(""));
            let lines = name.zip(lines);
            let lines = lines.map(|(name, line)| format!("  {name:<0$}{line}\n", column - 2));
            lines.collect::<Vec<_>>()
        });
        format!("{title}:\n{}", lines.collect::<String>())
    });
    groups.collect::<Vec<_>>().join("\n") + "\n"
}
