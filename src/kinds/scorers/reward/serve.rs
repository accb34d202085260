//! The rewards of a node for a trainer of somebody else's: rows in, rewards out, as JSON, by the route that the node itself would use.
//!
//!     {"rows": [{"class": "harmful", "prompt": "…", "response": "…", "finished": true}, …]}
//!     {"rewards": [0.93, null, …], "scores": [{"format": 1.0, "safety": 0.93}, …], "unscorable": 1}
//!
//! A row is one of the artifact `prompts` (its other fields may stay) with `response`, and `finished`: false where the length limit
//! ended it; a row has to say so where the node's `truncated` makes anything of it. Rows of questions that come while others are scored are scored together, as one batch of the client: what is asked
//! at once is within the limits of one node. Where a score hangs on what is scored beside it (`z-score`), a question is by itself.

use super::{Route, Scored};
use crate::scorers::params::{Asked, ScorerEndpoints, ScorerParams, Squash};
use crate::scorers::{Judged, Settings, reward_model};
use crate::shared::endpoint::Caller;
use anyhow::Result;
use base::calls::Calls;
use base::params::ParamSet;
use base::rows::{PromptClass, Truth};
use engine::kind::context::{Interrupted, Transient};
use engine::kind::served::{Opening, Refused, Say, Served, Stopping};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use services::budget::Amount;
use services::client::CallObserver;
use services::endpoint::Secret;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Rows of one question.
pub const MOST_ROWS: usize = 1 << 14;

/// What a response is worth by its scores: (value of the route, whether it ended by itself, id of its prompt). None: it does not count.
pub type Worth = dyn Fn(Option<f64>, bool, &str) -> Result<Option<f64>> + Send + Sync;

/// What a node declares of its rewards.
pub struct Declared<'a> {
    pub table: &'a BTreeMap<String, String>,
    pub settings: Settings,
    pub scorers: &'a ScorerParams,
    pub worth: Box<Worth>,
    /// It hangs on whether a response ended by itself.
    pub asks_finished: bool,
    /// What `worth` does, by parameter.
    pub rules: Value,
}

struct Rewards {
    route: Mutex<Route>,
    waiting: Mutex<Vec<Arc<Question>>>,
    /// Whether questions may be scored together.
    together: bool,
    /// Classes that it has a reward for, and those among them that read the truth of the world.
    classes: BTreeSet<PromptClass>,
    of_world: BTreeSet<PromptClass>,
    worth: Box<Worth>,
    asks_finished: bool,
    about: Value,
    stop: Stopping,
    say: Say,
    tally: Mutex<Tally>,
}

#[derive(Clone, Copy, Default)]
struct Tally {
    questions: u64,
    rows: u64,
    unscorable: u64,
    /// As of the last batch that ended.
    calls: Calls,
}

/// Rows that somebody waits for.
struct Question {
    rows: Vec<Row>,
    done: Mutex<Option<Done>>,
}

type Done = Result<Vec<Scored>, Refused>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(default)]
    id: String,
    class: PromptClass,
    prompt: String,
    response: String,
    #[serde(default)]
    finished: Option<bool>,
    #[serde(default)]
    truth: Option<Truth>,
    /// What of the response was written for the model.
    #[serde(default)]
    begun: Option<String>,
    // What a row of prompts has besides; no scorer reads it.
    #[serde(default, rename = "source")]
    _source: IgnoredAny,
    #[serde(default, rename = "category")]
    _category: IgnoredAny,
    #[serde(default, rename = "difficulty")]
    _difficulty: IgnoredAny,
    #[serde(default, rename = "labels")]
    _labels: IgnoredAny,
    #[serde(default, rename = "attacked")]
    _attacked: IgnoredAny,
}

impl Row {
    fn judged(&self) -> Judged<'_> {
        Judged {
            prompt_id: &self.id,
            class: self.class,
            prompt: &self.prompt,
            truth: self.truth.as_ref(),
            response: &self.response,
            begun: self.begun.as_deref(),
        }
    }
}

