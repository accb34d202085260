//! The kernels' text compiled by the C compiler of this machine, and their launches: `shim.h` plays CUDA.
//!
//! Every launch runs under three orders of its threads and has to give the same bytes under each.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use super::buffer::{Arg, Buffer, Kind};
use super::cases;
use super::declared::{Signature, signatures};
use crate::skipped::skip;
use pipe::learn::device::kernels;

/// As which the text is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variant {
    pub act: Kind,
    pub head: usize,
}

impl Variant {
    pub fn compiled(self) -> kernels::Variant {
        kernels::Variant {
            bf16: self.act == Kind::Bf16,
            head: self.head,
        }
    }
}

/// The grid of a launch, as a device has it.
pub fn grid_of(name: &str, counts: [usize; 3]) -> [usize; 3] {
    let grid = kernels::kernel(name).grid(counts);
    grid.expect("a grid has room").map(|blocks| blocks as usize)
}

type Launch = unsafe extern "C" fn(
    *const c_char,
    *mut *mut c_void,
    *const c_uint,
    c_uint,
    c_ulonglong,
    c_ulonglong,
) -> *const c_char;

/// One variant, loaded.
pub struct Shim {
    pub variant: Variant,
    pub kernels: BTreeMap<String, Signature>,
    launch: Launch,
    stride: *mut c_int,
    without: *mut c_int,
    met: *mut u8,
    /// How many barriers the text has.
    pub barriers: usize,
    /// Barriers without which a launch gave other bytes, where that is asked.
    proven: Option<Mutex<BTreeSet<usize>>>,
}

// SAFETY: the pointers are of a library that is never unloaded; who launches holds `BUSY`.
unsafe impl Send for Shim {}
// SAFETY: as above.
unsafe impl Sync for Shim {}

/// A library has one set of fibers.
static BUSY: Mutex<()> = Mutex::new(());

/// How the threads of a block follow each other: the next, the one before, 37 on.
const STRIDES: [usize; 3] = [1, usize::MAX, 37];

