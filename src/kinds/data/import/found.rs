//! What a path holds: which files are of a known layout, and whose results they are.

use super::{file, harmbench, inspect, lm_eval};
use crate::data::labels::tallied;
use anyhow::{Context, Result, bail, ensure};
use base::response::Withheld;
use base::text::{count, listed};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The largest file, in bytes. A file is in memory whole, but for the samples of an `.eval` log, which are read one by one.
pub const MOST_BYTES: u64 = 2 << 30;

/// Folders that are looked through, and how deep.
const MOST_FILES: usize = 100_000;
const DEPTH: usize = 6;

/// How files lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layout {
    HarmBench,
    Inspect,
    LmEval,
}

impl Layout {
    pub fn word(self) -> &'static str {
        match self {
            Layout::HarmBench => "harmbench",
            Layout::Inspect => "inspect",
            Layout::LmEval => "lm-eval",
        }
    }
}

/// A response as a file has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// What the file calls the prompt.
    pub key: String,
    pub prompt: String,
    /// Reasoning in think tags, where it is known.
    pub response: String,
    pub unfinished: bool,
    /// Why there is no answer, where the file says so.
    pub withheld: Option<Withheld>,
    pub tokens: u32,
    pub served: Option<String>,
    pub category: String,
    pub labels: BTreeMap<String, String>,
    /// By name.
    pub scores: BTreeMap<String, Said>,
}

/// What was said of a response.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    /// In [0, 1], where it is a number or can be read as one.
    pub value: Option<f64>,
    /// As it was given.
    pub label: String,
    pub words: Option<String>,
}

impl Said {
    /// A number, a truth value, or a word that inspect_ai takes for one: `C`orrect, `P`artially, `I`ncorrect, `N`o answer; yes, true, no,
    /// false in any case. A number that is none or is not in [0, 1], and any other word, has no value.
    pub fn of(value: &Json) -> Said {
        let read = match value {
            Json::Bool(b) => Some(f64::from(*b)),
            Json::Number(n) => n.as_f64(),
            Json::String(word) => match word.as_str() {
                "C" => Some(1.0),
                "P" => Some(0.5),
                "I" | "N" => Some(0.0),
                other => match other.trim().to_lowercase().as_str() {
                    "yes" | "true" => Some(1.0),
                    "no" | "false" => Some(0.0),
                    number => number.parse().ok(),
                },
            },
            _ => None,
        };
        Said {
            value: read.filter(|x| (0.0..=1.0).contains(x)),
            label: match value {
                Json::String(word) => word.clone(),
                other => other.to_string(),
            },
            words: None,
        }
    }
}

/// What one file, or a file of completions with its file of results, holds.
#[derive(Clone, Debug)]
pub struct Unit {
    pub layout: Layout,
    pub model: String,
    /// The attack (folders below the path) or the task; may be empty.
    pub group: String,
    pub path: PathBuf,
    /// Where the labels are, if not in the same file.
    pub results: Option<PathBuf>,
    pub rows: Vec<Response>,
    /// lm-eval: rows of further filters, by filter.
    pub filters: BTreeMap<String, Vec<Response>>,
    /// Samples that are left out, by the reason.
    pub left_out: BTreeMap<&'static str, usize>,
    /// What else is to be known of the file, as that its evaluation did not come to an end.
    pub notes: Vec<String>,
    /// What the file says that it belongs to; files of one evaluation that was tried again say the same.
    pub evaluation: Option<String>,
    /// When it was made, as it says.
    pub created: String,
}

impl Unit {
    pub fn new(layout: Layout, path: &Path, rows: Vec<Response>) -> Unit {
        Unit {
            layout,
            model: stem(Path::new(&file::unpacked(path))),
            group: String::new(),
            path: path.into(),
            results: None,
            rows,
            filters: BTreeMap::new(),
            left_out: BTreeMap::new(),
            notes: vec![],
            evaluation: None,
            created: String::new(),
        }
    }

    /// How many samples are left out.
    pub fn left(&self) -> usize {
        self.left_out.values().sum()
    }

    /// What was said under this name and cannot be read as a number in [0, 1], with how often.
    pub fn unscorable(&self, name: &str) -> BTreeMap<&str, u64> {
        let mut labels = BTreeMap::new();
        let said = self.rows.iter().filter_map(|row| row.scores.get(name));
        for said in said.filter(|said| said.value.is_none()) {
            *labels.entry(said.label.as_str()).or_default() += 1;
        }
        labels
    }

    /// Names of what was measured on any row.
    pub fn scores(&self) -> BTreeSet<&str> {
        let names = self.rows.iter().flat_map(|row| row.scores.keys());
        names.map(String::as_str).collect()
    }

    /// Takes over the labels of a file of results.
    pub fn label(&mut self, results: &Path) -> Result<()> {
        let in_file = || results.display().to_string();
        ensure!(
            self.layout == Layout::HarmBench,
            "{} is no file of HarmBench's completions, and has no results of its own",
            self.path.display()
        );
        let labelled = harmbench::read(&read_json(results)?).with_context(in_file)?;
        harmbench::join(&mut self.rows, &labelled).with_context(in_file)?;
        self.results = Some(results.into());
        Ok(())
    }

    /// `80 responses of vicuna (GCG), harmbench; scores: `label``.
    pub fn summary(&self) -> String {
        let mut summary = count(self.rows.len() as u64, "response", "responses");
        summary += &format!(" of {}", self.model);
        if !self.group.is_empty() {
            summary += &format!(" ({})", self.group);
        }
        summary += &format!(", {}", self.layout.word());
        let scores = self.scores();
        if !scores.is_empty() {
            summary += &format!("; scores: {}", listed(scores));
        }
        for (why, n) in &self.left_out {
            summary += &format!("; {n} {why}");
        }
        summary
    }

    /// What has to be known besides: notes, and scores that cannot be read.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = self.notes.clone();
        if self.filters.len() > 1 {
            let filters = listed(self.filters.keys().map(String::as_str));
            remarks.push(format!("it has the filters {filters}; where `filter` names none, the first of the file is taken"));
        }
        for name in self.scores() {
            let labels = self.unscorable(name);
            if !labels.is_empty() {
                let n = count(labels.values().sum(), "response is", "responses are");
                let labels = tallied(labels);
                remarks.push(format!(
                    "{n} unscorable by `{name}`, as it says no number from 0 to 1: {labels}"
                ));
            }
        }
        remarks
    }
}

/// A file that is understood and holds no texts.
#[derive(Debug)]
pub struct NoText(pub &'static str);

/// Why a sample is left out: the model gave none, as where it failed.
pub const NO_RESPONSE: &str = "without a response";
/// Why a sample is left out: its like is there already.
pub const TWICE: &str = "with the id and epoch of an earlier one";
/// Why a response is left out: the scores of its sample are those of the first.
pub const FURTHER: &str = "as a further choice of one, which has no score of its own";

impl std::fmt::Display for NoText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NoText {}

/// The name of a file without its ending.
pub fn stem(path: &Path) -> String {
    let stem = path.file_stem();
    stem.map(|s| s.to_string_lossy().into_owned())
        .unwrap_or_default()
}

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
            let value = read_json(path)?;
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

pub fn read_json(path: &Path) -> Result<Json> {
    let read = || file::parsed(&file::text(path)?);
    read().with_context(|| format!("failed to read {}", path.display()))
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
            Some(completions) => completions.label(&unit.path)?,
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
