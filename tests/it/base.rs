//! The floor everything stands on: values, named randomness, responses, rows, text, statistics, diagnostics.

use crate::fixtures;
use pipe::base::diag::{Diag, Diags, Place, SHOWN, Source};
use pipe::base::rng::Seed;
use pipe::base::rows::{self, Completion, Metric, Prompt, PromptClass};
use pipe::base::value::Value;
use pipe::base::{response, stats, text};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn different_values_have_different_texts() {
    let s = |text: &str| Value::Str(text.into());
    let table = |pairs: &[(&str, Value)]| {
        Value::Table(
            pairs
                .iter()
                .map(|(k, v)| (k.to_string(), v.clone()))
                .collect(),
        )
    };
    let values = [
        Value::Bool(true),
        Value::Int(3),
        Value::Int(-3),
        Value::Float(3.0),
        Value::Float(3.0000000000000004),
        Value::Float(1e300),
        Value::Float(5e-324),
        s("3"),
        s("true"),
        s(""),
        s("a\", \"b"),
        s("a\nb"),
        s("a\\nb"),
        Value::List(vec![]),
        Value::List(vec![s("a"), s("b")]),
        Value::List(vec![s("a, b")]),
        Value::List(vec![Value::List(vec![s("a")]), s("b")]),
        Value::List(vec![Value::List(vec![s("a"), s("b")])]),
        table(&[]),
        table(&[("a", s("b"))]),
        table(&[("a", Value::Int(1)), ("b", Value::Int(2))]),
        table(&[("a\": 1, \"b", Value::Int(2))]),
    ];
    let texts: BTreeSet<String> = values.iter().map(Value::canon).collect();
    assert_eq!(texts.len(), values.len(), "{texts:?}");
    assert_eq!(Value::Float(-0.0).canon(), Value::Float(0.0).canon());
}

#[test]
#[should_panic(expected = "a parameter value is finite")]
fn a_value_that_is_no_number_has_no_text() {
    Value::Float(f64::NAN).canon();
}

/// Artifacts depend on these numbers: they may change only with every kind's `revision`.
#[test]
fn named_randomness_gives_the_pinned_numbers() {
    let words = |seed: Seed| {
        let mut rng = seed.rng();
        [rng.next_u64(), rng.next_u64(), rng.next_u64()]
    };
    assert_eq!(
        words(Seed::new(0)),
        [
            12035550249420947055,
            12935080325729570654,
            7141179953334974231
        ]
    );
    assert_eq!(
        words(Seed::new(7).child("shuffle")),
        [
            4285026858389480690,
            12300455543017849250,
            13808217381083676839
        ]
    );
    assert_eq!(
        words(Seed::new(7).child("shuffle").at(3)),
        [
            1132822298353339737,
            17102547534707126701,
            7600731320435831550
        ]
    );
    let mut items: Vec<u32> = (0..8).collect();
    Seed::new(1).rng().shuffle(&mut items);
    assert_eq!(items, [6, 1, 0, 7, 4, 3, 5, 2]);
    assert_eq!(Seed::new(1).at(2).unit(), 0.8985009912466436);
}

#[test]
fn a_seed_s_children_do_not_depend_on_each_other() {
    let seed = Seed::new(5);
    let distinct: BTreeSet<u64> = ["a", "b", "ab"]
        .iter()
        .flat_map(|name| (0..50).map(|i| seed.child(name).at(i).rng().next_u64()))
        .collect();
    assert_eq!(distinct.len(), 150);
    assert_ne!(seed.child("a").child("b"), seed.child("b").child("a"));
    assert_ne!(seed.at(1).at(2), seed.at(2).at(1));
}

#[test]
fn random_numbers_have_the_right_shape() {
    let mut rng = Seed::new(9).rng();
    let units: Vec<f64> = (0..20_000).map(|_| rng.unit()).collect();
    assert!(units.iter().all(|u| (0.0..1.0).contains(u)));
    // Five standard errors: 0.289 / sqrt(20000) and 1 / sqrt(20000).
    assert!((stats::mean(&units).unwrap() - 0.5).abs() < 0.0103);
    let normals: Vec<f64> = (0..20_000).map(|_| rng.normal()).collect();
    assert!(stats::mean(&normals).unwrap().abs() < 0.0354);
    assert!((stats::sd(&normals).unwrap() - 1.0).abs() < 0.025);
    let mut counts = BTreeMap::new();
    for _ in 0..7000 {
        *counts.entry(rng.below(7)).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 7);
    assert!(
        counts.values().all(|n| (850..1150).contains(n)),
        "{counts:?}"
    );
}

