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
    format, world, safety, task, refusal, refusal::UNICODE, refusal::ANYWHERE, moderation, strongreject, harmbench, rubric, score, reward_model,
}

/// The names of so many scorers: of those that judge, or of all.
const fn names<const N: usize>(only_judges: bool) -> [&'static str; N] {
    let mut names = [""; N];
    let (mut i, mut n) = (0, 0);
    while i < ALL.len() {
        if ALL[i].judges() || !only_judges {
            names[n] = ALL[i].name;
            n += 1;
        }
        i += 1;
    }
    names
}

const fn how_many_judge() -> usize {
    let (mut i, mut n) = (0, 0);
    while i < ALL.len() {
        n += ALL[i].judges() as usize;
        i += 1;
    }
    n
}

const NAMES: [&str; ALL.len()] = names(false);

/// Those that an evaluation may name.
pub const JUDGES: [&str; how_many_judge()] = names(true);

/// What some were called in evaluations.
const RENAMED: [(&str, &str); 3] = [
    ("refusal-matcher-unicode", "refusal_unicode"),
    ("refusal-matcher", "refusal"),
    ("reward-model", "reward_model"),
];

/// What a word is called now that was a scorer's.
fn renamed(word: &str) -> Option<&'static str> {
    let found = RENAMED.iter().find(|(old, _)| *old == word);
    found.map(|(_, new)| *new)
}

fn told(old: &str) -> Option<String> {
    renamed(old).map(|new| format!("`{old}` is now `{new}`"))
}

/// The old word of a scorer in an expression, where it reads as a difference of two others, and what that is now.
pub fn renamed_in(text: &str) -> Option<String> {
    let of_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut words = text.split(|c| !of_word(c));
    // Of `-refusal-matcher` the first is a sign.
    words.find_map(|word| told(word.trim_matches('-')))
}

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
        Ty::Choice(&JUDGES)
    }
    fn read(value: Option<&Value>) -> Result<Self, String> {
        match value {
            Some(Value::Str(name)) => match get(name) {
                Some(scorer) if scorer.judges() => Ok(scorer),
                Some(_) => Err(format!(
                    "`{name}` is a part of rewards and says nothing of an answer as a whole"
                )),
                None => {
                    Err(told(name).unwrap_or_else(|| format!("expected {}", Self::ty().describe())))
                }
            },
            _ => Err(format!("expected {}", Self::ty().describe())),
        }
    }
    fn write(&self) -> Option<Value> {
        Some(Value::Str(self.name.into()))
    }
    fn renamed(word: &str) -> Option<&'static str> {
        renamed(word)
    }
}
