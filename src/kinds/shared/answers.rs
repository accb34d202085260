//! Answers of a model behind an endpoint, for the kinds that ask one (`teacher`, `generate`): the parameters that say who and how,
//! and prompts turned into calls. The in-process counterpart is `model_io`.

use crate::shared::asked::Prefills;
use crate::shared::endpoint::{Caller, EndpointParams, Service};
use crate::shared::observer::{self, NodeObserver};
use anyhow::{Context, Result, anyhow};
use base::calls::Calls;
use base::params::Problem;
use base::response::{self, Withheld};
use base::rows::{Message, Prompt};
use base::setup::{Acts, Setup};
use base::{choice, params};
use engine::kind::context::{NodeCtx, Transient};
use learn::chat;
use learn::tokenizer::Tokenizer;
use serde_json::{Map, Value};
use services::chat::{Answer, Ask, Chat, Dialect, Input, Sampling};
use services::client::{self, Client, Fetched, Outcome};
use services::fault::Rejection;
use services::journal::Journal;
use std::path::Path;

choice! {
    /// How an endpoint is asked.
    pub enum Api { Chat = "chat", Completions = "completions" }
}
choice! {
    /// What becomes of prompts that a service will not answer (status 400, 403, 413, 422, 451, or no answer in all tries) while it
    /// answers others.
    pub enum Rejected { Fail = "fail", Drop = "drop", Empty = "empty" }
}

const SERVED: Acts = Acts::only("where `endpoint.model` names a model", |s| {
    s.given("endpoint.model")
});
const ASKED: Acts = Acts::only("where a model is asked, not the built-in teacher", |s| {
    !s.says("from", "world")
});

/// Whether a field by which answers are drawn is sent where an endpoint is asked.
pub(crate) fn is_sent(setup: &Setup, field: &str) -> bool {
    let kept_back =
        setup.says("endpoint.server", "openai-reasoning") || setup.lists("endpoint.omit", field);
    !(setup.given("endpoint.model") && kept_back)
}

const EXTRA: &str = "endpoint.extra_body";

/// What requests hold beside `extra_body`, and where each is said.
const OWN_FIELDS: [(&str, &str); 10] = [
    ("model", "`endpoint.model` says it"),
    (
        "messages",
        "the prompts are sent; `system` is put before them",
    ),
    ("prompt", "the prompts are sent"),
    ("n", "`endpoint.batch` says it"),
    ("stream", "answers are read as a whole"),
    ("temperature", "`temperature` says it"),
    ("top_p", "`top_p` says it"),
    ("seed", "`seed` says it"),
    ("max_tokens", "`max_new_tokens` says it"),
    ("max_completion_tokens", "`max_new_tokens` says it"),
];

params! {
    /// A model that answers behind an endpoint, and where that is.
    pub struct ServedModel {
        /// The model's name at the endpoint, as `"deepseek-reasoner"`. With it in the key, not the address: give models that
        /// are not the same different names.
        model: Option<String> = None, was "served";
        /// `chat` (where absent): the server renders messages with its own template. `completions`: it continues text, which
        /// is the bare prompt, or the prompt in the chat template of the folder at the port `template`.
        api: Option<Api> = None, if SERVED;
        /// Further fields of every request, a JSON object as text: `'{"reasoning_effort": "low"}'`.
        extra_body: Option<String> = None, if SERVED;
        /// Prompts that the service will not answer while it answers others: the node fails (`fail`, also where absent), they are
        /// left out (`drop`), or they have an empty answer (`empty`). Of the empty ones, those that the service says it refuses for
        /// what they hold are `blocked`: a provider's filter in front of the model counts as part of it. The others are unreadable.
        rejected: Option<Rejected> = None, if SERVED;
    }
}

params! {
    pub struct Served {
        /// A system message before the prompt, in the chat template of a model on this machine as well.
        system: Option<String> = None, if ASKED;
    }
    blocks { endpoint: ServedModel }
}

params! {
    pub struct ServedExec {}
    blocks { endpoint: EndpointParams where SERVED }
}

