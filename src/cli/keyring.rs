//! Where the user's keys are: the private one in `key`, the public ones of others in `trusted`, both in the folder of his settings.

use super::environment::variable;
use super::output::{Error, complain};
use ::remote::keys::{Identity, Keyring, Secret};
use ::remote::settings::Believed;
use anyhow::{Context, Result, ensure};
use base::bounded;
use engine::system::clock;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Once;

const KEY: &str = "key";
const TRUSTED: &str = "trusted";
/// A list of some thousand people.
const MOST: u64 = 1 << 20;

/// The folder of the user's settings: `$PIPE_CONFIG`, else `pipe` in `$XDG_CONFIG_HOME`, else in `~/.config`.
pub fn config() -> Result<PathBuf> {
    let named = |name: &str, below: &str| variable(name).map(|f| PathBuf::from(f).join(below));
    named("PIPE_CONFIG", "")
        .or_else(|| named("XDG_CONFIG_HOME", "pipe"))
        .or_else(|| named("HOME", ".config/pipe"))
        .context("nobody says where your settings are: HOME is not set, nor are XDG_CONFIG_HOME and PIPE_CONFIG")
}

/// The user's own key, if there is one. One that others may read is refused: it may be theirs by now.
pub fn own(folder: &Path) -> Result<Option<Secret>> {
    let path = folder.join(KEY);
    let shown = || format!("reading your private key {}", path.display());
    let mode = match fs::metadata(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.with_context(shown)?.permissions().mode(),
    };
    ensure!(
        mode & 0o077 == 0,
        "others may read your private key {0}; if nobody did: chmod 600 {0}, else `pipe keys new --replace`",
        path.display()
    );
    let text = bounded::read_text(&path, MOST).with_context(shown)?;
    Secret::parse(&text).map(Some).with_context(shown)
}

/// Keeps a key under its name; an older one stays beside it, under the time at which it was replaced.
pub fn keep(folder: &Path, secret: &Secret) -> Result<PathBuf> {
    let path = folder.join(KEY);
    let shown = || format!("writing your private key {}", path.display());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(shown)?;
    let draft = folder.join(format!(".{KEY}-{}", clock::unique()));
    let written = || -> io::Result<()> {
        // Nobody else can ever have read it: it has its mode from its first moment.
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        writeln!(file, "{}", secret.line())?;
        file.sync_all()?;
        if path.exists() {
            // At no moment is there none, and no older one is written over.
            fs::hard_link(&path, folder.join(format!("{KEY}-{}", clock::unique())))?;
            return fs::rename(&draft, &path);
        }
        // Of two that are made at once, one stays.
        fs::hard_link(&draft, &path)
    };
    let written = written();
    let _ = fs::remove_file(&draft); // A leftover draft is as private as the key.
    written.with_context(shown)?;
    Ok(path)
}

pub fn own_path(folder: &Path) -> PathBuf {
    folder.join(KEY)
}

/// The lines of `trusted`: comments and empty ones stay as they are.
pub struct Trusted {
    path: PathBuf,
    lines: Vec<String>,
}

impl Trusted {
    pub fn read(folder: &Path) -> Result<Trusted> {
        let path = folder.join(TRUSTED);
        let text = match bounded::read_text(&path, MOST) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            other => other.with_context(|| format!("reading {}", path.display()))?,
        };
        let lines = text.lines().map(String::from).collect();
        Ok(Trusted { path, lines })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whoever is in it. A line that is no key trusts nobody.
    pub fn all(&self) -> Vec<Identity> {
        let said = self.lines.iter().filter(|line| says(line));
        said.filter_map(|line| Identity::parse(line).ok()).collect()
    }

    /// The lines that are no keys: where each stands, why, and what to do.
    pub fn unusable(&self) -> Vec<String> {
        let numbered = self.lines.iter().zip(1..);
        let said = numbered.filter(|(line, _)| says(line));
        said.filter_map(|(line, n)| {
            let why = Identity::parse(line).err()?;
            Some(format!(
                "{}:{n}: {why:#}; this line trusts nobody: put it right there, or remove it there or by `pipe keys untrust LINE`",
                self.path.display()
            ))
        })
        .collect()
    }

    pub fn add(&mut self, who: &Identity) -> Result<()> {
        self.lines.push(who.to_string());
        self.write()
    }

    /// Whoever is called so, or has this key, under each name; else lines of that name that are no keys. Returns the name, and whose
    /// the key was; nothing where there is none.
    pub fn remove(&mut self, named: &str) -> Result<Option<(String, Option<Identity>)>> {
        let named = named.trim();
        let fits = |line: &str| {
            let parts = line.split_once('=');
            line == named || parts.is_some_and(|(name, key)| name == named || key == named)
        };
        let read = |line: &str| Identity::parse(line).ok();
        let said = self.lines.iter().map(|line| line.trim());
        let said: Vec<&str> = said.filter(|line| says(line) && fits(line)).collect();
        let keys: Vec<Identity> = said.iter().filter_map(|line| read(line)).collect();
        let Some(name) = said.first().map(|line| line.split('=').next()) else {
            return Ok(None);
        };
        let name = keys.first().map_or(name, |who| Some(&who.name));
        let name = name.unwrap_or_default().to_string();
        self.lines.retain(|line| match read(line) {
            Some(who) => !keys.iter().any(|gone| gone.same_key(&who)),
            None => !keys.is_empty() || !says(line) || !fits(line.trim()),
        });
        self.write()?;
        Ok(Some((name, keys.into_iter().next())))
    }

    fn write(&self) -> Result<()> {
        let shown = || format!("writing {}", self.path.display());
        let folder = self.path.parent().expect("it lies in a folder");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(shown)?;
        let draft = folder.join(format!(".{TRUSTED}-{}", clock::unique()));
        let text: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&draft); // The error that matters is in `written`.
        }
        written.with_context(shown)
    }
}

fn says(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}

static WARNED: Once = Once::new();

/// Of lines that are no keys.
pub fn warn(trusted: &Trusted) {
    for line in trusted.unusable() {
        complain(&format!("warning: {line}\n"));
    }
}

/// Whose records a command takes: the user's own, of those in `trusted`, and of those whom `[remote] trust` names.
pub fn keyring(believed: &Believed) -> Result<Keyring, Error> {
    // Where there is no folder there are no keys; what is named counts all the same.
    let (own, mut trusted) = match config() {
        Ok(folder) => {
            let trusted = Trusted::read(&folder)?;
            WARNED.call_once(|| warn(&trusted));
            (own(&folder)?, trusted.all())
        }
        Err(_) => (None, vec![]),
    };
    let all = match believed {
        Believed::All => true,
        Believed::These(more) => {
            trusted.extend_from_slice(more);
            false
        }
    };
    Ok(Keyring::new(own, &trusted, all))
}
