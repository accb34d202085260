//! The worker's side: what a kind's `run` may ask for and report.

use crate::engine::params::ParamSet;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// Returned by `run` when it stopped because it was asked to, with its state saved: the attempt is resumable.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}
impl std::error::Error for Interrupted {}

pub struct NodeCtx {}

impl NodeCtx {
    pub fn params<P: ParamSet>(&self) -> Result<P> {
        unreachable!("the engine fills this in")
    }
    pub fn exec<P: ParamSet>(&self) -> Result<P> {
        unreachable!("the engine fills this in")
    }
    /// Folder of a required input.
    pub fn input(&self, _port: &str) -> &Path {
        unreachable!("the engine fills this in")
    }
    pub fn output(&self, _name: &str) -> PathBuf {
        unreachable!("the engine fills this in")
    }
}
