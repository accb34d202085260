//! The contract between the engine and a kind of node. A kind is a `Kind` constant in a file of its own under `kinds/`;
//! the engine knows it only by this table entry, and a kind knows the engine only by `NodeCtx`.

pub mod artifact;
pub mod attempt;
pub mod checkpoint;
pub mod class;
pub mod conclusion;
pub mod context;
pub mod device;
pub mod estimate;
pub mod failure;
mod inputs;
pub mod messages;
pub mod metric;
mod needs;
pub mod served;
pub mod stop;

pub use artifact::Type;
pub use device::Computes;
pub use inputs::{Edge, Inputs, NodeId};
pub use metric::MetricInfo;
pub use needs::{Needs, Threads};

use anyhow::{Result, bail};
use base::calls::Calls;
use base::device::{DeviceName, DeviceUsed, Place};
use base::params::{ParamSpec, Problem};
use base::tokens::Tokens;
use base::value::{self, Values};
use context::NodeCtx;
use estimate::{NodePreview, Work};
use serde::Serialize;
use served::Serves;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// A typed input of a kind.
pub struct Port {
    pub name: &'static str,
    pub ty: Type,
    pub need: Need,
    pub doc: &'static str,
    pub purpose: Purpose,
}

/// What becomes of what a port brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// They are passed on or learned from.
    Taken,
    /// The node's own rows are compared with them and no more: none of them is passed on or learned from.
    Compared,
    /// Whoever trains measures on them meanwhile; without training they are taken.
    Measured,
    /// Their texts stand in the node's own rows, which are made of other rows: what is known of these is known of them.
    Quoted,
    /// It is a model that says what others are worth: with another one is measured otherwise.
    Judging,
}

impl Port {
    const fn new(name: &'static str, ty: Type, doc: &'static str, need: Need) -> Port {
        Port {
            name,
            ty,
            need,
            doc,
            purpose: Purpose::Taken,
        }
    }

    /// Every node of the kind needs it.
    pub const fn required(name: &'static str, ty: Type, doc: &'static str) -> Port {
        Port::new(name, ty, doc, Need::Always)
    }

    /// No node of the kind needs it.
    pub const fn optional(name: &'static str, ty: Type, doc: &'static str) -> Port {
        Port::new(name, ty, doc, Need::Never)
    }

    /// Nodes need it where `given` says so of their identity parameters; `when` says the same to people.
    pub const fn required_where(
        name: &'static str,
        ty: Type,
        doc: &'static str,
        when: &'static str,
        given: fn(&Values) -> bool,
    ) -> Port {
        Port::new(name, ty, doc, Need::With { given, when })
    }

    /// See `Purpose::Compared`.
    pub const fn only_compared(self) -> Port {
        let purpose = Purpose::Compared;
        Port { purpose, ..self }
    }

    /// See `Purpose::Measured`.
    pub const fn only_measured(self) -> Port {
        let purpose = Purpose::Measured;
        Port { purpose, ..self }
    }

    /// See `Purpose::Quoted`.
    pub const fn only_quoted(self) -> Port {
        let purpose = Purpose::Quoted;
        Port { purpose, ..self }
    }

    /// See `Purpose::Judging`.
    pub const fn judging(self) -> Port {
        let purpose = Purpose::Judging;
        Port { purpose, ..self }
    }
}

/// What a kind does in a study. Reports and checks of a graph know kinds by their roles, never by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Brings in what was made elsewhere.
    Imports,
    /// Makes rows or models: by the built-in world, a model or a service.
    Generates,
    /// Makes one artifact of several, and leaves nothing out.
    Joins,
    /// Takes the rows that are asked for; it may leave out all of one source.
    Selects,
    /// Takes out rows that are like others.
    Cleans,
    /// Learns from rows: what it delivers has seen them.
    Trains,
    /// Judges completions: a column of a study's table.
    Evaluates,
    /// Measures rows, models or judges in another way.
    Measures,
    /// Runs a program of somebody else, which may do any of these.
    Runs,
    /// None of these: for tests.
    Other,
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

impl Output {
    /// Every node of the kind delivers it.
    pub const fn always(name: &'static str, ty: Type, doc: &'static str) -> Output {
        let only_with = None;
        Output {
            name,
            ty,
            doc,
            only_with,
        }
    }