/// Further fields of every request, from their JSON text. `path`: of the parameter.
pub fn extra(text: Option<&str>, path: &str) -> Result<Map<String, Value>> {
    let Some(text) = text else {
        return Ok(Map::new());
    };
    let read = serde_json::from_str(text);
    let extra: Value = read.with_context(|| format!("`{path}` is no JSON"))?;
    match extra {
        Value::Object(map) => Ok(map),
        _ => anyhow::bail!("`{path}` is no JSON object"),
    }
}

/// What is wrong with further fields. `own`: what the node's own fields are called there, each with where it is said.
pub fn extra_problems(text: Option<&str>, path: &str, own: &[(&str, &str)]) -> Vec<Problem> {
    let problem = |message: String, help: &str| Problem {
        path: path.into(),
        message,
        help: Some(help.into()),
    };
    let extra = match extra(text, path) {
        Err(error) => {
            return vec![problem(
                format!("{error:#}"),
                "as '{\"reasoning_effort\": \"low\"}'",
            )];
        }
        Ok(extra) => extra,
    };
    let taken = own.iter().filter(|(field, _)| extra.contains_key(*field));
    let told = taken.map(|(field, help)| {
        let message = format!("`{field}` in `{path}` takes the place of the node's own");
        problem(message, help)
    });
    told.collect()
}

impl Served {
    /// Of a model behind an endpoint; none: the model is on this machine.
    pub fn model(&self) -> Option<&str> {
        self.endpoint.model.as_deref()
    }

    pub fn api(&self) -> Api {
        self.endpoint.api.unwrap_or(Api::Chat)
    }

    pub fn rejected(&self) -> Rejected {
        self.endpoint.rejected.unwrap_or(Rejected::Fail)
    }

    /// Beyond types. `top_k`, `prefill`: of the kind that asks.
    pub fn problems(&self, endpoint: &EndpointParams, top_k: usize, prefill: bool) -> Vec<Problem> {
        let mut found = endpoint.problems(Service::Answers);
        let asked = self.model().is_some();
        if asked {
            let by = ("endpoint.url", "the node");
            found.extend(endpoint.missing(Service::Answers, self.model(), by));
        }
        let extra = self.endpoint.extra_body.as_deref();
        found.extend(extra_problems(extra, EXTRA, &OWN_FIELDS));
        if !asked {
            return found;
        }
        let mut problem = |path: &str, message: String, help: &str| {
            found.push(Problem {
                path: path.into(),
                message,
                help: (!help.is_empty()).then(|| help.to_string()),
            });
        };
        let takes_top_k = matches!(endpoint.server, Dialect::Vllm | Dialect::LlamaCpp);
        if top_k > 0 && !takes_top_k {
            problem(
                "top_k",
                "this server is not known to take `top_k`".into(),
                "`endpoint.server = \"vllm\"` and `\"llama.cpp\"` do; `endpoint.extra_body` sends any field",
            );
        }
        if prefill && self.api() == Api::Chat {
            problem(
                "prefill",
                "a chat endpoint does not continue an answer".into(),
                "`endpoint.api = \"completions\"` does, with the model's folder at the port `template`",
            );
        }
        if self.system.is_some() && self.api() == Api::Completions {
            problem("system", "completions have no system message".into(), "");
        }
        found
    }
}

/// How the kind that asks wants its answers drawn.
pub struct Draw<'a> {
    pub samples: usize,
    pub temperature: f64,
    pub top_p: f64,
    pub top_k: usize,
    pub max_new_tokens: usize,
    pub prefills: Option<&'a Prefills>,
    pub logprobs: bool,
    pub seed: u64,
    /// Model folder whose chat template renders the prompts, for `completions`.
    pub template: Option<&'a Path>,
}

/// A model behind an endpoint, and what it is asked: `draw.samples` asks a prompt, in the order of the prompts.
pub struct Asking {
    chat: Chat,
    asks: Vec<Ask>,
    /// What the responses to each prompt are given to begin with.
    begun: Vec<Begun>,
}

