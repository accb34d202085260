//! What comes from outside, a little wrong: every surface is fed its seeds and a few hundred changes of each. Fails on a panic, on an
//! input that never ends, and on memory beyond a bound. `bench/fuzz` feeds the same functions for as long as one likes, and so does
//! `PIPE_FUZZ=1000`, which makes a thousand times as many changes.

mod bounds;
mod mutate;
mod paths;
mod surfaces;
mod templates;

use mutate::Mutator;
use pipe::base::memory;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use surfaces::Surface;

/// The most memory that one small input may take.
const MOST_MEMORY: usize = 256 << 20;

/// No input takes a hundredth of it.
const NEVER_ENDS: Duration = Duration::from_secs(60);

#[test]
fn a_recipe() {
    feed("recipe", 600);
}

#[test]
fn what_the_command_line_adds_to_a_recipe() {
    feed("arguments", 600);
}

#[test]
fn a_safetensors_file() {
    feed("tensors", 600);
}

#[test]
fn a_config_of_a_model() {
    feed("config", 600);
}

#[test]
fn an_index_of_shards() {
    feed("index", 200);
}

#[test]
fn a_config_of_an_adapter() {
    feed("adapter", 200);
}

#[test]
fn targets_of_an_attack() {
    feed("targets", 300);
}

#[test]
fn synonyms_of_an_attack() {
    feed("synonyms", 300);
}

#[test]
fn a_reply_of_an_attacker_or_a_judge() {
    feed("reply", 600);
}

#[test]
fn an_archive_of_rainbow_teaming() {
    feed("archive", 300);
}

#[test]
fn a_prompt_of_which_copies_are_made() {
    feed("copies", 300);
}

#[test]
fn a_tokenizer() {
    feed("tokenizer", 400);
}

#[test]
fn a_chat_template() {
    feed("template", 400);
}

#[test]
fn a_table_of_prompts() {
    feed("table", 600);
}

#[test]
fn results_that_were_made_elsewhere() {
    feed("made", 300);
}

#[test]
fn a_parquet_file() {
    feed("parquet", 300);
}

#[test]
fn rows_of_an_artifact() {
    feed("rows", 300);
}

#[test]
fn a_record() {
    feed("record", 600);
}

#[test]
fn a_journal() {
    feed("journal", 600);
}

#[test]
fn what_a_worker_is_told() {
    feed("attempt", 400);
}

#[test]
fn a_mark_of_a_checkpoint() {
    feed("checkpoint", 300);
}

#[test]
fn a_part_of_a_remote_s_index() {
    feed("pack", 600);
}

#[test]
fn answers_that_somebody_shares() {
    feed("answers", 300);
}

#[test]
fn where_a_remote_is_named() {
    feed("remotes", 600);
}

/// Feeds all seeds of a surface and as many changes of them.
fn feed(name: &str, changes: usize) {
    let times = std::env::var_os("PIPE_FUZZ").map(|times| {
        let times = times.to_str().and_then(|t| t.parse().ok());
        times.expect("PIPE_FUZZ is a number")
    });
    let times: usize = times.unwrap_or(1);
    let changes = changes * times;
    let surface = surfaces::ALL.iter().find(|s| s.name == name);
    let Surface { run, .. } = *surface.expect("the surface is in the table");
    let seeds = seeds(name);
    let (told, heard) = channel();
    let thread = std::thread::spawn(move || {
        let mut mutator = Mutator::new(seeds.clone());
        let changed = (0..changes).map(|_| mutator.next());
        for input in seeds.into_iter().chain(changed) {
            let _ = told.send(input.clone());
            let ((), peak) = memory::peak(|| run(&input));
            assert!(
                peak <= MOST_MEMORY,
                "{peak} bytes of memory for {}",
                shown(&input)
            );
        }
    });
    let mut last = vec![];
    loop {
        match heard.recv_timeout(NEVER_ENDS) {
            Ok(input) => last = input,
            Err(RecvTimeoutError::Timeout) => panic!("{name} does not end with {}", shown(&last)),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    assert!(thread.join().is_ok(), "{name} fails on {}", shown(&last));
}

fn shown(input: &[u8]) -> String {
    format!(
        "{:?}",
        String::from_utf8_lossy(&input[..input.len().min(4000)])
    )
}

/// The files of a surface's folder, sorted by name.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/fuzz/seeds")
        .join(name);
    let entries = std::fs::read_dir(&folder).expect("a surface has a folder of seeds");
    let mut files: Vec<_> = entries.map(|e| e.expect("it is readable").path()).collect();
    files.sort();
    let seeds: Vec<_> = files
        .iter()
        .map(|f| std::fs::read(f).expect("it is readable"))
        .collect();
    assert!(!seeds.is_empty(), "{name} has seeds");
    seeds
}

#[test]
fn every_surface_has_a_target_and_seeds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for surface in surfaces::ALL {
        let target = format!("bench/fuzz/fuzz_targets/{}.rs", surface.name);
        let text = std::fs::read_to_string(root.join(&target)).expect(&target);
        let call = format!("surfaces::{}(data)", surface.name);
        assert!(text.contains(&call), "{target} does not call {call}");
        seeds(surface.name);
    }
}
