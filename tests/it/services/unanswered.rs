//! Prompts that a service will not answer while it answers others: each is one rejection, whatever the order, the round or the number
//! of requests in flight; and a service that answers nobody ends the calls with what it said.

use super::server::{Act, Seen, Server};
use super::{Space, ask, asks, endpoint};
use pipe::services::chat::Ask;
use pipe::services::endpoint::Endpoint;
use pipe::services::fault::{Rejection, Stopped};
use serde_json::{Value, json};

fn say(status: u16, body: Value) -> Act {
    Act::Say(status, vec![], body.to_string())
}

fn asked(seen: &Seen) -> String {
    let messages = seen.body["messages"].as_array().unwrap();
    messages[0]["content"].as_str().unwrap().to_string()
}

/// One that does this with prompts of a lock, and answers all others.
fn picky(act: Act) -> Server {
    Server::new(move |seen, _| match asked(seen).contains("lock") {
        true => act.clone(),
        false => Act::Answer,
    })
}

fn of_locks(at: &[usize], all: usize) -> Vec<Ask> {
    let of = |i: usize| match at.contains(&i) {
        true => ask(&format!("lock {i}"), 0),
        false => ask(&format!("thing {i}"), 0),
    };
    (0..all).map(of).collect()
}

fn at(server: &Server, concurrency: usize) -> Endpoint {
    Endpoint {
        concurrency,
        retries: 2,
        ..endpoint(server)
    }
}

/// What a service does with a prompt that it does not like: the status of the rejection, and whether it is for the content.
fn dislikes() -> Vec<(Act, u16, bool)> {
    let error =
        |message: &str, code: Value| json!({ "error": { "message": message, "code": code } });
    vec![
        // xAI, OpenRouter (also with status 200), a router with 451, Azure, DeepSeek, Alibaba.
        (
            say(
                403,
                json!({ "code": "The caller does not have permission to execute the specified operation",
                    "error": "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_X" }),
            ),
            403,
            true,
        ),
        (
            say(403, error("your input was flagged", json!(403))),
            403,
            true,
        ),
        (
            Act::Json(error("your input was flagged", json!(403))),
            403,
            true,
        ),
        (
            Act::Json(error("your input was flagged", json!("403"))),
            403,
            true,
        ),
        (
            Act::Json(error("filtered", json!("content_filter"))),
            400,
            true,
        ),
        (say(451, json!({ "detail": "no" })), 451, true),
        (
            say(
                400,
                json!({ "error": { "message": "x", "code": null, "innererror": { "code": "ResponsibleAIPolicyViolation" } } }),
            ),
            400,
            true,
        ),
        (
            say(400, error("Content Exists Risk", json!("x"))),
            400,
            true,
        ),
        (say(422, error("content policy", json!("x"))), 422, true),
        // Not for the content, as far as it says.
        (say(403, json!({ "detail": "Forbidden" })), 403, false),
        (
            say(413, error("flagged as too large", json!("x"))),
            413,
            false,
        ),
        (
            say(
                400,
                error(
                    "maximum context length is 10 tokens",
                    json!("context_length_exceeded"),
                ),
            ),
            400,
            false,
        ),
        // Never an answer that can be read, though others get theirs.
        (
            Act::Json(json!({ "choices": null, "model": "g" })),
            200,
            false,
        ),
        (
            Act::Json(json!({ "choices": [], "model": "g" })),
            200,
            false,
        ),
        (say(500, json!({ "error": "crashed" })), 0, false),
        (Act::Reset, 0, false),
    ]
}

