//! Judges and reward services: what they are shown, how their words are read, who is asked about what, and what judges agree on.

mod agree;
mod asked;
mod nodes;
mod unclear;
mod words;

use crate::fixtures;
use pipe::base::calls::Calls;
use pipe::base::params::{ParamSet, defaults};
use pipe::base::rows::{Completion, PromptClass};
use pipe::base::value::{self, Value, Values};
use pipe::kinds::scorers::params::{ScorerEndpoints, ScorerParams};
use pipe::kinds::shared::endpoint::Caller;
use pipe::services::budget::Amount;
use pipe::services::client::CallObserver;
use pipe::services::endpoint::Secret;
use serde_json::{Value as Json, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Hears nothing.
pub struct Quiet;

impl CallObserver for Quiet {
    fn stop(&self) -> bool {
        false
    }
    fn progress(&mut self, _: usize, _: usize, _: &Calls) {}
    fn say(&mut self, _: &str) {}
}

/// Path and body to status and body.
type Reply = dyn Fn(&str, &Json) -> (u16, Json) + Send + Sync;

/// A server that says what a test wants, and remembers what it was asked.
struct Server {
    url: String,
    heard: Arc<Mutex<Vec<(String, Json)>>>,
    /// The `Authorization` of each request, empty where there was none.
    keys: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(reply: impl Fn(&str, &Json) -> (u16, Json) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(vec![]));
        let keys = Arc::new(Mutex::new(vec![]));
        let server = Server { url, heard, keys };
        let (heard, keys) = (server.heard.clone(), server.keys.clone());
        let reply: Arc<Reply> = Arc::new(reply);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (heard, keys, reply) = (heard.clone(), keys.clone(), reply.clone());
                std::thread::spawn(move || serve(stream, (&heard, &keys), &*reply));
            }
        });
        server
    }

    /// A chat or completions server with one choice of this text.
    fn saying(text: impl Fn(&str) -> String + Send + Sync + 'static) -> Server {
        Server::new(move |path, body| {
            let said = text(&asked_text(body));
            let choice = match path {
                "/completions" => json!({ "index": 0, "text": said, "finish_reason": "length" }),
                _ => json!({
                    "index": 0, "finish_reason": "stop",
                    "message": { "role": "assistant", "content": said },
                }),
            };
            let usage = json!({ "prompt_tokens": 10, "completion_tokens": 5 });
            (
                200,
                json!({ "model": "judge-7", "choices": [choice], "usage": usage }),
            )
        })
    }

    /// A moderation server that finds the harm that a text names, as in `harm 0.25`.
    fn moderating() -> Server {
        Server::new(|_, body| {
            let texts = body["input"].as_array().unwrap();
            let result = |text: &Json| {
                let text = text.as_str().unwrap();
                let harm = text.rsplit(' ').next().unwrap().parse().unwrap_or(0.0);
                json!({
                    "flagged": harm > 0.5,
                    "category_scores": { "illicit": null, "violence": harm, "hate": harm / 2.0 },
                })
            };
            let results: Vec<Json> = texts.iter().map(result).collect();
            (
                200,
                json!({ "model": "moderation-2025", "results": results }),
            )
        })
    }

    fn heard(&self) -> Vec<(String, Json)> {
        self.heard.lock().unwrap().clone()
    }

    fn bodies(&self) -> Vec<Json> {
        self.heard().into_iter().map(|(_, body)| body).collect()
    }
}

/// What a body asks, whichever way.
fn asked_text(body: &Json) -> String {
    let message = &body["messages"][0]["content"];
    let text = if message.is_null() {
        &body["prompt"]
    } else {
        message
    };
    text.as_str().unwrap().to_string()
}

type Log<'a> = (&'a Mutex<Vec<(String, Json)>>, &'a Mutex<Vec<String>>);

fn serve(stream: TcpStream, (heard, keys): Log, reply: &Reply) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let (mut line, mut length) = (String::new(), 0);
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut key = String::new();
        let path = line.split(' ').nth(1).unwrap().to_string();
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 {
                return;
            }
            if header.trim().is_empty() {
                break;
            }
            if header.to_lowercase().starts_with("authorization:") {
                key = header["authorization:".len()..].trim().to_string();
            }
            if let Some(n) = header.to_lowercase().strip_prefix("content-length:") {
                length = n.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let body: Json = serde_json::from_slice(&body).unwrap();
        heard.lock().unwrap().push((path.clone(), body.clone()));
        keys.lock().unwrap().push(key);
        let (status, answer) = reply(&path, &body);
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        if stream.write_all((head + &answer).as_bytes()).is_err() {
            return;
        }
    }
}

fn judging(set: &[(&str, &str)]) -> ScorerParams {
    let mut values = Values::new();
    for (name, word) in set {
        value::put(&mut values, name, text(word));
    }
    ScorerParams::read(&values).unwrap()
}

fn services(set: &[(&str, Value)]) -> ScorerEndpoints {
    let mut values = defaults::<ScorerEndpoints>();
    for block in ["judge", "moderation", "score"] {
        value::put(&mut values, &format!("{block}.retries"), Value::Int(0));
    }
    for (name, value) in set {
        value::put(&mut values, name, value.clone());
    }
    ScorerEndpoints::read(&values).unwrap()
}

fn text(value: &str) -> Value {
    Value::Str(value.into())
}

fn caller(folder: &Path) -> Caller<'static> {
    Caller {
        folder: folder.to_path_buf(),
        by: "test".into(),
        spent: Amount::default(),
        beside: false,
        secret: Box::new(|name| Ok(Secret::new(name, "key-of-the-test".into()))),
    }
}

fn completion(id: &str, class: PromptClass, prompt: &str, response: &str) -> Completion {
    Completion {
        tokens: 0,
        ..fixtures::completion(fixtures::prompt(id, class, prompt), 0, response)
    }
}
