//! What one file of results holds, whatever its layout: responses, what was said of them, and what is left out.

use super::file;
use crate::data::labels::tallied;
use base::response::Withheld;
use base::text::{count, listed};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

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
pub(crate) struct NoText(pub &'static str);

/// Why a sample is left out: the model gave none, as where it failed.
pub(crate) const NO_RESPONSE: &str = "without a response";
/// Why a sample is left out: its like is there already.
pub(crate) const TWICE: &str = "with the id and epoch of an earlier one";
/// Why a response is left out: the scores of its sample are those of the first.
pub(crate) const FURTHER: &str = "as a further choice of one, which has no score of its own";

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
