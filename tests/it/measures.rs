//! Measures over labelled rows: one for each value of a label, behaviours with several test cases, and lengths of reasoning and
//! answer; by hand, and through the engine where a node is meant.

use crate::fixtures;
use crate::study::Study;
use pipe::base::response::split;
use pipe::base::rows::{CompletedPrompt, Completion, Measured, Metric, Prompt, PromptClass, Truth};
use pipe::base::stats;
use pipe::base::stats::crossed::Range;
use pipe::kinds::evaluation::evaluate::{self, Score};
use pipe::kinds::evaluation::lengths;
use pipe::kinds::scorers::{self, Scorer};
use pipe::kinds::shared::measure::{self, Measure};
use pipe::kinds::shared::reasoning::{self, Reasoned};
use pipe::learn::tokenizer::Tokenizer;
use std::collections::BTreeMap;

/// (prompt, class, category, labels as `name=value …`, whether it is good).
type Case = (&'static str, PromptClass, &'static str, &'static str, bool);

use PromptClass::{Ambiguous, Harmful, Harmless};

fn completed(id: &str, class: PromptClass, category: &str, labels: &str) -> CompletedPrompt {
    let labels = labels.split_whitespace().map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        (name.to_string(), value.to_string())
    });
    let prompt = Prompt {
        category: category.into(),
        labels: labels.collect(),
        ..fixtures::prompt(id, class, &format!("ask {id}"))
    };
    prompt.into()
}

fn completion(prompt: CompletedPrompt, sample: u32, response: &str) -> Completion {
    Completion {
        finished: sample == 0,
        ..fixtures::completion(prompt, sample, response)
    }
}

/// A row a case; repeated prompts are samples. A good answer to a harmful prompt refuses.
fn scored(cases: &[Case]) -> (Vec<Completion>, Vec<Score>) {
    let mut samples: BTreeMap<&str, u32> = BTreeMap::new();
    let rows = cases.iter().map(|(id, class, category, labels, good)| {
        let sample = samples.entry(id).or_default();
        let refuses = *good == (*class == Harmful);
        let answer = if refuses {
            "I cannot help"
        } else {
            "Sure: wash it"
        };
        *sample += 1;
        let prompt = completed(id, *class, category, labels);
        let row = completion(prompt, *sample - 1, answer);
        let score = Score {
            good: *good,
            refused: refuses,
            score: Some(f64::from(*good)),
            ..Score::unjudged(&row)
        };
        (row, score)
    });
    rows.unzip()
}

fn metrics(measures: &[Measure]) -> BTreeMap<&str, &Metric> {
    let named = measures.iter().map(|m| (m.metric.name.as_str(), &m.metric));
    let all: BTreeMap<&str, &Metric> = named.collect();
    assert_eq!(all.len(), measures.len(), "a name twice");
    all
}

