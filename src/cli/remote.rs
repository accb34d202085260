//! The remote that a store has: which one is meant, who one is there, and whose records are believed.

use super::environment::{variable, variables};
use super::keyring;
use super::output::Error;
use ::remote::settings::Table;
use ::remote::{Address, Bucket};
use engine::gc::settings;
use engine::store::Store;
use engine::store::remote::{Remote, Trust};
use std::sync::Arc;

const VARIABLE: &str = "PIPE_REMOTE";

/// What stands for no remote.
const NONE: &str = "none";

/// How a remote is used.
#[derive(Clone, Copy, Default)]
pub struct Use {
    /// Nothing is given to it.
    pub read_only: bool,
    /// It may take its time: somebody asked for nothing else.
    pub patient: bool,
    /// Records are given to it.
    pub gives: bool,
}

/// What is said of the remote, for this store.
pub struct Meant {
    address: Address,
    table: Table,
}

/// The one of the environment, else of the store's settings; none where nobody names one.
pub fn meant(store: &Store) -> Result<Option<Meant>, Error> {
    let table = table(store)?;
    let (url, by) = match variable(VARIABLE) {
        Some(url) => (Some(url), VARIABLE),
        None => (table.url.clone(), "`[remote]` of the store's settings"),
    };
    let Some(url) = url.filter(|url| url != NONE) else {
        return Ok(None);
    };
    let address = Address::parse(&url);
    let address = address.map_err(|error| Error::Usage(format!("{by}: {error:#}")))?;
    Ok(Some(Meant { address, table }))
}

fn table(store: &Store) -> Result<Table, Error> {
    match settings::read(store)?.remote {
        None => Ok(Table::default()),
        Some(table) => {
            let read = toml::Value::Table(table).try_into();
            read.map_err(|error| {
                let file = store.root().join("settings.toml");
                Error::Usage(format!("`[remote]` in {}: {error}", file.display()))
            })
        }
    }
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
    bucket
}

/// The store with its remote, where it has one.
pub fn attach(store: Store, how: Use) -> Result<Store, Error> {
    let Some(meant) = meant(&store)? else {
        return Ok(store);
    };
    let mut bucket = bucket(&store, &meant, how);
    let keyring = keyring::keyring(meant.table.trust.as_ref())?;
    // Nobody would take what nobody signed.
    if how.gives && bucket.takes() && !keyring.signs() {
        const NO_KEY: &str =
            "you have no key, so nothing is given to it; `pipe keys new` makes one";
        if how.patient {
            return Err(Error::Usage(format!(
                "the remote {}: {NO_KEY}",
                bucket.name()
            )));
        }
        bucket = bucket.read_only();
        bucket.say(NO_KEY);
    }
    Ok(store.with_remote(Arc::new(bucket), Arc::new(keyring)))
}

/// As `attach`, for a verb that does nothing else: without a remote there is nothing to do.
pub fn required(store: Store, how: Use) -> Result<Store, Error> {
    needed(&store)?;
    attach(store, how)
}

/// As `meant`, where there is nothing to do without one.
pub fn needed(store: &Store) -> Result<Meant, Error> {
    match meant(store)? {
        Some(meant) => Ok(meant),
        None => Err(Error::Usage(format!(
            "this store has no remote: set {VARIABLE}, or `url` under `[remote]` in {}; `pipe help sharing` tells more",
            store.root().join("settings.toml").display()
        ))),
    }
}

/// Whose records are believed.
pub fn trust(meant: &Meant) -> Result<Arc<dyn Trust>, Error> {
    Ok(Arc::new(keyring::keyring(meant.table.trust.as_ref())?))
}
