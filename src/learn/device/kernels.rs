//! The CUDA kernels' text. It is compiled on the machine that runs it, by CUDA's NVRTC, for the GPU that is there: so there
//! is no generated text to keep in step, a head of any width has its kernels, and only the feature `cuda` needs NVIDIA's
//! libraries.
//!
//! What compiles it gives it all files by name, `all.cu` as the program, and the defines that `common.h` lists.
//!
//! The device's own operations are candle's plain ones; the kernels are launched by the tests, which play them on the CPU, and
//! by `bench/gpu`.

/// Name and text of every file, by name.
pub const FILES: &[(&str, &str)] = &[
    ("all.cu", include_str!("kernels/all.cu")),
    ("attention.cu", include_str!("kernels/attention.cu")),
    (
        "attention_bf16.cu",
        include_str!("kernels/attention_bf16.cu"),
    ),
    ("attention_f32.cu", include_str!("kernels/attention_f32.cu")),
    ("common.h", include_str!("kernels/common.h")),
    ("decode.cu", include_str!("kernels/decode.cu")),
    ("draw.cu", include_str!("kernels/draw.cu")),
    ("embed.cu", include_str!("kernels/embed.cu")),
    ("logits.cu", include_str!("kernels/logits.cu")),
    ("norm.cu", include_str!("kernels/norm.cu")),
    ("optim.cu", include_str!("kernels/optim.cu")),
    ("plain.cu", include_str!("kernels/plain.cu")),
    ("rope.cu", include_str!("kernels/rope.cu")),
    ("swiglu.cu", include_str!("kernels/swiglu.cu")),
];
