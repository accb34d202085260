//! `pipe show NODE --provenance`: everything that is known of how an artifact came to be.

use base::text::{bytes, dollars, duration};
use engine::graph::manifest::facts;
use engine::store::record::Record;
use engine::system::clock;
use report::words;
use serde_json::{Value, json};

/// A line a fact.
pub fn page(record: &Record) -> String {
    let (made, cost) = (&record.provenance, &record.cost);
    let origin = &made.origin;
    let mut lines: Vec<(&str, String)> = vec![
        ("key", record.key.to_string()),
        ("node", format!("{} ({})", made.node, record.kind)),
        ("recipe", made.recipe.clone()),
        ("run", made.run.clone()),
        ("began", clock::stamp(cost.started_ms)),
        ("version", made.version.clone()),
        ("binary", origin.build.clone()),
        ("commit", commit(record)),
        ("processor", origin.cpu.clone()),
        ("features", origin.features.join(", ")),
        ("system", origin.system.clone()),
        ("threads", cost.threads.to_string()),
        ("attempts", cost.attempts.to_string()),
        ("wall time", duration(cost.seconds)),
        ("cpu time", duration(cost.cpu_seconds)),
        ("peak memory", bytes(cost.peak_bytes)),
        ("paid", dollars(cost.dollars)),
    ];
    if let Some(calls) = words::calls(&cost.calls) {
        lines.push(("calls", calls));
    }
    for (address, commit) in &made.commits {
        lines.push(("hub", format!("{address} was commit {commit}")));
    }
    for (name, artifact) in &record.outputs {
        lines.push((
            "output",
            format!("{name}: {} {}", artifact.ty, artifact.digest),
        ));
    }
    let mut out = String::new();
    for (name, value) in lines {
        let value = if value.is_empty() {
            "not known"
        } else {
            &value
        };
        out += &format!("{name:<12} {value}\n");
    }
    out += "\nmade from (all that is in the key)\n";
    for (fact, value) in facts(&record.manifest) {
        out += &format!("  {fact} = {value}\n");
    }
    out
}

pub fn data(record: &Record) -> Value {
    json!({
        "schema": 1,
        "key": record.key,
        "kind": record.kind,
        "made_by": record.provenance,
        "cost": record.cost,
        "outputs": record.outputs,
        "manifest": record.manifest,
    })
}

fn commit(record: &Record) -> String {
    let origin = &record.provenance.origin;
    let Some(commit) = &origin.commit else {
        return String::new();
    };
    let state = match origin.dirty {
        Some(true) => " and changes that were not committed",
        _ => "",
    };
    format!("{commit}{state}")
}
