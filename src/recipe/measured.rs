//! What a node's kind says of the metrics that a claim names: whether it writes them, in which unit, and which way is better. Knows no
//! metric by name.

use base::claim::Expect;
use base::diag::{Diag, Diags, Place};
use base::text::{did_you_mean, listed, nearest};
use engine::graph::{Edge, Graph, NodeId};
use engine::kind::metric::Better;
use engine::kind::{Kind, Labels, MetricInfo, Role, Type};
use std::collections::BTreeMap;

/// A condition as far as its metrics are concerned.
pub struct Asked<'a> {
    pub node: &'a str,
    pub metrics: &'a [(String, Place)],
    /// The metric of the same node that the one is compared with.
    pub than: Option<&'a (String, Place)>,
    pub expect: Expect,
    /// Where it is written.
    pub by: Option<(f64, &'a Place)>,
}

/// Reports what the kind's metrics do not bear.
pub fn look(kind: &Kind, asked: &Asked, diags: &mut Diags) {
    let mut known: Vec<(&str, &Place, &MetricInfo)> = vec![];
    for (metric, place) in asked.metrics.iter().chain(asked.than) {
        if let Some(diag) = unmeasured(kind, asked.node, metric, place) {
            diags.push(diag);
        }
        known.extend(
            kind.metric(metric)
                .map(|info| (metric.as_str(), place, info)),
        );
    }
    if let Some((by, at)) = asked.by
        && by > 1.0
        && known.iter().any(|(_, _, info)| info.unit == "share")
    {
        let diag = Diag::at(at, "`by` is of a share, at most 1");
        diags.push(diag.help("5 points are `by = 0.05`"));
    }
    match asked.expect {
        _ if asked.than.is_some() => of_one_unit(&known, diags),
        Expect::Dominates => no_worse(&known, diags),
        _ => of_one_number(&known, diags),
    }
}

/// `dominates` takes the higher side for the better one.
fn no_worse(known: &[(&str, &Place, &MetricInfo)], diags: &mut Diags) {
    for (metric, place, info) in known {
        if info.better == Better::Lower {
            let message = format!("of `{metric}` lower is better, and `dominates` asks for higher");
            let help = "write a condition of its own: `{ metric = \"…\", is = \"lower\" }`";
            diags.push(Diag::at(place, message).help(help));
        }
    }
}

/// A difference of two has one unit.
fn of_one_unit(known: &[(&str, &Place, &MetricInfo)], diags: &mut Diags) {
    let [(metric, at, of), (than, place, info)] = known else {
        return;
    };
    if !of.unit.is_empty() && !info.unit.is_empty() && of.unit != info.unit {
        let message = format!(
            "`{metric}` has the unit `{}` and `{than}` `{}`: they have no difference",
            of.unit, info.unit
        );
        diags.push(Diag::at(place, message).related(at, "the other one"));
    }
}

/// A mean of several has one unit and one direction.
fn of_one_number(known: &[(&str, &Place, &MetricInfo)], diags: &mut Diags) {
    let Some(((first, at, of), rest)) = known.split_first() else {
        return;
    };
    for (metric, place, info) in rest {
        // The members of a family may have units of their own.
        let units = !of.unit.is_empty() && !info.unit.is_empty() && of.unit != info.unit;
        let ways = [of.better, info.better];
        let apart = ways.contains(&Better::Lower) && ways.contains(&Better::Higher);
        let message = match (units, apart) {
            (true, _) => format!(
                "`{first}` has the unit `{}` and `{metric}` `{}`: they have no mean",
                of.unit, info.unit
            ),
            (false, true) => {
                let (low, high) = match of.better {
                    Better::Lower => (first, metric),
                    _ => (metric, first),
                };
                format!("of `{low}` lower is better and of `{high}` higher: a mean says neither")
            }
            (false, false) => continue,
        };
        let diag = Diag::at(place, message).related(at, "the other one");
        diags.push(diag.help("write a condition for each"));
    }
}

