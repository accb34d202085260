//! What a launch reads and writes: numbers between guards, and arguments.

use std::cell::Cell;
use std::ffi::c_void;

/// What a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    F32,
    Bf16,
    U32,
    F64,
}

impl Kind {
    pub fn bytes(self) -> usize {
        match self {
            Kind::Bf16 => 2,
            Kind::F32 | Kind::U32 => 4,
            Kind::F64 => 8,
        }
    }
}

/// Numbers in memory that a kernel reads or writes, between two guards.
pub struct Buffer {
    pub kind: Kind,
    pub count: usize,
    words: Box<[Cell<u128>]>,
}

/// Words of 16 bytes before and after.
const GUARD: usize = 8;
const GUARDED: u128 = 0xa5a5_5a5a_a5a5_5a5a_1234_5678_9abc_def0;

impl Buffer {
    /// All bits set: no number of any kind that a kernel would have written.
    pub fn unwritten(kind: Kind, count: usize) -> Buffer {
        let within = (count * kind.bytes()).div_ceil(16);
        let mut words = vec![Cell::new(GUARDED); within + 2 * GUARD];
        words[GUARD..GUARD + within].fill(Cell::new(u128::MAX));
        Buffer {
            kind,
            count,
            words: words.into(),
        }
    }

    pub fn zeros(kind: Kind, count: usize) -> Buffer {
        Buffer::of(kind, &vec![0.0; count])
    }

    /// Rounded to the kind.
    pub fn of(kind: Kind, values: &[f64]) -> Buffer {
        let buffer = Buffer::unwritten(kind, values.len());
        let mut bytes = Vec::with_capacity(values.len() * kind.bytes());
        for &x in values {
            match kind {
                Kind::F32 => bytes.extend((x as f32).to_le_bytes()),
                Kind::Bf16 => bytes.extend(bf16(x as f32).to_le_bytes()),
                Kind::U32 => bytes.extend((x as u32).to_le_bytes()),
                Kind::F64 => bytes.extend(x.to_le_bytes()),
            }
        }
        buffer.set(&bytes);
        buffer
    }

    pub fn ids(values: &[usize]) -> Buffer {
        let values: Vec<f64> = values.iter().map(|&x| x as f64).collect();
        Buffer::of(Kind::U32, &values)
    }

    pub fn values(&self) -> Vec<f64> {
        let bytes = self.bytes();
        let (twos, fours, eights) = (
            bytes.as_chunks().0,
            bytes.as_chunks().0,
            bytes.as_chunks().0,
        );
        match self.kind {
            Kind::F32 => fours
                .iter()
                .map(|&b| f64::from(f32::from_le_bytes(b)))
                .collect(),
            Kind::U32 => fours
                .iter()
                .map(|&b| f64::from(u32::from_le_bytes(b)))
                .collect(),
            Kind::F64 => eights.iter().map(|&b| f64::from_le_bytes(b)).collect(),
            Kind::Bf16 => {
                let widened = |b: &[u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16);
                twos.iter().map(|b| f64::from(widened(b))).collect()
            }
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let words = self.words[GUARD..self.words.len() - GUARD].iter();
        let mut bytes: Vec<u8> = words.flat_map(|word| word.get().to_le_bytes()).collect();
        bytes.truncate(self.count * self.kind.bytes());
        bytes
    }

    pub fn set(&self, bytes: &[u8]) {
        assert_eq!(bytes.len(), self.count * self.kind.bytes());
        for (word, part) in self.words[GUARD..].iter().zip(bytes.chunks(16)) {
            let mut whole = [0xff; 16];
            whole[..part.len()].copy_from_slice(part);
            word.set(u128::from_le_bytes(whole));
        }
    }

    /// Whether nothing was written beside the numbers.
    pub fn guarded(&self) -> bool {
        let (n, bytes) = (self.words.len(), self.count * self.kind.bytes());
        let mut guards = self.words[..GUARD].iter().chain(&self.words[n - GUARD..]);
        let within = self.words[GUARD..n - GUARD].iter();
        let mut tail = within.flat_map(|word| word.get().to_le_bytes()).skip(bytes);
        guards.all(|word| word.get() == GUARDED) && tail.all(|byte| byte == 0xff)
    }

    fn pointer(&self) -> *mut c_void {
        self.words[GUARD..].as_ptr().cast_mut().cast()
    }
}

/// The nearest bf16, ties to even.
fn bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// One argument of a launch.
#[derive(Clone, Copy)]
pub enum Arg<'a> {
    Buffer(&'a Buffer),
    Null,
    I32(usize),
    I64(usize),
    F32(f64),
    F64(f64),
}

impl<'a> From<&'a Buffer> for Arg<'a> {
    fn from(buffer: &'a Buffer) -> Arg<'a> {
        Arg::Buffer(buffer)
    }
}

impl<'a> From<Option<&'a Buffer>> for Arg<'a> {
    fn from(buffer: Option<&'a Buffer>) -> Arg<'a> {
        buffer.map_or(Arg::Null, Arg::Buffer)
    }
}

/// A size, 32 bits.
impl From<usize> for Arg<'_> {
    fn from(size: usize) -> Self {
        Arg::I32(size)
    }
}

/// A number in f32.
impl From<f64> for Arg<'_> {
    fn from(number: f64) -> Self {
        Arg::F32(number)
    }
}

/// The arguments of a launch, in their order.
macro_rules! args {
    ($($argument:expr),* $(,)?) => {
        [$($crate::cuda::buffer::Arg::from($argument)),*]
    };
}
pub(super) use args;

impl<'a> Arg<'a> {
    /// As the launch passes it.
    pub fn word(self) -> u64 {
        match self {
            Arg::Buffer(buffer) => buffer.pointer() as u64,
            Arg::Null => 0,
            Arg::I32(x) => u64::from(u32::try_from(x).unwrap()),
            Arg::I64(x) => x as u64,
            Arg::F32(x) => u64::from((x as f32).to_bits()),
            Arg::F64(x) => x.to_bits(),
        }
    }

    pub fn buffer(&self) -> Option<&'a Buffer> {
        match self {
            Arg::Buffer(buffer) => Some(buffer),
            _ => None,
        }
    }
}
