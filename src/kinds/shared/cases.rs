//! What every attack delivers: rows of `prompts`, the same in HarmBench's merged file, and a log of how each came about. Knows no
//! attack and no model.

use anyhow::{Context, Result, ensure};
use base::rows::{ATTACK, AttackStep, BEHAVIOR, CASES, Metric, Prompt, ROWS, RowWriter};
use base::stats;
use base::text::count;
use engine::kind::context::NodeCtx;
use engine::kind::{MetricInfo, Output, Type};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The outputs of a kind that attacks.
pub const PROMPTS_OUT: Output = Output::always(
    "prompts",
    Type::Prompts,
    "the test cases, in the order of the prompts that are attacked",
);
pub const CASES_OUT: Output = Output::always(
    "cases",
    Type::Cases,
    "the same as HarmBench merges them: by behaviour an array of prompts",
);
pub const LOG_OUT: Output = Output::always(
    "log",
    Type::AttackLog,
    "what was tried, step by step: string, score or loss, queries, why it ended",
);

pub const METRICS_OUT: Output = Output::always(
    "metrics",
    Type::Metrics,
    "what the attack came to by its own account; whether it succeeds, an evaluation of `prompts` says",
);

/// Metrics that every attack writes.
pub const MADE: MetricInfo = MetricInfo::plain("cases", "cases", "test cases");
pub const WITHOUT: MetricInfo = MetricInfo::plain("without", "share", "prompts without a case");

/// A test case: the `k`-th of this prompt. Whatever is known of the prompt is known of it, its truth included: nothing is derived from
/// the attacked text. A prompt that is a case itself passes on its behaviour, and the attack that made it is named first.
pub fn case(parent: &Prompt, k: usize, attack: &str, text: String) -> Prompt {
    let mut labels = parent.labels.clone();
    let behavior = labels.entry(BEHAVIOR.into());
    behavior.or_insert_with(|| parent.id.clone());
    called(&mut labels, attack);
    let attacked = parent.attacked.clone();
    Prompt {
        id: format!("{}#{k}", parent.id),
        prompt: text,
        labels,
        attacked: attacked.or_else(|| Some(parent.fingerprint())),
        ..parent.clone()
    }
}

/// Labels a row with an attack, behind the one that made its prompt.
pub fn called(labels: &mut Labels, attack: &str) {
    let attack = match labels.get(ATTACK) {
        Some(earlier) => format!("{earlier}+{attack}"),
        None => attack.into(),
    };
    labels.insert(ATTACK.into(), attack);
}

/// Further labels of a case, as the technique by which it was made.
pub type Labels = BTreeMap<String, String>;

/// The outputs of an attack as they are written: a prompt after the other, and none of them held.
pub struct CaseWriter {
    attack: String,
    folder: PathBuf,
    cases: PathBuf,
    prompts: RowWriter,
    log: RowWriter,
    /// Ids of the prompts that were attacked.
    seen: BTreeSet<String>,
    /// How many of them have no case.
    without: usize,
    behaviors: Behaviors,
}

/// What an attack came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// Prompts that were attacked, and those of them that have no case.
    pub prompts: usize,
    pub without: usize,
    pub cases: usize,
    pub steps: usize,
}

impl CaseWriter {
    /// `attack` is the name of the kind, or that of its variant.
    pub fn create(ctx: &NodeCtx, attack: impl Into<String>) -> Result<CaseWriter> {
        let [prompts, cases, log] = [PROMPTS_OUT, CASES_OUT, LOG_OUT].map(|o| ctx.output(o.name));
        CaseWriter::at(attack, &prompts, &cases, &log)
    }

    /// Into these folders of the three outputs.
    pub fn at(
        attack: impl Into<String>,
        prompts: &Path,
        cases: &Path,
        log: &Path,
    ) -> Result<CaseWriter> {
        Ok(CaseWriter {
            attack: attack.into(),
            folder: prompts.to_path_buf(),
            cases: cases.join(CASES),
            prompts: RowWriter::create(prompts)?,
            log: RowWriter::create(log)?,
            seen: BTreeSet::new(),
            without: 0,
            behaviors: Behaviors::default(),
        })
    }

    /// The cases of a prompt, in order, and what was tried for them. A prompt without a case is a behaviour with an empty list.
    /// Errors: a case without text; a prompt that was there before.
    pub fn push(&mut self, parent: &Prompt, texts: &[String], steps: &[AttackStep]) -> Result<()> {
        let plain = texts.iter().map(|text| (text.clone(), Labels::new()));
        let plain: Vec<(String, Labels)> = plain.collect();
        self.push_labelled(parent, &plain, steps)
    }

