//! Whether prompts carry the truth that the judges of the built-in world need, and whether everything is of one world, as far as a graph
//! says it: known before anything is generated, so that nobody finds out after. Reads a graph; looks into no file.

use crate::scorers::reward;
use base::params::Problem;
use base::value::Value;
use engine::kind::{Edge, Node, NodeId, Role, Type, Upstream};
use std::collections::{BTreeMap, BTreeSet};

/// The nodes above an edge whose rows have no truth for sure, and are sure to be among those of the edge.
fn without(graph: &dyn Upstream, edge: &Edge) -> BTreeSet<NodeId> {
    let mut of: BTreeMap<NodeId, BTreeSet<NodeId>> = BTreeMap::new();
    // An edge points to a smaller id.
    let above: BTreeSet<NodeId> = graph.closure(&[edge.node]).into_iter().collect();
    for id in above {
        let found = sure(graph, id, &of);
        of.insert(id, found);
    }
    of.remove(&edge.node).unwrap_or_default()
}

/// The nodes whose rows have no truth for sure, and are sure to be among those of this node; `of` knows it of its inputs.
fn sure(
    graph: &dyn Upstream,
    id: NodeId,
    of: &BTreeMap<NodeId, BTreeSet<NodeId>>,
) -> BTreeSet<NodeId> {
    let node = graph.node(id);
    let sources: Vec<&Edge> = node
        .inputs
        .iter()
        .filter(|(port, edge)| node.kind.passes_on(port) && holds_prompts(graph, edge))
        .map(|(_, edge)| edge)
        .collect();
    // Rows that are imported take over the prompts that they are of.
    if node.kind.role == Role::Imports {
        return match sources.is_empty() {
            true => BTreeSet::from([id]),
            false => BTreeSet::new(),
        };
    }
    // What a program makes of them, nobody knows; and of several sources a selection may have left these out.
    match node.kind.role {
        Role::Runs => return BTreeSet::new(),
        Role::Selects if mixes(graph, id) => return BTreeSet::new(),
        _ => {}
    }
    let each = sources.iter().filter_map(|e| of.get(&e.node));
    each.flatten().copied().collect()
}

/// Whether prompts with truth are above as well.
fn mixes(graph: &dyn Upstream, id: NodeId) -> bool {
    let above = graph.closure(&[id]);
    let others = above.iter().filter(|id| {
        let node = graph.node(**id);
        let source = !node.inputs.values().any(|e| holds_prompts(graph, e));
        let gives = node.kind.outputs.iter().any(|o| o.ty == Type::Prompts);
        source && gives && node.kind.role != Role::Imports
    });
    others.count() > 0
}

fn holds_prompts(graph: &dyn Upstream, edge: &Edge) -> bool {
    let output = graph.node(edge.node).kind.output(edge.output);
    output.is_some_and(|o| matches!(o.ty, Type::Prompts | Type::Completions))
}

/// For a judge that needs the truth of the rows at this port: the node whose rows have none.
pub fn lacking(graph: &dyn Upstream, id: NodeId, port: &str) -> Option<NodeId> {
    let edge = graph.node(id).inputs.get(port)?;
    without(graph, edge).first().copied()
}

/// What a node learns, asks or judges by is to be of one world: another has other facts, and all that is right there is wrong here. What
/// rows are only compared with does not count. `path` is the parameter that makes it matter.
pub fn one_world(graph: &dyn Upstream, id: NodeId, path: &str) -> Option<Problem> {
    let mut met: BTreeSet<NodeId> = BTreeSet::from([id]);
    let mut first: BTreeMap<i64, NodeId> = BTreeMap::new();
    // An edge points to a smaller id: who takes rows comes before who gives them.
    for at in graph.closure(&[id]).into_iter().rev() {
        if !met.contains(&at) {
            continue;
        }
        let node = graph.node(at);
        let taken = node
            .inputs
            .iter()
            .filter(|(port, _)| node.kind.passes_on(port));
        met.extend(taken.map(|(_, edge)| edge.node));
        if let (true, Some(Value::Int(world))) = (knows(node), node.params.get("world")) {
            first.insert(*world, at);
        }
    }
    let mut named: Vec<(NodeId, i64)> = first.into_iter().map(|(world, at)| (at, world)).collect();
    named.sort_unstable();
    let [(one, world), (other, another), ..] = named[..] else {
        return None;
    };
    Some(Problem {
        path: path.into(),
        message: format!(
            "`{}` is of world {world} and `{}` of world {another}, which has other facts",
            graph.node(one).name,
            graph.node(other).name
        ),
        help: Some("a study has one `world`, the same for each of its nodes".into()),
    })
}

/// Whether a node is of the built-in world, or something in it has its part from there.
fn knows(node: &Node) -> bool {
    let is = |value: &Value| matches!(value, Value::Str(word) if word == "world");
    let has = |value: &Value| matches!(value, Value::Table(t) if t.get("from").is_some_and(is));
    node.kind.synthetic || node.params.values().any(has)
}