/// Opens what a node declares.
pub fn open(opening: &Opening, declared: Declared) -> Result<Box<dyn Served>> {
    let endpoints: ScorerEndpoints = opening.node.exec()?;
    let asked = (declared.scorers, &endpoints);
    let route = Route::new(declared.table, declared.settings)?;
    let caller = Caller {
        folder: opening.calls.to_path_buf(),
        by: opening.by.to_string(),
        // Its earlier servers: their journal tells, once nobody else can begin.
        spent: Amount::default(),
        beside: true,
        secret: Box::new(|name| Ok(Secret::new(name, (opening.secret)(name)?))),
    };
    let model = opening.node.inputs.get(reward_model::PORT);
    let route = route.asking_with(asked, &caller, model.map(|folder| folder.as_path()))?;
    let classes: BTreeSet<PromptClass> = route.by_class.keys().copied().collect();
    let of_world = classes.iter().copied();
    let of_world = of_world.filter(|class| {
        let scorers = route.by_class[class].scorers();
        let mut scorers = scorers.into_iter().filter_map(crate::scorers::get);
        scorers.any(|scorer| scorer.needs_truth())
    });
    Ok(Box::new(Rewards {
        of_world: of_world.collect(),
        together: declared.scorers.reward_model.squashes() != Squash::ZScore,
        about: about(&route, &declared, asked),
        route: Mutex::new(route),
        waiting: Mutex::default(),
        classes,
        worth: declared.worth,
        asks_finished: declared.asks_finished,
        stop: opening.stop.clone(),
        say: opening.say.clone(),
        tally: Mutex::default(),
    }))
}

fn about(route: &Route, declared: &Declared, (params, endpoints): Asked) -> Value {
    let scorers = route.scorers();
    let services: BTreeMap<&str, String> = scorers
        .iter()
        .filter_map(|s| {
            let host = endpoints.of(s.service()?.service).endpoint().host();
            Some((s.name, host))
        })
        .collect();
    let summaries: BTreeMap<&str, &str> = scorers.iter().map(|s| (s.name, s.summary)).collect();
    json!({
        "serves": "rewards",
        "reward": declared.table,
        "rules": declared.rules,
        "safety_snap": declared.settings.safety_snap,
        "scorers": summaries,
        "params": params.write(),
        "services": services,
        "most_rows": MOST_ROWS,
        "question": { "rows": [{ "class": "harmful", "prompt": "…", "response": "…", "finished": true }] },
    })
}

impl Served for Rewards {
    fn about(&self) -> Value {
        self.about.clone()
    }

    fn answer(&self, question: Value) -> Result<Value, Refused> {
        let rows = self.rows(question)?;
        let question = Arc::new(Question {
            rows,
            done: Mutex::default(),
        });
        let scored = self.scored(&question)?;
        let mut rewards = vec![];
        for (row, scored) in question.rows.iter().zip(&scored) {
            let worth = (self.worth)(scored.value, row.finished != Some(false), &row.id);
            rewards.push(worth.map_err(|error| Refused::Unanswerable(format!("{error:#}")))?);
        }
        let unscorable = scored.iter().filter(|s| s.value.is_none()).count();
        let mut tally = lock(&self.tally);
        tally.questions += 1;
        tally.rows += scored.len() as u64;
        tally.unscorable += unscorable as u64;
        let scores: Vec<_> = scored.iter().map(|s| &s.scores).collect();
        Ok(json!({ "rewards": rewards, "scores": scores, "unscorable": unscorable }))
    }

    fn tally(&self) -> Value {
        let tally = *lock(&self.tally);
        json!({
            "questions": tally.questions, "rows": tally.rows, "unscorable": tally.unscorable, "calls": tally.calls,
        })
    }
}