/// What comes before the text that a server sends.
#[derive(Clone)]
pub enum Begun {
    /// This, which the server was sent.
    With(String),
    /// What the server's own template writes: seen where a block is closed that was never opened.
    Unknown,
}

impl Asking {
    pub fn new(
        served: &Served,
        endpoint: &EndpointParams,
        draw: &Draw,
        prompts: &[Prompt],
    ) -> Result<Asking> {
        let plain = served.api() == Api::Completions;
        let model = served.model();
        let tokenizer = draw.template.map(Tokenizer::load).transpose()?;
        let chat = Chat {
            model: model
                .context("`endpoint.model` does not say which model is asked")?
                .into(),
            sampling: Sampling {
                temperature: draw.temperature,
                top_p: draw.top_p,
                top_k: draw.top_k as u64,
                max_tokens: draw.max_new_tokens as u64,
                seed: draw.seed,
                stop: vec![],
                extra: extra(served.endpoint.extra_body.as_deref(), EXTRA)?,
                logprobs: draw.logprobs,
            },
            plain,
            rendered: tokenizer.is_some(),
            dialect: endpoint.server,
            per_request: endpoint.batch(Service::Answers),
            omit: endpoint.omit.clone(),
        };
        let mut asks = Vec::with_capacity(prompts.len() * draw.samples);
        let mut begun = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            let (input, with) = input(served, draw, tokenizer.as_ref(), prompt)
                .with_context(|| format!("prompt {}", prompt.id))?;
            asks.extend((0..draw.samples as u32).map(|sample| Ask {
                input: input.clone(),
                sample,
            }));
            begun.push(with);
        }
        Ok(Asking { chat, asks, begun })
    }

    /// Asks, and waits for every outcome. `prompts` and `samples` as at `new`. Errors: besides those of the service, an answer that
    /// it would not give where `rejected` is `Fail`.
    pub fn ask(
        self,
        ctx: &NodeCtx,
        endpoint: &EndpointParams,
        (prompts, samples): (&[Prompt], usize),
        rejected: Rejected,
    ) -> Result<Answered> {
        let mut client = endpoint.client(&Caller::of(ctx), self.chat)?;
        let mut observer = NodeObserver::new(ctx, "answers");
        let fetched = client
            .fetch(&self.asks, &mut observer)
            .map_err(observer::stopped)?;
        let first = fetched.rejected().next();
        match first {
            Some((i, rejection)) if rejected == Rejected::Fail => {
                let error = anyhow!(
                    "{} of {} requests were not answered, the first for prompt {}: {rejection}; `endpoint.rejected = \"drop\"` leaves them \
                     out, and every other answer is kept",
                    fetched.rejected().count(),
                    fetched.len(),
                    prompts[i / samples].id,
                );
                // Another time they may be.
                let mut all = fetched.rejected();
                match all.all(|(_, rejection)| rejection.status == 0) {
                    true => Err(Transient(error).into()),
                    false => Err(error),
                }
            }
            _ => Ok(Answered {
                client,
                fetched,
                begun: self.begun,
                samples,
            }),
        }
    }

    /// Which calls would be made.
    pub fn forecast(&self, endpoint: &EndpointParams, calls: &Path) -> Result<Calls> {
        let journal = Journal::open(calls)?;
        let endpoint = endpoint.endpoint();
        Ok(client::forecast(
            &self.chat, &endpoint, &journal, &self.asks,
        ))
    }
}

fn input(
    served: &Served,
    draw: &Draw,
    tokenizer: Option<&Tokenizer>,
    prompt: &Prompt,
) -> Result<(Input, Begun)> {
    let mut messages = vec![];
    messages.extend(served.system.iter().map(|s| Message::new("system", s)));
    messages.push(Message::new("user", &prompt.prompt));
    let prefill = draw.prefills.and_then(|p| p.of(prompt));
    Ok(match (served.api(), tokenizer) {
        (Api::Chat, _) => (Input::Chat(messages), Begun::Unknown),
        (Api::Completions, Some(tokenizer)) => {
            let prompt = chat::prompt(tokenizer, &messages, prefill)?;
            (Input::Text(prompt.text), Begun::With(prompt.begun))
        }
        (Api::Completions, None) => (
            Input::Text(prompt.prompt.clone() + prefill.unwrap_or("")),
            Begun::With(prefill.unwrap_or("").to_string()),
        ),
    })
}

