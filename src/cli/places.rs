//! Where a plan's nodes would be executed by a profile, and what that comes to in hours of GPUs.

use super::output::room;
use engine::graph::Graph;
use engine::plan::verdict::Verdict;
use engine::plan::{Plan, Planned};
use engine::run::profile::Profile;
use report::table::{Table, left, name, right};
use serde_json::{Value, json};

/// Before a bound.
const UP_TO: &str = "up to ";

/// One node that has to run, or may.
pub struct Place {
    node: String,
    /// None: the profile has no partitions. `Err`: none of them is large enough.
    partition: Result<Option<String>, String>,
    needs: String,
    /// By what it is expected to take, else by what was said that it may take at most; none where nobody knows.
    gpu_hours: Option<f64>,
    /// They are a bound.
    at_most: bool,
}

pub fn of(graph: &Graph, plan: &Plan, profile: &Profile) -> Vec<Place> {
    let runs = |p: &&Planned| !matches!(p.decision.verdict, Verdict::Hit(_));
    let place = |planned: &Planned| {
        let needs = planned.needs(graph);
        let partition = profile.partition(&needs);
        let partition = partition.map(|p| p.map(|p| p.name.clone()));
        let expected = planned
            .estimate
            .is_known()
            .then_some(planned.estimate.seconds / 3600.0);
        let gpus = needs.gpus as f64;
        Place {
            node: graph.node(planned.decision.id).name.clone(),
            partition: partition.map_err(|error| format!("{error:#}")),
            needs: needs.to_string(),
            gpu_hours: match needs.gpus {
                0 => Some(0.0),
                _ => expected.or(needs.hours).map(|hours| hours * gpus),
            },
            at_most: expected.is_none() || planned.estimate.is_at_most(),
        }
    };
    plan.nodes.iter().filter(runs).map(place).collect()
}

pub fn json(places: &[Place]) -> Value {
    let each = places.iter().map(|p| {
        json!({
            "node": p.node, "partition": p.partition.as_ref().ok().and_then(|p| p.as_ref()),
            "problem": p.partition.as_ref().err(), "needs": p.needs, "gpu_hours": p.gpu_hours,
        })
    });
    each.collect()
}

pub fn text(places: &[Place], profile: &Profile) -> String {
    if places.is_empty() {
        return String::new();
    }
    let mut table = Table::new([
        name(&format!("on {}", profile.name)),
        left("partition"),
        left("needs"),
        right("GPU-hours"),
    ]);
    let (mut hours, mut at_most, mut unknown) = (0.0, false, 0);
    for place in places {
        let partition = match &place.partition {
            Ok(partition) => partition.clone().unwrap_or_default(),
            Err(_) => "NONE".into(),
        };
        let told = match place.gpu_hours {
            None => "?".to_string(),
            Some(0.0) => String::new(),
            Some(hours) => format!("{}{hours:.2}", if place.at_most { UP_TO } else { "" }),
        };
        match place.gpu_hours {
            Some(own) => {
                hours += own;
                at_most |= place.at_most && own > 0.0;
            }
            None => unknown += 1,
        }
        table.push([place.node.clone(), partition, place.needs.clone(), told]);
    }
    let rest = match unknown {
        0 => String::new(),
        n => format!(" and {n} of unknown length"),
    };
    let most = if at_most { UP_TO } else { "" };
    format!("\n{}{most}{hours:.2} GPU-hours{rest}\n", table.fit(room()))
}