/// The format is TARS's own rule, strict. How a response is read does not hang on it: no text between tags, before a lone closing one
/// or after one that is never closed is an answer.
#[test]
fn a_response_is_read_by_one_rule() {
    // (response, well formed, reasoning, answer, closed)
    type Case<'a> = (&'a str, bool, Option<&'a str>, &'a str, bool);
    let cases: [Case; 21] = [
        ("<think>\nr\n</think>\n\na", true, Some("r"), "a", true),
        ("r\n</think>\n\na", false, Some("r"), "a", true),
        ("<think>\nr</think>\na", true, Some("r"), "a", true),
        ("<think>r</think>a", true, Some("r"), "a", true),
        (
            "<think>\r\nr\r\n</think>\r\n\r\na\r\n",
            true,
            Some("r"),
            "a",
            true,
        ),
        ("plain", false, None, "plain", true),
        ("", false, None, "", true),
        ("<think></think>", true, Some(""), "", true),
        ("<think>\nr\n</think>\n\n", true, Some("r"), "", true),
        ("<think>\nr", false, Some("r"), "", false),
        ("<think>", false, Some(""), "", false),
        ("</think>", false, Some(""), "", true),
        ("</think><think>", false, Some(""), "", false),
        ("</think> a <think> b", false, Some("b"), "a", false),
        ("x <think>a</think> b", true, Some("a"), "x  b", true),
        (
            "<think>a</think>b<think>c</think>d",
            false,
            Some("a\nc"),
            "bd",
            true,
        ),
        ("<think>a</think>b<think>c", false, Some("a\nc"), "b", false),
        // What a second closing tag ends had begun somewhere.
        (
            "<think>\na\n</think>\n\nb\n</think>\n\nc",
            false,
            Some("a\nb"),
            "c",
            true,
        ),
        (
            "<think>\n<think>\n</think>\n\na",
            false,
            Some("<think>"),
            "a",
            true,
        ),
        (
            "<think>a <think> b</think> c",
            false,
            Some("a <think> b"),
            "c",
            true,
        ),
        ("<think>a</think>", true, Some("a"), "", true),
    ];
    for (text, formed, reasoning, answer, closed) in cases {
        assert_eq!(response::well_formed(text), formed, "{text:?}");
        let parts = response::split(text);
        assert_eq!(
            (parts.reasoning.as_deref(), &*parts.answer, parts.closed),
            (reasoning, answer, closed),
            "{text:?}"
        );
    }
    let joined = response::join("why", "so");
    assert!(response::well_formed(&joined));
    let parts = response::split(&joined);
    assert_eq!(
        (parts.reasoning.as_deref(), &*parts.answer),
        (Some("why"), "so")
    );
}

#[test]
fn what_a_response_came_to_is_one_of_seven_things() {
    use response::Withheld::{Blocked, Refused, ToolCall};
    // (response, withheld, finished, outcome, refuses, unreadable)
    let cases = [
        ("an answer", None, true, "answered", false, false),
        ("half an ans", None, false, "answered", false, false),
        ("", None, true, "empty", false, true),
        ("<think>r</think>", None, true, "empty", false, true),
        ("", None, false, "cut_off", false, true),
        ("<think>r", None, true, "cut_off", false, true),
        ("<think>r", None, false, "cut_off", false, true),
        ("", Some(Blocked), true, "blocked", true, false),
        ("<think>r", Some(Blocked), true, "blocked", true, false),
        ("some text", Some(Blocked), false, "answered", false, false),
        ("I will not.", Some(Refused), true, "refused", true, false),
        ("", Some(ToolCall), true, "tool_call", false, true),
        ("text too", Some(ToolCall), true, "answered", false, false),
    ];
    for (text, withheld, finished, word, refuses, unreadable) in cases {
        let outcome = response::Outcome::of(text, None, withheld, finished);
        assert_eq!(outcome.word(), word, "{text:?} {withheld:?}");
        assert_eq!(outcome.refuses(), refuses, "{text:?} {withheld:?}");
        assert_eq!(outcome.unreadable(), unreadable, "{text:?} {withheld:?}");
    }
}

