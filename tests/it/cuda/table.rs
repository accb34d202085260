//! The table of launches and the kernels' text say the same, and the table has room for what is large.

use super::buffer::Kind;
use super::declared::signatures;
use pipe::learn::device::kernels::{self, GROUP, KERNELS, PAGE, PART, TILE, Variant};
use serde_json::json;
use std::collections::BTreeSet;

#[test]
fn every_kernel_is_in_the_table_with_its_threads() {
    for act in [Kind::Bf16, Kind::F32] {
        let declared = signatures(act);
        let own: BTreeSet<&str> = KERNELS.iter().map(|kernel| kernel.name).collect();
        let theirs: BTreeSet<&str> = declared.keys().map(String::as_str).collect();
        assert_eq!(own, theirs);
        for kernel in KERNELS {
            let threads = declared[kernel.name].threads as u32;
            assert_eq!(kernel.threads, threads, "{}", kernel.name);
        }
    }
    keep();
}

/// For `bench/gpu`, which launches by the same table.
fn keep() {
    let Some(folder) = std::env::var_os("PIPE_KERNEL_CASES").map(std::path::PathBuf::from) else {
        return;
    };
    let each = KERNELS.iter().map(|kernel| {
        let a_block = kernel.counted.map(|(_, n)| n);
        (
            kernel.name.to_string(),
            json!({"threads": kernel.threads, "a_block": a_block}),
        )
    });
    let table: serde_json::Map<String, serde_json::Value> = each.collect();
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("table"), json!(table).to_string()).unwrap();
}

#[test]
fn the_text_cuts_as_the_table_does() {
    let text = kernels::text();
    let defined = |name: &str| -> usize {
        let (_, rest) = text.split_once(&format!("#define {name} ")).unwrap();
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    for (name, own) in [
        ("TILE", TILE),
        ("PART", PART),
        ("PAGE", PAGE),
        ("GROUP", GROUP),
    ] {
        assert_eq!(defined(name), own, "{name}");
    }
    assert!(
        !text.contains("extern __shared__"),
        "no block's size is left to the launch"
    );
    assert!(!text.contains("#include"), "every file is in its place");
    for kernel in KERNELS {
        assert!(
            text.contains(&format!(") {}(", kernel.name)),
            "{}",
            kernel.name
        );
    }
}

/// Qwen2.5-1.5B at 16,384 tokens, and 28,300 rows of its logits; AdamW on its table of embeddings, and on a matrix beyond 2^32.
#[test]
fn grids_have_room_for_large_models() {
    let grid = |name: &str, counts| kernels::kernel(name).grid(counts);
    let (tokens, hidden, vocabulary) = (16_384, 1536, 151_936);
    assert_eq!(grid("rms_norm", [tokens, 1, 1]), Some([16_384, 1, 1]));
    assert_eq!(
        grid("rms_norm_backward", [tokens, 1, 1]),
        Some([1024, 1, 1])
    );
    assert_eq!(grid("turn_heads", [tokens, 16, 1]), Some([16_384, 4, 1]));
    assert_eq!(
        grid("flash_forward", [tokens / TILE, 12, 1]),
        Some([256, 12, 1])
    );
    assert_eq!(
        grid("logit_gradient", [28_300, vocabulary, 1]),
        Some([28_300, 75, 1])
    );
    let table = vocabulary * hidden;
    assert_eq!(
        grid("adamw", [table, 1, 1]),
        Some([(table / 256) as u32, 1, 1])
    );
    assert_eq!(
        grid("adamw", [(1 << 32) + 1, 1, 1]),
        Some([(1 << 24) + 1, 1, 1])
    );
    assert_eq!(grid("square_parts", [table, 1, 1]), Some([14_244, 1, 1]));
    // More than CUDA has along a side is none.
    assert_eq!(grid("adamw", [1 << 40, 1, 1]), None);
    assert_eq!(grid("flash_forward", [1, 65_536, 1]), None);
}

#[test]
fn heads_have_kernels_where_they_fit() {
    let exists = |bf16, head| Variant { bf16, head }.exists();
    for head in [16, 32, 64, 96, 128] {
        assert!(exists(true, head) && exists(false, head), "{head}");
    }
    assert!(exists(false, 6) && !exists(true, 6) && !exists(true, 8));
    assert!(!exists(false, 7) && !exists(false, 256) && !exists(true, 0));
    let f32_64 = Variant {
        bf16: false,
        head: 64,
    };
    assert_eq!(f32_64.defines(), ["-DACT_F32", "-DHEAD=64"]);
    assert_eq!(f32_64.to_string(), "f32-64");
}
