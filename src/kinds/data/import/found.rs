//! What a path holds: which files are of a known layout, and whose results they are.

use super::unit::NoText;
pub use super::unit::{Layout, Response, Unit, stem};
use super::{file, harmbench, inspect, lm_eval};
use anyhow::{Context, Result, bail, ensure};
use base::text::{count, listed};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Folders that are looked through, and how deep.
const MOST_FILES: usize = 100_000;
const DEPTH: usize = 6;

/// What a path holds.
#[derive(Clone, Debug)]
pub struct Found {
    pub units: Vec<Unit>,
    /// Files and folders that nothing is taken from, and why; hidden ones are not looked at.
    pub passed: Vec<(PathBuf, String)>,
}

/// Files that a line names of those that are passed over for one reason.
const MOST_NAMED: usize = 20;

impl Found {
    /// Lines of what is passed over, a reason each.
    pub fn summary(&self) -> Vec<String> {
        let mut by_reason: Vec<(&str, Vec<String>)> = vec![];
        for (path, why) in &self.passed {
            let name = path.display().to_string();
            match by_reason.iter_mut().find(|(reason, _)| reason == why) {
                Some((_, names)) => names.push(name),
                None => by_reason.push((why, vec![name])),
            }
        }
        let line = |(why, names): (&str, Vec<String>)| {
            let shown = names.iter().take(MOST_NAMED).cloned();
            let mut shown: Vec<String> = shown.collect();
            if names.len() > MOST_NAMED {
                shown.push(format!("{} more", names.len() - MOST_NAMED));
            }
            format!("passed over {}: {why}", shown.join(", "))
        };
        by_reason.into_iter().map(line).collect()
    }
}

/// Everything of a known layout at a path, in the order of the files' names; of a folder also what is there and is not taken. Errors:
/// nothing there; a file that was named itself and cannot be read; labels of other completions.
pub fn look(path: &Path, only: Option<Layout>) -> Result<Found> {
    let (mut files, mut passed) = (vec![], vec![]);
    let walked = walk(path, 0, &mut files, &mut passed);
    walked.with_context(|| format!("failed to look at {}", path.display()))?;
    files.sort();
    let folder = path.is_dir();
    let mut units = vec![];
    for file in &files {
        match read(file, only, !folder) {
            Ok(unit) => units.push(unit),
            Err(error) if folder => passed.push((file.clone(), reason(&error, file))),
            Err(error) if error.is::<Unknown>() => bail!(
                "{} holds no completions that are known: {error}",
                file.display()
            ),
            Err(error) => return Err(error.context(file.display().to_string())),
        }
    }
    // What was read for the name of a model is not passed over.
    let results: Vec<PathBuf> = units.iter().filter_map(lm_eval::results).collect();
    passed.retain(|(path, _)| !results.contains(path));
    let mut units = tried_last(paired(units)?, &mut passed);
    for unit in units.iter_mut().filter(|u| u.layout == Layout::HarmBench) {
        unit.group = group(path, &unit.path);
    }
    let (units, empty): (Vec<Unit>, Vec<Unit>) =
        units.into_iter().partition(|u| !u.rows.is_empty());
    for unit in empty {
        let mut why = "it has no response".to_string();
        for (reason, n) in &unit.left_out {
            why += &format!("; {n} {reason}");
        }
        for note in &unit.notes {
            why += &format!("; {note}");
        }
        ensure!(folder, "{}: {why}", unit.path.display());
        passed.push((unit.path, why));
    }
    passed.sort();
    let found = Found { units, passed };
    ensure!(
        !found.units.is_empty(),
        "{} holds no completions that are known: neither HarmBench's MODEL.json, nor logs of inspect_ai (.eval, .json), nor \
         samples_*.jsonl of lm-evaluation-harness{}{}",
        path.display(),
        match only {
            Some(layout) => format!(" (asked for `{}`)", layout.word()),
            None => String::new(),
        },
        found
            .summary()
            .iter()
            .map(|line| format!("; {line}"))
            .collect::<String>()
    );
    Ok(found)
}

/// Why a file is passed over; its own path is said already.
fn reason(error: &anyhow::Error, file: &Path) -> String {
    let path = file.display();
    let summary = format!("{error:#}");
    summary.replace(&format!("failed to read {path}: "), "")
}

/// All files, and what is no file, or is too deep to be looked at.
fn walk(
    path: &Path,
    depth: usize,
    files: &mut Vec<PathBuf>,
    passed: &mut Vec<(PathBuf, String)>,
) -> Result<()> {
    if !path.is_dir() {
        ensure!(
            path.exists() || depth > 0,
            "there is no such file or folder"
        );
        ensure!(files.len() < MOST_FILES, "more than {MOST_FILES} files");
        match path.is_file() {
            true => files.push(path.into()),
            false if depth == 0 => bail!("it is neither a file nor a folder"),
            false if path.exists() => passed.push((path.into(), "it is no regular file".into())),
            false => passed.push((path.into(), "the link leads nowhere".into())),
        }
        return Ok(());
    }
    if depth == DEPTH {
        let why = format!("it is more than {} folders deep", DEPTH - 1);
        passed.push((path.into(), why));
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if !hidden {
            walk(&path, depth + 1, files, passed)?;
        }
    }
    Ok(())
}

/// A file of no layout that is known, or not of the one that was asked for.
#[derive(Debug)]
struct Unknown(String);

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unknown {}