    /// Nodes deliver it where `given` says so of their identity parameters; `hint` says which parameter to set for it.
    pub const fn only_with(
        name: &'static str,
        ty: Type,
        doc: &'static str,
        hint: &'static str,
        given: fn(&Values) -> bool,
    ) -> Output {
        let only_with = Some(OnlyWith { given, hint });
        Output {
            name,
            ty,
            doc,
            only_with,
        }
    }
}

/// For which parameters an output is delivered.
pub struct OnlyWith {
    /// Reads identity parameters.
    pub given: fn(&Values) -> bool,
    /// Which parameter to set, for the one who asks for it in vain.
    pub hint: &'static str,
}

/// A typed node of a graph.
#[derive(Clone)]
pub struct Node {
    /// The name in the recipe; for people only, never in a key. In a union of graphs, `NAME@MARKS` where namesakes exist.
    pub name: String,
    pub kind: &'static Kind,
    /// Identity parameters, defaults written out; `Ty::Path` values are absolute paths.
    pub params: Arc<Values>,
    /// Execution parameters, defaults written out.
    pub exec: Arc<Values>,
    pub inputs: Inputs,
}

impl Node {
    /// What it takes of an executor: what its kind takes, and what was said of it.
    pub fn needs(&self) -> Needs {
        let mut all = (*self.params).clone();
        value::merge(&mut all, &self.exec);
        let mut needs = (self.kind.needs)(&all);
        if device::of(&self.exec).is_gpu() && self.device().is_some() {
            needs.gpus = needs.gpus.max(1);
        }
        needs.said(&self.exec)
    }

    /// What computes, where the node computes with a model.
    pub fn device(&self) -> Option<DeviceName> {
        Some(self.place()?.device)
    }

    /// The same, and in which numbers.
    pub fn place(&self) -> Option<Place> {
        let ports: Vec<&'static str> = self.inputs.keys().copied().collect();
        let computes = self.kind.computes.as_ref()?;
        computes.place(&self.params, &self.exec, &ports)
    }

    /// What computes as far as it is known without asking: the device's name, and how numbers are computed there by this process.
    pub(crate) fn said(&self) -> Option<DeviceUsed> {
        let (computes, place) = (self.kind.computes.as_ref()?, self.place()?);
        Some(DeviceUsed {
            name: place.device.to_string(),
            numerics: (computes.numerics)(place),
            ..DeviceUsed::default()
        })
    }

    /// What its device is here, as its record would tell; none where it cannot be asked.
    pub(crate) fn used(&self) -> Option<DeviceUsed> {
        let computes = self.kind.computes.as_ref()?;
        (computes.used)(self.place()?)
    }

    /// What is lacking of its device here.
    pub(crate) fn lacks(&self) -> Option<String> {
        let (computes, device) = (self.kind.computes.as_ref()?, self.device()?);
        (computes.lacks)(device)
    }

    /// The memory that was said to be needed, in bytes.
    pub(crate) fn memory(&self) -> Option<u64> {
        needs::are_said(&self.exec).then(|| self.needs().memory)?
    }

    /// The name in its own recipe.
    pub fn plain_name(&self) -> &str {
        self.name.split('@').next().unwrap_or(&self.name)
    }
}

/// A graph, as a check of what stands above a node may read it.
pub trait Upstream {
    fn node(&self, id: NodeId) -> &Node;

    /// These nodes and everything they need, in the order of the graph.
    fn closure(&self, targets: &[NodeId]) -> Vec<NodeId>;
}

/// By label, all its values.
pub type Labels = BTreeMap<&'static str, BTreeSet<String>>;

/// See `Kind::above`.
pub type Above = fn(&dyn Upstream, NodeId) -> Vec<Problem>;

/// See `Kind::count_calls`.
pub(crate) type CountCalls = fn(&NodePreview, &Path) -> Result<Calls>;

/// See `Kind::preflight`.
pub(crate) type Preflight = fn(&Values, &Values, &str) -> Vec<String>;

/// The numbers that a node writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Metrics,
    /// Of every step of a training.
    Curve,
}

