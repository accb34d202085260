//! What would run, and why. `exec` asks the same question of the same function once the inputs of a node are known, so
//! a plan and a run cannot disagree.

pub mod forecast;
pub mod history;
pub mod layout;
pub mod outlook;
pub mod verdict;
pub mod why;

use crate::events::event::PlannedNode;
use crate::graph::key::{Digest, Key, Manifest, PlanKey, Stem};
use crate::graph::{Edge, Graph, Node, NodeId};
use crate::plan::forecast::ExpectedCalls;
use crate::plan::history::{History, changes};
use crate::plan::outlook::Told;
use crate::plan::verdict::{Reason, Verdict};
use crate::store::attempt::Attempt;
use crate::store::index::{Brief, Index};
use crate::store::paths::{self, Paths};
use crate::store::record::{Cost, Record};
use crate::store::{Lookup, Store};
use anyhow::{Context, Result};
use base::calls::Calls;
use std::cell::{OnceCell, RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};

/// Which part of a graph.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// These nodes and what they need; empty: all.
    pub only: Vec<NodeId>,
    /// Executed although there is a record, from the beginning. See `commit` for what becomes of that record.
    pub fresh: BTreeSet<NodeId>,
}

/// One node of a plan.
pub struct Planned {
    pub id: NodeId,
    pub plan_key: PlanKey,
    /// Known as soon as the content of every input is, as is the key, which is its hash.
    pub manifest: Option<Manifest>,
    pub key: Option<Key>,
    pub verdict: Verdict,
    /// The key of the earlier record that the reasons compare with.
    pub compared: Option<Key>,
    /// Seconds and dollars of the nearest earlier record; of what is left, where an attempt goes on from a known place.
    pub expected: Option<Expected>,
    /// Whether that is of an earlier record of the node itself; else of another of its kind, or of nobody. A namesake that did far
    /// less work is not the node: see `outlook::tell`.
    pub measured: bool,
    /// Its calls to services; only after `forecast::tell`, and for nodes that make any.
    pub calls: Option<ExpectedCalls>,
    /// By its parameters alone; only after `outlook::tell`, and for nodes of which anything can be told.
    pub outlook: Option<Told>,
}

/// What a node is expected to take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Expected {
    pub seconds: f64,
    pub dollars: f64,
    /// Highest resident memory.
    pub peak_bytes: u64,
    /// Floating-point operations, where they were counted.
    pub flop: f64,
    /// Of an earlier record of the same node; those of others say nothing.
    pub calls: Calls,
}

impl Expected {
    fn of(cost: &Cost) -> Expected {
        Expected {
            seconds: cost.seconds,
            dollars: cost.dollars,
            peak_bytes: cost.peak_bytes,
            flop: cost.flop,
            calls: cost.calls,
        }
    }

    /// By another node of the same kind.
    fn alike(cost: &Cost) -> Expected {
        Expected {
            calls: Calls::default(),
            ..Expected::of(cost)
        }
    }

    /// Of what is left when this share is done.
    fn after(self, fraction: f64) -> Expected {
        let left = (1.0 - fraction).clamp(0.0, 1.0);
        Expected {
            seconds: self.seconds * left,
            dollars: self.dollars * left,
            ..self
        }
    }
}

impl Planned {
    pub fn key(&self) -> Option<Key> {
        self.key.clone()
    }

    pub fn line(&self, graph: &Graph) -> PlannedNode {
        let node = graph.node(self.id);
        PlannedNode {
            node: node.name.clone(),
            kind: node.kind.name.to_string(),
            verdict: self.verdict.word().to_string(),
            reasons: self.verdict.reasons().to_vec(),
            key: self.key.clone(),
            expected_seconds: self.expected.map(|e| e.seconds),
            expected_dollars: self.expected.map(|e| e.dollars),
            expected_calls: self.calls.clone(),
        }
    }
}

/// In graph order.
pub struct Plan {
    pub nodes: Vec<Planned>,
}

impl Plan {
    pub fn find(&self, id: NodeId) -> Option<&Planned> {
        Some(&self.nodes[self.place(id)?])
    }

    fn place(&self, id: NodeId) -> Option<usize> {
        self.nodes.binary_search_by_key(&id, |p| p.id).ok()
    }
}

/// What the store has of a key.
enum Found {
    Absent,
    Whole(Brief),
    Evicted(Brief),
    Damaged(Vec<String>),
}

/// Digest by output.
pub type Outputs = BTreeMap<String, Digest>;

