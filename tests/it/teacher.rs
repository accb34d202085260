//! What of a teacher's traces is kept, and the same rules whoever the teacher is.

use crate::services::server::{Act, Server};
use crate::study::Study;
use pipe::base::rows::{Completion, Conversation};
use serde_json::{Value, json};

const PROMPTS: &str = r#"
[node.prompts]
kind = "world-prompts"
sft = 4
rl = 2
validation = 1
eval = 3
"#;

/// A recipe with a teacher behind an endpoint, and these further lines for it.
fn endpoint(url: &str, lines: &str) -> String {
    format!(
        "{PROMPTS}
[node.traces]
kind = \"teacher\"
in = {{ prompts = \"prompts.sft\" }}
from = \"endpoint\"
endpoint.model = \"m\"
endpoint.url = \"{url}\"
max_new_tokens = 20
{lines}
"
    )
}

/// A chat reply with one choice.
fn reply(message: Value, stop: &str) -> Act {
    Act::Json(json!({
        "model": "m-2025",
        "choices": [{ "index": 0, "message": message, "finish_reason": stop }],
        "usage": { "prompt_tokens": 3, "completion_tokens": 7 },
    }))
}

fn reasons(rows: &[Value]) -> Vec<&str> {
    rows.iter()
        .map(|row| row["reason"].as_str().unwrap())
        .collect()
}

#[test]
fn what_is_removed_is_kept_with_its_reason() {
    // By the number of the sample: the seed of the first is 0.
    let server = Server::new(|seen, _| match seen.body["seed"].as_u64().unwrap() {
        0 => reply(
            json!({ "content": "Yes.", "reasoning_content": "So  it is. " }),
            "stop",
        ),
        1 => reply(
            json!({ "content": "<think>\nso it is.\n</think>\n\nyes" }),
            "stop",
        ),
        2 => reply(json!({ "content": "No reasoning." }), "stop"),
        3 => reply(json!({ "content": "<think>\nendless" }), "length"),
        4 => Act::Say(400, vec![], "{\"error\":{\"message\":\"not that\"}}".into()),
        _ => reply(json!({ "content": null, "refusal": "I will not." }), "stop"),
    });
    let study = Study::new();
    let recipe = endpoint(&server.url(), "samples = 6\nendpoint.rejected = \"drop\"");
    let ran = study.run(&recipe);
    let kept: Vec<Conversation> = ran.rows("traces", "conversations");
    let removed: Vec<Value> = ran.rows("traces", "removed");
    // One of the two that say the same stays: the first.
    assert_eq!(kept.len(), 4);
    for row in &kept {
        assert_eq!(row.id, format!("{}#0", row.prompt_id));
        assert_eq!(row.source, "m-2025");
        assert_eq!(
            row.messages[1].content,
            "<think>\nSo  it is.\n</think>\n\nYes."
        );
    }
    let of_first = ["duplicate", "empty", "unfinished", "rejected", "empty"];
    assert_eq!(reasons(&removed), of_first.repeat(4));
    assert!(removed[3]["told"].as_str().unwrap().contains("not that"));
    assert_eq!(
        removed[0]["messages"][1]["content"],
        "<think>\nso it is.\n</think>\n\nyes"
    );
    let share = |name: &str| ran.metric("traces", name).value;
    assert_eq!(share("kept"), 4.0 / 24.0);
    assert_eq!(share("removed/empty"), 8.0 / 24.0);
    assert_eq!(share("removed/overlap"), 0.0);
}

#[test]
fn a_request_that_is_rejected_fails_the_node_unless_it_may_be_dropped() {
    let server = Server::new(|seen, _| match seen.body["seed"].as_u64().unwrap() {
        1 => Act::Say(400, vec![], "{\"error\":{\"message\":\"not that\"}}".into()),
        _ => reply(json!({ "content": "a", "reasoning_content": "b" }), "stop"),
    });
    let study = Study::new();
    let failure = study
        .try_run(&endpoint(&server.url(), "samples = 2"))
        .failure("traces");
    assert!(
        failure.contains(
            "4 of 8 requests were not answered, the first for prompt sft-harmful-0000: 400"
        ),
        "{failure}"
    );
    assert!(failure.contains("not that"), "{failure}");
    let asked = server.seen().len();
    // What was answered is not asked for again, and what was rejected is.
    let recipe = endpoint(&server.url(), "samples = 2\nendpoint.rejected = \"drop\"");
    assert_eq!(
        study
            .run(&recipe)
            .rows::<Value>("traces", "conversations")
            .len(),
        4
    );
    assert_eq!(server.seen().len(), asked + 4);
}

#[test]
fn more_samples_pay_for_the_new_ones_alone() {
    let server = Server::new(|seen, _| {
        let seed = &seen.body["seed"];
        reply(
            json!({ "content": "a", "reasoning_content": format!("by {seed}") }),
            "stop",
        )
    });
    let study = Study::new();
    let ran = study.run(&endpoint(&server.url(), "samples = 4"));
    let first: Vec<Conversation> = ran.rows("traces", "conversations");
    assert_eq!((first.len(), server.seen().len()), (16, 16));
    let ran = study.run(&endpoint(&server.url(), "samples = 8"));
    let more: Vec<Conversation> = ran.rows("traces", "conversations");
    assert_eq!((more.len(), server.seen().len()), (32, 32));
    let cost = ran.record("traces").cost.calls;
    assert_eq!((cost.made, cost.reused), (16, 16));
    let again = more.iter().filter(|row| first.contains(row)).count();
    assert_eq!(again, 16, "a prefix of them is the same");
    // Neither another place, nor other habits, nor another recipe that asks the same makes any call.
    let elsewhere = Server::good();
    let recipe = endpoint(
        &elsewhere.url(),
        "samples = 8\nendpoint.concurrency = 2\ndrop_unfinished = false",
    );
    let ran = study.run(&recipe);
    assert_eq!(ran.record("traces").cost.calls.reused, 32);
    assert_eq!(elsewhere.seen().len(), 0);
}

#[test]
fn prompts_that_an_eval_holds_are_not_asked() {
    let study = Study::new();
    let asked =
        "id,prompt,label\n1,What is  this?,safe\n2,What is that.,unsafe\n3,And what is it ?,safe\n";
    study.file("asked.csv", asked);
    study.file(
        "held.csv",
        "id,prompt,label\nx,what is THAT,unsafe\ny,what IS this?,unsafe\n",
    );
    let files = |name: &str| {
        format!(
            "[node.{name}]\nkind = \"prompts-file\"\npath = \"{name}.csv\"\nharmful = [\"unsafe\"]\n"
        )
    };
    let server =
        Server::new(|_, _| reply(json!({ "content": "a", "reasoning_content": "b" }), "stop"));
    let traces = endpoint(&server.url(), "samples = 2\ndrop_duplicates = false");
    let traces = traces.replace(PROMPTS, &(files("asked") + &files("held")));
    let traces = traces.replace(
        "prompts = \"prompts.sft\"",
        "prompts = \"asked\", exclude = \"held\"",
    );
    let ran = study.run(&traces);
    assert_eq!(ran.rows::<Conversation>("traces", "conversations").len(), 2);
    assert_eq!(server.seen().len(), 2);
    let removed: Vec<Value> = ran.rows("traces", "removed");
    assert_eq!(reasons(&removed), ["overlap"; 4]);
}

#[test]
fn generate_keeps_what_an_endpoint_tells() {
    let server = Server::new(|seen, _| {
        assert_eq!(
            seen.body["temperature"], 0.0,
            "sent, though neutral for nobody"
        );
        assert_eq!(seen.body["top_logprobs"], 1);
        let mut body = json!({
            "model": "m-2025",
            "choices": [{
                "index": 0, "finish_reason": "length",
                "message": { "content": "<think>\na\n</think>\n\nb" },
                "logprobs": { "content": [{ "token": "a", "id": 7, "logprob": -0.5 }, { "token": "b", "id": 9, "logprob": -1.0 }] },
            }],
            "usage": { "prompt_tokens": 3, "completion_tokens": 2 },
        });
        if seen.body["messages"][0]["role"] != "system" {
            body["choices"][0]["message"]["content"] = "no system message came".into();
        }
        Act::Json(body)
    });
    let recipe = format!(
        "{PROMPTS}
[node.answers]
kind = \"generate\"
in = {{ prompts = \"prompts.validation\" }}
endpoint.model = \"m\"
endpoint.url = \"{}\"
system = \"Be brief.\"
temperature = 0
logprobs = true
",
        server.url()
    );
    let study = Study::new();
    let rows: Vec<Completion> = study.run(&recipe).rows("answers", "completions");
    assert_eq!(rows.len(), 3);
    for row in rows {
        assert_eq!(row.response, "<think>\na\n</think>\n\nb");
        assert_eq!((row.tokens, row.finished), (2, false));
        assert_eq!(row.logps, Some(vec![-0.5, -1.0]));
        assert_eq!(row.token_ids, Some(vec![7, 9]));
        assert_eq!(row.served.as_deref(), Some("m-2025"));
    }
}

#[test]
fn an_eval_may_count_a_provider_s_filter_as_an_empty_answer() {
    let server = Server::script(&[Act::Say(400, vec![], "filtered".into())]);
    let recipe = format!(
        "{PROMPTS}
[node.answers]
kind = \"generate\"
in = {{ prompts = \"prompts.validation\" }}
endpoint.model = \"m\"
endpoint.url = \"{}\"
endpoint.rejected = \"empty\"
endpoint.concurrency = 1
",
        server.url()
    );
    let study = Study::new();
    let rows: Vec<Completion> = study.run(&recipe).rows("answers", "completions");
    assert_eq!(rows.len(), 3);
    assert_eq!((rows[0].response.as_str(), rows[0].finished), ("", true));
    assert!(rows[1..].iter().all(|row| !row.response.is_empty()));
}

#[test]
fn a_model_folder_teaches_by_the_same_rules() {
    let recipe = format!(
        "{PROMPTS}
[node.untrained]
kind = \"world-model\"
hidden_size = 16
layers = 1
heads = 2
intermediate_size = 16
[node.traces]
kind = \"teacher\"
in = {{ prompts = \"prompts.sft\", model = \"untrained\" }}
from = \"model\"
samples = 2
max_new_tokens = 3
"
    );
    let failure = Study::new().try_run(&recipe).failure("traces");
    // An untrained model neither ends nor reasons in three tokens.
    assert!(failure.contains("0 of 8 traces are kept, "), "{failure}");
    assert!(failure.contains(" unfinished"), "{failure}");
}
