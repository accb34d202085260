//! What a plan needs of this machine and does not find: variables, files, programs, memory. Told all at once, before anything starts.

use super::secrets;
use crate::base::text::{bytes, listed};
use crate::engine::graph::{Graph, Node};
use crate::engine::hub;
use crate::engine::key::{holds_paths, with_contents};
use crate::engine::plan::Plan;
use crate::engine::system;
use crate::engine::verdict::{Absent, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

/// By node; only nodes that have to run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanting {
    /// Environment variables that it names and that are not set.
    pub variables: BTreeMap<String, BTreeSet<String>>,
    /// Files and folders that it names, a program among them, and that are not there.
    pub files: BTreeMap<String, Vec<Absent>>,
}

impl Wanting {
    pub fn of(graph: &Graph, plan: &Plan) -> Wanting {
        let mut wanting = Wanting::default();
        for planned in &plan.nodes {
            let mut files = match &planned.verdict {
                Verdict::Hit(_) => continue,
                Verdict::Needs { absent } => absent.clone(),
                Verdict::Run(_) | Verdict::Resume { .. } | Verdict::Maybe { .. } => vec![],
            };
            let node = graph.node(planned.id);
            files.extend(absent_for_exec(node));
            let variables = secrets::missing(&node.exec);
            if !variables.is_empty() {
                wanting.variables.insert(node.name.clone(), variables);
            }
            if !files.is_empty() {
                wanting.files.insert(node.name.clone(), files);
            }
        }
        wanting
    }

    pub fn is_empty(&self) -> bool {
        self.variables.is_empty() && self.files.is_empty()
    }

    /// A line a thing, and the nodes that want it: several nodes often want the same.
    pub fn told(&self) -> String {
        let mut out = String::new();
        let mut files: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (node, absent) in &self.files {
            for file in absent {
                files.entry(file.told()).or_default().push(node);
            }
        }
        if !files.is_empty() {
            out += "nodes that have to run need files that are not on this machine:";
            for (file, nodes) in files {
                out += &format!("\n  {}: {file}", listed(nodes));
            }
        }
        let mut variables: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (node, names) in &self.variables {
            for name in names {
                variables.entry(name).or_default().push(node);
            }
        }
        if !variables.is_empty() {
            if !out.is_empty() {
                out += "\n";
            }
            out += "nodes that have to run need environment variables that are not set here:";
            for (name, nodes) in variables {
                out += &format!("\n  {}: {name}", listed(nodes));
            }
        }
        out
    }
}

/// Whether nodes have to run of which only the recipe tells anything.
pub fn unknown(graph: &Graph, plan: &Plan) -> bool {
    let mut to_run = plan.nodes.iter().filter(|p| p.compared.is_none());
    to_run.any(|p| graph.node(p.id).kind.outlook.is_some())
}

/// Nodes that by their parameters need more memory than there is, a line each. `allowed`: what somebody said instead.
pub fn too_large(graph: &Graph, plan: &Plan, allowed: Option<u64>) -> Option<String> {
    let there = allowed.or_else(system::memory::total)?;
    let mut out = String::new();
    for planned in plan.nodes.iter().filter(|p| p.compared.is_none()) {
        let needed = planned.outlook.as_ref().map_or(0.0, |o| o.memory) as u64;
        if needed > there {
            let name = &graph.node(planned.id).name;
            out += &format!("\n  `{name}`: about {}", bytes(needed));
        }
    }
    let there = bytes(there);
    (!out.is_empty()).then(|| format!("nodes need more memory than the {there} there are:{out}"))
}

/// Paths among the execution parameters.
fn absent_for_exec(node: &Node) -> Vec<Absent> {
    let mut absent = vec![];
    for spec in (node.kind.exec)() {
        let Some(value) = node.exec.get(spec.name).filter(|_| holds_paths(&spec.ty)) else {
            continue;
        };
        let look = &mut |written: &str| -> Result<String, Infallible> {
            if let hub::Found::Absent { looked, get } = hub::find(written) {
                absent.push(Absent {
                    param: spec.name.into(),
                    written: written.into(),
                    looked,
                    get,
                });
            }
            Ok(String::new())
        };
        let Ok(_) = with_contents(value, look);
    }
    absent
}