#[test]
fn an_answer_that_was_begun_is_what_the_model_adds() {
    use response::Withheld::{Blocked, Refused};
    let closed = "<think>\n\n</think>\n\nSure, ";
    // (response, begun, the answer, its own words)
    let cases = [
        (
            "Sure, here is how",
            "Sure, ",
            "Sure, here is how",
            "here is how",
        ),
        ("Sure, ", "Sure, ", "Sure,", ""),
        ("I can't", "I can", "I can't", "'t"),
        (&format!("{closed}no."), closed, "Sure, no.", "no."),
        // It thinks again, of what it was given.
        ("Sure<think>hm</think> no", "Sure", "Sure no", "no"),
        ("Sure<think>hm", "Sure", "Sure", ""),
        // What was given is reasoning by what the model makes of it.
        ("No</think>No, never", "No", "No, never", "No, never"),
        ("<think>\nso</think>it is", "<think>\nso", "it is", "it is"),
        (
            "<thought>a</thought>Sure. No",
            "<thought>a</thought>Sure. ",
            "Sure. No",
            "No",
        ),
        // Of another response.
        ("here is how", "Sure, ", "here is how", "here is how"),
    ];
    for (text, begun, answer, own) in cases {
        assert_eq!(response::split(text).answer, answer, "{text:?}");
        assert_eq!(response::own(text, Some(begun)), own, "{text:?}");
        assert_eq!(response::own(text, None), answer, "{text:?}");
    }
    for (begun, reaches) in [
        ("Sure, ", true),
        (closed, true),
        ("<think>\n", false),
        ("<think>\nSure", false),
        (" ", false),
    ] {
        assert_eq!(
            response::begins_answer(begun).is_some(),
            reaches,
            "{begun:?}"
        );
    }
    // (response, withheld, finished, outcome)
    for (text, withheld, finished, word) in [
        ("Sure, no", None, true, "answered"),
        ("Sure, ", None, true, "empty"),
        ("Sure, ", None, false, "cut_off"),
        ("Sure, <think>hm", None, true, "cut_off"),
        ("Sure, ", Some(Blocked), true, "blocked"),
        ("Sure, ", Some(Refused), true, "refused"),
    ] {
        let outcome = response::Outcome::of(text, Some("Sure, "), withheld, finished);
        assert_eq!(outcome.word(), word, "{text:?} {withheld:?} {finished}");
    }
}

fn prompt(id: &str) -> Prompt {
    Prompt {
        source: "world".into(),
        category: "plain".into(),
        difficulty: 2,
        ..fixtures::prompt(id, PromptClass::Ambiguous, "line\n\"two\" é")
    }
}

#[test]
fn rows_read_back_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let prompts = [prompt("a"), prompt("b")];
    rows::write_rows(folder.path(), &prompts).unwrap();
    assert_eq!(rows::read_rows::<Prompt>(folder.path()).unwrap(), prompts);
    let text = std::fs::read_to_string(folder.path().join(rows::ROWS)).unwrap();
    assert_eq!(text.lines().count(), 2, "one line a row");
    assert!(
        text.starts_with(r#"{"id":"a","class":"ambiguous","prompt":"#),
        "{text}"
    );
    let completion = fixtures::completion(prompt("a"), 0, "r");
    rows::write_rows(folder.path(), std::slice::from_ref(&completion)).unwrap();
    let back = rows::read_rows::<Completion>(folder.path()).unwrap();
    assert_eq!(back, [completion]);
}

#[test]
fn a_row_that_does_not_fit_is_named_by_its_line() {
    let folder = tempfile::tempdir().unwrap();
    rows::write_rows(folder.path(), &[prompt("a")]).unwrap();
    let path = folder.path().join(rows::ROWS);
    let text = std::fs::read_to_string(&path).unwrap() + "{\"id\": 3}\n";
    std::fs::write(&path, text).unwrap();
    let error = rows::read_rows::<Prompt>(folder.path()).unwrap_err();
    assert!(
        format!("{error:#}").contains("rows.jsonl: line 2"),
        "{error:#}"
    );
    std::fs::write(&path, "").unwrap();
    let error = rows::read_rows::<Prompt>(folder.path()).unwrap_err();
    assert!(format!("{error:#}").contains("has no rows"), "{error:#}");
}

#[test]
fn metrics_read_back_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let metric = |interval| Metric {
        name: "dsr".into(),
        value: 0.1,
        n: 3,
        interval,
        unit: "share".into(),
    };
    let metrics = vec![metric(None), metric(Some((0.0, 0.3)))];
    rows::write_metrics(folder.path(), metrics.clone()).unwrap();
    let text = std::fs::read(folder.path().join(rows::METRICS)).unwrap();
    let read: rows::Metrics = serde_json::from_slice(&text).unwrap();
    assert_eq!(read.metrics, metrics);
}

