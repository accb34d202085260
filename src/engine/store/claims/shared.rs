//! How machines that share a store exclude each other there: what `shared.toml` says of it.

use super::Claims;
use super::flock::Flock;
use super::link::Link;
use anyhow::{Context, Result, ensure};
use base::bounded;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

/// In the store: how machines that share it exclude each other. Absent where one machine uses it, or where file locks do.
const SHARED: &str = "shared.toml";
const MOST: u64 = 1 << 16;
/// How long claims may last.
pub const SECONDS: RangeInclusive<f64> = 0.1..=86_400.0;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shared {
    /// `link` is all there is.
    claims: String,
    /// After how long without a sign of life a claim is given up.
    seconds: f64,
}

/// As the store says.
pub fn of(root: &Path) -> Result<Box<dyn Claims>> {
    Ok(match shared(root)? {
        None => Box::new(Flock::new(root)),
        Some(lasts) => Box::new(Link::new(root, lasts)),
    })
}

/// How long claims last in a store that machines share whose locks do not exclude each other.
fn shared(root: &Path) -> Result<Option<Duration>> {
    let path = root.join(SHARED);
    let shown = || format!("reading {}", path.display());
    let text = match bounded::read(&path, MOST) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.with_context(shown)?,
    };
    let text = String::from_utf8_lossy(&text);
    let shared: Shared = toml::from_str(&text).with_context(shown)?;
    ensure!(
        shared.claims == "link" && SECONDS.contains(&shared.seconds),
        "{}: `claims` is \"link\", and `seconds` is between 0.1 and 86400",
        path.display()
    );
    Ok(Some(Duration::from_secs_f64(shared.seconds)))
}

/// From now on the claims of this store are links.
pub fn share(root: &Path, lasts: Duration) -> Result<()> {
    let path = root.join(SHARED);
    // Holders go on renewing by what they read: whoever waits longer takes nothing from them.
    if shared(root)?.is_some_and(|there| there >= lasts) {
        return Ok(());
    }
    ensure!(
        SECONDS.contains(&lasts.as_secs_f64()),
        "claims last between {} and {} seconds",
        SECONDS.start(),
        SECONDS.end()
    );
    let shared = Shared {
        claims: "link".into(),
        seconds: lasts.as_secs_f64(),
    };
    let draft = path.with_extension("draft");
    let text = toml::to_string(&shared).context("writing how the store is shared")?;
    fs::write(&draft, text)
        .and_then(|()| fs::rename(&draft, &path))
        .with_context(|| format!("writing {}", path.display()))
}
