//! What a node will take and give, told from its parameters alone, before anything that it needs exists. A plan on a machine
//! without weights, data and keys is made of this. Estimates, never identity; nobody is asked, and no
//! file is read but the configuration of a model that is there.

use crate::kind::estimate::{Ahead, Likely};
use crate::graph::{Graph, NodeId};
use crate::plan::verdict::Verdict;
use crate::plan::{Judge, Plan};
use crate::store::index::Brief;
use crate::store::paths::located;
use base::calls::Calls;
use std::collections::BTreeMap;

/// An outlook, and how long that takes at a speed that was recorded here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    pub calls: Option<Calls>,
    pub flop: f64,
    pub memory: f64,
    pub seconds: Option<f64>,
}

/// FLOP/s, and the kind whose record it is of.
#[derive(Clone, Debug, PartialEq)]
pub struct Speed {
    pub rate: f64,
    pub kind: String,
}

/// An outlook is an upper bound, but not this many times what the node takes.
const FAR: f64 = 20.0;

/// Tells it for every node that has to run, from the top of the graph to its end. Where no record of the node itself says how
/// long it takes, its expected seconds and memory become those.
///
/// Gives the records that speeds are of, by kind; none where nothing has to run that can be told of.
pub fn tell(graph: &Graph, plan: &mut Plan, judge: &Judge) -> BTreeMap<String, Brief> {
    let mut to_run = plan.nodes.iter();
    let tells = to_run
        .any(|p| !matches!(p.verdict, Verdict::Hit(_)) && graph.node(p.id).kind.outlook.is_some());
    if !tells {
        return BTreeMap::new();
    }
    let speeds = judge.history().speeds();
    let mut given: BTreeMap<NodeId, BTreeMap<&'static str, Likely>> = BTreeMap::new();
    for planned in &mut plan.nodes {
        let node = graph.node(planned.id);
        let Some(outlook) = node.kind.outlook else {
            continue;
        };
        let mut inputs = BTreeMap::new();
        for (port, edge) in &node.inputs {
            let of = given.get(&edge.node).and_then(|o| o.get(edge.output));
            inputs.extend(of.map(|likely| (*port, likely.clone())));
        }
        let params = located(node.kind, &node.params);
        let ahead = Ahead {
            written: &node.params,
            params: &params,
            exec: &node.exec,
            inputs,
        };
        // Of parameters that a kind cannot read, nothing can be told, and `check` has said so.
        let Ok(outlook) = outlook(&ahead) else {
            continue;
        };
        given.insert(planned.id, outlook.outputs);
        if matches!(planned.verdict, Verdict::Hit(_)) {
            continue;
        }
        let speed = speed(&speeds, node.kind.name).filter(|_| outlook.flop > 0.0);
        let seconds = speed.map(|s| outlook.flop / s.rate);
        let did = planned.expected.unwrap_or_default();
        let will_ask = outlook.calls.is_some_and(|c| !c.is_zero());
        if did.flop > 0.0 && outlook.flop > FAR * did.flop || will_ask && did.calls.is_zero() {
            planned.measured = false;
        }
        if let Some(seconds) = seconds.filter(|_| !planned.measured) {
            let expected = planned.expected.get_or_insert_default();
            expected.seconds = seconds;
            expected.peak_bytes = outlook.memory as u64;
        }
        let told = Told {
            calls: outlook.calls.filter(|c| !c.is_zero()),
            flop: outlook.flop,
            memory: outlook.memory,
            seconds,
        };
        planned.outlook = (told != Told::default()).then_some(told);
    }
    speeds
}

/// Of the newest record of this kind that counted its work, else of any.
pub fn speed(speeds: &BTreeMap<String, Brief>, kind: &str) -> Option<Speed> {
    let newest = || speeds.values().max_by_key(|b| b.cost.started_ms);
    let brief = speeds.get(kind).or_else(newest)?;
    Some(Speed {
        rate: brief.cost.flop / brief.cost.seconds.max(1e-3),
        kind: brief.kind.clone(),
    })
}
