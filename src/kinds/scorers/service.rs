//! A scorer that asks a service: a protocol, what it asks of a response, how it reads the answer; and such a scorer with its client,
//! asked for whole batches. Who holds the clients of a node is `clients`.

use super::judged::{Judged, Settings};
use super::params::{Asked, ScorerParams};
use super::verdict::Verdict;
use crate::shared::endpoint::{Caller, Service};
use crate::shared::estimate;
use crate::shared::observer;
use anyhow::{Context, Result, anyhow};
use base::calls::Calls;
use base::response;
use engine::kind::context::Transient;
use services::chat::{self, Chat, Input, Sampling};
use services::client::{self, CallObserver, Client};
use services::fault::Rejection;
use services::journal::Journal;
use services::protocol::Protocol;

/// A scorer with its client.
type Open = fn(Asked, &Settings, &Caller) -> Result<Box<dyn JudgeClient>>;
/// What judging responses would come to, by what the journal has already.
type Forecast = fn(Asked, &Settings, &Journal, &[Judged]) -> Result<Calls>;

/// A scorer of the table that asks a service.
pub struct ServiceScorer {
    pub service: Service,
    /// Tokens that it may write where a node does not say how many.
    pub max_tokens: u64,
    pub open: Open,
    pub forecast: Forecast,
}

impl ServiceScorer {
    pub const fn of<S: JudgeSpec>() -> ServiceScorer {
        ServiceScorer {
            service: S::SERVICE,
            max_tokens: S::MAX_TOKENS,
            open: open::<S>,
            forecast: forecast::<S>,
        }
    }

    /// So many answers of at most so many tokens, judged one a call.
    pub fn calls(&self, (params, endpoints): Asked, n: f64, (prompt, answer): (f64, f64)) -> Calls {
        let (reads, writes) = match self.service {
            Service::Moderation => (answer, 0.0),
            Service::Score => (prompt + answer, 0.0),
            Service::Judge | Service::Answers | Service::Part(_) => {
                let most = params.judge.max_tokens.unwrap_or(self.max_tokens);
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
pub trait JudgeSpec: Sized + Send + 'static {
    type Protocol: Protocol + Send;
    const SERVICE: Service;
    /// Tokens that it may write where a node does not say how many; of a service that writes none, 0.
    const MAX_TOKENS: u64 = 0;

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
pub fn chat<S: JudgeSpec>((params, endpoints): Asked, plain: bool) -> Chat {
    Chat {
        model: params.judge.model.clone().unwrap_or_default(),
        sampling: Sampling {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            max_tokens: params.judge.max_tokens.unwrap_or(S::MAX_TOKENS),
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

/// A judge with its client.
pub trait JudgeClient: Send {
    /// A verdict for each, in their order, with one call of the client. A request that the service rejects is a verdict without a
    /// score; one that it did not answer is an error that may pass.
    fn judge(&mut self, rows: &[Judged], observer: &mut dyn CallObserver) -> Result<Vec<Verdict>>;
    /// What its calls came to so far.
    fn calls(&self) -> &Calls;
}

struct Asking<S: JudgeSpec> {
    spec: S,
    client: Client<S::Protocol>,
}

fn open<S: JudgeSpec>(
    asked: Asked,
    settings: &Settings,
    caller: &Caller,
) -> Result<Box<dyn JudgeClient>> {
    let spec = S::new(asked.0, settings)?;
    let client = asked
        .1
        .of(S::SERVICE)
        .client(caller, spec.protocol(asked))?;
    Ok(Box::new(Asking { spec, client }))
}

/// What judging these would come to.
fn forecast<S: JudgeSpec>(
    asked: Asked,
    settings: &Settings,
    journal: &Journal,
    rows: &[Judged],
) -> Result<Calls> {
    let spec = S::new(asked.0, settings)?;
    let protocol = spec.protocol(asked);
    let asks = rows.iter().filter_map(|judged| match spec.ask(judged) {
        Asks::Service { ask, .. } => Some(ask),
        Asks::Nobody(_) => None,
    });
    let asks: Vec<<S::Protocol as Protocol>::Ask> = asks.collect();
    let endpoint = asked.1.of(S::SERVICE).endpoint();
    Ok(client::forecast(&protocol, &endpoint, journal, &asks))
}

impl<S: JudgeSpec> JudgeClient for Asking<S> {
    fn judge(&mut self, rows: &[Judged], observer: &mut dyn CallObserver) -> Result<Vec<Verdict>> {
        let mut verdicts: Vec<Option<Verdict>> = vec![];
        let (mut asks, mut asked) = (vec![], vec![]);
        for (i, judged) in rows.iter().enumerate() {
            verdicts.push(match self.spec.ask(judged) {
                Asks::Nobody(verdict) => Some(verdict),
                Asks::Service { ask, controls } => {
                    asks.push(ask);
                    asked.push((i, controls));
                    None
                }
            });
        }
        let outcomes = self
            .client
            .all(&asks, observer)
            .map_err(observer::stopped)?;
        for ((i, controls), outcome) in asked.into_iter().zip(outcomes) {
            let verdict = match outcome {
                Ok(answer) => {
                    let read = self.spec.read(&rows[i], &answer);
                    read.with_context(|| format!("prompt {}", rows[i].prompt_id))?
                }
                // A failure that may pass is no verdict; what was answered is in the journal.
                Err(rejection) if rejection.status == 0 => {
                    let prompt = rows[i].prompt_id;
                    let error = anyhow!("no verdict on a response to prompt {prompt}: {rejection}");
                    return Err(Transient(error).into());
                }
                Err(rejection) => rejected(&rejection),
            };
            verdicts[i] = Some(Verdict {
                controls,
                ..verdict
            });
        }
        let verdicts = verdicts.into_iter();
        let verdicts = verdicts.map(|v| v.expect("every row has its verdict"));
        Ok(verdicts.collect())
    }

    fn calls(&self) -> &Calls {
        self.client.calls()
    }
}

/// The service would not judge this one.
fn rejected(rejection: &Rejection) -> Verdict {
    Verdict {
        words: short(&format!("rejected: {rejection}")),
        rejected: true,
        ..Verdict::default()
    }
}