#[test]
fn one_prompt_is_one_rejection_wherever_it_stands() {
    for (act, status, policy) in dislikes() {
        for (place, concurrency) in [(0, 1), (0, 4), (6, 1), (11, 1), (11, 4)] {
            let server = picky(act.clone());
            let space = Space::new();
            let asks = of_locks(&[place], 12);
            let of = |outcomes: &[Result<_, Rejection>]| {
                let rejected = outcomes.iter().enumerate();
                let rejected = rejected.filter_map(|(i, o)| Some((i, o.as_ref().err()?)));
                let told: Vec<_> = rejected.map(|(i, r)| (i, r.status, r.policy)).collect();
                told
            };
            let expected = [(place, status, policy)];
            let first = space.ask(&at(&server, concurrency), &asks);
            let case = format!("{act:?} at {place}, {concurrency} in flight");
            let outcomes = first.result.unwrap_or_else(|e| panic!("{case}: {e}"));
            assert_eq!(of(&outcomes), expected, "{case}");
            assert_eq!((first.calls.made, first.calls.rejected), (11, 1), "{case}");
            // Again, where it is the only one that is still asked.
            let before = server.requests();
            let again = space.ask(&at(&server, concurrency), &asks);
            let outcomes = again
                .result
                .unwrap_or_else(|e| panic!("{case}, again: {e}"));
            assert_eq!(of(&outcomes), expected, "{case}");
            assert_eq!((again.calls.made, again.calls.reused), (0, 11), "{case}");
            assert!(server.requests() - before <= 3, "{case}");
        }
    }
}

#[test]
fn many_of_a_sort_at_the_beginning_do_not_speak_for_the_rest() {
    // Forty harmful prompts first, as files have them, and not a word of what they are refused for.
    let locks: Vec<usize> = (0..40).collect();
    for concurrency in [1, 8] {
        let server = picky(say(403, json!({ "detail": "Forbidden" })));
        let asked = Space::new().ask(&at(&server, concurrency), &of_locks(&locks, 60));
        assert!(asked.result.is_ok(), "{:?}", asked.result);
        assert_eq!((asked.calls.made, asked.calls.rejected), (20, 40));
    }
}

#[test]
fn a_straggler_in_every_round_ends_in_that_round() {
    let server = picky(Act::Json(json!({ "choices": null })));
    let space = Space::new();
    let mut client = super::client(super::chat(), &at(&server, 2), &space.folder());
    for round in 0..4 {
        let asks: Vec<Ask> = match round {
            0 => of_locks(&[], 3),
            round => vec![ask(&format!("lock {round}"), 0)],
        };
        let outcomes = client.all(&asks, &mut super::Hearing::default()).unwrap();
        assert_eq!(
            outcomes.iter().filter(|o| o.is_err()).count(),
            usize::from(round > 0)
        );
    }
    assert_eq!(server.requests(), 3 + 3 * 3);
}

/// Nothing was ever answered: the status, and what has to be in the message.
#[test]
fn where_nothing_was_ever_answered_the_reply_is_quoted() {
    let list = json!([{ "error": { "code": 400, "message": "Unknown name \"seed\": Cannot find field." } }]);
    let cases = [
        (
            400,
            list,
            "Unknown name \"seed\": Cannot find field. (POST ",
        ),
        (
            403,
            json!({ "error": "nobody" }),
            "403 Forbidden: nobody (POST ",
        ),
        (413, json!({ "error": "too large" }), "too large"),
        (422, json!({ "error": "no such field" }), "no such field"),
        (451, json!({ "error": "not here" }), "not here"),
        (
            400,
            json!({ "error": { "message": "m", "code": "content_filter" } }),
            "m (POST ",
        ),
    ];
    for (status, body, told) in cases {
        for all in [1, 3, 12] {
            let answer = say(status, body.clone());
            let server = Server::new(move |_, _| answer.clone());
            let asked = Space::new().ask(&at(&server, 4), &asks(all, 1));
            let Err(Stopped::Denied(said)) = asked.result else {
                panic!("{status}: {:?}", asked.result)
            };
            let number = match all {
                1 => "rejected the only request: ".to_string(),
                all => format!("rejected all {all} requests: "),
            };
            assert!(said.contains(&number) && said.contains(told), "{said}");
            assert_eq!(said.contains("no key was sent"), status == 403, "{said}");
            assert_eq!(server.requests(), all);
        }
    }
    // A key that is named is the key's, whatever was answered before.
    let invalid = json!({ "error": { "code": 400, "message": "API key not valid. Please pass a valid API key." } });
    let server = picky(say(400, invalid));
    let asked = Space::new().ask(&at(&server, 1), &of_locks(&[5], 6));
    assert!(matches!(asked.result, Err(Stopped::Denied(_))));
}

