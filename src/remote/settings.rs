//! `[remote]` as it stands in a profile, or in the settings of a store or of a user: what is wrong with it is shown where it stands.

use crate::address::Address;
use crate::keys::{Identity, SECRET};
use base::diag::{Diag, Diags, Place, Source};
use base::text::did_you_mean;
use engine::store::remote::Terms;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

const TABLE: &str = "remote";
const ENTRIES: [&str; 4] = ["url", "trust", "read_only", "lease"];

/// What stands for no remote.
const NOWHERE: &str = "none";

/// Where a remote is, for who may also say that there is none.
#[derive(Clone, Debug, PartialEq)]
pub enum Url {
    Nowhere,
    At(Address),
}

/// Whose records are believed beside those of the user's own list.
#[derive(Clone, Debug, PartialEq)]
pub enum Believed {
    All,
    These(Vec<Identity>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub url: Option<Url>,
    pub trust: Believed,
    /// Nothing is given to it.
    pub read_only: bool,
    /// On which terms keys are leased; nothing: not at all.
    pub lease: Option<Terms>,
}

/// What a lease may last: it is renewed three times in that.
const LASTS: RangeInclusive<f64> = 1.0..=3600.0;

impl Default for Table {
    fn default() -> Table {
        Table {
            url: None,
            trust: Believed::These(vec![]),
            read_only: false,
            lease: Some(Terms::default()),
        }
    }
}

impl Url {
    pub fn parse(text: &str) -> anyhow::Result<Url> {
        match text {
            NOWHERE => Ok(Url::Nowhere),
            text => Address::parse(text).map(Url::At),
        }
    }
}

impl Table {
    /// Of a text that is called so; nothing where it says nothing of a remote. `alone`: it has nothing else to say.
    pub fn read(name: &str, text: &str, alone: bool) -> Result<Option<Table>, Diags> {
        let source = Source::new(name, hidden(text));
        let whole = DeTable::parse(text).map_err(|error| {
            let place = Place::new(&source, error.span().unwrap_or(0..0));
            Diags::from(Diag::at(&place, error.message()))
        })?;
        let mut reading = Reading {
            source,
            diags: Diags::default(),
        };
        let mut found = None;
        for (key, value) in whole.get_ref().iter() {
            let name: &str = key.get_ref();
            match (name, value.get_ref()) {
                (TABLE, DeValue::Table(table)) => found = Some(reading.table(table)),
                (TABLE, _) => reading.wrong(value.span(), "`remote` is a table, `[remote]`"),
                (other, _) if alone => {
                    let near = did_you_mean(other, [TABLE]);
                    let place = reading.place(key.span());
                    let diag = Diag::at(&place, format!("there is no `{other}` in these settings"));
                    reading.diags.push(match near {
                        None => diag.help("they have `[remote]`"),
                        near => diag.suggest(near),
                    });
                }
                _ => {}
            }
        }
        match reading.diags.is_empty() {
            true => Ok(found),
            false => Err(reading.diags.finish()),
        }
    }
}

/// One reading, and what is wrong so far.
struct Reading {
    source: Arc<Source>,
    diags: Diags,
}

impl Reading {
    fn place(&self, span: Range<usize>) -> Place {
        Place::new(&self.source, span)
    }

    fn wrong(&mut self, span: Range<usize>, what: impl Into<String>) {
        let place = self.place(span);
        self.diags.push(Diag::at(&place, what));
    }

    fn table(&mut self, entries: &DeTable) -> Table {
        let mut table = Table::default();
        for (key, value) in entries.iter() {
            let name: &str = key.get_ref();
            match name {
                "url" => table.url = self.url(value),
                "trust" => table.trust = self.trust(value),
                "read_only" => match value.get_ref() {
                    DeValue::Boolean(read_only) => table.read_only = *read_only,
                    _ => self.wrong(value.span(), "`read_only` is `true` or `false`"),
                },
                "lease" => table.lease = self.lease(value),
                other => {
                    let place = self.place(key.span());
                    let diag = Diag::at(&place, format!("`[remote]` has no entry `{other}`"));
                    let diag = self.diags.among(diag, other, ENTRIES);
                    self.diags.push(diag);
                }
            }
        }
        table
    }

