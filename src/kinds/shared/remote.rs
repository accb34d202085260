//! What the kinds that ask services share: the execution parameters of an endpoint, the way from a node to a client, and how errors
//! of services become errors of nodes. Knows no wire format.

use crate::shared::bounds;
use anyhow::{Context, Result, anyhow};
use base::calls::Calls;
use base::params::ParamSet;
use base::params::Problem;
use base::text::dollars;
use base::value::Values;
use base::{choice, params};
use engine::kind::context::{Interrupted, NodeCtx, Transient};
use services::budget::Amount;
use services::chat::Dialect;
use services::client::{Client, Ear};
use services::endpoint::{Endpoint, Limits, Prices, Secret};
use services::fault::Stopped;
use services::protocol::Protocol;
use std::time::Duration;

choice! {
    /// Which fields a server takes.
    pub enum Server {
        Plain = "plain",
        OpenAi = "openai",
        OpenAiReasoning = "openai-reasoning",
        Vllm = "vllm",
        LlamaCpp = "llama.cpp",
    }
}

impl Server {
    pub fn dialect(self) -> Dialect {
        match self {
            Server::Plain => Dialect::Plain,
            Server::OpenAi => Dialect::OpenAi,
            Server::OpenAiReasoning => Dialect::OpenAiReasoning,
            Server::Vllm => Dialect::Vllm,
            Server::LlamaCpp => Dialect::LlamaCpp,
        }
    }
}

params! {
    pub struct Service {
        /// Where the service is, up to and with its version: `"https://api.deepseek.com/v1"`, `"http://localhost:8000/v1"`. A
        /// query stays behind what is appended: `"https://NAME.openai.azure.com/openai/deployments/D?api-version=2024-10-21"`.
        url: Option<String> = None;
        /// Name of the environment variable that holds the key; none: no key is sent.
        key_env: Option<String> = None;
        /// The header that holds the key as it is, as `"api-key"`. Absent: a bearer token in `Authorization`, at Azure's hosts
        /// `api-key`; `"Authorization"`: a bearer token anywhere.
        key_header: Option<String> = None;
        /// Which fields the server takes: `plain` (OpenAI's older ones, which most servers know), `openai`, `openai-reasoning`
        /// (no temperature), `vllm` (SGLang too), `llama.cpp`. The last two also take `top_k`.
        server: Server = Server::Plain;
        /// Fields that the server does not take and that are not sent, as `["seed"]`.
        omit: Vec<String> = vec![];
        /// Requests in flight.
        concurrency: usize = 16, in bounds::CONCURRENCY;
        /// Samples of one prompt that one request asks for, by `n`.
        samples_per_request: usize = 1, in bounds::PER_REQUEST;
        /// Requests a minute, of all processes that use this store, host and key together.
        requests_per_minute: Option<f64> = None, in bounds::PER_MINUTE;
        /// The same for tokens, of requests and answers.
        tokens_per_minute: Option<f64> = None, in bounds::PER_MINUTE;
        /// For one request, from sending to the last byte of the answer.
        timeout_seconds: f64 = 600.0, in bounds::SECONDS;
        /// Tries beyond the first of a request that fails in a passing way; pauses are doubled from one second to a minute.
        /// Beyond these the node fails, and is tried again by the engine.
        request_retries: u32 = 8, in bounds::RETRIES;
        /// Dollars for a million tokens of requests …
        price_prompt: f64 = 0.0, in bounds::DOLLARS;
        /// … of requests that the service had cached …
        price_cached: Option<f64> = None, in bounds::DOLLARS;
        /// … and of answers, reasoning included.
        price_completion: f64 = 0.0, in bounds::DOLLARS;
        /// Dollars that this node may spend at these prices, over all its attempts. No request leaves that could exceed them at
        /// its most; the node then fails, and what was answered is kept.
        budget_dollars: Option<f64> = None, in bounds::DOLLARS;
        /// The same in tokens.
        budget_tokens: Option<u64> = None, in bounds::TOKEN_BUDGET;
    }
}

impl Service {
    /// Beyond types. `needed`: whether the node asks anybody.
    pub fn problems(&self, needed: bool) -> Vec<Problem> {
        let mut found = vec![];
        match &self.url {
            None if needed => found.push(Problem {
                path: "url".into(),
                message: "the node asks a service, and `url` does not say where it is".into(),
                help: Some("as `url = \"http://localhost:8000/v1\"`".into()),
            }),
            None => {}
            Some(url) => found.extend(Endpoint::base_problem(url).map(|message| Problem {
                path: "url".into(),
                message,
                help: None,
            })),
        }
        header(
            &mut found,
            ("key_header", self.key_header.as_deref()),
            ("key_env", self.key_env.as_deref()),
        );
        let prices = [
            ("price_prompt", Some(self.price_prompt)),
            ("price_completion", Some(self.price_completion)),
            ("price_cached", self.price_cached),
        ];
        amounts(&mut found, &prices, ("budget_dollars", self.budget_dollars));
        found
    }

