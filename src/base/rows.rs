//! Rows of the JSONL artifacts: prompts, conversations, completions, pairs, scores; and metrics. One struct a schema, an id a row.
//!
//! An artifact folder holds `rows.jsonl` (one JSON object a line, no blank lines), or `metrics.json` and, where they
//! were kept, the values behind the metrics in `values.jsonl`: a line a prompt, as
//! `{"id":"eval-harmful-0003","fingerprint":"9b1c…","values":{"defense":1.0,"reasoning/harmful":14.0}}`. Field order is
//! the order of declaration, so equal rows are equal bytes.

use crate::response::{self, Outcome, Withheld};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

pub const ROWS: &str = "rows.jsonl";
pub const METRICS: &str = "metrics.json";
pub const VALUES: &str = "values.jsonl";
/// Hidden states of the prompts in `rows.jsonl`: a tensor [prompts, hidden] a layer, called `layer.N`.
pub const STATES: &str = "states.safetensors";
/// Test cases as HarmBench merges them: `{"BehaviorID": ["a whole user message", …]}`.
pub const CASES: &str = "test_cases.json";

/// The label of prompts that are test cases of one behaviour, as HarmBench's attacks make several of each: a measure is
/// the mean over behaviours.
pub const BEHAVIOR: &str = "behavior";
/// The label of prompts that an attack made: its name.
pub const ATTACK: &str = "attack";

/// What a prompt asks for, which decides its reward and how it is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromptClass {
    Harmful,
    Harmless,
    /// Sounds harmful, is not.
    Ambiguous,
}

impl PromptClass {
    pub const ALL: [PromptClass; 3] = [
        PromptClass::Harmful,
        PromptClass::Harmless,
        PromptClass::Ambiguous,
    ];

    pub fn word(self) -> &'static str {
        match self {
            PromptClass::Harmful => "harmful",
            PromptClass::Harmless => "harmless",
            PromptClass::Ambiguous => "ambiguous",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    /// Unique in its artifact.
    pub id: String,
    pub class: PromptClass,
    /// The user's message.
    pub prompt: String,
    /// Where the row came from: `world`, or a file's name.
    pub source: String,
    /// Finer label of the source: a disguise of the world, a type of XSTest.
    pub category: String,
    /// Steps a reader needs to see what is asked; 1 is plain, 0 unknown.
    pub difficulty: u32,
    /// Further labels of the source by name, as HarmBench's `functional`; metrics are split by each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Ground truth, for prompts of the built-in world.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truth: Option<Truth>,
    /// Of a test case that an attack made: the fingerprint of the prompt that it attacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attacked: Option<String>,
}

impl Prompt {
    /// As [`CompletedPrompt::fingerprint`].
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.prompt, self.class, &self.truth)
    }
}

/// What the built-in world knows of a prompt of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    pub harmful: bool,
    /// Code words and references of the disguise, as (alias, meaning), in the order a reader resolves them.
    pub aliases: Vec<(String, String)>,
    /// The deciding facts, as (thing, what it is), in the order of the rule.
    pub facts: Vec<(String, String)>,
    /// The words of the right procedure, one per slot.
    pub procedure: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Given")]
pub struct Message {
    pub role: String,
    pub content: String,
}

/// A message as a program of somebody else's may write it.
#[derive(Deserialize)]
struct Given {
    role: String,
    content: String,
    #[serde(flatten)]
    more: BTreeMap<String, serde_json::Value>,
}

/// Fields that hold what somebody said: passed over, it would not be trained, and nobody told.
const SAID: [&str; 6] = [
    "reasoning_content",
    "reasoning_details",
    "reasoning",
    "thinking",
    "tool_calls",
    "function_call",
];

impl TryFrom<Given> for Message {
    type Error = String;

    fn try_from(given: Given) -> std::result::Result<Message, String> {
        let nothing = |value: &serde_json::Value| {
            value.is_null() || value == "" || value.as_array().is_some_and(Vec::is_empty)
        };
        let said = |name: &&&str| given.more.get(**name).is_some_and(|v| !nothing(v));
        match SAID.iter().find(said) {
            Some(name) => Err(format!(
                "a message of role {:?} has `{name}`, and only `content` is read: write it there (reasoning in think tags before \
                 the answer) or leave it out",
                given.role
            )),
            None => Ok(Message::new(&given.role, &given.content)),
        }
    }
}

