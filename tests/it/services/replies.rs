//! Requests as they are sent, and replies as they come: choices in any order or too few, nulls, several items a request.

use super::server::{Act, Seen, Server, choice, share};
use super::{Space, ask, asked_of, asks, chat, endpoint};
use pipe::services::chat::{Ask, Chat, Dialect, Input, Sampling, seed};
use pipe::services::moderation::Moderation;
use pipe::services::score::{Item, Scoring};
use serde_json::{Value, json};

fn several() -> Chat {
    Chat {
        per_request: 4,
        ..chat()
    }
}

/// What the good server writes for the samples of `why`.
fn texts(samples: u32) -> Vec<String> {
    (0..samples)
        .map(|i| format!("why by {}", seed(0, i)))
        .collect()
}

/// A reply with these choices, by number.
fn choices(of: impl Fn(&Value) -> Vec<Value> + Send + Sync + 'static) -> Server {
    Server::new(move |seen: &Seen, _| {
        let choices = of(&seen.body);
        Act::Json(
            json!({ "choices": choices, "usage": { "prompt_tokens": 7, "completion_tokens": 40 } }),
        )
    })
}

fn n(body: &Value) -> u64 {
    body["n"].as_u64().unwrap()
}

/// Samples of one prompt, four a request: the answers must be those of the samples, whatever the server makes of `n`.
#[test]
fn several_choices_find_their_samples() {
    type Of = fn(&Value) -> Vec<Value>;
    let in_order: Of = |body| (0..n(body)).map(|i| choice(body, i)).collect();
    let backwards: Of = |body| (0..n(body)).rev().map(|i| choice(body, i)).collect();
    let only_one: Of = |body| vec![choice(body, 0)];
    let one_twice: Of = |body| {
        let mut all: Vec<Value> = (0..n(body)).map(|i| choice(body, i)).collect();
        if let [.., before, last] = &mut all[..] {
            *last = before.clone();
        }
        all
    };
    let too_many: Of = |body| (0..n(body) + 2).map(|i| choice(body, i)).collect();
    let one_broke_off: Of = |body| {
        let mut all: Vec<Value> = (0..n(body)).map(|i| choice(body, i)).collect();
        if all.len() > 1 {
            all[1]["finish_reason"] = json!("abort");
        }
        all
    };
    let unnumbered: Of = |body| {
        let mut all: Vec<Value> = (0..n(body)).map(|i| choice(body, i)).collect();
        all.iter_mut()
            .for_each(|choice| choice["index"] = Value::Null);
        all
    };
    let all_zero: Of = |body| {
        let mut all: Vec<Value> = (0..n(body)).map(|i| choice(body, i)).collect();
        all.iter_mut().for_each(|choice| choice["index"] = json!(0));
        all
    };
    // Requests for eight samples, four at a time.
    let cases: [(&str, Of, usize); 8] = [
        ("in order", in_order, 2),
        ("backwards", backwards, 2),
        ("`n` is not known", only_one, 8),
        ("one twice", one_twice, 4),
        ("too many", too_many, 2),
        ("one broke off", one_broke_off, 4),
        ("no numbers", unnumbered, 2),
        ("the same number", all_zero, 2),
    ];
    for (name, of, requests) in cases {
        let server = choices(of);
        let mut one = endpoint(&server);
        one.concurrency = 1;
        let asked = asked_of(several(), &one, &Space::new().folder(), &asks_of("why", 8));
        assert_eq!((asked.calls.made, asked.calls.retries), (8, 0), "{name}");
        assert_eq!(server.requests(), requests, "{name}");
        let answers = asked.answers();
        let contents: Vec<String> = answers.into_iter().map(|a| a.content).collect();
        assert_eq!(contents, texts(8), "{name}");
    }
}

fn asks_of(text: &str, samples: u32) -> Vec<Ask> {
    (0..samples).map(|sample| ask(text, sample)).collect()
}

#[test]
fn four_in_one_request_are_the_calls_of_four_requests() {
    let (one, four) = (Server::good(), Server::good());
    let space = Space::new();
    let first = asked_of(
        several(),
        &endpoint(&four),
        &space.folder(),
        &asks_of("why", 4),
    );
    assert_eq!(four.requests(), 1);
    let second = space.ask(&endpoint(&one), &asks_of("why", 4));
    assert_eq!(one.requests(), 0);
    assert_eq!(second.calls.reused, 4);
    assert_eq!(first.answers(), second.answers());
    // And only samples of one prompt go together.
    let server = Server::good();
    asked_of(
        several(),
        &endpoint(&server),
        &Space::new().folder(),
        &asks(3, 2),
    );
    assert_eq!(server.requests(), 3);
}

