//! Where a program runs: a scratch folder of the attempt, with copies of its files, places for its outputs, the file that tells
//! it everything, and its environment. Starts nothing.

use super::params::{Exec, Params};
use super::{placeholders, preflight};
use anyhow::{Context, Result, anyhow, bail};
use engine::kind::context::NodeCtx;
use engine::kind::{Port, Type};
use engine::system::files;
use engine::system::strays;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What a program sees of the machine's environment.
const MACHINE: [&str; 4] = [
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Variables that are equal on every machine, so that a result does not hang on where it was made; Python writes at once and nothing
/// beside its files.
const FIXED: [(&str, &str); 6] = [
    ("LANG", "C.UTF-8"),
    ("LC_ALL", "C.UTF-8"),
    ("TZ", "UTC"),
    ("PYTHONHASHSEED", "0"),
    ("PYTHONUNBUFFERED", "1"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
];

/// Numbers of threads, as libraries ask for them.
const THREADS: [&str; 4] = [
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
];

/// The folder below an attempt's own that survives it.
const KEPT: &str = "program";

pub(crate) struct Sandbox {
    scratch: PathBuf,
    /// The program is here when it starts.
    pub cwd: PathBuf,
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// What must be written nowhere, by its name.
    pub secrets: BTreeMap<String, String>,
    /// By output: what the program is told to write, a file or a folder.
    pub outputs: BTreeMap<&'static str, PathBuf>,
    /// Where it finds what an earlier attempt left, if it asks for it.
    pub resume: Option<PathBuf>,
}

impl Sandbox {
    pub fn create(ctx: &NodeCtx, ports: &[Port], p: &Params, exec: &Exec) -> Result<Sandbox> {
        let scratch = ctx.folder().join("scratch");
        let made = || format!("failed to lay out {}", scratch.display());
        let folder = |name: &str| -> Result<PathBuf> {
            let at = scratch.join(name);
            fs::create_dir_all(&at).with_context(made)?;
            Ok(at)
        };
        let cwd = folder("work")?;
        let mut words = placeholders::value_words(&p.values)?;
        let files = copies(&p.files, &folder("files")?)?;
        for (i, (name, at)) in files.iter().enumerate() {
            words.insert(format!("file.{i}"), text(at)?);
            words.insert(format!("file.{name}"), text(at)?);
        }
        let inputs = inputs(ctx, ports)?;
        words.extend(
            inputs
                .iter()
                .map(|(port, at)| (format!("in.{port}"), at.clone())),
        );
        let mut outputs = BTreeMap::new();
        for output in &p.outputs {
            let name = output.word();
            let at = place(*output, &folder(&format!("out/{name}"))?);
            words.insert(format!("out.{name}"), text(&at)?);
            outputs.insert(name, at);
        }
        let threads = exec.threads.unwrap_or(ctx.threads());
        words.insert("threads".into(), threads.to_string());
        let resume = match command_mentions(p, "resume") {
            true => Some(kept(ctx)?),
            false => None,
        };
        if let Some(at) = &resume {
            words.insert("resume".into(), text(at)?);
        }
        let values = scratch.join("values.json");
        fs::write(&values, serde_json::to_vec_pretty(&p.values)?).with_context(made)?;
        words.insert("values".into(), text(&values)?);
        let job = scratch.join("job.json");
        let description = json!({
            "inputs": inputs, "outputs": outputs, "files": files.iter().cloned().collect::<BTreeMap<_, _>>(),
            "values": p.values, "threads": threads, "resume": resume,
        });
        fs::write(&job, serde_json::to_vec_pretty(&description)?).with_context(made)?;
        words.insert("job".into(), text(&job)?);
        let path = ctx.variable("PATH").unwrap_or_default();
        if command_mentions(p, "python") {
            let python = preflight::interpreter(exec, &path).map_err(|e| anyhow!(e))?;
            words.insert("python".into(), text(&python)?);
        }
        let mut args = vec![];
        for argument in &p.command {
            args.push(placeholders::expand(argument, &words)?);
        }
        let program = match args.first() {
            Some(program) => preflight::find(program, exec, &path).map_err(|e| anyhow!(e))?,
            None => bail!("`command` names no program"),
        };
        args.remove(0);
        let secrets = secrets(ctx, exec)?;
        let mut env = environment(ctx, exec, threads, &path);
        for name in ["HOME", "TMPDIR"] {
            env.insert(name.into(), text(&folder(&name.to_lowercase())?)?);
        }
        env.insert("PIPE_JOB".into(), text(&job)?);
        for (name, value) in &p.env {
            env.insert(name.clone(), placeholders::expand(value, &words)?);
        }
        env.extend(secrets.clone());
        Ok(Sandbox {
            scratch,
            cwd,
            program,
            args,
            env,
            secrets,
            outputs,
            resume,
        })
    }

    /// The program by its name, for messages.
    pub fn shown(&self) -> String {
        let name = self.program.file_name().unwrap_or_default();
        let script = self.args.iter().find(|a| !a.starts_with('-'));
        let script = script.map(|s| Path::new(s).file_name().unwrap_or_default());
        match script {
            Some(script) if name.to_string_lossy().starts_with("python") => {
                format!("`{} {}`", name.display(), script.display())
            }
            _ => format!("`{}`", name.display()),
        }
    }

    /// After an end that was none: a folder in which the program left nothing is nothing to go on from. Its scratch is there to be
    /// looked into, unless a secret may be in it.
    pub fn tidy(&self) {
        if !self.secrets.is_empty() {
            let _ = fs::remove_dir_all(&self.scratch); // What stays goes with the attempt.
        }
        if let Some(at) = &self.resume {
            let _ = fs::remove_dir(at); // Refused where it holds anything, which is the point.
        }
    }
}

fn command_mentions(p: &Params, word: &str) -> bool {
    use base::params::ParamSet;
    placeholders::mentions(&p.write(), word)
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str().map(String::from);
    text.with_context(|| format!("{} is not UTF-8", path.display()))
}

/// The file of rows or metrics in a folder, or the folder itself.
fn place(ty: Type, folder: &Path) -> PathBuf {
    ty.file().map_or(folder.into(), |file| folder.join(file))
}

/// What the program reads, by port.
fn inputs(ctx: &NodeCtx, ports: &[Port]) -> Result<BTreeMap<&'static str, String>> {
    let mut inputs = BTreeMap::new();
    for port in ports {
        if let Some(folder) = ctx.input_opt(port.name) {
            inputs.insert(port.name, text(&place(port.ty, folder))?);
        }
    }
    Ok(inputs)
}

/// Copies, by name: what was not declared is not beside them.
fn copies(files: &[PathBuf], into: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut copied = vec![];
    for (from, name) in files.iter().zip(placeholders::names(files)) {
        let to = into.join(&name);
        let failed = || format!("failed to copy {}", from.display());
        if from.is_dir() {
            for (relative, path) in files::walk(from, true)? {
                let to = to.join(relative);
                fs::create_dir_all(to.parent().unwrap_or(into)).with_context(failed)?;
                fs::copy(path, to).with_context(failed)?;
            }
        } else {
            fs::copy(from, &to).with_context(failed)?;
        }
        copied.push((name, to));
    }
    Ok(copied)
}

/// The folder for what the program saves: taken over whole from the last attempt that has one.
fn kept(ctx: &NodeCtx) -> Result<PathBuf> {
    let own = ctx.resume_dir().join(KEPT);
    let before = ctx.earlier().iter().map(|resume| resume.join(KEPT));
    match before.into_iter().find(|folder| folder.is_dir()) {
        Some(before) => fs::rename(&before, &own)
            .with_context(|| format!("failed to take over {}", before.display()))?,
        None => {
            fs::create_dir_all(&own).with_context(|| format!("failed to make {}", own.display()))?
        }
    }
    Ok(own)
}

fn secrets(ctx: &NodeCtx, exec: &Exec) -> Result<BTreeMap<String, String>> {
    let secret = |name: &String| Ok((name.clone(), ctx.secret(name)?));
    exec.pass_env.iter().map(secret).collect()
}

fn environment(ctx: &NodeCtx, exec: &Exec, threads: usize, path: &str) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for name in MACHINE {
        env.extend(ctx.variable(name).map(|value| (name.to_string(), value)));
    }
    for (name, value) in FIXED {
        env.insert(name.into(), value.into());
    }
    for name in THREADS {
        env.insert(name.into(), threads.to_string());
    }
    let folders = preflight::folders(exec, path);
    let folders: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
    env.insert("PATH".into(), folders.join(":"));
    if let Some(venv) = &exec.venv {
        env.insert("VIRTUAL_ENV".into(), venv.display().to_string());
    }
    if let Some(gpus) = &exec.gpus {
        env.insert("CUDA_VISIBLE_DEVICES".into(), gpus.clone());
    }
    // Whoever carries it is ended with this attempt, wherever it went.
    env.insert(strays::MARK.into(), ctx.folder().display().to_string());
    env
}
