//! A server over TCP that misbehaves as a script says: HTTP/1.1 with kept connections, a thread a connection. It remembers what
//! it was asked.

use super::tls;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// As it stands in the request line: with scheme and host where the server is a proxy.
    pub target: String,
    pub headers: BTreeMap<String, String>,
    pub body: Value,
    /// Since the server began.
    pub at: Duration,
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// What a good server answers.
    Answer,
    /// The same after a while.
    Late(Duration),
    /// The same, and then the connection is closed, without a word about it.
    AnswerAndClose,
    /// Status 200 and this.
    Json(Value),
    /// Status, headers, body.
    Say(u16, Vec<(&'static str, String)>, String),
    /// Half of the good answer, then a reset.
    Reset,
    /// A length in the header, and less than that.
    Short,
    /// The good answer, a byte at a time.
    Drip(Duration),
    /// Nothing, for so long.
    Hang(Duration),
    /// Closed without an answer.
    Close,
}

type Behaviour = Box<dyn Fn(&Seen, usize) -> Act + Send + Sync>;

struct State {
    behaviour: Behaviour,
    tls: bool,
    began: Instant,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    /// In flight now, and the most that ever were.
    flying: AtomicUsize,
    most: AtomicUsize,
    over: AtomicBool,
}

pub struct Server {
    pub port: u16,
    state: Arc<State>,
}

impl Server {
    /// `behaviour` is given the request and how many came before it.
    pub fn new(behaviour: impl Fn(&Seen, usize) -> Act + Send + Sync + 'static) -> Server {
        Server::start(Box::new(behaviour), false)
    }

    /// One that does these things in turn, and then answers.
    pub fn script(acts: &[Act]) -> Server {
        let acts = acts.to_vec();
        Server::new(move |_, n| acts.get(n).cloned().unwrap_or(Act::Answer))
    }

    pub fn good() -> Server {
        Server::script(&[])
    }

    /// A good one with a certificate that nobody signed.
    pub fn with_tls() -> Server {
        Server::start(Box::new(|_, _| Act::Answer), true)
    }

    fn start(behaviour: Behaviour, tls: bool) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            behaviour,
            tls,
            began: Instant::now(),
            seen: Mutex::new(vec![]),
            connections: AtomicUsize::new(0),
            flying: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        });
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.over.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), state) = (stream, shared.clone()) else {
                    continue;
                };
                state.connections.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Server { port, state }
    }

    pub fn url(&self) -> String {
        let scheme = if self.state.tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}/v1", self.port)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    pub fn requests(&self) -> usize {
        self.state.seen.lock().unwrap().len()
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Requests at the same time, at most.
    pub fn most(&self) -> usize {
        self.state.most.load(Ordering::SeqCst)
    }

    /// How often each prompt and seed was asked for.
    pub fn asked(&self) -> BTreeMap<String, usize> {
        let mut asked = BTreeMap::new();
        for seen in self.seen() {
            let n = seen.body["n"].as_u64().unwrap_or(1);
            for i in 0..n {
                let seed = seen.body["seed"].as_u64().unwrap_or(0) + i;
                let call = format!("{} {seed}", seen.body["messages"]);
                *asked.entry(call).or_default() += 1;
            }
        }
        asked
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

fn serve(stream: TcpStream, state: &State) {
    stream.set_nodelay(true).unwrap();
    let socket = stream.try_clone().unwrap();
    let wire: Box<dyn Wire> = match state.tls {
        true => Box::new(tls::server(stream)),
        false => Box::new(stream),
    };
    let mut wire = BufReader::new(wire);
    // An error: the client has gone, or the connection was ended as it was to be.
    while let Ok(Some(seen)) = read_request(&mut wire, state) {
        let before = {
            let mut all = state.seen.lock().unwrap();
            all.push(seen.clone());
            all.len() - 1
        };
        let flying = state.flying.fetch_add(1, Ordering::SeqCst) + 1;
        state.most.fetch_max(flying, Ordering::SeqCst);
        let act = (state.behaviour)(&seen, before);
        let done = perform(&act, &seen, wire.get_mut(), &socket, &state.flying);
        if !matches!(done, Ok(true)) {
            return;
        }
    }
}

fn read_request(wire: &mut BufReader<Box<dyn Wire>>, state: &State) -> io::Result<Option<Seen>> {
    let mut line = String::new();
    if wire.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let target = line.split(' ').nth(1).unwrap_or_default().to_string();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        wire.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.to_string()),
            None => break,
        };
    }
    let length = headers
        .get("content-length")
        .map_or(0, |l| l.parse().unwrap());
    let mut body = vec![0; length];
    wire.read_exact(&mut body)?;
    Ok(Some(Seen {
        target,
        headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
        at: state.began.elapsed(),
    }))
}

