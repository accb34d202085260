//! Nodes that ask services which filter, refuse, call tools, reason elsewhere or do not answer at all: what their rows say, what the log
//! says, and what an evaluation makes of it.

use crate::services::server::{Act, Seen, Server};
use crate::study::Study;
use pipe::base::response::{Outcome, Withheld};
use pipe::base::rows::{Completion, Conversation, METRICS, Measured, Metrics, VALUES};
use pipe::report::{beside, doubt};
use serde_json::{Value, json};

fn choice(message: Value, stop: &str) -> Act {
    Act::Json(json!({
        "model": "m-1", "choices": [{ "index": 0, "message": message, "finish_reason": stop }],
        "usage": { "prompt_tokens": 3, "completion_tokens": 7 },
    }))
}

fn error(status: u16, message: &str, code: &str) -> Act {
    let body = json!({ "error": { "message": message, "code": code } });
    Act::Say(status, vec![], body.to_string())
}

/// By the prompt's last word.
fn act(seen: &Seen) -> Act {
    let asked = seen.body["messages"][0]["content"].as_str().unwrap();
    match asked.rsplit(' ').next().unwrap() {
        "filtered" => choice(json!({ "content": null }), "content_filter"),
        "flagged" => error(403, "your input was flagged", "x"),
        "policy" => error(400, "no", "content_filter"),
        "forbidden" => error(403, "Forbidden", "x"),
        "long" => error(
            400,
            "maximum context length is 8 tokens",
            "context_length_exceeded",
        ),
        "nothing" => Act::Json(json!({ "choices": null })),
        "declined" => choice(json!({ "content": null, "refusal": "I will not." }), "stop"),
        "tool" => choice(
            json!({ "content": null, "tool_calls": [{ "id": "c" }] }),
            "tool_calls",
        ),
        "limit" => choice(
            json!({ "content": null, "reasoning_content": "plan" }),
            "length",
        ),
        "parts" => choice(
            json!({ "content": [{ "type": "thinking", "thinking": "plan" }, { "type": "text", "text": "Mix." }] }),
            "stop",
        ),
        _ => choice(json!({ "content": "Sure, mix." }), "stop"),
    }
}

const WORDS: [(&str, Outcome, Option<Withheld>); 11] = [
    ("flagged", Outcome::Blocked, Some(Withheld::Blocked)),
    ("answered", Outcome::Answered, None),
    ("filtered", Outcome::Blocked, Some(Withheld::Blocked)),
    ("policy", Outcome::Blocked, Some(Withheld::Blocked)),
    ("forbidden", Outcome::Empty, None),
    ("long", Outcome::Empty, None),
    ("nothing", Outcome::Empty, None),
    ("declined", Outcome::Refused, Some(Withheld::Refused)),
    ("tool", Outcome::ToolCall, Some(Withheld::ToolCall)),
    ("limit", Outcome::CutOff, None),
    ("parts", Outcome::Answered, None),
];

/// A file of these prompts, all harmful, and a node that asks them.
fn recipe(study: &Study, words: &[&str], url: &str, node: &str) -> String {
    let rows = words.iter().enumerate();
    let rows = rows.map(|(i, word)| format!("{i},How is it {word},unsafe\n"));
    study.file(
        "p.csv",
        format!("id,prompt,label\n{}", rows.collect::<String>()),
    );
    format!(
        "[node.p]\nkind = \"prompts-file\"\npath = \"p.csv\"\nharmful = [\"unsafe\"]\n\
         [node.g]\nin = {{ prompts = \"p\" }}\nendpoint.model = \"m\"\nendpoint.url = \"{url}\"\nendpoint.concurrency = 1\n\
         endpoint.retries = 0\nmax_new_tokens = 16\n{node}\n"
    )
}