impl Rewards {
    /// What is asked about. Errors name the row, from 0 on.
    fn rows(&self, mut question: Value) -> Result<Vec<Row>, Refused> {
        let wrong = |text: &str| Refused::Wrong(text.into());
        let object = question.as_object_mut();
        let object =
            object.ok_or_else(|| wrong("the body is no JSON object with the member `rows`"))?;
        let rows = object.remove("rows");
        if let Some(name) = object.keys().next() {
            return Err(Refused::Wrong(format!(
                "the body has a member `{name}`; it has `rows` and no other"
            )));
        }
        let Some(Value::Array(rows)) = rows else {
            return Err(wrong("`rows` is no list"));
        };
        if rows.len() > MOST_ROWS {
            return Err(Refused::Wrong(format!(
                "{} rows, and a question has at most {MOST_ROWS}",
                rows.len()
            )));
        }
        let read = |(i, row): (usize, Value)| {
            let row: Row = serde_json::from_value(row)
                .map_err(|error| Refused::Wrong(format!("row {i}: {error}")))?;
            let word = row.class.word();
            if !self.classes.contains(&row.class) {
                let known: Vec<&str> = self.classes.iter().map(|class| class.word()).collect();
                return Err(Refused::Wrong(format!(
                    "row {i}: the reward table has no entry for class `{word}`; it has {}",
                    known.join(", ")
                )));
            }
            if self.asks_finished && row.finished.is_none() {
                return Err(Refused::Wrong(format!(
                    "row {i}: it has no `finished`, and what a response is worth that ran into the length limit hangs on it"
                )));
            }
            if self.of_world.contains(&row.class) && row.truth.is_none() {
                return Err(Refused::Wrong(format!(
                    "row {i}: the reward of class `{word}` reads the truth of the built-in world, and the row has no `truth`"
                )));
            }
            Ok(row)
        };
        rows.into_iter().enumerate().map(read).collect()
    }

    /// Whoever gets the route takes all that waits; the others find theirs answered.
    fn scored(&self, own: &Arc<Question>) -> Done {
        lock(&self.waiting).push(own.clone());
        let mut route = lock(&self.route);
        if let Some(done) = lock(&own.done).take() {
            return done;
        }
        let taken = {
            let mut waiting = lock(&self.waiting);
            match self.together {
                true => std::mem::take(&mut *waiting),
                false => {
                    waiting.retain(|other| !Arc::ptr_eq(other, own));
                    vec![own.clone()]
                }
            }
        };
        self.score(&mut route, &taken);
        lock(&self.tally).calls = route.clients.calls();
        let done = lock(&own.done).take();
        done.unwrap_or_else(|| Err(Refused::Failed("a thread that scored broke off".into())))
    }

    /// Answers all of these. What is wrong with one that cannot pass is not the others' loss: they are scored again by themselves, and
    /// what was paid for is in the journal.
    fn score(&self, route: &mut Route, questions: &[Arc<Question>]) {
        let end = |done: &dyn Fn() -> Done| {
            for question in questions {
                *lock(&question.done) = Some(done());
            }
        };
        if (self.stop)() {
            return end(&|| Err(Refused::Stopped));
        }
        let rows = questions.iter().flat_map(|q| &q.rows);
        let judged: Vec<Judged> = rows.map(Row::judged).collect();
        let mut hearing = Hearing {
            stop: &self.stop,
            say: &self.say,
        };
        match route.score_all(&judged, &mut hearing) {
            Ok(scored) => {
                let mut scored = scored.into_iter();
                for question in questions {
                    let own = scored.by_ref().take(question.rows.len());
                    *lock(&question.done) = Some(Ok(own.collect()));
                }
            }
            Err(error) => match refused(&error) {
                Refused::Failed(_) if questions.len() > 1 => {
                    let each = questions.chunks(1);
                    each.for_each(|question| self.score(route, question));
                }
                why => end(&|| Err(why.clone())),
            },
        }
    }
}

fn refused(error: &anyhow::Error) -> Refused {
    let is = |stands: fn(&(dyn std::error::Error + 'static)) -> bool| error.chain().any(stands);
    if is(|cause| cause.is::<Interrupted>()) {
        Refused::Stopped
    } else if is(|cause| cause.is::<Transient>()) {
        Refused::Later(format!("{error:#}"))
    } else {
        Refused::Failed(format!("{error:#}"))
    }
}

struct Hearing<'a> {
    stop: &'a Stopping,
    say: &'a Say,
}

impl CallObserver for Hearing<'_> {
    fn stop(&self) -> bool {
        (self.stop)()
    }

    fn progress(&mut self, _: usize, _: usize, _: &Calls) {}

    fn say(&mut self, text: &str) {
        (self.say)(text);
    }
}

/// Nothing that a thread leaves half done is behind these locks but a batch, whose questions are then refused.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
