//! The contract between the engine and a kind of node. A kind is a `Kind` constant in a file of its own under `kinds/`;
//! the engine knows it only by this table entry, and a kind knows the engine only by `NodeCtx`.

pub mod checkpoint;

use crate::graph::{Graph, NodeId};
use crate::plan::outlook::{Ahead, Outlook};
use crate::run::worker::NodeCtx;
use anyhow::{Result, anyhow};
use base::calls::Calls;
use base::params::{ParamSet, ParamSpec, Problem};
use base::tokens::Tokens;
use base::value::{self, Values};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What an artifact is. A port accepts exactly one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Type {
    /// `rows.jsonl`: prompts with id, class, text.
    Prompts,
    /// `rows.jsonl`: conversations (messages) to train on.
    Conversations,
    /// `rows.jsonl`: chosen and rejected answers.
    Pairs,
    /// `rows.jsonl`: prompts with the responses a model gave.
    Completions,
    /// `rows.jsonl`: per-sample scores behind metrics.
    Scores,
    /// A Hugging Face model folder.
    Model,
    /// A Hugging Face folder of a sequence classifier with one label.
    RewardModel,
    /// A PEFT adapter folder.
    Adapter,
    /// `metrics.json`: named values with n and interval.
    Metrics,
}

impl Type {
    pub const ALL: [Type; 9] = [
        Type::Prompts,
        Type::Conversations,
        Type::Pairs,
        Type::Completions,
        Type::Scores,
        Type::Model,
        Type::RewardModel,
        Type::Adapter,
        Type::Metrics,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Type::Prompts => "prompts",
            Type::Conversations => "conversations",
            Type::Pairs => "pairs",
            Type::Completions => "completions",
            Type::Scores => "scores",
            Type::Model => "model",
            Type::RewardModel => "reward-model",
            Type::Adapter => "adapter",
            Type::Metrics => "metrics",
        }
    }
}

/// A typed input of a kind.
pub struct Port {
    pub name: &'static str,
    pub ty: Type,
    pub need: Need,
    pub doc: &'static str,
}

/// Whether a port has to be connected.
#[derive(Clone, Copy)]
pub enum Need {
    Always,
    Never,
    /// Where `given` says so of the node's parameters.
    With {
        /// Reads identity parameters.
        given: fn(&Values) -> bool,
        /// As in "needed where `from` is `model`".
        when: &'static str,
    },
}

impl Need {
    /// Whether nodes with these parameters need it.
    pub fn of(self, params: &Values) -> bool {
        match self {
            Need::Always => true,
            Need::Never => false,
            Need::With { given, .. } => given(params),
        }
    }

    pub fn word(self) -> String {
        match self {
            Need::Always => "required".into(),
            Need::Never => "optional".into(),
            Need::With { when, .. } => format!("required {when}"),
        }
    }
}

/// A typed output. A recipe refers to it as `node.output`, or as `node` where it is the kind's first.
pub struct Output {
    pub name: &'static str,
    pub ty: Type,
    pub doc: &'static str,
    /// None: every node of the kind delivers it.
    pub only_with: Option<OnlyWith>,
}

/// For which parameters an output is delivered.
pub struct OnlyWith {
    /// Reads identity parameters.
    pub given: fn(&Values) -> bool,
    /// Which parameter to set, for the one who asks for it in vain.
    pub hint: &'static str,
}

/// How many threads a node can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cpu {
    /// It waits for others: services, mostly.
    None,
    One,
    /// As many as are free; the result does not depend on the number.
    All,
}

/// See `Kind::above`.
pub type Above = fn(&Graph, NodeId) -> Vec<Problem>;

/// See `Kind::preflight`.
pub type Preflight = fn(&Values, &Values, &str) -> Vec<String>;

