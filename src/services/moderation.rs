//! OpenAI's moderation API (`/moderations`), and servers that speak it: several texts a request, scores by category.

use crate::protocol::{Protocol, Reply, Usage, estimate};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub struct Moderation {
    /// As `omni-moderation-latest`; aliases move, so the served name is kept with every answer.
    pub model: String,
    /// Texts a request.
    pub per_request: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moderated {
    pub flagged: bool,
    /// By category, in [0, 1]; categories that this model does not know (null) are left out.
    pub scores: BTreeMap<String, f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<String>,
}

impl Moderated {
    /// The highest score of all categories.
    pub fn worst(&self) -> f64 {
        self.scores.values().copied().fold(0.0, f64::max)
    }
}

impl Protocol for Moderation {
    type Ask = String;
    type Answer = Moderated;

    fn api(&self) -> &'static str {
        "moderations"
    }

    fn path(&self) -> &'static str {
        "moderations"
    }

    fn identity(&self, text: &String) -> Value {
        json!({ "model": self.model, "input": text })
    }

    fn most(&self) -> usize {
        self.per_request.max(1)
    }

    fn together(&self, _: &String, _: &String) -> bool {
        true
    }

    fn body(&self, asks: &[&String]) -> Value {
        json!({ "model": self.model, "input": asks })
    }

    fn read(&self, asks: &[&String], body: &Value) -> Result<Reply<Moderated>, String> {
        let served = body.get("model").and_then(Value::as_str).map(String::from);
        let results = body.get("results").and_then(Value::as_array);
        let results = results.ok_or("it has no `results`")?;
        if results.len() != asks.len() {
            return Err(format!(
                "{} results for {} texts",
                results.len(),
                asks.len()
            ));
        }
        let read = |result: &Value| -> Result<Option<Moderated>, String> {
            let scores = result.get("category_scores").and_then(Value::as_object);
            let scores = scores.ok_or("a result has no `category_scores`")?;
            let known = scores.iter().filter(|(_, score)| !score.is_null());
            let scores: BTreeMap<String, f64> = known
                .map(|(name, score)| {
                    let number = score.as_f64().filter(|s| (0.0..=1.0).contains(s));
                    let number = number.ok_or(format!("`{name}` is {score}, no score"))?;
                    Ok((name.clone(), number))
                })
                .collect::<Result<_, String>>()?;
            if scores.is_empty() {
                return Err("a result has no score that is not null".into());
            }
            Ok(Some(Moderated {
                flagged: result.get("flagged").and_then(Value::as_bool) == Some(true),
                scores,
                served: served.clone(),
            }))
        };
        Ok(Reply {
            answers: results.iter().map(read).collect::<Result<_, String>>()?,
            served: served.clone(),
            usage: Some(Usage {
                prompt: asks.iter().map(|text| estimate(text)).sum(),
                estimated: true,
                ..Usage::default()
            }),
        })
    }

    fn bound(&self, asks: &[&String]) -> Usage {
        Usage {
            prompt: asks.iter().map(|text| estimate(text)).sum(),
            estimated: true,
            ..Usage::default()
        }
    }
}
