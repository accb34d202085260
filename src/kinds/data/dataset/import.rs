//! The rows of a set, one after the other: read, made into prompts by the schema, written, counted.

use super::params::Params;
use crate::data::removed::{Details, Removed};
use anyhow::{Context, Result, bail, ensure};
use base::rows::{Conversation, Metric, Pair, Prompt, PromptClass, RowWriter};
use base::text::count;
use data::read::{How, Rows};
use data::record::Record;
use data::schema::{self, Item, Row, SAME_ID, Schema, Survey};
use data::seen::Seen;
use engine::kind::context::NodeCtx;
use std::collections::BTreeMap;
use std::path::Path;

/// Rows between two reports of progress.
const REPORT: u64 = 1000;

/// Where the rows go.
pub struct Outputs<'a> {
    ctx: &'a NodeCtx,
    source: &'static str,
    prompts: RowWriter,
    conversations: Option<RowWriter>,
    pairs: Option<RowWriter>,
    removed: RowWriter,
}

impl<'a> Outputs<'a> {
    pub fn create(ctx: &'a NodeCtx, schema: &Schema) -> Result<Outputs<'a>> {
        let writer = |name: &str| RowWriter::create(&ctx.output(name));
        let some = |has: bool, name: &str| has.then(|| writer(name)).transpose();
        Ok(Outputs {
            ctx,
            source: schema.name,
            prompts: writer("prompts")?,
            conversations: some(schema.conversations, "conversations")?,
            pairs: some(schema.pairs, "pairs")?,
            removed: writer("removed")?,
        })
    }
}

/// What became of the rows.
#[derive(Default)]
pub struct Tally {
    read: u64,
    kept: BTreeMap<PromptClass, u64>,
    removed: BTreeMap<&'static str, u64>,
    /// Of what a set delivers besides prompts.
    conversations: Option<u64>,
    pairs: Option<u64>,
}

/// Reads the rows of a node's path into its outputs. Errors name file and row, or the columns that were looked for.
pub fn import(p: &Params, mut out: Outputs) -> Result<Tally> {
    let schema = p.schema.0;
    let rows = rows(p, schema)?;
    let mut maker = Maker {
        schema,
        split: p.split.as_deref(),
        form: p.form.as_deref().unwrap_or(schema.form()),
        survey: survey(schema, rows.again())?,
        behaviors: behaviors(p)?,
        seen: Seen::default(),
    };
    let mut tally = Tally {
        conversations: schema.conversations.then_some(0),
        pairs: schema.pairs.then_some(0),
        ..Tally::default()
    };
    each(rows, schema, &mut |rows, record| {
        let item = maker.item(&record, rows.read());
        let item = item.with_context(|| rows.place(&record))?;
        tally.read += 1;
        if tally.read.is_multiple_of(REPORT) {
            out.ctx.progress(tally.read, 0, "rows", "");
        }
        out.take(item, &mut tally)?;
        Ok(p.limit.is_none_or(|limit| tally.all_kept() < limit as u64))
    })?;
    ensure!(
        tally.all_kept() > 0,
        "nothing is left of {}: {}",
        count(tally.read, "row", "rows"),
        tally.reasons()
    );
    out.ctx.progress(tally.read, tally.read, "rows", "");
    out.finish()?;
    Ok(tally)
}

fn rows(p: &Params, schema: &Schema) -> Result<Rows> {
    let how = How {
        layout: schema.layout,
        loose: schema.loose,
    };
    let rows = Rows::of(&p.path, p.split.as_deref(), schema.usual, how)?;
    for file in rows.files() {
        if let Some(other) = other_part(schema, p.split.as_deref(), file) {
            let split = p.split.as_deref().unwrap_or_default();
            bail!(
                "{} says that it is `{other}`, and `split` says `{split}`, which decides what its rows are",
                file.display()
            );
        }
    }
    Ok(rows)
}

/// The part that the name of a file says, where that is none that `split` says.
fn other_part(schema: &Schema, split: Option<&str>, file: &Path) -> Option<&'static str> {
    let split = split.unwrap_or_default().to_lowercase();
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_lowercase();
    let said = schema
        .splits
        .iter()
        .copied()
        .filter(|part| name.contains(part));
    let said: Vec<&str> = said.collect();
    match said.iter().any(|part| split.contains(part)) {
        true => None,
        false => said.first().copied(),
    }
}

