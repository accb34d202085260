//! What a program needs of this machine, looked for before anything runs.

use super::params::{Exec, Params};
use base::params::ParamSet;
use base::value::Values;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What is not here, each in a sentence that says where it was looked for; `path` is PATH. A program that is one of the
/// node's own files is there.
pub fn missing(params: &Values, exec: &Values, path: &str) -> Vec<String> {
    let (Ok(p), Ok(e)) = (Params::read(params), Exec::read(exec)) else {
        return vec![]; // The recipe is wrong, and its author is told.
    };
    let mut found = vec![];
    let python = "{python}";
    let by_python = p
        .command
        .iter()
        .chain(p.env.values())
        .any(|text| text.contains(python));
    if by_python {
        found.extend(interpreter(&e, path).err());
    }
    match p.command.first() {
        Some(program) if program != python && !program.contains('{') => {
            found.extend(find(program, &e, path).err());
        }
        _ => {}
    }
    found
}

/// What `{python}` stands for.
pub(crate) fn interpreter(exec: &Exec, path: &str) -> Result<PathBuf, String> {
    match &exec.venv {
        Some(venv) => {
            let inside = venv.join("bin").join("python");
            match runs(&inside) {
                true => Ok(inside),
                false => Err(format!(
                    "`venv` is no Python environment: there is no program {}",
                    inside.display()
                )),
            }
        }
        None => find("python3", exec, path),
    }
}

/// The program of this name, or path.
pub fn find(program: &str, exec: &Exec, path: &str) -> Result<PathBuf, String> {
    if program.contains('/') {
        let at = Path::new(program);
        return match (at.is_absolute(), runs(at)) {
            (true, true) => Ok(at.into()),
            (true, false) if at.is_file() => Err(format!(
                "{program} cannot be run: its mode has no x; give it that (chmod +x), or name the program that runs it before it"
            )),
            (true, false) => Err(format!("there is no program {program}")),
            (false, _) => Err(format!(
                "`{program}` is a path below a folder that is not said; put the file into `files` and write `{{file.{}}}`",
                at.file_name().unwrap_or_default().to_string_lossy()
            )),
        };
    }
    let folders = folders(exec, path);
    let there = folders.iter().map(|folder| folder.join(program));
    there.clone().find(|file| runs(file)).ok_or_else(|| {
        let looked: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
        format!("there is no program `{program}` in {}", looked.join(", "))
    })
}

/// Where programs are looked for, in this order.
pub fn folders(exec: &Exec, path: &str) -> Vec<PathBuf> {
    let venv = exec.venv.iter().map(|venv| venv.join("bin"));
    let path = path.split(':').filter(|folder| !folder.is_empty());
    venv.chain(exec.path.iter().cloned())
        .chain(path.map(PathBuf::from))
        .collect()
}

fn runs(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}