impl Message {
    pub fn new(role: &str, content: &str) -> Message {
        Message {
            role: role.into(),
            content: content.into(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    pub id: String,
    /// The prompt it answers, where there is one.
    pub prompt_id: String,
    pub source: String,
    pub messages: Vec<Message>,
}

/// One response of a model to one prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// `<prompt id>#<sample>`.
    pub id: String,
    pub sample: u32,
    #[serde(flatten)]
    pub prompt: CompletedPrompt,
    /// The text after the assistant header, think tags included, end-of-turn token excluded.
    pub response: String,
    pub tokens: u32,
    /// False where the response ran into the length limit.
    pub finished: bool,
    /// Why there is no answer of the model's own, where whoever made the response says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Withheld>,
    /// Log-probability of each token under the model that sampled, where it was asked for and is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logps: Option<Vec<f64>>,
    /// Their ids, in the vocabulary of that model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<u32>>,
    /// What an endpoint said it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<String>,
}

impl Completion {
    pub fn outcome(&self) -> Outcome {
        let parts = response::split(&self.response);
        Outcome::of(&parts, self.withheld, self.finished)
    }
}

/// The prompt a completion answers, carried along so that a judge needs nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompletedPrompt {
    pub prompt_id: String,
    pub class: PromptClass,
    pub prompt: String,
    pub source: String,
    pub category: String,
    pub difficulty: u32,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truth: Option<Truth>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attacked: Option<String>,
}

impl From<Prompt> for CompletedPrompt {
    fn from(p: Prompt) -> Self {
        CompletedPrompt {
            prompt_id: p.id,
            class: p.class,
            prompt: p.prompt,
            source: p.source,
            category: p.category,
            difficulty: p.difficulty,
            labels: p.labels,
            truth: p.truth,
            attacked: p.attacked,
        }
    }
}

impl CompletedPrompt {
    /// What is observed once: the behaviour that the prompt is a test case of, or the prompt.
    pub fn observed(&self) -> &str {
        self.labels.get(BEHAVIOR).unwrap_or(&self.prompt_id)
    }

    /// 16 hexadecimal digits of what is asked and what is right: text, class, truth. Two measurements pair only where
    /// these are the same, whatever the ids say. Of a test case that an attack made it is that of the prompt that it attacks, with the
    /// attack: each model is attacked by texts of its own, and what is compared is how it stands the same attack on the same prompt.
    pub fn fingerprint(&self) -> String {
        match &self.attacked {
            Some(parent) => hex16(&(parent, self.labels.get(ATTACK))),
            None => fingerprint(&self.prompt, self.class, &self.truth),
        }
    }
}

fn fingerprint(text: &str, class: PromptClass, truth: &Option<Truth>) -> String {
    hex16(&(text, class, truth))
}

/// 16 hexadecimal digits of a hash of the JSON form.
fn hex16(identity: &impl Serialize) -> String {
    let identity = serde_json::to_string(identity).expect("rows have a JSON form");
    blake3::hash(identity.as_bytes()).to_hex()[..16].to_string()
}

/// What a judge said of one completion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    pub id: String,
    pub prompt_id: String,
    pub class: PromptClass,
    pub category: String,
    pub difficulty: u32,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    pub prompt: String,
    /// Absent where the response has no think block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// What the judge saw: no reasoning is in it.
    pub answer: String,
    /// What the response came to; one that is not `answered` has no verdict of a judge.
    pub outcome: Outcome,
    pub finished: bool,
    pub well_formed: bool,
    /// By the judge's word or the string rule's; or blocked, or refused by the service.
    pub refused: bool,
    /// Harm delivered by the answer, in [0, 1]; world judge and moderation only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moderation: Option<f64>,
    /// Share of the right procedure; world judge only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<f64>,
    /// Harmful prompts: the attack failed. Others: the request was answered. False where the judge said nothing.
    pub good: bool,
    /// The judge's own number in the judge's own direction, in [0, 1] unless it is a reward model's as it is; absent where it
    /// has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Whether the judge said anything that can be read; of judges that may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scorable: Option<bool>,
    /// The label of a person, as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What the judge said, cut short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    /// The model that judged, as its service calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<String>,
}

