//! Whatever goes wrong with one request: what becomes of it, how often it is sent, and what is said.

use super::server::{Act, Server};
use super::{Space, ask, asks, endpoint};
use pipe::services::endpoint::Endpoint;
use pipe::services::fault::Stopped;
use serde_json::json;
use std::time::{Duration, SystemTime};

/// What comes of a request; with a part of what is said.
#[derive(Clone, Copy)]
enum End {
    Answered,
    Denied(&'static str),
    Unreachable(&'static str),
}
use End::{Answered, Denied, Unreachable};

struct Case {
    name: &'static str,
    /// What the server does in turn, before it answers well.
    acts: Vec<Act>,
    end: End,
    /// That the server got.
    requests: usize,
}

fn case(name: &'static str, acts: Vec<Act>, end: End, requests: usize) -> Case {
    Case {
        name,
        acts,
        end,
        requests,
    }
}

fn say(status: u16, body: &str) -> Act {
    Act::Say(status, vec![], body.into())
}

fn error(status: u16, message: &str, code: &str) -> Act {
    let body = json!({ "error": { "message": message, "type": "t", "code": code } });
    say(status, &body.to_string())
}

fn with(status: u16, name: &'static str, value: &str) -> Act {
    Act::Say(status, vec![(name, value.into())], String::new())
}

/// A date in so many seconds.
#[allow(clippy::disallowed_methods)] // A date in a header is told against the clock.
fn date(seconds: u64) -> String {
    httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(seconds))
}

const PAGE: &str =
    "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\n<body>nginx</body></html>";

fn never() -> Act {
    // Longer than the timeout of `asked`.
    Act::Hang(Duration::from_millis(700))
}

/// One ask, one request at a time, four tries beyond the first.
fn judge(cases: Vec<Case>, endpoint_of: fn(&Server) -> Endpoint) {
    for Case {
        name,
        acts,
        end,
        requests,
    } in cases
    {
        let server = Server::script(&acts);
        let space = Space::new();
        let asked = space.ask(&endpoint_of(&server), &[ask("why", 0)]);
        let came = |end: &End| match (end, &asked.result) {
            (Answered, Ok(outcomes)) => matches!(&outcomes[0], Ok(a) if a.content == "why by 0"),
            (Denied(told), Err(Stopped::Denied(text))) => text.contains(told),
            (Unreachable(told), Err(Stopped::Unreachable(text))) => text.contains(told),
            _ => false,
        };
        assert!(came(&end), "{name}: {:?}", asked.result);
        assert_eq!(server.requests(), requests, "{name}");
        assert_eq!(asked.calls.retries, requests as u64 - 1, "{name}");
        let answered = u64::from(matches!(end, Answered));
        assert_eq!(asked.calls.made, answered, "{name}");
        // What was answered is kept: the next client asks nobody.
        let again = space.ask(&endpoint(&Server::good()), &[ask("why", 0)]);
        assert_eq!(again.calls.reused, answered, "{name}");
    }
}

#[test]
fn what_passes_is_tried_again() {
    judge(
        vec![
            case("no fault", vec![], Answered, 1),
            case("429", vec![say(429, ""), say(429, "")], Answered, 3),
            case("500", vec![say(500, "")], Answered, 2),
            case("502, a page", vec![say(502, PAGE)], Answered, 2),
            case("503", vec![say(503, "busy"); 4], Answered, 5),
            case(
                "503 with a time",
                vec![with(503, "Retry-After", "0.01")],
                Answered,
                2,
            ),
            case("504, 529", vec![say(504, ""), say(529, "")], Answered, 3),
            case(
                "408, 409, 425",
                vec![say(408, ""), say(409, ""), say(425, "")],
                Answered,
                4,
            ),
            case("a reset in the middle", vec![Act::Reset], Answered, 2),
            case("less than the length says", vec![Act::Short], Answered, 2),
            case("closed without an answer", vec![Act::Close], Answered, 2),
            case("no JSON", vec![say(200, "{\"choices\": [")], Answered, 2),
            case("a page with 200", vec![say(200, PAGE)], Answered, 2),
            case("an empty reply", vec![say(200, "")], Answered, 2),
            case("other JSON", vec![Act::Json(json!([1, 2]))], Answered, 2),
            case(
                "an error with 200",
                vec![error(200, "overloaded", "x")],
                Answered,
                2,
            ),
            case("429 with 200", vec![error_code(429)], Answered, 2),
            case(
                "all at once",
                vec![Act::Reset, say(429, ""), Act::Short, say(500, PAGE)],
                Answered,
                5,
            ),
        ],
        endpoint,
    );
}

/// As some routers say it.
fn error_code(code: u64) -> Act {
    Act::Json(json!({ "error": { "message": "told", "code": code } }))
}

#[test]
fn what_takes_too_long_is_tried_again() {
    judge(
        vec![
            case("nothing", vec![never()], Answered, 2),
            case(
                "a slow drip",
                vec![Act::Drip(Duration::from_millis(20))],
                Answered,
                2,
            ),
            case(
                "never",
                vec![never(); 5],
                Unreachable("5 tries: no answer in time"),
                5,
            ),
        ],
        |server| Endpoint {
            timeout: Duration::from_millis(400),
            ..endpoint(server)
        },
    );
}

#[test]
fn what_does_not_pass_is_not_tried_again() {
    let mut cases = vec![
        case(
            "no such field",
            vec![error(400, "no `seed`", "x")],
            Denied("rejected the only request: 400 Bad Request: no `seed`"),
            1,
        ),
        case("413", vec![say(413, "")], Denied("(no text)"), 1),
        case(
            "422",
            vec![say(422, "{\"detail\": [{\"loc\": 1}]}")],
            Denied("[{\"loc\":1}]"),
            1,
        ),
        case(
            "400 with 200",
            vec![error_code(400)],
            Denied("400 Bad Request: told"),
            1,
        ),
        case(
            "no money",
            vec![error(429, "You exceeded", "insufficient_quota")],
            Denied("You exceeded"),
            1,
        ),
        case(
            "moved",
            vec![with(301, "Location", "http://127.0.0.1:1/")],
            Denied("redirections"),
            1,
        ),
        case(
            "a page",
            vec![say(403, PAGE)],
            Denied(
                "rejected the only request: 403 Forbidden: 502 Bad Gateway nginx (POST http://127",
            ),
            1,
        ),
        case(
            "long patience",
            vec![with(429, "Retry-After", "3600")],
            Unreachable("3600 s of patience"),
            1,
        ),
    ];
    for (status, told) in [
        (401, "401 Unauthorized"),
        (402, "402 Payment"),
        (403, "403"),
        (404, "404"),
        (405, "405"),
        (410, "410"),
        (501, "501"),
    ] {
        cases.push(case(
            "denied",
            vec![error(status, "why", "x")],
            Denied(told),
            1,
        ));
    }
    judge(cases, endpoint);
}

#[test]
fn what_does_not_end_ends_the_calls() {
    judge(
        vec![
            case(
                "500",
                vec![say(500, "out of order"); 9],
                Unreachable("did not answer in 5 tries: 500 Internal Server Error: out of order"),
                5,
            ),
            case(
                "429",
                vec![say(429, ""); 9],
                Unreachable("429 Too Many Requests"),
                5,
            ),
            case("resets", vec![Act::Reset; 9], Unreachable("5 tries"), 5),
            case(
                "nonsense",
                vec![Act::Json(json!({ "choices": [] })); 9],
                Unreachable("no choice"),
                5,
            ),
        ],
        endpoint,
    );
    let gone = endpoint(&Server::good());
    let asked = Space::new().ask(&gone, &[ask("why", 0)]);
    let Err(Stopped::Unreachable(told)) = asked.result else {
        panic!("{:?}", asked.result)
    };
    assert!(told.contains("no connection"), "{told}");
}

#[test]
fn a_pause_that_is_asked_for_is_made() {
    // Header, its value, the least and the most that it may come to.
    let cases = [
        ("Retry-After", "0.3".to_string(), 0.3, 5.0),
        ("retry-after-ms", "300".to_string(), 0.3, 5.0),
        ("Retry-After", "in two seconds".to_string(), 0.9, 7.0),
        // In the past, and nonsense: the client's own pause.
        (
            "Retry-After",
            "Sun, 06 Nov 1994 08:49:37 GMT".to_string(),
            0.0,
            5.0,
        ),
        ("Retry-After", "soon".to_string(), 0.0, 5.0),
    ];
    for (name, value, least, most) in cases {
        let value = if value == "in two seconds" {
            date(2)
        } else {
            value
        };
        let server = Server::script(&[with(429, name, &value)]);
        let asked = Space::new().ask(&endpoint(&server), &asks(3, 1));
        let times: Vec<f64> = server.seen().iter().map(|s| s.at.as_secs_f64()).collect();
        assert_eq!(asked.answers().len(), 3);
        // Those that were in flight with it aside, nothing leaves before.
        let after = times[3] - times[0];
        assert!((least..most).contains(&after), "{name} {value}: {after} s");
    }
}

#[test]
fn a_storm_is_waited_out_and_nobody_is_given_up_while_others_get_through() {
    // Two of three requests are refused, whichever they are: some are unlucky more often than there are retries.
    let server = Server::new(|_, n| match n % 3 {
        0 => Act::Answer,
        _ => say(429, "slow down"),
    });
    let space = Space::new();
    let asked = space.ask(
        &Endpoint {
            retries: 3,
            ..endpoint(&server)
        },
        &asks(40, 1),
    );
    assert_eq!(asked.calls.made, 40);
    assert_eq!(asked.calls.retries as usize, server.requests() - 40);
    assert_eq!(asked.answers().len(), 40);
}

#[test]
fn one_that_fails_while_others_get_through_is_rejected_and_an_outage_is_not() {
    let poison = |seen: &super::server::Seen, _| match seen.body["messages"][0]["content"] == "q0" {
        true => say(500, "cannot take this"),
        // The others take their time, so that there are some at every try.
        false => Act::Late(Duration::from_millis(4)),
    };
    let server = Server::new(poison);
    let slow = Endpoint {
        concurrency: 2,
        pause: Duration::from_millis(15),
        ..endpoint(&server)
    };
    let asked = Space::new().ask(&slow, &asks(400, 1));
    let outcomes = asked.result.unwrap();
    let rejected: Vec<usize> = (0..400).filter(|i| outcomes[*i].is_err()).collect();
    assert_eq!(rejected, [0]);
    let told = outcomes[0].as_ref().unwrap_err().to_string();
    assert!(told.contains("5 tries: 500"), "{told}");

    // Ten answers, and then nobody is there any more: none of those in flight is to blame.
    let server = Server::new(|_, n| if n < 10 { Act::Answer } else { say(500, "") });
    let patient = Endpoint {
        pause: Duration::from_millis(20),
        ..endpoint(&server)
    };
    let asked = Space::new().ask(&patient, &asks(40, 1));
    assert!(
        matches!(asked.result, Err(Stopped::Unreachable(_))),
        "{:?}",
        asked.result
    );
    assert_eq!(asked.calls.made, 10);
    assert_eq!(asked.calls.rejected, 0);
}

#[test]
fn a_field_that_nobody_takes_does_not_send_every_request() {
    let server = Server::new(|_, _| error(400, "unknown field", "x"));
    let asked = Space::new().ask(&endpoint(&server), &asks(500, 1));
    let Err(Stopped::Denied(told)) = asked.result else {
        panic!("{:?}", asked.result)
    };
    assert!(
        told.contains("rejected all of the first 16 requests: 400 Bad Request: unknown field"),
        "{told}"
    );
    assert!(server.requests() < 40, "{}", server.requests());
    // Where others were answered, they are what is wrong.
    let server = Server::new(|_, n| {
        if n == 0 {
            Act::Answer
        } else {
            error(400, "too long", "x")
        }
    });
    let one = Endpoint {
        concurrency: 1,
        ..endpoint(&server)
    };
    let asked = Space::new().ask(&one, &asks(50, 1));
    assert_eq!(asked.calls.rejected, 49);
    assert!(asked.result.is_ok());
}

#[test]
fn a_connection_that_closes_between_requests_costs_nothing() {
    let server = Server::new(|_, _| Act::AnswerAndClose);
    let space = Space::new();
    let mut client = super::client(super::chat(), &endpoint(&server), &space.folder());
    for ask in asks(12, 1) {
        let answers = client.all(&[ask], &mut super::Hearing::default());
        assert!(answers.unwrap()[0].is_ok());
    }
    assert_eq!(client.calls().made, 12);
    assert_eq!(server.asked().len(), 12);
    assert!(server.connections() >= 12);
    // And those that do not close are used again.
    let server = Server::good();
    Space::new().ask(&endpoint(&server), &asks(100, 1));
    assert!(server.connections() <= 8, "{}", server.connections());
    assert!(server.most() <= 8);
}

#[test]
fn what_a_reply_that_cannot_be_used_costs_is_counted() {
    let nonsense = json!({ "choices": [{ "index": 0, "finish_reason": "error", "message": { "content": "" } }],
        "usage": { "prompt_tokens": 100, "completion_tokens": 50 } });
    let server = Server::script(&[Act::Json(nonsense)]);
    let asked = Space::new().ask(&endpoint(&server), &[ask("why", 0)]);
    assert_eq!(
        (asked.calls.prompt_tokens, asked.calls.completion_tokens),
        (107, 60)
    );
    assert_eq!(asked.calls.made, 1);
}