impl Shim {
    /// None where there is no C compiler, which is told.
    pub fn get(act: Kind, head: usize) -> Option<&'static Shim> {
        static LOADED: Mutex<BTreeMap<Variant, &'static Shim>> = Mutex::new(BTreeMap::new());
        let variant = Variant { act, head };
        let mut loaded = LOADED.lock().unwrap_or_else(|p| p.into_inner());
        if let Some(shim) = loaded.get(&variant) {
            return Some(shim);
        }
        let shim: &Shim = Box::leak(Box::new(Shim::load(variant)?));
        loaded.insert(variant, shim);
        Some(shim)
    }

    /// One of its own, whose launches find out which of the barriers that they meet are needed.
    pub fn proving(act: Kind, head: usize) -> Option<Shim> {
        let mut shim = Shim::load(Variant { act, head })?;
        shim.proven = Some(Mutex::default());
        Some(shim)
    }

    pub fn proven(&self) -> BTreeSet<usize> {
        let proven = self.proven.as_ref().expect("it proves");
        proven.lock().unwrap().clone()
    }

    fn load(variant: Variant) -> Option<Shim> {
        let compiler = compiler()?;
        let kernels = signatures(variant.act);
        let dir = tempfile::tempdir().unwrap();
        let (source, library) = (dir.path().join("all.c"), dir.path().join("all.so"));
        std::fs::write(&source, program(&kernels)).unwrap();
        let mut command = Command::new(compiler);
        command.args(["-std=gnu11", "-O2", "-w", "-fPIC", "-shared"]);
        command.arg("-ffp-contract=off");
        command.args(variant.compiled().defines());
        command.arg("-o").args([&library, &source]).arg("-lm");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{compiler}: {said}");
        let path = CString::new(library.to_str().unwrap()).unwrap();
        // SAFETY: the library was made above; it runs nothing when it is loaded, and stays.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null(), "{} loads", library.display());
        let symbol = |name: &CStr| {
            // SAFETY: `handle` is a library's.
            let at = unsafe { libc::dlsym(handle, name.as_ptr()) };
            assert!(!at.is_null(), "the library has {name:?}");
            at
        };
        let barriers = symbol(c"shim_barriers").cast::<c_int>();
        Some(Shim {
            variant,
            kernels,
            // SAFETY: `program` defines it with this signature.
            launch: unsafe { std::mem::transmute::<*mut c_void, Launch>(symbol(c"shim_launch")) },
            stride: symbol(c"shim_stride").cast(),
            without: symbol(c"shim_without").cast(),
            met: symbol(c"shim_met").cast(),
            // SAFETY: an int of the library.
            barriers: unsafe { *barriers } as usize,
            proven: None,
        })
    }

    pub fn act(&self, values: &[f64]) -> Buffer {
        Buffer::of(self.variant.act, values)
    }

    pub fn unwritten_act(&self, len: usize) -> Buffer {
        Buffer::unwritten(self.variant.act, len)
    }

    /// Runs the kernel for that many of what it counts, once for every order.
    pub fn launch(&self, name: &str, counts: [usize; 3], arguments: &[Arg]) {
        let grid = grid_of(name, counts);
        let signature = &self.kernels[name];
        signature.expect(name, arguments, self.variant.act);
        let buffers: Vec<&Buffer> = arguments.iter().filter_map(Arg::buffer).collect();
        let contents = || -> Vec<Vec<u8>> { buffers.iter().map(|b| b.bytes()).collect() };
        let set = |all: &[Vec<u8>]| {
            let each = buffers.iter().zip(all);
            each.for_each(|(buffer, bytes)| buffer.set(bytes));
        };
        let before = contents();
        let run = |stride: usize, without: Option<usize>| {
            set(&before);
            let words: Vec<u64> = arguments.iter().map(|a| a.word()).collect();
            let blocks = 0..grid.iter().product::<usize>() as u64;
            // SAFETY: the arguments are as the kernel declares them.
            let told = unsafe { self.run(name, grid, &words, blocks, stride, without) };
            (told, contents())
        };
        let right = run(STRIDES[0], None);
        assert_eq!(right.0, None, "{name}");
        for &stride in &STRIDES[1..] {
            let same = run(stride, None) == right;
            assert!(
                same,
                "{name}: the order of its threads changes what it gives"
            );
        }
        if let Some(proven) = &self.proven {
            let mut proven = proven.lock().unwrap();
            for barrier in self.met() {
                let other = |&stride: &usize| run(stride, Some(barrier)) != right;
                if !proven.contains(&barrier) && STRIDES.iter().any(other) {
                    proven.insert(barrier);
                }
            }
            set(&right.1);
        }
        for buffer in &buffers {
            let kind = buffer.kind;
            assert!(buffer.guarded(), "{name} writes beside a {kind:?}");
        }
        cases::keep(
            self.variant,
            name,
            grid,
            signature,
            arguments,
            &before,
            &right.1,
        );
    }

    /// Barriers of the last launch.
    fn met(&self) -> Vec<usize> {
        // SAFETY: the library has as many.
        let met = unsafe { std::slice::from_raw_parts(self.met, self.barriers) };
        (0..self.barriers).filter(|&b| met[b] != 0).collect()
    }

    /// Some blocks of a grid, counted x first, without one of the barriers; arguments are words. What is wrong, if anything.
    ///
    /// # Safety
    /// The words are what the kernel declares, and those that are addresses lead to what it touches.
    pub unsafe fn run(
        &self,
        name: &str,
        grid: [usize; 3],
        words: &[u64],
        blocks: Range<u64>,
        stride: usize,
        without: Option<usize>,
    ) -> Option<String> {
        let threads = self.kernels[name].threads;
        let name = CString::new(name).unwrap();
        let grid = grid.map(|n| c_uint::try_from(n).unwrap());
        let address = |word: &u64| std::ptr::from_ref(word).cast_mut().cast();
        let mut at: Vec<*mut c_void> = words.iter().map(address).collect();
        let count = blocks.end - blocks.start;
        let _busy = BUSY.lock().unwrap_or_else(|p| p.into_inner());
        // SAFETY: the lock is held; the caller answers for the arguments.
        let told = unsafe {
            *self.stride = stride.min(threads - 1) as c_int;
            *self.without = without.map_or(-1, |b| b as c_int);
            self.met.write_bytes(0, self.barriers);
            let (threads, at) = (threads as c_uint, at.as_mut_ptr());
            (self.launch)(
                name.as_ptr(),
                at,
                grid.as_ptr(),
                threads,
                blocks.start,
                count,
            )
        };
        // SAFETY: null, or a literal of the library.
        (!told.is_null()).then(|| {
            unsafe { CStr::from_ptr(told) }
                .to_str()
                .unwrap()
                .to_string()
        })
    }
}

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/learn/device/kernels")
}

/// The C program of all kernels: the shim, their text, and a call of each with arguments by address.
fn program(kernels: &BTreeMap<String, Signature>) -> String {
    let shim = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cuda/shim.h");
    let all = folder().join("all.cu");
    let mut text =
        format!("#include {shim:?}\n#include {all:?}\nint shim_barriers = __COUNTER__;\n");
    let mut table = String::new();
    for (name, signature) in kernels {
        let arguments = signature.parameters.iter().enumerate();
        let arguments: Vec<String> = arguments.map(|(i, of)| format!("*({of}*)a[{i}]")).collect();
        let arguments = arguments.join(", ");
        text += &format!("static void call_{name}(void **a) {{ {name}({arguments}); }}\n");
        table += &format!(
            "  if (!strcmp(name, \"{name}\")) return shim_run(call_{name}, a, grid, threads, first, count);\n"
        );
    }
    text + "const char *shim_launch(const char *name, void **a, const unsigned *grid, unsigned threads,\n\
            \x20                       unsigned long long first, unsigned long long count) {\n"
        + &table
        + "  return \"no such kernel\";\n}\n"
}

/// The C compiler, looked for once; that there is none is told by every test that wants it.
fn compiler() -> Option<&'static str> {
    static FOUND: OnceLock<Option<&str>> = OnceLock::new();
    let answers = |name: &&str| {
        let told = Command::new(name).arg("--version").output();
        told.is_ok_and(|output| output.status.success())
    };
    let found = FOUND.get_or_init(|| ["gcc", "cc", "clang"].into_iter().find(answers));
    if found.is_none() {
        skip("C compiler");
    }
    *found
}
