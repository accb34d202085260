//! The curve of a training node, twice the same: `curve.jsonl`, one JSON object a step, and an event file for TensorBoard.
//! No times in either, so equal runs give equal bytes. Knows no training.

use anyhow::{Context, Result, ensure};
use base::tensorboard;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// One object a step.
const LINES: &str = "curve.jsonl";
const NUMBER: &str = "step";

/// A step's number and its metrics.
pub type Step = (u64, Vec<(String, f64)>);

/// The metrics of every step so far.
#[derive(Default)]
pub struct Curve {
    text: String,
    /// Of the last step.
    last: BTreeMap<String, f64>,
    /// Grows with the curve, so that TensorBoard can look on; none before `show`.
    events: Option<File>,
}

impl Curve {
    /// As it was saved. Errors: an unreadable file, or one that does not end at this step.
    pub fn load(folder: &Path, step: u64) -> Result<Curve> {
        let text =
            std::fs::read_to_string(folder.join(LINES)).context("failed to read the curve")?;
        let mut curve = Curve {
            text,
            ..Curve::default()
        };
        let steps = curve.steps()?;
        let (end, last) = steps.into_iter().last().context("the curve is empty")?;
        ensure!(end == step, "the curve does not end at step {step}");
        curve.last = last.into_iter().collect();
        Ok(curve)
    }

    pub fn save(&self, folder: &Path) -> Result<()> {
        std::fs::write(folder.join(LINES), &self.text).context("failed to write the curve")
    }

    /// Step by step.
    pub fn steps(&self) -> Result<Vec<Step>> {
        let lines = self.text.lines();
        lines
            .map(|line| {
                let object: Map<String, Value> =
                    serde_json::from_str(line).context("a line of the curve is not JSON")?;
                let step = object.get(NUMBER).and_then(Value::as_u64);
                let step = step.context("a line of the curve has no step")?;
                let values = values(&object).map(|(n, v)| (n.to_string(), v)).collect();
                Ok((step, values))
            })
            .collect()
    }

    /// Begins the event file in this folder with the steps so far.
    pub fn show(&mut self, folder: &Path) -> Result<()> {
        let path = folder.join(format!("{}.0.pipe", tensorboard::PREFIX));
        let mut bytes = tensorboard::head();
        for (step, values) in self.steps()? {
            let values = values.iter().map(|(n, v)| (n.as_str(), *v));
            bytes.extend(tensorboard::scalars(step, values));
        }
        let mut file = File::create(path).context("failed to begin the event file")?;
        file.write_all(&bytes)
            .context("failed to write the event file")?;
        self.events = Some(file);
        Ok(())
    }

    /// Adds a step.
    pub fn push(&mut self, step: u64, metrics: &[(String, f64)]) -> Result<()> {
        let mut object = Map::from_iter([(NUMBER.to_string(), json!(step))]);
        object.extend(metrics.iter().map(|(n, v)| (n.clone(), json!(v))));
        self.text += &(serde_json::to_string(&object)? + "\n");
        self.last = metrics.iter().cloned().collect();
        if let Some(file) = &mut self.events {
            file.write_all(&tensorboard::scalars(step, values(&object)))
                .context("failed to write the event file")?;
        }
        Ok(())
    }

    pub fn last(&self) -> &BTreeMap<String, f64> {
        &self.last
    }
}

fn values(object: &Map<String, Value>) -> impl Iterator<Item = (&str, f64)> {
    object
        .iter()
        .filter(|(name, _)| *name != NUMBER)
        .filter_map(|(name, value)| Some((name.as_str(), value.as_f64()?)))
}
