//! A small HTTP server, a thread and one answer a connection. Knows HTTP, not what it serves.
//!
//! It listens on this machine alone unless somebody names another address. Here a request that names another host is refused: a page of
//! somebody else's whose name was bent to this address (DNS rebinding) reads nothing. What is posted has to be JSON by its header,
//! which no page may send elsewhere without asking first.

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What is served.
pub trait Content: Sync {
    /// The one method that an address takes, `GET` or `POST`; none: there is nothing there.
    fn method(&self, path: &str) -> Option<&'static str>;
    /// `body` is empty where the method is GET.
    fn answer(&self, path: &str, body: Vec<u8>) -> Answer;
    /// Bytes of a body at most.
    fn most(&self) -> usize {
        0
    }
}

/// The longest head of a request, in bytes.
const MOST: usize = 16 << 10;
/// Within which the next part of a request has come, and a part of an answer is taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// Within which a body has come as a whole.
const WHOLE: Duration = Duration::from_secs(60);
/// Connections at once.
const CONNECTIONS: usize = 128;
/// How long a request to stop can go unnoticed.
const TICK: Duration = Duration::from_millis(100);

/// Where it listens, and to whom.
pub struct Place {
    pub address: IpAddr,
    /// 0 is any that is free.
    pub port: u16,
    /// What the header `Authorization: Bearer` has to hold; none: nobody is asked.
    pub token: Option<String>,
}

impl Place {
    /// For browsers on this machine.
    pub fn here(port: u16) -> Place {
        Place {
            address: Ipv4Addr::LOCALHOST.into(),
            port,
            token: None,
        }
    }
}

pub struct Server {
    listener: TcpListener,
    at: SocketAddr,
    token: Option<String>,
}

/// Status, and a word to who asked.
type Refusal = (&'static str, &'static str);

pub struct Answer {
    pub status: &'static str,
    pub kind: &'static str,
    pub body: String,
    /// Seconds after which the same may go well.
    pub after: Option<u32>,
}

impl Answer {
    pub fn html(body: String) -> Answer {
        Answer::of("200 OK", "text/html; charset=utf-8", body)
    }

    pub fn json(status: &'static str, body: String) -> Answer {
        Answer::of(status, "application/json", body)
    }

    fn of(status: &'static str, kind: &'static str, body: String) -> Answer {
        let after = None;
        Answer {
            status,
            kind,
            body,
            after,
        }
    }
}

impl Server {
    /// Errors: the port is taken, or not allowed.
    pub fn bind(place: Place) -> Result<Server> {
        let address = SocketAddr::from((place.address, place.port));
        let listener = TcpListener::bind(address);
        let listener = listener.with_context(|| {
            format!("cannot listen on {address}; `--port 0` takes any port that is free")
        })?;
        let at = listener.local_addr();
        let waits = listener.set_nonblocking(true);
        waits.context("the server cannot wait for two things at once")?;
        Ok(Server {
            at: at.context("the server has no address")?,
            listener,
            token: place.token,
        })
    }

    pub fn address(&self) -> String {
        format!("http://{}/", self.at)
    }

