//! Our side of the benchmarks: a process that does one unit of work for every line it reads, and times it itself.
//!
//! `side WHAT WORK`: WHAT is `train`, `rollout`, `attack`, `grpo`, `dpo`, `memory`, `logits` or `parity`, WORK is JSON with the shapes. The first line
//! out says what stands ready; every line in names a unit and is answered by a line of JSON. The scripts beside this
//! folder start it, beside the library that it is compared with. Threads as in RAYON_NUM_THREADS.

mod attack;
mod dpo;
mod driven;
mod grpo;
mod logits;
mod memory;
mod parity;
mod peak;
mod rollout;
mod train;
mod turns;
mod work;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    // `cargo bench` passes --bench, `cargo test --benches` nothing: neither is a caller who takes turns.
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [what, work] = args.as_slice() else {
        eprintln!("the scripts in bench/ start this side: see bench/README.md");
        return Ok(());
    };
    pipe::base::memory::keep_freed();
    match what.as_str() {
        "train" => train::serve(serde_json::from_str(work)?),
        "attack" => attack::serve(serde_json::from_str(work)?),
        "rollout" => rollout::serve(serde_json::from_str(work)?),
        "grpo" => grpo::serve(serde_json::from_str(work)?),
        "dpo" => dpo::serve(serde_json::from_str(work)?),
        "logits" => logits::write(serde_json::from_str(work)?),
        "parity" => parity::write(serde_json::from_str(work)?),
        "memory" => memory::serve(serde_json::from_str(work)?),
        other => bail!("no work is called {other}"),
    }
}
