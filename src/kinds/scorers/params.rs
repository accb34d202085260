//! What a node says of its scorers: of the services that they ask, and of a local reward model.

use super::named::names;
use crate::shared::bounds;
use crate::shared::devices;
use crate::shared::endpoint::{EndpointParams, Service};
use base::setup::Acts;
use base::{choice, params};
use engine::kind::Computes;
use std::path::PathBuf;

choice! {
    /// What becomes of the number of an HTTP scorer.
    pub enum Transform { Identity = "identity", Sigmoid = "sigmoid" }
}

choice! {
    /// What becomes of the number of a local reward model.
    pub enum Squash { Sigmoid = "sigmoid", Identity = "identity", ZScore = "z-score" }
}

/// The scorers that ask this service. Parameters know scorers by name only: the table of scorers is made of what reads these.
pub fn asking(service: Service) -> &'static [&'static str] {
    match service {
        Service::Judge => &["strongreject", "harmbench", "rubric"],
        Service::Moderation => &["moderation"],
        Service::Score => &["score"],
        Service::Answers | Service::Part(_) => &[],
    }
}

const MODERATED: Acts = Acts::only("where `moderation` judges", |s| {
    names(s, asking(Service::Moderation))
});
const JUDGED: Acts = Acts::only(
    "where `strongreject`, `harmbench` or `rubric` judges",
    |s| names(s, asking(Service::Judge)),
);
const SCORED: Acts = Acts::only("where `score` judges", |s| names(s, asking(Service::Score)));
const READ: Acts = Acts::only("where the reward model judges", |s| {
    names(s, &["reward_model"])
});

/// Of a node whose only model is the one that judges.
pub const JUDGES: Computes = devices::anywhere(READ);

params! {
    /// The model that `strongreject`, `harmbench` or `rubric` asks; a node has one.
    pub struct JudgeParams {
        /// Its name at the service.
        model: Option<String> = None;
        /// A file with the text that it is sent, instead of ours: a published rubric, as it was published. It has a
        /// place for the answer (`{answer}`, `{generation}`, `{response}`) and may have one for the prompt (`{prompt}`,
        /// `{behavior}`, `{forbidden_prompt}`, `{question}`); other braces stay. Of `rubric`: a folder with `refusal.txt`
        /// for harmful prompts and `helpfulness.txt` for the others.
        template: Option<PathBuf> = None;
        /// Tokens that it may write, its reasoning included; absent: 1 for `harmbench`, 512 for the others.
        max_tokens: Option<u64> = None, in bounds::TOKENS;
    }
}

params! {
    /// The service that `moderation` asks.
    pub struct ModerationParams {
        /// The model's name at the service, as `omni-moderation-latest`. Aliases move: the name that served is
        /// kept with every answer.
        model: Option<String> = None;
    }
}

params! {
    /// The service that `score` asks.
    pub struct ScoreParams {
        /// The scorer's name at the service.
        model: Option<String> = None;
        /// The number as it is, which then has to lie in [0, 1] (`identity`, if absent), or 1 / (1 + exp(-x))
        /// of it (`sigmoid`: for the logit of a reward model).
        transform: Option<Transform> = None;
    }
}

params! {
    /// How the number of the reward model at the port `reward_model` is read.
    pub struct RewardModelParams {
        /// 1 / (1 + exp(-x)) of its number x (`sigmoid`, if absent: TARS), the number as it is
        /// (`identity`), or its distance from the mean of the responses that are scored together, a step's say, in standard
        /// deviations (`z-score`). The last two leave [0, 1].
        squash: Option<Squash> = None, was "reward_squash";
        /// The first so many tokens of prompt and answer under its template are read, the rest is cut and
        /// counted in the log; absent: 4608 (TARS). Never more than the model has positions.
        max_tokens: Option<usize> = None, in bounds::TOKENS, was "reward_max_tokens";
    }
}

params! {
    pub struct ScorerParams {}
    blocks {
        judge: JudgeParams where JUDGED, moderation: ModerationParams where MODERATED, score: ScoreParams where SCORED,
        reward_model: RewardModelParams where READ,
    }
}

params! {
    pub struct ScorerEndpoints {}
    blocks {
        judge: EndpointParams where JUDGED, moderation: EndpointParams where MODERATED, score: EndpointParams where SCORED,
    }
}

/// What a scorer's calls are made of.
pub type Asked<'a> = (&'a ScorerParams, &'a ScorerEndpoints);

impl RewardModelParams {
    pub fn squashes(&self) -> Squash {
        self.squash.unwrap_or(Squash::Sigmoid)
    }
}

impl ScorerParams {
    pub(super) fn model(&self, service: Service) -> Option<&str> {
        match service {
            Service::Judge => self.judge.model.as_deref(),
            Service::Moderation => self.moderation.model.as_deref(),
            Service::Score => self.score.model.as_deref(),
            Service::Answers | Service::Part(_) => None,
        }
    }
}

impl ScorerEndpoints {
    pub fn of(&self, service: Service) -> &EndpointParams {
        match service {
            Service::Moderation => &self.moderation,
            Service::Score => &self.score,
            Service::Judge | Service::Answers | Service::Part(_) => &self.judge,
        }
    }
}
