//! The scheduler that a profile names.

use super::Scheduler;
use super::command::Command;
use super::ray::Ray;
use super::slurm::Slurm;
use crate::run::profile::{Kind, Profile};
use anyhow::Result;
use std::path::Path;
use std::sync::Arc;

/// `store`: as it lies where jobs run.
pub fn open(profile: &Profile, store: &Path) -> Result<Arc<dyn Scheduler>> {
    Ok(match profile.executor {
        Kind::Slurm => Arc::new(Slurm::new(profile, store)),
        Kind::Ray => Arc::new(Ray::new(profile, store)?),
        Kind::Command => Arc::new(Command::new(profile, store)?),
    })
}
