//! The remote that a command means: where it is named, who one is there, whose records are believed; and what is told of it.

use super::environment::{variable, variables};
use super::output::{Error, print_json, warn};
use super::{keyring, on};
use ::remote::keys::Keyring;
use ::remote::settings::{Believed, Table, Url};
use ::remote::{Address, Bucket};
use anyhow::{Context, anyhow};
use base::bounded;
use base::hash::Key;
use engine::gc::settings;
use engine::store::Store;
use engine::store::remote::{Remote, Trust};
use serde_json::{Value, json};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const VARIABLE: &str = "PIPE_REMOTE";

/// Of the user, in the folder of his settings.
const SETTINGS: &str = "settings.toml";

/// Larger than any settings.
const MOST: u64 = 1 << 20;

/// How a remote is used.
#[derive(Clone, Copy, Default)]
pub struct Use<'a> {
    /// The profile that was named.
    pub on: Option<&'a str>,
    /// Nothing is given to it.
    pub read_only: bool,
    /// It may take its time: somebody asked for nothing else.
    pub patient: bool,
    /// Records are given to it.
    pub gives: bool,
}

/// What is said of the remote.
pub struct Meant {
    address: Address,
    table: Table,
}

impl Meant {
    /// An error where it is said that nothing is given there.
    pub fn gives(&self) -> Result<(), Error> {
        match self.table.read_only {
            false => Ok(()),
            true => Err(Error::World(anyhow!(
                "the remote {}: nothing is changed there, as `read_only = true` stands under `[remote]`",
                self.address.text()
            ))),
        }
    }
}

/// The one of the environment, else of the first of these that has a `[remote]`: the profile that was named, the settings of the store,
/// those of the user. None where nobody names one.
pub fn meant(store: &Store, on: Option<&str>) -> Result<Option<Meant>, Error> {
    let mut table = table(store, on)?.map_or_else(Table::default, |(table, _)| table);
    let url = match variable(VARIABLE) {
        None => table.url.take(),
        Some(text) => {
            let url = Url::parse(&text);
            let url = url.map_err(|error| Error::Usage(format!("{VARIABLE}: {error:#}")))?;
            // Who may write there is known of the address beside it, and of no other.
            if table.url.as_ref().is_some_and(|own| *own != url) && table.trust == Believed::All {
                table.trust = Believed::These(vec![]);
            }
            Some(url)
        }
    };
    Ok(match url {
        None | Some(Url::Nowhere) => None,
        Some(Url::At(address)) => Some(Meant { address, table }),
    })
}

/// And where it stands.
fn table(store: &Store, on: Option<&str>) -> Result<Option<(Table, PathBuf)>, Error> {
    if let Some(named) = on {
        let path = on::file(named)?;
        if let Some(table) = on::read(&path)?.1 {
            return Ok(Some((table, path)));
        }
    }
    let path = settings::path(store);
    if let Some(table) = of_file(&path, false)? {
        return Ok(Some((table, path)));
    }
    // What else is in them may be a `[remote]` that is misspelt.
    settings::read(store)?;
    let Ok(folder) = keyring::config() else {
        return Ok(None);
    };
    let path = folder.join(SETTINGS);
    Ok(of_file(&path, true)?.map(|table| (table, path)))
}

/// `[remote]` of a file; nothing where there is none, or no file. `alone`: nothing else may stand there.
pub fn of_file(path: &Path, alone: bool) -> Result<Option<Table>, Error> {
    let text = match bounded::read_text(path, MOST) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.with_context(|| format!("reading {}", path.display()))?,
    };
    Ok(Table::read(&path.display().to_string(), &text, alone)?)
}

/// The remote itself, which connects to nothing until it is asked.
pub fn bucket(store: &Store, meant: &Meant, how: Use) -> Bucket {
    let address = meant.address.clone();
    let variables = variables(address.variables());
    let mut bucket = Bucket::new(address, variables);
    if Store::is_at(store.root()) {
        bucket = bucket.with_cache(&store.root().join("memo/remote"));
    }
    if how.read_only || meant.table.read_only {
        bucket = bucket.read_only();
    }
    if how.patient {
        bucket = bucket.patiently();
    }
    bucket.with_leases(meant.table.lease)
}