/// An answer as the response of a model: reasoning that came apart stands in think tags before the answer, and where it was cut off
/// within, nothing closes them. Everything else is as the server sent it. `begun`: the response so far.
pub fn response(answer: &Answer, begun: &Begun) -> String {
    let content = match (&answer.refusal, answer.content.trim().is_empty()) {
        (Some(refusal), true) => refusal,
        _ => &answer.content,
    };
    match &answer.reasoning {
        Some(reasoning) if content.is_empty() && !answer.finished() => {
            response::unfinished(reasoning)
        }
        Some(reasoning) => response::join(reasoning.trim(), content.trim_start()),
        None => match begun {
            Begun::With(begun) => begun.clone() + content,
            Begun::Unknown => response::reopened(content),
        },
    }
}

/// What of a response was written for the model, where that reaches into its answer.
pub fn begun(response: &str, begun: &Begun) -> Option<String> {
    let Begun::With(given) = begun else {
        return None;
    };
    let given = response::begins_answer(given).filter(|given| response.starts_with(given));
    given.map(String::from)
}

/// Why the response has no answer of the model's own, where the service says so. `begun` as in the row.
pub fn withheld(answer: &Answer, response: &str, begun: Option<&str>) -> Option<Withheld> {
    match answer.withheld() {
        Some(Withheld::Refused) => Some(Withheld::Refused),
        other => other.filter(|_| response::own(response, begun).is_empty()),
    }
}

/// Why a service would not answer, in few words: what rows are counted by.
pub fn reason(rejection: &Rejection) -> String {
    match (rejection.policy, rejection.status) {
        (true, status) => format!("the service refuses what the prompt holds ({status})"),
        (false, 0) => "no answer in all tries".into(),
        (false, 200) => "no reply that can be read in all tries".into(),
        (false, status) => format!("the service rejects the request ({status})"),
    }
}

/// Outcomes that are read from the journal one by one: as many as were asked for would not fit in memory.
pub struct Answered {
    client: Client<Chat>,
    fetched: Fetched,
    begun: Vec<Begun>,
    samples: usize,
}

impl Answered {
    /// In the order of the asks; each with what the response has begun with before the answer.
    pub fn each(
        &mut self,
        mut see: impl FnMut(usize, &Begun, Outcome<Answer>) -> Result<()>,
    ) -> Result<()> {
        let opened = Begun::With(format!("{}\n", response::OPEN));
        // Looked for in all answers, and so only where it matters to one.
        let mut opens = None;
        for i in 0..self.fetched.len() {
            let outcome = self.client.answer(&self.fetched, i)?;
            let unsure = matches!(&outcome, Ok(answer) if untagged(answer));
            if unsure && opens.is_none() {
                opens = Some(self.opens()?);
            }
            let begun = match unsure && opens == Some(true) {
                true => &opened,
                false => &self.begun[i / self.samples],
            };
            see(i, begun, outcome)?;
        }
        Ok(())
    }

    /// Whether the server's own template opens the think block: an answer shows it that closes one which it never opened.
    fn opens(&mut self) -> Result<bool> {
        if !matches!(self.begun.first(), Some(Begun::Unknown)) {
            return Ok(false);
        }
        for i in 0..self.fetched.len() {
            if let Ok(answer) = self.client.answer(&self.fetched, i)?
                && answer.reasoning.is_none()
                && response::reopened(&answer.content) != answer.content
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Cut off before any think tag. Where a template opens the block, that is within it.
pub(crate) fn untagged(answer: &Answer) -> bool {
    let tagged = [response::OPEN, response::CLOSE]
        .iter()
        .any(|tag| answer.content.contains(tag));
    answer.reasoning.is_none() && answer.refusal.is_none() && !answer.finished() && !tagged
}
