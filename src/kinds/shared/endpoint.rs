//! The table of a recipe that says where a service is and how it is asked, one for every service; and the way from it to a client.
//! Knows no wire format.

use crate::shared::bounds;
use anyhow::{Context, Result};
use base::params;
use base::params::Problem;
use engine::kind::context::NodeCtx;
use services::budget::Amount;
use services::chat::Dialect;
use services::client::Client;
use services::endpoint::{Endpoint, Limits, Prices, Secret};
use services::protocol::Protocol;
use std::path::PathBuf;
use std::time::Duration;

params! {
    /// Where the service is, and how it is asked.
    pub struct EndpointParams {
        /// Up to and with its version: `"https://api.deepseek.com/v1"`, `"http://localhost:8000/v1"`; of `score` the whole URL. A query
        /// stays behind what is appended: `"https://NAME.openai.azure.com/openai/deployments/D?api-version=2024-10-21"`.
        url: Option<String> = None;
        /// Name of the environment variable that holds the key; none: no key is sent.
        key_env: Option<String> = None;
        /// The header that holds the key as it is, as `"api-key"`. Absent: a bearer token in `Authorization`, at Azure's hosts
        /// `api-key`; `"Authorization"`: a bearer token anywhere.
        key_header: Option<String> = None;
        /// Which fields a server of chat models takes: `plain` (OpenAI's older ones, which most servers know), `openai`,
        /// `openai-reasoning` (no temperature), `vllm` (SGLang too), `llama.cpp`. The last two also take `top_k`.
        server: Dialect = Dialect::Plain;
        /// Fields that a server of chat models does not take and that are not sent, as `["seed"]`.
        omit: Vec<String> = vec![];
        /// Requests in flight.
        concurrency: usize = 16, in bounds::CONCURRENCY;
        /// What one request asks for: of a model that answers, samples of one prompt, by `n` (absent: 1); answers to be judged
        /// of `moderation` (absent: 32) and `score` (absent: 16).
        batch: Option<usize> = None, in bounds::PER_REQUEST, was "samples_per_request";
        /// Requests a minute, of all processes that use this store, host and key together.
        requests_per_minute: Option<f64> = None, in bounds::PER_MINUTE;
        /// Tokens a minute, of requests and answers, of all processes that use this store, host and key together.
        tokens_per_minute: Option<f64> = None, in bounds::PER_MINUTE;
        /// For one request, from sending to the last byte of the answer.
        timeout_seconds: f64 = 600.0, in bounds::SECONDS;
        /// Tries beyond the first of a request that fails in a passing way; pauses are doubled from one second to a minute.
        /// Beyond these the node fails, and is tried again by the engine.
        retries: u32 = 8, in bounds::RETRIES, was "request_retries";
        /// Dollars for a million tokens of requests …
        price_prompt: f64 = 0.0, in bounds::DOLLARS;
        /// … of requests that the service had cached …
        price_cached: Option<f64> = None, in bounds::DOLLARS;
        /// … and of answers, reasoning included.
        price_completion: f64 = 0.0, in bounds::DOLLARS;
        /// Dollars that may be spent here at these prices, by all attempts of the node; what it spends on other services does not count. No
        /// request leaves that could exceed them at its most; the node then fails, and what was answered is kept.
        budget_dollars: Option<f64> = None, in bounds::DOLLARS;
        /// Tokens of requests and answers that may be spent here, counted as `budget_dollars`.
        budget_tokens: Option<u64> = None, in bounds::TOKEN_BUDGET;
    }
}

/// A service that a node may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The model that answers prompts.
    Answers,
    /// The chat model or classifier that judges.
    Judge,
    Moderation,
    Score,
    /// A chat model that has a part in an attack, by the table that describes it.
    Part(&'static str),
}

impl Service {
    /// The table of a node that describes it.
    pub fn block(self) -> &'static str {
        match self {
            Service::Answers => "endpoint",
            Service::Judge => "judge",
            Service::Moderation => "moderation",
            Service::Score => "score",
            Service::Part(block) => block,
        }
    }

    fn is_chat(self) -> bool {
        matches!(self, Service::Answers | Service::Judge | Service::Part(_))
    }

    /// What a request asks for where the recipe says nothing; none where it is always one thing.
    fn batch(self) -> Option<usize> {
        match self {
            Service::Answers => Some(1),
            Service::Judge | Service::Part(_) => None,
            Service::Moderation => Some(32),
            Service::Score => Some(16),
        }
    }

    /// Names of a model there and of a place, for help.
    pub fn examples(self) -> [(&'static str, &'static str); 2] {
        let (model, url) = match self {
            Service::Answers => ("deepseek-reasoner", "http://localhost:8000/v1"),
            Service::Judge | Service::Part(_) => ("gpt-4.1-mini", "http://localhost:8000/v1"),
            Service::Moderation => ("omni-moderation-latest", "https://api.openai.com/v1"),
            Service::Score => ("GRM-llama3-8B-distill", "http://localhost:9000/score"),
        };
        [("model", model), ("url", url)]
    }
}

