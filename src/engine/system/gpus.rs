//! GPUs of this machine: how many its programs may see, what they are called, and who has which: a file a card that is locked as long
//! as somebody computes on it.

use crate::system::locks;
use anyhow::{Context, Result};
use base::text::count as counted;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Where the locks are, for everybody on this machine.
const LOCKS: &str = "/dev/shm/pipe-gpus";

/// Which GPUs CUDA shows, and in which order.
pub const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";
pub const ORDER: &str = "CUDA_DEVICE_ORDER";
/// The order in which the driver and schedulers count them. By itself CUDA begins with the fastest.
pub const BY_BUS: &str = "PCI_BUS_ID";

/// `plain`: models on a GPU are computed by candle's operations, without the own kernels, so that one can be held against the other.
pub const KERNELS: &str = "PIPE_KERNELS";

/// What was said of it, as a program is given it by `env`.
pub fn kernels() -> Option<String> {
    let said = variable(KERNELS).filter(|said| !said.is_empty())?;
    Some(format!("{KERNELS}={said}"))
}

/// As many as programs of this process may see.
pub fn count() -> usize {
    match variable(VISIBLE) {
        None => all(),
        Some(list) => named(&list, all()).len(),
    }
}

/// As many as have a device file of NVIDIA's driver, or stand in AMD's topology.
fn all() -> usize {
    const NODES: &str = "/sys/class/kfd/kfd/topology/nodes";
    // A node without an id is a processor.
    let amd = names(NODES).filter(|name| {
        let id = fs::read_to_string(format!("{NODES}/{name}/gpu_id")).unwrap_or_default();
        !["", "0"].contains(&id.trim())
    });
    nvidia() + amd.count()
}

fn nvidia() -> usize {
    let files = names("/dev").filter(|name| {
        let number = name.strip_prefix("nvidia").unwrap_or_default();
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    });
    files.count()
}

/// Those that a list as that of `CUDA_VISIBLE_DEVICES` names, of so many: a program sees none from the first that is no device on.
pub fn named(list: &str, of: usize) -> Vec<String> {
    let each = list.split(',').map(str::trim);
    let there = each.take_while(|name| match name.parse::<usize>() {
        Ok(number) => number < of,
        Err(_) => ["GPU-", "MIG-"].iter().any(|start| name.starts_with(start)),
    });
    there.map(String::from).collect()
}

/// The card that `cuda:N` is, by a name that does not hang on what a process may see.
pub fn card(number: u32) -> String {
    let number = number as usize;
    let shown = match variable(VISIBLE) {
        None => number.to_string(),
        // Of one that is not visible CUDA itself will say so.
        Some(list) => named(&list, nvidia())
            .into_iter()
            .nth(number)
            .unwrap_or_else(|| format!("cuda-{number}")),
    };
    same_name(&shown)
}

/// The cards that a list names, as it calls them and by names that hang on nobody: of parts of a card (`MIG-…`) none, as others are of the
/// same. In the order of those names.
pub fn cards(list: &str) -> Vec<(String, String)> {
    let whole = list.split(',').map(str::trim);
    let whole = whole.take_while(|shown| !shown.is_empty() && !shown.starts_with('-'));
    let whole = whole.filter(|shown| !shown.starts_with("MIG-"));
    let mut cards: Vec<_> = whole.map(|s| (s.to_string(), same_name(s))).collect();
    cards.sort_by(|a, b| a.1.cmp(&b.1));
    cards.dedup_by(|a, b| a.1 == b.1);
    cards
}

/// A GPU by its own id, whether it was called by number or by the beginning of that id.
fn same_name(shown: &str) -> String {
    let ids = told("GPU UUID:");
    let by_number = shown.parse::<usize>().ok().and_then(|n| ids.get(n));
    let by_start = || ids.iter().find(|id| id.starts_with(shown));
    by_number
        .or_else(by_start)
        .map_or_else(|| shown.into(), Clone::clone)
}