/// What is wrong with the prompts of a node in which the world itself has the part `block`: it reads no others than its own.
pub fn built_in(graph: &dyn Upstream, id: NodeId, block: &str) -> Vec<Problem> {
    let path = format!("{block}.from");
    let Some(source) = lacking(graph, id, "prompts") else {
        return one_world(graph, id, &path).into_iter().collect();
    };
    vec![Problem {
        message: format!(
            "the world as `{block}` knows only prompts of the built-in world, and those of `{}` are not",
            graph.node(source).name
        ),
        path,
        help: Some("`model` or `endpoint`".into()),
    }]
}

/// What an attack asks of the truth that prompts of the built-in world carry.
#[derive(Clone, Copy)]
pub enum Needed {
    /// What a response is to begin with, where `target` and `targets` do not say it.
    Target,
    /// The same where `generate` gives it.
    Beginning,
    /// The judge that says when a search has what it wants.
    Check,
    /// Prefixes about the world, where no others are given.
    Claims,
}

/// What is wrong with prompts of a node that asks this of them.
pub fn needed(graph: &dyn Upstream, id: NodeId, what: Needed) -> Vec<Problem> {
    let (path, message, help) = match what {
        Needed::Target => (
            "target",
            "only prompts of the built-in world have a target of their own",
            "what a response is to begin with: `target`, or `targets` with a text for each BehaviorID",
        ),
        Needed::Beginning => (
            "prefill_from",
            "only of prompts of the built-in world it is known what an attacker wants said",
            "`targets`, with a file of texts for each BehaviorID",
        ),
        Needed::Check => (
            "check",
            "the judge `world` knows only prompts of the built-in world",
            "`refusal` reads any answer",
        ),
        Needed::Claims => (
            "seeds",
            "without `seeds` prefixes are claims about the built-in world, which only its own prompts are about",
            "prompts whose texts are prefixes at the port `seeds`, as of a `prompts-file`",
        ),
    };
    let Some(source) = lacking(graph, id, "prompts") else {
        return one_world(graph, id, path).into_iter().collect();
    };
    let name = &graph.node(source).name;
    vec![Problem {
        path: path.into(),
        message: format!("{message}, and those of `{name}` are not"),
        help: Some(help.into()),
    }]
}

/// What is wrong with the scorer of an evaluation, which is one that needs the truth.
pub fn scorer_problem(graph: &dyn Upstream, id: NodeId, scorer: &str) -> Option<Problem> {
    let Some(source) = lacking(graph, id, "completions") else {
        return one_world(graph, id, "scorer");
    };
    let node = graph.node(source);
    Some(Problem {
        path: "scorer".into(),
        message: format!(
            "the scorer `{scorer}` scores only prompts of the built-in world, and those of `{}` are not",
            node.name
        ),
        help: Some(
            "`refusal` and `format` read any answer; others ask a model: see `pipe kinds --scorers`".into(),
        ),
    })
}

/// What is wrong with the scorers of a reward table that need the truth of the prompts at a port.
pub fn reward_problems(graph: &dyn Upstream, id: NodeId, port: &str) -> Vec<Problem> {
    let Some(Value::Table(table)) = graph.node(id).params.get("reward") else {
        return vec![];
    };
    let needing: Vec<(&String, &str)> = table
        .iter()
        .filter_map(|(class, text)| {
            let Value::Str(text) = text else { return None };
            let table = BTreeMap::from([(class.clone(), text.clone())]);
            let mut scorers = reward::scorers_of(&table).into_iter();
            Some((class, scorers.find(|s| s.needs_truth())?.name))
        })
        .collect();
    let Some(source) = lacking(graph, id, port) else {
        let class = needing.first().map(|(class, _)| format!("reward.{class}"));
        let mixed = class.and_then(|path| one_world(graph, id, &path));
        return mixed.into_iter().collect();
    };
    let node = graph.node(source);
    let mut found = vec![];
    for (class, name) in needing {
        if may_have(node, class) {
            found.push(Problem {
                path: format!("reward.{class}"),
                message: format!(
                    "the scorer `{name}` scores only prompts of the built-in world, and those of `{}` are not",
                    node.name
                ),
                help: Some(
                    "`refusal` and `format` read any answer; others ask a model: see `pipe kinds --scorers`".into(),
                ),
            });
        }
    }
    found
}

/// Whether rows of that node may be of a class. A node with a parameter `class` gives all classes by its parameters: a list of labels
/// is called as the class that it gives, `class` is that of the others.
fn may_have(node: &Node, class: &str) -> bool {
    if !node.params.contains_key("class") {
        return true;
    }
    let is =
        |name: &str, word: &str| matches!(node.params.get(name), Some(Value::Str(s)) if s == word);
    let named = |list: &str| matches!(node.params.get(list), Some(Value::List(l)) if !l.is_empty());
    is("class", class) || named(class)
}
