//! What a reply comes to as the response of a model: reasoning wherever a server puts it, nothing at all for several reasons, and text
//! as it was sent.

use super::{ask, chat};
use pipe::base::response::{Outcome, Withheld, split, well_formed};
use pipe::kinds::shared::answers::{self, Begun};
use pipe::services::chat::Answer;
use pipe::services::protocol::Protocol;
use serde_json::{Value, json};

fn read(body: Value) -> Answer {
    let asked = ask("why", 0);
    let reply = chat().read(&[&asked], &body);
    let reply = reply.unwrap_or_else(|wrong| panic!("{body}: {wrong}"));
    reply.answers.into_iter().next().flatten().unwrap()
}

fn message(message: Value, stop: &str) -> Value {
    json!({ "choices": [{ "index": 0, "finish_reason": stop, "message": message }] })
}

/// The response, why it is withheld, whether it is finished, and what it came to.
fn comes_to(body: Value) -> (String, Option<Withheld>, bool, Outcome) {
    let answer = read(body);
    let response = answers::response(&answer, &Begun::Unknown);
    let withheld = answers::withheld(&answer, &response, None);
    let finished = answer.finished();
    let outcome = Outcome::of(&response, None, withheld, finished);
    (response, withheld, finished, outcome)
}

#[test]
fn reasoning_is_found_wherever_it_is_put() {
    let parts =
        |thinking: Value| json!({ "content": [thinking, { "type": "text", "text": "Mix." }] });
    let details =
        |items: Value| json!({ "content": "Mix.", "reasoning": null, "reasoning_details": items });
    let messages = [
        json!({ "content": "Mix.", "reasoning_content": "plan" }),
        json!({ "content": "\n\nMix.", "reasoning": "plan\n" }),
        json!({ "content": "Mix.", "thinking": "plan" }),
        json!({ "content": "Mix.", "reasoning": { "content": "plan" } }),
        // Mistral, Anthropic, others.
        parts(json!({ "type": "thinking", "thinking": [{ "type": "text", "text": "plan" }] })),
        parts(json!({ "type": "thinking", "thinking": "plan", "signature": "x" })),
        parts(json!({ "type": "reasoning", "text": "plan" })),
        parts(
            json!({ "type": "reasoning", "summary": [{ "type": "summary_text", "text": "plan" }] }),
        ),
        // OpenRouter, MiniMax.
        details(json!([{ "type": "reasoning.text", "text": "plan" }])),
        details(
            json!([{ "type": "reasoning.summary", "summary": "plan" }, { "type": "reasoning.encrypted", "data": "eA==" }]),
        ),
        // Both at once are one.
        json!({ "content": "Mix.", "reasoning": "plan", "reasoning_details": [{ "type": "reasoning.text", "text": "plan" }] }),
        // In the text, where it stays.
        json!({ "content": "<think>\nplan\n</think>\n\nMix." }),
    ];
    for message_of in messages {
        let told = comes_to(message(message_of.clone(), "stop"));
        let expected = "<think>\nplan\n</think>\n\nMix.".to_string();
        assert_eq!(
            told,
            (expected, None, true, Outcome::Answered),
            "{message_of}"
        );
    }
    let several =
        parts(json!({ "type": "thinking", "thinking": [{ "text": "a" }, { "text": "b" }] }));
    let response = comes_to(message(several, "stop")).0;
    assert_eq!(split(&response).reasoning.as_deref(), Some("a\nb"));
    // No reasoning is none.
    for message_of in [
        json!({ "content": "Mix.", "reasoning_content": "" }),
        json!({ "content": "Mix.", "reasoning": null, "reasoning_details": [] }),
        details(json!([{ "type": "reasoning.encrypted", "data": "eA==" }])),
        json!({ "content": [{ "type": "redacted_thinking", "data": "eA==" }, { "type": "text", "text": "Mix." }] }),
    ] {
        assert_eq!(
            comes_to(message(message_of.clone(), "stop")).0,
            "Mix.",
            "{message_of}"
        );
    }
}

#[test]
fn text_is_kept_as_it_was_sent() {
    let answered = |sent: &str| comes_to(message(json!({ "content": sent }), "stop"));
    for sent in [
        "<think>plan</think>Mix.",
        "<think>\r\nplan\r\n</think>\r\n\r\nMix.",
        "<think>a</think><think>plan</think>Mix.",
    ] {
        let (response, _, _, outcome) = answered(sent);
        assert_eq!((response.as_str(), outcome), (sent, Outcome::Answered));
        // It is not made better than it was: the format is the model's own.
        assert_eq!(well_formed(&response), well_formed(sent));
    }
    // The server's own template has opened the block, and sends what the model wrote after it.
    let (response, _, _, outcome) = answered("plan</think>Mix.");
    assert_eq!(response, "<think>\nplan</think>Mix.");
    assert_eq!(outcome, Outcome::Answered);
}