pub struct Kind {
    /// The word in `kind = "…"`.
    pub name: &'static str,
    /// Raised whenever the same parameters and inputs would give other bytes.
    pub revision: u32,
    pub role: Role,
    /// One line for the list.
    pub summary: &'static str,
    /// Paragraphs for `pipe kinds NAME`.
    pub about: &'static str,
    /// A TOML node that uses it.
    pub example: &'static str,
    pub inputs: &'static [Port],
    pub outputs: &'static [Output],
    /// What is to be said of the metrics that it writes; of several that fit a name the first counts.
    pub metrics: &'static [MetricInfo],
    /// Asked through `Kind::is_measured_by`, of a parameter or the block that it stands in. None: all of them, or, of a kind that trains
    /// or generates, or runs what nobody knows, none.
    pub measured_by: Option<fn(Written, &str) -> bool>,
    /// No prompt is in two of its outputs.
    pub disjoint: bool,
    /// It is of the built-in world: what is measured there says nothing of a real model.
    pub synthetic: bool,
    /// Identity parameters: `<Params as ParamSet>::specs`.
    pub params: fn() -> Vec<ParamSpec>,
    /// Execution parameters, never in a key: `<Exec as ParamSet>::specs`.
    pub exec: fn() -> Vec<ParamSpec>,
    /// The further labels of the rows of an output; for kinds that know them beforehand. What selects or answers rows gives no other.
    pub labels: Option<fn(&Values, &str) -> Labels>,
    /// Labels that its rows have beside those of the rows that it takes, by its parameters.
    pub adds: fn(&Values) -> Labels,
    /// Its rows have labels beside those of the rows that it takes, and nobody knows them beforehand.
    pub relabels: bool,
    /// Checks beyond types and bounds; gets identity and execution values, all present and well typed.
    pub check: Option<fn(&Values) -> Vec<Problem>>,
    /// Checks of what stands above it in the graph; for kinds that only certain inputs fit.
    pub above: Option<Above>,
    /// On what it computes with a model; for kinds that do, which have the parameter `device`.
    pub computes: Option<Computes>,
    /// Of all its parameters, those of execution too; asked through `Node::needs`.
    pub needs: fn(&Values) -> Needs,
    /// What its model will be trained on or asked, made by the functions that `run` uses; for kinds that have a model.
    pub tokens: Option<fn(&NodePreview) -> Result<Tokens>>,
    /// Which calls to services it will make, as far as can be told beforehand; for kinds that make any. The path is that of the
    /// journal's folder.
    pub count_calls: Option<CountCalls>,
    /// What it will take and give, by its parameters alone; for kinds of which anything can be told.
    pub estimate: Option<fn(&NodePreview) -> Result<Work>>,
    /// What it needs of this machine besides files and variables, and does not find: a sentence each. Gets identity and execution
    /// parameters and PATH; for kinds that run programs.
    pub preflight: Option<Preflight>,
    /// The rewards that its nodes declare, for trainers of others; for kinds that have a reward table.
    pub rewards: Option<Serves>,
    pub run: fn(&mut NodeCtx) -> Result<()>,
}

impl Kind {
    /// What a kind is where its constant says nothing: `Kind { name: "…", run, ..Kind::DEFAULTS }`.
    pub const DEFAULTS: Kind = Kind {
        name: "",
        revision: 1,
        role: Role::Other,
        summary: "",
        about: "",
        example: "",
        inputs: &[],
        outputs: &[],
        metrics: &[],
        measured_by: None,
        disjoint: false,
        synthetic: false,
        params: Vec::new,
        exec: Vec::new,
        labels: None,
        adds: |_| Labels::new(),
        relabels: false,
        check: None,
        above: None,
        computes: None,
        needs: |_| Needs::ONE_THREAD,
        tokens: None,
        count_calls: None,
        estimate: None,
        preflight: None,
        rewards: None,
        run: |_| bail!("this kind has no `run`"),
    };

    pub fn port(&self, name: &str) -> Option<&Port> {
        self.inputs.iter().find(|p| p.name == name)
    }

    /// Its own execution parameters, `device` among them where it computes with a model.
    pub fn own_execution(&self) -> Vec<ParamSpec> {
        let mut specs = (self.exec)();
        specs.extend(self.computes.iter().flat_map(Computes::specs));
        specs
    }