/// The store with its remote, where it has one.
pub fn attach(store: Store, how: Use) -> Result<Store, Error> {
    let Some(meant) = meant(&store, how.on)? else {
        return Ok(store);
    };
    let mut bucket = bucket(&store, &meant, how);
    let keyring = keyring::keyring(&meant.table.trust)?;
    if how.gives && how.patient {
        meant.gives()?;
    }
    // Nobody would take what nobody signed.
    if how.gives && bucket.takes() && !keyring.signs() {
        if how.patient {
            return Err(no_key(&meant, &bucket));
        }
        bucket = bucket.read_only();
        bucket.say(NO_KEY);
    }
    Ok(store.with_remote(Arc::new(bucket), Arc::new(keyring)))
}

/// As `attach`, for a verb that does nothing else: without a remote there is nothing to do.
pub fn required(store: Store, how: Use) -> Result<Store, Error> {
    needed(&store, how.on)?;
    attach(store, how)
}

/// As `meant`, where there is nothing to do without one.
pub fn needed(store: &Store, on: Option<&str>) -> Result<Meant, Error> {
    if let Some(meant) = meant(store, on)? {
        return Ok(meant);
    }
    let nowhere = |table: &Table| table.url == Some(Url::Nowhere);
    let said = table(store, on)?.filter(|(table, _)| nowhere(table));
    let what_to_do = match (variable(VARIABLE), said) {
        (Some(none), _) => {
            format!("{VARIABLE} is `{none}`, which is no remote: unset it, or let it name one")
        }
        (None, Some((_, path))) => format!(
            "`url` under `[remote]` in {} is \"none\": let it name one, or set {VARIABLE}",
            path.display()
        ),
        (None, None) => format!(
            "set {VARIABLE}, or `url` under `[remote]` in {}",
            settings::path(store).display()
        ),
    };
    Err(Error::World(anyhow!(
        "this store has no remote: {what_to_do}; `pipe help sharing` tells more"
    )))
}

/// Whose records are believed; and who signs, for one who gives.
pub fn trust(meant: &Meant, bucket: &Bucket, gives: bool) -> Result<Arc<dyn Trust>, Error> {
    if gives {
        meant.gives()?;
    }
    let keyring: Keyring = keyring::keyring(&meant.table.trust)?;
    match gives && !keyring.signs() {
        true => Err(no_key(meant, bucket)),
        false => Ok(Arc::new(keyring)),
    }
}

const NO_KEY: &str = "you have no key, so nothing is given to it; `pipe keys new` makes one";

/// A remote that is not there comes first: a key alone would not help.
fn no_key(meant: &Meant, bucket: &Bucket) -> Error {
    let name = meant.address.text();
    Error::World(match bucket.ready() {
        Ok(()) => anyhow!("the remote {name}: {NO_KEY}"),
        Err(why) => anyhow!("{why:#}; and {NO_KEY}"),
    })
}

/// For a verb that does nothing else: whether it answers is known before anything is decided or made.
pub fn reach(store: &Store) -> Result<(), Error> {
    store.find_remote(&Key::from_bytes(&[0; 32]))?;
    if store.remote().is_none() {
        let why = store.remote_remark().unwrap_or_default();
        return Err(Error::World(anyhow!(why)));
    }
    tell(store);
    Ok(())
}

/// For the same: whether it answered to the end, and what is told of it since. Of one that did, that is no error.
pub fn ends(store: &Store) -> (bool, Vec<String>) {
    let open = store.remote().is_some();
    let word = if open { "warning" } else { "error" };
    let told = store.new_remarks().into_iter();
    (open, told.map(|text| format!("{word}: {text}")).collect())
}

/// Tells what went wrong with the remote since it was last told. For who reads: a run has a journal.
pub fn tell(store: &Store) {
    for text in store.new_remarks() {
        warn(text);
    }
}

/// The answer of a verb that reads, and in it what was told of the remote.
pub fn answer(store: &Store, answer: Value) {
    tell(store);
    print_answer(store, answer);
}

/// As `answer`, where that was told.
pub fn print_answer(store: &Store, mut answer: Value) {
    let remarks = store.remarks();
    if !remarks.is_empty() {
        answer["remarks"] = json!(remarks);
    }
    print_json(&answer);
}
