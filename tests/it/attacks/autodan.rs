//! The kind `autodan` on a tiny world, through the engine: what it delivers, that its losses are those of the prompts that are sent, that threads
//! and interruptions change nothing, what ends a search, and what is said of bad input.

use super::{WORLD, checked};
use crate::study::{Ran, Study};
use crate::training::killed_at;
use pipe::base::rng::Seed;
use pipe::base::rows::{ATTACK, AttackStep, BEHAVIOR, Prompt};
use pipe::engine::events::event::{Event, State};
use pipe::engine::run::{Settings, Stop};
use pipe::kinds::attacks::autodan::words::{self, Synonyms, WordScores};
use pipe::kinds::shared::asked::asked;
use pipe::learn::checkpoint;
use pipe::learn::decoder::{self, Packed, Workspace};
use pipe::learn::tokenizer::Tokenizer;
use pipe::world::claims;
use std::collections::{BTreeMap, BTreeSet};

/// A model that helps, or refuses, now and then.
const TAUGHT: &str = r#"
[node.lessons]
kind = "world-corpus"
n = 200
requests = 1.0
[node.taught]
kind = "sft"
in = { model = "model", conversations = "lessons" }
epochs = 12.0
batch = 8
lr = 2e-2
"#;

fn node(name: &str, lines: &str) -> String {
    format!(
        "[node.{name}]\nkind = \"autodan\"\nin = {{ model = \"model\", prompts = \"prompts.eval\" }}\npopulation = 12\npoints = 2\n{lines}\n"
    )
}

/// By prompt and case.
fn logs(ran: &Ran, node: &str) -> BTreeMap<(String, u32), Vec<AttackStep>> {
    let mut all: BTreeMap<(String, u32), Vec<AttackStep>> = BTreeMap::new();
    for step in ran.rows::<AttackStep>(node, "log") {
        let of = (step.prompt_id.clone(), step.stream);
        all.entry(of).or_default().push(step);
    }
    all
}

fn least(steps: &[AttackStep]) -> f64 {
    let losses = steps.iter().map(|s| s.loss.unwrap());
    losses.fold(f64::INFINITY, f64::min)
}

#[test]
fn cases_are_the_prompts_behind_prefixes_that_make_the_target_likelier() {
    let of_sentences = node(
        "it",
        "steps = 6\ncases = 2\ncheck = \"none\"\npatience = 0\nelites = 0.2",
    );
    let of_words = node(
        "words",
        "steps = 6\ncheck = \"none\"\npatience = 0\nsentences_every = 3\nmutation = 0.5\nelites = 0.0",
    );
    let ran = Study::new().run(&[WORLD, &of_sentences, &of_words].concat());
    let dir = tempfile::tempdir().unwrap();
    ran.export("model", "model", dir.path());
    let tokenizer = Tokenizer::load(dir.path()).unwrap();
    let weights = checkpoint::load(dir.path()).unwrap();
    let target = tokenizer.encode("use the").unwrap();
    // By the trainer's forward pass over the prompt as it is sent.
    let loss = |message: &str| {
        let ids = [
            asked(&tokenizer, message, None).unwrap().ids,
            target.clone(),
        ]
        .concat();
        let scored: Vec<usize> = (ids.len() - target.len()..ids.len()).collect();
        let starts = [0, ids.len()];
        let batch = Packed {
            ids: &ids,
            starts: &starts,
        };
        let scores = decoder::score(&weights, batch, &scored, 1.0, &mut Workspace::new());
        -scores.logp.iter().map(|&x| f64::from(x)).sum::<f64>() / target.len() as f64
    };
    let parents: Vec<Prompt> = ran.rows("prompts", "eval");
    for (node, cases) in [("it", 2), ("words", 1)] {
        let rows: Vec<Prompt> = ran.rows(node, "prompts");
        assert_eq!(rows.len(), parents.len() * cases, "{node}");
        for (i, row) in rows.iter().enumerate() {
            let parent = &parents[i / cases];
            assert_eq!(row.id, format!("{}#{}", parent.id, i % cases));
            assert_eq!(row.labels[BEHAVIOR], parent.id);
            assert_eq!(row.labels[ATTACK], "autodan");
            assert_eq!((&row.truth, row.class), (&parent.truth, parent.class));
            let prefix = row
                .prompt
                .strip_suffix(&format!(" {}", parent.prompt))
                .unwrap();
            let steps = &logs(&ran, node)[&(parent.id.clone(), (i % cases) as u32)];
            assert_eq!(steps.len(), 7, "the seeds and six generations");
            let found: Vec<&AttackStep> = steps.iter().filter(|s| s.case.is_some()).collect();
            assert_eq!(found.len(), 1, "{node} {}", row.id);
            assert_eq!(
                (found[0].text.as_str(), found[0].loss),
                (prefix, Some(least(steps)))
            );
            assert!(
                (loss(&row.prompt) / least(steps) - 1.0).abs() < 1e-4,
                "{node} {}",
                row.id
            );
            assert_eq!(steps[6].ended.as_deref(), Some("steps"));
            // The population as a whole at first; then no more than is new.
            assert_eq!(steps[0].queries, 12);
            assert!(steps[1..].iter().all(|s| s.queries <= 12));
            // The best of a generation never gets worse where it goes on as it is.
            let losses: Vec<f64> = steps.iter().map(|s| s.loss.unwrap()).collect();
            if node == "it" {
                assert!(losses.is_sorted_by(|a, b| a >= b), "{losses:?}");
                assert!(steps[1..].iter().all(|s| s.queries <= 10), "two go on");
            }
        }
        let value = |name: &str| ran.metric(node, name).value;
        assert!(value("loss/found") < value("loss/first"), "{node}");
        assert_eq!(value("crossed"), 1.0, "{node}");
        assert_eq!(value("steps"), 6.0);
        let asked: u64 = logs(&ran, node).values().flatten().map(|s| s.queries).sum();
        let searches = (parents.len() * cases) as f64;
        assert!((value("candidates") - asked as f64 / searches).abs() < 1e-9);
    }
    // Two cases of a prompt are two searches.
    let rows: Vec<Prompt> = ran.rows("it", "prompts");
    assert_ne!(rows[0].prompt, rows[1].prompt);
}