/// Why `cuda:N` is none here.
pub fn absent(number: u32) -> Option<String> {
    let there = match variable(VISIBLE) {
        None => nvidia(),
        Some(list) => named(&list, nvidia()).len(),
    };
    not_among(number, there, variable(VISIBLE).as_deref())
}

/// The same of so many that are visible by this list.
pub fn not_among(number: u32, there: usize, list: Option<&str>) -> Option<String> {
    if (number as usize) < there {
        return None;
    }
    let by = match list {
        Some(list) => format!(" with {VISIBLE}={list}"),
        None => String::new(),
    };
    let shown = match there {
        0 => "no GPU of NVIDIA's is visible here".to_string(),
        n => format!("{} visible here", counted(n as u64, "GPU is", "GPUs are")),
    };
    let last = there.checked_sub(1).map(|last| match last {
        0 => ": it is `cuda:0`".to_string(),
        last => format!(": `cuda:0` to `cuda:{last}`"),
    });
    Some(format!(
        "`cuda:{number}`: {shown}{by}{}",
        last.unwrap_or_default()
    ))
}

/// Their models, as NVIDIA's driver tells them; of others nothing but that they are there.
pub fn models() -> Vec<String> {
    let mut models = told("Model:");
    models.sort();
    models.resize(models.len().max(all()), "GPU".into());
    models
}

/// The version of NVIDIA's driver; empty where there is none.
pub fn driver() -> String {
    let text = fs::read_to_string("/proc/driver/nvidia/version").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let mut words = line.split_whitespace();
    let is_version =
        |word: &&str| word.contains('.') && word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    words.find(is_version).unwrap_or_default().into()
}

/// What NVIDIA's driver says under this heading of each of its GPUs, by their places on the bus.
fn told(heading: &str) -> Vec<String> {
    const DRIVER: &str = "/proc/driver/nvidia/gpus";
    let mut places: Vec<String> = names(DRIVER).collect();
    places.sort();
    let told = places.into_iter().filter_map(|place| {
        let text = fs::read_to_string(format!("{DRIVER}/{place}/information")).ok()?;
        let said = text.lines().find_map(|line| line.strip_prefix(heading))?;
        Some(said.trim().to_string())
    });
    told.collect()
}

/// A card that nobody else computes on as long as this lives.
#[derive(Debug)]
pub struct Card {
    _lock: File,
}

/// Takes a card, if nobody has it; else who does, in words.
pub fn take(card: &str) -> Result<Result<Card, String>> {
    take_in(Path::new(LOCKS), card)
}

/// The same by locks in this folder.
pub fn take_in(folder: &Path, card: &str) -> Result<Result<Card, String>> {
    let path = folder.join(format!("{}.lock", file_name(card)));
    let lock = open(folder, &path)
        .with_context(|| format!("opening {}, the lock of the card {card}", path.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(Ok(Card { _lock: lock })),
        Err(fs::TryLockError::WouldBlock) => Ok(Err(holder(&path))),
        Err(fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("locking {}", path.display()))
        }
    }
}

/// Of another user a file that is there is enough: what is locked need not be written.
fn open(folder: &Path, path: &Path) -> io::Result<File> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    match fs::create_dir(folder) {
        // Everybody may add a lock, and nobody remove another's.
        Ok(()) => fs::set_permissions(folder, Permissions::from_mode(0o1777))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    match File::options().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => File::open(path),
        created => {
            let created = created?;
            created.set_permissions(Permissions::from_mode(0o644))?;
            Ok(created)
        }
    }
}

fn holder(path: &Path) -> String {
    match locks::holders(path).first() {
        Some((pid, command)) if !command.is_empty() => format!("process {pid} ({command}) has it"),
        Some((pid, _)) => format!("process {pid} has it"),
        None => "another process has it".into(),
    }
}

fn file_name(card: &str) -> String {
    let plain = |c: char| match c.is_ascii_alphanumeric() || c == '-' {
        true => c,
        false => '_',
    };
    card.chars().take(100).map(plain).collect()
}

/// What schedulers and users say of GPUs, they say in the environment.
#[allow(clippy::disallowed_methods)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Names in a folder; none where it is not there.
fn names(folder: &str) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}
