//! Questions in JSON to one place of an endpoint, and what came of it. Connections are kept and used again; proxies of the environment
//! (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`) and certificates of `SSL_CERT_FILE` are honoured. Does not try again:
//! that is `client`'s.

use crate::endpoint::{Endpoint, Secret};
use crate::fault::{Fault, of_content};
use anyhow::{Context, Result};
use reqwest::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use serde_json::Value;
use std::error::Error;
use std::io::Read;
use std::time::{Duration, SystemTime};

/// More than any reply has.
const MOST: usize = 256 << 20;
/// Of an error's text this much is told.
const TOLD: usize = 400;
/// Of an error's text this much is looked at.
const SAID: usize = 64 << 10;
const CONNECT: Duration = Duration::from_secs(20);

pub(crate) struct Http {
    client: reqwest::Client,
    url: reqwest::Url,
    key: Option<(Secret, HeaderName, HeaderValue)>,
}

impl Http {
    /// `path`: below the endpoint's URL.
    pub fn new(endpoint: &Endpoint, path: &str) -> Result<Http> {
        let url = reqwest::Url::parse(&endpoint.posts_to(path))
            .with_context(|| format!("{} is not what a URL begins with", endpoint.host()))?;
        // Another client of this process may have been faster.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .user_agent(concat!("pipe/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT.min(endpoint.timeout))
            .timeout(endpoint.timeout)
            // Servers close what is idle for five seconds, and a request that meets that is lost.
            .pool_idle_timeout(Duration::from_secs(4))
            .pool_max_idle_per_host(endpoint.concurrency)
            .tcp_nodelay(true);
        // A machine without any certificates can still talk to its own servers.
        let builder = match endpoint.url.starts_with("http://") {
            true => builder.tls_certs_only([]),
            false => builder,
        };
        let client = builder
            .build()
            .with_context(|| format!("preparing to talk to {}", endpoint.host()))?;
        let key = match &endpoint.key {
            Some(secret) => {
                let (name, value) = header(secret, endpoint.bare_key())?;
                Some((secret.clone(), name, value))
            }
            None => None,
        };
        Ok(Http { client, url, key })
    }

    /// The body of a reply with status 200. It, and everything told, is free of the key.
    pub async fn post(&self, body: &Value) -> Result<Value, Fault> {
        let bytes = serde_json::to_vec(body).expect("JSON always has a text");
        let request = self.client.post(self.url.clone());
        self.send(request.header(CONTENT_TYPE, "application/json").body(bytes))
            .await
    }

    /// The same of what is only looked at.
    pub async fn get(&self) -> Result<Value, Fault> {
        self.send(self.client.get(self.url.clone())).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value, Fault> {
        let request = match &self.key {
            Some((_, name, value)) => request.header(name, value),
            None => request,
        };
        let mut response = request.send().await.map_err(|e| self.broken(&e))?;
        let status = response.status().as_u16();
        let after = patience(response.headers());
        let mut text = vec![];
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => text.extend_from_slice(&chunk),
                Ok(None) => break,
                // What went wrong is known already.
                Err(_) if status != 200 => break,
                Err(error) => return Err(self.broken(&error)),
            }
            if text.len() > MOST {
                return Err(Fault::passing("the reply has no end"));
            }
        }
        let text = unpacked(text);
        if status != 200 {
            return Err(self.refused(status, after, &text));
        }
        let mut body: Value = serde_json::from_slice(&text).map_err(|_| {
            let reason = format!("the reply is no JSON: {}", self.excerpt(&text));
            Fault::passing(reason)
        })?;
        if let Some((secret, ..)) = &self.key {
            clean(&mut body, secret);
        }
        // Some say what went wrong with status 200.
        match whole(&body).get("error").filter(|error| !nothing(error)) {
            None => Ok(body),
            Some(error) => {
                let number = |name: &str| match error.get(name)? {
                    Value::String(text) => text.parse().ok(),
                    value => value.as_u64(),
                };
                let status = number("code").or_else(|| number("status"));
                let status = status.filter(|status| (400..600).contains(status));
                let content = || of_content(&error.to_string()).then_some(400);
                let status = status.or_else(content).unwrap_or(500);
                Err(self.refused(status as u16, after, &text))
            }
        }
    }

    /// What a status other than 200 comes to.
    fn refused(&self, status: u16, after: Option<Duration>, text: &[u8]) -> Fault {
        let name = reqwest::StatusCode::from_u16(status).ok();
        let name = name.and_then(|s| s.canonical_reason()).unwrap_or_default();
        let reason = format!("{status} {name}: {}", self.excerpt(text));
        let body = serde_json::from_slice::<Value>(text).unwrap_or_default();
        let word = |name: &str| whole(&body).get("error")?.get(name)?.as_str();
        let code = word("code").or_else(|| word("type")).unwrap_or_default();
        let said = String::from_utf8_lossy(&text[..text.len().min(SAID)]);
        Fault::of_status(status, after, (code, &said), reason)
    }

    /// What a service says of an error: its message, or the beginning of its text. Free of the key.
    fn excerpt(&self, bytes: &[u8]) -> String {
        let text = match serde_json::from_slice::<Value>(bytes) {
            Ok(body) => message(whole(&body)).unwrap_or_else(|| body.to_string()),
            Err(_) => String::from_utf8_lossy(bytes).into_owned(),
        };
        // Before it is cut, or half of the key would be left.
        beginning(&without_markup(&self.redact(&text)))
    }

    fn redact(&self, text: &str) -> String {
        match &self.key {
            Some((secret, ..)) => secret.redact(text),
            None => text.to_string(),
        }
    }

    fn broken(&self, error: &reqwest::Error) -> Fault {
        // The URL is said by whoever knows what it was for.
        let mut reason = match error {
            e if e.is_timeout() && !e.is_connect() => "no answer in time".to_string(),
            e if e.is_connect() => "no connection".to_string(),
            e if e.is_decode() || e.is_body() => "the reply broke off".to_string(),
            _ => "the request broke off".to_string(),
        };
        let mut cause = error.source();
        let mut last = String::new();
        while let Some(error) = cause {
            if let Some(certificate) = untrusted(error) {
                let reason = format!(
                    "its certificate is not trusted: {certificate}; if it is a server of your own, let SSL_CERT_FILE \
                     name a file with the certificate of its authority"
                );
                return Fault::Denied { status: 0, reason };
            }
            last = error.to_string();
            // Of hyper's tunnel; there is no type to tell it by.
            if last.contains("proxy authorization required") {
                return Fault::Denied {
                    status: 0,
                    reason: "the proxy wants to know who asks: its URL takes a user and a password"
                        .into(),
                };
            }
            cause = error.source();
        }
        if !last.is_empty() && !error.is_timeout() {
            reason += &format!(": {last}");
        }
        Fault::Passing {
            reason: self.redact(&reason),
            gone: error.is_connect(),
        }
    }
}

