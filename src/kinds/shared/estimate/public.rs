//! Shapes of well-known models, by their names on the hub, for plans on machines that do not have them. The numbers are those of
//! their `config.json` files.

use learn::config::{Config, Head};

/// Beginning of a name in lower case; hidden, layers, heads, heads of keys, width of a head, width between, vocabulary; whether the
/// embedding is the head.
type Shape = (&'static str, [usize; 7], bool);

/// The longest beginning that fits counts.
const SHAPES: &[Shape] = &[
    ("qwen2.5-0.5b", [896, 24, 14, 2, 64, 4864, 151_936], true),
    ("qwen2.5-1.5b", [1536, 28, 12, 2, 128, 8960, 151_936], true),
    ("qwen2.5-3b", [2048, 36, 16, 2, 128, 11_008, 151_936], true),
    ("qwen2.5-7b", [3584, 28, 28, 4, 128, 18_944, 152_064], false),
    (
        "qwen2.5-14b",
        [5120, 48, 40, 8, 128, 13_824, 152_064],
        false,
    ),
    ("qwen3-0.6b", [1024, 28, 16, 8, 128, 3072, 151_936], true),
    ("qwen3-1.7b", [2048, 28, 16, 8, 128, 6144, 151_936], true),
    ("qwen3-4b", [2560, 36, 32, 8, 128, 9728, 151_936], true),
    ("qwen3-8b", [4096, 36, 32, 8, 128, 12_288, 151_936], false),
    ("llama-3.2-1b", [2048, 16, 32, 8, 64, 8192, 128_256], true),
    ("llama-3.2-3b", [3072, 28, 24, 8, 128, 8192, 128_256], true),
    (
        "llama-3.1-8b",
        [4096, 32, 32, 8, 128, 14_336, 128_256],
        false,
    ),
    (
        "meta-llama-3-8b",
        [4096, 32, 32, 8, 128, 14_336, 128_256],
        false,
    ),
    (
        "meta-llama-3.1-8b",
        [4096, 32, 32, 8, 128, 14_336, 128_256],
        false,
    ),
    (
        "llama-3-8b-instruct-rr",
        [4096, 32, 32, 8, 128, 14_336, 128_256],
        false,
    ),
    ("mistral-7b", [4096, 32, 32, 8, 128, 14_336, 32_768], false),
    ("tars-1.5b", [1536, 28, 12, 2, 128, 8960, 151_936], true),
    ("tars-7b", [3584, 28, 28, 4, 128, 18_944, 152_064], false),
    (
        "grm-llama3-8b",
        [4096, 32, 32, 8, 128, 14_336, 128_257],
        true,
    ),
];

/// Of `ORG/NAME`, where the name begins like a well-known one.
pub fn config(repo: &str) -> Option<Config> {
    let name = repo.rsplit('/').next()?.to_lowercase();
    let fits = SHAPES.iter().filter(|(start, ..)| name.starts_with(start));
    let (_, shape, tied) = fits.max_by_key(|(start, ..)| start.len())?;
    let [
        hidden_size,
        layers,
        heads,
        kv_heads,
        head_dim,
        intermediate_size,
        vocab_size,
    ] = *shape;
    let head = if *tied { Head::Tied } else { Head::Untied };
    Some(Config {
        hidden_size,
        layers,
        heads,
        kv_heads,
        head_dim,
        intermediate_size,
        vocab_size,
        ..plain(head)
    })
}

/// A shape without the keys that decide no size.
fn plain(head: Head) -> Config {
    Config {
        family: learn::config::Family::Llama,
        head,
        vocab_size: 0,
        hidden_size: 0,
        intermediate_size: 0,
        layers: 0,
        heads: 1,
        kv_heads: 1,
        head_dim: 0,
        rms_norm_eps: 1e-6,
        rope_theta: 1e4,
        rope_scaling: learn::config::RopeScaling::None,
        max_position_embeddings: 0,
        initializer_range: 0.02,
        bos_token_id: serde_json::Value::Null,
        eos_token_id: serde_json::Value::Null,
        pad_token_id: serde_json::Value::Null,
    }
}