pub fn plan(store: &Store, graph: &Graph, wanted: &Wanted) -> Result<Plan> {
    let judge = Judge::new(store, graph, wanted)?;
    judge.plan()
}

/// Asks the question for one node at a time.
pub struct Judge<'a> {
    store: &'a Store,
    graph: &'a Graph,
    fresh: BTreeSet<NodeId>,
    selected: Vec<NodeId>,
    stems: BTreeMap<NodeId, (Stem, PlanKey)>,
    /// By node, by parameter: what stands for the contents of its paths; only nodes that have any. Read once, so that a plan is
    /// of one moment.
    paths: BTreeMap<NodeId, Paths>,
    /// Nodes whose blobs are needed: an evicted record of theirs is no hit.
    needed: RefCell<BTreeSet<NodeId>>,
    /// Nodes whose blobs no remote can give.
    lost: RefCell<BTreeSet<NodeId>>,
    /// What went wrong with the remote when a node was decided, until somebody takes it.
    remarks: RefCell<BTreeMap<NodeId, String>>,
    index: RefCell<Index<'a>>,
    history: OnceCell<History<'a>>,
}

static NOTHING: Paths = Paths {
    contents: BTreeMap::new(),
    absent: vec![],
    commits: BTreeMap::new(),
};

impl<'a> Judge<'a> {
    pub fn new(store: &'a Store, graph: &'a Graph, wanted: &Wanted) -> Result<Judge<'a>> {
        let selected = if wanted.only.is_empty() {
            graph.ids().collect()
        } else {
            graph.closure(&wanted.only)
        };
        let mut judge = Judge {
            store,
            graph,
            fresh: wanted.fresh.clone(),
            selected,
            stems: BTreeMap::new(),
            paths: BTreeMap::new(),
            // Who names a node wants its artifact.
            needed: RefCell::new(wanted.only.iter().copied().collect()),
            lost: RefCell::default(),
            remarks: RefCell::default(),
            index: RefCell::new(Index::open(store)),
            history: OnceCell::new(),
        };
        let mut with_paths: BTreeMap<&str, bool> = BTreeMap::new();
        for id in judge.selected.clone() {
            let node = graph.node(id);
            let looks = with_paths
                .entry(node.kind.name)
                .or_insert_with(|| paths::has_any(node.kind));
            if *looks {
                let paths =
                    Paths::of(store, node).with_context(|| format!("node `{}`", node.name))?;
                judge.paths.insert(id, paths);
            }
            let stem = Stem::new(node.kind, &node.params, &judge.paths(id).contents);
            let plan_key =
                |edge: &Edge| format!("plan:{}.{}", judge.plan_key(edge.node), edge.output);
            let inputs: Vec<(&'static str, String)> = node
                .inputs
                .iter()
                .map(|(port, edge)| (*port, plan_key(edge)))
                .collect();
            let inputs = inputs
                .iter()
                .map(|(port, content)| (*port, content.as_str()));
            let plan_key = stem.with(inputs).plan_key();
            judge.stems.insert(id, (stem, plan_key));
        }
        store.sources().save(&store.tmp());
        Ok(judge)
    }

    /// The nodes asked for and what they need, in graph order.
    pub fn selected(&self) -> &[NodeId] {
        &self.selected
    }

    pub fn forced(&self, id: NodeId) -> bool {
        self.fresh.contains(&id)
    }

    pub fn plan_key(&self, id: NodeId) -> &PlanKey {
        &self.stems[&id].1
    }

    /// What the node's path parameters led to when the plan was made.
    pub fn paths(&self, id: NodeId) -> &Paths {
        self.paths.get(&id).unwrap_or(&NOTHING)
    }

    pub fn index(&self) -> RefMut<'_, Index<'a>> {
        self.index.borrow_mut()
    }

    /// Whether the bytes of its artifacts are needed.
    pub fn needs(&self, id: NodeId) -> bool {
        self.needed.borrow().contains(&id)
    }

    /// No remote can give its bytes: where they are needed it runs.
    pub fn lose(&self, id: NodeId) {
        self.need(id);
        self.lost.borrow_mut().insert(id);
    }

    /// What went wrong with the remote when it was decided, once.
    pub fn take_remark(&self, id: NodeId) -> Option<String> {
        self.remarks.borrow_mut().remove(&id)
    }

    /// From now on an evicted or damaged artifact of this node is a reason to run it.
    pub fn need(&self, id: NodeId) {
        self.needed.borrow_mut().insert(id);
    }

