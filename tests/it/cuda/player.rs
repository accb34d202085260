//! Plays the launches of `learn::device` on candle's CPU: what the library would launch on a GPU, with its own grids and arguments,
//! on the tensors of the test.

use candle_core::{DType, Result, bail};
use pipe::learn::device::launch::{Call, Choice, Player, Word};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::buffer::Kind;
use super::declared::Signature;
use super::shim::Shim;

/// Counts the launches of each kernel.
#[derive(Default)]
pub struct Played(RefCell<BTreeMap<String, usize>>);

impl Played {
    /// None where there is no C compiler, which is told.
    pub fn new() -> Option<Rc<Played>> {
        Shim::get(Kind::F32, 8)?;
        Some(Rc::new(Played::default()))
    }

    pub fn choice(self: &Rc<Played>) -> Choice {
        Choice::Played(Rc::clone(self) as Rc<dyn Player>)
    }

    /// How often each kernel was launched.
    pub fn launched(&self) -> BTreeMap<String, usize> {
        self.0.borrow().clone()
    }
}

impl Player for Played {
    fn play(&self, call: &Call) -> Result<()> {
        let act = if call.variant.bf16 {
            Kind::Bf16
        } else {
            Kind::F32
        };
        let name = call.kernel.name;
        let Some(shim) = Shim::get(act, call.variant.head) else {
            bail!("{name}: no C compiler")
        };
        fits(name, &shim.kernels[name], &call.words, act);
        let words: Vec<u64> = call.words.iter().map(bits).collect();
        let grid = call.grid.map(|blocks| blocks as usize);
        let blocks = grid.iter().product::<usize>() as u64;
        // SAFETY: the words are as the kernel declares them, and the tensors that they lead to live through the call.
        let told = unsafe { shim.run(name, grid, &words, 0..blocks, 1, None) };
        *self.0.borrow_mut().entry(name.into()).or_default() += 1;
        match told {
            Some(wrong) => bail!("{name}: {wrong}"),
            None => Ok(()),
        }
    }
}

fn bits(word: &Word) -> u64 {
    match *word {
        Word::At { address, .. } => address,
        Word::Null => 0,
        Word::I32(n) => u64::from(n as u32),
        Word::I64(n) => n as u64,
        Word::F32(x) => u64::from(x.to_bits()),
        Word::F64(x) => x.to_bits(),
    }
}

/// Every word is of the type that the kernel declares.
fn fits(name: &str, signature: &Signature, words: &[Word], act: Kind) {
    assert_eq!(
        words.len(),
        signature.parameters.len(),
        "arguments of {name}"
    );
    for (i, (word, declared)) in words.iter().zip(&signature.parameters).enumerate() {
        let plain = declared.trim_start_matches("const ");
        let fine = match (word, plain.strip_suffix('*').map(str::trim)) {
            (Word::Null, of) => of.is_some(),
            (Word::At { of, .. }, Some(declared)) => match declared {
                "act" => {
                    *of == if act == Kind::Bf16 {
                        DType::BF16
                    } else {
                        DType::F32
                    }
                }
                "float" => *of == DType::F32,
                "bf16" => *of == DType::BF16,
                "u32" => *of == DType::U32,
                "double" => *of == DType::F64,
                _ => false,
            },
            (Word::I32(_), None) => plain == "int",
            (Word::I64(_), None) => plain == "i64",
            (Word::F32(_), None) => plain == "float",
            (Word::F64(_), None) => plain == "double",
            _ => false,
        };
        assert!(
            fine,
            "argument {i} of {name} is to be {declared}, and is {word:?}"
        );
    }
}
