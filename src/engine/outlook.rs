//! What a node will take and give, told from its parameters alone, before anything that it needs exists. A plan on a machine
//! without weights, data and keys is made of this. Estimates, never identity; nobody is asked and no file is read.

use crate::base::calls::Calls;
use crate::base::value::Values;
use crate::engine::params::ParamSet;
use anyhow::{Result, anyhow};
use std::collections::BTreeMap;

/// A node before its inputs exist.
pub struct Ahead<'a> {
    pub params: &'a Values,
    pub exec: &'a Values,
    /// By port, as far as anything is known.
    pub inputs: BTreeMap<&'static str, Likely>,
}

impl Ahead<'_> {
    pub fn params<P: ParamSet>(&self) -> Result<P> {
        P::read(self.params).map_err(|e| anyhow!("parameter {e}"))
    }

    pub fn exec<P: ParamSet>(&self) -> Result<P> {
        P::read(self.exec).map_err(|e| anyhow!("parameter {e}"))
    }

    /// What is known of the artifact at this port; of one that is not connected, nothing.
    pub fn input(&self, port: &str) -> Likely {
        self.inputs.get(port).cloned().unwrap_or_default()
    }
}

/// What is known of an artifact that is not there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Likely {
    pub rows: Option<f64>,
    /// Mean tokens of a row's text: of a prompt what is asked, of a conversation all of it, of a completion the response.
    pub tokens: Option<f64>,
    /// Of a model.
    pub model: Option<ModelSize>,
}

/// A model by its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ModelSize {
    pub parameters: f64,
    /// Elements of keys and values that one token leaves in the cache, over all layers.
    pub cache: f64,
    pub layers: f64,
    pub hidden: f64,
    pub vocabulary: f64,
}

/// What a node is expected to take and to give.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outlook {
    /// By output.
    pub outputs: BTreeMap<&'static str, Likely>,
    /// Calls to services, where it makes any.
    pub calls: Option<Calls>,
    /// Floating-point operations of its models.
    pub flop: f64,
    /// Bytes that it needs at its peak.
    pub memory: Option<f64>,
}
