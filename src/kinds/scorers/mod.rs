//! The registry of scorers. A scorer maps (prompt, response) to a verdict with a number, in [0, 1] as a rule. Reward expressions and
//! evaluations name the same scorers: an evaluation's judge is a scorer. A new scorer is one file here and its line in `scorers!`.

pub mod clients;
pub mod neutral;
pub mod reward;
pub mod service;
pub mod verdict;
pub mod wording;

use anyhow::Result;
use base::params::{ParamValue, Ty};
use base::response;
use base::rows::{CompletedPrompt, Prompt, PromptClass, Truth};
use base::text::did_you_mean;
use base::value::Value;
use service::ServiceScorer;
pub use verdict::{Meaning, Reads, Verdict};

/// A response to be scored, with what is known of its prompt.
#[derive(Clone, Copy)]
pub struct Judged<'a> {
    pub prompt_id: &'a str,
    pub class: PromptClass,
    pub prompt: &'a str,
    pub truth: Option<&'a Truth>,
    pub response: &'a str,
}

impl<'a> Judged<'a> {
    pub fn of_prompt(prompt: &'a Prompt, response: &'a str) -> Judged<'a> {
        Judged {
            prompt_id: &prompt.id,
            class: prompt.class,
            prompt: &prompt.prompt,
            truth: prompt.truth.as_ref(),
            response,
        }
    }

    pub fn of_completed(prompt: &'a CompletedPrompt, response: &'a str) -> Judged<'a> {
        Judged {
            prompt_id: &prompt.prompt_id,
            class: prompt.class,
            prompt: &prompt.prompt,
            truth: prompt.truth.as_ref(),
            response,
        }
    }

    /// What judges see of the response: never its reasoning, and nothing where that does not end.
    pub fn answer(&self) -> String {
        response::split(self.response).answer
    }
}

/// Named constants of the scorers, from the recipe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// A safety score at or above this counts as 1.
    pub safety_snap: f64,
}

pub struct Scorer {
    /// Its word in reward expressions and in the parameter `scorer` of evaluations.
    pub name: &'static str,
    /// One line for `pipe kinds --scorers` and the README.
    pub summary: &'static str,
    pub how: How,
    /// How an evaluation reads its verdicts. A reward is made of their numbers.
    pub reads: Reads,
}

/// Where a verdict comes from. An error is a scorer that cannot work at all.
pub enum How {
    /// A rule over the text.
    Text(Rule),
    /// The truth of the built-in world, which only the world's own prompts carry.
    World(Rule),
    Service(&'static ServiceScorer),
    /// The reward model on the port `reward_model`.
    Model,
}

pub type Rule = fn(&Judged, &Settings) -> Result<Verdict>;

impl Scorer {
    pub fn service(&self) -> Option<&'static ServiceScorer> {
        match self.how {
            How::Text(_) | How::World(_) | How::Model => None,
            How::Service(service) => Some(service),
        }
    }

    pub fn is_model(&self) -> bool {
        matches!(self.how, How::Model)
    }

    pub fn needs_truth(&self) -> bool {
        matches!(self.how, How::World(_))
    }

    /// Whether it may have no number for a response. A rule always has one, or is an error.
    pub fn may_fail(&self) -> bool {
        self.is_model() || self.service().is_some()
    }

    /// Whether an evaluation keeps its numbers and compares them with a threshold.
    pub fn has_number(&self) -> bool {
        matches!(self.reads, Reads::Number(_))
    }
}

/// Scorers, each in the file of its name; a file with a second one names that too.
macro_rules! scorers {
    ( $( $file:ident $( :: $which:ident )? ),+ $(,)? ) => {
        $( scorers!(@module $file $($which)?); )+
        pub const ALL: &[&Scorer] = &[ $( scorers!(@scorer $file $($which)?) ),+ ];
    };
    (@module $file:ident) => { pub mod $file; };
    (@module $file:ident $which:ident) => {};
    (@scorer $file:ident) => { &$file::SCORER };
    (@scorer $file:ident $which:ident) => { &$file::$which };
}

scorers! {
    format, world, safety, task, refusal, refusal::UNICODE, moderation, strongreject, harmbench, rubric, score, reward_model,
}

const NAMES: [&str; ALL.len()] = {
    let mut names = [""; ALL.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = ALL[i].name;
        i += 1;
    }
    names
};

/// What some were called in evaluations.
const RENAMED: [(&str, &str); 3] = [
    ("refusal-matcher", "refusal"),
    ("refusal-matcher-unicode", "refusal_unicode"),
    ("reward-model", "reward_model"),
];

pub fn get(name: &str) -> Option<&'static Scorer> {
    ALL.iter().copied().find(|s| s.name == name)
}

/// For somebody who named a scorer that there is not.
pub fn help(name: &str) -> String {
    match did_you_mean(name, NAMES) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "the scorers are {}",
            NAMES.map(|n| format!("`{n}`")).join(", ")
        ),
    }
}

impl ParamValue for &'static Scorer {
    fn ty() -> Ty {
        Ty::Choice(&NAMES)
    }
    fn read(value: Option<&Value>) -> Result<Self, String> {
        match value {
            Some(Value::Str(name)) => {
                let renamed = RENAMED.iter().find(|(old, _)| old == name);
                get(name).ok_or_else(|| match renamed {
                    Some((old, new)) => format!("`{old}` is now `{new}`"),
                    None => format!("expected {}", Self::ty().describe()),
                })
            }
            _ => Err(format!("expected {}", Self::ty().describe())),
        }
    }
    fn write(&self) -> Option<Value> {
        Some(Value::Str(self.name.into()))
    }
}

impl std::fmt::Debug for Scorer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