/// The file, if it is of a known layout. `meant`: it was named itself, so that JSON that could be anything is HarmBench's.
fn read(path: &Path, only: Option<Layout>, meant: bool) -> Result<Unit> {
    let wanted = |layout: Layout| {
        let asked = only.filter(|only| *only != layout);
        match asked {
            Some(only) => Err(Unknown(format!(
                "it is of `{}` (asked for `{}`)",
                layout.word(),
                only.word()
            ))),
            None => Ok(()),
        }
    };
    let name = file::name(path);
    let ending = name.rsplit_once('.').map_or("", |(_, end)| end);
    match ending {
        "eval" => {
            wanted(Layout::Inspect)?;
            inspect::read_eval(path)
        }
        "jsonl" => {
            wanted(Layout::LmEval)?;
            let sure = meant || name.starts_with("samples_");
            lm_eval::read(path).map_err(|error| match sure || error.is::<NoText>() {
                true => error,
                false => Unknown(format!("it is no log of samples: {error:#}")).into(),
            })
        }
        "json" => {
            let value = file::read_json(path)?;
            if inspect::is_log(&value) {
                wanted(Layout::Inspect)?;
                return inspect::read_log(path, value);
            }
            if meant || harmbench::is_completions(&value) {
                wanted(Layout::HarmBench)?;
                let rows = harmbench::read(&value)?;
                return Ok(Unit::new(Layout::HarmBench, path, rows));
            }
            Err(Unknown(format!(
                "it is neither a log nor completions, but {}",
                shape(&value)
            ))
            .into())
        }
        _ => Err(Unknown("its name ends in none of .eval, .json and .jsonl".into()).into()),
    }
}

/// What a JSON value is, in a few words.
fn shape(value: &Json) -> String {
    match value {
        Json::Object(fields) => {
            let keys = fields.keys().take(5).map(String::as_str);
            match fields.len() {
                0 => "an empty object".into(),
                n => format!(
                    "an object of {} ({})",
                    count(n as u64, "key", "keys"),
                    listed(keys)
                ),
            }
        }
        Json::Array(items) => format!("an array of {}", count(items.len() as u64, "item", "items")),
        _ => "a single value".into(),
    }
}

/// Of the logs of one evaluation that was tried again, or of copies of one log, the one with the most responses, and of these the last:
/// what came later holds what was there before.
fn tried_last(units: Vec<Unit>, passed: &mut Vec<(PathBuf, String)>) -> Vec<Unit> {
    let mut best: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    let same = |unit: &Unit| {
        let id = unit.evaluation.clone()?;
        Some((id, unit.model.clone(), unit.group.clone()))
    };
    let worth = |unit: &Unit| (unit.rows.len(), unit.created.clone());
    for (i, unit) in units.iter().enumerate() {
        let Some(key) = same(unit) else {
            continue;
        };
        let first = best.entry(key).or_insert(i);
        if worth(unit) > worth(&units[*first]) {
            *first = i;
        }
    }
    let kept: BTreeSet<usize> = best.values().copied().collect();
    let names: Vec<PathBuf> = units.iter().map(|u| u.path.clone()).collect();
    let mut left = vec![];
    for (i, unit) in units.into_iter().enumerate() {
        match same(&unit).map(|key| best[&key]) {
            Some(other) if !kept.contains(&i) => {
                let other = names[other].display();
                let why = format!("it is of the same evaluation as {other}, which is taken");
                passed.push((unit.path, why));
            }
            _ => left.push(unit),
        }
    }
    left
}

/// Takes over the labels of a file of results.
pub(crate) fn label(unit: &mut Unit, results: &Path) -> Result<()> {
    let in_file = || results.display().to_string();
    ensure!(
        unit.layout == Layout::HarmBench,
        "{} is no file of HarmBench's completions, and has no results of its own",
        unit.path.display()
    );
    let labelled = harmbench::read(&file::read_json(results)?).with_context(in_file)?;
    harmbench::join(&mut unit.rows, &labelled).with_context(in_file)?;
    unit.results = Some(results.into());
    Ok(())
}

/// Puts `results/MODEL.json` to its `completions/MODEL.json`.
fn paired(units: Vec<Unit>) -> Result<Vec<Unit>> {
    let is_in = |path: &Path, folder: &str| {
        let parent = path.parent().and_then(Path::file_name);
        parent.is_some_and(|name| name == folder)
    };
    let sibling = |path: &Path| -> Option<PathBuf> {
        let home = path.parent()?.parent()?;
        Some(home.join("completions").join(path.file_name()?))
    };
    let (results, mut units): (Vec<Unit>, Vec<Unit>) = units
        .into_iter()
        .partition(|u| u.layout == Layout::HarmBench && is_in(&u.path, "results"));
    for unit in results {
        let of = sibling(&unit.path);
        match units.iter_mut().find(|u| Some(&u.path) == of.as_ref()) {
            Some(completions) => label(completions, &unit.path)?,
            None => units.push(unit),
        }
    }
    Ok(units)
}

/// The folders between the path and `completions/`, as the name of an attack.
fn group(root: &Path, path: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(Path::new(""));
    let folders = below.parent().into_iter().flat_map(Path::components);
    let names = folders.map(|c| c.as_os_str().to_string_lossy().into_owned());
    let names = names.filter(|n| n != "completions" && n != "results");
    names.collect::<Vec<_>>().join("-")
}
