//! Requests over plain HTTP to a server of the same cluster: one a connection, with a bound on time and on what is read. Where a server
//! wants TLS or a password, a tunnel (`ssh -L`, `kubectl port-forward`) ends it here.

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// More than the listing of a hundred thousand jobs has, in bytes.
const MOST: usize = 256 << 20;
/// Of an error's text this much is told, in characters.
const TOLD: usize = 300;

/// A server's address: `http://HOST:PORT`, and what its paths begin with.
pub(super) struct Server {
    host: String,
    port: u16,
    base: String,
    patience: Duration,
}

pub(super) struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {}", self.told()))
    }

    /// For messages: the end of it, which is where a trace says what went wrong.
    pub fn told(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let mut lines = text.lines().rev().map(str::trim);
        let last = lines.find(|line| line.len() > 2).unwrap_or_default();
        let last: String = last.chars().take(TOLD).collect();
        format!("status {}: {last}", self.status)
    }
}

impl Server {
    pub fn new(address: &str, patience: Duration) -> Result<Server> {
        let Some(rest) = address.trim_end_matches('/').strip_prefix("http://") else {
            bail!(
                "the address {address:?} does not begin with http://; to reach a server with TLS, a tunnel is named here: \
                 `ssh -L` or `kubectl port-forward`"
            );
        };
        let (authority, base) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (authority, Some(80)),
        };
        let wrong = || format!("the address {address:?} is not as http://HOST:PORT");
        let port = port.with_context(wrong)?;
        let plain = |c: char| c.is_ascii_graphic();
        ensure!(!host.is_empty() && rest.chars().all(plain), wrong());
        Ok(Server {
            host: host.trim_matches(['[', ']']).to_string(),
            port,
            base: base.to_string(),
            patience,
        })
    }

    pub fn get(&self, path: &str) -> Result<Answer> {
        self.ask("GET", path, None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.ask("POST", path, Some(body.to_string()))
    }

    fn ask(&self, method: &str, path: &str, body: Option<String>) -> Result<Answer> {
        let asking = || {
            format!(
                "asking http://{}:{}{}/{path}",
                self.host, self.port, self.base
            )
        };
        self.exchange(method, path, body).with_context(asking)
    }

    fn exchange(&self, method: &str, path: &str, body: Option<String>) -> Result<Answer> {
        let until = Instant::now() + self.patience;
        let mut stream = self.connect()?;
        let body = body.unwrap_or_default();
        let (host, base, length) = (&self.host, &self.base, body.len());
        let head = format!(
            "{method} {base}/{path} HTTP/1.1\r\nHost: {host}:{}\r\nConnection: close\r\nAccept: application/json\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n",
            self.port
        );
        stream.set_write_timeout(Some(self.patience))?;
        stream.write_all(head.as_bytes()).context("sending")?;
        stream.write_all(body.as_bytes()).context("sending")?;
        let mut bytes = vec![];
        let mut part = vec![0; 64 << 10];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "no answer in time");
            stream.set_read_timeout(Some(left))?;
            let read = stream.read(&mut part).context("waiting for the answer")?;
            if read == 0 {
                break;
            }
            bytes.extend_from_slice(&part[..read]);
            ensure!(bytes.len() < MOST, "the answer has no end");
            // Who keeps the connection open has said how long the answer is.
            if whole(&bytes) {
                break;
            }
        }
        parse(&bytes)
    }

    fn connect(&self) -> Result<TcpStream> {
        let mut last = anyhow!("`{}` has no address", self.host);
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, self.patience) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error.into(),
            }
        }
        Err(last.context("connecting"))
    }
}

/// Where the head ends and the body begins.
fn body_at(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(end + 4)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.trim())
}

fn whole(bytes: &[u8]) -> bool {
    let Some(at) = body_at(bytes) else {
        return false;
    };
    let head = String::from_utf8_lossy(&bytes[..at]);
    let length = header(&head, "content-length").and_then(|length| length.parse::<usize>().ok());
    length.is_some_and(|length| bytes.len() - at >= length)
}

fn parse(bytes: &[u8]) -> Result<Answer> {
    let at = body_at(bytes).context("the answer was cut off")?;
    let head = String::from_utf8_lossy(&bytes[..at]);
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    let status = status.and_then(|status| status.parse().ok());
    let status = status.context("the answer is no HTTP")?;
    let chunked = header(&head, "transfer-encoding").is_some_and(|t| t.contains("chunked"));
    let body = match chunked {
        true => unchunked(&bytes[at..])?,
        false => bytes[at..].to_vec(),
    };
    if let Some(length) = header(&head, "content-length") {
        let length: usize = length.parse().context("the answer has no length")?;
        ensure!(body.len() >= length, "the answer was cut off");
    }
    Ok(Answer { status, body })
}

fn unchunked(mut bytes: &[u8]) -> Result<Vec<u8>> {
    let mut body = vec![];
    loop {
        let line = bytes.windows(2).position(|two| two == b"\r\n");
        let line = line.context("the answer was cut off")?;
        let size = std::str::from_utf8(&bytes[..line])?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).context("the answer is in broken chunks")?;
        bytes = &bytes[line + 2..];
        if size == 0 {
            return Ok(body);
        }
        ensure!(
            bytes.len() >= size.saturating_add(2),
            "the answer was cut off"
        );
        body.extend_from_slice(&bytes[..size]);
        bytes = &bytes[size + 2..];
    }
}
