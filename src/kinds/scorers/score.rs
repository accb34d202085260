//! Any scorer over HTTP of the documented shape (`services::score`): a reward model behind a few lines of a lab's own. It sees the
//! user's prompt and the answer, control strings neutralised, since a reward model's template gives them a meaning.
//!
//! Its number is taken as it is, and then has to lie in [0, 1], or through a sigmoid (TARS: sigmoid of the logit of
//! GRM-llama3-8B-distill). 1 is what one wants. Null is no score.

use super::neutral::neutral;
use super::params::{Asked, ScorerParams, Transform};
use super::service::{Asks, JudgeSpec, ServiceScorer};
use super::{How, Judged, Meaning, Reads, Scorer, Settings, Verdict};
use crate::shared::endpoint::Service;
use anyhow::{Result, bail};
use services::score::{Item, Scored, Scoring};

pub const SCORER: Scorer = Scorer {
    name: "score",
    summary: "number of a scorer over HTTP, a reward model say, for prompt and answer; as it is or through a sigmoid",
    how: How::Service(&ServiceScorer::of::<Numbers>()),
    reads: Reads::Number(Meaning::Wanted),
};

pub struct Numbers {
    transform: Transform,
}

impl JudgeSpec for Numbers {
    type Protocol = Scoring;
    const SERVICE: Service = Service::Score;

    fn new(params: &ScorerParams, _: &Settings) -> Result<Numbers> {
        Ok(Numbers {
            transform: params.score.transform.unwrap_or(Transform::Identity),
        })
    }

    fn protocol(&self, (params, endpoints): Asked) -> Scoring {
        Scoring {
            model: params.score.model.clone().unwrap_or_default(),
            per_request: endpoints.score.batch(Service::Score),
        }
    }

    fn ask(&self, judged: &Judged) -> Asks<Item> {
        let (prompt, of_prompt) = neutral(judged.prompt);
        let (answer, of_answer) = neutral(&judged.answer());
        Asks::Service {
            ask: Item { prompt, answer },
            controls: of_prompt + of_answer,
        }
    }

    fn read(&self, _: &Judged, scored: &Scored) -> Result<Verdict> {
        let score = match (scored.score, self.transform) {
            (Some(x), Transform::Sigmoid) => Some(1.0 / (1.0 + (-x).exp())),
            (Some(x), Transform::Identity) if !(0.0..=1.0).contains(&x) => bail!(
                "the scorer says {x}, which is not in [0, 1]; `score.transform = \"sigmoid\"` makes a share of a logit"
            ),
            (score, Transform::Identity) => score,
            (None, _) => None,
        };
        Ok(Verdict {
            score,
            words: scored.score.map(|x| x.to_string()).unwrap_or_default(),
            served: scored.served.clone(),
            ..Verdict::default()
        })
    }
}
