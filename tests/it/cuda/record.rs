//! The kernels' text and what `bench/ptx` compiled from it belong together.

use pipe::learn::device;
use pipe::learn::device::kernels::{self, Variant};
use pipe::learn::device::launch::{self, Choice};
use serde_json::Value;
use std::path::Path;

#[test]
fn the_ptx_that_was_recorded_is_of_this_text() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/ptx.d/digests.json");
    let recorded: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    for (name, text) in kernels::FILES {
        digest.update(format!("{name} {}\n", text.len()).as_bytes());
        digest.update(text.as_bytes());
    }
    let own: String = digest
        .finish()
        .as_ref()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(
        recorded["source"], own,
        "the kernels changed: `bench/ptx --record` compiles them for every architecture and writes what came out"
    );
}

/// The binary has every file of the folder, in their order.
#[test]
fn no_file_of_the_kernels_is_left_out() {
    let mut files: Vec<(String, String)> = std::fs::read_dir(super::compiled::folder())
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_string();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    let own: Vec<(String, String)> = kernels::FILES
        .iter()
        .map(|(name, text)| (name.to_string(), text.to_string()))
        .collect();
    assert!(
        own == files,
        "learn/device/kernels.rs lists what the folder has"
    );
}

/// What a record tells of the kernels is of their text and of how it is compiled, and nothing where they are not used.
#[test]
fn the_digest_of_the_kernels_is_of_text_and_options() {
    let digest = |options: &[&str]| {
        let mut hasher = blake3::Hasher::new();
        for option in options {
            hasher.update(format!("{option}\n").as_bytes());
        }
        for (name, text) in kernels::FILES {
            hasher.update(format!("{name} {}\n", text.len()).as_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    };
    assert_eq!(kernels::digest(), digest(&kernels::OPTIONS));
    assert_ne!(kernels::digest(), digest(&[]));
    assert_eq!(device::kernels_used(), kernels::digest());
    let plain = launch::by(Choice::Plain, device::kernels_used);
    assert_eq!(plain, "");
    // All that the compiler is told is in it, or beside it in a record.
    let bf16 = Variant {
        bf16: true,
        head: 64,
    };
    let told = ["--gpu-architecture=compute_90", "--std=c++17", "-DHEAD=64"];
    assert_eq!(bf16.options((9, 0)), told);
}
