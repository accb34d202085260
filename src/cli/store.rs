//! Which store a command means, and what is said where there is none.

use super::args::StoreArgs;
use super::environment::variable;
use super::output::{Error, complain};
use super::remote::{self, Use};
use anyhow::anyhow;
use engine::store::Store;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a store is called that nobody named.
const CACHE: &str = "cache";

const VARIABLE: &str = "PIPE_STORE";

/// A place, and how it was chosen.
pub struct Meant {
    pub folder: PathBuf,
    by: By,
}

enum By {
    Option,
    Variable,
    /// It lies in a folder above the current one.
    Above,
    /// In the current folder: it is a store, or none was found.
    Here,
}

/// The store that `--store` names, else the one that nobody has to name.
fn meant(args: &StoreArgs) -> Meant {
    match &args.store {
        Some(folder) => Meant {
            folder: folder.clone(),
            by: By::Option,
        },
        None => unnamed(),
    }
}

/// The store of who says nothing: of the environment, else the nearest upwards, as `git` finds its own, else here.
pub fn unnamed() -> Meant {
    if let Some(folder) = variable(VARIABLE) {
        let folder = folder.into();
        let by = By::Variable;
        return Meant { folder, by };
    }
    let here = Path::new(CACHE);
    let above = match Store::is_at(here) {
        true => None,
        false => above(),
    };
    let by = match above {
        Some(_) => By::Above,
        None => By::Here,
    };
    Meant {
        folder: above.unwrap_or_else(|| here.into()),
        by,
    }
}

/// Somebody else's store above is not believed unasked: records are, and whoever may write to a folder like `/tmp` could lay some there.
fn above() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let mut folders = here.ancestors().skip(1).map(|folder| folder.join(CACHE));
    folders.find(|folder| Store::is_at(folder) && ours(folder))
}

fn ours(folder: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    fs::metadata(folder).is_ok_and(|meta| meta.uid() == user)
}

/// For who writes, and makes a store once there is something to write. One that was found elsewhere is named, unless somebody wants
/// to hear of failures only.
pub fn to_write(args: &StoreArgs, quiet: bool) -> Result<Store, Error> {
    let meant = meant(args);
    let store = Store::look(&meant.folder)?;
    announce(&meant, quiet);
    Ok(store)
}

fn announce(meant: &Meant, quiet: bool) {
    let found = match meant.by {
        By::Above => "found above the current folder",
        By::Variable => VARIABLE,
        By::Option | By::Here => return,
    };
    if !quiet {
        complain(&format!("store: {} ({found})\n", meant.folder.display()));
    }
}

/// For who only looks, and can say something where there is none: at what is here, and at the remote. `on`: the profile that was named.
pub fn look(args: &StoreArgs, on: Option<&str>) -> Result<Store, Error> {
    let how = Use {
        on,
        ..Use::default()
    };
    remote::attach(Store::look(&meant(args).folder)?, how)
}

/// For who reads artifacts, from wherever they are. What comes from a remote has to lie somewhere: a store is made for it.
pub fn reading(args: &StoreArgs) -> Result<Store, Error> {
    let meant = meant(args);
    let store = Store::look(&meant.folder)?;
    let store = match (Store::is_at(store.root()), remote::meant(&store, None)?) {
        (true, _) => store,
        (false, Some(_)) => Store::open(&meant.folder)?,
        (false, None) => return Err(none(&meant)),
    };
    remote::attach(store, Use::default())
}

/// Where a store is, or would be.
pub fn place(args: &StoreArgs) -> PathBuf {
    meant(args).folder
}

/// For who only looks.
pub fn existing(args: &StoreArgs) -> Result<Store, Error> {
    let meant = meant(args);
    let store = Store::look(&meant.folder)?;
    match store.root().join("format").exists() {
        true => Ok(store),
        false => Err(none(&meant)),
    }
}

/// Where was looked, and what makes a store.
fn none(meant: &Meant) -> Error {
    let folder = meant.folder.display();
    let looked = match meant.by {
        By::Option => format!("at {folder}, which `--store` names"),
        By::Variable => format!("at {folder}, which {VARIABLE} names"),
        By::Above | By::Here => {
            let here = std::env::current_dir().unwrap_or_default();
            format!(
                "called `{CACHE}` in {} or a folder above it",
                here.display()
            )
        }
    };
    Error::World(anyhow!(
        "there is no store {looked}; the first `pipe run RECIPE` makes one, and `--store DIR` or {VARIABLE} names one elsewhere"
    ))
}
