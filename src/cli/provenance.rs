//! `pipe show NODE --provenance`: everything that is known of how an artifact came to be.

use base::device;
use base::text::{bytes, dollars, duration};
use engine::graph::manifest::facts;
use engine::store::Found;
use engine::store::record::{Origin, Record};
use engine::system::clock;
use report::words;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A line a fact.
pub fn page(record: &Record, found: Option<&Found>) -> String {
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
        ("machine", origin.host.clone()),
        ("device", device(origin)),
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
    for used in &origin.devices {
        let libraries = used.libraries.iter();
        let libraries: Vec<String> = libraries.map(|(name, v)| format!("{name} {v}")).collect();
        let each = [
            ("numerics", used.numerics.clone()),
            ("capability", used.capability.clone()),
            ("driver", used.driver.clone()),
            ("libraries", libraries.join(", ")),
            ("kernels", used.kernels.clone()),
        ];
        lines.extend(each.into_iter().filter(|(_, value)| !value.is_empty()));
    }
    if let Some(found) = found {
        lines.push(("found at", found.remote.clone()));
        let signer = found.signer.clone();
        let nobody = || "nobody: this store believes whoever may write there".into();
        lines.push(("signed by", signer.unwrap_or_else(nobody)));
        lines.push(("found on", clock::stamp(found.at_ms)));
    }
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

pub fn data(record: &Record, found: Option<&Found>) -> Value {
    json!({
        "schema": 1,
        "key": record.key,
        "kind": record.kind,
        "made_by": record.provenance,
        "found": found,
        "cost": record.cost,
        "outputs": record.outputs,
        "manifest": record.manifest,
    })
}

/// What it computed on: the devices that it named, the GPUs that it was given, or the processor.
pub fn device(origin: &Origin) -> String {
    if !origin.devices.is_empty() {
        return device::told(&origin.devices);
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for model in &origin.gpus {
        *counts.entry(model).or_default() += 1;
    }
    let gpus = counts.into_iter().map(|(model, n)| match n {
        1 => model.to_string(),
        n => format!("{n} × {model}"),
    });
    let gpus: Vec<String> = gpus.collect();
    match gpus.is_empty() {
        true => origin.cpu.clone(),
        false => gpus.join(", "),
    }
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