/// Hands the rows on as long as `take` says so. The columns are looked at once a file: where it has a header that, else the first row.
fn each(
    mut rows: Rows,
    schema: &Schema,
    take: &mut dyn FnMut(&Rows, Record) -> Result<bool>,
) -> Result<()> {
    let mut file = None;
    while let Some(record) = rows.next() {
        let record = record?;
        if file != Some(rows.index()) {
            let accepted = schema.accept(record.cells.keys().map(String::as_str));
            accepted.with_context(|| rows.file().display().to_string())?;
            file = Some(rows.index());
        }
        if !take(&rows, record)? {
            return Ok(());
        }
    }
    let first = || rows.files()[0].display().to_string();
    ensure!(file.is_some(), "{} has no rows", first());
    Ok(())
}

fn survey(schema: &Schema, rows: Rows) -> Result<Survey> {
    let mut survey = Survey::default();
    if let Some(look) = schema.survey {
        each(rows, schema, &mut |_, record| {
            look(&mut survey, &record);
            Ok(true)
        })?;
    }
    Ok(survey)
}

/// HarmBench's behaviours by their ids.
fn behaviors(p: &Params) -> Result<BTreeMap<String, Item>> {
    let mut behaviors = BTreeMap::new();
    let Some(path) = &p.behaviors else {
        return Ok(behaviors);
    };
    let schema = schema::find("harmbench").expect("HarmBench has a schema");
    let rows = Rows::of(path, None, None, How::default())?;
    let mut maker = Maker {
        schema,
        split: None,
        form: schema.form(),
        survey: Survey::default(),
        behaviors: BTreeMap::new(),
        seen: Seen::default(),
    };
    each(rows, schema, &mut |rows, record| {
        let item = maker.made(&record, rows.read());
        let item = item.with_context(|| rows.place(&record))?;
        if let Some(id) = item.id.clone() {
            behaviors.insert(id, item);
        }
        Ok(true)
    })?;
    ensure!(
        !behaviors.is_empty(),
        "{} has no column `BehaviorID`",
        path.display()
    );
    Ok(behaviors)
}

/// Makes items of records.
struct Maker<'a> {
    schema: &'static Schema,
    split: Option<&'a str>,
    form: &'a str,
    survey: Survey,
    behaviors: BTreeMap<String, Item>,
    seen: Seen,
}

impl Maker<'_> {
    fn made(&mut self, record: &Record, number: u64) -> Result<Item> {
        (self.schema.read)(&Row {
            record,
            number,
            split: self.split,
            form: self.form,
            survey: &self.survey,
            behaviors: &self.behaviors,
        })
    }

    /// With its whole id.
    fn item(&mut self, record: &Record, number: u64) -> Result<Item> {
        let mut item = self.made(record, number)?;
        let name = self.schema.name;
        // Harmbench's cases belong to its behaviours.
        let name = name.strip_suffix("-cases").unwrap_or(name);
        let id = match (&item.id, self.split) {
            (Some(id), _) => format!("{name}-{id}"),
            (None, Some(split)) => format!("{name}-{split}-{number}"),
            (None, None) => format!("{name}-{number}"),
        };
        // Numbers of rows are unique, and a set of many millions need not be remembered.
        let own = item.id.is_some();
        if item.left.is_none() && own && !self.seen.insert(&id) {
            item.left = Some(SAME_ID);
        }
        item.id = Some(id);
        Ok(item)
    }
}

