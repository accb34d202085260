//! What would run, and why. `exec` asks the same question of the same function once the inputs of a node are known, so
//! a plan and a run cannot disagree.

use crate::base::value::Value;
use crate::engine::attempt::Attempt;
use crate::engine::event::PlannedNode;
use crate::engine::graph::{Graph, Node, NodeId};
use crate::engine::history::{History, changes};
use crate::engine::key::{self, Digest, Key, Manifest, PlanKey};
use crate::engine::record::{Cost, Record};
use crate::engine::store::{Lookup, Store};
use crate::engine::verdict::{Reason, Verdict};
use anyhow::{Context, Result};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

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
    /// Known as soon as the content of every input is.
    pub manifest: Option<Manifest>,
    pub verdict: Verdict,
    /// The key of the earlier record that the reasons compare with.
    pub compared: Option<Key>,
    /// Seconds and dollars of the nearest earlier record; of what is left, where an attempt goes on from a known place.
    pub expected: Option<Expected>,
}

/// What a node is expected to take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Expected {
    pub seconds: f64,
    pub dollars: f64,
    /// Highest resident memory.
    pub peak_bytes: u64,
}

impl Expected {
    fn of(cost: &Cost) -> Expected {
        Expected {
            seconds: cost.seconds,
            dollars: cost.dollars,
            peak_bytes: cost.peak_bytes,
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
        self.manifest.as_ref().map(Manifest::key)
    }

    pub fn line(&self, graph: &Graph) -> PlannedNode {
        let node = graph.node(self.id);
        PlannedNode {
            node: node.name.clone(),
            kind: node.kind.name.to_string(),
            verdict: self.verdict.word().to_string(),
            reasons: self.verdict.reasons().to_vec(),
            key: self.key(),
            expected_seconds: self.expected.map(|e| e.seconds),
            expected_dollars: self.expected.map(|e| e.dollars),
        }
    }
}

/// In graph order.
pub struct Plan {
    pub nodes: Vec<Planned>,
}

impl Plan {
    pub fn find(&self, id: NodeId) -> Option<&Planned> {
        self.nodes.iter().find(|p| p.id == id)
    }
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
    plan_keys: BTreeMap<NodeId, PlanKey>,
    /// By node, by parameter: what stands for the contents of its paths. Read once, so that a plan is of one moment.
    sources: BTreeMap<NodeId, BTreeMap<String, String>>,
    history: OnceCell<History>,
}

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
            plan_keys: BTreeMap::new(),
            sources: BTreeMap::new(),
            history: OnceCell::new(),
        };
        for id in judge.selected.clone() {
            let node = graph.node(id);
            let sources = sources(store, node).with_context(|| format!("node `{}`", node.name))?;
            let inputs = node
                .inputs
                .iter()
                .map(|(port, edge)| {
                    (
                        *port,
                        format!("plan:{}.{}", judge.plan_keys[&edge.node], edge.output),
                    )
                })
                .collect();
            let manifest = Manifest::new(node.kind, &node.params, &sources, &inputs);
            judge.plan_keys.insert(id, manifest.plan_key());
            judge.sources.insert(id, sources);
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
        &self.plan_keys[&id]
    }

    /// The contents that the node's path parameters had when the plan was made.
    pub fn sources(&self, id: NodeId) -> &BTreeMap<String, String> {
        &self.sources[&id]
    }

    pub fn plan(&self) -> Result<Plan> {
        let mut known: BTreeMap<NodeId, Outputs> = BTreeMap::new();
        let mut nodes = vec![];
        for id in &self.selected {
            let planned = self.judge(*id, &known)?;
            if let Verdict::Hit(record) = &planned.verdict {
                known.insert(*id, outputs(record));
            }
            nodes.push(planned);
        }
        Ok(Plan { nodes })
    }

    /// `known`: the outputs of the nodes that have theirs.
    pub fn judge(&self, id: NodeId, known: &BTreeMap<NodeId, Outputs>) -> Result<Planned> {
        let node = self.graph.node(id);
        let mut inputs = BTreeMap::new();
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
                    inputs.insert(*port, digest.to_string());
                }
                None => {
                    after.insert(edge.node);
                }
            }
        }
        let manifest = Manifest::new(node.kind, &node.params, &self.sources[&id], &inputs);
        if !after.is_empty() {
            let expected = self.expected(node, id, &manifest)?;
            return Ok(Planned {
                id,
                plan_key: self.plan_keys[&id].clone(),
                manifest: None,
                verdict: Verdict::Maybe {
                    after: after.into_iter().collect(),
                },
                compared: None,
                expected,
            });
        }
        self.decide(id, node, manifest)
    }

    pub fn history(&self) -> Result<&History> {
        if let Some(history) = self.history.get() {
            return Ok(history);
        }
        let history = History::read(self.store)?;
        Ok(self.history.get_or_init(|| history))
    }

    fn decide(&self, id: NodeId, node: &Node, manifest: Manifest) -> Result<Planned> {
        let key = manifest.key();
        let lookup = self.store.lookup(&key);
        let mut planned = Planned {
            id,
            plan_key: self.plan_keys[&id].clone(),
            manifest: None,
            verdict: Verdict::Run(vec![Reason::NeverRun]),
            compared: None,
            expected: None,
        };
        let reasons = match lookup {
            Lookup::Whole(record) if !self.forced(id) => {
                planned.expected = Some(Expected::default());
                planned.compared = Some(key);
                planned.verdict = Verdict::Hit(record);
                planned.manifest = Some(manifest);
                return Ok(planned);
            }
            Lookup::Whole(record) => {
                planned.expected = Some(Expected::of(&record.cost));
                planned.compared = Some(key.clone());
                vec![Reason::Forced]
            }
            Lookup::Damaged(what) => {
                planned.compared = Some(key.clone());
                let record = self.store.record(&key).ok().flatten();
                planned.expected = record.map(|r| Expected::of(&r.cost));
                vec![Reason::Missing { what }]
            }
            Lookup::Absent => {
                let nearest =
                    self.history()?
                        .nearest(node.kind.name, node.plain_name(), manifest.text());
                planned.expected = nearest.map(|r| Expected::of(&r.cost));
                // Another node of the same kind says how long it may take, but is no reason for anything.
                let own = nearest.filter(|r| r.provenance.node == node.plain_name());
                planned.compared = own.map(|r| r.key.clone());
                self.against(node, own, &manifest)?
            }
        };
        planned.manifest = Some(manifest);
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

    fn against(
        &self,
        node: &Node,
        earlier: Option<&Record>,
        new: &Manifest,
    ) -> Result<Vec<Reason>> {
        if let Some(earlier) = earlier {
            return Ok(changes(&earlier.manifest, new.text()));
        }
        Ok(match self.history()?.named(node.plain_name()) {
            Some(other) => {
                vec![Reason::Kind {
                    old: other.kind.clone(),
                    new: node.kind.name.to_string(),
                }]
            }
            None => vec![Reason::NeverRun],
        })
    }

    /// For a node whose inputs are not known: what it took at this place, else what the nearest took.
    fn expected(&self, node: &Node, id: NodeId, manifest: &Manifest) -> Result<Option<Expected>> {
        if let Some(key) = self.store.hint(&self.plan_keys[&id])
            && let Ok(Some(record)) = self.store.record(&key)
        {
            return Ok(Some(Expected::of(&record.cost)));
        }
        let nearest = self
            .history()?
            .nearest(node.kind.name, node.plain_name(), manifest.text());
        Ok(nearest.map(|r| Expected::of(&r.cost)))
    }
}

pub fn outputs(record: &Record) -> Outputs {
    record
        .outputs
        .iter()
        .map(|(name, a)| (name.clone(), a.digest.clone()))
        .collect()
}

/// By parameter that holds paths: what stands for their contents, as it is now.
pub fn sources(store: &Store, node: &Node) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for spec in (node.kind.params)() {
        let Some(value) = node.params.get(spec.name) else {
            continue;
        };
        if key::holds_paths(&spec.ty) {
            let mut memo = store.sources();
            let contents = key::with_contents(value, &mut |path| memo.content(Path::new(path)))
                .with_context(|| format!("parameter `{}`", spec.name))?;
            let text = match contents {
                Value::Str(content) => content,
                several => several.canon(),
            };
            found.insert(spec.name.to_string(), text);
        }
    }
    Ok(found)
}
