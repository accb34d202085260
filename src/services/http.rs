//! One POST of JSON to an endpoint, and what came of it. Connections are kept and used again; proxies of the environment
//! (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`) and certificates of `SSL_CERT_FILE` are honoured. Does not try again:
//! that is `client`'s.

use crate::services::endpoint::{Endpoint, Secret};
use crate::services::fault::Fault;
use anyhow::{Context, Result};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use serde_json::Value;
use std::error::Error;
use std::time::{Duration, SystemTime};

/// More than any reply has.
const MOST: usize = 256 << 20;
/// Of an error's text this much is told.
const TOLD: usize = 400;
const CONNECT: Duration = Duration::from_secs(20);

pub struct Http {
    client: reqwest::Client,
    url: String,
    key: Option<(Secret, HeaderValue)>,
}

impl Http {
    pub fn new(endpoint: &Endpoint) -> Result<Http> {
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
            Some(secret) => Some((secret.clone(), bearer(secret)?)),
            None => None,
        };
        Ok(Http {
            client,
            url: endpoint.url.trim_end_matches('/').to_string(),
            key,
        })
    }

    /// The body of a reply with status 200. Everything told is free of the key.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Fault> {
        let bytes = serde_json::to_vec(body).expect("JSON always has a text");
        let url = match path {
            "" => self.url.clone(),
            path => format!("{}/{path}", self.url),
        };
        let request = self.client.post(url);
        let request = request.header(CONTENT_TYPE, "application/json").body(bytes);
        let request = match &self.key {
            Some((_, bearer)) => request.header(AUTHORIZATION, bearer),
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
                return Err(Fault::Passing("the reply has no end".into()));
            }
        }
        if status == 200 {
            return serde_json::from_slice(&text).map_err(|_| {
                let told = format!("the reply is no JSON: {}", self.excerpt(&text));
                Fault::Passing(told)
            });
        }
        let name = reqwest::StatusCode::from_u16(status).ok();
        let name = name.and_then(|s| s.canonical_reason()).unwrap_or_default();
        let told = format!("{status} {name}: {}", self.excerpt(&text));
        Err(Fault::of_status(status, after, told))
    }

    /// What a service says of an error: its message, or the beginning of its text.
    fn excerpt(&self, bytes: &[u8]) -> String {
        let message = serde_json::from_slice::<Value>(bytes)
            .ok()
            .and_then(|v| message(&v));
        let text = message.unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned());
        let text = without_markup(&text);
        let text = match text.char_indices().nth(TOLD) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None if text.is_empty() => "(no text)".into(),
            None => text,
        };
        match &self.key {
            Some((secret, _)) => secret.redact(&text),
            None => text,
        }
    }

    fn broken(&self, error: &reqwest::Error) -> Fault {
        // The URL is said by whoever knows what it was for.
        let mut told = match error {
            e if e.is_timeout() && !e.is_connect() => "no answer in time".to_string(),
            e if e.is_connect() => "no connection".to_string(),
            e if e.is_decode() || e.is_body() => "the reply broke off".to_string(),
            _ => "the request broke off".to_string(),
        };
        let mut cause = error.source();
        let mut last = String::new();
        while let Some(error) = cause {
            if let Some(certificate) = untrusted(error) {
                return Fault::Denied(format!(
                    "its certificate is not trusted: {certificate}; if it is a server of your own, let SSL_CERT_FILE \
                     name a file with the certificate of its authority"
                ));
            }
            last = error.to_string();
            cause = error.source();
        }
        if !last.is_empty() && !error.is_timeout() {
            told += &format!(": {last}");
        }
        match &self.key {
            Some((secret, _)) => Fault::Passing(secret.redact(&told)),
            None => Fault::Passing(told),
        }
    }
}

fn bearer(secret: &Secret) -> Result<HeaderValue> {
    let value = HeaderValue::from_str(&format!("Bearer {}", secret.reveal()));
    // The error would show the value.
    let value = value.ok().with_context(|| {
        let name = secret.name();
        format!("the value of `{name}` has characters that no key has")
    });
    value.map(|mut v| {
        v.set_sensitive(true);
        v
    })
}

/// The complaint about a certificate, if that is what it is.
fn untrusted(error: &(dyn Error + 'static)) -> Option<String> {
    let inner = error
        .downcast_ref::<std::io::Error>()
        .and_then(|e| e.get_ref());
    let inner = inner.map(|e| e as &(dyn Error + 'static));
    [Some(error), inner].into_iter().flatten().find_map(|e| {
        match e.downcast_ref::<rustls::Error>()? {
            e @ rustls::Error::InvalidCertificate(_) => Some(e.to_string()),
            _ => None,
        }
    })
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
    if let Some(ms) = text("retry-after-ms").and_then(|t| t.parse::<f64>().ok()) {
        return Duration::try_from_secs_f64(ms / 1000.0).ok();
    }
    let after = text(RETRY_AFTER.as_str())?;
    if let Ok(seconds) = after.trim().parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(after).ok()?;
    Some(
        date.duration_since(SystemTime::now())
            .unwrap_or(Duration::ZERO),
    )
}
