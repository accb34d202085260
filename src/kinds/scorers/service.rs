//! Scorers that ask a service: the parameters that their kinds share (those of a local reward model among them), and what such a scorer is to the rest: a protocol, what it
//! asks of a response, how it reads what it is told. Who holds the clients is `clients`.

use super::clients::{self, Caller, JudgeClient};
use super::{Judged, Settings, Verdict, reward_model::RewardModelParams};
use crate::scorers::reward;
use crate::shared::ahead;
use crate::shared::bounds;
use crate::shared::remote::{self, Server};
use anyhow::Result;
use base::calls::Calls;
use base::params::ParamSet;
use base::params::Problem;
use base::response;
use base::setup::Acts;
use base::value::Values;
use base::{choice, params};
use services::chat::{self, Chat, Input, Sampling};
use services::endpoint::{Endpoint, Limits, Prices};
use services::journal::Journal;
use services::protocol::Protocol;
use std::path::PathBuf;
use std::time::Duration;

choice! {
    /// What becomes of the number of an HTTP scorer.
    pub enum Transform { Identity = "identity", Sigmoid = "sigmoid" }
}

const MODERATED: Acts = Acts::only("where `moderation` judges", |s| {
    reward::asks_family(s, Family::Moderation)
});
const JUDGED: Acts = Acts::only(
    "where `strongreject`, `harmbench` or `rubric` judges",
    |s| reward::asks_family(s, Family::Judge),
);
const SCORED: Acts = Acts::only("where `score` judges", |s| {
    reward::asks_family(s, Family::Score)
});

params! {
    pub struct Judging {
        /// Of `moderation`: the model's name at the service, as `omni-moderation-latest`. Aliases move: the name that served is
        /// kept with every answer.
        moderation_model: Option<String> = None, if MODERATED;
        /// Of `strongreject`, `harmbench`, `rubric`: the judge's name at its service. A node has one such judge.
        judge_model: Option<String> = None, if JUDGED;
        /// A file with the words that the judge is told, instead of ours: a published rubric, as it was published. It has a
        /// place for the answer (`{answer}`, `{generation}`, `{response}`) and may have one for the prompt (`{prompt}`,
        /// `{behavior}`, `{forbidden_prompt}`, `{question}`); other braces stay. Of `rubric`: a folder with `refusal.txt`
        /// for harmful prompts and `helpfulness.txt` for the others.
        judge_template: Option<PathBuf> = None, if JUDGED;
        /// Tokens that the judge may write, its reasoning included; absent: 1 for `harmbench`, 512 for the others.
        judge_max_tokens: Option<u64> = None, in bounds::TOKENS, if JUDGED;
        /// Of `score`: the scorer's name at its service.
        score_model: Option<String> = None, if SCORED;
        /// Of `score`: the number as it is, which then has to lie in [0, 1] (`identity`, if absent), or 1 / (1 + exp(-x))
        /// of it (`sigmoid`: for the logit of a reward model).
        score_transform: Option<Transform> = None, if SCORED;
    }
    with { reward: RewardModelParams }
}

params! {
    pub struct JudgeServices {
        /// Of `moderation`: where the service is, up to and with its version, as `"https://api.openai.com/v1"`.
        moderation_url: Option<String> = None;
        /// Name of the environment variable that holds its key.
        moderation_key_env: Option<String> = None;
        /// The header that holds it as it is; see `key_header` of `teacher`.
        moderation_key_header: Option<String> = None;
        /// Answers a request.
        moderation_batch: usize = 32, in bounds::PER_REQUEST;
        /// Of `strongreject`, `harmbench`, `rubric`: where the judge is, as `"http://localhost:8000/v1"`.
        judge_url: Option<String> = None;
        /// Name of the environment variable that holds its key.
        judge_key_env: Option<String> = None;
        /// The header that holds it as it is; see `key_header` of `teacher`.
        judge_key_header: Option<String> = None;
        /// Which fields the judge's server takes; see `server` of `teacher`.
        judge_server: Server = Server::Plain;
        /// Fields that the judge's server does not take and that are not sent, as `["seed"]`.
        judge_omit: Vec<String> = vec![];
        /// Dollars for a million tokens that the judge reads …
        judge_price_prompt: f64 = 0.0, in bounds::DOLLARS;
        /// … and that it writes.
        judge_price_completion: f64 = 0.0, in bounds::DOLLARS;
        /// Dollars that this node may spend on its judge, over all its attempts.
        judge_budget_dollars: Option<f64> = None, in bounds::DOLLARS;
        /// Of `score`: where the scorer is, the whole URL.
        score_url: Option<String> = None;
        /// Name of the environment variable that holds its key.
        score_key_env: Option<String> = None;
        /// The header that holds it as it is; see `key_header` of `teacher`.
        score_key_header: Option<String> = None;
        /// Answers a request.
        score_batch: usize = 16, in bounds::PER_REQUEST;
        /// Requests in flight, at each of these services.
        judge_concurrency: usize = 16, in bounds::CONCURRENCY;
        /// Requests a minute, at each of these services, of all processes that use this store, host and key together.
        judge_requests_per_minute: Option<f64> = None, in bounds::PER_MINUTE;
        /// The same for tokens.
        judge_tokens_per_minute: Option<f64> = None, in bounds::PER_MINUTE;
        /// For one request, from sending to the last byte of the answer.
        judge_timeout_seconds: f64 = 600.0, in bounds::SECONDS;
        /// Tries beyond the first of a request that fails in a passing way.
        judge_retries: u32 = 8, in bounds::RETRIES;
    }
}