    /// Answers until it is to stop and everybody who was accepted has an answer.
    pub fn serve(&self, content: &dyn Content, stop: &dyn Fn() -> bool) {
        let open = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            while !stop() {
                let Some(stream) = self.next() else {
                    continue;
                };
                let Some(place) = Taken::among(&open) else {
                    // Who is too many hears it, if that costs nothing.
                    let _ = say(&stream, &refused(BUSY), "");
                    continue;
                };
                let handle = move || {
                    let _place = place;
                    // A client that breaks off is no fault of the server.
                    let _ = self.answer(stream, content);
                };
                // Where no thread is given, the client is let go with its place.
                let _ = std::thread::Builder::new().spawn_scoped(scope, handle);
            }
        });
    }

    /// Who comes next, if somebody does before long.
    fn next(&self) -> Option<TcpStream> {
        let wait = Timespec::try_from(TICK).ok()?;
        // A signal ends the wait early, which is as well.
        let _ = poll(
            &mut [PollFd::new(&self.listener, PollFlags::IN)],
            Some(&wait),
        );
        match self.listener.accept() {
            Ok((stream, _)) => stream.set_nonblocking(false).ok().map(|()| stream),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            // Who goes away before it is accepted is no fault of the server; where there are too many files, it waits.
            Err(_) => {
                std::thread::sleep(Duration::from_millis(50));
                None
            }
        }
    }

    fn answer(&self, mut stream: TcpStream, content: &dyn Content) -> std::io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let (head, begun) = head(&mut stream)?;
        let asked = head.as_deref().ok_or((BAD, ""));
        let asked = asked.and_then(|head| self.asked(head, content));
        let (answer, allow) = match asked {
            Err((why, allow)) => (refused(why), allow),
            Ok(asked) => match body(&mut stream, begun, &asked) {
                Ok(body) => (content.answer(asked.path, body), asked.method),
                Err(why) => (refused(why), asked.method),
            },
        };
        say(&stream, &answer, allow)?;
        rest(stream)
    }

    /// What a head asks for, or why not, with the method that would be allowed.
    fn asked<'a>(
        &self,
        head: &'a str,
        content: &dyn Content,
    ) -> Result<Asked<'a>, (Refusal, &'static str)> {
        let mut lines = head.split("\r\n");
        let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let [method, target, version] = words.as_slice() else {
            return Err((BAD, ""));
        };
        if !version.starts_with("HTTP/1.") {
            return Err((BAD, ""));
        }
        let fields: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(':')).collect();
        let values = |name: &str| -> Vec<&str> {
            let named = fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
            named.map(|(_, value)| value.trim()).collect()
        };
        let hosts = values("host");
        let [host] = hosts.as_slice() else {
            return Err((("400 Bad Request", "a request names one host"), ""));
        };
        if self.at.ip().is_loopback() && !is_here(host, self.at) {
            let why = "this is served to http://127.0.0.1 and http://localhost alone";
            return Err((("403 Forbidden", why), ""));
        }
        if let Some(token) = &self.token {
            let given = values("authorization");
            let given = given
                .first()
                .and_then(|given| given.strip_prefix("Bearer "));
            if !given.is_some_and(|given| same(given, token)) {
                let why = "the header `Authorization: Bearer` does not hold what this server wants";
                return Err((("401 Unauthorized", why), ""));
            }
        }
        let path = target.split('?').next().unwrap_or_default();
        let Some(taken) = content.method(path) else {
            return Err((("404 Not Found", "there is nothing here"), ""));
        };
        if taken != *method {
            let why = match taken {
                "GET" => "this can only be read",
                _ => "this takes what is posted",
            };
            return Err((("405 Method Not Allowed", why), taken));
        }
        let expected = match taken {
            "POST" => expected(&values, content.most()).map_err(|why| (why, taken))?,
            _ => 0,
        };
        Ok(Asked {
            method: taken,
            path,
            expected,
            waits: values("expect").contains(&"100-continue"),
        })
    }
}

struct Asked<'a> {
    method: &'static str,
    /// Without a query.
    path: &'a str,
    /// Bytes of its body.
    expected: usize,
    /// The client sends its body when it is told to.
    waits: bool,
}

/// How long a body will be.
fn expected<'a>(values: &dyn Fn(&str) -> Vec<&'a str>, most: usize) -> Result<usize, Refusal> {
    let kinds = values("content-type");
    let kind = kinds.first().and_then(|kind| kind.split(';').next());
    if !kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
        let why = "the header `Content-Type` has to be `application/json`";
        return Err(("415 Unsupported Media Type", why));
    }
    let lengths = values("content-length");
    let length = match lengths.as_slice() {
        [one] if one.bytes().all(|b| b.is_ascii_digit()) => one.parse::<usize>().ok(),
        _ => None,
    };
    match length {
        _ if !values("transfer-encoding").is_empty() => {
            Err(("411 Length Required", "a body in pieces is not taken"))
        }
        None => Err((
            "411 Length Required",
            "the header `Content-Length` has to say how long the body is",
        )),
        Some(length) if length > most => Err((
            "413 Content Too Large",
            "the body is too large; ask in several questions",
        )),
        Some(length) => Ok(length),
    }
}