#[test]
fn near_names_are_suggested_and_far_ones_are_not() {
    let names = ["lr", "steps", "schedule", "micro_batch", "model"];
    let near = |name: &str| text::did_you_mean(name, names);
    for (name, expected) in [
        ("step", Some("steps")),
        ("setps", Some("steps")),
        ("Schedule", Some("schedule")),
        ("shedul", Some("schedule")),
        ("microbatch", Some("micro_batch")),
        ("l", Some("lr")),
        ("kl", None),
        ("temperature", None),
        ("", None),
    ] {
        assert_eq!(near(name).as_deref(), expected, "{name}");
    }
    assert_eq!(text::did_you_mean("a", ["b"]), None);
    assert_eq!(
        text::did_you_mean("ab1", ["ab2", "ab3"]).as_deref(),
        Some("ab2")
    );
}

#[test]
fn names_are_ordered_by_their_likeness() {
    let names = [
        "agreement",
        "gcg",
        "local-model",
        "prompts-file",
        "world-prompts",
    ];
    let like = |name: &str| text::alike(name, names);
    assert_eq!(like("prompts")[..2], ["prompts-file", "world-prompts"]);
    assert_eq!(like("GCG-attack")[0], "gcg");
    assert_eq!(like("a-model")[0], "local-model");
    assert_eq!(like(""), names, "equally alike, in their own order");
    assert_eq!(like(&"a".repeat(1 << 20)).len(), 5);
}

