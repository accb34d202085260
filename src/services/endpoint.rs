//! Who is asked, and how: settings that decide nothing about an answer but where, when and at what price it is had.

use std::time::Duration;

/// Tokens cost this many dollars a million.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prices {
    pub prompt: f64,
    /// Of prompt tokens that the service had cached; none: as `prompt`.
    pub cached: Option<f64>,
    pub completion: f64,
}

impl Prices {
    pub fn of(&self, usage: &super::protocol::Usage) -> f64 {
        let cached = usage.cached.min(usage.prompt);
        let fresh = (usage.prompt - cached) as f64 * self.prompt;
        let cached = cached as f64 * self.cached.unwrap_or(self.prompt);
        (fresh + cached + usage.completion as f64 * self.completion) / 1e6
    }
}

/// What may be spent by one client.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    pub dollars: Option<f64>,
    pub tokens: Option<u64>,
}

#[derive(Clone)]
pub struct Endpoint {
    /// As `https://api.deepseek.com/v1`; the protocol's path is appended.
    pub url: String,
    /// The secret itself and the name of the variable that it comes from. Sent as a bearer token, written nowhere.
    pub key: Option<Secret>,
    /// Requests in flight.
    pub concurrency: usize,
    pub requests_per_minute: Option<f64>,
    pub tokens_per_minute: Option<f64>,
    /// For a whole request.
    pub timeout: Duration,
    /// Tries beyond the first for a request that fails in a passing way.
    pub retries: u32,
    /// The first pause before another try; doubled each time up to `LONGEST_PAUSE`.
    pub pause: Duration,
    pub prices: Prices,
    pub limits: Limits,
}

pub const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Endpoint {
    /// One with moderate habits.
    pub fn at(url: &str) -> Endpoint {
        Endpoint {
            url: url.into(),
            key: None,
            concurrency: 16,
            requests_per_minute: None,
            tokens_per_minute: None,
            timeout: Duration::from_secs(600),
            retries: 8,
            pause: Duration::from_secs(1),
            prices: Prices::default(),
            limits: Limits::default(),
        }
    }

    /// Host and port, for messages and for the journal; nothing that may be secret.
    pub fn host(&self) -> String {
        let rest = self.url.split_once("://").map_or(&*self.url, |(_, r)| r);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        host.to_string()
    }

    /// What is wrong with a URL that a recipe gives.
    pub fn problem(url: &str) -> Option<String> {
        let Ok(parsed) = reqwest::Url::parse(url) else {
            return Some(format!("`{url}` is no URL"));
        };
        if !["http", "https"].contains(&parsed.scheme()) {
            return Some(format!("`{}` is neither http nor https", parsed.scheme()));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Some("a URL holds no user and no password; name the key's variable".into());
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Some("a URL of a service ends with its path".into());
        }
        None
    }
}

/// A value that is never shown.
#[derive(Clone)]
pub struct Secret {
    name: String,
    value: String,
}

impl Secret {
    pub fn new(name: &str, value: String) -> Secret {
        Secret {
            name: name.into(),
            value: value.trim().to_string(),
        }
    }

    /// The variable that it comes from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// For the header of a request and nothing else.
    pub(super) fn reveal(&self) -> &str {
        &self.value
    }

    /// Shorter ones are no secrets, and would blank half of what is said.
    pub fn is_in(&self, text: &str) -> bool {
        self.value.len() > 5 && text.contains(&self.value)
    }

    /// The text without the secret in it: services like to repeat a key that they do not know.
    pub fn redact(&self, text: &str) -> String {
        match self.is_in(text) {
            true => text.replace(&self.value, &format!("[{}]", self.name)),
            false => text.to_string(),
        }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}]", self.name)
    }
}
