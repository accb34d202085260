//! Replies of chat servers, as they come: choices in any order, nulls, reasoning in one of several places, and nothing at all for
//! several reasons.

use super::answer::Answer;
use crate::protocol::{Reply, Usage, estimate};
use serde_json::Value;

/// Says `finish_reason` where a server gave up on an answer (DeepSeek, SGLang, routers): it is none.
const BROKEN_OFF: [&str; 4] = ["abort", "aborted", "error", "insufficient_system_resource"];

/// Whether a `finish_reason` is that of a length limit: OpenAI's, Anthropic's, Google's, Mistral's.
pub fn limited(stop: &str) -> bool {
    const LIMITS: [&str; 5] = [
        "length",
        "max_tokens",
        "max_output_tokens",
        "model_length",
        "model_context_window_exceeded",
    ];
    LIMITS.iter().any(|word| stop.eq_ignore_ascii_case(word))
}

/// Whether it is that of a provider's filter: OpenAI's and Azure's `content_filter`, Google's many (`SAFETY`, `PROHIBITED_CONTENT`,
/// `BLOCKLIST`, …; also behind `content_filter: `), Bedrock's `guardrail_intervened`, Zhipu's `sensitive`.
pub fn filtered(stop: &str) -> bool {
    const FILTERS: [&str; 11] = [
        "content_filter",
        "contentfilter",
        "content filter",
        "safety",
        "prohibited",
        "block",
        "recitation",
        "spii",
        "guardrail",
        "sensitive",
        "flagged",
    ];
    let stop = stop.to_lowercase();
    FILTERS.iter().any(|word| stop.contains(word))
}

/// Anthropic's word for a model that declines.
pub fn refuses(stop: &str) -> bool {
    stop.eq_ignore_ascii_case("refusal")
}

pub fn calls(stop: &str) -> bool {
    const CALLS: [&str; 4] = ["tool_calls", "tool_call", "function_call", "tool_use"];
    CALLS.iter().any(|word| stop.eq_ignore_ascii_case(word))
}

/// `n`: answers that were asked for; servers that do not know `n` give one. Choices beyond `n`, second ones of a number, and those
/// that broke off are not taken. Errors: what makes no sense of the reply.
pub fn reply(body: &Value, n: usize, plain: bool, limit: u64) -> Result<Reply<Answer>, String> {
    let choices = body.get("choices").and_then(Value::as_array);
    let none = choices.is_none_or(Vec::is_empty);
    if let Some(reason) = blocked(body).filter(|_| none) {
        return Ok(kept_back(body, n, &reason));
    }
    let choices = choices.ok_or("it has no `choices`")?;
    let usage = usage(body);
    let served = body.get("model").and_then(Value::as_str).map(String::from);
    let each = usage.map(|u| u.completion / choices.len().max(1) as u64);
    let number = |choice: &Value| choice.get("index").and_then(Value::as_u64);
    // Some servers give all of them the same number.
    let numbered = choices.len() != n || choices.iter().any(|c| number(c) != number(&choices[0]));
    let mut answers: Vec<Option<Answer>> = vec![None; n];
    let mut wrong = "it has no choice that can be used".to_string();
    for (place, choice) in choices.iter().enumerate() {
        let number = number(choice).filter(|_| numbered);
        let number = number.map_or(place, |number| number as usize);
        let Some(slot @ None) = answers.get_mut(number) else {
            continue;
        };
        let mut answer = match answer(choice, plain) {
            Ok(answer) => answer,
            Err(reason) => {
                wrong = reason;
                continue;
            }
        };
        answer.tokens = each.unwrap_or_else(|| written(&answer));
        answer.served = served.clone();
        if answer.stop.is_empty() {
            let full = usage.is_some_and(|u| u.completion >= limit * n as u64);
            answer.stop = if full { "length" } else { "stop" }.into();
        }
        *slot = Some(answer);
    }
    if answers.iter().all(Option::is_none) {
        return Err(wrong);
    }
    Ok(Reply {
        answers,
        served,
        usage,
    })
}

/// Tokens of an answer that the server did not count.
fn written(answer: &Answer) -> u64 {
    let logps = answer.logps.as_ref().map(Vec::len);
    let counted = answer.token_ids.as_ref().map(Vec::len).or(logps);
    let reasoning = || answer.reasoning.as_deref().map_or(0, estimate);
    let guessed = || estimate(&answer.content) + reasoning();
    counted.map_or_else(guessed, |n| n as u64)
}