/// Which of the parameters are a scorer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Moderation,
    Judge,
    Score,
}

/// Where a family's service is.
pub struct Door<'a> {
    pub url: Option<&'a str>,
    pub key_env: Option<&'a str>,
    pub key_header: Option<&'a str>,
}

impl Family {
    pub fn word(self) -> &'static str {
        match self {
            Family::Moderation => "moderation",
            Family::Judge => "judge",
            Family::Score => "score",
        }
    }

    fn model(self, judging: &Judging) -> Option<&str> {
        match self {
            Family::Moderation => judging.moderation_model.as_deref(),
            Family::Judge => judging.judge_model.as_deref(),
            Family::Score => judging.score_model.as_deref(),
        }
    }
}

impl JudgeServices {
    pub fn door(&self, family: Family) -> Door<'_> {
        let (url, key_env, key_header) = match family {
            Family::Moderation => (
                &self.moderation_url,
                &self.moderation_key_env,
                &self.moderation_key_header,
            ),
            Family::Judge => (&self.judge_url, &self.judge_key_env, &self.judge_key_header),
            Family::Score => (&self.score_url, &self.score_key_env, &self.score_key_header),
        };
        Door {
            url: url.as_deref(),
            key_env: key_env.as_deref(),
            key_header: key_header.as_deref(),
        }
    }

    /// Without the key.
    pub fn endpoint(&self, family: Family) -> Endpoint {
        let (prices, limits) = match family {
            Family::Judge => (
                Prices {
                    prompt: self.judge_price_prompt,
                    cached: None,
                    completion: self.judge_price_completion,
                },
                Limits {
                    dollars: self.judge_budget_dollars,
                    tokens: None,
                },
            ),
            Family::Moderation | Family::Score => (Prices::default(), Limits::default()),
        };
        let timeout = Duration::try_from_secs_f64(self.judge_timeout_seconds);
        Endpoint {
            concurrency: self.judge_concurrency,
            requests_per_minute: self.judge_requests_per_minute,
            tokens_per_minute: self.judge_tokens_per_minute,
            timeout: timeout.unwrap_or(Duration::MAX),
            retries: self.judge_retries,
            prices,
            limits,
            key_header: self.door(family).key_header.map(String::from),
            ..Endpoint::at(self.door(family).url.unwrap_or_default())
        }
    }

    fn problems(&self, found: &mut Vec<Problem>) {
        let prices = [
            ("judge_price_prompt", Some(self.judge_price_prompt)),
            ("judge_price_completion", Some(self.judge_price_completion)),
        ];
        let budget = ("judge_budget_dollars", self.judge_budget_dollars);
        remote::amounts(found, &prices, budget);
        for family in [Family::Moderation, Family::Judge, Family::Score] {
            let (word, door) = (family.word(), self.door(family));
            remote::header(
                found,
                (&format!("{word}_key_header"), door.key_header),
                (&format!("{word}_key_env"), door.key_env),
            );
        }
    }
}

/// What is wrong with the parameters of a node whose scorers are these; of each, the path of the parameter that names it.
pub fn problems(values: &Values, named: &[(String, &str)]) -> Vec<Problem> {
    let (Ok(judging), Ok(services)) = (Judging::read(values), JudgeServices::read(values)) else {
        return vec![];
    };
    let mut found = vec![];
    services.problems(&mut found);
    let mut asked: Vec<(Family, &str)> = vec![];
    for (path, name) in named {
        let Some(service) = super::get(name).and_then(|scorer| scorer.service()) else {
            continue;
        };
        if asked.iter().any(|(_, seen)| seen == name) {
            continue;
        }
        let family = service.family;
        if let Some((_, other)) = asked.iter().find(|(f, _)| *f == family) {
            found.push(problem(
                path,
                format!("`{other}` and `{name}` are both judges, and a node has one"),
                Some("they would share model, template and budget; give each a node of its own"),
            ));
        } else {
            missing(&mut found, path, name, family, &judging, &services);
        }
        asked.push((family, name));
    }
    found
}

