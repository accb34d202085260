//! What artifacts there are: their types, how each lies in a folder, and whether a folder holds one. Every program that makes an
//! artifact by other means than a kind of ours, and every file of somebody else's, is checked here.

use anyhow::{Context, Result, bail, ensure};
use base::bounded;
use base::params::{ParamValue, Ty};
use base::rows::{self, CASES, DROPPED, METRICS, Measured, ROWS, STATES, VALUES};
use base::text::count;
use base::value::Value as Param;
use serde::de::{self, DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// What an artifact is. A port accepts exactly one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Type {
    /// `rows.jsonl`: prompts with id, class, text.
    Prompts,
    /// `rows.jsonl`: conversations (messages) to train on.
    Conversations,
    /// `rows.jsonl`: chosen and rejected answers.
    Pairs,
    /// `rows.jsonl`: prompts with the responses a model gave.
    Completions,
    /// `rows.jsonl`: per-sample scores behind metrics.
    Scores,
    /// A Hugging Face model folder.
    Model,
    /// A Hugging Face folder of a sequence classifier with one label.
    RewardModel,
    /// A PEFT adapter folder.
    Adapter,
    /// `metrics.json`: named values with n and interval.
    Metrics,
    /// `test_cases.json`: the test cases of an attack by behaviour, as HarmBench merges them.
    Cases,
    /// `rows.jsonl`: what an attack tried, step by step.
    AttackLog,
    /// `NAME.json`: archives of rainbow teaming, a grid of prompts and scores each, as TARS released them.
    Archives,
    /// `states.safetensors` and `rows.jsonl`: hidden states of a model, and the prompts that they are of.
    States,
}

/// No header of a model we know comes near, in bytes.
const LONGEST_HEADER: u64 = 100 << 20;
/// The longest row, in bytes.
const LONGEST_ROW: u64 = 64 << 20;
/// The longest file of metrics, in bytes.
const LONGEST_METRICS: u64 = 64 << 20;
/// The longest file of test cases, in bytes.
const LONGEST_CASES: u64 = 16 << 30;

impl Type {
    pub const ALL: [Type; 13] = [
        Type::Prompts,
        Type::Conversations,
        Type::Pairs,
        Type::Completions,
        Type::Scores,
        Type::Model,
        Type::RewardModel,
        Type::Adapter,
        Type::Metrics,
        Type::Cases,
        Type::AttackLog,
        Type::Archives,
        Type::States,
    ];

    /// Its name in recipes, manifests and records.
    pub const fn word(self) -> &'static str {
        match self {
            Type::Prompts => "prompts",
            Type::Conversations => "conversations",
            Type::Pairs => "pairs",
            Type::Completions => "completions",
            Type::Scores => "scores",
            Type::Model => "model",
            Type::RewardModel => "reward-model",
            Type::Adapter => "adapter",
            Type::Metrics => "metrics",
            Type::Cases => "cases",
            Type::AttackLog => "attack-log",
            Type::Archives => "archives",
            Type::States => "states",
        }
    }

    pub fn from_word(word: &str) -> Option<Type> {
        Type::ALL.into_iter().find(|ty| ty.word() == word)
    }

    /// The file that holds it; none where the whole folder does.
    pub const fn file(self) -> Option<&'static str> {
        match self {
            Type::Prompts
            | Type::Conversations
            | Type::Pairs
            | Type::Completions
            | Type::Scores
            | Type::AttackLog => Some(ROWS),
            Type::Metrics => Some(METRICS),
            Type::Cases => Some(CASES),
            Type::Model | Type::RewardModel | Type::Adapter | Type::Archives | Type::States => None,
        }
    }

    /// Errors where a folder does not hold an artifact of this type, as far as that is seen without computing: rows are parsed one at
    /// a time, headers of weights are held against their files. Returns what it holds, as in `200 rows`.
    pub fn check(self, folder: &Path) -> Result<String> {
        match self {
            Type::Prompts => rows_in::<rows::Prompt>(folder),
            Type::Conversations => rows_in::<rows::Conversation>(folder),
            Type::Pairs => rows_in::<rows::Pair>(folder),
            Type::Completions => completions(folder),
            Type::Scores => rows_in::<rows::Score>(folder),
            Type::Metrics => metrics(folder),
            Type::Cases => cases(folder),
            Type::AttackLog => rows_in::<rows::AttackStep>(folder),
            Type::Archives => archives(folder),
            Type::States => states(folder),
            Type::Model | Type::RewardModel => weights(folder, "config.json", None),
            Type::Adapter => {
                let name = "adapter_model.safetensors";
                weights(folder, "adapter_config.json", Some(name))
            }
        }
    }
}

impl Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.word())
    }
}

impl From<Type> for &'static str {
    fn from(ty: Type) -> &'static str {
        ty.word()
    }
}

impl TryFrom<String> for Type {
    type Error = String;

