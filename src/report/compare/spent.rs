//! What the sides of a comparison cost, for reading.

use crate::compare::structure::Structure;
use crate::compare::{Called, Comparison, Costs};
use crate::page::Page;
use crate::words;
use base::calls::Calls;
use base::text::{bytes, count, dollars, duration, tokens};

/// What is shared, what each side has alone, and whom it asked.
pub fn told(page: &mut Page, c: &Comparison, (first, second): (&str, &str)) {
    page.head("cost");
    page.line(shared(&c.structure, c.pairs.len()));
    for (name, costs) in [first, second].into_iter().zip(&c.costs) {
        page.item(format!("only {name}: {}", cost(costs)));
    }
    for called in &c.called {
        let side = |calls: &Option<Calls>| calls.as_ref().map_or("none".into(), words::calls_made);
        let (one, other) = (side(&called.first), side(&called.second));
        page.item(format!(
            "calls of {}: {one} -> {other}{}",
            called.node,
            difference(called)
        ));
    }
}

fn shared(s: &Structure, seeds: usize) -> String {
    let nodes = count(s.shared.len() as u64, "node", "nodes");
    match s.shared.is_empty() {
        true => "nothing is shared".into(),
        false => {
            let saved = words::cost(s.shared_seconds, s.shared_dollars);
            match seeds {
                1 => format!("{nodes} shared, which saves {saved}"),
                _ => format!("{nodes} shared in the first seed, which saves {saved} there"),
            }
        }
    }
}

/// `(+400 calls, +1.0 M tokens, +$0.80)`, of what the second has more.
fn difference(called: &Called) -> String {
    let (Some(a), Some(b)) = (&called.first, &called.second) else {
        return String::new();
    };
    let sign = |more: bool| if more { "+" } else { "-" };
    let mut parts = vec![];
    if a.made != b.made {
        let calls = count(a.made.abs_diff(b.made), "call", "calls");
        parts.push(format!("{}{calls}", sign(b.made > a.made)));
    }
    if a.tokens() != b.tokens() {
        let more = tokens(a.tokens().abs_diff(b.tokens()));
        parts.push(format!("{}{more}", sign(b.tokens() > a.tokens())));
    }
    if a.dollars != b.dollars {
        let more = dollars((b.dollars - a.dollars).abs());
        parts.push(format!("{}{more}", sign(b.dollars > a.dollars)));
    }
    match parts.is_empty() {
        true => String::new(),
        false => format!(" ({})", parts.join(", ")),
    }
}

fn cost(costs: &Costs) -> String {
    let nodes = count(costs.nodes as u64, "node", "nodes");
    let unknown = match costs.unknown {
        0 => String::new(),
        n => format!("; {n} without an artifact"),
    };
    let asked = match costs.calls.is_zero() {
        true => String::new(),
        false => format!("; {}", words::calls_made(&costs.calls)),
    };
    match costs.nodes {
        0 => format!("nothing{unknown}"),
        _ => format!(
            "{nodes}, {} (cpu {}), at most {}{asked}{unknown}",
            words::cost(costs.seconds, costs.dollars),
            duration(costs.cpu_seconds),
            bytes(costs.peak_bytes)
        ),
    }
}