/// As much of a text as is told.
pub fn beginning(text: &str) -> String {
    match text.char_indices().nth(TOLD) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None if text.is_empty() => "(no text)".into(),
        None => text.into(),
    }
}

/// What servers put in the place of an error where there is none.
fn nothing(error: &Value) -> bool {
    match error {
        Value::Null => true,
        Value::Bool(is) => !is,
        Value::Number(code) => code.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// Some servers and proxies compress though nobody asked for it. No text begins so.
fn unpacked(bytes: Vec<u8>) -> Vec<u8> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return bytes;
    }
    let mut text = vec![];
    let reader = flate2::read::MultiGzDecoder::new(&*bytes);
    let read = reader.take(MOST as u64).read_to_end(&mut text);
    match read {
        Ok(_) => text,
        Err(_) => bytes,
    }
}

/// Takes the key out of all texts of a reply: answers are kept in files, and a key is in none.
fn clean(value: &mut Value, secret: &Secret) {
    match value {
        Value::String(text) if secret.is_in(text) => *text = secret.redact(text),
        Value::Array(items) => items.iter_mut().for_each(|item| clean(item, secret)),
        Value::Object(map) => {
            if map.keys().any(|name| secret.is_in(name)) {
                let members = std::mem::take(map).into_iter();
                *map = members.map(|(k, v)| (secret.redact(&k), v)).collect();
            }
            map.values_mut().for_each(|item| clean(item, secret));
        }
        _ => {}
    }
}

/// `bare`: the header that holds the key as it is.
fn header(secret: &Secret, bare: Option<&str>) -> Result<(HeaderName, HeaderValue)> {
    let (name, text) = match bare {
        Some(name) => {
            let parsed = HeaderName::from_bytes(name.as_bytes());
            let parsed = parsed.with_context(|| format!("`{name}` is no name of a header"))?;
            (parsed, secret.reveal().to_string())
        }
        None => (AUTHORIZATION, format!("Bearer {}", secret.reveal())),
    };
    let value = HeaderValue::from_str(&text);
    // The error would show the value.
    let value = value.ok().with_context(|| {
        let name = secret.name();
        format!("the value of `{name}` has characters that no key has")
    });
    let mut value = value?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// The complaint about a certificate, if that is what it is. Errors of input and output hide theirs, one within the other.
fn untrusted(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error @ rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
        return Some(error.to_string());
    }
    let inner = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    untrusted(inner)
}

/// Google answers with a list of one error.
fn whole(body: &Value) -> &Value {
    match body {
        Value::Array(items) if items.len() == 1 => &items[0],
        body => body,
    }
}

/// Servers say it in one of several places.
fn message(body: &Value) -> Option<String> {
    let error = body.get("error").unwrap_or(body);
    let found = error
        .get("message")
        .or_else(|| body.get("message"))
        .or_else(|| body.get("detail"));
    match found.unwrap_or(error) {
        Value::String(text) => Some(text.clone()),
        other if found.is_some() => Some(other.to_string()),
        _ => None,
    }
}

/// An HTML page as a line of text.
fn without_markup(text: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    let html = text.trim_start().starts_with('<');
    for c in text.chars() {
        match c {
            '<' if html => inside = true,
            '>' if html => {
                inside = false;
                out.push(' ');
            }
            _ if inside => {}
            c => out.push(c),
        }
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How long the service asks to be left alone: `Retry-After` in seconds or as a date, or OpenAI's `retry-after-ms`.
#[allow(clippy::disallowed_methods)] // A date in a header is told against the clock.
fn patience(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let number = |text: &str| text.trim().parse::<f64>().ok();
    let milliseconds = text("retry-after-ms").and_then(number);
    if let Some(after) = milliseconds.and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok()) {
        return Some(after);
    }
    let after = text(RETRY_AFTER.as_str())?;
    if let Some(seconds) = number(after) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(after).ok()?;
    Some(
        date.duration_since(SystemTime::now())
            .unwrap_or(Duration::ZERO),
    )
}
