//! Chat and plain completions of servers that speak OpenAI's API (`/chat/completions`, `/completions`): vLLM, SGLang, llama.cpp,
//! Ollama, DeepSeek, OpenAI and others.
//!
//! Every sampling field is sent with its value, neutral or not: servers fill what is missing from the model's
//! `generation_config.json`, and say nothing of it. What differs between servers is a `Dialect`; it is not part of a call's identity.

mod answer;
mod read;

use crate::protocol::{Protocol, Reply, Usage, at_most, estimate};
pub use answer::Answer;
use base::choice;
use base::response::Withheld;
use base::rows::Message;
use serde_json::{Map, Value, json};

choice! {
    /// Which fields a server takes, and what they are called.
    pub enum Dialect {
        /// The common ground: OpenAI's older fields (DeepSeek, Together, Ollama, …).
        Plain = "plain",
        /// OpenAI: `max_completion_tokens`.
        OpenAi = "openai",
        /// OpenAI's reasoning models: no sampling fields but the limit and the seed.
        OpenAiReasoning = "openai-reasoning",
        /// vLLM and SGLang: also `top_k` (-1: all), `min_p`, `repetition_penalty`.
        Vllm = "vllm",
        /// llama.cpp: also `top_k` (0: all), `min_p`, `typical_p`, `repeat_penalty`.
        LlamaCpp = "llama.cpp",
    }
}

/// How answers are drawn. All of it is identity.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    pub temperature: f64,
    pub top_p: f64,
    /// 0: all.
    pub top_k: u64,
    /// Tokens of an answer, reasoning included.
    pub max_tokens: u64,
    /// Of the first sample of every prompt; see `seed`.
    pub seed: u64,
    pub stop: Vec<String>,
    /// Further fields of the body, as `reasoning_effort`.
    pub extra: Map<String, Value>,
    /// Log-probabilities of the answer's tokens, and their ids where the server knows how (vLLM).
    pub logprobs: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// For the server's own chat template.
    Chat(Vec<Message>),
    /// Ready text, continued as it is.
    Text(String),
}

/// One answer to be had.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    pub input: Input,
    pub sample: u32,
}

impl Answer {
    /// Whether it came to its own end: neither a limit nor a filter cut it off.
    pub fn finished(&self) -> bool {
        !read::limited(&self.stop) && !read::filtered(&self.stop)
    }

    /// Why there is no answer of the model's own, where the service says so. Of an answer that has text, only what a filter cut off.
    pub fn withheld(&self) -> Option<Withheld> {
        let blank = self.content.trim().is_empty();
        match () {
            () if blank && (self.refusal.is_some() || read::refuses(&self.stop)) => {
                Some(Withheld::Refused)
            }
            () if read::filtered(&self.stop) => Some(Withheld::Blocked),
            () if blank && (self.called || read::calls(&self.stop)) => Some(Withheld::ToolCall),
            () => None,
        }
    }
}

/// A model behind an endpoint, asked with one kind of input.
#[derive(Clone, Debug)]
pub struct Chat {
    /// Its name there; identity.
    pub model: String,
    pub sampling: Sampling,
    /// Text is continued (`/completions`), not messages answered (`/chat/completions`).
    pub plain: bool,
    /// The text was made with a chat template, which writes every special token itself.
    pub rendered: bool,
    pub dialect: Dialect,
    /// Samples of a prompt that may go in one request.
    pub per_request: usize,
    /// Fields that this server does not take.
    pub omit: Vec<String>,
}

impl Chat {
    fn messages(&self, input: &Input) -> Value {
        match input {
            Input::Chat(messages) => json!(messages),
            Input::Text(text) => json!(text),
        }
    }

    /// Of a request for `n` answers, each as long as it may be.
    fn usage_of(&self, prompt: u64, n: usize) -> Usage {
        Usage {
            prompt,
            completion: self.sampling.max_tokens * n as u64,
            estimated: true,
            ..Usage::default()
        }
    }

    /// Fields beyond OpenAI's own, neutral where the recipe says nothing of them.
    fn add_dialect(&self, body: &mut Map<String, Value>) {
        let top_k = self.sampling.top_k;
        let more = match self.dialect {
            Dialect::Plain | Dialect::OpenAi | Dialect::OpenAiReasoning => return,
            Dialect::Vllm => json!({
                "top_k": if top_k == 0 { json!(-1) } else { json!(top_k) },
                "min_p": 0.0, "repetition_penalty": 1.0,
            }),
            Dialect::LlamaCpp => json!({
                "top_k": top_k, "min_p": 0.0, "typical_p": 1.0, "repeat_penalty": 1.0, "top_n_sigma": -1.0,
                "xtc_probability": 0.0, "dry_multiplier": 0.0, "dynatemp_range": 0.0, "mirostat": 0,
            }),
        };
        if let Value::Object(more) = more {
            body.extend(more);
        }
        if self.dialect == Dialect::Vllm && self.rendered {
            body.insert("add_special_tokens".into(), json!(false));
        }
        if self.dialect == Dialect::Vllm && self.sampling.logprobs {
            body.insert("return_token_ids".into(), json!(true));
        }
    }
}