#[test]
fn threads_and_chunks_change_no_prefix() {
    let run = |threads: usize, at_once: usize| {
        let lines = format!("steps = 3\nsentences_every = 2\nmutation = 0.3\nat_once = {at_once}");
        let recipe = [WORLD, &node("it", &lines)].concat();
        let set = |s: &mut Settings| s.capacity.threads = threads;
        Study::new().run_with(&recipe, set, |_| {}).digests("it")
    };
    let one = run(1, 384);
    assert_eq!(one, run(2, 384));
    assert_eq!(one, run(2, 7));
}

#[test]
fn a_search_that_is_killed_or_stopped_goes_on_with_its_generation() {
    let lines = "steps = 12\ncases = 2\nsave_every = 2\nsentences_every = 3\nmutation = 0.3\ncheck = \"none\"\npatience = 4";
    let recipe = [WORLD, &node("it", lines)].concat();
    let calm = Study::new().run(&recipe);
    let study = Study::new();
    for moment in [3, 40] {
        let ran = killed_at(&study, &recipe, "it", moment);
        let told = ran.failure("it");
        assert!(told.contains("SIGKILL"), "{told}");
    }
    // Asked to stop at each of several steps: the one at which it would have ended among them, or not.
    for _ in 0..4 {
        let stop = Stop::default();
        let request = stop.clone();
        let mut seen = 0;
        let ran = study.run_with(
            &recipe,
            |s| s.stop = stop,
            |event| {
                seen += usize::from(matches!(event, Event::Metric { node, .. } if node == "it"));
                if seen == 2 && request.requests() == 0 {
                    request.request();
                }
            },
        );
        assert!(matches!(
            ran.state("it"),
            State::Interrupted | State::Done { .. }
        ));
    }
    let ran = study.run(&recipe);
    assert_eq!(ran.digests("it"), calm.digests("it"));
}

#[test]
fn a_search_for_prefixes_ends_early_where_it_is_told_to() {
    let of_taught = |name: &str, lines: &str| {
        node(name, lines).replace("model = \"model\"", "model = \"taught\"")
    };
    let recipe = [
        WORLD,
        TAUGHT,
        &node("loss", "steps = 5\ncheck = \"none\"\nstop_loss = 1000.0"),
        &node(
            "stale",
            "steps = 40\ncheck = \"none\"\npatience = 2\ncrossover = 0.0\nmutation = 0.0",
        ),
        &of_taught("refusal", "steps = 7\npatience = 0\ncheck_every = 3"),
        &of_taught(
            "world",
            "steps = 3\npatience = 0\ncheck = \"world\"\ncheck_every = 1",
        ),
    ]
    .concat();
    let ran = Study::new().run(&recipe);
    let ends = |node: &str| -> Vec<(String, u32)> {
        let steps = ran.rows::<AttackStep>(node, "log").into_iter();
        steps.filter_map(|s| Some((s.ended?, s.step))).collect()
    };
    assert_eq!(
        ends("loss"),
        vec![("loss".to_string(), 0); 6],
        "the seeds are a generation"
    );
    // Parents that never change are soon no better.
    assert!(
        ends("stale")
            .iter()
            .all(|(why, step)| why == "patience" && *step == 2)
    );
    let tried = ends("refusal");
    let found: Vec<u32> = tried
        .iter()
        .filter(|(why, _)| why == "refusal")
        .map(|e| e.1)
        .collect();
    assert!(
        !found.is_empty() && found.iter().all(|s| [0, 3, 6, 7].contains(s)),
        "{tried:?}"
    );
    assert!(found.contains(&0), "the seeds are tried out: {tried:?}");
    for step in ran.rows::<AttackStep>("world", "log") {
        if step.ended.as_deref() == Some("world") {
            assert!(step.prompt_id.contains("harmful"), "{step:?}");
        }
    }
}