/// That a kind of node writes no metric of this name, with those that it writes; nothing of a kind that writes what others measured.
pub fn unmeasured(kind: &Kind, node: &str, metric: &str, at: &Place) -> Option<Diag> {
    if !kind.knows_its_metrics() || kind.metric(metric).is_some() {
        return None;
    }
    let names: Vec<String> = kind.metrics.iter().flat_map(|m| m.names()).collect();
    let now = kind.metrics.iter().find_map(|m| (m.was)(metric));
    let near = now.or_else(|| did_you_mean(metric, names.iter().map(String::as_str)));
    let message = format!("`{node}` measures no `{metric}`");
    let near = near.map_or(String::new(), |n| format!("did you mean `{n}`? "));
    let all = nearest(metric, names.iter().map(String::as_str));
    let help = format!("{near}`{}` writes {all}", kind.name);
    Some(Diag::at(at, message).help(match names.len() {
        0..=5 => help,
        _ => format!("{help}; `pipe kinds {}` lists them", kind.name),
    }))
}

/// By node and output; nothing where any label may be.
type Known = BTreeMap<(NodeId, &'static str), Option<Labels>>;

/// That no row of a node has the label by which a metric is split, or not this value of it; nothing where rows may have any.
pub fn unlabelled(graph: &Graph, id: NodeId, metric: &str, at: &Place) -> Option<Diag> {
    let node = graph.node(id);
    let info = node.kind.metric(metric).filter(|info| info.split)?;
    let rest = metric.strip_prefix(info.name.strip_suffix('*')?)?;
    let (label, value) = rest.split_once('/')?;
    let labels = above(graph, id, &mut Known::new())?;
    let name = &node.name;
    let values = || labels.get(label).into_iter().flatten();
    let (message, there, near) = match labels.get(label) {
        Some(values) if values.contains(value) => return None,
        Some(_) => (
            format!("no row of `{name}` has `{label}` = `{value}`"),
            listed(values().map(String::as_str)),
            did_you_mean(value, values().map(String::as_str)),
        ),
        None => (
            format!("no row of `{name}` has the label `{label}`"),
            listed(labels.keys().copied()),
            did_you_mean(label, labels.keys().copied()),
        ),
    };
    let diag = Diag::at(at, message);
    Some(match near {
        Some(_) => diag.suggest(near),
        None => diag.help(format!("there is {there}")),
    })
}

/// The labels of the rows that come to a node.
fn above(graph: &Graph, id: NodeId, known: &mut Known) -> Option<Labels> {
    let node = graph.node(id);
    if matches!(node.kind.role, Role::Imports | Role::Runs) {
        return None;
    }
    let rows = node.inputs.iter().filter(|(port, edge)| {
        let output = graph.node(edge.node).kind.output(edge.output);
        let rows = output.is_some_and(|o| matches!(o.ty, Type::Prompts | Type::Completions));
        rows && node.kind.passes_on(port) && !node.kind.measures_with(port)
    });
    let mut found: Option<Labels> = None;
    for (_, edge) in rows {
        let found = found.get_or_insert_default();
        for (label, values) in given(graph, edge, known)? {
            found.entry(label).or_default().extend(values);
        }
    }
    found
}

fn given(graph: &Graph, edge: &Edge, known: &mut Known) -> Option<Labels> {
    let place = (edge.node, edge.output);
    if let Some(labels) = known.get(&place) {
        return labels.clone();
    }
    let node = graph.node(edge.node);
    let labels = match node.kind.labels {
        Some(labels) => Some(labels(&node.params, edge.output)),
        None if node.kind.relabels => None,
        None => above(graph, edge.node, known).map(|mut labels| {
            for (label, values) in (node.kind.adds)(&node.params) {
                labels.entry(label).or_default().extend(values);
            }
            labels
        }),
    };
    known.insert(place, labels.clone());
    labels
}