/// Content, reasoning and stop of a reply's one choice and usage; or that it makes no sense.
#[test]
fn nulls_are_read_as_what_they_mean() {
    let message = |choice: Value, usage: Value| json!({ "choices": [choice], "usage": usage });
    let told = json!({ "prompt_tokens": 7, "completion_tokens": 20 });
    let cases = [
        // A limit that was reached in reasoning that is not shown, and a filter: nothing, but an answer.
        (
            message(
                json!({ "finish_reason": "length", "message": { "content": null } }),
                told.clone(),
            ),
            Some(("", None, "length")),
        ),
        (
            message(
                json!({ "finish_reason": "content_filter", "message": { "content": null } }),
                told.clone(),
            ),
            Some(("", None, "content_filter")),
        ),
        (
            message(
                json!({ "finish_reason": null, "message": { "content": null } }),
                told.clone(),
            ),
            None,
        ),
        (
            message(
                json!({ "finish_reason": null, "message": { "content": "a" } }),
                told.clone(),
            ),
            Some(("a", None, "length")),
        ),
        (
            message(
                json!({ "finish_reason": null, "message": { "content": "a" } }),
                Value::Null,
            ),
            Some(("a", None, "stop")),
        ),
        (
            message(
                json!({ "finish_reason": "stop", "message": null }),
                told.clone(),
            ),
            None,
        ),
        (
            message(
                json!({ "index": null, "finish_reason": "stop", "message": { "content": null, "reasoning_content": "r" } }),
                told.clone(),
            ),
            Some(("", Some("r"), "stop")),
        ),
        (
            message(
                json!({ "finish_reason": "stop", "message": { "content": "a", "reasoning_content": null, "reasoning": "r\n" } }),
                told.clone(),
            ),
            Some(("a", Some("r\n"), "stop")),
        ),
        // As it was sent: whoever reads it takes it apart.
        (
            message(
                json!({ "finish_reason": "stop", "message": { "content": "<think>\nr\n</think>\n\na" } }),
                told.clone(),
            ),
            Some(("<think>\nr\n</think>\n\na", None, "stop")),
        ),
        (
            message(
                json!({ "finish_reason": "stop", "message": { "content": [{ "type": "text", "text": "a" }] } }),
                told.clone(),
            ),
            Some(("a", None, "stop")),
        ),
        (
            message(
                json!({ "finish_reason": "insufficient_system_resource", "message": { "content": "a" } }),
                told.clone(),
            ),
            None,
        ),
        // No place for the text, where nothing says why; or something else in it.
        (
            message(
                json!({ "finish_reason": "stop", "message": { "role": "assistant" } }),
                told.clone(),
            ),
            None,
        ),
        (
            message(
                json!({ "finish_reason": "stop", "message": { "content": 7 } }),
                told.clone(),
            ),
            None,
        ),
        (
            message(
                json!({ "finish_reason": "stop", "message": { "content": [{ "type": "text" }] } }),
                told.clone(),
            ),
            None,
        ),
        (
            message(
                json!({ "finish_reason": "stop", "message": { "content": null } }),
                told.clone(),
            ),
            Some(("", None, "stop")),
        ),
        (json!({ "choices": null }), None),
        (
            json!({ "error": null, "choices": [{ "finish_reason": "stop", "message": { "content": "a" } }] }),
            Some(("a", None, "stop")),
        ),
    ];
    for (reply, expected) in cases {
        let server = Server::script(&[Act::Json(reply.clone())]);
        let asked = Space::new().ask(&endpoint(&server), &[ask("why", 0)]);
        let calls = asked.calls;
        let answer = asked.answers().remove(0);
        match expected {
            Some((content, reasoning, stop)) => {
                let read = (&*answer.content, answer.reasoning.as_deref(), &*answer.stop);
                assert_eq!(read, (content, reasoning, stop), "{reply}");
                // Without a bill, the most that it can be.
                let told = reply["usage"].is_object();
                assert_eq!(calls.estimated, u64::from(!told), "{reply}");
                assert_eq!(calls.completion_tokens, 20, "{reply}");
            }
            None => assert_eq!(
                (server.requests(), &*answer.content),
                (2, "why by 0"),
                "{reply}"
            ),
        }
    }
}

