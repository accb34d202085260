//! Adapters through the engine: what trains, the output that is there only with one, folders in and out, rerouting.

use crate::study::Study;
use crate::training::{REASONER, WORLD, killed_at, rl};
use pipe::kinds::REGISTRY;
use pipe::learn::adapter::Net;
use pipe::learn::decoder::{self, Packed, Workspace};
use pipe::learn::sample::choose::Choice;
use pipe::learn::sample::{self, Request};
use pipe::learn::{checkpoint, peft};
use pipe::recipe::{self, Overrides};
use std::collections::BTreeSet;

/// RL and SFT of adapters on the reasoner, short.
fn chain(extra: &str) -> String {
    let short =
        "steps = 6\nbatch = 4\ngroup = 4\nlr = 1e-2\nvalidation_samples = 1\nlora.rank = 4\n";
    let rl = rl("format", &format!("{short}{extra}"));
    let sft = "[node.tuned]\nkind = \"sft\"\nin = { model = \"reasoner\", conversations = \"traces\" }\n\
               lora.rank = 2\nlora.targets = [\"q_proj\", \"down_proj\"]\nlr = 1e-2\nbatch = 16\nepochs = 1\n";
    [WORLD, REASONER, &rl, sft, extra].concat()
}

fn diagnosis(recipe: &str) -> String {
    let overrides = Overrides {
        sets: vec![],
        matrix: vec![],
        cwd: ".".into(),
    };
    match recipe::from_text("study.toml", recipe, &overrides, &REGISTRY) {
        Ok(_) => panic!("the recipe is wrong"),
        Err(diags) => diags.render(false),
    }
}

#[test]
fn an_adapter_trains_to_the_same_bytes_on_any_threads_and_after_kills() {
    let recipe = chain("checkpoint_every = 2");
    let calm = Study::new().run(&recipe);
    let one = Study::new().run_with(&recipe, |s| s.capacity.threads = 1, |_| {});
    let study = Study::new();
    for moment in [1, 3] {
        killed_at(&study, &recipe, "rl", moment);
    }
    let killed = study.run(&recipe);
    for node in ["rl", "tuned"] {
        assert_eq!(one.digests(node), calm.digests(node), "{node}");
        assert_eq!(killed.digests(node), calm.digests(node), "{node}");
    }
    assert!(killed.said("rl", "resumed at step"), "{:?}", killed.said);
}

#[test]
fn a_trained_model_is_its_base_with_the_adapter_folded_in() {
    let recipe = chain("");
    let study = Study::new();
    let ran = study.run(&recipe);
    let folder = study.dir.path();
    for (node, output) in [
        ("reasoner", "model"),
        ("rl", "model"),
        ("rl", "adapter"),
        ("tuned", "adapter"),
    ] {
        ran.export(node, output, &folder.join(format!("{node}-{output}")));
    }
    let base = checkpoint::load(&folder.join("reasoner-model")).unwrap();
    let adapter = peft::load(&folder.join("rl-adapter"), &base.config).unwrap();
    let model = checkpoint::load(&folder.join("rl-model")).unwrap();
    assert_eq!(adapter.merged(&base).data, model.data);
    assert_ne!(base.data, model.data, "it learned");
    let few = peft::load(&folder.join("tuned-adapter"), &base.config).unwrap();
    let named: BTreeSet<&str> = few
        .params
        .iter()
        .map(|p| p.name.rsplit('.').nth(2).unwrap())
        .collect();
    assert_eq!(named, ["q_proj", "down_proj"].into());

    // The same folder as an artifact from elsewhere, merged by a node.
    let import = "[node.import]\nkind = \"local-adapter\"\npath = \"rl-adapter\"\nin = { model = \"reasoner\" }\n\
                  [node.merged]\nkind = \"merge\"\nin = { model = \"reasoner\", adapter = \"import\" }\n";
    let again = study.run(&[&recipe, import].concat());
    assert_eq!(
        again.digests("import")["adapter"],
        again.digests("rl")["adapter"]
    );
    assert_eq!(
        again.digests("merged")["model"],
        again.digests("rl")["model"]
    );
}

#[test]
fn a_sampler_with_an_adapter_says_what_the_trainer_says() {
    let study = Study::new();
    let ran = study.run(&chain(""));
    let folder = study.dir.path();
    ran.export("reasoner", "model", &folder.join("base"));
    ran.export("rl", "adapter", &folder.join("adapter"));
    let weights = checkpoint::load(&folder.join("base")).unwrap();
    let adapter = peft::load(&folder.join("adapter"), &weights.config).unwrap();
    let net = Net {
        weights: &weights,
        adapter: Some(&adapter),
    };
    let request = Request {
        prompt: vec![5, 9, 3, 12],
        samples: 3,
        seed: pipe::base::rng::Seed::new(1),
    };
    let options = sample::Options {
        choice: Choice::plain(0.8),
        max_new_tokens: 20,
        stop_ids: BTreeSet::new(),
        batch_rows: 8,
    };
    let requests = [request];
    let groups = sample::sample(net, &requests, &options, &mut |_| {}, &|| false).unwrap();
    for sample in &groups[0] {
        let ids = [&requests[0].prompt[..], &sample.ids].concat();
        let starts = [0, ids.len()];
        let batch = Packed {
            ids: &ids,
            starts: &starts,
        };
        let scored: Vec<usize> = (4..ids.len()).collect();
        let trainer = decoder::score(net, batch, &scored, 0.8, &mut Workspace::new());
        let base = decoder::score(net.frozen(), batch, &scored, 0.8, &mut Workspace::new());
        let off = |a: &[f32], b: &[f32]| {
            let gaps = a.iter().zip(b).map(|(a, b)| (a - b).abs());
            gaps.fold(0.0f32, f32::max)
        };
        assert!(off(&sample.logps, &trainer.logp) < 1e-4);
        assert!(off(&sample.logps, &base.logp) > 1e-3, "the adapter is on");
    }
}

