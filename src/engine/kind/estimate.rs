//! A node before it runs, and what can be told of it then: by its parameters alone, or with the folders of its inputs.

use super::device;
use anyhow::{Result, anyhow};
use base::calls::Calls;
use base::device::{DeviceName, Place};
use base::params::ParamSet;
use base::value::Values;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A node before it runs: its parameters, and what is there or known of its inputs.
pub struct NodePreview<'a> {
    /// As the recipe has them: addresses on the hub are addresses.
    pub written: &'a Values,
    /// With paths as they are on this machine.
    pub params: &'a Values,
    pub exec: &'a Values,
    /// By port, the folders of inputs that are made already, where they are looked at.
    pub inputs: BTreeMap<&'static str, PathBuf>,
    /// By port, as far as anything is known of an input before it is made.
    pub expected: BTreeMap<&'static str, ArtifactEstimate>,
    /// Examples wanted in full.
    pub most: usize,
}

impl<'a> NodePreview<'a> {
    /// Nothing is known of its inputs.
    pub fn new(written: &'a Values, params: &'a Values, exec: &'a Values) -> NodePreview<'a> {
        NodePreview {
            written,
            params,
            exec,
            inputs: BTreeMap::new(),
            expected: BTreeMap::new(),
            most: 0,
        }
    }

    pub fn params<P: ParamSet>(&self) -> Result<P> {
        P::read(self.params).map_err(|e| anyhow!("parameter {e}"))
    }

    pub fn exec<P: ParamSet>(&self) -> Result<P> {
        P::read(self.exec).map_err(|e| anyhow!("parameter {e}"))
    }

    /// What is to compute its models.
    pub fn device(&self) -> DeviceName {
        self.place().device
    }

    /// The same, and in which numbers.
    pub fn place(&self) -> Place {
        device::place(self.exec)
    }

    /// Folder of a required input.
    pub fn input(&self, port: &str) -> &Path {
        self.inputs
            .get(port)
            .unwrap_or_else(|| panic!("`{port}` is a required port of this kind"))
    }

    /// What is known of the artifact at this port; of one that is not connected, nothing.
    pub fn expected(&self, port: &str) -> ArtifactEstimate {
        self.expected.get(port).cloned().unwrap_or_default()
    }
}

/// What is known of an artifact that is not there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ArtifactEstimate {
    pub rows: Option<f64>,
    /// Mean tokens of a row's text: of a prompt what is asked, of a conversation all of it, of a completion the response.
    pub tokens: Option<f64>,
    /// Of prompts and what is made of them: shares of the classes, in the order of `PromptClass::ALL`.
    pub shares: Option<[f64; 3]>,
    /// Of a model.
    pub model: Option<ModelSize>,
}

/// A model by its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ModelSize {
    pub parameters: f64,
    pub layers: f64,
    pub hidden: f64,
    pub vocabulary: f64,
    /// Elements of keys and values that a token leaves in the cache, over all layers.
    pub cache: f64,
    /// Elements that one layer keeps of a token for the way back.
    pub kept: f64,
    /// Heads of queries, the width of them all, and that between the matrices of a block's MLP.
    pub heads: f64,
    pub queries: f64,
    pub intermediate: f64,
    /// Heads are normed.
    pub normed: bool,
}

/// What a node holds on the device that it names, at its peak.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceMemory {
    pub bytes: f64,
    /// When that is, and what it is made of.
    pub told: String,
}

/// What a node is expected to take and to give.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// By output.
    pub outputs: BTreeMap<&'static str, ArtifactEstimate>,
    /// Calls to services, where it makes any.
    pub calls: Option<Calls>,
    /// Floating-point operations of its models; 0: of none, or not known.
    pub flop: f64,
    /// What its time grows with where that is not counted: rows that are seen, say. In a unit of its kind, of which two nodes have more
    /// or less; 0: not known.
    pub amount: f64,
    /// Bytes that it needs at its peak; 0: not known.
    pub memory: f64,
    /// Of the device, where it names one.
    pub device_memory: Option<DeviceMemory>,
    /// What there is to do, in the words of its kind: `11,520 candidates: 12 searches × 20 steps × 48`.
    pub told: Option<String>,
}
