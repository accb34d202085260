//! The client, its journal and its limits, against a server that misbehaves as it is told.

mod addresses;
mod faults;
mod journal;
mod limits;
mod outside;
mod replies;
pub mod server;
mod shapes;
mod tls;
mod unanswered;

use pipe::base::calls::Calls;
use pipe::base::rows::Message;
use pipe::services::budget::Amount;
use pipe::services::chat::{Answer, Ask, Chat, Dialect, Input, Sampling};
use pipe::services::client::{CallObserver, Client, Outcome};
use pipe::services::endpoint::Endpoint;
use pipe::services::fault::Stopped;
use pipe::services::protocol::Protocol;
use serde_json::Map;
use server::Server;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// One that is not patient.
fn endpoint(server: &Server) -> Endpoint {
    Endpoint {
        concurrency: 8,
        timeout: Duration::from_secs(20),
        retries: 4,
        pause: Duration::from_millis(2),
        ..Endpoint::at(&server.url())
    }
}

fn chat() -> Chat {
    Chat {
        model: "m".into(),
        sampling: Sampling {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            max_tokens: 20,
            seed: 0,
            stop: vec![],
            extra: Map::new(),
            logprobs: false,
        },
        plain: false,
        rendered: false,
        dialect: Dialect::Plain,
        per_request: 1,
        omit: vec![],
    }
}

fn ask(text: &str, sample: u32) -> Ask {
    Ask {
        input: Input::Chat(vec![Message::new("user", text)]),
        sample,
    }
}

/// So many prompts with so many samples each.
fn asks(prompts: usize, samples: u32) -> Vec<Ask> {
    let of = |i: usize| (0..samples).map(move |sample| ask(&format!("q{i}"), sample));
    (0..prompts).flat_map(of).collect()
}

/// Hears what is said and how far it is; says stop when told to.
#[derive(Default)]
struct Hearing {
    stop: AtomicBool,
    stop_at: Option<usize>,
    heard: Vec<(usize, usize)>,
    said: Vec<String>,
}

impl CallObserver for Hearing {
    fn stop(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn progress(&mut self, done: usize, total: usize, _: &Calls) {
        if self.stop_at.is_some_and(|at| done >= at) {
            self.stop.store(true, Ordering::SeqCst);
        }
        self.heard.push((done, total));
    }

    fn say(&mut self, text: &str) {
        self.said.push(text.into());
    }
}

/// What came of asking, and what it came to.
struct Asked<A> {
    result: Result<Vec<Outcome<A>>, Stopped>,
    calls: Calls,
    hearing: Hearing,
}

impl<A> Asked<A> {
    /// Answers alone; whatever else happened is a failure of the test.
    fn answers(self) -> Vec<A> {
        let outcomes = self.result.unwrap_or_else(|stopped| panic!("{stopped}"));
        let answers = outcomes.into_iter();
        let answers = answers.map(|o| o.unwrap_or_else(|rejection| panic!("{rejection}")));
        answers.collect()
    }
}

fn client<P: Protocol>(protocol: P, endpoint: &Endpoint, folder: &Path) -> Client<P> {
    Client::new(
        protocol,
        endpoint.clone(),
        folder,
        "test",
        Amount::default(),
    )
    .unwrap()
}

fn asked_of<P: Protocol>(
    protocol: P,
    endpoint: &Endpoint,
    folder: &Path,
    asks: &[P::Ask],
) -> Asked<P::Answer> {
    let mut client = client(protocol, endpoint, folder);
    let mut hearing = Hearing::default();
    let result = client.all(asks, &mut hearing);
    Asked {
        result,
        calls: *client.calls(),
        hearing,
    }
}

/// A folder for a journal, and a chat model that is asked on it.
struct Space {
    dir: TempDir,
}

impl Space {
    fn new() -> Space {
        Space {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn folder(&self) -> std::path::PathBuf {
        self.dir.path().join("calls")
    }

    fn ask(&self, endpoint: &Endpoint, asks: &[Ask]) -> Asked<Answer> {
        asked_of(chat(), endpoint, &self.folder(), asks)
    }
}
