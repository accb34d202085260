//! Launches as files, for `bench/gpu` to repeat on a GPU: where `PIPE_KERNEL_CASES` names a folder, every launch of these
//! tests is kept there with what it read and what it gave.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::buffer::{Arg, Buffer, Kind};
use super::declared::Signature;
use super::shim::Variant;
use serde_json::{Value, json};

/// A file `NNN.json` says what was launched; `NNN.bin` has the bytes of all buffers before, then after.
pub fn keep(
    variant: Variant,
    name: &str,
    grid: [usize; 3],
    signature: &Signature,
    arguments: &[Arg],
    before: &[Vec<u8>],
    after: &[Vec<u8>],
) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let Some(folder) = std::env::var_os("PIPE_KERNEL_CASES").map(PathBuf::from) else {
        return;
    };
    let act = match variant.act {
        Kind::F32 => "f32",
        _ => "bf16",
    };
    // One buffer may be two arguments.
    let mut seen: Vec<*const Buffer> = vec![];
    let mut buffers = vec![];
    let mut given = 0;
    let arguments: Vec<Value> = arguments
        .iter()
        .map(|argument| match *argument {
            Arg::Buffer(buffer) => {
                given += 1;
                let at = seen.iter().position(|&b| std::ptr::eq(b, buffer));
                let at = at.unwrap_or_else(|| {
                    seen.push(buffer);
                    buffers.push((given - 1, buffer.kind, buffer.count));
                    seen.len() - 1
                });
                json!({"buffer": at})
            }
            Arg::Null => json!({"null": true}),
            Arg::I32(x) => json!({"i32": x}),
            Arg::I64(x) => json!({"i64": x}),
            Arg::F32(x) => json!({"f32": x}),
            Arg::F64(x) => json!({"f64": x}),
        })
        .collect();
    let kinds: Vec<Value> = buffers
        .iter()
        .map(|&(_, kind, len)| json!({"kind": format!("{kind:?}").to_lowercase(), "len": len}))
        .collect();
    let case = json!({
        "variant": format!("{act}-{}", variant.head),
        "kernel": name,
        "grid": grid,
        "threads": signature.threads,
        "arguments": arguments,
        "buffers": kinds,
    });
    let halves = [before, after];
    let bytes: Vec<u8> = halves
        .iter()
        .flat_map(|all| buffers.iter().flat_map(|&(i, ..)| all[i].iter().copied()))
        .collect();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{number:03}.bin")), bytes).unwrap();
    std::fs::write(folder.join(format!("{number:03}.json")), case.to_string()).unwrap();
}
