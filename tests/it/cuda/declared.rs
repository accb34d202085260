//! What the kernels' text declares: names, threads of a block, types of arguments.

use std::collections::BTreeMap;

use super::buffer::{Arg, Kind};
use super::compiled::folder;

#[derive(Clone, Debug)]
pub struct Signature {
    pub threads: usize,
    /// Types, such as `const float *`.
    pub parameters: Vec<String>,
}

impl Signature {
    /// `float` is `act` where activations are f32.
    pub fn expect(&self, name: &str, arguments: &[Arg], act: Kind) {
        assert_eq!(
            arguments.len(),
            self.parameters.len(),
            "arguments of {name}"
        );
        for (i, (argument, declared)) in arguments.iter().zip(&self.parameters).enumerate() {
            let fine = fits(*argument, declared, act);
            assert!(fine, "argument {i} of {name} is to be {declared}");
        }
    }
}

fn fits(argument: Arg, declared: &str, act: Kind) -> bool {
    let plain = declared.trim_start_matches("const ");
    let Some(of) = plain.strip_suffix('*') else {
        return match argument {
            Arg::I32(_) => plain == "int",
            Arg::I64(_) => plain == "i64",
            Arg::F32(_) => plain == "float",
            Arg::F64(_) => plain == "double",
            Arg::Buffer(_) | Arg::Null => false,
        };
    };
    match argument {
        Arg::Buffer(buffer) => match of.trim() {
            "act" => buffer.kind == act,
            "float" => buffer.kind == Kind::F32,
            "bf16" => buffer.kind == Kind::Bf16,
            "u32" => buffer.kind == Kind::U32,
            "double" => buffer.kind == Kind::F64,
            _ => false,
        },
        Arg::Null => true,
        _ => false,
    }
}

/// All kernels of the folder, with activations of a kind.
pub fn signatures(act: Kind) -> BTreeMap<String, Signature> {
    let other = match act {
        Kind::F32 => "attention_bf16.cu",
        _ => "attention_f32.cu",
    };
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "cu") || path.ends_with(other) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for declared in text.split("\nKERNEL void THREADS(").skip(1) {
            let (name, signature) = signature(declared);
            let twice = found.insert(name.clone(), signature);
            assert!(twice.is_none(), "{name} is one kernel");
        }
    }
    assert!(found.len() > 20, "the kernels were found");
    found
}

/// Of `THREADS) NAME(TYPE PARAMETER, ..) ..`.
fn signature(text: &str) -> (String, Signature) {
    let (threads, rest) = text.split_once(") ").unwrap();
    let (name, rest) = rest.split_once('(').unwrap();
    let (parameters, _) = rest.split_once(')').unwrap();
    let type_of = |parameter: &str| {
        let plain: Vec<&str> = parameter.split_whitespace().collect();
        let plain = plain.join(" ");
        let name = plain.rfind([' ', '*']).unwrap() + 1;
        plain[..name].trim().to_string()
    };
    let signature = Signature {
        threads: threads.parse().unwrap(),
        parameters: parameters.split(',').map(type_of).collect(),
    };
    (name.to_string(), signature)
}