    fn try_from(word: String) -> Result<Type, String> {
        Type::from_word(&word).ok_or_else(|| format!("`{word}` is no type of artifact"))
    }
}

/// As a parameter of kinds that deliver what they are told to.
impl ParamValue for Type {
    fn ty() -> Ty {
        const WORDS: [&str; Type::ALL.len()] = {
            let mut words = [""; Type::ALL.len()];
            let mut i = 0;
            while i < words.len() {
                words[i] = Type::ALL[i].word();
                i += 1;
            }
            words
        };
        Ty::Choice(&WORDS)
    }

    fn read(value: Option<&Param>) -> Result<Type, String> {
        match value {
            Some(Param::Str(word)) => Type::from_word(word),
            _ => None,
        }
        .ok_or_else(|| format!("expected {}", Self::ty().describe()))
    }

    fn write(&self) -> Option<Param> {
        Some(Param::Str(self.word().into()))
    }
}

fn rows_in<T: DeserializeOwned>(folder: &Path) -> Result<String> {
    let rows = rows_of::<T>(&folder.join(ROWS)).context(ROWS)?;
    Ok(count(rows as u64, "row", "rows"))
}

/// Completions, and those that were left out where that is told.
fn completions(folder: &Path) -> Result<String> {
    let held = rows_in::<rows::Completion>(folder)?;
    let path = folder.join(DROPPED);
    if !path.is_file() {
        return Ok(held);
    }
    let text = fs::read(&path).context(DROPPED)?;
    let dropped = rows::parse_lines::<rows::Completion>(&text).context(DROPPED)?;
    Ok(format!("{held}, {} left out", dropped.len()))
}

/// Parses every line, holding one; returns how many. Errors name the line and the field.
fn rows_of<T: DeserializeOwned>(path: &Path) -> Result<usize> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut ids = BTreeSet::new();
    let mut line = String::new();
    let mut number = 0;
    loop {
        line.clear();
        let read = reader.by_ref().take(LONGEST_ROW).read_line(&mut line);
        let place = || format!("line {}", number + 1);
        if read.with_context(place)? == 0 {
            break;
        }
        let fits = (line.len() as u64) < LONGEST_ROW;
        ensure!(fits, "{}: it is too long", place());
        let row = serde_json::from_str::<T>(&line).map(drop);
        let id = row.and_then(|()| serde_json::from_str::<Id>(&line));
        let Id { id } = id.map_err(|e| without_line(&e)).with_context(place)?;
        let hash = *blake3::hash(id.as_bytes()).as_bytes();
        let first = ids.insert(hash);
        ensure!(first, "{}: the id `{id}` was there before", place());
        number += 1;
    }
    ensure!(number > 0, "it has no rows");
    Ok(number)
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

/// To the parser every row is its first.
fn without_line(error: &serde_json::Error) -> anyhow::Error {
    anyhow::Error::msg(
        error
            .to_string()
            .replace(" at line 1 column ", " at column "),
    )
}

/// Metrics, and the values behind them where they are kept.
fn metrics(folder: &Path) -> Result<String> {
    let text = bounded::read(&folder.join(METRICS), LONGEST_METRICS).context(METRICS)?;
    let rows::Metrics { metrics } = serde_json::from_slice(&text).context(METRICS)?;
    let mut names = BTreeSet::new();
    for metric in &metrics {
        let name = &metric.name;
        ensure!(names.insert(name), "{METRICS}: `{name}` is there twice");
    }
    ensure!(!metrics.is_empty(), "{METRICS}: it has no metric");
    let held = count(metrics.len() as u64, "metric", "metrics");
    let values = folder.join(VALUES);
    if !values.is_file() {
        return Ok(held);
    }
    let rows = rows_of::<Measured>(&values).context(VALUES)?;
    let rows = count(rows as u64, "row", "rows");
    Ok(format!("{held}, {rows} of values"))
}

/// Archives of one shape.
fn archives(folder: &Path) -> Result<String> {
    let (mut found, mut filled, mut cells) = (0, 0, 0);
    let mut shape = None;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let read = || -> Result<_> { rows::archive(&bounded::read(&path, LONGEST_METRICS)?) };
        let rows = read().with_context(|| name.to_string())?;
        let own = (rows.len(), rows[0].len());
        let (height, width) = *shape.get_or_insert(own);
        ensure!(
            own == (height, width),
            "{name}: it is {} × {}, and another one {height} × {width}",
            own.0,
            own.1
        );
        found += 1;
        cells += height * width;
        filled += rows
            .iter()
            .flatten()
            .filter(|c| !c.prompt.is_empty())
            .count();
    }
    ensure!(
        found > 0,
        "it has no archive: no file whose name ends in .json"
    );
    let archives = count(found, "archive", "archives");
    Ok(format!("{archives}, {filled} of {cells} cells filled"))
}

