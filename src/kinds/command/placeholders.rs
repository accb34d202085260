//! Placeholders in the strings of a command: reading them, what is wrong with them, putting the words in. Knows no process.

use super::params::Params;
use anyhow::{Result, anyhow};
use base::params::Problem;
use base::text::did_you_mean;
use base::value::{Value, Values};
use engine::kind::Kind;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Placeholders that every program has.
pub(crate) const ALWAYS: [&str; 5] = ["values", "job", "python", "threads", "resume"];

/// A part of a string.
#[derive(Debug, PartialEq)]
enum Piece<'a> {
    Text(&'a str),
    /// What stands between the braces.
    Hole(&'a str),
}

/// The pieces of a string; nothing where a brace is never closed. `{{` and `}}` are braces.
fn pieces(text: &str) -> Option<Vec<Piece<'_>>> {
    let mut found = vec![];
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        found.push(Piece::Text(before));
        let brace = &from[..1];
        if from[1..].starts_with(brace) {
            found.push(Piece::Text(brace));
            rest = &from[2..];
        } else if brace == "}" {
            found.push(Piece::Text(brace));
            rest = &from[1..];
        } else {
            let (hole, after) = from[1..].split_once('}')?;
            found.push(Piece::Hole(hole));
            rest = after;
        }
    }
    found.push(Piece::Text(rest));
    Some(found)
}

/// The names of files where the program runs: the last parts of their paths.
pub fn names(files: &[PathBuf]) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().map(|n| n.to_string_lossy().into_owned());
    files
        .iter()
        .map(|path| name(path).unwrap_or_default())
        .collect()
}

/// Whether a placeholder is in the command or in the environment; reads nothing else of the parameters.
pub fn mentions(values: &Values, word: &str) -> bool {
    let hole = format!("{{{word}}}");
    let inside = |value: &Value| match value {
        Value::Str(text) if text.contains(&hole) => {
            pieces(text).is_some_and(|all| all.contains(&Piece::Hole(word)))
        }
        _ => false,
    };
    let command = matches!(values.get("command"), Some(Value::List(all)) if all.iter().any(inside));
    let env = matches!(values.get("env"), Some(Value::Table(all)) if all.values().any(inside));
    command || env
}

/// Placeholders that nothing stands for, with what may be meant; `kind` says which ports and outputs there are.
pub fn problems(p: &Params, kind: &Kind) -> Vec<Problem> {
    let known = known(p, kind);
    let command = p.command.iter().enumerate();
    let command = command.map(|(i, text)| (format!("command.{i}"), text));
    let env = p
        .env
        .iter()
        .map(|(name, text)| (format!("env.{name}"), text));
    let mut found = vec![];
    for (path, text) in command.chain(env) {
        let mut wrong = |message: String, help: String| {
            found.push(Problem {
                path: path.clone(),
                message,
                help: Some(help),
            });
        };
        let Some(all) = pieces(text) else {
            let help = "`{{` stands for a brace by itself";
            wrong("`{` without its `}`".into(), help.into());
            continue;
        };
        for piece in all {
            let Piece::Hole(word) = piece else { continue };
            if known.iter().any(|k| k == word) {
                continue;
            }
            wrong(
                format!("unknown placeholder `{{{word}}}`"),
                help(word, p, kind, &known),
            );
        }
    }
    found
}

fn help(word: &str, p: &Params, kind: &Kind, known: &[String]) -> String {
    let (section, name) = word.split_once('.').unwrap_or((word, ""));
    let undelivered = section == "out" && kind.output(name).is_some();
    if undelivered {
        return format!("`outputs` does not name `{name}`");
    }
    // What other tools call their parameters.
    let own = format!("values.{name}");
    if ["param", "params", "value"].contains(&section) && known.contains(&own) {
        return format!("did you mean `{{{own}}}`?");
    }
    if let Some(near) = near(word, known.iter().map(String::as_str)) {
        return near;
    }
    let listed = |what: &str, words: Vec<String>| match words.is_empty() {
        true => format!("`{what}` is empty"),
        false => format!("`{what}` has {}", words.join(", ")),
    };
    match section {
        "values" => listed("values", p.values.keys().cloned().collect()),
        "file" => listed("files", names(&p.files)),
        _ => "placeholders: {in.PORT}, {out.NAME}, {file.NAME}, {values.NAME}, {values}, {job}, {python}, {threads}, {resume}; \
              `{{` stands for a brace"
            .into(),
    }
}

/// The near one of these words, as in "did you mean".
fn near<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<String> {
    did_you_mean(word, words).map(|near| format!("did you mean `{{{near}}}`?"))
}

/// Every placeholder that means something here.
fn known(p: &Params, kind: &Kind) -> Vec<String> {
    let mut known: Vec<String> = ALWAYS.map(String::from).into();
    known.extend(kind.inputs.iter().map(|port| format!("in.{}", port.name)));
    known.extend(p.outputs.iter().map(|o| format!("out.{}", o.word())));
    for (i, name) in names(&p.files).iter().enumerate() {
        known.push(format!("file.{i}"));
        known.push(format!("file.{name}"));
    }
    inner("values", &p.values, &mut |word, _| known.push(word));
    known
}

/// Every value of a table by its dotted path, those of tables inside it as well.
fn inner(above: &str, table: &BTreeMap<String, Value>, each: &mut impl FnMut(String, &Value)) {
    for (name, value) in table {
        let path = format!("{above}.{name}");
        if let Value::Table(below) = value {
            inner(&path, below, each);
        }
        each(path, value);
    }
}

/// `values.NAME` to what stands for it: strings as they are, everything else as JSON.
pub(crate) fn value_words(values: &BTreeMap<String, Value>) -> Result<BTreeMap<String, String>> {
    let mut words = BTreeMap::new();
    let mut failed = None;
    inner("values", values, &mut |path, value| {
        let text = match value {
            Value::Str(text) => Ok(text.clone()),
            other => serde_json::to_string(other),
        };
        match text {
            Ok(text) => drop(words.insert(path, text)),
            Err(error) => failed = Some(error),
        }
    });
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(words),
    }
}

/// The text with its placeholders replaced. Fails for one that has no word, an input that is not connected.
pub fn expand(text: &str, words: &BTreeMap<String, String>) -> Result<String> {
    let all = pieces(text).ok_or_else(|| anyhow!("`{{` without its `}}` in {text:?}"))?;
    let mut out = String::new();
    for piece in all {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Hole(word) => {
                let found = words.get(word);
                out.push_str(found.ok_or_else(|| anyhow!("nothing stands for `{{{word}}}`"))?);
            }
        }
    }
    Ok(out)
}
