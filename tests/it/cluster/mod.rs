//! Nodes on other machines: the schedulers themselves, and whole runs on a cluster that is as faulty as a test says.

mod command;
mod doctor;
mod elsewhere;
mod lab;
mod packed;
mod ray;
mod silence;
mod slurm;

use pipe::engine::kind::Needs;
use pipe::engine::run::profile::{Partition, Profile};
use pipe::engine::run::scheduler::Order;
use std::path::{Path, PathBuf};

/// The profile `lab` with this text.
fn profile(folder: &Path, text: &str) -> Profile {
    let path = folder.join("lab.toml");
    std::fs::write(&path, text).unwrap();
    Profile::read(&path).unwrap()
}

/// An order for one attempt of a store in `folder`, that says hello.
fn order(folder: &Path, name: &str) -> Order {
    let place = folder.join("store/attempts").join(name).join("logs");
    std::fs::create_dir_all(&place).unwrap();
    Order {
        name: name.into(),
        attempts: vec![name.into()],
        words: ["echo", "it's", name].map(String::from).to_vec(),
        folder: place,
        cpus: 2,
        needs: Needs {
            gpus: 1,
            memory: Some(3 << 30),
            hours: Some(0.51),
            ..Needs::ALL_THREADS
        },
        partition: Some(Partition {
            name: "big".into(),
            gpus: 1,
            ..Partition::default()
        }),
    }
}

/// Where the script of an order is.
fn script(order: &Order) -> PathBuf {
    order.folder.join("job.sh")
}