/// The shape of a chat where texts are continued: no answer at all, and nothing of it is kept.
#[test]
fn a_continuation_without_a_text_is_no_empty_answer() {
    let message = json!({ "role": "assistant", "content": "a" });
    let of_chat =
        |stop: &str| json!({ "choices": [{ "finish_reason": stop, "message": message }] });
    let plain = || Chat {
        plain: true,
        ..chat()
    };
    let asks = [Ask {
        input: Input::Text("why".into()),
        sample: 0,
    }];
    let replies = [
        of_chat("stop"),
        of_chat("length"),
        json!({ "choices": [{ "finish_reason": "stop", "text": null }] }),
    ];
    for reply in replies {
        let space = Space::new();
        let odd = reply.clone();
        let server = Server::new(move |_, _| Act::Json(odd.clone()));
        let asked = asked_of(plain(), &endpoint(&server), &space.folder(), &asks);
        let said = asked.result.unwrap_err().to_string();
        let place = format!("POST {}/completions", server.url());
        assert!(said.contains(&place) && said.contains("`text`"), "{said}");
        assert_eq!(server.requests(), 5, "{reply}");
        let good = Server::good();
        let asked = asked_of(plain(), &endpoint(&good), &space.folder(), &asks);
        assert_eq!(asked.answers()[0].content, "why by 0", "{reply}");
    }
    // What a filter kept back has none.
    let server = Server::script(&[Act::Json(of_chat("content_filter"))]);
    let asked = asked_of(plain(), &endpoint(&server), &Space::new().folder(), &asks);
    assert_eq!(asked.answers()[0].stop, "content_filter");
}

/// Tokens that nobody counted are about as many as the text has, and not none.
#[test]
fn tokens_without_a_count_are_estimated() {
    let choice = |more: Value| {
        let mut choice =
            json!({ "finish_reason": "stop", "message": { "content": "twelve bytes" } });
        let members = more.as_object().unwrap().clone();
        choice.as_object_mut().unwrap().extend(members);
        json!({ "choices": [choice] })
    };
    let logprobs = json!({ "content": [{ "logprob": -0.5 }, { "logprob": -1.0 }] });
    for (reply, tokens) in [
        (choice(json!({})), 12 / 3 + 1),
        (choice(json!({ "logprobs": logprobs })), 2),
        (choice(json!({ "token_ids": [1, 2, 3] })), 3),
    ] {
        let server = Server::script(&[Act::Json(reply.clone())]);
        let asked = Space::new().ask(&endpoint(&server), &[ask("why", 0)]);
        assert_eq!(asked.answers()[0].tokens, tokens, "{reply}");
    }
}