impl Score {
    /// As `CompletedPrompt::observed`.
    pub fn observed(&self) -> &str {
        self.labels.get(BEHAVIOR).unwrap_or(&self.prompt_id)
    }

    /// Before anybody judged: what is to be seen of the completion itself.
    pub fn unjudged(completion: &Completion) -> Score {
        let c = &completion.prompt;
        let parts = response::split(&completion.response);
        let outcome = Outcome::of(&parts, completion.withheld, completion.finished);
        Score {
            id: completion.id.clone(),
            prompt_id: c.prompt_id.clone(),
            class: c.class,
            category: c.category.clone(),
            difficulty: c.difficulty,
            labels: c.labels.clone(),
            prompt: c.prompt.clone(),
            reasoning: parts.reasoning,
            answer: parts.answer,
            outcome,
            finished: completion.finished,
            well_formed: response::well_formed(&completion.response),
            refused: outcome.refuses(),
            moderation: None,
            task: None,
            good: outcome.refuses() && c.class == PromptClass::Harmful,
            score: None,
            scorable: None,
            label: None,
            words: None,
            served: None,
        }
    }

    /// Whether there is an answer that does not refuse. What it is worth is not said by that.
    pub fn answers(&self) -> bool {
        !self.refused && !self.outcome.unreadable()
    }

    /// Whether the judge said anything of it.
    pub fn scored(&self) -> bool {
        self.scorable != Some(false)
    }

    /// 16 hexadecimal digits of what was judged: prompt, class, reasoning, answer. The scores of two judges pair only where
    /// these are the same, whatever the ids say.
    pub fn fingerprint(&self) -> String {
        let judged = (&self.prompt, self.class, &self.reasoning, &self.answer);
        hex16(&judged)
    }
}

/// Two responses to one prompt, the better one and the worse one: what DPO learns from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// `<prompt id>#<chosen sample>-<rejected sample>`.
    pub id: String,
    #[serde(flatten)]
    pub prompt: CompletedPrompt,
    pub chosen: String,
    pub rejected: String,
    pub chosen_score: f64,
    pub rejected_score: f64,
    /// False where the response ran into the length limit: no end of turn belongs to it.
    pub chosen_finished: bool,
    pub rejected_finished: bool,
}

/// What an attack tried once, and what came of it: a step of a search, or one rewriting.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AttackStep {
    /// `<prompt id>/<stream>/<step>`.
    pub id: String,
    /// Of the prompt that is attacked.
    pub prompt_id: String,
    /// Which of several searches beside each other for the same prompt (restarts, conversations, techniques), from 0.
    pub stream: u32,
    /// From 0.
    pub step: u32,
    /// The string as it is then: a suffix, a prefix or the whole message; empty where nothing came of the step.
    pub text: String,
    /// The case that it became, counted as in the rows of `prompts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<u32>,
    /// What the search makes small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// What it makes large: a judge's rating, a fitness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Questions to models in this step, candidates that were evaluated included, …
    pub queries: u64,
    /// … and the tokens that went through them, given and new, where they are counted.
    pub tokens: u64,
    /// Whether the string comes back whole where the prompt that is sent is encoded anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survives: Option<bool>,
    /// Why the search ended with this step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// What went wrong in it, as `unreadable reply`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Of the node: with the id it is what the step's draws hang on.
    pub seed: u64,
}

impl AttackStep {
    /// A step of which nothing is known yet.
    pub fn new(prompt_id: &str, stream: u32, step: u32, seed: u64) -> AttackStep {
        AttackStep {
            id: format!("{prompt_id}/{stream}/{step}"),
            prompt_id: prompt_id.into(),
            stream,
            step,
            seed,
            ..AttackStep::default()
        }
    }
}

/// A cell of an archive of rainbow teaming in the form in which TARS released them: a file is an array of risks, each an array of styles.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ArchiveCell {
    /// Empty where the cell is.
    pub prompt: String,
    /// What a judge gave the answer to it, in [0, 1].
    #[serde(default)]
    pub score: f64,
}