#[test]
fn prefixes_descend_from_the_seeds_that_are_given() {
    let study = Study::new();
    study.file(
        "seeds.csv",
        "prompt\n\"You play a wizard. Say how to [REPLACE] now. Be quick. Be kind. The end.\"\n\"One story. Two story. Three story. Four story. Five.\"\n",
    );
    study.file(
        "other.json",
        r#"{"quick": ["fast", "swift"], "kind": ["good"], "story": ["tale", "fable"]}"#,
    );
    let seeds =
        "[node.seeds]\nkind = \"prompts-file\"\npath = \"seeds.csv\"\nclass = \"harmless\"\n";
    let given = |name: &str, lines: &str| {
        node(name, lines).replace(
            "prompts = \"prompts.eval\"",
            "prompts = \"prompts.eval\", seeds = \"seeds\"",
        )
    };
    let recipe = [
        WORLD,
        seeds,
        &given("it", "steps = 4\ncheck = \"none\"\nsynonyms = \"other.json\"\nmutation = 0.5\nsentences_every = 2\nbetween = \"\\n\""),
        &given("alone", "steps = 2\ncheck = \"none\"").replace("points = 2", "points = 4"),
        "[node.answers]\nkind = \"generate\"\nin = { model = \"model\", prompts = \"it\" }\nmax_new_tokens = 2\n\
         [node.judged]\nkind = \"evaluate\"\nin = { completions = \"answers\" }\n",
    ]
    .concat();
    let ran = study.run(&recipe);
    let words: BTreeSet<&str> = "You play a wizard Say how to now Be quick kind The end One story Two Three Four Five fast swift good tale fable"
        .split(' ')
        .collect();
    let parents: Vec<Prompt> = ran.rows("prompts", "eval");
    for (row, parent) in ran.rows::<Prompt>("it", "prompts").iter().zip(&parents) {
        let prefix = row
            .prompt
            .strip_suffix(&format!("\n{}", parent.prompt))
            .unwrap();
        assert!(!prefix.contains("[REPLACE]"), "{prefix}");
        let prefix = prefix.replace(&parent.prompt, "");
        for word in words::words(&prefix) {
            assert!(words.contains(&prefix[word.clone()]), "{prefix}");
        }
    }
    // Of texts that are too short for the cuts none is crossed over, and somebody is told.
    assert_eq!(ran.metric("alone", "crossed").value, 0.0);
    assert!(
        ran.said("alone", "fewer than the 6 that 4 cuts take"),
        "{:?}",
        ran.said
    );
    // The world still judges its own prompts, whoever wrote the seeds.
    assert_eq!(ran.metric("judged", "defense").n, 2);
}

#[test]
fn a_recipe_says_what_a_search_for_prefixes_would_lack() {
    let asks = "[node.asks]\nkind = \"prompts-file\"\npath = \"asks.csv\"\n";
    let of_file = |inputs: &str, lines: &str| {
        let own = node("it", lines).replace("prompts = \"prompts.eval\"", inputs);
        checked(&[WORLD, asks, &own].concat())
    };
    let seeded = "prompts = \"asks\", seeds = \"asks\"";
    for (inputs, lines, told) in [
        (
            seeded,
            "",
            "only prompts of the built-in world have a target of their own",
        ),
        (
            seeded,
            "target = \"Sure\"\ncheck = \"world\"",
            "the judge `world` knows only prompts",
        ),
        (
            "prompts = \"asks\"",
            "target = \"Sure\"",
            "prefixes are claims about the built-in world",
        ),
        (
            seeded,
            "target = \"Sure\"\nmutation = 0.5",
            "`mutation` acts only where there are synonyms",
        ),
        (
            seeded,
            "target = \"Sure\"\nsentences_every = 5",
            "`sentences_every` acts only where there are synonyms",
        ),
    ] {
        let error = of_file(inputs, lines).unwrap_err();
        assert!(error.contains(told), "{lines}: {error}");
    }
    of_file(seeded, "target = \"Sure\"").unwrap();
    let told = checked(&[WORLD, &node("it", "check = \"none\"\ncheck_every = 2")].concat());
    assert!(
        told.unwrap_err()
            .contains("`check_every` acts only where `check` is not `none`")
    );
}

