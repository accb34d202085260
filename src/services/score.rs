//! Any scorer over HTTP, a reward model say, that takes and gives this:
//!
//!     POST URL   {"model": "NAME", "items": [{"prompt": "…", "answer": "…"}, …]}
//!     200        {"model": "NAME@VERSION", "scores": [0.93, null, …]}
//!
//! A score an item, in their order; any finite number, or null where the scorer has nothing to say. `model` of the reply, the name
//! and version that served, is optional and is kept with the answers. 429, 5xx and `Retry-After` mean what they mean elsewhere.

use crate::protocol::{Protocol, Reply, Usage, estimate};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub struct Scoring {
    pub model: String,
    /// Items a request.
    pub per_request: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Item {
    pub prompt: String,
    pub answer: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    pub score: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<String>,
}

impl Protocol for Scoring {
    type Ask = Item;
    type Answer = Scored;

    fn api(&self) -> &'static str {
        "score"
    }

    fn path(&self) -> &'static str {
        ""
    }

    fn identity(&self, item: &Item) -> Value {
        json!({ "model": self.model, "item": item })
    }

    fn most(&self) -> usize {
        self.per_request.max(1)
    }

    fn together(&self, _: &Item, _: &Item) -> bool {
        true
    }

    fn body(&self, asks: &[&Item]) -> Value {
        json!({ "model": self.model, "items": asks })
    }

    fn read(&self, asks: &[&Item], body: &Value) -> Result<Reply<Scored>, String> {
        let served = body.get("model").and_then(Value::as_str).map(String::from);
        let scores = body.get("scores").and_then(Value::as_array);
        let scores = scores.ok_or("it has no `scores`")?;
        if scores.len() != asks.len() {
            return Err(format!("{} scores for {} items", scores.len(), asks.len()));
        }
        let read = |score: &Value| match score {
            Value::Null => Ok(None),
            score => match score.as_f64().filter(|s| s.is_finite()) {
                Some(number) => Ok(Some(number)),
                None => Err(format!("{score} is no score")),
            },
        };
        let scores = scores.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let answers = scores.into_iter().map(|score| {
            let served = served.clone();
            Some(Scored { score, served })
        });
        Ok(Reply {
            answers: answers.collect(),
            served: served.clone(),
            usage: Some(self.bound(asks)),
        })
    }

    fn bound(&self, asks: &[&Item]) -> Usage {
        let tokens = |item: &&Item| estimate(&item.prompt) + estimate(&item.answer);
        Usage {
            prompt: asks.iter().map(tokens).sum(),
            estimated: true,
            ..Usage::default()
        }
    }
}