#[test]
fn recomputed_blocks_give_the_same_bytes() {
    let kept = Study::new().run(&chain(""));
    let again = Study::new().run(&chain("recompute = true"));
    for node in ["rl", "tuned"] {
        assert_eq!(again.digests(node), kept.digests(node), "{node}");
        assert_eq!(
            again.record(node).key,
            kept.record(node).key,
            "not in the key"
        );
    }
}

#[test]
fn an_adapter_that_nobody_trains_is_missed_at_its_edge() {
    let text = [
        WORLD,
        REASONER,
        "[node.merged]\nkind = \"merge\"\nin = { model = \"reasoner\", adapter = \"reasoner.adapter\" }\n",
    ]
    .concat();
    let shown = diagnosis(&text);
    assert!(
        shown.contains("`reasoner` gives no `adapter` as it is set"),
        "{shown}"
    );
    assert!(shown.contains("write `lora = { rank = 8 }`"), "{shown}");
    let rl = rl(
        "format",
        "steps = 1\nlora.rank = 4\nlora.targets = [\"head\"]",
    );
    let shown = diagnosis(&[WORLD, REASONER, &rl].concat());
    assert!(
        shown.contains("`head` is no linear layer of a block"),
        "{shown}"
    );
}

#[test]
fn a_folder_that_asks_for_more_than_lora_is_refused_by_name() {
    let study = Study::new();
    let ran = study.run(&chain(""));
    let folder = study.dir.path();
    ran.export("reasoner", "model", &folder.join("base"));
    ran.export("rl", "adapter", &folder.join("adapter"));
    let config = checkpoint::load_config(&folder.join("base")).unwrap();
    let path = folder.join("adapter/adapter_config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    for (was, is, words) in [
        (
            "\"use_dora\": false",
            "\"use_dora\": true",
            "`use_dora` is true",
        ),
        (
            "\"bias\": \"none\"",
            "\"bias\": \"all\"",
            "only \"none\" is supported",
        ),
        ("\"LORA\"", "\"IA3\"", "only LORA is supported"),
        ("\"r\": 4", "\"r\": 3", "r = 3 ask for"),
        ("\"r\": 4", "\"r\": 0", "`r` is 0, not a rank"),
        (
            "\"r\": 4",
            "\"rank_pattern\": {\"q\": 2}, \"r\": 4",
            "`rank_pattern` is",
        ),
    ] {
        assert!(text.contains(was), "{was}");
        std::fs::write(&path, text.replace(was, is)).unwrap();
        let error = format!(
            "{:#}",
            peft::load(&folder.join("adapter"), &config).unwrap_err()
        );
        assert!(error.contains(words), "{words} in: {error}");
    }
    std::fs::write(&path, text).unwrap();
    let path = folder.join("adapter/adapter_model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let error = format!(
        "{:#}",
        peft::load(&folder.join("adapter"), &config).unwrap_err()
    );
    assert!(error.contains("is no whole safetensors file"), "{error}");
}

#[test]
fn rerouting_bends_the_harmful_and_leaves_the_rest() {
    let recipe = [
        WORLD,
        REASONER,
        r#"
[node.asked]
kind = "generate"
in = { model = "reasoner", prompts = "mix" }
max_new_tokens = 40
[node.kept]
kind = "generate"
in = { model = "reasoner", prompts = "prompts.eval" }
max_new_tokens = 40
[node.breaker]
kind = "rerouting"
in = { model = "reasoner", harmful = "asked", retain = "kept" }
layers = [1]
steps = 40
batch = 4
lr = 6e-3
lora.rank = 4
checkpoint_every = 10
"#,
    ]
    .concat();
    let study = Study::new();
    killed_at(&study, &recipe, "breaker", 15);
    let ran = study.run(&recipe);
    let curve = ran.curve("breaker");
    let value = |step: usize, name: &str| curve[step][name].as_f64().unwrap();
    assert_eq!(curve.len(), 40);
    // A fresh adapter changes next to nothing.
    assert!((value(0, "reroute") - 1.0).abs() < 2e-2, "{}", curve[0]);
    assert!(value(0, "retain") < 1.0, "{}", curve[0]);
    assert_eq!(value(0, "coefficient/retain"), 0.0);
    assert_eq!(value(20, "coefficient/reroute"), 7.5);
    assert!(value(39, "reroute") < 0.7, "{}", curve[39]);
    let calm = Study::new().run(&recipe);
    assert_eq!(ran.digests("breaker"), calm.digests("breaker"));
}
