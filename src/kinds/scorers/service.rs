//! Scorers that ask a service: the parameters of a node for them (those of a local reward model among them), and what such a scorer is
//! to the rest: a protocol, what it asks of a response, how it reads the answer. Who holds the clients is `clients`.

use super::clients::{self, JudgeClient};
use super::{Judged, Scorer, Settings, Verdict, reward_model};
use crate::scorers::reward;
use crate::shared::bounds;
use crate::shared::endpoint::{Caller, EndpointParams, Service};
use crate::shared::estimate;
use anyhow::Result;
use base::calls::Calls;
use base::params::ParamSet;
use base::params::Problem;
use base::response;
use base::setup::Acts;
use base::value::Values;
use base::{choice, params};
use services::chat::{self, Chat, Input, Sampling};
use services::journal::Journal;
use services::protocol::Protocol;
use std::path::PathBuf;

choice! {
    /// What becomes of the number of an HTTP scorer.
    pub enum Transform { Identity = "identity", Sigmoid = "sigmoid" }
}

const MODERATED: Acts = Acts::only("where `moderation` judges", |s| {
    reward::asks_service(s, Service::Moderation)
});
const JUDGED: Acts = Acts::only(
    "where `strongreject`, `harmbench` or `rubric` judges",
    |s| reward::asks_service(s, Service::Judge),
);
const SCORED: Acts = Acts::only("where `score` judges", |s| {
    reward::asks_service(s, Service::Score)
});

params! {
    /// The model that `strongreject`, `harmbench` or `rubric` asks; a node has one.
    pub struct JudgeParams {
        /// Its name at the service.
        model: Option<String> = None, if JUDGED;
        /// A file with the text that it is sent, instead of ours: a published rubric, as it was published. It has a
        /// place for the answer (`{answer}`, `{generation}`, `{response}`) and may have one for the prompt (`{prompt}`,
        /// `{behavior}`, `{forbidden_prompt}`, `{question}`); other braces stay. Of `rubric`: a folder with `refusal.txt`
        /// for harmful prompts and `helpfulness.txt` for the others.
        template: Option<PathBuf> = None, if JUDGED;
        /// Tokens that it may write, its reasoning included; absent: 1 for `harmbench`, 512 for the others.
        max_tokens: Option<u64> = None, in bounds::TOKENS, if JUDGED;
    }
}

params! {
    /// The service that `moderation` asks.
    pub struct ModerationParams {
        /// The model's name at the service, as `omni-moderation-latest`. Aliases move: the name that served is
        /// kept with every answer.
        model: Option<String> = None, if MODERATED;
    }
}

params! {
    /// The service that `score` asks.
    pub struct ScoreParams {
        /// The scorer's name at the service.
        model: Option<String> = None, if SCORED;
        /// The number as it is, which then has to lie in [0, 1] (`identity`, if absent), or 1 / (1 + exp(-x))
        /// of it (`sigmoid`: for the logit of a reward model).
        transform: Option<Transform> = None, if SCORED;
    }
}

params! {
    pub struct ScorerParams {}
    blocks {
        judge: JudgeParams, moderation: ModerationParams, score: ScoreParams, reward_model: reward_model::RewardModelParams
    }
}

params! {
    pub struct ScorerEndpoints {}
    blocks { judge: EndpointParams, moderation: EndpointParams, score: EndpointParams }
}

impl ScorerParams {
    fn model(&self, service: Service) -> Option<&str> {
        match service {
            Service::Judge => self.judge.model.as_deref(),
            Service::Moderation => self.moderation.model.as_deref(),
            Service::Score => self.score.model.as_deref(),
            Service::Answers => None,
        }
    }
}

impl ScorerEndpoints {
    pub fn of(&self, service: Service) -> &EndpointParams {
        match service {
            Service::Moderation => &self.moderation,
            Service::Score => &self.score,
            Service::Judge | Service::Answers => &self.judge,
        }
    }
}