    pub fn plan(&self) -> Result<Plan> {
        let mut known: BTreeMap<NodeId, Outputs> = BTreeMap::new();
        let mut nodes = Vec::with_capacity(self.selected.len());
        for id in &self.selected {
            let planned = self.judge(*id, &known)?;
            if let Verdict::Hit(brief) = &planned.verdict {
                known.insert(*id, outputs(brief));
            }
            nodes.push(planned);
        }
        let mut plan = Plan { nodes };
        self.rebuild_what_is_needed(&mut plan, &known)?;
        self.index().save();
        Ok(plan)
    }

    /// What runs needs the bytes of its inputs: those that were evicted are made again, and so on upwards. Whether a node that may
    /// run needs them is seen when it is decided.
    fn rebuild_what_is_needed(
        &self,
        plan: &mut Plan,
        known: &BTreeMap<NodeId, Outputs>,
    ) -> Result<()> {
        // What a remote may have is pulled; only when it could not be, it is made again.
        if self.store.has_remote() {
            return Ok(());
        }
        for at in (0..plan.nodes.len()).rev() {
            if !matches!(
                plan.nodes[at].verdict,
                Verdict::Run(_) | Verdict::Resume { .. }
            ) {
                continue;
            }
            for edge in self.graph.node(plan.nodes[at].id).inputs.values() {
                let above = plan
                    .place(edge.node)
                    .expect("a plan holds what a node needs");
                if matches!(&plan.nodes[above].verdict, Verdict::Hit(brief) if brief.evicted) {
                    self.need(edge.node);
                    plan.nodes[above] = self.judge(edge.node, known)?;
                }
            }
        }
        Ok(())
    }

    /// `known`: the outputs of the nodes that have theirs.
    pub fn judge(&self, id: NodeId, known: &BTreeMap<NodeId, Outputs>) -> Result<Planned> {
        let node = self.graph.node(id);
        let mut inputs = vec![];
        let mut after = BTreeSet::new();
        for (port, edge) in &node.inputs {
            match known.get(&edge.node) {
                Some(outputs) => {
                    let digest = outputs.get(edge.output).with_context(|| {
                        format!(
                            "node `{}`: its input `{port}` has no such output",
                            node.name
                        )
                    })?;
                    inputs.push((*port, digest.as_str()));
                }
                None => {
                    after.insert(edge.node);
                }
            }
        }
        let manifest = self.stems[&id].0.with(inputs.into_iter());
        let absent = &self.paths(id).absent;
        let verdict = match (absent.is_empty(), after.is_empty()) {
            (true, true) => return self.decide(id, node, manifest),
            (true, false) => Verdict::Maybe {
                after: after.into_iter().collect(),
            },
            (false, _) => Verdict::Needs {
                absent: absent.clone(),
            },
        };
        let (expected, measured) = self.expected(node, id, &manifest);
        Ok(Planned {
            id,
            plan_key: self.stems[&id].1.clone(),
            manifest: None,
            key: None,
            verdict,
            compared: None,
            expected,
            measured,
            calls: None,
            outlook: None,
        })
    }