#[test]
fn answers_of_another_host_do_not_speak_for_this_one() {
    let space = Space::new();
    space
        .ask(&endpoint(&Server::good()), &of_locks(&[], 5))
        .answers();
    let server = Server::new(|_, _| say(403, json!({ "error": "nobody" })));
    let asked = space.ask(&at(&server, 2), &of_locks(&[], 8));
    let Err(Stopped::Denied(told)) = asked.result else {
        panic!("{:?}", asked.result)
    };
    assert!(told.contains("no key was sent"), "{told}");
}

/// Where nobody is there, nothing is said of the prompts that are left.
#[test]
fn an_outage_is_no_property_of_the_last_prompts() {
    let empty = || Act::Json(json!({ "choices": [] }));
    let cases = [
        (1, say(503, json!({}))),
        (1, say(502, json!({}))),
        (4, say(500, json!({}))),
        (9, Act::Reset),
        (12, empty()),
    ];
    for (left, act) in cases {
        let case = format!("{left} left, {act:?}");
        let server = Server::new(move |_, n| match n < 10 {
            true => Act::Answer,
            false => act.clone(),
        });
        let space = Space::new();
        space.ask(&at(&server, 1), &asks(10, 1)).answers();
        let asked = space.ask(&at(&server, 1), &asks(10 + left, 1));
        assert!(
            matches!(asked.result, Err(Stopped::Unreachable(_))),
            "{case}: {:?}",
            asked.result
        );
        assert_eq!(asked.calls.rejected, 0, "{case}");
    }
}

/// As many as were answered may have no reply that can be read, in the first run and in a later one, where nobody else is asked.
#[test]
fn a_third_without_a_reply_ends_no_run() {
    let locks: Vec<usize> = (0..30).filter(|i| i % 3 == 0).collect();
    let server = picky(Act::Json(json!({ "choices": null })));
    let space = Space::new();
    for _ in 0..2 {
        let asked = space.ask(&at(&server, 2), &of_locks(&locks, 30));
        assert!(asked.result.is_ok(), "{:?}", asked.result);
        assert_eq!(asked.calls.rejected, 10);
    }
}

#[test]
fn an_account_that_is_used_up_is_no_property_of_a_prompt() {
    let told = [
        (403, "Key limit exceeded (total limit)"),
        (400, "Your credit balance is too low to access the API"),
    ];
    for (status, told) in told {
        let server = picky(say(status, json!({ "error": { "message": told } })));
        let asked = Space::new().ask(&at(&server, 1), &of_locks(&[5], 6));
        assert!(
            matches!(asked.result, Err(Stopped::Denied(_))),
            "{:?}",
            asked.result
        );
    }
}

/// What cannot be read is quoted; a place for errors that is empty is none.
#[test]
fn a_reply_that_makes_no_sense_is_quoted_and_an_empty_error_is_none() {
    let body = json!({ "choices": null, "base_resp": { "status_msg": "login fail" } });
    let server = Server::new(move |_, _| Act::Json(body.clone()));
    let asked = Space::new().ask(&at(&server, 1), &asks(1, 1));
    let Err(Stopped::Unreachable(told)) = asked.result else {
        panic!("{:?}", asked.result)
    };
    assert!(told.contains("login fail"), "{told}");
    for nothing in [json!({}), json!(""), json!(false), json!([])] {
        let body = json!({ "error": nothing, "choices": [{ "index": 0, "finish_reason": "stop", "message": { "content": "Mix." } }] });
        let server = Server::new(move |_, _| Act::Json(body.clone()));
        let asked = Space::new().ask(&at(&server, 1), &asks(1, 1));
        assert_eq!(asked.answers().len(), 1);
    }
}
