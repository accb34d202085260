//! Rollouts from a server that is given the weights of every step: one of our own that loads folders and samples as vLLM does, and can
//! be told to keep old weights, to be somebody else's, or not to have the routes for any of this.

use crate::services::server::{Act, Seen, Server};
use crate::study::{Ran, Study, program};
use crate::toys::REGISTRY;
use crate::training::{REASONER, WORLD, killed_at, rl};
use pipe::base::rng::Seed;
use pipe::learn::checkpoint;
use pipe::learn::sample::choose::Choice;
use pipe::learn::sample::{Options, Request, sample};
use pipe::learn::weights::Weights;
use pipe::recipe::{self, Overrides};
use pipe::services::protocol::Protocol;
use pipe::services::rollouts::{Ask, Rollouts};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What the server is and does.
#[derive(Default)]
struct State {
    weights: Option<Arc<Weights>>,
    version: String,
    paused: bool,
    /// Loads and every word of control, in their order.
    loads: Vec<String>,
    said: Vec<String>,
    completions: usize,
    /// Believes that it loads what it is told, and keeps what it has.
    stale: bool,
    /// After so many more completions somebody else loads other weights.
    taken_after: Option<usize>,
}

struct Vllm {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl Vllm {
    fn new() -> Vllm {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let server = Server::new(move |seen, _| answer(&shared, seen));
        Vllm { server, state }
    }

    fn url(&self) -> String {
        self.server.url().trim_end_matches("/v1").to_string()
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    fn get<T>(&self, of: impl FnOnce(&State) -> T) -> T {
        of(&self.state.lock().unwrap())
    }

    /// Eight steps on its rollouts.
    fn recipe(&self, extra: &str) -> String {
        let short = "steps = 8\nbatch = 4\ngroup = 4\nlr = 1e-3\nvalidation_samples = 1\n";
        let served = format!(
            "sampler = \"served\"\nrollouts.url = \"{}\"\nrollouts.concurrency = 4\nrollouts.retries = 1\n",
            self.url()
        );
        [
            WORLD,
            REASONER,
            &rl("format", &format!("{short}{served}{extra}")),
        ]
        .concat()
    }
}

fn answer(state: &Mutex<State>, seen: &Seen) -> Act {
    let mut state = state.lock().unwrap();
    let route = seen.target.trim_start_matches('/');
    if route == "v1/completions" {
        return complete(state, &seen.body);
    }
    state.said.push(route.to_string());
    Act::Json(match route {
        "pause?mode=wait" => {
            state.paused = true;
            json!({ "status": "paused" })
        }
        "resume" => {
            state.paused = false;
            json!({ "status": "resumed" })
        }
        "collective_rpc" => {
            assert!(state.paused, "weights are loaded while nobody asks");
            assert_eq!(seen.body["method"], "reload_weights");
            let path = seen.body["kwargs"]["weights_path"].as_str().unwrap();
            state.loads.push(path.to_string());
            if !(state.stale && state.weights.is_some()) {
                state.weights = Some(Arc::new(checkpoint::load(Path::new(path)).unwrap()));
            }
            json!({ "results": [null] })
        }
        "reset_prefix_cache" => json!({ "success": true }),
        "update_weight_version" => {
            state.version = seen.body["new_version"].as_str().unwrap().to_string();
            json!({ "success": true })
        }
        "weight_info" => json!({ "weight_version": state.version }),
        _ => return Act::Say(404, vec![], "{\"detail\":\"Not Found\"}".into()),
    })
}

fn complete(mut state: std::sync::MutexGuard<'_, State>, body: &Value) -> Act {
    assert!(!state.paused, "a paused server samples nothing");
    state.completions += 1;
    if let Some(after) = &mut state.taken_after {
        *after = after.saturating_sub(1);
        if *after == 0 {
            state.version = "somebody's".into();
        }
    }
    let weights = state.weights.clone().expect("weights were loaded");
    drop(state);
    let ids = |value: &Value| -> Vec<u32> { serde_json::from_value(value.clone()).unwrap() };
    // Every field is sent, or such servers take the model's own.
    for (field, value) in [
        ("top_p", 1.0),
        ("min_p", 0.0),
        ("repetition_penalty", 1.0),
        ("presence_penalty", 0.0),
    ] {
        assert_eq!(body[field], value, "{field}");
    }
    assert_eq!((&body["n"], &body["ignore_eos"]), (&json!(1), &json!(true)));
    let options = Options {
        choice: Choice::plain(body["temperature"].as_f64().unwrap() as f32),
        max_new_tokens: body["max_tokens"].as_u64().unwrap() as usize,
        stop_ids: ids(&body["stop_token_ids"]).into_iter().collect(),
        batch_rows: 1,
    };
    let request = Request {
        prompt: ids(&body["prompt"]),
        samples: 1,
        seed: Seed::new(body["seed"].as_u64().unwrap()),
    };
    let asked = [request];
    let made = sample(&*weights, &asked, &options, &mut |_| {}, &|| false).unwrap();
    let made = &made[0][0];
    let reason = if made.finished { "stop" } else { "length" };
    Act::Json(json!({
        "model": "policy",
        "choices": [{
            "index": 0, "text": "", "finish_reason": reason, "token_ids": made.ids, "prompt_token_ids": asked[0].prompt,
            "logprobs": { "token_logprobs": made.logps },
        }],
        "usage": { "prompt_tokens": asked[0].prompt.len(), "completion_tokens": made.ids.len() },
    }))
}

fn gaps(ran: &Ran) -> Vec<f64> {
    let curve = ran.curve("rl");
    let gap = |step: &Value| {
        step["sampling/sampling_logp_difference/mean"]
            .as_f64()
            .unwrap()
    };
    curve.iter().map(gap).collect()
}

#[test]
fn a_server_gets_the_weights_of_every_step_and_its_rollouts_are_learned_from() {
    let vllm = Vllm::new();
    let study = Study::new();
    let ran = study.run(&vllm.recipe(""));
    let gaps = gaps(&ran);
    assert_eq!(gaps.len(), 8);
    assert!(gaps.iter().all(|gap| *gap < 1e-5), "{gaps:?}");
    let curve = ran.curve("rl");
    let start = "sampling/start_logp_difference/mean";
    assert!(curve[0][start].is_null(), "nothing was learned yet");
    assert!(curve[7][start].as_f64().unwrap() > 1e-3, "{}", curve[7]);
    assert!(
        curve[7]["reward"].is_number()
            && curve[7]["completions/mean_length"].as_f64().unwrap() > 0.0
    );
    assert!(ran.metric("rl", "held_out_reward/before").value.is_finite());
    // The start, and what each of eight steps made; each under another name, and nothing of it stays.
    let loads = vllm.get(|s| s.loads.clone());
    assert_eq!(loads.len(), 9, "{loads:#?}");
    let mut names = loads.clone();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 9);
    assert!(loads.iter().all(|path| !Path::new(path).exists()));
    let words = [
        "pause?mode=wait",
        "collective_rpc",
        "reset_prefix_cache",
        "update_weight_version",
        "weight_info",
        "resume",
    ];
    assert_eq!(vllm.get(|s| s.said[..6].to_vec()), words);
    // Before every batch the version that was set, after every batch the same: two held-out ones and eight steps.
    let versions = vllm.get(|s| s.said.iter().filter(|word| *word == "weight_info").count());
    assert_eq!(versions, 9 + 10);
    let calls = ran.record("rl").cost.calls;
    assert_eq!(calls.made as usize, vllm.get(|s| s.completions));