    pub fn history(&self) -> &History<'a> {
        let read = || History::new(self.store, self.index().briefs());
        self.history.get_or_init(read)
    }

    /// Whether its evicted blobs have to be made again. Where there is a remote, not before it could not give them.
    fn rebuilds(&self, id: NodeId) -> bool {
        let had = self.store.has_remote() && !self.lost.borrow().contains(&id);
        self.needs(id) && !had
    }

    fn find_remote(&self, id: NodeId, key: &Key) -> Found {
        match self.store.find_remote(key) {
            Ok(None) => Found::Absent,
            Ok(Some(record)) => Found::Evicted(Brief::of(&record, true)),
            Err(error) => {
                self.remarks.borrow_mut().insert(id, format!("{error:#}"));
                Found::Absent
            }
        }
    }

    /// What the store has, by the index; whose blobs are needed is looked at itself.
    fn find(&self, id: NodeId, key: &Key) -> Found {
        if !self.needed.borrow().contains(&id) {
            let mut index = self.index();
            if let Some(mut brief) = index.brief(key) {
                let whole = index.whole(&brief);
                if whole || brief.evicted {
                    brief.evicted = !whole;
                    return match whole {
                        true => Found::Whole(brief),
                        false => Found::Evicted(brief),
                    };
                }
            }
        }
        match self.store.lookup(key) {
            Lookup::Absent => self.find_remote(id, key),
            Lookup::Whole(record) => Found::Whole(Brief::of(&record, false)),
            Lookup::Evicted(record) => Found::Evicted(Brief::of(&record, true)),
            Lookup::Damaged(what) => Found::Damaged(what),
        }
    }

    fn decide(&self, id: NodeId, node: &Node, manifest: Manifest) -> Result<Planned> {
        let key = manifest.key();
        let mut planned = Planned {
            id,
            plan_key: self.stems[&id].1.clone(),
            manifest: Some(manifest),
            key: Some(key.clone()),
            verdict: Verdict::Run(vec![Reason::NeverRun]),
            compared: None,
            expected: None,
            measured: false,
            calls: None,
            outlook: None,
        };
        let found = self.find(id, &key);
        if let Found::Whole(brief) | Found::Evicted(brief) = &found {
            planned.expected = Some(Expected::of(&brief.cost));
            planned.measured = true;
            planned.compared = Some(key.clone());
        }
        let reasons = match found {
            Found::Whole(_) | Found::Evicted(_) if self.forced(id) => vec![Reason::Forced],
            Found::Evicted(_) if self.rebuilds(id) => vec![Reason::Evicted],
            Found::Whole(brief) | Found::Evicted(brief) => {
                planned.expected = Some(Expected::default());
                planned.verdict = Verdict::Hit(Box::new(brief));
                return Ok(planned);
            }
            Found::Damaged(what) => {
                planned.compared = Some(key.clone());
                let record = self.store.record(&key).ok().flatten();
                planned.expected = record.map(|r| Expected::of(&r.cost));
                planned.measured = planned.expected.is_some();
                vec![Reason::Missing { what }]
            }
            Found::Absent => {
                let text = planned.manifest.as_ref().map_or("", Manifest::text);
                let history = self.history();
                let own = history.nearest(node.kind.name, node.plain_name(), text);
                // Another node of the same kind says how long it may take, but is no reason for anything.
                let alike = || history.newest(node.kind.name);
                let alike = || alike().map(|b| Expected::alike(&b.cost));
                planned.expected = own.as_ref().map(|r| Expected::of(&r.cost)).or_else(alike);
                planned.measured = own.is_some();
                planned.compared = own.as_ref().map(|r| r.key.clone());
                self.against(node, own.as_deref(), text)
            }
        };
        let attempts = if self.forced(id) {
            vec![]
        } else {
            Attempt::of(self.store, &key)?
        };
        let resumable: Vec<&Attempt> = attempts.iter().filter(|a| a.resumable()).collect();
        planned.verdict = if resumable.is_empty() {
            Verdict::Run(reasons)
        } else {
            let fraction = resumable
                .iter()
                .filter_map(|a| a.fraction())
                .max_by(f64::total_cmp);
            if let Some(fraction) = fraction {
                planned.expected = planned.expected.map(|e| e.after(fraction));
            }
            Verdict::Resume { reasons, fraction }
        };
        Ok(planned)
    }

    fn against(&self, node: &Node, earlier: Option<&Record>, new: &str) -> Vec<Reason> {
        if let Some(earlier) = earlier {
            return changes(&earlier.manifest, new);
        }
        match self.history().named(node.plain_name()) {
            Some(other) => {
                vec![Reason::Kind {
                    old: other.kind.clone(),
                    new: node.kind.name.to_string(),
                }]
            }
            None => vec![Reason::NeverRun],
        }
    }

    /// For a node whose inputs are not known: what it took at this place, else what the nearest took; and whether that was the node
    /// itself.
    fn expected(&self, node: &Node, id: NodeId, manifest: &Manifest) -> (Option<Expected>, bool) {
        let hinted = self.index().hint(&self.stems[&id].1);
        if let Some(brief) = hinted.and_then(|key| self.index().brief(&key)) {
            return (Some(Expected::of(&brief.cost)), true);
        }
        let history = self.history();
        let own = history.nearest(node.kind.name, node.plain_name(), manifest.text());
        let measured = own.is_some();
        let alike = || {
            history
                .newest(node.kind.name)
                .map(|b| Expected::alike(&b.cost))
        };
        let own = own.map(|r| Expected::of(&r.cost));
        (own.or_else(alike), measured)
    }
}

pub fn outputs(brief: &Brief) -> Outputs {
    let named = brief.outputs.iter();
    named.map(|o| (o.name.clone(), o.digest.clone())).collect()
}
