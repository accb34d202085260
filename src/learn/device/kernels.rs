//! The CUDA kernels' text. It is compiled on the machine that runs it, by CUDA's NVRTC, for the GPU that is there: so there
//! is no generated text to keep in step, a head of any width has its kernels, and only the feature `cuda` needs NVIDIA's
//! libraries.
//!
//! What compiles it gives it all files by name, `all.cu` as the program, and the defines that `common.h` lists.
//!
//! `KERNELS` says how each is launched, for everybody who does: `launch` on a GPU, and the tests, which play them on the CPU.

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

/// What the compiler is told whatever the variant and the GPU.
pub const OPTIONS: [&str; 1] = ["--std=c++17"];

/// Of how all kernels are compiled and of their text: the compiler's options, then names, lengths and bytes in the order of `FILES`. What
/// it is told besides is told elsewhere: the GPU's capability, the width of a head, which is the model's, and the number type of
/// activations in the name of the numerics.
pub fn digest() -> String {
    let mut hasher = blake3::Hasher::new();
    for option in OPTIONS {
        hasher.update(format!("{option}\n").as_bytes());
    }
    for (name, text) in FILES {
        hasher.update(format!("{name} {}\n", text.len()).as_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// The program with its files in their places, for a compiler that is given one text.
pub fn text() -> String {
    let mut text = String::new();
    include("all.cu", &mut text);
    text
}

fn include(name: &str, text: &mut String) {
    let file = FILES.iter().find(|(own, _)| *own == name);
    let (_, own) = file.expect("a file includes one of the list");
    for line in own.lines() {
        let included = line.strip_prefix("#include \"");
        match included.and_then(|rest| rest.strip_suffix('"')) {
            Some(name) => include(name, text),
            None => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
}

/// As what the text is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Variant {
    /// Activations are bf16, or f32.
    pub bf16: bool,
    /// Numbers of a head.
    pub head: usize,
}

impl Variant {
    /// For kernels that know no heads: the width that most models have. So there are up to two texts more to compile for a model of
    /// another: those of activations in bf16 and in f32.
    pub fn of_rows(bf16: bool) -> Variant {
        Variant { bf16, head: 128 }
    }

    /// Whether heads of this width have kernels: those of a multiple of the tensor cores' 16, up to what a block's shared memory
    /// holds; in f32 any that has two halves.
    pub fn exists(self) -> bool {
        let step = if self.bf16 { 16 } else { 2 };
        self.head > 0 && self.head <= 128 && self.head.is_multiple_of(step)
    }

    /// For the compiler.
    pub fn defines(self) -> Vec<String> {
        let head = format!("-DHEAD={}", self.head);
        match self.bf16 {
            true => vec![head],
            false => vec!["-DACT_F32".into(), head],
        }
    }

    /// All that the compiler is told, for GPUs of this compute capability.
    pub fn options(self, (major, minor): (i32, i32)) -> Vec<String> {
        let gpu = format!("--gpu-architecture=compute_{major}{minor}");
        let own = OPTIONS.map(String::from);
        [vec![gpu], own.to_vec(), self.defines()].concat()
    }
}

impl std::fmt::Display for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let act = if self.bf16 { "bf16" } else { "f32" };
        write!(f, "{act}-{}", self.head)
    }
}

/// How a kernel is launched. What its blocks share is declared in its text: none takes shared memory besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    pub name: &'static str,
    /// Threads of a block.
    pub threads: u32,
    /// What is counted along the three sides of the grid, and how many of it a block has.
    pub counted: [(&'static str, usize); 3],
}

/// What CUDA takes along each side of a grid.
const MOST_BLOCKS: [usize; 3] = [i32::MAX as usize, 65_535, 65_535];

impl Kernel {
    /// Blocks for that many of what is counted. None where a grid has no room for them.
    pub fn grid(&self, counts: [usize; 3]) -> Option<[u32; 3]> {
        let mut grid = [0; 3];
        let sides = counts.into_iter().zip(self.counted).zip(MOST_BLOCKS);
        for (side, ((count, (_, a_block)), most)) in grid.iter_mut().zip(sides) {
            let blocks = Some(count.div_ceil(a_block)).filter(|blocks| *blocks <= most)?;
            *side = u32::try_from(blocks).ok()?;
        }
        Some(grid)
    }
}

/// Rows of a block that sums over them: its sums are in their order, and the blocks' in theirs.
pub const ROWS: usize = 16;
/// Rows of a tile of attention.
pub const TILE: usize = 64;
/// Numbers whose squares are one partial sum.
pub const PART: usize = 16_384;
/// Positions of a page of the cache.
pub const PAGE: usize = 256;
/// Query heads that share a pass over a page.
pub const GROUP: usize = 8;

const fn along_x(name: &'static str, threads: u32, x: (&'static str, usize)) -> Kernel {
    along_xy(name, threads, x, ("", 1))
}

const fn along_xy(
    name: &'static str,
    threads: u32,
    x: (&'static str, usize),
    y: (&'static str, usize),
) -> Kernel {
    Kernel {
        name,
        threads,
        counted: [x, y, ("", 1)],
    }
}

const ROW: (&str, usize) = ("rows", 1);
const NUMBER: (&str, usize) = ("numbers", 256);

/// Every kernel, in the order of the files in `all.cu`.
pub const KERNELS: &[Kernel] = &[
    along_x("rms_norm", 256, ROW),
    along_x("rms_norm_backward", 256, ("rows", ROWS)),
    along_x("add_parts", 256, ("columns", 256)),
    along_xy("turn_heads", 128, ROW, ("heads of q, k, v", 4)),
    along_xy("turn_heads_cached", 128, ROW, ("heads of q, k, v", 4)),
    along_x("turn_heads_backward", 128, ("rows", ROWS)),
    along_xy("flash_delta", 128, ROW, ("heads", 4)),
    along_xy("flash_forward", 128, ("tiles", 1), ("heads", 1)),
    along_xy("flash_backward_queries", 128, ("tiles", 1), ("heads", 1)),
    along_xy("flash_backward_keys", 128, ("tiles", 1), ("key heads", 1)),
    along_x("swiglu", 256, ROW),
    along_x("swiglu_backward", 256, ROW),
    along_x("logit_stats", 512, ROW),
    along_xy("logit_gradient", 256, ROW, ("vocabulary", 2048)),
    along_x("embed", 256, ROW),
    along_xy("embed_backward", 256, ("ids", 1), ("columns", 256)),
    along_x("square_parts", 256, ("numbers", PART)),
    along_x("square_sum", 256, ("sums", 1)),
    along_x("adamw", 256, NUMBER),
    Kernel {
        name: "decode_pages",
        threads: 128,
        counted: [ROW, ("groups of heads", 1), ("pages", 1)],
    },
    along_xy("decode_merge", 128, ROW, ("heads", 1)),
    along_x("draw", 512, ROW),
    along_x("to_activations", 256, NUMBER),
    along_x("of_activations", 256, NUMBER),
    along_x("add_to", 256, NUMBER),
];

/// Panics where there is none of this name.
pub fn kernel(name: &str) -> &'static Kernel {
    let found = KERNELS.iter().find(|kernel| kernel.name == name);
    found.unwrap_or_else(|| panic!("there is a kernel {name}"))
}
