//! What is decided of a node, and why: asked once for all nodes by a plan, and again for one node by a run, as soon as its inputs are
//! known.

use super::decision::{Decision, Earlier, hit, nearest, place};
use super::history::History;
use super::verdict::Verdict;
use crate::graph::changes::{Reason, changes};
use crate::graph::manifest::{Manifest, ManifestPrefix};
use crate::graph::{Edge, Graph, Node, NodeId, PerNode};
use crate::kind::attempt::Attempt;
use crate::store::index::{Index, RecordSummary};
use crate::store::paths::{self, Paths};
use crate::store::record::Record;
use crate::store::{Lookup, Store};
use anyhow::{Context, Result};
use base::hash::{Key, PlanKey};
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

/// What the store has of a key.
enum Found {
    Absent,
    Whole(RecordSummary),
    Evicted(RecordSummary),
    Damaged(Vec<String>),
}

/// Decides, node by node.
pub struct Planner<'a> {
    store: &'a Store,
    graph: &'a Graph,
    fresh: BTreeSet<NodeId>,
    selected: Vec<NodeId>,
    stems: PerNode<(ManifestPrefix, PlanKey)>,
    /// By node, by parameter: what stands for the contents of its paths; only nodes that have any. Read once, so that a plan is
    /// of one moment.
    paths: PerNode<Paths>,
    /// Nodes whose blobs are needed: an evicted record of theirs is no hit.
    needed: RefCell<BTreeSet<NodeId>>,
    /// Nodes whose blobs no remote can give.
    lost: RefCell<BTreeSet<NodeId>>,
    /// What went wrong with the remote when a node was decided, until somebody takes it.
    remarks: RefCell<BTreeMap<NodeId, String>>,
    /// How keys begin that have attempts, while all nodes are decided.
    tried: RefCell<Option<BTreeSet<String>>>,
    index: RefCell<Index<'a>>,
    history: OnceCell<History<'a>>,
}

static NOTHING: Paths = Paths {
    contents: BTreeMap::new(),
    absent: vec![],
    commits: BTreeMap::new(),
};

impl<'a> Planner<'a> {
    pub fn new(store: &'a Store, graph: &'a Graph, wanted: &Wanted) -> Result<Planner<'a>> {
        let selected = if wanted.only.is_empty() {
            graph.ids().collect()
        } else {
            graph.closure(&wanted.only)
        };
        let mut planner = Planner {
            store,
            graph,
            fresh: wanted.fresh.clone(),
            selected,
            stems: PerNode::with_capacity(graph.nodes().len()),
            paths: PerNode::default(),
            // Who names a node wants its artifact.
            needed: RefCell::new(wanted.only.iter().copied().collect()),
            lost: RefCell::default(),
            remarks: RefCell::default(),
            tried: RefCell::default(),
            index: RefCell::new(Index::open(store)),
            history: OnceCell::new(),
        };
        let mut with_paths: BTreeMap<&str, bool> = BTreeMap::new();
        for id in planner.selected.clone() {
            let node = graph.node(id);
            let looks = with_paths
                .entry(node.kind.name)
                .or_insert_with(|| paths::has_any(node.kind));
            if *looks {
                let paths =
                    Paths::of(store, node).with_context(|| format!("node `{}`", node.name))?;
                planner.paths.insert(id, paths);
            }
            let stem = ManifestPrefix::new(node.kind, &node.params, &planner.paths(id).contents);
            let plan_key =
                |edge: &Edge| format!("plan:{}.{}", planner.plan_key(edge.node), edge.output);
            let inputs: Vec<(&'static str, String)> = node
                .inputs
                .iter()
                .map(|(port, edge)| (*port, plan_key(edge)))
                .collect();
            let inputs = inputs
                .iter()
                .map(|(port, content)| (*port, content.as_str()));
            let plan_key = stem.with(inputs).plan_key();
            planner.stems.insert(id, (stem, plan_key));
        }
        store.sources().save(&store.tmp());
        Ok(planner)
    }

    /// The nodes asked for and what they need, in graph order.
    pub(crate) fn selected(&self) -> &[NodeId] {
        &self.selected
    }

    pub fn forced(&self, id: NodeId) -> bool {
        self.fresh.contains(&id)
    }

    pub fn plan_key(&self, id: NodeId) -> &PlanKey {
        &self.stems[id].1
    }