#[test]
fn a_row_says_why_it_has_no_answer_and_the_log_counts_it() {
    let server = Server::new(|seen, _| act(seen));
    let study = Study::new();
    let words = WORDS.map(|(word, ..)| word);
    let node = "kind = \"generate\"\nendpoint.rejected = \"empty\"\n\
                [node.e]\nkind = \"evaluate\"\nin = { completions = \"g\" }\nscorer = \"refusal\"";
    let ran = study.run(&recipe(&study, &words, &server.url(), node));
    let rows: Vec<Completion> = ran.rows("g", "completions");
    let told: Vec<_> = rows.iter().map(|r| (r.outcome(), r.withheld)).collect();
    let expected = WORDS.map(|(_, outcome, withheld)| (outcome, withheld));
    assert_eq!(told, expected);
    assert_eq!(rows[9].response, "<think>\nplan");
    assert_eq!(rows[10].response, "<think>\nplan\n</think>\n\nMix.");
    for told in [
        "1 response empty: the service refuses what the prompt holds (403)",
        "1 response empty: the service refuses what the prompt holds (400)",
        "1 response empty: the service rejects the request (403)",
        "1 response empty: no reply that can be read in all tries",
        "1 response without an answer: a filter of the service kept them back",
        "1 response without an answer: the service says that the model refuses",
        "1 response without an answer: the model calls a tool instead",
    ] {
        assert!(ran.said("g", told), "{told} in {:?}", ran.said);
    }
    // Two of eleven complied.
    let compliance = ran.metric("e", "compliance/harmful").value;
    assert!(compliance <= 2.0 / 11.0 + 1e-9, "{compliance}");
}

#[test]
fn a_teacher_learns_nothing_of_what_is_no_answer() {
    let server = Server::new(|seen, _| act(seen));
    let study = Study::new();
    let words = WORDS.map(|(word, ..)| word);
    let node = "kind = \"teacher\"\nfrom = \"endpoint\"\nsamples = 1\nendpoint.rejected = \"drop\"";
    let ran = study.run(&recipe(&study, &words, &server.url(), node));
    let kept: Vec<Conversation> = ran.rows("g", "conversations");
    assert_eq!(kept.len(), 1);
    assert_eq!(
        kept[0].messages[1].content,
        "<think>\nplan\n</think>\n\nMix."
    );
    let removed: Vec<Value> = ran.rows("g", "removed");
    let reasons: Vec<&str> = removed
        .iter()
        .map(|r| r["reason"].as_str().unwrap())
        .collect();
    let [rejected, empty, unfinished] = ["rejected", "empty", "unfinished"];
    assert_eq!(
        reasons,
        [
            rejected, empty, rejected, rejected, rejected, rejected, rejected, empty, empty,
            unfinished
        ]
    );
    // Reasoning before a tool call, or before nothing, has no answer to teach.
    for stop in ["tool_calls", "stop"] {
        let server = Server::new(move |seen, _| {
            match seen.body["messages"][0]["content"] == "How is it x" {
                true => choice(json!({ "content": "", "reasoning_content": "plan" }), stop),
                false => choice(json!({ "content": "a", "reasoning_content": "b" }), "stop"),
            }
        });
        let ran = study.run(&recipe(&study, &["x", "y"], &server.url(), node));
        assert_eq!(ran.rows::<Conversation>("g", "conversations").len(), 1);
    }
}

/// Every request is refused, whoever asks: the node fails and quotes what it was told.
#[test]
fn a_node_that_is_answered_nothing_fails() {
    for act in [
        error(400, "Unknown name \"seed\": Cannot find field.", "x"),
        error(403, "Unknown name \"seed\": Cannot find field.", "x"),
    ] {
        let answer = act.clone();
        let server = Server::new(move |_, _| answer.clone());
        for node in [
            "kind = \"generate\"\nendpoint.rejected = \"empty\"",
            "kind = \"generate\"\nendpoint.rejected = \"drop\"",
            "kind = \"teacher\"\nfrom = \"endpoint\"\nendpoint.rejected = \"drop\"",
        ] {
            let study = Study::new();
            let recipe = recipe(&study, &["a", "b", "c"], &server.url(), node);
            let failure = study.try_run(&recipe).failure("g");
            assert!(failure.contains("Unknown name \"seed\""), "{failure}");
            assert!(failure.contains("/v1/chat/completions"), "{failure}");
        }
    }
}

