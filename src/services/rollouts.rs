//! Rollouts of a model that learns elsewhere, from a server such as vLLM's: token ids in, token ids and their log-probabilities out;
//! and the developer's routes by which that server takes new weights. Its answers are another's with every load, so that which load it
//! was is part of a call.
//!
//!     POST pause?mode=wait; collective_rpc reload_weights; reset_prefix_cache; update_weight_version; GET weight_info; POST resume
//!     POST v1/completions   {"prompt": [ids], "return_token_ids": true, "logprobs": 1, …}
//!
//! Every sampling field is sent: what is left out such servers take from the model's `generation_config.json`. The server is to run
//! with `--logprobs-mode processed_logprobs`, or its log-probabilities are those at temperature 1.

use crate::endpoint::{Endpoint, LONGEST_PAUSE};
use crate::fault::{Fault, Stopped};
use crate::http::{self, Http};
use crate::protocol::{Protocol, Reply, Usage};
use anyhow::{Context, Result};
use base::threads;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How all rollouts of a node are sampled.
#[derive(Clone, Debug)]
pub struct Rollouts {
    /// What the server calls the model; none: it has one.
    pub model: Option<String>,
    pub temperature: f64,
    pub max_tokens: usize,
    /// Ids that end a rollout, the last of its ids.
    pub stop: Vec<u32>,
    /// Ids that the model has a row for; no part of what is asked.
    pub vocabulary: usize,
}

#[derive(Clone, Debug)]
pub struct Ask {
    /// Which weights answer: a digest of them.
    pub weights: Arc<str>,
    /// How often an answer that was said to be theirs was refused.
    pub refused: u32,
    pub prompt: Arc<Vec<u32>>,
    pub seed: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    pub ids: Vec<u32>,
    /// Of each id, as the server has it.
    pub logps: Vec<f32>,
}

impl Protocol for Rollouts {
    type Ask = Ask;
    type Answer = Rollout;

    fn api(&self) -> &'static str {
        "rollouts"
    }

    fn path(&self) -> &'static str {
        "v1/completions"
    }

    fn identity(&self, ask: &Ask) -> Value {
        json!({
            "weights": &*ask.weights,
            "refused": ask.refused,
            "prompt": *ask.prompt,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "stop": self.stop,
            "seed": ask.seed,
        })
    }

    fn body(&self, asks: &[&Ask]) -> Value {
        let ask = asks[0];
        let mut body = json!({
            "prompt": *ask.prompt,
            "max_tokens": self.max_tokens,
            "min_tokens": 0,
            "n": 1,
            "stream": false,
            "temperature": self.temperature,
            "top_p": 1.0,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            // Servers read a signed number.
            "seed": ask.seed >> 1,
            "stop": [],
            "stop_token_ids": self.stop,
            "ignore_eos": true,
            "skip_special_tokens": false,
            "add_special_tokens": false,
            "logprobs": 1,
            "return_token_ids": true,
        });
        if let Some(model) = &self.model {
            body["model"] = json!(model);
        }
        body
    }

    fn read(&self, asks: &[&Ask], body: &Value) -> Result<Reply<Rollout>, String> {
        let choice = &body["choices"][0];
        if !matches!(choice["finish_reason"].as_str(), Some("stop" | "length")) {
            return Err(format!(
                "the rollout ended as {}",
                choice.get("finish_reason").unwrap_or(&Value::Null)
            ));
        }
        let list = |value: &Value, what: &str| {
            let list = value.as_array().cloned();
            list.ok_or(format!(
                "it has no `{what}`: is it a server that gives token ids?"
            ))
        };
        let id = |value: &Value| {
            let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
            id.filter(|id| (*id as usize) < self.vocabulary)
        };
        let ids: Option<Vec<u32>> = list(&choice["token_ids"], "token_ids")?
            .iter()
            .map(id)
            .collect();
        let ids = ids.ok_or("a token id is none, or not one of the model's")?;
        let logps = list(&choice["logprobs"]["token_logprobs"], "logprobs")?;
        let logp = |value: &Value| value.as_f64().filter(|p| p.is_finite()).map(|p| p as f32);
        let logps: Option<Vec<f32>> = logps.iter().map(logp).collect();
        let logps = logps.ok_or("a log-probability is no number")?;
        if ids.is_empty() || ids.len() > self.max_tokens || ids.len() != logps.len() {
            return Err(format!(
                "{} token ids with {} log-probabilities, and 1 to {} were asked for",
                ids.len(),
                logps.len(),
                self.max_tokens
            ));
        }
        if let Some(prompt) = choice["prompt_token_ids"].as_array()
            && prompt
                .iter()
                .map(id)
                .ne(asks[0].prompt.iter().map(|i| Some(*i)))
        {
            return Err("it answered another prompt than the one that was sent".into());
        }
        let usage = Usage {
            prompt: asks[0].prompt.len() as u64,
            completion: ids.len() as u64,
            ..Usage::default()
        };
        Ok(Reply {
            answers: vec![Some(Rollout { ids, logps })],
            served: body["model"].as_str().map(String::from),
            usage: Some(usage),
        })
    }

    fn bound(&self, asks: &[&Ask]) -> Usage {
        Usage {
            prompt: asks.iter().map(|ask| ask.prompt.len() as u64).sum(),
            completion: (asks.len() * self.max_tokens) as u64,
            estimated: true,
            ..Usage::default()
        }
    }
}

