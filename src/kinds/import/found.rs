//! What a path holds: which files are of a known layout, and whose results they are.

use super::{harmbench, inspect, lm_eval};
use crate::base::bounded;
use crate::base::text::{count, listed};
use anyhow::{Context, Result, bail, ensure};
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
    /// A number, a truth value, or a grade of inspect_ai: `C`orrect, `P`artially, `I`ncorrect, `N`o answer.
    pub fn of(value: &Json) -> Said {
        let read = match value {
            Json::Bool(b) => Some(f64::from(*b)),
            Json::Number(n) => n.as_f64(),
            Json::String(word) => match word.as_str() {
                "C" => Some(1.0),
                "P" => Some(0.5),
                "I" | "N" => Some(0.0),
                other => other.parse().ok(),
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
    /// Samples that have no response.
    pub left_out: usize,
}

impl Unit {
    pub fn new(layout: Layout, path: &Path, rows: Vec<Response>) -> Unit {
        Unit {
            layout,
            model: stem(path),
            group: String::new(),
            path: path.into(),
            results: None,
            rows,
            filters: BTreeMap::new(),
            left_out: 0,
        }
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
    pub fn told(&self) -> String {
        let mut told = count(self.rows.len() as u64, "response", "responses");
        told += &format!(" of {}", self.model);
        if !self.group.is_empty() {
            told += &format!(" ({})", self.group);
        }
        told += &format!(", {}", self.layout.word());
        let scores = self.scores();
        if !scores.is_empty() {
            told += &format!("; scores: {}", listed(scores));
        }
        if self.left_out > 0 {
            told += &format!("; {} without a response", self.left_out);
        }
        told
    }
}

/// A file that is understood and holds no texts.
#[derive(Debug)]
pub struct NoText(pub &'static str);

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
    /// Files of a known layout that hold no completions, and why.
    pub passed: Vec<(PathBuf, String)>,
}

/// Everything of a known layout at a path, in the order of the files' names. Errors: nothing there; a file that ought to be one and is
/// not.
pub fn look(path: &Path, only: Option<Layout>) -> Result<Found> {
    let mut files = vec![];
    walk(path, 0, &mut files).with_context(|| format!("failed to look at {}", path.display()))?;
    files.sort();
    let folder = path.is_dir();
    let (mut units, mut passed) = (vec![], vec![]);
    for file in &files {
        match read(file, only, !folder) {
            Ok(unit) => units.extend(unit),
            Err(error) if folder && error.is::<NoText>() => {
                passed.push((file.clone(), error.to_string()));
            }
            Err(error) => return Err(error.context(file.display().to_string())),
        }
    }
    let mut units = paired(units)?;
    for unit in units.iter_mut().filter(|u| u.layout == Layout::HarmBench) {
        unit.group = group(path, &unit.path);
    }
    units.retain(|u| only.is_none_or(|layout| u.layout == layout));
    ensure!(
        !units.is_empty(),
        "{} holds no completions that are known: neither HarmBench's MODEL.json, nor logs of inspect_ai (.eval, .json), nor \
         samples_*.jsonl of lm-evaluation-harness{}",
        path.display(),
        match only {
            Some(layout) => format!(" (asked for `{}`)", layout.word()),
            None => String::new(),
        }
    );
    if let Some(empty) = units.iter().find(|u| u.rows.is_empty()) {
        bail!("{} has no response", empty.path.display());
    }
    Ok(Found { units, passed })
}

fn walk(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        ensure!(path.exists(), "there is no such file or folder");
        ensure!(files.len() < MOST_FILES, "more than {MOST_FILES} files");
        files.push(path.into());
        return Ok(());
    }
    if depth == DEPTH {
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if !hidden {
            walk(&path, depth + 1, files)?;
        }
    }
    Ok(())
}

/// The file, if it is of a known layout. `meant`: it was named itself, so that what it is not is an error.
fn read(path: &Path, only: Option<Layout>, meant: bool) -> Result<Option<Unit>> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let wanted = |layout| only.is_none_or(|only| only == layout);
    match path.extension().and_then(|e| e.to_str()) {
        Some("eval") if wanted(Layout::Inspect) => inspect::read_eval(path).map(Some),
        Some("jsonl") if wanted(Layout::LmEval) && (meant || name.starts_with("samples_")) => {
            lm_eval::read(path).map(Some)
        }
        Some("json") => {
            let value = match read_json(path) {
                Ok(value) => value,
                Err(error) if meant => return Err(error),
                Err(_) => return Ok(None),
            };
            if wanted(Layout::Inspect) && inspect::is_log(&value) {
                return inspect::read_log(path, value).map(Some);
            }
            if wanted(Layout::HarmBench) && (meant || harmbench::is_completions(&value)) {
                let rows = harmbench::read(&value)?;
                return Ok(Some(Unit::new(Layout::HarmBench, path, rows)));
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}

pub fn read_json(path: &Path) -> Result<Json> {
    let read = || -> Result<Json> {
        let bytes = bounded::read(path, MOST_BYTES)?;
        serde_json::from_slice(&bytes).context("it is no JSON")
    };
    read().with_context(|| format!("failed to read {}", path.display()))
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