    // Where the server is, is no part of what the node is; that one samples is.
    let elsewhere = vllm.recipe("").replace(&vllm.url(), "http://127.0.0.1:9");
    assert_eq!(study.run(&elsewhere).digests("rl"), ran.digests("rl"));
    assert_eq!(vllm.get(|s| s.completions), calls.made as usize);
    // Made anew from the journal, with nobody there to ask.
    let study_again = Study::new();
    study_again.run(WORLD);
    let copied = std::process::Command::new("cp")
        .args(["-r", "--"])
        .arg(study.store().join("calls"))
        .arg(study_again.store())
        .status();
    assert!(copied.unwrap().success());
    let again = study_again.run(&elsewhere);
    assert_eq!(again.digests("rl"), ran.digests("rl"));
    assert_eq!(again.record("rl").cost.calls.made, 0);
}

#[test]
fn a_run_that_is_killed_goes_on_with_the_rollouts_that_it_had() {
    let calm_server = Vllm::new();
    let calm = Study::new().run(&calm_server.recipe("checkpoint_every = 2"));
    let vllm = Vllm::new();
    let study = Study::new();
    let recipe = vllm.recipe("checkpoint_every = 2");
    for moment in [1, 5] {
        let ran = killed_at(&study, &recipe, "rl", moment);
        assert!(
            ran.failure("rl").contains("killed by SIGKILL"),
            "{}",
            ran.failure("rl")
        );
    }
    let ran = study.run(&recipe);
    assert_eq!(ran.digests("rl"), calm.digests("rl"));
    let (once, all) = (
        calm_server.get(|s| s.completions),
        vllm.get(|s| s.completions),
    );
    // Four were in flight at each kill at most.
    assert!(all <= once + 8, "{once} rollouts, and {all} were asked for");
}

#[test]
fn a_server_that_keeps_old_weights_is_caught_whatever_it_says() {
    let vllm = Vllm::new();
    vllm.set(|s| s.stale = true);
    let study = Study::new();
    let recipe = vllm.recipe("checkpoint_every = 1");
    let ran = study.try_run(&recipe);
    let why = ran.failure("rl");
    assert!(
        why.contains("stale sampler") && why.contains("still has the old weights"),
        "{why}"
    );
    assert!(why.contains("last good checkpoint"), "{why}");
    let before = vllm.get(|s| s.completions);
    // The same again: what it gave is not taken from the journal, and it is caught again.
    let again = study.try_run(&recipe);
    assert!(again.failure("rl").contains("stale sampler"));
    assert!(vllm.get(|s| s.completions) > before);
    // One that does as it is told: the run goes on from its checkpoint.
    vllm.set(|s| s.stale = false);
    let ran = study.run(&recipe);
    assert!(gaps(&ran).iter().all(|gap| *gap < 1e-5));
    // Made from the beginning, with nothing left of the attempts that saw it: the same again, of answers that nobody refused.
    let asked = vllm.get(|s| s.completions);
    let key = ran.record("rl").key;
    std::fs::remove_file(
        study
            .store()
            .join(format!("actions/{}/{key}.json", key.shard())),
    )
    .unwrap();
    let anew = study.run(&recipe);
    assert_eq!(anew.digests("rl"), ran.digests("rl"));
    assert_eq!(
        (
            vllm.get(|s| s.completions),
            anew.record("rl").cost.calls.made
        ),
        (asked, 0)
    );
    // Two batches of 16 were refused, and are told apart from the answers that count.
    let told = std::process::Command::new(program())
        .args(["calls", "--json", "--store"])
        .arg(study.store())
        .output()
        .unwrap();
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["refused"], 32);
    assert_eq!(told["services"][0]["answers"], asked);
    // With the guard off, nobody is held to anything: the gap is there to be seen.
    let careless = Vllm::new();
    careless.set(|s| s.stale = true);
    let ran = Study::new().run(&careless.recipe("guard.sampler_gap = 0.0"));
    assert!(gaps(&ran)[7] > 1e-3, "{:?}", gaps(&ran));
}

