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
use pipe::recipe::study::Study as Loaded;
use pipe::recipe::{self, Overrides};
use pipe::world::teacher;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const WORLD: &str = r#"
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
"#;

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
        "{WORLD}{}{}{}",
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
    let known = r#"{"eval-harmful-0000": "so", "harmless-0000": "here"}"#;
    let path = study.file("begun.json", known);
    let own = [
        node(
            "world",
            "prefill_from = \"world\"\nprefill_slot = \"reasoning\"",
        ),
        node(
            "listed",
            &format!(
                "prefill_from = \"targets\"\ntargets = \"{}\"\nprefill = \"tell\"\nprefill_slot = \"answer\"",
                path.display()
            ),
        ),
    ];
    let ran_own = study.run(&[WORLD, &own.concat()].concat());
    for (name, slot) in [("world", Slot::Reasoning), ("listed", Slot::Answer)] {
        for (row, prompt) in ran_own
            .rows::<Completion>(name, "completions")
            .iter()
            .zip(&prompts)
        {
            let text = match (name, prompt.id.as_str()) {
                ("world", _) => teacher::misled(prompt).unwrap(),
                (_, "eval-harmful-0000") => "so".into(),
                _ => "tell".into(),
            };
            let begun = response::begun(slot, &text);
            assert!(
                row.response.starts_with(&begun),
                "{}: {:?}",
                prompt.id,
                row.response
            );
        }
    }
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

/// A beginning that is called an attack is measured as one, and a claim may be about it; one that is not is none.
#[test]
fn a_beginning_may_be_an_attack() {
    let study = Study::new();
    let node = |name: &str, attack: &str| {
        format!(
            "[node.{name}]\nkind = \"generate\"\nin = {{ model = \"model\", prompts = \"prompts.eval\" }}\nmax_new_tokens = 4\n\
             prefill = \"use the\"\nprefill_slot = \"answer\"\n{attack}\n\
             [node.{name}-eval]\nkind = \"evaluate\"\nin = {{ completions = \"{name}\" }}\n"
        )
    };
    let text = [
        WORLD,
        &node("begun", "attack = \"prefill\""),
        &node("forced", ""),
    ]
    .concat();
    let ran = study.run(&text);
    let rows: Vec<Completion> = ran.rows("begun", "completions");
    assert!(
        rows.iter()
            .all(|row| row.prompt.labels["attack"] == "prefill")
    );
    let harmful = rows
        .iter()
        .filter(|r| r.prompt.class.word() == "harmful")
        .count();
    assert_eq!(
        ran.metric("begun-eval", "success/attack/prefill").n,
        harmful
    );
    let plain: Vec<Completion> = ran.rows("forced", "completions");
    assert!(
        plain
            .iter()
            .all(|row| !row.prompt.labels.contains_key("attack"))
    );
    let told = |node: &str| {
        let claim = format!(
            "[[claim]]\nabout = \"x\"\nnode = \"{node}\"\nexpect = [{{ metric = \"defense/attack/prefill\", is = \"lower\", \
             than = \"defense\" }}]\n"
        );
        study.file("claim.toml", format!("{text}{claim}"));
        let overrides = Overrides {
            cwd: study.dir.path().into(),
            ..Overrides::default()
        };
        let read = Loaded::load(&["claim.toml".into()], &overrides, &pipe::kinds::REGISTRY);
        read.err()
            .map(|diags| diags.render(false))
            .unwrap_or_default()
    };
    assert_eq!(told("begun-eval"), "");
    let missing = told("forced-eval");
    assert!(missing.contains("has the label `attack`"), "{missing}");
}

#[test]
fn a_recipe_says_which_beginnings_nobody_knows() {
    let node = |prompts: &str, lines: &str| {
        format!(
            "{WORLD}[node.asks]\nkind = \"prompts-file\"\npath = \"asks.csv\"\n[node.it]\nkind = \"generate\"\n\
             in = {{ model = \"model\", prompts = \"{prompts}\" }}\n{lines}\n"
        )
    };
    for (prompts, lines, said) in [
        (
            "asks",
            "prefill_from = \"world\"",
            "only of prompts of the built-in world it is known what an attacker wants said",
        ),
        (
            "prompts.eval",
            "prefill_from = \"targets\"",
            "`targets` names no file of beginnings",
        ),
        (
            "prompts.eval",
            "prefill_from = \"world\"\nprefill = \"so\"",
            "`prefill` acts only where `prefill_from` is not `world`",
        ),
        (
            "prompts.eval",
            "targets = \"x.json\"",
            "`targets` acts only where `prefill_from` is `targets`",
        ),
    ] {
        let overrides = Overrides {
            sets: vec![],
            matrix: vec![],
            cwd: std::env::temp_dir(),
        };
        let text = node(prompts, lines);
        let loaded = recipe::from_text("x.toml", &text, &overrides, &pipe::kinds::REGISTRY);
        let told = loaded.map(drop).map_err(|d| d.render(false)).unwrap_err();
        assert!(told.contains(said), "{lines}: {told}");
    }
    // Of a file that lacks a prompt, and no prompt of the world.
    let study = Study::new();
    let path = study.file("begun.json", r#"{"other": "so"}"#);
    let asks = study.file("asks.csv", "id,prompt,label\none,hello,unsafe\n");
    let lines = format!(
        "prefill_from = \"targets\"\ntargets = \"{}\"",
        path.display()
    );
    let text = node("asks", &lines).replace(
        "path = \"asks.csv\"",
        &format!("path = \"{}\"\nharmful = [\"unsafe\"]", asks.display()),
    );
    let told = study.try_run(&text).failure("it");
    assert!(
        told.contains("prompt one") && told.contains("it has no target"),
        "{told}"
    );
}

#[test]
fn a_rule_over_beginnings_judges_no_answers_that_were_begun() {
    let told = |prefill: &str, scorer: &str| {
        let text = format!(
            "{WORLD}[node.it]\nkind = \"generate\"\nin = {{ model = \"model\", prompts = \"prompts.eval\" }}\n{prefill}\n\
             [node.judged]\nkind = \"evaluate\"\nin = {{ completions = \"it\" }}\nscorer = \"{scorer}\"\n"
        );
        let overrides = Overrides {
            sets: vec![],
            matrix: vec![],
            cwd: std::env::temp_dir(),
        };
        let loaded = recipe::from_text("x.toml", &text, &overrides, &pipe::kinds::REGISTRY);
        loaded.map(drop).map_err(|d| d.render(false))
    };
    let answer = "prefill = \"use the\"";
    for scorer in ["refusal", "refusal_unicode"] {
        let said = told(answer, scorer).unwrap_err();
        let wanted = format!(
            "`{scorer}` reads how an answer begins, and `it` begins them all with \"use the\""
        );
        assert!(said.contains(&wanted), "{said}");
        assert!(said.contains("`refusal_anywhere`"), "{said}");
        // What is begun here is the reasoning; what is read is the answer.
        for prefill in [
            "",
            "prefill = \"<think>\\n\"",
            "prefill = \"that is safe\"\nprefill_slot = \"reasoning\"",
        ] {
            assert_eq!(told(prefill, scorer), Ok(()), "{prefill}");
        }
    }
    assert_eq!(told(answer, "refusal_anywhere"), Ok(()));
    assert_eq!(told(answer, "world"), Ok(()));
}