    /// What the node's path parameters led to when the plan was made.
    pub fn paths(&self, id: NodeId) -> &Paths {
        self.paths.get(id).unwrap_or(&NOTHING)
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

    pub(crate) fn is_lost(&self, id: NodeId) -> bool {
        self.lost.borrow().contains(&id)
    }

    /// What went wrong with the remote when it was decided, once.
    pub(crate) fn take_remark(&self, id: NodeId) -> Option<String> {
        self.remarks.borrow_mut().remove(&id)
    }

    /// All of it, for who reads through the store.
    pub(crate) fn leave_remarks(&self) {
        for (id, text) in std::mem::take(&mut *self.remarks.borrow_mut()) {
            let node = &self.graph.node(id).name;
            self.store.remark(format!("`{node}`: {text}"));
        }
    }

    /// From now on an evicted or damaged artifact of this node is a reason to run it.
    pub fn need(&self, id: NodeId) {
        self.needed.borrow_mut().insert(id);
    }

    /// Of all nodes that are selected, in graph order.
    pub(crate) fn decide_all(&self) -> Result<Vec<Decision>> {
        let needed = self.needed.borrow().clone();
        *self.tried.borrow_mut() = Attempt::shorts(self.store).ok();
        let decided = self.store.ahead(|| self.decide_each());
        let decided = decided.unwrap_or_else(|| {
            *self.needed.borrow_mut() = needed;
            self.decide_each()
        });
        *self.tried.borrow_mut() = None;
        self.index().save();
        decided
    }

    /// Where all nodes are decided at once, the folder of attempts is read once.
    fn never_tried(&self, key: &Key) -> bool {
        let tried = self.tried.borrow();
        let tried = tried.as_ref();
        tried.is_some_and(|tried| !tried.contains(key.short()))
    }

    fn decide_each(&self) -> Result<Vec<Decision>> {
        let mut all = Vec::with_capacity(self.selected.len());
        for id in &self.selected {
            let decision = self.decide(*id, &|above| hit(&all, above))?;
            all.push(decision);
        }
        forget_reasons_below_absent(&mut all);
        self.rebuild_what_is_needed(&mut all)?;
        Ok(all)
    }

    /// What runs needs the bytes of its inputs: those that were evicted are made again, and so on upwards. Whether a node of which it is
    /// open needs them is seen when it is decided.
    fn rebuild_what_is_needed(&self, all: &mut [Decision]) -> Result<()> {
        // Records of hits that are none any more: what they say of their outputs stands.
        let mut were: PerNode<RecordSummary> = PerNode::default();
        for at in (0..all.len()).rev() {
            if !all[at].verdict.runs() {
                continue;
            }
            for edge in self.graph.node(all[at].id).inputs.values() {
                let above = place(all, edge.node).expect("a plan holds what a node needs");
                // What a remote may have is pulled; only when it could not be, it is made again.
                let gone =
                    |brief: &RecordSummary| brief.evicted && !self.store.may_pull(&brief.key);
                if matches!(&all[above].verdict, Verdict::Hit(brief) if gone(brief)) {
                    self.need(edge.node);
                    let known = |id| hit(all, id).or_else(|| were.get(id));
                    let decision = self.decide(edge.node, &known)?;
                    let before = std::mem::replace(&mut all[above], decision);
                    if let Verdict::Hit(brief) = before.verdict {
                        were.insert(before.id, *brief);
                    }
                }
            }
        }
        Ok(())
    }

    /// `known`: the record of a node that has its outputs.
    pub fn decide<'k>(
        &self,
        id: NodeId,
        known: &dyn Fn(NodeId) -> Option<&'k RecordSummary>,
    ) -> Result<Decision> {
        let node = self.graph.node(id);
        let mut inputs = vec![];
        let mut after = BTreeSet::new();
        for (port, edge) in &node.inputs {
            match known(edge.node) {
                Some(brief) => {
                    let digest = brief.digest(edge.output).with_context(|| {
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
        let manifest = self.stems[id].0.with(inputs.into_iter());
        let absent = &self.paths(id).absent;
        let verdict = match (absent.is_empty(), after.is_empty()) {
            (true, true) => return self.decide_by_key(id, node, manifest),
            (true, false) => Verdict::Maybe {
                after: after.into_iter().collect(),
                reasons: self.reasons_at_any_rate(id, node, &manifest),
            },
            (false, _) => Verdict::Needs {
                absent: absent.clone(),
            },
        };
        Ok(Decision {
            id,
            plan_key: self.stems[id].1.clone(),
            manifest: None,
            key: None,
            verdict,
            compared: None,
            earlier: self.earlier(node, id, &manifest).map(Box::new),
        })
    }

    pub fn history(&self) -> &History<'a> {
        let read = || History::new(self.store, self.index().briefs());
        self.history.get_or_init(read)
    }

    /// Whether its evicted blobs have to be made again. Where there is a remote, not before it could not give them.
    fn rebuilds(&self, id: NodeId, key: &Key) -> bool {
        let may_pull = || !self.is_lost(id) && self.store.may_pull(key);
        self.needs(id) && !may_pull()
    }

    fn why_gone(&self, key: &Key) -> Reason {
        match self.store.never_had(key) {
            true => Reason::NeverHere,
            false => Reason::Evicted,
        }
    }

    /// What the remote has of a key that has no record here.
    fn find_remote(&self, id: NodeId, key: &Key) -> Option<RecordSummary> {
        let found = self.store.find_remote(key).unwrap_or_else(|error| {
            self.remark(id, format!("{error:#}"));
            None
        });
        if let Some(text) = self.store.remote_remark() {
            self.remark(id, text);
        }
        found
    }

    pub(super) fn remark(&self, id: NodeId, text: String) {
        let mut remarks = self.remarks.borrow_mut();
        let said = remarks.entry(id).or_default();
        *said = match said.is_empty() {
            true => text,
            false => format!("{said}; {text}"),
        };
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
            Lookup::Absent => self
                .find_remote(id, key)
                .map_or(Found::Absent, Found::Evicted),
            Lookup::Whole(record) => Found::Whole(RecordSummary::of(&record, false)),
            Lookup::Evicted(record) => Found::Evicted(RecordSummary::of(&record, true)),
            Lookup::Damaged(what) => Found::Damaged(what),
        }
    }

    fn decide_by_key(&self, id: NodeId, node: &Node, manifest: Manifest) -> Result<Decision> {
        let key = manifest.key();
        let mut decision = Decision {
            id,
            plan_key: self.stems[id].1.clone(),
            manifest: Some(manifest),
            key: Some(key.clone()),
            verdict: Verdict::Run(vec![Reason::NeverRun]),
            compared: None,
            earlier: None,
        };
        let found = self.find(id, &key);
        if let Found::Whole(brief) | Found::Evicted(brief) = &found {
            decision.earlier = Some(Box::new(Earlier::own(&brief.cost)));
            decision.compared = Some(key.clone());
        }
        let reasons = match found {
            Found::Whole(_) | Found::Evicted(_) if self.forced(id) => vec![Reason::Forced],
            Found::Evicted(_) if self.rebuilds(id, &key) => vec![self.why_gone(&key)],
            Found::Whole(brief) | Found::Evicted(brief) => {
                decision.verdict = Verdict::Hit(Box::new(brief));
                (decision.manifest, decision.earlier) = (None, None);
                return Ok(decision);
            }
            Found::Damaged(what) => {
                decision.compared = Some(key.clone());
                let record = self.store.record(&key).ok().flatten();
                decision.earlier = record.map(|r| Box::new(Earlier::own(&r.cost)));
                vec![Reason::Missing { what }]
            }
            Found::Absent => {
                let text = decision.manifest.as_ref().map_or("", Manifest::text);
                let history = self.history();
                let own = history.nearest(node.kind.name, node.plain_name(), text);
                decision.earlier = nearest(history, node, own.as_deref()).map(Box::new);
                decision.compared = own.as_ref().map(|r| r.key.clone());
                against(own.as_deref(), text)
            }
        };
        let attempts = match self.forced(id) || self.never_tried(&key) {
            true => vec![],
            false => Attempt::of(self.store, &key)?,
        };
        let resumable: Vec<&Attempt> = attempts.iter().filter(|a| a.resumable()).collect();
        decision.verdict = if resumable.is_empty() {
            Verdict::Run(reasons)
        } else {
            let fraction = resumable
                .iter()
                .filter_map(|a| a.fraction())
                .max_by(f64::total_cmp);
            if let Some(fraction) = fraction {
                decision.earlier = decision.earlier.map(|e| Box::new(e.after(fraction)));
            }
            Verdict::Resume { reasons, fraction }
        };
        Ok(decision)
    }

    /// Why a node runs whatever its inputs will be: no record of its kind has its parameters and its files. Nothing where one may be its
    /// own, or nobody can say.
    fn reasons_at_any_rate(&self, id: NodeId, node: &Node, manifest: &Manifest) -> Vec<Reason> {
        if self.forced(id) {
            return vec![Reason::Forced];
        }
        let history = self.history();
        if self.store.has_remote() || history.may_have(node.kind.name, manifest.text()) {
            return vec![];
        }
        let own = history.nearest(node.kind.name, node.plain_name(), manifest.text());
        let mut reasons = against(own.as_deref(), manifest.text());
        // A namesake that differs in its inputs alone is one that it may have.
        reasons.retain(|reason| !matches!(reason, Reason::Input { .. }));
        reasons
    }

    /// For a node whose inputs are not known: what it took at this place, else what the nearest took.
    fn earlier(&self, node: &Node, id: NodeId, manifest: &Manifest) -> Option<Earlier> {
        let hinted = self.index().hint(&self.stems[id].1);
        if let Some(brief) = hinted.and_then(|key| self.index().brief(&key)) {
            return Some(Earlier::own(&brief.cost));
        }
        let history = self.history();
        let own = history.nearest(node.kind.name, node.plain_name(), manifest.text());
        nearest(history, node, own.as_deref())
    }
}

/// What waits for files that are not on this machine does not run.
fn forget_reasons_below_absent(all: &mut [Decision]) {
    let mut stuck: BTreeSet<NodeId> = BTreeSet::new();
    for decision in all {
        match &mut decision.verdict {
            Verdict::Needs { .. } => {}
            Verdict::Maybe { after, reasons } if after.iter().any(|id| stuck.contains(id)) => {
                reasons.clear();
            }
            _ => continue,
        }
        stuck.insert(decision.id);
    }
}

/// What is other than in the nearest earlier record of the node's kind. One of another kind under the same name is of another node.
fn against(earlier: Option<&Record>, new: &str) -> Vec<Reason> {
    match earlier {
        Some(earlier) => changes(&earlier.manifest, new),
        None => vec![Reason::NeverRun],
    }
}