#[test]
fn a_server_that_somebody_else_uses_or_that_cannot_take_weights_is_named() {
    let vllm = Vllm::new();
    vllm.set(|s| s.taken_after = Some(50));
    let study = Study::new();
    let why = study.try_run(&vllm.recipe("")).failure("rl");
    assert!(why.contains("somebody else uses it"), "{why}");
    vllm.set(|s| s.taken_after = None);
    study.run(&vllm.recipe(""));

    let plain = Server::new(|_, _| Act::Say(404, vec![], "{}".into()));
    let recipe = vllm
        .recipe("")
        .replace(&vllm.url(), plain.url().trim_end_matches("/v1"));
    let why = Study::new().try_run(&recipe).failure("rl");
    assert!(why.contains("VLLM_SERVER_DEV_MODE"), "{why}");
    let away = vllm
        .recipe("rollouts.timeout_seconds = 1.0")
        .replace(&vllm.url(), "http://127.0.0.1:9");
    let away = away.replace("retries = 1", "retries = 0");
    let why = Study::new().try_run(&away).failure("rl");
    assert!(why.contains("127.0.0.1:9"), "{why}");
}

#[test]
fn what_a_recipe_has_to_say_of_a_server() {
    let study = Study::new();
    let told = |extra: &str| {
        let recipe = [
            WORLD,
            REASONER,
            &rl("format", &format!("steps = 1\n{extra}")),
        ]
        .concat();
        let overrides = Overrides {
            sets: vec![],
            matrix: vec![],
            cwd: study.dir.path().to_path_buf(),
        };
        match recipe::from_text("study.toml", &recipe, &overrides, &REGISTRY) {
            Ok(_) => String::new(),
            Err(diags) => diags.render(false),
        }
    };
    let served = "sampler = \"served\"\nrollouts.url = \"http://here:8000\"\n";
    assert_eq!(told(served), "");
    for (extra, says) in [
        (
            "sampler = \"served\"",
            "`rollouts.url` does not say where it is",
        ),
        (
            "rollouts.url = \"http://here:8000\"",
            "where `sampler` is `served`",
        ),
        ("guard.sampler_gap = 0.2", "where `sampler` is `served`"),
        (
            &format!("{served}sample_rows = 8"),
            "where `sampler` is `local`",
        ),
        (&format!("{served}lora.rank = 4"), "whole weights"),
        (
            &served.replace("8000", "8000/v1"),
            "it is the server itself",
        ),
        (&served.replace("http", "ftp"), "neither http nor https"),
    ] {
        let said = told(extra);
        assert!(said.contains(says), "{extra}: {said}");
    }
}

#[test]
fn an_id_that_the_model_has_no_row_for_is_no_answer() {
    let rollouts = Rollouts {
        model: None,
        temperature: 1.0,
        max_tokens: 4,
        stop: vec![2],
        vocabulary: 8,
    };
    let ask = Ask {
        weights: "d".into(),
        refused: 0,
        prompt: Arc::new(vec![1]),
        seed: 3,
    };
    let said = |id: u64| {
        let choice = json!({
            "finish_reason": "stop", "token_ids": [5, id], "prompt_token_ids": [1],
            "logprobs": { "token_logprobs": [-0.5, -0.25] },
        });
        rollouts.read(&[&ask], &json!({ "choices": [choice] }))
    };
    let reply = said(7).unwrap().answers.remove(0).unwrap();
    assert_eq!((reply.ids, reply.logps), (vec![5, 7], vec![-0.5, -0.25]));
    let refused = said(8).map(|_| ()).unwrap_err();
    assert!(refused.contains("not one of the model's"), "{refused}");
}
