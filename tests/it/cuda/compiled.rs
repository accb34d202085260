//! The kernels' text compiled by the C compiler of this machine, and kept from one run of the tests to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::declared::{Signature, signatures};
use super::shim::Variant;
use crate::skipped::skip;
use pipe::learn::device::kernels;

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/learn/device/kernels")
}

fn shim() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cuda/shim.h")
}

/// The files that the program includes.
fn sources() -> Vec<PathBuf> {
    let kernels = kernels::FILES.iter().map(|(name, _)| folder().join(name));
    kernels.chain([shim()]).collect()
}

/// The C program of all kernels: the shim, their text, and a call of each with arguments by address.
fn program(kernels: &BTreeMap<String, Signature>) -> String {
    let shim = shim();
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

/// The library of a variant.
pub fn compiled(compiler: &Compiler, variant: Variant) -> PathBuf {
    let program = program(&signatures(variant.act));
    let mut flags = FLAGS.map(String::from).to_vec();
    flags.extend(variant.compiled().defines());
    let mut texts = vec![program.clone()];
    texts.extend(
        sources()
            .iter()
            .map(|path| std::fs::read_to_string(path).unwrap()),
    );
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels");
    let name = digest(&compiler.version, &flags, &texts);
    let library = folder.join(format!("{name}.so"));
    if library.exists() {
        return library;
    }
    std::fs::create_dir_all(&folder).unwrap();
    let dir = tempfile::tempdir_in(&folder).unwrap();
    let (source, new) = (dir.path().join("all.c"), dir.path().join("all.so"));
    std::fs::write(&source, program).unwrap();
    let mut command = Command::new(compiler.name);
    command.args(&flags);
    command.arg("-o").args([&new, &source]).arg("-lm");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", compiler.name);
    std::fs::rename(&new, &library).unwrap();
    library
}

const FLAGS: [&str; 6] = [
    "-std=gnu11",
    "-O2",
    "-w",
    "-fPIC",
    "-shared",
    "-ffp-contract=off",
];

/// All that a library is made of.
fn digest(version: &str, flags: &[String], texts: &[String]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in std::iter::once(version)
        .chain(flags.iter().map(String::as_str))
        .chain(texts.iter().map(String::as_str))
    {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_string()
}

#[test]
fn a_library_that_is_kept_is_of_this_compiler_these_flags_and_these_texts() {
    let name = |version: &str, flags: &[&str], texts: &[&str]| {
        let own = |all: &[&str]| all.iter().map(|x| x.to_string()).collect::<Vec<_>>();
        digest(version, &own(flags), &own(texts))
    };
    let all = [
        name("gcc 12", &["-O2"], &["int a;", "int b;"]),
        name("gcc 13", &["-O2"], &["int a;", "int b;"]),
        name("gcc 12", &["-O1"], &["int a;", "int b;"]),
        name("gcc 12", &["-O2", "-DHEAD=8"], &["int a;", "int b;"]),
        name("gcc 12", &["-O2"], &["int a;", "int c;"]),
        name("gcc 12", &["-O2"], &["int a;int b;", ""]),
    ];
    assert_eq!(BTreeSet::from(all.clone()).len(), all.len());
    assert_eq!(all[0], name("gcc 12", &["-O2"], &["int a;", "int b;"]));
    // Of all files that the program includes.
    let named: BTreeSet<String> = sources()
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_string())
        .collect();
    let there = std::fs::read_dir(folder()).unwrap();
    let there = there.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let there: BTreeSet<String> = there.chain(["shim.h".into()]).collect();
    assert_eq!(named, there);
}

pub struct Compiler {
    name: &'static str,
    /// As it tells it.
    version: String,
}

/// The C compiler, looked for once; that there is none is told by every test that wants it.
pub fn compiler() -> Option<&'static Compiler> {
    static FOUND: OnceLock<Option<Compiler>> = OnceLock::new();
    let answers = |name: &'static str| {
        let told = Command::new(name).arg("--version").output().ok()?;
        let version = String::from_utf8_lossy(&told.stdout).into_owned();
        told.status.success().then_some(Compiler { name, version })
    };
    let found = FOUND.get_or_init(|| ["gcc", "cc", "clang"].into_iter().find_map(answers));
    if found.is_none() {
        skip("C compiler");
    }
    found.as_ref()
}
