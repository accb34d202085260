//! How many GPUs this machine shows to its programs, and what they are called. Knows of none whether somebody uses it.

use std::fs;

/// As many as have a device file of NVIDIA's driver, or stand in AMD's topology.
pub fn count() -> usize {
    let nvidia = names("/dev").filter(|name| {
        let number = name.strip_prefix("nvidia").unwrap_or_default();
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    });
    const NODES: &str = "/sys/class/kfd/kfd/topology/nodes";
    // A node without an id is a processor.
    let amd = names(NODES).filter(|name| {
        let id = fs::read_to_string(format!("{NODES}/{name}/gpu_id")).unwrap_or_default();
        !["", "0"].contains(&id.trim())
    });
    nvidia.count() + amd.count()
}

/// Their models, as NVIDIA's driver tells them; of others nothing but that they are there.
pub fn models() -> Vec<String> {
    const DRIVER: &str = "/proc/driver/nvidia/gpus";
    let told = names(DRIVER).filter_map(|name| {
        let text = fs::read_to_string(format!("{DRIVER}/{name}/information")).ok()?;
        let model = text.lines().find_map(|line| line.strip_prefix("Model:"))?;
        Some(model.trim().to_string())
    });
    let mut models: Vec<String> = told.collect();
    models.sort();
    models.resize(models.len().max(count()), "GPU".into());
    models
}

/// Names in a folder; none where it is not there.
fn names(folder: &str) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}