/// One of the connections that there may be, free again when it goes, whatever became of the answer.
struct Taken<'a>(&'a AtomicUsize);

impl Taken<'_> {
    fn among(open: &AtomicUsize) -> Option<Taken<'_>> {
        let before = open.fetch_add(1, Ordering::SeqCst);
        let place = Taken(open);
        (before < CONNECTIONS).then_some(place)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn say(mut stream: &TcpStream, answer: &Answer, allow: &str) -> std::io::Result<()> {
    let Answer {
        status, kind, body, ..
    } = answer;
    let mut head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\n",
        body.len()
    );
    if !allow.is_empty() {
        head += &format!("Allow: {allow}\r\n");
    }
    if let Some(after) = answer.after {
        head += &format!("Retry-After: {after}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    stream.write_all(body.as_bytes())?;
    stream.flush()
}

/// Takes what a client still sends, within reason: one that is cut off while it speaks never hears the answer.
fn rest(mut stream: TcpStream) -> std::io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let until = Instant::now() + PATIENCE;
    let (mut taken, mut part) = (0, [0; 2048]);
    while taken < 8 * MOST && Instant::now() < until {
        match stream.read(&mut part)? {
            0 => break,
            n => taken += n,
        }
    }
    Ok(())
}

const BAD: Refusal = ("400 Bad Request", "this is no request that can be read");
const BUSY: Refusal = ("503 Service Unavailable", "too many ask at once");

fn refused((status, why): Refusal) -> Answer {
    Answer::of(status, "text/plain; charset=utf-8", format!("{why}\n"))
}

/// The head of a request, without the empty line after it, and what came behind it; none where it is too long, no text, or does not
/// end.
fn head(stream: &mut TcpStream) -> std::io::Result<(Option<String>, Vec<u8>)> {
    let until = Instant::now() + PATIENCE;
    let (mut read, mut part) = (vec![], [0; 2048]);
    loop {
        let n = stream.read(&mut part)?;
        read.extend_from_slice(&part[..n]);
        if let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n") {
            let begun = read.split_off(end + 4);
            read.truncate(end);
            return Ok((String::from_utf8(read).ok(), begun));
        }
        if n == 0 || read.len() > MOST || Instant::now() > until {
            return Ok((None, vec![]));
        }
    }
}

/// The body of a request, of which this came with the head.
fn body(stream: &mut TcpStream, begun: Vec<u8>, asked: &Asked) -> Result<Vec<u8>, Refusal> {
    const LATE: Refusal = ("408 Request Timeout", "the body did not come as a whole");
    let until = Instant::now() + WHOLE;
    let mut body = begun;
    if asked.waits && body.len() < asked.expected {
        let told = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        told.map_err(|_| LATE)?;
    }
    let mut part = vec![0; 64 << 10];
    while body.len() < asked.expected {
        match stream.read(&mut part) {
            Ok(n) if n > 0 && Instant::now() < until => body.extend_from_slice(&part[..n]),
            _ => return Err(LATE),
        }
    }
    body.truncate(asked.expected);
    Ok(body)
}

/// Looks at every byte, so that the time it takes says nothing of where two texts part.
fn same(given: &str, wanted: &str) -> bool {
    let pairs = given.bytes().zip(wanted.bytes());
    let apart = pairs.fold(0, |apart, (a, b)| apart | (a ^ b));
    given.len() == wanted.len() && apart == 0
}

fn is_here(host: &str, at: SocketAddr) -> bool {
    let with_port = |name: &str| {
        let own = host
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix(':'));
        own == Some(at.port().to_string().as_str())
    };
    let named = ["127.0.0.1", "localhost", "[::1]"];
    named
        .iter()
        .any(|name| with_port(name) || (at.port() == 80 && host == *name))
}