/// Test cases, of which none is held.
fn cases(folder: &Path) -> Result<String> {
    let path = folder.join(CASES);
    let file = File::open(&path).context(CASES)?;
    ensure!(
        file.metadata()?.len() < LONGEST_CASES,
        "{CASES}: it is too long"
    );
    let cases: Counted = serde_json::from_reader(BufReader::new(file)).context(CASES)?;
    let behaviors = count(cases.behaviors, "behaviour", "behaviours");
    ensure!(cases.behaviors > 0, "{CASES}: it has no behaviour");
    Ok(format!(
        "{} of {behaviors}",
        count(cases.cases, "case", "cases")
    ))
}

/// How many behaviours have how many cases.
#[derive(Default)]
struct Counted {
    behaviors: u64,
    cases: u64,
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Counted, D::Error> {
        from.deserialize_map(Counted::default())
    }
}

impl<'de> Visitor<'de> for Counted {
    type Value = Counted;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object: by behaviour an array of prompts")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Counted, A::Error> {
        let mut seen = BTreeSet::new();
        while let Some((behavior, cases)) = map.next_entry::<String, Vec<String>>()? {
            self.behaviors += 1;
            self.cases += cases.len() as u64;
            if !seen.insert(*blake3::hash(behavior.as_bytes()).as_bytes()) {
                let twice = format!("the behaviour `{behavior}` is there twice");
                return Err(de::Error::custom(twice));
            }
        }
        Ok(self)
    }
}

fn weights(folder: &Path, config: &str, wanted: Option<&str>) -> Result<String> {
    let Ok(text) = fs::read(folder.join(config)) else {
        bail!("it has no `{config}`");
    };
    let object = serde_json::from_slice::<Map<String, Value>>(&text).is_ok();
    ensure!(object, "`{config}` is not a JSON object");
    let mut found = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".safetensors") && wanted.is_none_or(|wanted| name == wanted) {
            found += 1;
            let problem = tensors_problem(&path).with_context(|| format!("reading {name}"))?;
            if let Some(problem) = problem {
                bail!("`{name}` {problem}");
            }
        }
    }
    ensure!(
        found > 0,
        "it has no `{}`",
        wanted.unwrap_or("*.safetensors")
    );
    let files = count(found, "file", "files");
    Ok(format!("{files} of tensors"))
}

/// Prompts, and in every layer a row for each.
fn states(folder: &Path) -> Result<String> {
    let prompts = rows_of::<rows::Prompt>(&folder.join(ROWS)).context(ROWS)?;
    let header = header(&folder.join(STATES)).with_context(|| format!("reading {STATES}"))?;
    let tensors = match header {
        Ok(tensors) => tensors,
        Err(problem) => bail!("`{STATES}` {problem}"),
    };
    let layers = tensors.iter().filter(|(name, _)| *name != "__metadata__");
    let mut known = 0;
    for (name, tensor) in layers {
        let number = name
            .strip_prefix("layer.")
            .and_then(|n| n.parse::<u32>().ok());
        ensure!(
            number.is_some(),
            "`{STATES}`: tensor `{name}` is not called `layer.` and a number"
        );
        let rows = &tensor["shape"][0];
        ensure!(
            rows.as_u64() == Some(prompts as u64) && tensor["shape"][1].is_u64(),
            "`{STATES}`: tensor `{name}` is not of a row for each of {prompts} prompts"
        );
        ensure!(
            tensor["dtype"] == "F32",
            "`{STATES}`: tensor `{name}` is not of type F32"
        );
        known += 1;
    }
    ensure!(known > 0, "`{STATES}` has no layer");
    let prompts = count(prompts as u64, "prompt", "prompts");
    Ok(format!("{} of {prompts}", count(known, "layer", "layers")))
}

/// What is wrong with a safetensors file, by its header and its length.
fn tensors_problem(path: &Path) -> Result<Option<&'static str>> {
    Ok(header(path)?.err())
}

/// The header of a safetensors file, or what is wrong with it beside the file's length.
fn header(path: &Path) -> Result<Result<Map<String, Value>, &'static str>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut head = [0; 8];
    if length < 8 {
        return Ok(Err("is too short"));
    }
    file.read_exact(&mut head)?;
    let header = u64::from_le_bytes(head);
    if header > LONGEST_HEADER || header > length - 8 {
        return Ok(Err("has a header longer than the file"));
    }
    let mut text = vec![0; header as usize];
    file.read_exact(&mut text)?;
    let Ok(tensors) = serde_json::from_slice::<Map<String, Value>>(&text) else {
        return Ok(Err("has a header that cannot be read"));
    };
    let ends = tensors
        .values()
        .filter_map(|t| t["data_offsets"][1].as_u64());
    match ends.max().unwrap_or(0) == length - 8 - header {
        true => Ok(Ok(tensors)),
        false => Ok(Err("is cut short or has more bytes than its header says")),
    }
}
