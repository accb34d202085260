//! Where a request goes and how its key is sent: queries, Azure's addresses and header, what people paste, and what is said of it.

use super::server::{Act, Server};
use super::{Space, asks, endpoint};
use pipe::services::endpoint::{Endpoint, Secret};
use pipe::services::fault::Stopped;

const KEY: &str = "sk-a-key-that-nobody-sees";

fn with_key(endpoint: Endpoint, header: Option<&str>) -> Endpoint {
    Endpoint {
        key: Some(Secret::new("THE_KEY", KEY.into())),
        key_header: header.map(String::from),
        ..endpoint
    }
}

#[test]
fn a_query_stays_behind_the_path() {
    let cases = [
        (
            "http://h/v1",
            "chat/completions",
            "http://h/v1/chat/completions",
        ),
        ("http://h/v1/", "moderations", "http://h/v1/moderations"),
        (
            "https://x.openai.azure.com/openai/deployments/d?api-version=2024-10-21",
            "chat/completions",
            "https://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
        ),
        (
            "http://h/d/?a=1&b=/x/",
            "completions",
            "http://h/d/completions?a=1&b=/x/",
        ),
        ("http://h/score?v=2", "", "http://h/score?v=2"),
    ];
    for (url, path, expected) in cases {
        assert_eq!(Endpoint::problem(url), None, "{url}");
        assert_eq!(Endpoint::at(url).posts_to(path), expected);
    }
    let server = Server::good();
    let at = Endpoint {
        url: server.url() + "/d?api-version=2024-10-21",
        ..endpoint(&server)
    };
    Space::new().ask(&at, &asks(1, 1)).answers();
    let target = server.seen().remove(0).target;
    assert_eq!(target, "/v1/d/chat/completions?api-version=2024-10-21");
}

#[test]
fn a_key_goes_in_the_header_that_is_named_or_known() {
    let cases = [
        (None, "authorization", "Bearer ", "api-key"),
        (Some("api-key"), "api-key", "", "authorization"),
        (Some("X-Api-Key"), "x-api-key", "", "authorization"),
        (Some("Authorization"), "authorization", "Bearer ", "api-key"),
    ];
    for (named, header, before, other) in cases {
        let server = Server::good();
        let at = with_key(endpoint(&server), named);
        Space::new().ask(&at, &asks(1, 1)).answers();
        let headers = server.seen().remove(0).headers;
        assert_eq!(headers[header], format!("{before}{KEY}"), "{named:?}");
        assert!(!headers.contains_key(other), "{named:?}");
    }
    for (url, named, header) in [
        (
            "https://x.openai.azure.com/openai/v1",
            None,
            Some("api-key"),
        ),
        (
            "https://x.services.ai.azure.com:443/models",
            None,
            Some("api-key"),
        ),
        (
            "https://x.openai.azure.com/openai/v1",
            Some("authorization"),
            None,
        ),
        ("https://openai.azure.com.example.org/v1", None, None),
    ] {
        let at = with_key(Endpoint::at(url), named);
        assert_eq!(at.bare_key(), header, "{url}");
    }
    assert!(Endpoint::header_problem("two words").is_some());
    assert!(Endpoint::header_problem("api-key").is_none());
}

/// URLs that are refused, and what the message has to hold.
#[test]
fn what_is_no_base_is_refused_with_what_to_write() {
    let of_a_base = [
        ("http://h/v1/chat/completions", "write `http://h/v1`"),
        (
            "http://h/v1/chat/completions",
            "to `http://h/v1/chat/completions/chat/completions`",
        ),
        ("http://h/v1/chat/completions/", "write `http://h/v1`"),
        ("http://h/v1/completions", "write `http://h/v1`"),
        ("http://h/v1/moderations", "write `http://h/v1`"),
        (
            "https://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=1",
            "write `https://x.openai.azure.com/openai/deployments/d?api-version=1`",
        ),
    ];
    for (url, told) in of_a_base {
        let problem = Endpoint::base_problem(url).unwrap_or_default();
        assert!(problem.contains(told), "{url}: {problem}");
        assert_eq!(Endpoint::problem(url), None, "the URL of a scorer is whole");
    }
    for (url, told) in [
        ("http://h/v1?api_key=abcdefgh", "`api_key`"),
        ("http://h/v1?x=1&code=abcdefgh", "`code`"),
        ("http://h/v1#x", "`#`"),
        ("ftp://h/v1", "neither http nor https"),
        ("http://me:pw@h/v1", "no user"),
    ] {
        let problem = Endpoint::base_problem(url).unwrap_or_default();
        assert!(problem.contains(told), "{url}: {problem}");
        assert!(!problem.contains("abcdefgh"), "{problem}");
    }
}

#[test]
fn a_denial_names_where_it_was_posted_and_no_key() {
    for (status, named, sent) in [
        (404, None, ""),
        (405, None, ""),
        (402, None, ""),
        (401, None, "; the key in `THE_KEY` was sent"),
        (
            403,
            Some("api-key"),
            "; the key in `THE_KEY` was sent as `api-key`",
        ),
    ] {
        let server = Server::new(move |_, _| Act::Say(status, vec![], format!("no {KEY}")));
        let at = Endpoint {
            url: server.url() + "/d?api-version=7&tenant=mine",
            ..endpoint(&server)
        };
        let asked = Space::new().ask(&with_key(at, named), &asks(2, 1));
        let Err(Stopped::Denied(told)) = asked.result else {
            panic!("{:?}", asked.result)
        };
        let url = format!("{}/d/chat/completions?api-version=7&tenant=…", server.url());
        assert!(told.contains(&format!("(POST {url}{sent})")), "{told}");
        assert!(!told.contains(KEY), "{told}");
    }
}