    /// All its execution parameters: its own, and those of every kind.
    pub fn execution(&self) -> Vec<ParamSpec> {
        let mut specs = self.own_execution();
        specs.extend(needs::specs());
        specs
    }

    /// What a node with these identity parameters delivers.
    pub fn delivered<'a>(&'a self, params: &'a Values) -> impl Iterator<Item = &'a Output> {
        let given = |o: &&Output| o.only_with.as_ref().is_none_or(|w| (w.given)(params));
        self.outputs.iter().filter(given)
    }

    /// What is said of a metric that it writes, if anything.
    pub fn metric(&self, name: &str) -> Option<&MetricInfo> {
        metric::find(self.metrics, name).map(|(info, _)| info)
    }

    /// What tables call a metric that it writes, as in `refusals, harmless`: its name where nothing is said of it.
    pub fn label(&self, name: &str) -> String {
        metric::find(self.metrics, name).map_or_else(|| name.into(), |(_, label)| label)
    }

    /// Whether the metrics that it says something of are all that it can write: not of what runs the programs of others.
    pub fn knows_its_metrics(&self) -> bool {
        matches!(self.role, Role::Evaluates | Role::Measures) && !self.metrics.is_empty()
    }

    /// Whether what is given to this port is only compared with.
    pub fn compares(&self, port: &str) -> bool {
        let port = self.port(port);
        port.is_some_and(|p| p.purpose == Purpose::Compared)
    }

    /// Whether what is known of the rows at this port is known of the node's own: they are neither compared with nor quoted only.
    pub fn passes_on(&self, port: &str) -> bool {
        let port = self.port(port);
        port.is_none_or(|p| !matches!(p.purpose, Purpose::Compared | Purpose::Quoted))
    }

    /// Whether a training measures with what is given to this port.
    pub fn measures_with(&self, port: &str) -> bool {
        let port = self.port(port);
        port.is_some_and(|p| p.purpose == Purpose::Measured)
    }

    /// Whether what is given to this port judges.
    pub fn judges_with(&self, port: &str) -> bool {
        let port = self.port(port);
        port.is_some_and(|p| p.purpose == Purpose::Judging)
    }

    /// Whether these numbers hang on this identity parameter, or on this block of them, by the way in which they are measured; else by
    /// what is measured.
    pub fn is_measured_by(&self, numbers: Written, param: &str) -> bool {
        let key = param.split('.').next().unwrap_or(param);
        match self.measured_by {
            Some(by) => by(numbers, key),
            None => !matches!(self.role, Role::Trains | Role::Generates | Role::Runs),
        }
    }

    /// The types of what a node with these identity parameters delivers, by output.
    pub fn types(&self, params: &Values) -> BTreeMap<&'static str, Type> {
        self.delivered(params).map(|o| (o.name, o.ty)).collect()
    }

    /// What is wrong with identity and execution parameters that are all present and well typed: numbers out of bounds, and what the
    /// kind itself finds.
    pub fn problems(&self, values: &Values) -> Vec<Problem> {
        let specs = (self.params)().into_iter().chain(self.execution());
        let out = specs.flat_map(|spec| match value::at(values, spec.name) {
            Some(value) => spec.problems(value),
            None => vec![],
        });
        out.chain(self.checked(values)).collect()
    }

    /// What is wrong with them beyond types and bounds: what the kind finds, and sizes that are none.
    pub fn checked(&self, values: &Values) -> Vec<Problem> {
        let mut found = self.check.map_or(vec![], |check| check(values));
        found.extend(needs::problems(values));
        let computes = self.computes.iter();
        found.extend(computes.flat_map(|c| c.problems(self.name, values)));
        found
    }

    pub fn output(&self, name: &str) -> Option<&Output> {
        self.outputs.iter().find(|o| o.name == name)
    }
}

/// The kinds there are, a list a folder, in the order `pipe kinds` lists them.
#[derive(Clone, Copy)]
pub struct Registry(pub &'static [&'static [&'static Kind]]);

impl Registry {
    pub fn iter(&self) -> impl Iterator<Item = &'static Kind> + use<> {
        self.0.iter().copied().flatten().copied()
    }

    pub fn get(&self, name: &str) -> Option<&'static Kind> {
        self.iter().find(|k| k.name == name)
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.iter().map(|k| k.name)
    }
}
