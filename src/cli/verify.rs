//! `pipe verify`: whether the store still holds what it held.

use super::args::StoreArgs;
use super::output::{Error, Outcome, print_json, print_lines};
use super::store;
use base::text::{bytes, count};
use engine::gc::verify::{self, Bad, Checked, Sample};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use services::journal;
use services::journal::Verified;

/// Check the store: records against their keys, blobs against their digests, checkpoints, journals, pins, answers of services.
///
/// Records, and that every blob is there with its size, are always checked; of the blobs, a sample is read and hashed, another one
/// every time. What is bad is moved to quarantine and named with the nodes it touches; the next run that needs it makes it again.
/// Lines of the journal of calls are only named: an answer whose line is damaged is asked for again.
///
/// Exit status: 0 nothing is bad of what was looked at, 1 something is.
///
/// Example: pipe verify --all
#[derive(clap::Args)]
pub struct Verify {
    #[command(flatten)]
    store: StoreArgs,
    /// Which part of the blobs to read, as `5%` or `0.05`
    #[arg(
        long,
        value_name = "SHARE",
        default_value = "5%",
        conflicts_with = "all"
    )]
    sample: String,
    /// Read all of them
    #[arg(long)]
    all: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Verify) -> Outcome {
    let sample = match args.all {
        true => Sample::All,
        false => Sample::Share(share(&args.sample)?),
    };
    let store = store::existing(&args.store)?;
    // Draws nothing where stderr is no terminal.
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("reading {wide_bar} {bytes} of {total_bytes}");
    bar.set_style(style.expect("the template is well formed"));
    let mut checked = verify::verify(&store, sample, &|done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    let calls = journal::verify(&store.calls())?;
    checked.bad.extend(damaged(&calls));
    if args.json {
        print_json(&json!({
            "store": store.root(), "ok": checked.bad.is_empty(), "records": checked.records, "blobs": checked.blobs,
            "hashed": checked.hashed, "hashed_bytes": checked.hashed_bytes, "checkpoints": checked.checkpoints,
            "runs": checked.runs, "pins": checked.pins, "answers": calls.entries, "torn_answers": calls.torn,
            "bad": checked.bad.iter().map(|b| json!({
                "what": b.what, "name": b.name, "problem": b.problem, "touched": b.touched, "then": b.then,
                "quarantined": b.quarantined,
            })).collect::<Vec<_>>(),
        }));
    } else {
        print_lines(&text(&checked, &calls));
    }
    match checked.bad.is_empty() {
        true => Ok(()),
        false => Err(Error::Told(1)),
    }
}

/// Half a line at the end is none: the process that wrote it died, and nobody was given that answer.
fn damaged(calls: &Verified) -> impl Iterator<Item = Bad> {
    let lines = calls.bad.iter().filter(|line| !line.torn);
    lines.map(|line| Bad {
        what: "answer",
        name: format!("{}, byte {}", line.segment, line.offset),
        problem: line.problem.into(),
        touched: vec![],
        then: "it is asked for again when a node needs it; the line stays where it is".into(),
        quarantined: false,
    })
}

fn text(checked: &Checked, calls: &Verified) -> String {
    let mut out = String::new();
    for bad in &checked.bad {
        out += &one(bad);
    }
    let answers = match calls.entries + calls.torn {
        0 => String::new(),
        _ => format!(", {}", count(calls.entries, "answer", "answers")),
    };
    let answers = match calls.torn {
        0 => answers,
        n => format!("{answers} and {}", count(n, "torn end", "torn ends")),
    };
    let looked = format!(
        "{}, {} ({} read, {}), {}, {}, {}{answers}",
        count(checked.records, "record", "records"),
        count(checked.blobs, "blob", "blobs"),
        checked.hashed,
        bytes(checked.hashed_bytes),
        count(checked.checkpoints, "checkpoint", "checkpoints"),
        count(checked.runs, "run", "runs"),
        count(checked.pins, "pin", "pins")
    );
    let end = match (checked.bad.len() as u64, checked.blobs - checked.hashed) {
        (0, 0) => "all is well".to_string(),
        (0, unread) => format!(
            "nothing is bad; {} not read to the byte: `--all` reads every one",
            count(unread, "blob was", "blobs were")
        ),
        (n, _) => format!("{} bad", count(n, "thing is", "things are")),
    };
    out + &format!("{looked}: {end}\n")
}

fn one(bad: &Bad) -> String {
    let mut out = format!("{} {}: {}\n", bad.what, bad.name, bad.problem);
    if !bad.touched.is_empty() {
        out += &format!("  touches {}\n", bad.touched.join(", "));
    }
    let moved = match bad.quarantined {
        true => "moved to quarantine; ",
        false => "",
    };
    out + &format!("  {moved}{}\n", bad.then)
}

fn share(text: &str) -> Result<f64, Error> {
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|p| p / 100.0),
        None => text.parse::<f64>(),
    };
    let share = number.ok().filter(|s| (0.0..=1.0).contains(s));
    share.ok_or_else(|| {
        Error::Usage(format!(
            "`--sample {text}` is not a share, as `5%` or `0.05`"
        ))
    })
}
