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
    /// As `https://api.deepseek.com/v1`; the protocol's path is appended, before a query where there is one.
    pub url: String,
    /// The secret itself and the name of the variable that it comes from. Written nowhere.
    pub key: Option<Secret>,
    /// The header that holds the key as it is; none: the one that the host is known for, a bearer token in `Authorization` or
    /// Azure's `api-key`.
    pub key_header: Option<String>,
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

pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Endpoint {
    /// One with moderate habits.
    pub fn at(url: &str) -> Endpoint {
        Endpoint {
            url: url.into(),
            key: None,
            key_header: None,
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

    /// Where a request with this path below the endpoint's URL goes.
    pub fn posts_to(&self, path: &str) -> String {
        below(&self.url, path)
    }

    /// Where a request with this path goes, for people. A query may hold what is nobody's business: of it only names are shown, and API
    /// versions.
    pub fn shown(&self, path: &str) -> String {
        let url = self.posts_to(path);
        let Some((base, query)) = url.split_once('?') else {
            return url;
        };
        let shown = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if !name.to_lowercase().ends_with("version") => format!("{name}=…"),
            _ => pair.to_string(),
        });
        format!("{base}?{}", shown.collect::<Vec<_>>().join("&"))
    }

    /// The header of the key where it stands as it is; none: a bearer token.
    pub fn bare_key(&self) -> Option<&str> {
        match self.key_header.as_deref() {
            Some(name) if name.eq_ignore_ascii_case("authorization") => None,
            Some(name) => Some(name),
            None => {
                let host = self.host();
                let host = host.rsplit_once(':').map_or(&*host, |(host, _)| host);
                let azure = AZURE.iter().any(|end| host.ends_with(end));
                azure.then_some("api-key")
            }
        }
    }

    /// What is wrong with the header that a recipe names for its key.
    pub fn header_problem(name: &str) -> Option<String> {
        let good = reqwest::header::HeaderName::from_bytes(name.as_bytes());
        (good.is_err()).then(|| format!("`{name}` is no name of a header"))
    }

    /// What is wrong with the URL of a service that paths are appended to.
    pub fn base_problem(url: &str) -> Option<String> {
        if let found @ Some(_) = Endpoint::problem(url) {
            return found;
        }
        let base = url.split('?').next().unwrap_or(url).trim_end_matches('/');
        let mut paths = PATHS.iter().map(|path| format!("/{path}"));
        let path = paths.find(|path| base.ends_with(path))?;
        let kept = &base[..base.len() - path.len()];
        let query = url.split_once('?').map(|(_, query)| format!("?{query}"));
        Some(format!(
            "the path `{path}` is appended to `url`, and requests would go to `{base}{path}`; write \
             `{kept}{}`",
            query.unwrap_or_default()
        ))
    }

    /// What is wrong with a URL that a recipe gives.
    pub fn problem(url: &str) -> Option<String> {
        let Ok(parsed) = reqwest::Url::parse(url) else {
            return Some(format!("`{url}` is no URL"));
        };
        if url.trim() != url {
            return Some(format!("`{url}` begins or ends with white space"));
        }
        if !["http", "https"].contains(&parsed.scheme()) {
            return Some(format!("`{}` is neither http nor https", parsed.scheme()));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Some("a URL holds no user and no password; name the key's variable".into());
        }
        if parsed.fragment().is_some() {
            return Some("a URL of a service has no `#`".into());
        }
        let secret = |name: &str| {
            let name = name.to_lowercase();
            let part = |word| name.contains(word);
            ["key", "token", "secret", "password", "signature"]
                .into_iter()
                .any(part)
                || ["sig", "code"].contains(&&*name)
        };
        let found = parsed.query_pairs().find(|(name, _)| secret(name));
        found.map(|(name, _)| {
            format!(
                "`{name}` in the URL looks like a key, and a recipe is no place for one; name the key's variable, and the header \
                 that it goes in"
            )
        })
    }
}

/// Ends of the hosts where Azure serves models; there a key goes in `api-key`, and `Authorization` is for tokens.
const AZURE: [&str; 3] = [
    ".openai.azure.com",
    ".cognitiveservices.azure.com",
    ".services.ai.azure.com",
];

/// What people copy along with the URL of a service, longest first.
const PATHS: [&str; 4] = [
    "chat/completions",
    "completions",
    "moderations",
    "responses",
];

fn below(url: &str, path: &str) -> String {
    if path.is_empty() {
        return url.to_string();
    }
    match url.split_once('?') {
        Some((base, query)) => format!("{}/{path}?{query}", base.trim_end_matches('/')),
        None => format!("{}/{path}", url.trim_end_matches('/')),
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
