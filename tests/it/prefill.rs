//! Beginnings that a response is given: encoded with the prompt as one text, in the slot that is asked for, and part of what is judged.

use crate::reference::Parity;
use crate::study::{Study, attack, reference};
use pipe::base::response::{self, Slot, split};
use pipe::base::rng::Seed;
use pipe::base::rows::{Completion, Prompt};
use pipe::kinds::shared::asked::asked;
use pipe::learn::checkpoint;
use pipe::learn::sample::choose::Choice;
use pipe::learn::sample::{Options, Request, sample};
use pipe::learn::tokenizer::Tokenizer;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).expect("a list of ids")
}

#[test]
fn prompt_and_beginning_are_encoded_and_continued_as_transformers_does() {
    let (Some(set), Some(models)) = (attack(&["prefill.json"]), reference(&["models"])) else {
        return;
    };
    let text = std::fs::read_to_string(set.join("prefill.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let mut encoded = Parity::new("prefill: ids of prompt and beginning", 0.0);
    let mut continued = Parity::new("prefill: greedy continuation", 0.0);
    let (mut trimmed, mut merged) = (0, 0);
    let mut folders = BTreeMap::new();
    for case in golden["cases"].as_array().unwrap() {
        let text = |name: &str| case[name].as_str().unwrap();
        let (prompt, begin) = (text("prompt"), text("begin"));
        let (tokenizer, weights) = folders.entry(text("model")).or_insert_with(|| {
            let folder = models.join("models").join(text("model"));
            let weights = checkpoint::load(&folder).unwrap();
            (Tokenizer::load(&folder).unwrap(), weights)
        });
        let name = format!("{} {prompt:?} {begin:?}", text("model"));
        let ours = asked(tokenizer, prompt, Some(begin)).unwrap();
        encoded.same(&ours.ids, &ids(&case["ids"]), &name);
        assert_eq!(ours.begun, begin, "{name}: templates trim nothing of it");
        trimmed += usize::from(case["template_keeps_it"] == false);
        // Piece by piece the ids are others where a token reaches from the prompt into the beginning.
        let alone = tokenizer.encode(begin).unwrap();
        assert_eq!(alone, ids(&case["begin_ids_alone"]), "{name}");
        let before = asked(tokenizer, prompt, None).unwrap().ids;
        let equal = [before, alone].concat() == ours.ids;
        encoded.same(Some(equal), case["parts_equal"].as_bool(), &name);
        merged += usize::from(!equal);
        let greedy = ids(&case["greedy_ids"]);
        if greedy.is_empty() {
            continue;
        }
        let request = Request {
            prompt: ours.ids,
            samples: 1,
            seed: Seed::new(0),
        };
        let options = Options {
            choice: Choice::greedy(),
            max_new_tokens: greedy.len(),
            stop_ids: BTreeSet::new(),
            batch_rows: 1,
        };
        let samples = sample(&*weights, &[request], &options, &mut |_| {}, &|| false).unwrap();
        continued.same(&samples[0][0].ids, &greedy, &name);
    }
    println!("prefill: templates would trim {trimmed} beginnings; {merged} merge with the prompt");
    encoded.report();
    continued.report();
}

#[test]
fn a_beginning_stands_in_its_slot_and_is_read_there() {
    for (slot, begun, reasoning, answer) in [
        (Slot::Response, "so", None, "so it is"),
        (Slot::Reasoning, "<think>\nso", Some("so it is"), ""),
        (
            Slot::Answer,
            "<think>\n\n</think>\n\nso",
            Some(""),
            "so it is",
        ),
    ] {
        assert_eq!(response::begun(slot, "so"), begun);
        let parts = split(&format!("{begun} it is"));
        assert_eq!(parts.reasoning.as_deref(), reasoning, "{slot:?}");
        assert_eq!(parts.answer, answer, "{slot:?}");
    }
    // The reasoning may be closed by what it is given.
    let closed = response::begun(Slot::Reasoning, "It is fine.\n</think>\n\nuse");
    let parts = split(&closed);
    assert_eq!(
        (parts.reasoning.as_deref(), &*parts.answer),
        (Some("It is fine."), "use")
    );
}

#[test]
fn every_response_of_a_node_begins_with_what_it_is_given() {
    let study = Study::new();
    let node = |name: &str, more: &str| {
        format!(
            "[node.{name}]\nkind = \"generate\"\nin = {{ model = \"model\", prompts = \"prompts.eval\" }}\n\
             max_new_tokens = 4\n{more}\n"
        )
    };
    let ran = study.run(&format!(
        r#"
[node.model]
kind = "world-model"
hidden_size = 16
layers = 1
heads = 2
intermediate_size = 32
[node.prompts]
kind = "world-prompts"
sft = 4
rl = 3
validation = 3
eval = 3
{}{}{}"#,
        node("plain", "prefill = \"use the\""),
        node(
            "thought",
            "prefill = \"i can help\"\nprefill_slot = \"reasoning\""
        ),
        node(
            "answered",
            "prefill = \"use the\"\nprefill_slot = \"answer\""
        ),
    ));
    let prompts: Vec<Prompt> = ran.rows("prompts", "eval");
    for (name, begun) in [
        ("plain", "use the"),
        ("thought", "<think>\ni can help"),
        ("answered", "<think>\n\n</think>\n\nuse the"),
    ] {
        let rows: Vec<Completion> = ran.rows(name, "completions");
        assert_eq!(rows.len(), prompts.len());
        for row in rows {
            assert!(
                row.response.starts_with(begun),
                "{name}: {:?}",
                row.response
            );
            assert!(row.response.len() > begun.len(), "{name} writes more");
            // Tokens are those that the model wrote.
            assert!(row.tokens <= 4, "{name}: {}", row.tokens);
        }
    }
}
