//! What a plan needs of this machine and does not find: variables, files, programs, memory. Told all at once, before anything starts.

use super::executor::Resources;
use super::profile::Profile;
use super::secrets;
use crate::graph::Graph;
use crate::plan::verdict::Verdict;
use crate::plan::{Plan, Planned};
use crate::store::paths;
use crate::store::paths::Absent;
use base::text::{bytes, count, listed};
use std::collections::{BTreeMap, BTreeSet};

/// By node; only nodes that have to run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanting {
    /// Environment variables that it names and that are not set.
    pub variables: BTreeMap<String, BTreeSet<String>>,
    /// Files and folders that it names, a program among them, and that are not there.
    pub files: BTreeMap<String, Vec<Absent>>,
    /// Programs, in sentences.
    pub programs: BTreeMap<String, Vec<String>>,
    /// What is lacking of the device that it computes on, in a sentence.
    pub devices: BTreeMap<String, String>,
}

impl Wanting {
    pub fn of(graph: &Graph, plan: &Plan) -> Wanting {
        let mut wanting = Wanting::default();
        for planned in &plan.nodes {
            let decision = &planned.decision;
            let mut files = match &decision.verdict {
                Verdict::Hit(_) => continue,
                Verdict::Needs { absent } => absent.clone(),
                Verdict::Run(_) | Verdict::Resume { .. } | Verdict::Maybe { .. } => vec![],
            };
            let node = graph.node(decision.id);
            files.extend(paths::missing(&(node.kind.exec)(), &node.exec));
            let variables = secrets::missing(&node.exec);
            if !variables.is_empty() {
                wanting.variables.insert(node.name.clone(), variables);
            }
            let programs = node.kind.preflight;
            let programs = programs.map(|look| look(&node.params, &node.exec, &path()));
            if let Some(programs) = programs.filter(|all| !all.is_empty()) {
                wanting.programs.insert(node.name.clone(), programs);
            }
            let lacks = node.lacks();
            wanting
                .devices
                .extend(lacks.map(|lacks| (node.name.clone(), lacks)));
            if !files.is_empty() {
                wanting.files.insert(node.name.clone(), files);
            }
        }
        wanting
    }

    /// What has to be here although the nodes run elsewhere: sources, whose contents are in keys, and variables, where they are handed
    /// on from here. What the machines there lack is told by them.
    pub fn elsewhere(graph: &Graph, plan: &Plan, profile: &Profile) -> Wanting {
        let mut wanting = Wanting {
            programs: BTreeMap::new(),
            devices: BTreeMap::new(),
            ..Wanting::of(graph, plan)
        };
        if profile.secrets_file.is_some() {
            wanting.variables.clear();
        }
        wanting
    }

    pub fn is_empty(&self) -> bool {
        let Wanting {
            variables,
            files,
            programs,
            devices,
        } = self;
        variables.is_empty() && files.is_empty() && programs.is_empty() && devices.is_empty()
    }

    /// A line a thing, and the nodes that want it: several nodes often want the same.
    pub fn told(&self) -> String {
        let files = self.files.iter().flat_map(|(node, absent)| {
            let each = absent.iter().map(Absent::told);
            each.map(move |told| (node.as_str(), told))
        });
        let programs = self.programs.iter();
        let programs = programs
            .flat_map(|(node, told)| told.iter().map(move |told| (node.as_str(), told.clone())));
        let variables = self.variables.iter();
        let variables = variables
            .flat_map(|(node, names)| names.iter().map(move |n| (node.as_str(), n.clone())));
        let devices = self.devices.iter();
        let devices = devices.map(|(node, lacks)| (node.as_str(), lacks.clone()));
        let hub = self.files.values().flatten().any(|f| f.get.is_some());
        let hub = match hub && cfg!(feature = "hub") {
            true => "\n  `pipe fetch RECIPE` downloads those on the hub",
            false => "",
        };
        [
            ("files that are not on this machine", by_thing(files) + hub),
            ("programs that are not here", by_thing(programs)),
            ("devices that are not here", by_thing(devices)),
            (
                "environment variables that are not set here",
                by_thing(variables),
            ),
        ]
        .into_iter()
        .filter(|(_, lines)| !lines.is_empty())
        .map(|(what, lines)| format!("nodes that have to run need {what}:{lines}"))
        .collect::<Vec<_>>()
        .join("\n")
    }
}

/// `\n  NODES: THING` of every thing.
fn by_thing<'a>(pairs: impl Iterator<Item = (&'a str, String)>) -> String {
    let mut things: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (node, thing) in pairs {
        things.entry(thing).or_default().push(node);
    }
    let lines = things.into_iter();
    let lines = lines.map(|(thing, nodes)| format!("\n  {}: {thing}", listed(nodes)));
    lines.collect()
}

/// Where programs are looked for.
#[allow(clippy::disallowed_methods)]
fn path() -> String {
    std::env::var("PATH").unwrap_or_default()
}

/// Nodes that by their parameters need more than there is: a line each.
pub fn too_large(graph: &Graph, plan: &Plan, there: &Resources) -> Option<String> {
    let mut told = vec![];
    let gpus = lines(graph, plan, |planned| {
        if matches!(planned.decision.verdict, Verdict::Hit(_)) {
            return None;
        }
        let node = graph.node(planned.decision.id);
        let needed = node.needs().gpus;
        (needed > there.gpus && node.lacks().is_none()).then(|| needed.to_string())
    });
    if !gpus.is_empty() {
        let there = count(there.gpus as u64, "GPU there is", "GPUs there are");
        told.push(format!("nodes need more than the {there}:{gpus}"));
    }
    if let Some(there) = there.memory {
        let memory = lines(graph, plan, |planned| {
            let estimate = Some(&planned.estimate).filter(|e| !e.is_measured());
            let needed = estimate.and_then(|e| e.formula.as_ref());
            let needed = needed.map_or(0.0, |f| f.memory) as u64;
            (needed > there).then(|| format!("about {}", bytes(needed)))
        });
        if !memory.is_empty() {
            let there = bytes(there);
            told.push(format!(
                "nodes need more memory than the {there} there are:{memory}\n  `--memory SIZE` lets larger nodes start"
            ));
        }
    }
    (!told.is_empty()).then(|| told.join("\n"))
}

/// Nodes that no partition of a profile is large enough for: a line each.
pub fn without_place(graph: &Graph, plan: &Plan, profile: &Profile) -> Option<String> {
    let told = lines(graph, plan, |planned| {
        let hit = matches!(planned.decision.verdict, Verdict::Hit(_));
        let place = profile.partition(&planned.needs(graph)).err();
        place.filter(|_| !hit).map(|none| format!("{none:#}"))
    });
    (!told.is_empty()).then(|| format!("nodes have no place:{told}"))
}

/// `\n  NODE: WHAT` of every node of which there is something to say.
fn lines(graph: &Graph, plan: &Plan, say: impl Fn(&Planned) -> Option<String>) -> String {
    let told = plan.nodes.iter().filter_map(|planned| {
        let name = &graph.node(planned.decision.id).name;
        say(planned).map(|what| format!("\n  `{name}`: {what}"))
    });
    told.collect()
}