impl Outputs<'_> {
    fn finish(self) -> Result<()> {
        let others = [self.conversations, self.pairs].into_iter().flatten();
        for writer in [self.prompts, self.removed].into_iter().chain(others) {
            writer.finish()?;
        }
        Ok(())
    }

    fn take(&mut self, item: Item, tally: &mut Tally) -> Result<()> {
        let prompt = Prompt {
            id: item.id.unwrap_or_default(),
            class: item.class,
            prompt: item.prompt,
            source: self.source.into(),
            category: item.category,
            difficulty: 0,
            labels: item.labels,
            truth: None,
            attacked: None,
        };
        if let Some(reason) = item.left {
            *tally.removed.entry(reason).or_default() += 1;
            return self.removed.push(&Removed {
                row: &prompt,
                reason,
                details: Details::new(),
            });
        }
        *tally.kept.entry(prompt.class).or_default() += 1;
        self.prompts.push(&prompt)?;
        if let (Some(out), Some(messages)) = (&mut self.conversations, item.messages) {
            *tally.conversations.get_or_insert_default() += 1;
            out.push(&Conversation {
                id: format!("{}#0", prompt.id),
                prompt_id: prompt.id.clone(),
                source: prompt.source.clone(),
                messages,
            })?;
        }
        if let (Some(out), Some(pair)) = (&mut self.pairs, item.pair) {
            *tally.pairs.get_or_insert_default() += 1;
            out.push(&Pair {
                id: format!("{}#0-1", prompt.id),
                prompt: prompt.into(),
                chosen: pair.chosen,
                rejected: pair.rejected,
                chosen_score: pair.scores.0,
                rejected_score: pair.scores.1,
                chosen_finished: true,
                rejected_finished: true,
            })?;
        }
        Ok(())
    }
}

impl Tally {
    fn all_kept(&self) -> u64 {
        self.kept.values().sum()
    }

    /// `3 redacted, 1 no prompt`.
    fn reasons(&self) -> String {
        let reasons = self
            .removed
            .iter()
            .map(|(reason, n)| format!("{n} {reason}"));
        reasons.collect::<Vec<_>>().join(", ")
    }

    pub fn lines(&self, p: &Params) -> Vec<String> {
        let schema = p.schema.0;
        let classes = self
            .kept
            .iter()
            .map(|(class, n)| format!("{n} {}", class.word()));
        let classes: Vec<String> = classes.collect();
        let mut first = format!(
            "{} of {} are kept: {}",
            self.all_kept(),
            count(self.read, "row", "rows"),
            classes.join(", ")
        );
        if !self.removed.is_empty() {
            first += &format!("; left out: {}", self.reasons());
        }
        let mut lines = vec![first];
        for (what, n) in [("conversations", self.conversations), ("pairs", self.pairs)] {
            lines.extend(n.map(|n| format!("{n} {what}")));
        }
        // Somebody who has another number of rows has something else, or a part.
        let published = schema.published.iter().find(|(_, n, _)| *n == self.read);
        if p.limit.is_none() && !schema.published.is_empty() {
            lines.push(match published {
                Some((what, n, source)) => {
                    format!("{n} rows is what was published of `{what}` ({source})")
                }
                None => {
                    let all = schema
                        .published
                        .iter()
                        .map(|(what, n, _)| format!("{n} ({what})"));
                    let all: Vec<String> = all.collect();
                    format!(
                        "{} rows is none of the published numbers: {}",
                        self.read,
                        all.join(", ")
                    )
                }
            });
        }
        lines
    }

    /// `rows`, `kept`, `kept/CLASS`, `removed/REASON`, `conversations`, `pairs`: numbers, with the rows that were read as n.
    pub fn metrics(&self) -> Vec<Metric> {
        let metric = |name: String, value: u64| Metric {
            name,
            value: value as f64,
            n: self.read as usize,
            interval: None,
            unit: "rows".into(),
        };
        let mut metrics = vec![
            metric("rows".into(), self.read),
            metric("kept".into(), self.all_kept()),
        ];
        let kept = |class: &PromptClass| self.kept.get(class).copied().unwrap_or(0);
        let classes = PromptClass::ALL.iter();
        metrics.extend(classes.map(|c| metric(format!("kept/{}", c.word()), kept(c))));
        let removed = self.removed.iter();
        metrics.extend(removed.map(|(reason, n)| metric(format!("removed/{reason}"), *n)));
        for (what, n) in [("conversations", self.conversations), ("pairs", self.pairs)] {
            metrics.extend(n.map(|n| metric(what.into(), n)));
        }
        metrics
    }
}