impl EndpointParams {
    /// What is wrong with it beyond types, whether anybody asks there or not.
    pub fn problems(&self, service: Service) -> Vec<Problem> {
        let block = service.block();
        let mut found = vec![];
        let mut problem = |field: &str, message: String, help: Option<String>| {
            found.push(Problem {
                path: format!("{block}.{field}"),
                message,
                help,
            });
        };
        let wrong = self.url.as_deref().and_then(|url| match service {
            Service::Score => Endpoint::problem(url),
            _ => Endpoint::base_problem(url),
        });
        if let Some(message) = wrong {
            problem("url", message, None);
        }
        if let Some(name) = &self.key_header {
            if let Some(message) = Endpoint::header_problem(name) {
                problem("key_header", message, Some("as `\"api-key\"`".into()));
            }
            if self.key_env.is_none() {
                let message = format!("no key is sent, so `{name}` holds none");
                let help = format!("`{block}.key_env` names the key's variable");
                problem("key_header", message, Some(help));
            }
        }
        if self.budget_dollars.is_some() && self.price_prompt == 0.0 && self.price_completion == 0.0
        {
            let help = format!(
                "set `{block}.price_prompt` and `{block}.price_completion`, dollars a million tokens"
            );
            let message = "a budget in dollars needs prices".into();
            problem("budget_dollars", message, Some(help));
        }
        let idle = [
            (
                "server",
                self.server != Dialect::Plain && !service.is_chat(),
            ),
            ("omit", !self.omit.is_empty() && !service.is_chat()),
            ("batch", self.batch.is_some() && service.batch().is_none()),
        ];
        for (field, _) in idle.iter().filter(|(_, idle)| *idle) {
            let message = format!("`{field}` does nothing in `{block}`");
            problem(field, message, Some("leave it out".into()));
        }
        found
    }

    /// What of model and URL is missing where somebody, at `path`, asks there.
    pub fn missing(
        &self,
        service: Service,
        model: Option<&str>,
        (path, who): (&str, &str),
    ) -> Vec<Problem> {
        let given = [model.is_some(), self.url.is_some()];
        let needs = ["which model", "where it is"];
        let each = service.examples().into_iter().zip(needs).zip(given);
        let missing = each.filter(|(_, given)| !given);
        let missing = missing.map(|(((field, example), need), _)| Problem {
            path: path.into(),
            message: format!(
                "{who} asks a service, and `{}.{field}` does not say {need}",
                service.block()
            ),
            help: Some(format!("as `{}.{field} = \"{example}\"`", service.block())),
        });
        missing.collect()
    }

    pub fn batch(&self, service: Service) -> usize {
        self.batch.or(service.batch()).unwrap_or(1)
    }

    pub fn prices(&self) -> Prices {
        Prices {
            prompt: self.price_prompt,
            cached: self.price_cached,
            completion: self.price_completion,
        }
    }

    /// Without the key: for forecasts.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            concurrency: self.concurrency,
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
            timeout: Duration::try_from_secs_f64(self.timeout_seconds).unwrap_or(Duration::MAX),
            retries: self.retries,
            prices: self.prices(),
            limits: Limits {
                dollars: self.budget_dollars,
                tokens: self.budget_tokens,
            },
            key_header: self.key_header.clone(),
            ..Endpoint::at(self.url.as_deref().unwrap_or_default())
        }
    }

    pub fn client<P: Protocol>(&self, caller: &Caller, protocol: P) -> Result<Client<P>> {
        let key = self.key_env.as_deref().map(&caller.secret);
        let endpoint = Endpoint {
            key: key.transpose()?,
            ..self.endpoint()
        };
        let host = endpoint.host();
        let client = Client::new(protocol, endpoint, &caller.folder, &caller.by, caller.spent);
        let client = client.and_then(|client| match caller.beside {
            true => client.sharing_budget(&caller.folder),
            false => Ok(client),
        });
        client.with_context(|| format!("preparing to ask {host}"))
    }
}

/// From the name of a variable to the key in it.
type Keys<'a> = dyn Fn(&str) -> Result<Secret> + 'a;

/// Who asks: what its clients need to know of it.
pub struct Caller<'a> {
    /// The folder of the journal.
    pub folder: PathBuf,
    /// Its name in the journal.
    pub by: String,
    /// By earlier attempts.
    pub spent: Amount,
    /// Others of this name may ask at the same time.
    pub beside: bool,
    /// The key in a variable that the node names.
    pub secret: Box<Keys<'a>>,
}

impl<'a> Caller<'a> {
    pub fn of(ctx: &'a NodeCtx) -> Caller<'a> {
        let before = ctx.earlier_calls();
        Caller {
            folder: ctx.calls_dir().to_path_buf(),
            by: ctx.key().to_string(),
            spent: Amount {
                dollars: before.dollars,
                tokens: before.tokens(),
            },
            beside: false,
            secret: Box::new(|name| Ok(Secret::new(name, ctx.secret(name)?))),
        }
    }
}