    /// The same where cases have labels that the prompt has not.
    pub fn push_labelled(
        &mut self,
        parent: &Prompt,
        texts: &[(String, Labels)],
        steps: &[AttackStep],
    ) -> Result<()> {
        let first = self.seen.insert(parent.id.clone());
        ensure!(first, "the prompt `{}` is attacked twice", parent.id);
        self.without += usize::from(texts.is_empty());
        let places = self.behaviors.of(parent);
        for (k, (text, labels)) in texts.iter().enumerate() {
            let whole = !text.trim().is_empty();
            ensure!(whole, "case {k} of prompt `{}` has no text", parent.id);
            let mut row = case(parent, k, &self.attack, text.clone());
            row.labels.extend(labels.clone());
            places.push(self.prompts.bytes());
            self.prompts.push(&row)?;
        }
        self.log(steps)
    }

    /// What was tried for no prompt alone.
    pub fn log(&mut self, steps: &[AttackStep]) -> Result<()> {
        steps.iter().try_for_each(|step| self.log.push(step))
    }

    /// Writes the merged file. Errors: no case at all.
    pub fn finish(self) -> Result<Made> {
        let steps = self.log.finish()?;
        let cases = self.prompts.finish()?;
        let tried = count(self.seen.len() as u64, "prompt", "prompts");
        ensure!(cases > 0, "the attack made no case of {tried}: see the log");
        self.behaviors.write(&self.folder, &self.cases)?;
        Ok(Made {
            prompts: self.seen.len(),
            without: self.without,
            cases,
            steps,
        })
    }
}

impl Made {
    /// The metrics that every attack writes.
    pub fn metrics(&self) -> Vec<Metric> {
        let made = Metric {
            name: MADE.name.into(),
            value: self.cases as f64,
            n: self.prompts,
            interval: None,
            unit: MADE.unit.into(),
        };
        vec![made, share(WITHOUT.name, self.without, self.prompts)]
    }
}

/// A share of a whole that is not nothing, with its interval.
pub fn share(name: &str, count: usize, of: usize) -> Metric {
    Metric {
        name: name.into(),
        value: count as f64 / of as f64,
        n: of,
        interval: Some(stats::wilson(count, of)),
        unit: "share".into(),
    }
}

/// Where the cases of each behaviour begin in the file of rows.
#[derive(Default)]
struct Behaviors {
    /// In the order in which they came.
    all: Vec<(Behavior, Vec<u64>)>,
    places: BTreeMap<String, usize>,
}

struct Behavior {
    id: String,
    /// Without the name of the set, as HarmBench's own programs know it.
    short: String,
}

impl Behaviors {
    fn of(&mut self, parent: &Prompt) -> &mut Vec<u64> {
        let id = parent.labels.get(BEHAVIOR).unwrap_or(&parent.id);
        let at = *self.places.entry(id.clone()).or_insert(self.all.len());
        if at == self.all.len() {
            let set = format!("{}-", parent.source);
            let short = id.strip_prefix(&set).unwrap_or(id).to_string();
            let id = id.clone();
            self.all.push((Behavior { id, short }, vec![]));
        }
        &mut self.all[at].1
    }

    /// The merged file. Keys are BehaviorIDs without the name of their set; where two sets share one, all ids are whole.
    fn write(&self, rows: &Path, to: &Path) -> Result<()> {
        let short: BTreeSet<&str> = self.all.iter().map(|(b, _)| b.short.as_str()).collect();
        let clash = short.len() < self.all.len();
        let mut from = BufReader::new(File::open(rows.join(ROWS))?);
        let shown = || format!("failed to write {}", to.display());
        let mut out = BufWriter::new(File::create(to).with_context(shown)?);
        let mut line = String::new();
        let mut between = "{\n";
        for (behavior, places) in &self.all {
            let key = if clash { &behavior.id } else { &behavior.short };
            write!(out, "{between}  {}: [", serde_json::to_string(key)?).with_context(shown)?;
            between = ",\n";
            for (i, place) in places.iter().enumerate() {
                from.seek(SeekFrom::Start(*place))?;
                line.clear();
                from.read_line(&mut line)?;
                let row: Prompt = serde_json::from_str(&line).context("reading a case back")?;
                let comma = if i == 0 { "" } else { "," };
                let text = serde_json::to_string(&row.prompt)?;
                write!(out, "{comma}\n    {text}").with_context(shown)?;
            }
            let end = if places.is_empty() { "]" } else { "\n  ]" };
            write!(out, "{end}").with_context(shown)?;
        }
        writeln!(out, "\n}}").with_context(shown)?;
        out.flush().with_context(shown)
    }
}