/// Whether the connection goes on. `flying` is less by one before the client can know.
fn perform(
    act: &Act,
    seen: &Seen,
    wire: &mut dyn Wire,
    socket: &TcpStream,
    flying: &AtomicUsize,
) -> io::Result<bool> {
    if let Act::Late(pause) | Act::Hang(pause) = act {
        std::thread::sleep(*pause);
    }
    flying.fetch_sub(1, Ordering::SeqCst);
    let good = || http(200, &[], &answer(seen).to_string());
    let bytes = match act {
        Act::Answer | Act::Late(_) | Act::AnswerAndClose | Act::Drip(_) | Act::Reset => good(),
        Act::Json(body) => http(200, &[], &body.to_string()),
        Act::Say(status, headers, body) => http(*status, headers, body),
        Act::Short => {
            let mut bytes = good();
            bytes.truncate(bytes.len() - 10);
            bytes
        }
        Act::Hang(_) | Act::Close => return Ok(false),
    };
    match act {
        Act::Reset => {
            wire.write_all(&bytes[..bytes.len() / 2])?;
            wire.flush()?;
            // Given time to arrive: a reset discards what was not read.
            std::thread::sleep(Duration::from_millis(5));
            reset_when_closed(socket);
            return Ok(false);
        }
        Act::Drip(pause) => {
            for byte in bytes {
                wire.write_all(&[byte])?;
                wire.flush()?;
                std::thread::sleep(*pause);
            }
        }
        _ => {
            wire.write_all(&bytes)?;
            wire.flush()?;
        }
    }
    Ok(!matches!(act, Act::Short | Act::AnswerAndClose))
}

fn reset_when_closed(socket: &TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the descriptor is open, and the option is a structure of that size.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    assert_eq!(set, 0);
}

fn http(status: u16, headers: &[(&str, String)], body: &str) -> Vec<u8> {
    let mut text = format!(
        "HTTP/1.1 {status} Whatever\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    (text + "\r\n" + body).into_bytes()
}

/// What a good server answers: another text for every prompt and seed, a score for every item.
pub fn answer(seen: &Seen) -> Value {
    let body = &seen.body;
    let of_each = |list: &str, one: &dyn Fn(&Value) -> Value| -> Value {
        body[list].as_array().unwrap().iter().map(one).collect()
    };
    if seen.target.ends_with("moderations") {
        let result = |text: &Value| json!({ "flagged": false, "category_scores": { "violence": share(text) } });
        return json!({ "model": "moderator-7", "results": of_each("input", &result) });
    }
    if seen.target.ends_with("score") {
        return json!({ "model": "scorer-7", "scores": of_each("items", &|item| json!(share(&item["answer"]))) });
    }
    let n = body["n"].as_u64().unwrap_or(1);
    let choices: Vec<Value> = (0..n).map(|i| choice(body, i)).collect();
    let tokens = 10 * n;
    json!({
        "model": "served-7", "choices": choices,
        "usage": { "prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": 7 + tokens },
    })
}

/// Choice `i` of the answer to a request.
pub fn choice(body: &Value, i: u64) -> Value {
    let seed = body["seed"].as_u64().unwrap_or(0) + i;
    let mut choice = Map::new();
    choice.insert("index".into(), json!(i));
    choice.insert("finish_reason".into(), json!("stop"));
    match body.get("prompt") {
        Some(prompt) => {
            let text = format!("{} by {seed}", prompt.as_str().unwrap());
            choice.insert("text".into(), json!(text));
        }
        None => {
            let asked = body["messages"].as_array().unwrap().last().unwrap();
            let content = format!("{} by {seed}", asked["content"].as_str().unwrap());
            choice.insert(
                "message".into(),
                json!({ "role": "assistant", "content": content }),
            );
        }
    }
    Value::Object(choice)
}

/// A number that stands for a text.
pub fn share(text: &Value) -> f64 {
    text.as_str().unwrap().len() as f64 / 100.0
}
