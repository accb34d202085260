//! `pipe doctor`: whether a folder that machines share does what a store needs, and what may not be done there.

use super::args::StoreArgs;
use super::output::{Error, Outcome, complain, in_room, print, print_json, room};
use super::{on, store};
use anyhow::{Context, Result, bail, ensure};
use base::text::{bytes, count};
use clap::ValueHint;
use engine::kind::{Needs, Threads};
use engine::run::scheduler::{JobId, Look, Order, Refusal, Scheduler, open};
use engine::system::clock;
use engine::system::probe::{self, Examined, Side};
use report::table::{Table, left};
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// For each word of the other side; a folder may show files late.
const PATIENCE: Duration = Duration::from_secs(120);
/// For the start of a job that is the other side.
const QUEUED: Duration = Duration::from_secs(3600);
/// How often the scheduler is asked for it.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// Find out whether the folder of the store does what machines that share it need, and say what may not be done there.
///
/// Two sides try locks, links, renames and clocks in the folder, at the same time. With `--on PROFILE` the other side is a job there.
/// Without arguments both are programs of this machine, which says nothing about two. Two folders are two names of one, as two mounts
/// of a file system have it.
///
/// Exit status 3: no store can be there.
///
/// Example: pipe doctor --on lab --variable HF_TOKEN
///
/// Example: pipe doctor /mnt/a/shared /mnt/b/shared
#[derive(clap::Args)]
pub struct Doctor {
    /// The folder as the one side calls it, and as the other does, where that is another name [default: the store's]
    #[arg(num_args = 1..=2, value_names = ["FOLDER", "SAME"], value_hint = ValueHint::DirPath)]
    folders: Vec<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
    /// The other side is a job of this profile, a name of `pipe profiles` or a file
    #[arg(long, value_name = "PROFILE", conflicts_with = "folders")]
    on: Option<String>,
    /// GPUs that the job asks for
    #[arg(long, value_name = "N", default_value_t = 0, requires = "on")]
    gpus: usize,
    /// A variable that has to be set there, as by lines of `setup`; of its value nothing is told. What nodes name comes to them by itself. May be repeated
    #[arg(long, value_name = "NAME")]
    variable: Vec<String>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    /// Be the other side, in this folder
    #[arg(long, hide = true, value_name = "DIR")]
    answer: Option<PathBuf>,
}

/// A folder for this one question, removed afterwards.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // What stays is litter with a name that says whose.
    }
}

/// The other side as a program of this machine.
struct Beside(RefCell<Child>);

impl Drop for Beside {
    fn drop(&mut self) {
        let child = self.0.get_mut();
        let _ = child.kill(); // It has ended, mostly.
        let _ = child.wait();
    }
}

impl Beside {
    /// Errors: it is over, or has said nothing for too long.
    fn check_alive(&self, waited: Duration) -> Result<()> {
        let ended = self.0.borrow_mut().try_wait()?;
        // What it said last may not be seen yet.
        if ended.is_some() && waited > Duration::from_secs(10) {
            bail!("the other side has ended");
        }
        patient(waited, PATIENCE)
    }
}

fn patient(waited: Duration, patience: Duration) -> Result<()> {
    let seconds = patience.as_secs();
    ensure!(
        waited < patience,
        "the other side said nothing for {seconds} s"
    );
    Ok(())
}

/// The other side as a job.
struct Job {
    scheduler: Arc<dyn Scheduler>,
    id: JobId,
    /// Where what it prints goes.
    out: PathBuf,
    /// When it was asked for last, and whether it has been seen to run.
    seen: Cell<(Instant, bool)>,
}

impl Drop for Job {
    fn drop(&mut self) {
        let _ = self.scheduler.cancel(std::slice::from_ref(&self.id)); // It has ended, mostly.
    }
}

impl Job {
    /// Errors: it is over, or has said nothing for too long.
    fn check_alive(&self, waited: Duration) -> Result<()> {
        let (asked, runs) = self.seen.get();
        if asked.elapsed() >= ASK_EVERY {
            self.seen.set((Instant::now(), runs));
            self.ask()?;
        }
        let (_, runs) = self.seen.get();
        patient(waited, if runs { PATIENCE + ASK_EVERY } else { QUEUED })
    }

    /// `Err`: it is over. No answer is no news.
    fn ask(&self) -> Result<()> {
        let Ok(looks) = self.scheduler.look(std::slice::from_ref(&self.id)) else {
            return Ok(());
        };
        match looks.get(&self.id) {
            Some(Look::Waiting(why)) => complain(&format!("job {} waits: {why}\n", self.id)),
            Some(Look::Running { .. }) => self.seen.set((Instant::now(), true)),
            Some(Look::Ended { word, .. }) => {
                let said = fs::read_to_string(&self.out).unwrap_or_default();
                bail!("job {} has ended: {word}\n{}", self.id, said.trim());
            }
            None => {}
        }
        Ok(())
    }
}

