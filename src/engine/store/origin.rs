//! What made a record, besides its node: the binary, the state of the workspace, the processor. For people; never in a key.

use crate::store::record::Origin;
use crate::system::{self, Process, files, gpus};
use base::threads;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

/// Digits of the binary's digest that are kept.
const SHORT: usize = 12;

/// An origin that is found out while the first nodes run: the binary is large and git takes its time, and only their records need it.
#[derive(Clone)]
pub struct Asked {
    program: PathBuf,
    workspace: Option<PathBuf>,
    found: Arc<OnceLock<Origin>>,
}

impl Asked {
    /// As `of`.
    pub fn new(program: &Path, workspace: Option<&Path>) -> Asked {
        let asked = Asked {
            program: program.into(),
            workspace: workspace.map(PathBuf::from),
            found: Arc::default(),
        };
        let own = asked.clone();
        // Where no thread is given, whoever needs it first finds out.
        let _ = threads::start(move || drop(own.wait()));
        asked
    }

    pub fn wait(&self) -> Origin {
        let found = || of(&self.program, self.workspace.as_deref());
        self.found.get_or_init(found).clone()
    }
}

/// Its GPUs are all that the machine has. `program`: the worker's binary; `workspace`: the folder that the run is called in, whose repository's state is asked of `git`
/// where there is one.
pub fn of(program: &Path, workspace: Option<&Path>) -> Origin {
    let workspace = workspace.unwrap_or(Path::new("."));
    let build = files::hash_file(program).map(|d| d.as_str()[..SHORT].to_string());
    let commit = git(workspace, &["rev-parse", "HEAD"]);
    let changes = commit.as_ref().and_then(|_| {
        git(
            workspace,
            &["status", "--porcelain", "--untracked-files=no"],
        )
    });
    Origin {
        build: build.unwrap_or_default(),
        commit,
        dirty: changes.map(|text| !text.is_empty()),
        cpu: system::processor(),
        features: features(),
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        host: Process::own().map(|own| own.host).unwrap_or_default(),
        gpus: gpus::models(),
        devices: vec![],
    }
}

/// Nothing where there is no git, no repository, or a repository that is not ours to read.
fn git(folder: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .args(args)
        .current_dir(folder)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_string())
}

/// Those that decide which kernels run.
#[cfg(target_arch = "x86_64")]
fn features() -> Vec<String> {
    let all = [
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
    ];
    let there = all.into_iter().filter(|(_, there)| *there);
    there.map(|(name, _)| name.to_string()).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<String> {
    vec![]
}