/// Why Google's filter kept the prompt from the model, where it did.
fn blocked(body: &Value) -> Option<String> {
    let feedback = body
        .get("prompt_feedback")
        .or_else(|| body.get("promptFeedback"))?;
    let reason = feedback
        .get("block_reason")
        .or_else(|| feedback.get("blockReason"))?;
    reason.as_str().map(|reason| format!("blocked: {reason}"))
}

/// A reply without a choice, since none was let through.
fn kept_back(body: &Value, n: usize, reason: &str) -> Reply<Answer> {
    let served = body.get("model").and_then(Value::as_str).map(String::from);
    let answer = Answer {
        stop: reason.to_string(),
        served: served.clone(),
        ..nothing()
    };
    Reply {
        answers: vec![Some(answer); n],
        served,
        usage: usage(body),
    }
}

fn nothing() -> Answer {
    Answer {
        reasoning: None,
        content: String::new(),
        stop: String::new(),
        refusal: None,
        called: false,
        tokens: 0,
        logps: None,
        token_ids: None,
        served: None,
    }
}

static NULL: Value = Value::Null;

fn answer(choice: &Value, plain: bool) -> Result<Answer, String> {
    let stop = stop(choice);
    let message = match choice.get("message").filter(|m| m.is_object()) {
        _ if plain => choice,
        Some(message) => message,
        // What was kept back may have none.
        None if filtered(&stop) => &NULL,
        None => return Err("a choice has no `message`".into()),
    };
    if BROKEN_OFF.contains(&&*stop) {
        return Err(format!("an answer broke off: `finish_reason` is `{stop}`"));
    }
    let place = message.get(if plain { "text" } else { "content" });
    let mut parts = Parts::default();
    parts.add(place);
    if parts.textless {
        return Err("a part of a choice's `content` is a text without `text`".into());
    }
    let reasoning = apart(message).or(some(parts.reasoning.join("\n")));
    let refusal = text(message.get("refusal")).and_then(some);
    let refusal = refusal.or(some(parts.refusal));
    let called = ["tool_calls", "function_call"].iter().any(|name| {
        let call = message.get(name);
        call.is_some_and(|c| c.is_object() || c.as_array().is_some_and(|c| !c.is_empty()))
    });
    let content = parts.content;
    let told = reasoning.is_some() || refusal.is_some() || called;
    if content.is_none() && !(filtered(&stop) || !plain && (told || says_nothing(place, &stop))) {
        return Err(lacking(choice, plain).into());
    }
    Ok(Answer {
        reasoning,
        content: content.unwrap_or_default(),
        stop,
        refusal,
        called,
        logps: logps(choice),
        token_ids: token_ids(choice),
        ..nothing()
    })
}

/// Whether a chat's message without a text is an answer all the same: a limit was reached in reasoning that is not shown, a model declined
/// or called a tool, or it ended, and the place of the text is there and empty (SGLang). What has no such place has no answer.
fn says_nothing(place: Option<&Value>, stop: &str) -> bool {
    limited(stop) || refuses(stop) || calls(stop) || place == Some(&NULL) && !stop.is_empty()
}

/// What a choice without a text lacks.
fn lacking(choice: &Value, plain: bool) -> &'static str {
    match (plain, choice.get("message").is_some()) {
        (true, true) => {
            "a choice has a `message` and no `text`, as if it were a chat's: does this place continue texts?"
        }
        (true, false) => "a choice has no text in `text`",
        (false, _) => "a choice has no text in `content`, and neither reasoning nor refusal",
    }
}

/// `finish_reason`; routers hide a filter of the provider's behind a common word, and tell it besides.
fn stop(choice: &Value) -> String {
    let reason = text(choice.get("finish_reason")).unwrap_or_default();
    match text(choice.get("native_finish_reason")) {
        Some(native) if filtered(&native) && !filtered(&reason) => native,
        _ => reason,
    }
}

/// Reasoning beside the content: DeepSeek's, OpenRouter's and vLLM's, Ollama's field, or a list of details (OpenRouter, MiniMax), which
/// repeats the field where both are there.
fn apart(message: &Value) -> Option<String> {
    let fields = ["reasoning_content", "reasoning", "thinking"];
    let field = fields
        .iter()
        .find_map(|name| some(gathered(message.get(name)).join("\n")));
    field.or_else(|| some(gathered(message.get("reasoning_details")).join("\n")))
}