pub fn run(args: &Doctor) -> Outcome {
    if let Some(folder) = &args.answer {
        return Ok(probe::answer(folder, VERSION, PATIENCE)?);
    }
    let (here, there) = match &args.folders[..] {
        [folder] => (folder.clone(), folder.clone()),
        [here, there] => (here.clone(), there.clone()),
        _ => {
            let folder = existing(&store::place(&args.store));
            (folder.clone(), folder)
        }
    };
    let examined = match &args.on {
        Some(named) => by_job(args, named, &here)?,
        None => beside(args, &here, &there)?,
    };
    let alone = examined.alone();
    match args.json {
        true => print_json(&json!({
            "folder": here,
            "one_machine": alone,
            "here": examined.here,
            "there": examined.there,
            "findings": examined.findings,
            "may_not": examined.may_not,
            "usable": examined.usable,
            "locks": examined.locks,
        })),
        false => print(&text(&here, &there, &examined)),
    }
    match examined.usable {
        true => Ok(()),
        false => Err(Error::Told(3)),
    }
}

/// The folder, or the nearest above it that is there: where a store will be.
fn existing(folder: &Path) -> PathBuf {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let mut found = folder.ancestors().filter(|folder| folder.is_dir());
    found.next().map_or(folder.clone(), Path::to_path_buf)
}

fn place(folder: &Path) -> Result<Place> {
    let place = folder.join(format!(".pipe-doctor-{}", clock::unique()));
    let shown = || format!("making a folder in {}", folder.display());
    fs::create_dir(&place).with_context(shown)?;
    Ok(Place(place))
}

fn beside(args: &Doctor, here: &Path, there: &Path) -> Result<Examined> {
    let place = place(here)?;
    let same = there.join(place.0.file_name().unwrap_or_default());
    ensure!(
        same.is_dir(),
        "{} and {} are not the same folder: what was made in the one is not in the other",
        here.display(),
        there.display()
    );
    let program = std::env::current_exe().context("finding the path of this binary")?;
    let mut command = Command::new(program);
    command.arg("doctor").arg("--answer").arg(&same);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let other = Beside(RefCell::new(child.context("starting the other side")?));
    probe::examine(&place.0, VERSION, &args.variable, &|waited| {
        other.check_alive(waited)
    })
}

fn by_job(args: &Doctor, named: &str, here: &Path) -> Result<Examined, Error> {
    let profile = on::profile(named)?;
    let there = profile.store.clone().unwrap_or_else(|| here.to_path_buf());
    let scheduler = open::open(&profile, &there)?;
    // Where schedulers look for what belongs to a job.
    let (attempts, unique) = (here.join("attempts"), clock::unique());
    let made = !attempts.exists();
    fs::create_dir_all(&attempts).with_context(|| format!("making {}", attempts.display()))?;
    let place = place(&attempts)?;
    let same = there
        .join("attempts")
        .join(place.0.file_name().unwrap_or_default());
    let program = std::env::current_exe().context("finding the path of this binary")?;
    let program = profile.pipe.clone().unwrap_or(program);
    let needs = Needs {
        threads: Threads::One,
        gpus: args.gpus,
        ..Needs::ALL_THREADS
    };
    let words = [
        program.as_os_str(),
        "doctor".as_ref(),
        "--answer".as_ref(),
        same.as_os_str(),
    ];
    let order = Order {
        name: format!("pipe-doctor-{unique}"),
        attempts: vec![],
        words: words
            .map(|word| word.to_string_lossy().into_owned())
            .to_vec(),
        folder: place.0.clone(),
        cpus: 1,
        partition: profile.partition(&needs)?.cloned(),
        needs,
    };
    let id = scheduler.submit(&order).map_err(|refusal| match refusal {
        Refusal::Refused(why) | Refusal::Doubtful(why) => {
            why.context(format!("submitting to `{named}`"))
        }
    })?;
    let job = Job {
        scheduler,
        id,
        out: place.0.join("job.out"),
        seen: Cell::new((Instant::now(), false)),
    };
    let examined = probe::examine(&place.0, VERSION, &args.variable, &|waited| {
        job.check_alive(waited)
    });
    drop(job);
    drop(place);
    if made {
        let _ = fs::remove_dir(&attempts); // Somebody else may have come to need it.
    }
    Ok(examined?)
}

fn text(here: &Path, there: &Path, examined: &Examined) -> String {
    let mut text = format!("{}: {}\n", here.display(), about(&examined.here));
    if here != there || !examined.alone() {
        text += &format!("{}: {}\n", there.display(), about(&examined.there));
    }
    let mut table = Table::new([left("holds"), left("what"), left("seen")]);
    for finding in &examined.findings {
        let word = match finding.holds {
            Some(true) => "ok",
            Some(false) => "NO",
            None => "?",
        };
        table.push([word, &finding.name, &finding.told]);
    }
    text += &table.fit(room());
    let mut after = String::new();
    if examined.alone() && here == there {
        after += "both sides are this machine: what two machines do to each other was not tried\n";
    }
    if !examined.may_not.is_empty() {
        after += "What may not be done here:\n";
        for sentence in &examined.may_not {
            after += &format!("- {sentence}\n");
        }
    }
    if let Some(locks) = examined.locks.filter(|_| examined.usable) {
        after += &format!("In a profile of this store: locks = {locks:?}\n");
    }
    text + &in_room(&after)
}

fn about(side: &Side) -> String {
    let memory = side
        .memory
        .map(|m| format!(", {} of memory free", bytes(m)));
    let cpus = count(side.cpus as u64, "CPU", "CPUs");
    let gpus = count(side.gpus as u64, "GPU", "GPUs");
    let Side {
        host, filesystem, ..
    } = side;
    format!(
        "{filesystem} on {host}, {cpus}, {gpus}{}",
        memory.unwrap_or_default()
    )
}