#[test]
fn every_field_of_sampling_is_sent() {
    let body = |chat: Chat, input: Input| {
        let server = Server::good();
        let asks = [Ask { input, sample: 3 }];
        asked_of(chat, &endpoint(&server), &Space::new().folder(), &asks).answers();
        let mut seen = server.seen();
        let seen = seen.remove(0);
        assert_eq!(seen.headers["content-type"], "application/json");
        (seen.target, seen.body)
    };
    let messages = || ask("why", 0).input;
    let of = |dialect: Dialect| Chat { dialect, ..chat() };
    let common = json!({ "model": "m", "messages": [{ "role": "user", "content": "why" }], "n": 1, "stream": false, "seed": 3,
        "temperature": 1.0, "top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "max_tokens": 20 });
    let and = |more: Value| {
        let mut all = common.clone();
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        all
    };
    assert_eq!(
        body(of(Dialect::Plain), messages()),
        ("/v1/chat/completions".into(), common.clone())
    );
    let vllm = and(json!({ "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0 }));
    assert_eq!(body(of(Dialect::Vllm), messages()).1, vllm);
    let llama = body(of(Dialect::LlamaCpp), messages()).1;
    assert_eq!(
        (&llama["top_k"], &llama["repeat_penalty"]),
        (&json!(0), &json!(1.0))
    );
    let mut openai = and(json!({ "max_completion_tokens": 20 }));
    openai.as_object_mut().unwrap().remove("max_tokens");
    assert_eq!(body(of(Dialect::OpenAi), messages()).1, openai);
    let mut reasoning = openai.clone();
    for field in [
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
    ] {
        reasoning.as_object_mut().unwrap().remove(field);
    }
    assert_eq!(body(of(Dialect::OpenAiReasoning), messages()).1, reasoning);
    // Left out, added and continued, and a seed that all servers take.
    let chat = Chat {
        omit: vec!["seed".into()],
        sampling: Sampling {
            stop: vec!["\n".into()],
            extra: json!({ "reasoning_effort": "low" })
                .as_object()
                .unwrap()
                .clone(),
            seed: u64::MAX,
            ..chat().sampling
        },
        plain: true,
        ..chat()
    };
    let (target, sent) = body(chat, Input::Text("once".into()));
    assert_eq!(target, "/v1/completions");
    assert_eq!(
        (&sent["prompt"], &sent["stop"]),
        (&json!("once"), &json!(["\n"]))
    );
    assert_eq!(sent["reasoning_effort"], "low");
    assert!(sent.get("seed").is_none() && sent.get("messages").is_none());
    assert!(seed(u64::MAX, u32::MAX) <= i32::MAX as u64);
}

#[test]
fn one_bad_item_of_a_batch_costs_only_itself() {
    let bad = |items: &Value| {
        items
            .as_array()
            .into_iter()
            .flatten()
            .any(|item| item.to_string().contains("bad"))
    };
    let refuse = move |seen: &Seen, _| match bad(&seen.body["input"]) || bad(&seen.body["items"]) {
        true => Act::Say(
            400,
            vec![],
            "{\"error\": {\"message\": \"bad item\"}}".into(),
        ),
        false => Act::Answer,
    };
    let texts: Vec<String> = (0..10)
        .map(|i| format!("{}{}", if i == 7 { "bad" } else { "good" }, "x".repeat(i)))
        .collect();
    let server = Server::new(refuse);
    let moderation = Moderation {
        model: "omni".into(),
        per_request: 4,
    };
    let asked = asked_of(
        moderation,
        &endpoint(&server),
        &Space::new().folder(),
        &texts,
    );
    // 0-3, 4-7 refused and then one by one, 8-9.
    assert_eq!(server.requests(), 3 + 4);
    assert_eq!((asked.calls.made, asked.calls.rejected), (9, 1));
    for (text, outcome) in texts.iter().zip(asked.result.unwrap()) {
        match outcome {
            Ok(answer) => {
                assert_eq!(answer.worst(), share(&json!(text)));
                assert_eq!(answer.served.as_deref(), Some("moderator-7"));
            }
            Err(rejection) => assert_eq!((rejection.status, &text[..3]), (400, "bad")),
        }
    }
    let items: Vec<Item> = texts
        .iter()
        .map(|t| Item {
            prompt: "p".into(),
            answer: t.clone(),
        })
        .collect();
    let server = Server::new(refuse);
    let mut at = endpoint(&server);
    at.url = format!("http://127.0.0.1:{}/a/score", server.port);
    let scoring = Scoring {
        model: "rm".into(),
        per_request: 10,
    };
    let asked = asked_of(scoring, &at, &Space::new().folder(), &items);
    assert_eq!(server.seen()[0].target, "/a/score");
    let scores = asked.result.unwrap();
    let read: Vec<Option<f64>> = scores.iter().map(|o| o.as_ref().ok()?.score).collect();
    let expected: Vec<Option<f64>> = texts
        .iter()
        .map(|t| (!t.starts_with("bad")).then(|| share(&json!(t))))
        .collect();
    assert_eq!(read, expected);
}

#[test]
fn scores_that_are_none_are_left_out_or_asked_for_again() {
    let moderation = || Moderation {
        model: "omni".into(),
        per_request: 2,
    };
    let texts = ["a".to_string(), "b".to_string()];
    let result = |scores: Value| json!({ "flagged": true, "category_scores": scores });
    let good = json!({ "results": [result(json!({ "violence": 0.25, "illicit": null })), result(json!({ "violence": 0.5 }))] });
    let senseless = [
        json!({ "results": [result(json!({ "violence": 0.25 }))] }),
        json!({ "results": [result(json!({ "violence": null })), result(json!({ "violence": 0.5 }))] }),
        json!({ "results": [result(json!({ "violence": "high" })), result(json!({ "violence": 7 }))] }),
        json!({ "results": null }),
    ];
    let acts: Vec<Act> = senseless.into_iter().chain([good]).map(Act::Json).collect();
    let server = Server::script(&acts);
    let asked = asked_of(
        moderation(),
        &endpoint(&server),
        &Space::new().folder(),
        &texts,
    );
    assert_eq!((server.requests(), asked.calls.retries), (5, 4));
    let answers = asked.answers();
    let worst: Vec<f64> = answers.iter().map(|a| a.worst()).collect();
    assert_eq!(worst, [0.25, 0.5]);
    assert_eq!(answers[0].scores.len(), 1);
}