impl Protocol for Chat {
    type Ask = Ask;
    type Answer = Answer;

    fn api(&self) -> &'static str {
        match self.plain {
            true => "completions",
            false => "chat",
        }
    }

    fn path(&self) -> &'static str {
        match self.plain {
            true => "completions",
            false => "chat/completions",
        }
    }

    fn identity(&self, ask: &Ask) -> Value {
        let s = &self.sampling;
        json!({
            "model": self.model,
            "input": self.messages(&ask.input),
            "temperature": s.temperature,
            "top_p": s.top_p,
            "top_k": s.top_k,
            "max_tokens": s.max_tokens,
            "seed": s.seed,
            "stop": s.stop,
            "extra": s.extra,
            "logprobs": s.logprobs,
        })
    }

    fn sample(&self, ask: &Ask) -> u32 {
        ask.sample
    }

    fn most(&self) -> usize {
        self.per_request.max(1)
    }

    /// Samples of one prompt whose numbers follow each other: the seed is that of the first.
    fn together(&self, first: &Ask, next: &Ask) -> bool {
        let near =
            (first.sample..first.sample.saturating_add(self.most() as u32)).contains(&next.sample);
        near && first.input == next.input
    }

    fn body(&self, asks: &[&Ask]) -> Value {
        let s = &self.sampling;
        let first = asks[0];
        let mut body = Map::new();
        let mut set = |name: &str, value: Value| drop(body.insert(name.into(), value));
        set("model", json!(self.model));
        let input = if self.plain { "prompt" } else { "messages" };
        set(input, self.messages(&first.input));
        let limit = match self.dialect {
            Dialect::OpenAi | Dialect::OpenAiReasoning if !self.plain => "max_completion_tokens",
            _ => "max_tokens",
        };
        set(limit, json!(s.max_tokens));
        set("n", json!(asks.len()));
        set("stream", json!(false));
        set("seed", json!(seed(s.seed, first.sample)));
        if self.dialect != Dialect::OpenAiReasoning {
            set("temperature", json!(s.temperature));
            set("top_p", json!(s.top_p));
            set("presence_penalty", json!(0.0));
            set("frequency_penalty", json!(0.0));
        }
        if !s.stop.is_empty() {
            set("stop", json!(s.stop));
        }
        if s.logprobs {
            // Plain completions count alternatives, chat says whether; llama.cpp gives none where no alternative is asked for.
            match self.plain {
                true => set("logprobs", json!(1)),
                false => {
                    set("logprobs", json!(true));
                    set("top_logprobs", json!(1));
                }
            }
        }
        self.add_dialect(&mut body);
        body.extend(s.extra.clone());
        body.retain(|name, _| !self.omit.contains(name));
        Value::Object(body)
    }

    fn read(&self, asks: &[&Ask], body: &Value) -> Result<Reply<Answer>, String> {
        let mut reply = read::reply(body, asks.len(), self.plain, self.sampling.max_tokens)?;
        // llama.cpp counts the tokens of the first choice only.
        if self.dialect == Dialect::LlamaCpp
            && asks.len() > 1
            && let Some(usage) = &mut reply.usage
        {
            usage.completion *= asks.len() as u64;
            usage.estimated = true;
            for answer in reply.answers.iter_mut().flatten() {
                answer.tokens *= asks.len() as u64;
            }
        }
        Ok(reply)
    }

    fn usage(&self, body: &Value) -> Option<Usage> {
        read::usage(body)
    }

    fn bound(&self, asks: &[&Ask]) -> Usage {
        // What a template puts around messages and before them, as a system message of its own.
        let prompt = match &asks[0].input {
            Input::Text(text) => at_most(text) + 8,
            Input::Chat(messages) => {
                messages
                    .iter()
                    .map(|m| at_most(&m.content) + 16)
                    .sum::<u64>()
                    + 128
            }
        };
        self.usage_of(prompt, asks.len())
    }

    fn expected(&self, asks: &[&Ask]) -> Usage {
        let prompt = match &asks[0].input {
            Input::Text(text) => estimate(text),
            Input::Chat(messages) => messages.iter().map(|m| estimate(&m.content) + 8).sum(),
        };
        self.usage_of(prompt, asks.len())
    }
}

/// The seed that a sample is asked for with. Servers draw choice i of a request by its seed + i, so those of a prompt follow each
/// other; those of neighbouring node seeds lie far apart, or their samples would be the same. 31 bits: all servers take these.
pub fn seed(seed: u64, sample: u32) -> u64 {
    let first = seed.wrapping_mul(1_000_003);
    first.wrapping_add(u64::from(sample)) & 0x7fff_ffff
}