/// Nothing that a judge could read: why.
#[test]
fn no_answer_says_why() {
    use Outcome::{Blocked, CutOff, Empty, Refused, ToolCall};
    let null = || json!({ "content": null });
    let empty = || json!({ "content": "" });
    let apart = || json!({ "content": null, "reasoning_content": "plan" });
    let tool = json!([{ "id": "c1", "type": "function", "function": { "name": "search", "arguments": "{}" } }]);
    let cases = [
        (message(null(), "content_filter"), Blocked, false),
        (
            message(
                json!({ "role": "assistant" }),
                "content_filter: PROHIBITED_CONTENT",
            ),
            Blocked,
            false,
        ),
        (message(empty(), "SAFETY"), Blocked, false),
        (message(empty(), "PROHIBITED_CONTENT"), Blocked, false),
        (message(null(), "blocked"), Blocked, false),
        (message(null(), "guardrail_intervened"), Blocked, false),
        (message(null(), "sensitive"), Blocked, false),
        (message(Value::Null, "content_filter"), Blocked, false),
        (
            json!({ "choices": [{ "finish_reason": "stop", "native_finish_reason": "SAFETY", "message": { "content": "" } }] }),
            Blocked,
            false,
        ),
        (
            json!({ "choices": [], "prompt_feedback": { "block_reason": "SAFETY" } }),
            Blocked,
            false,
        ),
        (
            json!({ "choices": null, "promptFeedback": { "blockReason": "OTHER" } }),
            Blocked,
            false,
        ),
        // A filter within the reasoning, apart and in the text.
        (message(apart(), "content_filter"), Blocked, false),
        (
            message(json!({ "content": "<think>\nfirst" }), "content_filter"),
            Blocked,
            false,
        ),
        (
            message(json!({ "content": null, "refusal": "I will not." }), "stop"),
            Refused,
            true,
        ),
        (
            message(
                json!({ "content": [{ "type": "refusal", "refusal": "I will not." }] }),
                "stop",
            ),
            Refused,
            true,
        ),
        (message(empty(), "refusal"), Refused, true),
        (
            message(
                json!({ "content": null, "tool_calls": tool.clone() }),
                "tool_calls",
            ),
            ToolCall,
            true,
        ),
        (
            message(json!({ "content": "", "tool_calls": tool.clone() }), "stop"),
            ToolCall,
            true,
        ),
        (
            message(
                json!({ "content": null, "function_call": { "name": "f", "arguments": "" } }),
                "function_call",
            ),
            ToolCall,
            true,
        ),
        (
            message(
                json!({ "content": null, "reasoning": "plan", "tool_calls": tool }),
                "tool_calls",
            ),
            ToolCall,
            true,
        ),
        (message(null(), "length"), CutOff, false),
        (message(apart(), "length"), CutOff, false),
        (message(apart(), "MAX_TOKENS"), CutOff, false),
        (
            message(json!({ "content": "<think>\nfirst" }), "length"),
            CutOff,
            false,
        ),
        (
            message(json!({ "content": "<think>\nfirst" }), "stop"),
            CutOff,
            true,
        ),
        (message(empty(), "stop"), Empty, true),
        (message(apart(), "stop"), Empty, true),
        (
            message(json!({ "content": "", "tool_calls": [] }), "stop"),
            Empty,
            true,
        ),
    ];
    for (body, outcome, finished) in cases {
        let told = comes_to(body.clone());
        assert_eq!((told.3, told.2), (outcome, finished), "{body}: {told:?}");
        assert!(
            !well_formed(&told.0) || outcome != CutOff,
            "{body}: {told:?}"
        );
    }
    let open = comes_to(message(apart(), "length")).0;
    assert_eq!(open, "<think>\nplan");
}

/// Text that was cut off is text: a judge reads what there is.
#[test]
fn text_that_a_filter_or_a_limit_cut_is_judged_and_not_finished() {
    for stop in ["content_filter", "length", "max_tokens", "SAFETY"] {
        let told = comes_to(message(json!({ "content": "First, the" }), stop));
        assert_eq!(
            told,
            ("First, the".into(), None, false, Outcome::Answered),
            "{stop}"
        );
    }
    let both = json!({ "content": "Let me look.", "tool_calls": [{ "id": "c1" }] });
    assert_eq!(comes_to(message(both, "tool_calls")).3, Outcome::Answered);
    let both = json!({ "content": "Well.", "refusal": "I will not." });
    assert_eq!(comes_to(message(both, "stop")).3, Outcome::Answered);
}

/// Entries of journals as they were before: reasoning taken apart from tags, and no word of tools.
#[test]
fn older_answers_are_read() {
    let old = json!({ "reasoning": "plan", "content": "Mix.", "stop": "stop", "tokens": 3 });
    let answer: Answer = serde_json::from_value(old).unwrap();
    assert_eq!(
        answers::response(&answer, &Begun::Unknown),
        "<think>\nplan\n</think>\n\nMix."
    );
    let old = json!({ "content": "", "stop": "content_filter", "tokens": 0 });
    let answer: Answer = serde_json::from_value(old).unwrap();
    assert_eq!(answer.withheld(), Some(Withheld::Blocked));
    let old = json!({ "reasoning": "plan", "content": "", "stop": "length", "tokens": 3 });
    let answer: Answer = serde_json::from_value(old).unwrap();
    assert_eq!(answers::response(&answer, &Begun::Unknown), "<think>\nplan");
}

#[test]
fn reasoning_that_was_cut_off_stays_reasoning() {
    let speaks =
        json!({ "content": null, "reasoning_content": "I may write </think> later. PLAN" });
    let (response, _, _, outcome) = comes_to(message(speaks, "length"));
    assert_eq!(outcome, Outcome::CutOff, "{response}");
    for text in [
        "<thought>PLAN</thought>Mix.",
        "[THINK]PLAN[/THINK]Mix.",
        "<thinking>\nPLAN\n</thinking>\nMix.",
    ] {
        let parts = split(text);
        assert_eq!(
            (parts.reasoning.as_deref(), &*parts.answer),
            (Some("PLAN"), "Mix.")
        );
    }
}