    /// Without the key: for forecasts.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            concurrency: self.concurrency,
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
            timeout: Duration::try_from_secs_f64(self.timeout_seconds).unwrap_or(Duration::MAX),
            retries: self.request_retries,
            prices: Prices {
                prompt: self.price_prompt,
                cached: self.price_cached,
                completion: self.price_completion,
            },
            limits: Limits {
                dollars: self.budget_dollars,
                tokens: self.budget_tokens,
            },
            key_header: self.key_header.clone(),
            ..Endpoint::at(self.url.as_deref().unwrap_or_default())
        }
    }

    /// A client of this service, for this node.
    pub fn client<P: Protocol>(&self, ctx: &NodeCtx, protocol: P) -> Result<Client<P>> {
        let key = self.key_env.as_deref().map(|name| secret(ctx, name));
        let endpoint = Endpoint {
            key: key.transpose()?,
            ..self.endpoint()
        };
        client(ctx, protocol, endpoint)
    }
}

/// Adds what is wrong with the header of a key, each with the path of its parameter.
pub fn header(found: &mut Vec<Problem>, header: (&str, Option<&str>), key: (&str, Option<&str>)) {
    let Some(name) = header.1 else { return };
    let mut problem = |message: String, help: Option<String>| {
        found.push(Problem {
            path: header.0.into(),
            message,
            help,
        });
    };
    if let Some(message) = Endpoint::header_problem(name) {
        problem(message, Some("as `\"api-key\"`".into()));
    }
    if key.1.is_none() {
        problem(
            format!("no key is sent, so `{name}` holds none"),
            Some(format!("`{}` names the key's variable", key.0)),
        );
    }
}

/// Adds what is wrong with a budget at these prices, those of requests and of answers first.
pub fn amounts(
    found: &mut Vec<Problem>,
    prices: &[(&str, Option<f64>)],
    budget: (&str, Option<f64>),
) {
    let [(prompt, asked), (completion, answered), ..] = prices else {
        panic!("a service has a price of requests and one of answers");
    };
    if budget.1.is_some() && *asked == Some(0.0) && *answered == Some(0.0) {
        found.push(Problem {
            path: budget.0.into(),
            message: "a budget in dollars needs prices".into(),
            help: Some(format!(
                "set `{prompt}` and `{completion}`, dollars a million tokens"
            )),
        });
    }
}

/// The key in a variable that the node names.
pub fn secret(ctx: &NodeCtx, name: &str) -> Result<Secret> {
    Ok(Secret::new(name, ctx.secret(name)?))
}

/// A client for this node: with its journal, and what earlier attempts spent counted.
pub fn client<P: Protocol>(ctx: &NodeCtx, protocol: P, endpoint: Endpoint) -> Result<Client<P>> {
    let before = ctx.earlier_calls();
    let spent = Amount {
        dollars: before.dollars,
        tokens: before.tokens(),
    };
    let host = endpoint.host();
    Client::new(protocol, endpoint, ctx.calls_dir(), ctx.key(), spent)
        .with_context(|| format!("preparing to ask {host}"))
}

/// `values` are those of a node that asks a service if `needed` says so.
pub fn problems(values: &Values, needed: bool) -> Vec<Problem> {
    Service::read(values).map_or(vec![], |service| service.problems(needed))
}

/// Tells a node how its calls go.
pub struct NodeEar<'a> {
    pub ctx: &'a NodeCtx,
    /// What is counted, as `answers`.
    pub unit: &'static str,
    /// Calls of other clients of the node, or of earlier rounds.
    pub others: Calls,
    /// Whether this is the node's progress, or only a part of something else.
    pub shown: bool,
}

impl<'a> NodeEar<'a> {
    pub fn new(ctx: &'a NodeCtx, unit: &'static str) -> NodeEar<'a> {
        NodeEar {
            ctx,
            unit,
            others: Calls::default(),
            shown: true,
        }
    }
}

impl Ear for NodeEar<'_> {
    fn stop(&self) -> bool {
        self.ctx.stop()
    }

    fn progress(&mut self, done: usize, total: usize, calls: &Calls) {
        let mut all = self.others;
        all.add(calls);
        self.ctx.record_calls(&all);
        if self.shown {
            let counted = (done as u64, total as u64);
            let made = all.made + all.rejected;
            self.ctx
                .call_progress(counted, self.unit, &note(&all), made);
        }
    }

    fn say(&mut self, text: &str) {
        self.ctx.log(text);
    }
}

/// `12 from the journal, 3 retries, $0.42`.
fn note(calls: &Calls) -> String {
    let mut parts = vec![];
    let mut part = |n: u64, what: &str| {
        if n > 0 {
            parts.push(format!("{n} {what}"));
        }
    };
    part(calls.reused, "from the journal");
    part(calls.retries, "retries");
    part(calls.rejected, "rejected");
    if calls.dollars > 0.0 {
        parts.push(dollars(calls.dollars));
    }
    parts.join(", ")
}

/// What becomes of a node whose calls stopped.
pub fn stopped(stopped: Stopped) -> anyhow::Error {
    match stopped {
        Stopped::Asked => Interrupted.into(),
        Stopped::Unreachable(told) => Transient(anyhow!(told)).into(),
        Stopped::Denied(told) => anyhow!(told),
        Stopped::Budget(told) => anyhow!(
            "{told}; every answer so far is kept: raise the budget and run again to go on from there"
        ),
        Stopped::Journal(error) => error,
    }
}