    fn url(&mut self, value: &Spanned<DeValue>) -> Option<Url> {
        let DeValue::String(text) = value.get_ref() else {
            self.wrong(value.span(), "`url` is a text, as \"s3://BUCKET/PREFIX\"");
            return None;
        };
        match Url::parse(text) {
            Ok(url) => Some(url),
            Err(error) => {
                self.wrong(value.span(), format!("{error:#}"));
                None
            }
        }
    }

    /// `false`, or from how many expected seconds on a node is leased; a table says as well how many a lease lasts.
    fn lease(&mut self, value: &Spanned<DeValue>) -> Option<Terms> {
        const FORM: &str = "`lease` is false, a number of seconds, or `{ from = 30, lasts = 90 }`";
        let mut terms = Terms::default();
        match value.get_ref() {
            DeValue::Boolean(false) => return None,
            DeValue::Boolean(true) => {}
            DeValue::Table(table) => {
                for (key, value) in table.iter() {
                    let name: &str = key.get_ref();
                    match (name, seconds(value.get_ref())) {
                        ("from", Some(from)) => terms.least_seconds = from,
                        ("lasts", Some(lasts)) if LASTS.contains(&lasts) => {
                            terms.lasts = Duration::from_secs_f64(lasts);
                        }
                        ("lasts", Some(_)) => self.wrong(
                            value.span(),
                            format!(
                                "a lease lasts between {} and {} seconds",
                                LASTS.start(),
                                LASTS.end()
                            ),
                        ),
                        ("from" | "lasts", None) => self.wrong(value.span(), FORM),
                        _ => self.wrong(key.span(), FORM),
                    }
                }
            }
            other => match seconds(other) {
                Some(from) => terms.least_seconds = from,
                None => self.wrong(value.span(), FORM),
            },
        }
        Some(terms)
    }

    fn trust(&mut self, value: &Spanned<DeValue>) -> Believed {
        const FORM: &str =
            "`trust` is a list of public keys, as `pipe keys show` prints them, or \"all\"";
        match value.get_ref() {
            DeValue::String(word) if word == "all" => return Believed::All,
            DeValue::Array(lines) => {
                let mut these = vec![];
                for line in lines.iter() {
                    let DeValue::String(text) = line.get_ref() else {
                        self.wrong(line.span(), FORM);
                        continue;
                    };
                    match Identity::parse(text) {
                        Ok(who) => these.push(who),
                        Err(error) => self.wrong(line.span(), format!("{error:#}")),
                    }
                }
                return Believed::These(these);
            }
            _ => self.wrong(value.span(), FORM),
        }
        Believed::These(vec![])
    }
}

/// A number of them, from zero on.
fn seconds(value: &DeValue) -> Option<f64> {
    let number = match value {
        DeValue::Integer(whole) => i64::from_str_radix(whole.as_str(), whole.radix()).ok()? as f64,
        DeValue::Float(part) => part.as_str().parse().ok()?,
        _ => return None,
    };
    (number >= 0.0).then_some(number)
}

/// The text, byte for byte in its places, without what may be a private key, or a name and a password in an address.
fn hidden(text: &str) -> String {
    let lines = text.split_inclusive('\n').map(|line| {
        let after = |mark: &str| Some(line.find(mark)? + mark.len());
        let named = after("://").and_then(|from| Some(from..from + line[from..].rfind('@')?));
        let key = after(SECRET).map(|from| from..line.trim_end().len().max(from));
        match key.or(named) {
            None => line.to_string(),
            Some(secret) => {
                let stars = "*".repeat(secret.len());
                [&line[..secret.start], &stars, &line[secret.end..]].concat()
            }
        }
    });
    lines.collect()
}