/// Model and URL that a scorer needs.
fn missing(
    found: &mut Vec<Problem>,
    path: &str,
    name: &str,
    family: Family,
    judging: &Judging,
    services: &JudgeServices,
) {
    let word = family.word();
    if family.model(judging).is_none() {
        found.push(problem(
            path,
            format!("`{name}` asks a service, and `{word}_model` does not say which model"),
            Some(match family {
                Family::Moderation => "as `moderation_model = \"omni-moderation-latest\"`",
                Family::Judge => "as `judge_model = \"gpt-4.1-mini\"`",
                Family::Score => "as `score_model = \"GRM-llama3-8B-distill\"`",
            }),
        ));
    }
    match services.door(family).url {
        None => found.push(problem(
            path,
            format!("`{name}` asks a service, and `{word}_url` does not say where it is"),
            Some(match family {
                Family::Moderation => "as `moderation_url = \"https://api.openai.com/v1\"`, with `moderation_key_env = \"OPENAI_API_KEY\"`",
                Family::Judge => "as `judge_url = \"http://localhost:8000/v1\"`",
                Family::Score => "as `score_url = \"http://localhost:9000/score\"`",
            }),
        )),
        Some(url) => {
            let wrong = match family {
                // Its URL is whole.
                Family::Score => Endpoint::problem(url),
                Family::Moderation | Family::Judge => Endpoint::base_problem(url),
            };
            found.extend(wrong.map(|message| problem(&format!("{word}_url"), message, None)));
        }
    }
}

fn problem(path: &str, message: String, help: Option<&str>) -> Problem {
    Problem {
        path: path.into(),
        message,
        help: help.map(String::from),
    }
}

/// A judge with its client.
type Open = fn(&Judging, &JudgeServices, &Settings, &Caller) -> Result<Box<dyn JudgeClient>>;
/// What judging responses would come to, by what the journal has already.
type Forecast = fn(&Judging, &JudgeServices, &Settings, &Journal, &[Judged]) -> Result<Calls>;

/// A service scorer in the table.
pub struct Service {
    pub family: Family,
    pub open: Open,
    pub forecast: Forecast,
}

impl Service {
    pub const fn of<R: JudgeSpec>() -> Service {
        Service {
            family: R::FAMILY,
            open: clients::open::<R>,
            forecast: clients::forecast::<R>,
        }
    }
}

/// What is asked about a response.
pub enum Asks<A> {
    Service {
        ask: A,
        controls: usize,
    },
    /// The verdict needs nobody.
    Nobody(Verdict),
}

/// A judge without its client.
pub trait JudgeSpec: Sized + 'static {
    type Protocol: Protocol;
    const FAMILY: Family;

    fn new(judging: &Judging, settings: &Settings) -> Result<Self>;
    fn protocol(&self, judging: &Judging, services: &JudgeServices) -> Self::Protocol;
    fn ask(&self, judged: &Judged) -> Asks<<Self::Protocol as Protocol>::Ask>;
    /// `controls` of the verdict is filled in by who asked. An error is an answer that shows a wrong recipe.
    fn read(
        &self,
        judged: &Judged,
        answer: &<Self::Protocol as Protocol>::Answer,
    ) -> Result<Verdict>;
}

/// The protocol of judges that write text: greedy, one sample.
pub fn chat(judging: &Judging, services: &JudgeServices, plain: bool, max_tokens: u64) -> Chat {
    Chat {
        model: judging.judge_model.clone().unwrap_or_default(),
        sampling: Sampling {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            max_tokens: judging.judge_max_tokens.unwrap_or(max_tokens),
            seed: 0,
            stop: vec![],
            extra: Default::default(),
            logprobs: false,
        },
        plain,
        // A judge's template leaves the first special token to the server.
        rendered: false,
        dialect: services.judge_server.dialect(),
        per_request: 1,
        omit: services.judge_omit.clone(),
    }
}

/// What a judge says: the answer of what it wrote, never its reasoning, wherever the service put that. Nothing where it reasoned until
/// its limit.
pub fn said(answer: &chat::Answer) -> String {
    response::split(&answer.content).answer
}

/// One sample of this input.
pub fn once(input: Input) -> chat::Ask {
    chat::Ask { input, sample: 0 }
}

/// What a judge wrote, on one line and cut short.
pub fn short(text: &str) -> String {
    const MOST: usize = 300;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

impl Service {
    /// So many answers of at most so many tokens, judged one a call.
    pub fn calls(
        &self,
        (judging, services): (&Judging, &JudgeServices),
        n: f64,
        (prompt, answer): (f64, f64),
    ) -> Calls {
        let (reads, writes) = match self.family {
            Family::Moderation => (answer, 0.0),
            Family::Score => (prompt + answer, 0.0),
            Family::Judge => {
                let most = judging.judge_max_tokens.unwrap_or(512);
                (prompt + answer + WORDING, most as f64)
            }
        };
        let prices = services.endpoint(self.family).prices;
        ahead::calls(n, reads, writes, &prices)
    }
}

/// Tokens of what a judge is told besides, about.
const WORDING: f64 = 350.0;