/// What is wrong with the parameters of a node whose scorers are these; of each, the path of the parameter that names it.
pub fn problems(values: &Values, named: &[(String, &'static Scorer)]) -> Vec<Problem> {
    let (Ok(params), Ok(endpoints)) = (ScorerParams::read(values), ScorerEndpoints::read(values))
    else {
        return vec![];
    };
    let mut found = vec![];
    for service in [Service::Moderation, Service::Judge, Service::Score] {
        found.extend(endpoints.of(service).problems(service));
    }
    let mut asked: Vec<(Service, &str)> = vec![];
    for (path, scorer) in named {
        let Some(ServiceScorer { service, .. }) = scorer.service() else {
            continue;
        };
        let name = scorer.name;
        if asked.iter().any(|(_, seen)| *seen == name) {
            continue;
        }
        if let Some((_, other)) = asked.iter().find(|(s, _)| s == service) {
            let help = "they would share model, template and budget; give each a node of its own";
            found.push(Problem {
                path: path.clone(),
                message: format!("`{other}` and `{name}` are both judges, and a node has one"),
                help: Some(help.into()),
            });
        } else {
            let (endpoint, model) = (endpoints.of(*service), params.model(*service));
            let by = (path.as_str(), format!("`{name}`"));
            found.extend(endpoint.missing(*service, model, (by.0, by.1.as_str())));
        }
        asked.push((*service, name));
    }
    found
}

/// What a scorer's calls are made of.
pub type Asked<'a> = (&'a ScorerParams, &'a ScorerEndpoints);

/// A scorer with its client.
type Open = fn(Asked, &Settings, &Caller) -> Result<Box<dyn JudgeClient>>;
/// What judging responses would come to, by what the journal has already.
type Forecast = fn(Asked, &Settings, &Journal, &[Judged]) -> Result<Calls>;

/// A scorer of the table that asks a service.
pub struct ServiceScorer {
    pub service: Service,
    pub open: Open,
    pub forecast: Forecast,
}

impl ServiceScorer {
    pub const fn of<S: JudgeSpec>() -> ServiceScorer {
        ServiceScorer {
            service: S::SERVICE,
            open: clients::open::<S>,
            forecast: clients::forecast::<S>,
        }
    }

    /// So many answers of at most so many tokens, judged one a call.
    pub fn calls(&self, (params, endpoints): Asked, n: f64, (prompt, answer): (f64, f64)) -> Calls {
        let (reads, writes) = match self.service {
            Service::Moderation => (answer, 0.0),
            Service::Score => (prompt + answer, 0.0),
            Service::Judge | Service::Answers => {
                let most = params.judge.max_tokens.unwrap_or(512);
                (prompt + answer + WORDING, most as f64)
            }
        };
        estimate::calls(n, reads, writes, &endpoints.of(self.service).prices())
    }
}

/// Tokens of what a judge is sent besides, about.
const WORDING: f64 = 350.0;

/// What is asked about a response.
pub enum Asks<A> {
    Service {
        ask: A,
        controls: usize,
    },
    /// The verdict needs nobody.
    Nobody(Verdict),
}

/// A scorer without its client.
pub trait JudgeSpec: Sized + 'static {
    type Protocol: Protocol;
    const SERVICE: Service;

    fn new(params: &ScorerParams, settings: &Settings) -> Result<Self>;
    fn protocol(&self, asked: Asked) -> Self::Protocol;
    fn ask(&self, judged: &Judged) -> Asks<<Self::Protocol as Protocol>::Ask>;
    /// `controls` of the verdict is filled in by who asked. An error is an answer that shows a wrong recipe.
    fn read(
        &self,
        judged: &Judged,
        answer: &<Self::Protocol as Protocol>::Answer,
    ) -> Result<Verdict>;
}

/// The protocol of judges that write text: greedy, one sample.
pub fn chat((params, endpoints): Asked, plain: bool, max_tokens: u64) -> Chat {
    Chat {
        model: params.judge.model.clone().unwrap_or_default(),
        sampling: Sampling {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            max_tokens: params.judge.max_tokens.unwrap_or(max_tokens),
            seed: 0,
            stop: vec![],
            extra: Default::default(),
            logprobs: false,
        },
        plain,
        // A judge's template leaves the first special token to the server.
        rendered: false,
        dialect: endpoints.judge.server,
        per_request: 1,
        omit: endpoints.judge.omit.clone(),
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
