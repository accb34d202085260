//! Pairs as rows of token ids, and their log-probabilities under the reference.

use crate::training::{AsSampled, longer};
use anyhow::{Context, Result, bail, ensure};
use base::rows::{Message, Metric, Pair};
use base::text::count;
use base::tokens::Tokens;
use engine::kind::context::{Interrupted, NodeCtx};
use learn::batch::Row;
use learn::chat;
use learn::learner::{Learner, Policy};
use learn::tokenizer::Tokenizer;

/// Pairs as rows, chosen and rejected by turns, and the ids of those left out.
pub struct Dataset {
    pub rows: Vec<Row>,
    /// Ids of the pairs whose rows these are.
    kept: Vec<String>,
    long: Vec<String>,
    empty: Vec<String>,
    as_sampled: AsSampled,
}

impl Dataset {
    pub fn new(tokenizer: &Tokenizer, pairs: &[Pair], max_tokens: usize) -> Result<Dataset> {
        let mut dataset = Dataset {
            rows: vec![],
            kept: vec![],
            long: vec![],
            empty: vec![],
            as_sampled: AsSampled::default(),
        };
        for pair in pairs {
            if pair.chosen.trim().is_empty() || pair.rejected.trim().is_empty() {
                dataset.empty.push(pair.id.clone());
                continue;
            }
            let mut row = |answer: &str, finished: bool| {
                let (row, unlike) = row(tokenizer, &pair.prompt.prompt, answer, finished)
                    .with_context(|| format!("pair {}", pair.id))?;
                dataset.as_sampled.push(&pair.id, unlike.as_deref());
                anyhow::Ok(row)
            };
            let chosen = row(&pair.chosen, pair.chosen_finished)?;
            let rejected = row(&pair.rejected, pair.rejected_finished)?;
            if chosen.ids.len().max(rejected.ids.len()) > max_tokens {
                dataset.long.push(pair.id.clone());
                continue;
            }
            dataset.kept.push(pair.id.clone());
            dataset.rows.extend([chosen, rejected]);
        }
        ensure!(
            !dataset.rows.is_empty(),
            "no pair is left: {} are longer than {max_tokens} tokens, {} have an empty answer",
            dataset.long.len(),
            dataset.empty.len()
        );
        Ok(dataset)
    }

    /// What a row is called.
    pub fn name(&self, row: usize) -> String {
        let side = ["chosen", "rejected"][row % 2];
        format!("pair {}, {side}", self.kept[row / 2])
    }

    /// The chosen and the rejected answer of every pair.
    pub fn tokens(&self, tokenizer: &Tokenizer, max_tokens: usize, most: usize) -> Result<Tokens> {
        let mut tokens = Tokens::new("answers", most);
        for (id, sides) in self.kept.iter().zip(self.rows.chunks(2)) {
            for (row, side) in sides.iter().zip(["chosen", "rejected"]) {
                let label = format!("{id}, {side}");
                tokens.push(&label, &row.ids, &row.mask, |ids| {
                    tokenizer.decode(ids, false)
                })?;
            }
        }
        let pairs = self.kept.len() + self.long.len() + self.empty.len();
        self.as_sampled.note(&mut tokens, "pairs", pairs);
        Ok(tokens
            .dropped(
                format!("of pairs {}", longer(max_tokens)),
                2 * self.long.len(),
            )
            .dropped("of pairs with an empty answer".into(), 2 * self.empty.len()))
    }

    pub fn say(&self, ctx: &NodeCtx, max_tokens: usize) {
        let long = format!("of more than {max_tokens} tokens");
        for (ids, why) in [
            (&self.long, long.as_str()),
            (&self.empty, "with an empty answer"),
        ] {
            if !ids.is_empty() {
                let named: Vec<&str> = ids.iter().take(5).map(String::as_str).collect();
                let more = if ids.len() > named.len() { ", …" } else { "" };
                ctx.log(&format!(
                    "dropped {} {why}: {}{more}",
                    count(ids.len() as u64, "pair", "pairs"),
                    named.join(", ")
                ));
            }
        }
        let pairs = self.kept.len() + self.long.len() + self.empty.len();
        self.as_sampled.say(ctx, "pairs", pairs);
    }

    pub fn metrics(&self, pairs: usize) -> Vec<Metric> {
        let count = |name: &str, value: usize| Metric {
            name: name.into(),
            value: value as f64,
            n: pairs,
            interval: None,
            unit: "pairs".into(),
        };
        let mut metrics = vec![
            count("pairs/trained", self.rows.len() / 2),
            count("pairs/too_long", self.long.len()),
            count("pairs/empty", self.empty.len()),
        ];
        metrics.extend(self.as_sampled.metric("pairs", pairs));
        metrics
    }
}

/// The prompt with one answer, the answer scored; and how the template would have rendered it otherwise, where it does. One that ran into
/// its length limit has no end of turn.
fn row(
    tokenizer: &Tokenizer,
    prompt: &str,
    answer: &str,
    finished: bool,
) -> Result<(Row, Option<String>)> {
    let messages = [
        Message::new("user", prompt),
        Message::new("assistant", answer),
    ];
    let mut training = chat::render_turns(tokenizer, &messages)?;
    let mut example = training.examples.pop().context("it has no turn")?;
    let last = example.mask.iter().rposition(|&scored| scored);
    if let Some(last) = last.filter(|_| !finished)
        && tokenizer.stop_ids().contains(&example.ids[last])
    {
        example.ids.truncate(last);
        example.mask.truncate(last);
    }
    let row = Row {
        ids: example.ids,
        mask: example.mask,
    };
    Ok((row, training.as_sampled))
}

/// Rows whose reference is computed between two questions whether to stop.
const CHUNK: usize = 64;
/// The checkpoint that keeps the reference, and its file.
const KEPT: &str = "reference-0";
const SUMS: &str = "sums.json";

/// Summed log-probability of every row under the model that training begins as: computed once a node, whatever interrupts it.
///
/// Errors: a row to which the model gives no finite log-probability.
pub fn reference(ctx: &NodeCtx, learner: &mut dyn Learner, dataset: &Dataset) -> Result<Vec<f64>> {
    let rows = &dataset.rows;
    for saved in ctx.latest_checkpoint(KEPT) {
        let text = std::fs::read_to_string(saved.join(SUMS)).unwrap_or_default();
        if let Ok(sums) = serde_json::from_str::<Vec<f64>>(&text)
            && sums.len() == rows.len()
        {
            ctx.log("the reference's log-probabilities are those of an earlier attempt");
            return Ok(sums);
        }
    }
    let mut sums: Vec<f64> = vec![];
    for rows_now in rows.chunks(CHUNK) {
        if ctx.stop() {
            return Err(Interrupted.into());
        }
        let logps = learner.score(Policy::Reference, rows_now, 1.0)?;
        let sum = |row: &Vec<f32>| row.iter().map(|&x| f64::from(x)).sum::<f64>();
        sums.extend(logps.iter().map(sum));
        if let Some(row) = sums.iter().position(|sum| !sum.is_finite()) {
            bail!(
                "{}: the model's log-probability of it is {}: the model overflows or its weights are broken",
                dataset.name(row),
                sums[row]
            );
        }
        ctx.progress(sums.len() as u64, rows.len() as u64, "reference rows", "");
    }
    let text = serde_json::to_string(&sums)?;
    ctx.save_checkpoint(KEPT, &|folder| {
        std::fs::write(folder.join(SUMS), &text).context("failed to write the reference")
    })?;
    Ok(sums)
}
