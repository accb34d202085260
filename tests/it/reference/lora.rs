//! Adapters against PEFT: logits with the adapter on, off and folded in, gradients by A and B, folders in and out.

use super::sft::sft_batch;
use super::{Golden, Gradients, Parity, pack, worst};
use crate::study::reference;
use pipe::learn::adapter::{Adapter, Net};
use pipe::learn::checkpoint;
use pipe::learn::decoder::{self, Keep, Packed, Workspace};
use pipe::learn::decoder_backward::backward;
use pipe::learn::objective::sft;
use pipe::learn::peft;
use pipe::learn::weights::Weights;
use std::path::Path;

pub fn load(folder: &Path) -> (Weights, Adapter) {
    let weights = checkpoint::load(&folder.join("models/qwen2")).expect("a checkpoint");
    let adapter = peft::load(&folder.join("models/lora"), &weights.config).expect("an adapter");
    (weights, adapter)
}

#[test]
fn logits_with_the_adapter_on_off_and_folded_in_agree_with_peft() {
    let Some(folder) = reference(&["lora.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("lora"));
    let (weights, adapter) = load(&folder);
    let net = Net {
        weights: &weights,
        adapter: Some(&adapter),
    };
    let merged = adapter.merged(&weights);
    let width = golden.shape("ids")[1];
    let (ids, starts) = pack(golden.get("ids"), &vec![1.0; width], width);
    let batch = Packed {
        ids: &ids,
        starts: &starts,
    };
    let mut parity = Parity::new("LoRA: logits", 2e-5);
    let mut workspace = Workspace::new();
    for (name, net) in [
        ("logits_adapter", net),
        ("logits_base", net.frozen()),
        ("logits_merged", (&merged).into()),
    ] {
        let logits = decoder::logits(net, batch, &mut workspace);
        parity.check(worst(&logits, golden.get(name)), name);
    }
    parity.report();
    let mut sizes = Parity::new("LoRA: l2 of merged matrices", 1e-5);
    for (name, l2) in golden.json["merged_l2"].as_object().expect("sizes") {
        let ours = merged.param(name).expect(name);
        let ours = ours.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
        let l2 = l2.as_f64().expect("a number");
        sizes.check((ours.sqrt() / l2 - 1.0).abs(), name);
    }
    sizes.report();
}

#[test]
fn gradients_of_a_and_b_agree_with_peft_whatever_is_kept() {
    let Some(folder) = reference(&["lora.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("lora"));
    let (weights, adapter) = load(&folder);
    let net = Net {
        weights: &weights,
        adapter: Some(&adapter),
    };
    let (ids, starts, scored) = sft_batch(&Golden::open(&folder.join("losses/sft")));
    let batch = Packed {
        ids: &ids,
        starts: &starts,
    };
    let mut workspace = Workspace::new();
    let mut run = |keep| {
        let tape = decoder::forward_keeping(net, batch, &scored, 1.0, keep, &mut workspace);
        let outcome = sft::sft(&tape.logp, &tape.entropy, &tape.greedy_hit, scored.len());
        let mut grads = vec![0.0; adapter.data.len()];
        let dlogp = &outcome.dlogp;
        backward(net, &tape, dlogp, None, &mut grads, &mut workspace);
        (outcome.loss, grads)
    };
    let (ours, grads) = run(Keep::All);
    let mut loss = Parity::new("LoRA: SFT loss", 2e-5);
    let expected = golden.json["sft_loss"].as_f64().expect("a loss");
    loss.check((ours / expected - 1.0).abs(), "sft");
    loss.report();
    let mut gradients = Gradients::new("LoRA");
    gradients.check(&adapter.params, &grads, &golden, "sft");
    gradients.report();
    let bits = |list: &[f32]| list.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&run(Keep::States).1), bits(&grads));
}

#[test]
fn a_peft_folder_comes_out_as_it_went_in() {
    let Some(folder) = reference(&["models/lora", "models/rr_lora"]) else {
        return;
    };
    for (model, name) in [("qwen2", "lora"), ("llama", "rr_lora")] {
        let config = checkpoint::load_config(&folder.join("models").join(model)).expect("a config");
        let adapter = peft::load(&folder.join("models").join(name), &config).expect("an adapter");
        let out = tempfile::tempdir().expect("a folder");
        peft::save(&adapter, out.path()).expect("saved");
        let again = peft::load(out.path(), &config).expect("loaded");
        assert_eq!(again, adapter, "{name}");
        let read = |folder: &Path| -> serde_json::Value {
            let text = std::fs::read_to_string(folder.join("adapter_config.json"));
            serde_json::from_str(&text.expect("a config")).expect("JSON")
        };
        // PEFT's own settings, where ours says anything of them.
        let (ours, theirs) = (read(out.path()), read(&folder.join("models").join(name)));
        for (key, value) in ours.as_object().expect("an object") {
            if key != "base_model_name_or_path" {
                assert_eq!(value, &theirs[key], "{name}: {key}");
            }
        }
    }
}
