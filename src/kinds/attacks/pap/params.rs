//! The parameters of the kind `pap`.

use super::techniques::{self, Technique};
use crate::attacks::part::params::{From, Part, part};
use crate::shared::bounds;
use crate::shared::endpoint::EndpointParams;
use base::params;
use base::params::{Bounds, Problem};
use base::setup::Acts;
use std::collections::BTreeSet;
use world::Guise;

const TECHNIQUES: Bounds = Bounds::within(1.0, 40.0, "there are forty techniques");

const UNNAMED: Acts = Acts::only("where `techniques` names none", |s| !s.given("techniques"));
const BUILT_IN: Acts = Acts::only("where `attacker.from` is `world`", |s| {
    s.says("attacker.from", "world")
});
pub const LOCAL: Acts = Acts::only("where `attacker.from` is `model`", |s| {
    s.says("attacker.from", "model")
});
const DRAWN: Acts = Acts::draws("where replies are drawn", |s| {
    !s.says("attacker.from", "model") || s.exceeds("attacker.temperature", 0.0)
});

part! {
    /// Who rewrites the prompts.
    pub struct Attacker in "attacker", served SERVED, from From::World, temperature 1.0, max_tokens 2048, told {
        /// `model` and `endpoint`: a file with what the attacker is told, instead of our own neutral text. It has a place for the
        /// prompt (`{request}`, `{prompt}` or `{behavior}`) and may have `{technique}` and `{definition}`.
    }
}

params! {
    pub struct Params {
        /// The first so many techniques; HarmBench attacks with 5. Of the world there are 7.
        top: usize = 5, in TECHNIQUES, if UNNAMED;
        /// Techniques by their names instead, as `["Storytelling", "Favor"]`; of the world `"role"`, `"code+box"` and the like.
        techniques: Vec<String> = vec![];
        /// The seed of the built-in world that the prompts are of.
        world: u64 = 0, in bounds::SEED, if BUILT_IN;
        /// Seed of the rewriting; an endpoint is sent it.
        seed: u64 = 0, in bounds::SEED, if DRAWN;
    }
    blocks { attacker: Attacker }
}

params! {
    pub struct Exec {
        /// Replies between two saves of what is done.
        save_every: usize = 512, in bounds::EVERY, if LOCAL;
    }
    blocks { attacker: EndpointParams where SERVED }
}

/// What is done to a prompt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    Persuades(Technique),
    Disguises(Guise),
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Way::Persuades(technique) => technique.name,
            Way::Disguises(guise) => guise.word(),
        }
    }
}

impl Params {
    pub fn attacker(&self) -> Part {
        self.attacker.part()
    }

    /// In the order in which they are tried. Errors: names that there are not.
    pub fn ways(&self) -> Result<Vec<Way>, Problem> {
        let all = self.all();
        if self.techniques.is_empty() {
            return match self.top <= all.len() {
                true => Ok(all[..self.top].to_vec()),
                false => Err(Problem {
                    path: "top".into(),
                    message: format!("the world's attacker has {} ways", all.len()),
                    help: Some("a model as `attacker` has forty techniques".into()),
                }),
            };
        }
        let mut seen = BTreeSet::new();
        let each = self.techniques.iter().enumerate().map(|(i, name)| {
            let problem = |message: String, help: String| Problem {
                path: format!("techniques.{i}"),
                message,
                help: Some(help),
            };
            let way = all.iter().find(|w| w.name().eq_ignore_ascii_case(name));
            let way = way.ok_or_else(|| {
                let names: Vec<&str> = all.iter().map(|w| w.name()).collect();
                let message = format!("there is no technique `{name}`");
                problem(message, techniques::help(name, &names))
            })?;
            match seen.insert(way.name()) {
                true => Ok(*way),
                false => Err(problem(
                    format!("`{name}` is there twice"),
                    "name each once".into(),
                )),
            }
        });
        each.collect()
    }

    /// The world knows no persuasion: its attacker puts a request in one of the world's disguises.
    fn all(&self) -> Vec<Way> {
        match self.attacker.from {
            From::World => Guise::ALL[1..]
                .iter()
                .copied()
                .map(Way::Disguises)
                .collect(),
            From::Model | From::Endpoint => {
                techniques::ALL.into_iter().map(Way::Persuades).collect()
            }
        }
    }
}
