//! Launches of the kernels' text as `compiled` has it: `shim.h` plays CUDA.
//!
//! Every launch runs under three orders of its threads and has to give the same bytes under each.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use super::buffer::{Arg, Buffer, Kind};
use super::cases;
use super::compiled::{compiled, compiler};
use super::declared::{Signature, signatures};
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
    /// Held by who launches: a library has one set of fibers.
    busy: Mutex<()>,
}

// SAFETY: the pointers are of a library that is never unloaded; who launches holds `busy`.
unsafe impl Send for Shim {}
// SAFETY: as above.
unsafe impl Sync for Shim {}

/// How the threads of a block follow each other: the next, the one before, 37 on.
const STRIDES: [usize; 3] = [1, usize::MAX, 37];

impl Shim {
    /// None where there is no C compiler, which is told.
    pub fn get(act: Kind, head: usize) -> Option<&'static Shim> {
        static LOADED: Mutex<BTreeMap<Variant, &OnceLock<Shim>>> = Mutex::new(BTreeMap::new());
        let variant = Variant { act, head };
        let mut loaded = LOADED.lock().unwrap_or_else(|p| p.into_inner());
        let own: &OnceLock<_> = loaded
            .entry(variant)
            .or_insert_with(|| Box::leak(Box::default()));
        // Who wants another variant does not wait for the compiler.
        drop(loaded);
        let compiler = compiler()?;
        Some(own.get_or_init(|| Shim::load(variant, &compiled(compiler, variant))))
    }

    /// One of its own, whose launches find out which of the barriers that they meet are needed.
    pub fn proving(act: Kind, head: usize) -> Option<Shim> {
        let library = compiled(compiler()?, Variant { act, head });
        // Loaded from the same file it would be the one that others launch with.
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("own.so");
        std::fs::copy(library, &own).unwrap();
        let mut shim = Shim::load(Variant { act, head }, &own);
        shim.proven = Some(Mutex::default());
        Some(shim)
    }

    pub fn proven(&self) -> BTreeSet<usize> {
        let proven = self.proven.as_ref().expect("it proves");
        proven.lock().unwrap().clone()
    }

    fn load(variant: Variant, library: &Path) -> Shim {
        let kernels = signatures(variant.act);
        let path = CString::new(library.to_str().unwrap()).unwrap();
        // SAFETY: the library is of `compiled`; it runs nothing when it is loaded, and stays.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null(), "{} loads", library.display());
        let symbol = |name: &CStr| {
            // SAFETY: `handle` is a library's.
            let at = unsafe { libc::dlsym(handle, name.as_ptr()) };
            assert!(!at.is_null(), "the library has {name:?}");
            at
        };
        let barriers = symbol(c"shim_barriers").cast::<c_int>();
        Shim {
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
            busy: Mutex::new(()),
        }
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
        let _busy = self.busy.lock().unwrap_or_else(|p| p.into_inner());
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
