//! Replies of chat servers, as they come: choices in any order, nulls, reasoning in one of three places.

use super::Answer;
use crate::base::response::{CLOSE, OPEN};
use crate::services::protocol::{Reply, Usage};
use serde_json::Value;

/// Says `finish_reason` where a server gave up on an answer (DeepSeek, SGLang, routers): it is none.
const BROKEN_OFF: [&str; 4] = ["abort", "aborted", "error", "insufficient_system_resource"];

/// `n`: answers that were asked for; servers that do not know `n` give one. Choices beyond `n`, second ones of a number, and those
/// that broke off are not taken. Errors: what makes no sense of the reply.
pub fn reply(body: &Value, n: usize, plain: bool, limit: u64) -> Result<Reply<Answer>, String> {
    let choices = body.get("choices").and_then(Value::as_array);
    let choices = choices.ok_or("it has no `choices`")?;
    let usage = usage(body);
    let served = body.get("model").and_then(Value::as_str).map(String::from);
    let each = usage.map_or(0, |u| u.completion / choices.len().max(1) as u64);
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
            Err(told) => {
                wrong = told;
                continue;
            }
        };
        answer.tokens = each;
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

fn answer(choice: &Value, plain: bool) -> Result<Answer, String> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(String::from);
    let stop = text(choice.get("finish_reason")).unwrap_or_default();
    let message = match plain {
        true => choice,
        false => choice
            .get("message")
            .filter(|m| m.is_object())
            .ok_or("a choice has no `message`")?,
    };
    let content = match plain {
        true => text(message.get("text")),
        false => content(message.get("content")),
    };
    let apart = text(message.get("reasoning_content")).or_else(|| text(message.get("reasoning")));
    let apart = apart.filter(|r| !r.trim().is_empty());
    let refusal = text(message.get("refusal")).filter(|r| !r.is_empty());
    if BROKEN_OFF.contains(&&*stop) {
        return Err(format!("an answer broke off: `finish_reason` is `{stop}`"));
    }
    // Nothing at all may be an answer: a limit that was reached in reasoning that is not shown, a filter. It says so.
    if content.is_none() && apart.is_none() && refusal.is_none() && stop.is_empty() {
        return Err("a choice has neither content nor reasoning nor refusal".into());
    }
    let content = content.unwrap_or_default();
    let (reasoning, content) = match apart {
        Some(reasoning) => (Some(reasoning), content),
        // Ready text may end inside of the reasoning; whoever wrote it knows how to read on.
        None if plain => (None, content),
        None => split(&content),
    };
    Ok(Answer {
        reasoning: reasoning.map(|r| r.trim().to_string()),
        content,
        stop,
        refusal,
        tokens: 0,
        logps: logps(choice),
        token_ids: token_ids(choice),
        served: None,
    })
}

/// A string, or a list of parts with texts.
fn content(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|p| p.get("text")?.as_str());
            Some(texts.collect())
        }
        _ => None,
    }
}

/// Reasoning in think tags. Templates that write the opening tag into the prompt leave only the closing one.
fn split(content: &str) -> (Option<String>, String) {
    let open = content.trim_start().strip_prefix(OPEN);
    match (open.unwrap_or(content).split_once(CLOSE), open) {
        (Some((reasoning, answer)), _) => {
            (Some(reasoning.to_string()), answer.trim_start().to_string())
        }
        // It reasoned until the limit.
        (None, Some(reasoning)) => (Some(reasoning.to_string()), String::new()),
        (None, None) => (None, content.to_string()),
    }
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