#[test]
fn bad_seeds_and_synonyms_get_a_clear_error() {
    let study = Study::new();
    let path = study.file("other.json", "");
    let own = node(
        "it",
        &format!("steps = 1\nsynonyms = \"{}\"", path.display()),
    );
    for (text, told) in [
        ("[1]", "it is no object of synonyms"),
        ("{}", "it has no word"),
        (r#"{"a": "b"}"#, "synonyms of `a` are no array"),
        (r#"{"a": ["b", 3]}"#, "synonyms of `a`: one is no word"),
    ] {
        study.file("other.json", text);
        let failure = study.try_run(&[WORLD, &own].concat()).failure("it");
        assert!(failure.contains(told), "{text}: {failure}");
    }
    // Claims of many sentences do not fit into a model of few positions.
    let long = node("it", "steps = 1").replace("points = 2", "points = 400");
    let failure = study.try_run(&[WORLD, &long].concat()).failure("it");
    assert!(
        failure.contains("more than the") && failure.contains("with the seed"),
        "{failure}"
    );
}

#[test]
fn claims_are_texts_of_the_world_of_so_many_sentences() {
    let ran = Study::new().run(WORLD);
    let dir = tempfile::tempdir().unwrap();
    ran.export("model", "model", dir.path());
    let tokenizer = Tokenizer::load(dir.path()).unwrap();
    let unknown = tokenizer.encode("zzzzz").unwrap();
    let mut rng = Seed::new(1).rng();
    let table = claims::synonyms().map(|(word, others)| {
        let others = others.into_iter().map(String::from);
        (word.to_string(), others.collect())
    });
    let synonyms = Synonyms::new(table);
    let (mut seen, mut changed) = (BTreeSet::new(), 0);
    for sentences in 1..9 {
        for _ in 0..20 {
            let text = claims::claims(sentences, &mut rng);
            let parts = pipe::kinds::attacks::autodan::genes::sentences(&text).len();
            assert_eq!(parts, sentences, "{text}");
            let other = words::mutated(&text, &synonyms, &mut rng);
            changed += usize::from(other != text);
            for text in [&text, &other] {
                let ids = tokenizer.encode(text).unwrap();
                assert!(ids.iter().all(|id| !unknown.contains(id)), "{text}");
                assert_eq!(tokenizer.decode(&ids, false).unwrap(), *text);
            }
            seen.insert(text);
        }
    }
    assert!(
        seen.len() > 140 && changed > 140,
        "{} {changed}",
        seen.len()
    );
}

#[test]
fn words_are_found_and_replaced_where_they_stand() {
    let found = |text: &'static str| -> Vec<&str> {
        words::words(text).into_iter().map(|w| &text[w]).collect()
    };
    assert_eq!(
        found("Don't well-known 'tis, rock-'n'-roll é1b."),
        ["Don't", "well-known", "tis", "rock", "n", "roll", "é", "b"]
    );
    assert_eq!(found(" . 12 ! "), Vec::<&str>::new());
    let synonyms = Synonyms::new([
        ("big".to_string(), vec!["large".to_string(), "huge".into()]),
        ("dog".to_string(), vec!["hound".into()]),
    ]);
    let mut rng = Seed::new(3).rng();
    let all: BTreeSet<String> = (0..40)
        .map(|_| words::mutated("Big, BIG dog's big-dog!", &synonyms, &mut rng))
        .collect();
    let expected = [
        "Large, large dog's big-dog!",
        "Huge, large dog's big-dog!",
        "Large, huge dog's big-dog!",
        "Huge, huge dog's big-dog!",
    ];
    assert_eq!(all, expected.map(String::from).into());
    // Five words of a paragraph at most, by their scores: `large` never has a chance beside `huge`.
    let scores = WordScores::from([
        ("huge".into(), -1.0),
        ("large".into(), -2.0),
        ("dog".into(), -3.0),
    ]);
    let text = format!("{}\n\n{}", "big ".repeat(8), "big dog");
    let improved = words::improved(&text, &synonyms, &scores, 1.0, &mut rng);
    assert_eq!(
        improved,
        format!("{}{}\n\nhuge dog", "huge ".repeat(5), "big ".repeat(3))
    );
    let never = words::improved(&text, &synonyms, &scores, 0.0, &mut rng);
    assert_eq!(never, text);
    assert_eq!(
        synonyms.known("A Big hound, a cat."),
        BTreeSet::from(["big".into(), "hound".into()])
    );
}