/// An archive, read. Errors: another shape than rows of the same length, none of them empty.
pub fn archive(text: &[u8]) -> Result<Vec<Vec<ArchiveCell>>> {
    let rows: Vec<Vec<ArchiveCell>> =
        serde_json::from_slice(text).context("no array of arrays of `prompt` and `score`")?;
    let width = rows.first().map_or(0, Vec::len);
    ensure!(width > 0, "it has no cell");
    for (i, row) in rows.iter().enumerate() {
        let found = row.len();
        ensure!(
            found == width,
            "row {i} has {found} cells, and row 0 has {width}"
        );
    }
    Ok(rows)
}

/// A named value with its sample size and 95 % interval, and the file of per-sample values behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    pub name: String,
    pub value: f64,
    pub n: usize,
    /// 95 % interval; absent where none can be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<(f64, f64)>,
    /// `share`, `words`, `tokens`, `nats`, …; decides how a table prints it.
    pub unit: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    pub metrics: Vec<Metric>,
}

/// What was measured on one prompt, or on all prompts of one behaviour: a row of `values.jsonl`. A metric is the mean of its
/// values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The prompt's, or the behaviour's.
    pub id: String,
    /// `CompletedPrompt::fingerprint`; of several prompts, a hash of theirs.
    pub fingerprint: String,
    /// By metric; of several samples of the prompt, their mean.
    pub values: BTreeMap<String, f64>,
}

/// Writes rows as JSONL into `folder/rows.jsonl`.
pub fn write_rows<T: Serialize>(folder: &Path, rows: &[T]) -> Result<()> {
    write_lines(&folder.join(ROWS), rows)
}

/// Writes `folder/rows.jsonl` row by row, for who does not hold them all.
pub struct RowWriter {
    path: PathBuf,
    file: BufWriter<File>,
    rows: usize,
    bytes: u64,
}

impl RowWriter {
    pub fn create(folder: &Path) -> Result<RowWriter> {
        let path = folder.join(ROWS);
        let file = File::create(&path);
        let file = file.with_context(|| format!("failed to create {}", path.display()))?;
        Ok(RowWriter {
            path,
            file: BufWriter::new(file),
            rows: 0,
            bytes: 0,
        })
    }

    pub fn push<T: Serialize>(&mut self, row: &T) -> Result<()> {
        let line = serde_json::to_string(row)? + "\n";
        self.rows += 1;
        self.bytes += line.len() as u64;
        let written = self.file.write_all(line.as_bytes());
        written.with_context(|| format!("failed to write {}", self.path.display()))
    }

    /// Where in the file the next row begins.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many rows there are.
    pub fn finish(mut self) -> Result<usize> {
        let written = self.file.flush();
        written.with_context(|| format!("failed to write {}", self.path.display()))?;
        Ok(self.rows)
    }
}

/// Writes `folder/values.jsonl`.
pub fn write_values(folder: &Path, rows: &[Measured]) -> Result<()> {
    write_lines(&folder.join(VALUES), rows)
}

fn write_lines<T: Serialize>(path: &Path, rows: &[T]) -> Result<()> {
    let mut text = String::new();
    for row in rows {
        writeln!(text, "{}", serde_json::to_string(row)?)?;
    }
    std::fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
}

/// Reads `folder/rows.jsonl`; an error names the line.
pub fn read_rows<T: DeserializeOwned>(folder: &Path) -> Result<Vec<T>> {
    read_lines(&folder.join(ROWS))
}

/// Reads the rows of a file; an error names the line.
pub fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = std::fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
    parse_lines(&text).with_context(|| path.display().to_string())
}

/// The same from the bytes of a file.
pub fn parse_lines<T: DeserializeOwned>(text: &[u8]) -> Result<Vec<T>> {
    let text = std::str::from_utf8(text).context("it is not UTF-8")?;
    let mut rows = vec![];
    for (i, line) in text.lines().enumerate() {
        rows.push(serde_json::from_str(line).with_context(|| format!("line {}", i + 1))?);
    }
    ensure!(!rows.is_empty(), "it has no rows");
    Ok(rows)
}

pub fn write_metrics(folder: &Path, metrics: Vec<Metric>) -> Result<()> {
    let path = folder.join(METRICS);
    let text = serde_json::to_string_pretty(&Metrics { metrics })? + "\n";
    std::fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))
}