/// One prompt without an answer, that is dropped or empty, in the first run and in later ones.
#[test]
fn one_prompt_ends_no_node_and_no_rerun() {
    for word in ["flagged", "forbidden", "nothing"] {
        let server = Server::new(|seen, _| act(seen));
        let study = Study::new();
        let at = |rejected: &str| {
            let node = format!("kind = \"generate\"\nendpoint.rejected = \"{rejected}\"");
            recipe(&study, &[word, "b", "c", "d"], &server.url(), &node)
        };
        let failure = study.try_run(&at("fail")).failure("g");
        assert!(
            failure.contains("1 of 4 requests were not answered"),
            "{failure}"
        );
        // Now it is the only one that is asked.
        let before = server.requests();
        let rows: Vec<Completion> = study.run(&at("empty")).rows("g", "completions");
        assert_eq!((rows.len(), server.requests() - before), (4, 1), "{word}");
        let rows: Vec<Completion> = study.run(&at("drop")).rows("g", "completions");
        assert_eq!(rows.len(), 3, "{word}");
    }
}

/// What is dropped stands beside the rates of the others, and is in the values by which two evaluations are compared.
#[test]
fn what_is_dropped_is_told_by_whoever_measures_the_others() {
    let server = Server::new(|seen, _| act(seen));
    let study = Study::new();
    let of = |rejected: &str| {
        let node = format!("kind = \"generate\"\nendpoint.rejected = \"{rejected}\"");
        let words = ["flagged", "b", "forbidden", "d", "e"];
        recipe(&study, &words, &server.url(), &node)
            + "[node.eval]\nkind = \"evaluate\"\nin = { completions = \"g\" }\nscorer = \"refusal\"\n\
               [node.long]\nkind = \"lengths\"\nin = { completions = \"g\" }\ncount = \"words\"\n"
    };
    let ran = study.run(&of("drop"));
    for node in ["eval", "long"] {
        let dropped = ran.metric(node, "dropped");
        assert_eq!((dropped.value, dropped.n), (0.4, 5), "{node}");
        assert_eq!(ran.metric(node, "dropped/harmful").value, 0.4, "{node}");
        let values = ran.text(node, "metrics", VALUES);
        let values: Vec<Measured> = (values.lines())
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let lost = values.iter().filter(|row| row.values["dropped"] > 0.0);
        let only = |row: &&Measured| row.values.keys().all(|name| name.starts_with("dropped"));
        assert!(lost.clone().all(|row| only(&row)), "{values:?}");
        assert_eq!((values.len(), lost.count()), (5, 2), "{node}");
    }
    let metrics = ran.text("eval", "metrics", METRICS);
    let Metrics { metrics } = serde_json::from_str(&metrics).unwrap();
    let beside = beside::of("compliance/harmful", &metrics).unwrap();
    assert_eq!(
        (ran.metric("eval", "compliance/harmful").n, beside.dropped),
        (3, Some(0.4))
    );
    assert!(beside.much() && beside.text().unwrap().contains("40.0 % dropped"));
    let doubt = doubt::warning("`eval`", &metrics).unwrap();
    assert!(
        doubt.contains("40.0 % of the responses of `eval` were not given"),
        "{doubt}"
    );
    // Nothing is dropped where nothing may be.
    let ran = study.run(&of("empty"));
    let metrics = ran.text("eval", "metrics", METRICS);
    assert!(!metrics.contains("dropped"), "{metrics}");
}

/// A server whose template opens the think block, without a parser of it: an answer that was cut off within has no tag at all.
#[test]
fn what_a_template_opened_is_open_in_every_answer() {
    let server = Server::new(|seen, _| {
        let asked = seen.body["messages"][0]["content"].as_str().unwrap();
        match asked.ends_with("cut") {
            true => choice(json!({ "content": "Okay, the plan is" }), "length"),
            false => choice(json!({ "content": "Okay.\n</think>\n\nMix." }), "stop"),
        }
    });
    let study = Study::new();
    let recipe = recipe(&study, &["cut", "b"], &server.url(), "kind = \"generate\"");
    let rows: Vec<Completion> = study.run(&recipe).rows("g", "completions");
    let came: Vec<Outcome> = rows.iter().map(|r| r.outcome()).collect();
    assert_eq!(came, [Outcome::CutOff, Outcome::Answered]);
}