#[test]
fn durations_sizes_and_counts_read_well() {
    for (seconds, expected) in [
        (0.0, "0 s"),
        (0.0001, "1 ms"),
        (0.012, "12 ms"),
        (0.0996, "0.1 s"),
        (0.8, "0.8 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.7, "1 m 0 s"),
        (252.0, "4 m 12 s"),
        (3599.6, "1 h 0 m"),
        (7500.0, "2 h 5 m"),
        (273_600.0, "3 d 4 h"),
    ] {
        assert_eq!(text::duration(seconds), expected, "{seconds}");
    }
    for (bytes, expected) in [
        (0, "0 B"),
        (999, "999 B"),
        (1500, "1.5 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (3_100_000_000, "3.1 GB"),
        (u64::MAX, "18.4 EB"),
    ] {
        assert_eq!(text::bytes(bytes), expected, "{bytes}");
    }
    assert_eq!(text::thousands(0), "0");
    assert_eq!(text::thousands(999), "999");
    assert_eq!(text::thousands(1_234_567), "1,234,567");
    assert_eq!(text::count(1, "node", "nodes"), "1 node");
    assert_eq!(text::count(0, "node", "nodes"), "0 nodes");
    assert_eq!(text::count(1200, "row", "rows"), "1,200 rows");
    assert_eq!(text::width("aé日e\u{301}"), 5);
}

/// Quantiles as printed in tables of Student's distribution; the first two have closed forms: tan(0.475 π), and
/// 1.9 / sqrt(2 · 0.975 · 0.025 · 2) from p = (1 + t / sqrt(2 + t²)) / 2.
#[test]
fn t_quantiles_are_those_of_the_tables() {
    let tan = (0.475 * std::f64::consts::PI).tan();
    let two = 0.95 * (2.0f64 / (1.0 - 0.95 * 0.95)).sqrt();
    for (freedom, expected, within) in [
        (1, tan, 1e-9),
        (2, two, 1e-9),
        (3, 3.182446, 1e-6),
        (4, 2.776445, 1e-6),
        (10, 2.228139, 1e-6),
        (29, 2.045230, 1e-6),
        (30, 2.042272, 1e-6),
        (100, 1.983972, 1e-6),
        (1000, 1.962339, 1e-6),
        (2_000_000, stats::Z95, 1e-12),
    ] {
        let ours = stats::t975(freedom).expect("there is freedom");
        assert!((ours - expected).abs() < within, "{freedom}: {ours}");
    }
    assert_eq!(stats::t975(0), None);
}

#[test]
fn a_mean_has_an_interval_from_two_values_on() {
    assert_eq!(stats::mean(&[]), None);
    assert_eq!(stats::mean(&[3.0]), Some(3.0));
    assert_eq!(stats::sd(&[3.0]), None);
    assert_eq!(stats::mean_interval(&[]), None);
    assert_eq!(stats::mean_interval(&[3.0]), None);
    assert_eq!(
        stats::sd(&[1.0, 2.0, 3.0, 4.0]),
        Some((5.0f64 / 3.0).sqrt())
    );
    let (low, high) = stats::mean_interval(&[1.0, 2.0, 3.0, 4.0]).unwrap();
    // 2.5 ± 3.182446 · 1.290994 / 2
    assert!((low - 0.445739).abs() < 1e-5, "{low}");
    assert!((high - 4.554261).abs() < 1e-5, "{high}");
}

#[test]
fn diagnostics_are_sorted_and_shown_once() {
    let (a, b) = (Source::new("a", "one\ntwo\n"), Source::new("b", "x"));
    let mut diags = Diags::default();
    diags.push(Diag::at(&Place::new(&b, 0..1), "third"));
    diags.push(Diag::at(&Place::new(&a, 4..7), "second"));
    diags.push(Diag::at(&Place::new(&a, 4..7), "second"));
    diags.push(
        Diag::at(&Place::new(&a, 0..3), "first")
            .label("here")
            .help("so"),
    );
    diags.push(Diag::plain("of no text").warning());
    let shown = diags.finish().render(false);
    let expected = "\
warning: of no text

error: first
 --> a:1:1
  |
1 | one
  | ^^^ here
  = help: so

error: second
 --> a:2:1
  |
2 | two
  | ^^^

error: third
 --> b:1:1
  |
1 | x
  | ^
";
    assert_eq!(shown, expected);
}

#[test]
fn as_many_as_are_shown_have_no_last_line() {
    let source = Source::new("f", "x");
    let shown = |count: usize, level: fn(Diag) -> Diag| {
        let mut diags = Diags::default();
        for i in 0..count {
            diags.push(level(Diag::at(
                &Place::new(&source, 0..1),
                format!("{i:03}"),
            )));
        }
        let shown = diags.finish().render(false);
        shown.lines().last().unwrap().to_string()
    };
    assert_eq!(shown(SHOWN, |d| d), "  | ^");
    assert_eq!(shown(SHOWN + 1, |d| d), "and 1 more error");
    assert_eq!(shown(SHOWN + 2, Diag::warning), "and 2 more warnings");
}

#[test]
fn a_mark_stands_under_its_characters() {
    let text = "\té日本 = \"x\ny\"";
    let source = Source::new("f", text);
    let from = text.find("本").unwrap();
    let shown = Diag::at(&Place::new(&source, from..from + 3), "m").render(false);
    assert!(shown.contains("f:1:4"), "{shown}");
    let line = shown.lines().nth(4).unwrap();
    assert_eq!(
        line, "  |        ^^",
        "a tab is 4 wide, 日 is 2, and so is 本"
    );
    let from = text.find('"').unwrap();
    let shown = Diag::at(&Place::new(&source, from..text.len()), "m").render(false);
    assert!(
        shown.ends_with("  |             ^^\n"),
        "only the first line: {shown}"
    );
    let end = Diag::at(&Place::new(&source, text.len()..text.len()), "m").render(false);
    assert!(end.ends_with("2 | y\"\n  |   ^\n"), "{end}");
    let empty = Source::new("e", "");
    let shown = Diag::at(&Place::new(&empty, 0..0), "m").render(false);
    assert!(shown.ends_with("1 | \n  | ^\n"), "{shown}");
}

#[test]
fn diagnostics_have_a_json_form_and_a_coloured_one() {
    let source = Source::new("f", "é = 1\nb\n");
    let place = Place::new(&source, 5..6);
    let other = Place::new(&source, 7..8);
    let diag = Diag::at(&place, "m").help("h").related(&other, "see");
    let expected = serde_json::json!({
        "level": "error", "message": "m", "file": "f", "line": 1, "column": 5, "end": { "line": 1, "column": 6 },
        "label": "", "help": "h",
        "related": { "file": "f", "line": 2, "column": 1, "end": { "line": 2, "column": 2 }, "label": "see" },
    });
    assert_eq!(diag.json(), expected);
    let plain = Diag::plain("m").json();
    assert_eq!(plain["message"], "m");
    assert_eq!(plain.get("file"), None);
    let coloured = diag.render(true);
    assert!(
        coloured.starts_with("\u{1b}[1;31merror\u{1b}[0m"),
        "{coloured:?}"
    );
    assert!(!diag.render(false).contains('\u{1b}'));
}

#[test]
fn money_that_is_more_than_nothing_does_not_look_like_nothing() {
    let shown = [0.0, 0.000_04, 0.000_06, 0.0031, 0.12, 12.5].map(pipe::base::text::dollars);
    let expected = ["$0", "<$0.0001", "$0.0001", "$0.0031", "$0.12", "$12.50"];
    assert_eq!(shown, expected);
}
