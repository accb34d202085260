//! A server for browsers on this machine: two addresses, read-only, one answer a connection. Knows HTTP, not what it serves.
//!
//! It listens on 127.0.0.1 alone. A request that names another host is refused: a page of somebody else's whose name was bent to this
//! address (DNS rebinding) reads nothing here.

use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What is served.
pub trait Content: Sync {
    /// HTML, of `/`.
    fn page(&self) -> String;
    /// JSON, of `/live`: what the page asks for again and again.
    fn live(&self) -> String;
}

/// The longest head of a request, in bytes.
const MOST: usize = 16 << 10;
/// Within which a request has come, and an answer is taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections at once.
const CONNECTIONS: usize = 32;

pub struct Server {
    listener: TcpListener,
    port: u16,
}

/// Why a request is not answered: status, and a word to who asked.
type Refusal = (&'static str, &'static str);

struct Answer {
    status: &'static str,
    kind: &'static str,
    body: String,
}

impl Server {
    /// On this port of this machine; 0 is any that is free. Errors: the port is taken, or not allowed.
    pub fn bind(port: u16) -> Result<Server> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind(address);
        let listener = listener.with_context(|| {
            format!("cannot listen on {address}; `--port 0` takes any port that is free")
        })?;
        let port = listener
            .local_addr()
            .context("the server has no address")?
            .port();
        Ok(Server { listener, port })
    }

    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Answers until the process ends.
    pub fn serve(&self, content: &dyn Content) -> ! {
        let open = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            loop {
                // Who goes away before it is accepted is no fault of the server.
                let Ok((stream, _)) = self.listener.accept() else {
                    std::thread::sleep(Duration::from_millis(50));
                    continue;
                };
                let Some(place) = Place::among(&open) else {
                    continue;
                };
                let handle = move || {
                    let _place = place;
                    // A client that breaks off is none either.
                    let _ = self.answer(stream, content);
                };
                // Where no thread is given, the client is let go with its place.
                let _ = std::thread::Builder::new().spawn_scoped(scope, handle);
            }
        })
    }

    fn answer(&self, mut stream: TcpStream, content: &dyn Content) -> std::io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let asked = head(&mut stream)?;
        let answer = match asked
            .as_deref()
            .map_or(Err(BAD), |head| path(head, self.port))
        {
            Ok("/") => Answer {
                status: "200 OK",
                kind: "text/html; charset=utf-8",
                body: content.page(),
            },
            Ok("/live") => Answer {
                status: "200 OK",
                kind: "application/json",
                body: content.live(),
            },
            Ok(_) => refused(("404 Not Found", "there is nothing here but `/`")),
            Err(why) => refused(why),
        };
        let Answer { status, kind, body } = answer;
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\nCache-Control: no-store\r\n\
             Allow: GET\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n\
             Cross-Origin-Resource-Policy: same-origin\r\n\r\n",
            body.len()
        )?;
        stream.write_all(body.as_bytes())?;
        stream.flush()?;
        rest(stream)
    }
}

/// One of the connections that there may be, free again when it goes, whatever became of the answer.
struct Place<'a>(&'a AtomicUsize);

impl Place<'_> {
    fn among(open: &AtomicUsize) -> Option<Place<'_>> {
        let before = open.fetch_add(1, Ordering::SeqCst);
        let place = Place(open);
        (before < CONNECTIONS).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
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

fn refused((status, why): Refusal) -> Answer {
    Answer {
        status,
        kind: "text/plain; charset=utf-8",
        body: format!("{why}\n"),
    }
}

/// The head of a request, without the empty line after it; none where it is too long, no text, or does not end.
fn head(stream: &mut TcpStream) -> std::io::Result<Option<String>> {
    let until = Instant::now() + PATIENCE;
    let (mut read, mut part) = (vec![], [0; 2048]);
    loop {
        let n = stream.read(&mut part)?;
        read.extend_from_slice(&part[..n]);
        if let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n") {
            read.truncate(end);
            return Ok(String::from_utf8(read).ok());
        }
        if n == 0 || read.len() > MOST || Instant::now() > until {
            return Ok(None);
        }
    }
}

/// What is asked for, without a query.
fn path(head: &str, port: u16) -> Result<&str, Refusal> {
    let mut lines = head.split("\r\n");
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, version] = words.as_slice() else {
        return Err(BAD);
    };
    if !version.starts_with("HTTP/1.") {
        return Err(BAD);
    }
    let fields = lines.filter_map(|line| line.split_once(':'));
    let hosts = fields.filter(|(name, _)| name.eq_ignore_ascii_case("host"));
    let hosts: Vec<&str> = hosts.map(|(_, value)| value.trim()).collect();
    let [host] = hosts.as_slice() else {
        return Err(("400 Bad Request", "a request names one host"));
    };
    if !is_here(host, port) {
        let why = "this page is served to http://127.0.0.1 and http://localhost alone";
        return Err(("403 Forbidden", why));
    }
    if *method != "GET" {
        return Err(("405 Method Not Allowed", "this page can only be read"));
    }
    Ok(target.split('?').next().unwrap_or_default())
}

fn is_here(host: &str, port: u16) -> bool {
    let named = ["127.0.0.1", "localhost"];
    let with_port = |name: &str| {
        let own = host
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix(':'));
        own == Some(port.to_string().as_str())
    };
    named
        .iter()
        .any(|name| with_port(name) || (port == 80 && host == *name))
}