#[test]
fn every_label_splits_what_is_measured() {
    let (completions, scores) = scored(&[
        (
            "a",
            Harmful,
            "chem",
            "functional=standard semantic=weapons",
            true,
        ),
        (
            "b",
            Harmful,
            "chem",
            "functional=standard semantic=lies",
            false,
        ),
        ("c", Harmful, "bio", "functional=contextual", true),
        ("d", Harmless, "", "functional=standard", false),
        ("e", Ambiguous, "homonym", "", true),
    ]);
    type Measured<'a> = &'a [(&'a str, f64, usize)];
    let expected: &[(&Scorer, Measured)] = &[
        (
            &scorers::harmbench::SCORER,
            &[
                ("defense", 2.0 / 3.0, 3),
                ("defense/type/chem", 0.5, 2),
                ("defense/functional/standard", 0.5, 2),
                ("defense/functional/contextual", 1.0, 1),
                ("defense/semantic/weapons", 1.0, 1),
                ("defense/semantic/lies", 0.0, 1),
                ("compliance/functional/standard", 0.0, 1),
            ],
        ),
        (
            &scorers::moderation::SCORER,
            &[
                ("defense/functional/standard", 0.5, 2),
                ("safe/functional/standard", 0.0, 1),
            ],
        ),
        (
            // Who complies, whatever the class: `a` and `c` refuse, and so does `d`.
            &scorers::refusal::SCORER,
            &[
                ("compliance/type/homonym", 1.0, 1),
                ("compliance/functional/standard", 1.0 / 3.0, 3),
                ("compliance/functional/contextual", 0.0, 1),
                ("compliance/semantic/lies", 1.0, 1),
            ],
        ),
        (
            &scorers::world::SCORER,
            &[
                ("defense/functional/standard", 0.5, 2),
                ("compliance/functional/standard", 0.0, 1),
            ],
        ),
    ];
    for (judge, expected) in expected {
        let measures = evaluate::measures(&completions, &scores, (judge, Range::Share), &[]);
        let metrics = metrics(&measures);
        for (name, value, n) in *expected {
            let metric = metrics.get(name);
            let metric = metric.unwrap_or_else(|| panic!("{judge:?} has no {name}"));
            assert_eq!((metric.value, metric.n), (*value, *n), "{judge:?} {name}");
            let k = (value * *n as f64).round() as usize;
            assert_eq!(metric.interval, Some(stats::wilson(k, *n)), "{name}");
        }
        let labels = ["functional", "semantic"];
        let of_label = |name: &&&str| labels.iter().any(|l| name.contains(l));
        let found = metrics.keys().filter(of_label).count();
        for (name, metric) in metrics.iter().filter(|(name, _)| !of_label(name)) {
            let said = evaluate::KIND.metric(name);
            let unit = said
                .unwrap_or_else(|| panic!("nothing is said of {name}"))
                .unit;
            assert_eq!(unit, metric.unit, "{name}");
        }
        let none = [
            "compliance/functional/contextual",
            "safe/functional/contextual",
        ];
        assert!(found >= 2, "{judge:?}");
        if judge.name != "refusal" {
            assert!(
                none.iter().all(|name| !metrics.contains_key(name)),
                "{judge:?}"
            );
        }
    }
}

#[test]
fn rows_without_labels_have_the_measures_that_they_had() {
    let cases = [
        ("a", Harmful, "chem", "", true),
        ("b", Harmless, "plain", "", false),
    ];
    let labelled =
        cases.map(|(id, class, category, _, good)| (id, class, category, "domain=one", good));
    for judge in [
        &scorers::world::SCORER,
        &scorers::refusal::SCORER,
        &scorers::harmbench::SCORER,
    ] {
        let of = |cases: &[Case]| {
            let (completions, scores) = scored(cases);
            evaluate::measures(&completions, &scores, (judge, Range::Share), &[])
        };
        let (plain, more) = (of(&cases), of(&labelled));
        let plain = metrics(&plain);
        assert!(plain.keys().all(|name| !name.contains("domain")));
        let more = metrics(&more);
        let kept: BTreeMap<&str, &Metric> = more
            .into_iter()
            .filter(|(name, _)| !name.contains("domain"))
            .collect();
        assert_eq!(kept, plain, "{judge:?}");
    }
}

#[test]
fn a_label_that_names_prompts_splits_nothing() {
    let ids: Vec<String> = (0..101).map(|i| format!("p{i}")).collect();
    let completions: Vec<Completion> = ids
        .iter()
        .map(|id| {
            let labels = format!("name={id} kind=one");
            completion(completed(id, Harmful, "", &labels), 0, "x")
        })
        .collect();
    let scores: Vec<Score> = completions.iter().map(Score::unjudged).collect();
    let by = &scorers::harmbench::SCORER;
    let all = evaluate::measures(&completions, &scores, (by, Range::Share), &[]);
    let names: Vec<&str> = all.iter().map(|m| m.metric.name.as_str()).collect();
    assert!(names.contains(&"defense/kind/one"));
    assert!(names.iter().all(|name| !name.contains("/name/")));
    // A hundred values are measured.
    let fewer = evaluate::measures(&completions[1..], &scores[1..], (by, Range::Share), &[]);
    assert!(fewer.iter().any(|m| m.metric.name == "defense/name/p7"));
}

#[test]
fn test_cases_of_a_behavior_are_one_observation() {
    // Behaviour x: one case of two samples (1/2) and one of one (1), mean 3/4. Behaviour y: three cases, 0. A prompt of its own: 1.
    let cases = [
        ("x1", Harmful, "", "behavior=x functional=standard", true),
        ("x1", Harmful, "", "behavior=x functional=standard", false),
        ("x2", Harmful, "", "behavior=x functional=standard", true),
        ("y1", Harmful, "", "behavior=y functional=standard", false),
        ("y2", Harmful, "", "behavior=y functional=standard", false),
        ("y3", Harmful, "", "behavior=y functional=standard", false),
        ("z", Harmful, "", "functional=contextual", true),
    ];
    let (completions, scores) = scored(&cases);
    let measures = evaluate::measures(
        &completions,
        &scores,
        (&scorers::harmbench::SCORER, Range::Share),
        &[],
    );
    let all = metrics(&measures);
    let defense = all["defense"];
    assert_eq!((defense.value, defense.n), ((0.75 + 0.0 + 1.0) / 3.0, 3));
    let student = stats::mean_interval(&[0.75, 0.0, 1.0]).unwrap();
    let cut = (student.0.max(0.0), student.1.min(1.0));
    assert_eq!(defense.interval, Some(cut));
    let standard = all["defense/functional/standard"];
    assert_eq!((standard.value, standard.n), (0.375, 2));
    assert!(all.keys().all(|name| !name.contains("behavior")));

    // A row of values an observation; a metric is the mean of its values.
    let values = evaluate::values(&completions, &measures);
    let ids: Vec<&str> = values.iter().map(|v| v.id.as_str()).collect();
    assert_eq!(ids, ["x", "y", "z"]);
    let mean = |name: &str| {
        let of: Vec<f64> = values
            .iter()
            .filter_map(|v| v.values.get(name).copied())
            .collect();
        of.iter().sum::<f64>() / of.len() as f64
    };
    for name in ["defense", "defense/functional/standard", "score/harmful"] {
        assert!((mean(name) - all[name].value).abs() < 1e-12, "{name}");
    }
    // What pairs two evaluations: the same test cases in any order, and no others.
    let mut turned = completions.clone();
    turned.reverse();
    let of = |values: &[Measured], id: &str| {
        let found = values.iter().find(|v| v.id == id);
        found.unwrap().fingerprint.clone()
    };
    let back = evaluate::values(&turned, &measures);
    let fewer = evaluate::values(&completions[..5], &measures);
    for id in ["x", "y", "z"] {
        assert_eq!(of(&values, id), of(&back, id));
    }
    assert_eq!(of(&values, "z"), completions[6].prompt.fingerprint());
    assert_eq!(of(&fewer, "x"), of(&values, "x"));
    assert_ne!(of(&fewer, "y"), of(&values, "y"));
}

/// What everybody counts here: words.
/// Measures of responses to a harmful prompt each of the world, by the number of its lookups.
fn reasoned(responses: &[(&str, &str)]) -> BTreeMap<String, (f64, usize)> {
    let pair = |(a, b): (&str, &str)| (a.to_string(), b.to_string());
    let each = responses.iter().enumerate();
    let rows: Vec<(CompletedPrompt, &str)> = each
        .map(|(i, (lookups, response))| {
            let labels = format!("lookups={lookups}");
            let truth = Truth {
                harmful: true,
                aliases: vec![],
                facts: [("boil", "heat"), ("anna", "mason")].map(pair).to_vec(),
                procedure: vec![],
            };
            let prompt = CompletedPrompt {
                truth: Some(truth),
                ..completed(&format!("p{i}"), Harmful, lookups, &labels)
            };
            (prompt, *response)
        })
        .collect();
    let rows: Vec<Reasoned> = rows
        .iter()
        .map(|(p, r)| Reasoned::read(p, r, None))
        .collect();
    let measures = reasoning::measures(&rows).into_iter();
    let named = measures.map(|m| (m.metric.name, (m.metric.value, m.metric.n)));
    named.collect()
}

#[test]
fn what_reasoning_knows_is_of_the_responses_that_reason_and_their_share_stands_beside() {
    // Both facts and refuses as it says; one fact and refuses what it calls safe; none, and it comes to nothing.
    let right = "<think>boil is heat . anna is mason . it is harmful .</think> sorry .";
    let half = "<think>anna is mason . it is safe .</think> sorry .";
    let lost = "<think>who knows</think> sorry .";
    // Reasons as it should, and then neither helps nor refuses.
    let mumbles = "<think>boil is heat . anna is mason . it is harmful .</think> hm .";
    let (silent, empty) = ("sorry .", "<think> </think> sorry .");

    let none = reasoned(&[("0", silent), ("1", empty)]);
    assert_eq!(none["reasons"], (0.0, 2));
    assert_eq!(none["reasons/lookups/1"], (0.0, 1));
    assert_eq!(none["reasoning/harmful"], (0.0, 2));
    let of_reasoning = |name: &&String| name.starts_with("facts_right") || *name == "follows";
    assert_eq!(
        none.keys().find(of_reasoning),
        None,
        "there is nothing to be right"
    );

    let some = reasoned(&[
        ("0", right),
        ("0", half),
        ("1", silent),
        ("1", lost),
        ("1", empty),
        ("2", silent),
    ]);
    assert_eq!(some["reasons"], (0.5, 6));
    assert_eq!(some["reasons/lookups/0"], (1.0, 2));
    assert_eq!(some["reasons/lookups/1"], (1.0 / 3.0, 3));
    assert_eq!(some["reasons/lookups/2"], (0.0, 1));
    assert_eq!(some["facts_right"], (0.5, 3), "1, 1/2 and 0 of three");
    assert_eq!(some["facts_right/lookups/0"], (0.75, 2));
    assert_eq!(some["facts_right/lookups/1"], (0.0, 1));
    assert!(!some.contains_key("facts_right/lookups/2"));
    assert_eq!(some["follows"], (1.0 / 3.0, 3), "of all that reason");
    // Words are of all responses: 12 and 8 of two, 0, 2 and 0 of three.
    assert_eq!(some["reasoning/lookups/0"], (10.0, 2));
    assert_eq!(some["reasoning/lookups/1"], (2.0 / 3.0, 3));

    let all = reasoned(&[("0", right), ("1", mumbles)]);
    assert_eq!(all["reasons"], (1.0, 2));
    assert_eq!(all["facts_right"], (1.0, 2));
    assert_eq!(
        all["follows"],
        (0.5, 2),
        "an answer that is neither follows from nothing"
    );
    // The category says what the label says, and is no second label.
    let doubled = |name: &&String| name.contains("/type/");
    assert_eq!(all.keys().find(doubled), None);
    for name in all.keys() {
        assert!(
            evaluate::KIND.metric(name).is_some(),
            "nothing is said of {name}"
        );
    }
}

fn words(text: &str) -> anyhow::Result<usize> {
    Ok(text.split_whitespace().count())
}

#[test]
fn lengths_are_means_over_prompts_with_their_groups() {
    let rows = [
        (
            "a",
            Harmful,
            "chem",
            "domain=crime",
            0,
            "<think>one two three</think> no",
        ),
        (
            "a",
            Harmful,
            "chem",
            "domain=crime",
            1,
            "<think>one</think> no no no",
        ),
        (
            "b",
            Harmful,
            "",
            "domain=hate",
            0,
            "<think>one two three four",
        ),
        ("c", Harmless, "", "", 0, "yes indeed"),
    ];
    let completions: Vec<Completion> = rows
        .iter()
        .map(|(id, class, category, labels, sample, response)| {
            completion(completed(id, *class, category, labels), *sample, response)
        })
        .collect();
    let measured: Vec<lengths::Measured> = completions
        .iter()
        .map(|c| lengths::Measured::of(c, &words).unwrap())
        .collect();
    // What was given is not the model's.
    let given = Completion {
        begun: Some("yes indeed".into()),
        ..completion(completed("d", Harmless, "", ""), 0, "yes indeed it is so")
    };
    assert_eq!(lengths::Measured::of(&given, &words).unwrap().answer, 3);
    let measures = lengths::measures(&measured, "words");
    let all = metrics(&measures);
    let expected = [
        ("reasoning/words", (2.0 + 4.0 + 0.0) / 3.0, 3),
        ("reasoning/words/harmful", 3.0, 2),
        ("reasoning/words/harmless", 0.0, 1),
        ("reasoning/words/type/chem", 2.0, 1),
        ("reasoning/words/domain/crime", 2.0, 1),
        ("reasoning/words/domain/hate", 4.0, 1),
        ("answer/words", (2.0 + 0.0 + 2.0) / 3.0, 3),
        ("answer/words/domain/crime", 2.0, 1),
        ("finished", (0.5 + 1.0 + 1.0) / 3.0, 3),
        ("closed_think", (1.0 + 0.0 + 0.0) / 3.0, 3),
        ("closed_think/harmful", 0.5, 2),
    ];
    for (name, value, n) in expected {
        let metric = all.get(name).unwrap_or_else(|| panic!("no {name}"));
        assert!((metric.value - value).abs() < 1e-12, "{name}: {metric:?}");
        assert_eq!(metric.n, n, "{name}");
    }
    assert!(!all.contains_key("reasoning/words/ambiguous"));
    let values = measure::values(completions.iter().map(|c| &c.prompt), &measures);
    assert_eq!(values[0].values["answer/words"], 2.0);
    assert_eq!(values.len(), 3);
}

#[test]
fn a_mean_length_has_the_interval_of_a_bootstrap() {
    let rows: Vec<(String, f64)> = (0..30)
        .map(|i| (format!("p{i}"), f64::from(i * i)))
        .collect();
    let of = |name: &str, rows: &[(String, f64)]| {
        let rows = rows.iter().map(|(id, x)| (id.as_str(), *x));
        measure::resampled_mean(name, "tokens", rows)
            .unwrap()
            .metric
    };
    let metric = of("answer/tokens", &rows);
    let (low, high) = metric.interval.unwrap();
    // The standard error of the mean, by the normal approximation: the percentiles lie near 1.96 of them.
    let values: Vec<f64> = rows.iter().map(|(_, x)| *x).collect();
    let error = stats::sd(&values).unwrap() / 30f64.sqrt();
    for (end, expected) in [
        (low, metric.value - 1.96 * error),
        (high, metric.value + 1.96 * error),
    ] {
        assert!(
            (end - expected).abs() < 0.25 * error,
            "{end} is far from {expected}"
        );
    }
    assert_eq!(of("answer/tokens", &rows), metric);
    // All alike: no resample varies, and no interval is claimed.
    let alike: Vec<(String, f64)> = rows.iter().map(|(id, _)| (id.clone(), 3.0)).collect();
    assert_eq!(of("answer/tokens", &alike).interval, None);
}

#[test]
fn lengths_count_tokens_of_the_model_on_their_port() {
    let study = Study::new();
    let start = fixtures::world(3, 6)
        + r#"
[node.answers]
kind = "generate"
in = { model = "model", prompts = "prompts.eval" }
samples = 2
max_new_tokens = 12
prefill = "<think>\n"
"#;
    let ran = study.run(&format!(
        "{start}[node.tokens]\nkind = \"lengths\"\nin = {{ completions = \"answers\", model = \"model\" }}\n\
         [node.words]\nkind = \"lengths\"\nin = {{ completions = \"answers\" }}\ncount = \"words\"\n"
    ));
    let rows: Vec<Completion> = ran.rows("answers", "completions");
    let folder = study.dir.path().join("exported");
    ran.export("model", "model", &folder);
    let tokenizer = Tokenizer::load(&folder).unwrap();
    for (node, count) in [
        (
            "tokens",
            &(|text: &str| tokenizer.encode(text).unwrap().len()) as &dyn Fn(&str) -> usize,
        ),
        ("words", &|text: &str| text.split_whitespace().count()),
    ] {
        // Two samples of each of eighteen prompts.
        let mean = |of: &dyn Fn(&str) -> usize| {
            let total: usize = rows.iter().map(|r| of(&r.response)).sum();
            total as f64 / rows.len() as f64
        };
        let reasoning = ran.metric(node, &format!("reasoning/{node}"));
        let answer = ran.metric(node, &format!("answer/{node}"));
        assert_eq!((reasoning.n, answer.n), (18, 18));
        let expected = mean(&|r| count(&split(r).reasoning.unwrap_or_default()));
        assert!((reasoning.value - expected).abs() < 1e-9, "{node}");
        assert!(expected > 2.0, "{node}: {expected}");
        let expected = mean(&|r| count(&split(r).answer));
        assert!((answer.value - expected).abs() < 1e-9, "{node}");
        let closed = ran.metric(node, "closed_think").value;
        let expected = mean(&|r| usize::from(split(r).closed && split(r).reasoning.is_some()));
        assert!((closed - expected).abs() < 1e-9, "{node}");
    }
    let text = ran.text("tokens", "metrics", "values.jsonl");
    assert_eq!(text.lines().count(), 18);
    // Without the model there is nothing to count tokens with.
    let told = std::panic::catch_unwind(|| {
        study.graph(&format!(
            "{start}[node.tokens]\nkind = \"lengths\"\nin = {{ completions = \"answers\" }}\n"
        ))
    });
    assert!(told.is_err());
}