/// What a message's content comes to.
#[derive(Default)]
struct Parts {
    /// None where there is no place for it.
    content: Option<String>,
    reasoning: Vec<String>,
    refusal: String,
    /// A part that says it is a text has none.
    textless: bool,
}

impl Parts {
    /// A string, or a list of parts: texts, reasoning (Mistral's and Anthropic's `thinking`, others' `reasoning`), refusals.
    fn add(&mut self, value: Option<&Value>) {
        match value {
            Some(Value::String(text)) => *self.content.get_or_insert_default() += text,
            Some(Value::Array(parts)) => {
                self.content.get_or_insert_default();
                parts.iter().for_each(|part| self.add(Some(part)));
            }
            Some(part @ Value::Object(_)) => {
                let kind = part.get("type").and_then(Value::as_str).unwrap_or("text");
                if kind.contains("thinking") || kind.contains("reasoning") {
                    self.reasoning.extend(gathered(Some(part)));
                } else if let Some(refusal) = text(part.get("refusal")) {
                    self.refusal += &refusal;
                } else {
                    let text = part.get("text");
                    let there = text.is_some_and(|t| t.is_string() || t.is_array());
                    self.textless |= kind.contains("text") && !there;
                    self.add(text);
                }
            }
            _ => {}
        }
    }
}

/// The texts of reasoning, in whichever of its shapes: a string, a list, an object with one of the fields that hold it. What is
/// encrypted is none. Bounded, as all that comes from outside.
fn gathered(value: Option<&Value>) -> Vec<String> {
    fn gather(value: &Value, depth: usize, into: &mut Vec<String>) {
        match value {
            Value::String(text) => into.extend(some(text.clone())),
            Value::Array(items) if depth > 0 => {
                items.iter().for_each(|item| gather(item, depth - 1, into));
            }
            Value::Object(map) if depth > 0 => {
                let fields = ["thinking", "reasoning", "text", "summary", "content"];
                let found = fields.iter().find_map(|name| map.get(*name));
                if let Some(found) = found {
                    gather(found, depth - 1, into);
                }
            }
            _ => {}
        }
    }
    let mut texts = vec![];
    if let Some(value) = value {
        gather(value, 6, &mut texts);
    }
    texts
}

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).map(String::from)
}

/// None where nothing is in it.
fn some(text: String) -> Option<String> {
    (!text.trim().is_empty()).then_some(text)
}

/// Of the answer's tokens, in order: chat's list of objects, or the older list of numbers.
fn logps(choice: &Value) -> Option<Vec<f64>> {
    let logprobs = choice.get("logprobs")?;
    if let Some(tokens) = logprobs.get("content").and_then(Value::as_array) {
        let each = tokens.iter().map(|t| t.get("logprob")?.as_f64());
        return each.collect();
    }
    let tokens = logprobs.get("token_logprobs")?.as_array()?;
    tokens.iter().map(Value::as_f64).collect()
}

/// vLLM's list of ids, or llama.cpp's beside each log-probability.
fn token_ids(choice: &Value) -> Option<Vec<u32>> {
    let id = |v: &Value| u32::try_from(v.as_u64()?).ok();
    if let Some(ids) = choice.get("token_ids").and_then(Value::as_array) {
        return ids.iter().map(id).collect();
    }
    let tokens = choice.get("logprobs")?.get("content")?.as_array()?;
    tokens.iter().map(|t| id(t.get("id")?)).collect()
}

/// Absent where the server does not tell both sides of it.
pub fn usage(body: &Value) -> Option<Usage> {
    let usage = body.get("usage").filter(|u| u.is_object())?;
    let number = |value: Option<&Value>| value.and_then(Value::as_u64);
    let prompt = number(usage.get("prompt_tokens"))?;
    let details = usage.get("prompt_tokens_details");
    let cached = number(details.and_then(|d| d.get("cached_tokens")))
        .or_else(|| number(usage.get("prompt_cache_hit_tokens")));
    let details = usage.get("completion_tokens_details");
    Some(Usage {
        prompt,
        cached: cached.unwrap_or(0),
        completion: number(usage.get("completion_tokens"))?,
        reasoning: number(details.and_then(|d| d.get("reasoning_tokens"))).unwrap_or(0),
        estimated: false,
    })
}
