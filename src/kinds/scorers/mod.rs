//! The registry of scorers. A scorer maps (prompt, response) to a verdict with a number, in [0, 1] as a rule. Reward expressions and
//! evaluations name the same scorers: an evaluation's judge is a scorer. A new scorer is one file here and its line in
//! `scorers!`; one that asks a service is in `params::asking` too.

pub mod clients;
mod judged;
mod named;
pub mod neutral;
pub mod params;
pub mod reward;
mod scorer;
pub mod service;
pub mod verdict;
pub mod wording;

use base::params::{ParamValue, Ty};
use base::text::did_you_mean;
use base::value::Value;
pub use judged::{Judged, Settings};
pub use scorer::{How, Scorer};
pub use verdict::{Meaning, Reads, Verdict};

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
