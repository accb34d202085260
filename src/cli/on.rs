//! `--on PROFILE`: where the profiles are, and the executor that one of them names.

use super::environment::variable;
use super::output::{Error, in_room};
use ::remote::settings::Table as Remote;
use anyhow::Context;
use base::bounded;
use base::text::listed;
use engine::run::executor::Executor;
use engine::run::executor::away::Away;
use engine::run::profile::{Locks, MOST, Profile};
use engine::run::scheduler::open;
use engine::run::secrets;
use engine::store::Store;
use engine::system::files::names;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const VARIABLE: &str = "PIPE_PROFILES";

/// Folders of profiles, the first counting most: that of `PIPE_PROFILES`, else that of the user.
fn folder() -> Option<PathBuf> {
    let own = |base: PathBuf| base.join("pipe").join("profiles");
    variable(VARIABLE)
        .map(PathBuf::from)
        .or_else(|| Some(own(variable("XDG_CONFIG_HOME")?.into())))
        .or_else(|| Some(own(PathBuf::from(variable("HOME")?).join(".config"))))
}

/// Names and files of all profiles there are.
pub fn all() -> Vec<(String, PathBuf)> {
    let Some(folder) = folder() else {
        return vec![];
    };
    let names = names(&folder).unwrap_or_default().into_iter();
    let profiles = names.filter_map(|name| {
        let stem = name.strip_suffix(".toml")?.to_string();
        Some((stem, folder.join(name)))
    });
    profiles.collect()
}

/// Where new ones are to be laid, in words.
pub fn place() -> String {
    folder().map_or_else(
        || "the folder of `PIPE_PROFILES`".into(),
        |f| f.display().to_string(),
    )
}

/// The file of the profile of this name, or this file.
pub fn file(named: &str) -> Result<PathBuf, Error> {
    Ok(match named.contains('/') || named.ends_with(".toml") {
        true => PathBuf::from(named),
        false => {
            let all = all();
            let found = all.iter().find(|(name, _)| name == named);
            let Some((_, path)) = found else {
                let near = base::text::did_you_mean(named, all.iter().map(|(n, _)| n.as_str()));
                let help = near.map_or_else(
                    || match all.is_empty() {
                        true => format!(
                            "profiles are files in {}; `pipe help cluster` shows some",
                            place()
                        ),
                        false => {
                            format!("there are {}", listed(all.iter().map(|(n, _)| n.as_str())))
                        }
                    },
                    |n| format!("did you mean `{n}`?"),
                );
                return Err(Error::Usage(format!("no profile `{named}`; {help}")));
            };
            path.clone()
        }
    })
}

/// The profile of this name, or in this file.
pub fn profile(named: &str) -> Result<Profile, Error> {
    Ok(read(&file(named)?)?.0)
}

/// A profile and the remote that it names; all that is wrong with both at once.
pub fn read(path: &Path) -> Result<(Profile, Option<Remote>), Error> {
    let profile = Profile::read(path).map_err(|error| match Error::from(error) {
        // Somebody named a file that is none.
        Error::World(error) => {
            let told = in_room(&format!("{error:#}"));
            Error::Usage(told.trim_end().to_string())
        }
        error => error,
    });
    let text = || bounded::read_text(path, MOST).unwrap_or_default();
    let remote = || Remote::read(&path.display().to_string(), &text(), false);
    match profile {
        Ok(profile) => Ok((profile, remote()?)),
        Err(Error::Author(mut diags)) => {
            if let Err(more) = remote() {
                diags.extend(more);
            }
            Err(Error::Author(diags.finish()))
        }
        Err(error) => Err(error),
    }
}

/// The store as machines share it that the profile sends nodes to.
pub fn shared(store: Store, profile: &Profile) -> Result<Store, Error> {
    let mut store = store;
    if profile.locks == Locks::Link {
        store.prepare()?;
        store.share(Duration::from_secs_f64(profile.claim_seconds))?;
    }
    Ok(store)
}

/// Of its file of secrets, what is to be seen from here.
pub fn check_secrets(profile: &Profile) -> Result<(), Error> {
    if let Some(file) = &profile.secrets_file {
        secrets::check_file(file).with_context(|| format!("profile `{}`", profile.name))?;
    }
    Ok(())
}

/// `root`: of the store that is shared.
pub fn executor(profile: Profile, root: &Path) -> Result<Arc<dyn Executor>, Error> {
    check_secrets(&profile)?;
    let there = profile.store.clone().unwrap_or_else(|| root.to_path_buf());
    let scheduler = open::open(&profile, &there)?;
    // Jobs that nobody can be asked for would be waited for in silence.
    scheduler.check().with_context(|| {
        let name = &profile.name;
        format!("profile `{name}`: its scheduler does not answer; `pipe profiles --check {name}` asks it again")
    })?;
    let pipe = std::env::current_exe().map_err(anyhow::Error::from)?;
    let store = Store::open(root)?;
    Ok(Arc::new(Away::new(profile, scheduler, store, pipe)?))
}