/// The routes by which a server takes weights.
pub struct Control {
    endpoint: Endpoint,
    runtime: tokio::runtime::Runtime,
}

/// How often a cache that is still held is asked to be emptied.
const EMPTYING: usize = 20;

impl Control {
    pub fn new(endpoint: Endpoint) -> Result<Control> {
        // As the client's: names are looked up on a thread.
        let _ = threads::start(|| {})?.join();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting the runtime of the server's control")?;
        Ok(Control { endpoint, runtime })
    }

    /// Lets the server load these weights, and holds it to it: afterwards it says that it has this version, and nothing that was
    /// computed with others is kept.
    pub fn load(&self, folder: &str, version: &str) -> Result<(), Stopped> {
        let paused = self.ask("pause?mode=wait", Some(&json!({})));
        let replaced = paused.and_then(|_| self.replace(folder, version));
        // One that stays paused would answer nobody any more; it may have heard what we had no reply to.
        let resumed = self.ask("resume", Some(&json!({})));
        replaced?;
        resumed.map(drop)
    }

    fn replace(&self, folder: &str, version: &str) -> Result<(), Stopped> {
        let reload = json!({ "method": "reload_weights", "kwargs": { "weights_path": folder } });
        self.ask("collective_rpc", Some(&reload))?;
        let empty = || -> Result<bool, Stopped> {
            let said = self.ask("reset_prefix_cache", Some(&json!({})))?;
            // Older servers say nothing of it.
            Ok(said.get("success").is_none_or(|success| *success == true))
        };
        let mut emptied = empty()?;
        for _ in 0..EMPTYING {
            if emptied {
                break;
            }
            std::thread::sleep(Duration::from_millis(250));
            emptied = empty()?;
        }
        if !emptied {
            let host = self.endpoint.host();
            return Err(Stopped::Unreachable(format!(
                "{host} does not empty its prefix cache: what it would answer is of other weights"
            )));
        }
        let new = json!({ "new_version": version });
        self.ask("update_weight_version", Some(&new))?;
        let now = self.version()?;
        match now == version {
            true => Ok(()),
            false => Err(Stopped::Unreachable(format!(
                "{} says that it has weights {now:?}, and {version:?} were loaded",
                self.endpoint.host()
            ))),
        }
    }

    /// The version that it says it has.
    pub fn version(&self) -> Result<String, Stopped> {
        let said = self.ask("weight_info", None)?;
        let version = said["weight_version"].as_str().map(String::from);
        version.ok_or_else(|| {
            let host = self.endpoint.host();
            let said = http::beginning(&said.to_string());
            Stopped::Denied(format!("{host} does not say which weights it has: {said}"))
        })
    }

    /// What it says to a POST with this body, or to a GET; asked again where that may help.
    fn ask(&self, path: &str, body: Option<&Value>) -> Result<Value, Stopped> {
        let http = Http::new(&self.endpoint, path).map_err(Stopped::Journal)?;
        let host = self.endpoint.host();
        let (mut pause, mut tries) = (self.endpoint.pause, 0);
        loop {
            let said = match body {
                Some(body) => self.runtime.block_on(http.post(body)),
                None => self.runtime.block_on(http.get()),
            };
            let fault = match said {
                Ok(said) => return Ok(said),
                Err(fault) => fault,
            };
            let reason = match fault {
                Fault::Busy { reason, .. }
                | Fault::Passing { reason, .. }
                | Fault::Senseless(reason) => reason,
                Fault::Rejected { reason, .. } | Fault::Denied { reason, .. } => {
                    return Err(Stopped::Denied(format!(
                        "{host} does not do `{path}`: {reason}; vLLM has these routes with VLLM_SERVER_DEV_MODE=1"
                    )));
                }
            };
            tries += 1;
            if tries > self.endpoint.retries {
                return Err(Stopped::Unreachable(format!(
                    "{host} did not do `{path}` in {tries} tries: {reason}"
                )));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