pub struct Kind {
    /// The word in `kind = "…"`.
    pub name: &'static str,
    /// Raised whenever the same parameters and inputs would give other bytes.
    pub revision: u32,
    /// One line for the list.
    pub summary: &'static str,
    /// Paragraphs for `pipe kinds NAME`.
    pub about: &'static str,
    /// A TOML node that uses it.
    pub example: &'static str,
    pub inputs: &'static [Port],
    pub outputs: &'static [Output],
    /// Identity parameters: `<Params as ParamSet>::specs`.
    pub params: fn() -> Vec<ParamSpec>,
    /// Execution parameters, never in a key: `<Exec as ParamSet>::specs`.
    pub exec: fn() -> Vec<ParamSpec>,
    /// Checks beyond types; gets identity and execution values, all present and well typed.
    pub check: fn(&Values) -> Vec<Problem>,
    /// Checks of what stands above it in the graph; for kinds that only certain inputs fit.
    pub above: Option<Above>,
    /// Reads identity parameters.
    pub cpu: fn(&Values) -> Cpu,
    /// Left out of `pipe kinds`: for the engine's own tests.
    pub hidden: bool,
    /// What its model will be trained on or asked, made by the functions that `run` uses; for kinds that have a model.
    pub tokens: Option<fn(&Look) -> Result<Tokens>>,
    /// Which calls to services it will make, as far as can be told beforehand; for kinds that make any. The path is that of the
    /// journal's folder.
    pub forecast: Option<fn(&Look, &Path) -> Result<Calls>>,
    /// What it will take and give, by its parameters alone; for kinds of which anything can be told.
    pub outlook: Option<fn(&Ahead) -> Result<Outlook>>,
    /// What it needs of this machine besides files and variables, and does not find: a sentence each. Gets identity and execution
    /// parameters and PATH; for kinds that run programs.
    pub preflight: Option<Preflight>,
    pub run: fn(&mut NodeCtx) -> Result<()>,
}

/// A node before it runs: parameters, and the folders of its inputs.
pub struct Look<'a> {
    pub params: &'a Values,
    pub exec: &'a Values,
    pub inputs: BTreeMap<&'static str, PathBuf>,
    /// Examples wanted in full.
    pub most: usize,
}

impl Look<'_> {
    pub fn params<P: ParamSet>(&self) -> Result<P> {
        P::read(self.params).map_err(|e| anyhow!("parameter {e}"))
    }

    pub fn exec<P: ParamSet>(&self) -> Result<P> {
        P::read(self.exec).map_err(|e| anyhow!("parameter {e}"))
    }

    /// Folder of a required input.
    pub fn input(&self, port: &str) -> &Path {
        self.inputs
            .get(port)
            .unwrap_or_else(|| panic!("`{port}` is a required port of this kind"))
    }
}

impl Kind {
    pub fn port(&self, name: &str) -> Option<&Port> {
        self.inputs.iter().find(|p| p.name == name)
    }

    /// What a node with these identity parameters delivers.
    pub fn delivered<'a>(&'a self, params: &'a Values) -> impl Iterator<Item = &'a Output> {
        let given = |o: &&Output| o.only_with.as_ref().is_none_or(|w| (w.given)(params));
        self.outputs.iter().filter(given)
    }

    /// What is wrong with identity and execution parameters that are all present and well typed: numbers out of bounds, and what the
    /// kind itself finds.
    pub fn problems(&self, values: &Values) -> Vec<Problem> {
        let specs = (self.params)().into_iter().chain((self.exec)());
        let out = specs.flat_map(|spec| match value::at(values, spec.name) {
            Some(value) => spec.problems(value),
            None => vec![],
        });
        out.chain((self.check)(values)).collect()
    }

    pub fn output(&self, name: &str) -> Option<&Output> {
        self.outputs.iter().find(|o| o.name == name)
    }
}

/// Nothing to check beyond types.
pub fn no_check(_: &Values) -> Vec<Problem> {
    vec![]
}

/// The table of kinds, in the order `pipe kinds` lists them.
#[derive(Clone, Copy)]
pub struct Registry(pub &'static [&'static Kind]);

impl Registry {
    pub fn get(&self, name: &str) -> Option<&'static Kind> {
        self.0.iter().copied().find(|k| k.name == name)
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|k| k.name)
    }
}
