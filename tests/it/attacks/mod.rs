//! Kinds that attack, and what they have in common.

mod augment;
mod autodan;
mod cases;
mod gcg;
mod pair;
mod pap;
mod rainbow;
mod world;

use crate::services::server::{Act, Seen, Server};
use crate::study::{Ran, Study};
use pipe::base::rows::{AttackStep, Prompt};
use pipe::kinds::REGISTRY;
use pipe::recipe::{self, Overrides};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is searched in: a small model and two prompts a class.
const WORLD: &str = r#"
[node.model]
kind = "world-model"
hidden_size = 32
layers = 2
heads = 2
intermediate_size = 64
initial_std = 0.1
[node.prompts]
kind = "world-prompts"
eval = 2
"#;

/// How many answers a service has left, which then is down.
#[derive(Clone)]
struct Answers(Arc<AtomicUsize>);

impl Default for Answers {
    /// As many as are asked for.
    fn default() -> Answers {
        Answers(Arc::new(AtomicUsize::new(usize::MAX)))
    }
}

impl Answers {
    /// Whether there is one more.
    fn spend(&self) -> bool {
        let less = |n: usize| n.checked_sub(1);
        let spent = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        spent.is_ok()
    }

    /// Runs the recipe with so many answers each time until its node `x` ends well, which it does not at once.
    fn until_it_ends(&self, each: usize, recipe: &str) -> Ran {
        let study = Study::new();
        let mut broke = 0;
        loop {
            self.0.store(each, Ordering::SeqCst);
            let ran = study.try_run(recipe);
            if ran.outcome.find("x").unwrap().brief.is_some() {
                assert!(broke > 1, "{broke}");
                return ran;
            }
            broke += 1;
            assert!(broke < 20, "it goes on");
        }
    }
}

/// What is wrong with a recipe by itself.
fn checked(recipe: &str) -> Result<(), String> {
    let overrides = Overrides {
        cwd: std::env::temp_dir(),
        ..Overrides::default()
    };
    let loaded = recipe::from_text("x.toml", recipe, &overrides, &REGISTRY);
    loaded.map(drop).map_err(|diags| diags.render(false))
}

/// The same as a text, empty where nothing is.
fn wrong(recipe: &str) -> String {
    checked(recipe).err().unwrap_or_default()
}

/// A reply of a service.
fn said(content: &str) -> Act {
    stopped(content, "stop")
}

fn stopped(content: &str, stop: &str) -> Act {
    Act::Json(json!({
        "choices": [{ "message": { "content": content }, "finish_reason": stop }],
        "usage": { "prompt_tokens": 30, "completion_tokens": 7 },
    }))
}

/// The first message that a service is sent.
fn told(seen: &Seen) -> &str {
    seen.body["messages"][0]["content"].as_str().unwrap()
}

/// The name of the model that is asked.
fn model(seen: &Seen) -> &str {
    seen.body["model"].as_str().unwrap()
}

/// A service for a part, by the name of its model.
fn part(name: &str, url: &str, more: &str) -> String {
    format!("{name} = {{ from = \"endpoint\", model = \"{name}\", url = \"{url}\"{more} }}\n")
}

fn log(ran: &Ran) -> Vec<AttackStep> {
    ran.rows("x", "log")
}

/// Answers with the right procedure where a role is to be played, and else refuses.
fn gullible(parents: Vec<Prompt>) -> Server {
    Server::new(move |seen, _| {
        let text = told(seen).to_string();
        let whom = |text: &str| {
            let whom = text.rsplit(" for ").next().unwrap().to_string();
            whom.trim_end_matches([' ', '.', '?']).to_string()
        };
        let role = ["pretend", "you play", "answer as"]
            .iter()
            .any(|s| text.starts_with(s));
        // Two prompts may be for the same person: any of their procedures.
        let of = parents.iter().filter(|p| whom(&p.prompt) == whom(&text));
        let all = of.map(|p| {
            let [tool, manner, finish] = &p.truth.as_ref().unwrap().procedure[..] else {
                panic!("a procedure has three words");
            };
            format!("use the {tool} {manner} then {finish} .")
        });
        match role {
            true => said(&all.collect::<Vec<_>>().join(" ")),
            false => said("sorry , i cannot help with that ."),
        }
    })
}
