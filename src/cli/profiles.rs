//! `pipe profiles`: where nodes may be executed that do not run on this machine.

use super::on;
use super::output::{Error, Outcome, print, print_json, print_lines, room};
use ::remote::settings::{Table as Remote, Url};
use base::text::duration;
use engine::run::profile::Profile;
use engine::run::scheduler::open;
use report::table::{Table, left, name, right};
use serde_json::json;
use std::path::Path;

/// List the profiles that `run --on` and `plan --on` take, or check one of them.
///
/// A profile is a TOML file of yours that says who schedules the machines of a site and how one gets there, and which store they share;
/// `pipe help cluster` and `pipe help sharing` have them explained. What a node needs stands in the recipe.
///
/// Example: pipe profiles
///
/// Example: pipe profiles --check lab
#[derive(clap::Args)]
pub struct Profiles {
    /// Ask the scheduler of this profile, a name or a file, what there is
    #[arg(long, value_name = "PROFILE")]
    check: Option<String>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Profiles) -> Outcome {
    match &args.check {
        Some(named) => check(named, args.json),
        None => list(args.json),
    }
}

fn list(as_json: bool) -> Outcome {
    let all = on::all().into_iter();
    let all: Vec<_> = all
        .map(|(name, path)| (name, on::read(&path), path))
        .collect();
    if as_json {
        let each = all.iter().map(|(name, profile, path)| {
            json!({
                "profile": name, "file": path, "executor": profile.as_ref().ok().map(|p| p.0.executor.word()),
                "remote": profile.as_ref().ok().and_then(|p| shared(p.1.as_ref())),
                "problem": profile.as_ref().err().map(problem),
            })
        });
        print_json(&json!({ "profiles": each.collect::<Vec<_>>() }));
        return Ok(());
    }
    if all.is_empty() {
        print_lines(&format!(
            "no profiles; they are TOML files in {}\n",
            on::place()
        ));
        return Ok(());
    }
    let mut table = Table::new([
        name("profile"),
        left("executor"),
        left("sends nodes to"),
        right("jobs"),
        left("short nodes share"),
        left("remote"),
    ]);
    let mut wrong = String::new();
    for (name, profile, _) in &all {
        let cells = match profile {
            Ok((profile, remote)) => [
                profile.executor.word().to_string(),
                places(profile),
                profile.jobs.to_string(),
                packed(profile),
                shared(remote.as_ref()).unwrap_or_default(),
            ],
            Err(error) => {
                wrong += &format!("\n{}\n", problem(error).trim_end());
                let nowhere = "nothing: its file is wrong";
                ["?", nowhere, "", "", ""].map(String::from)
            }
        };
        let [executor, to, jobs, short, remote] = cells;
        table.push([name.clone(), executor, to, jobs, short, remote]);
    }
    print(&table.fit(room()));
    print_lines(&wrong);
    Ok(())
}

/// What is wrong with one.
fn problem(error: &Error) -> String {
    match error {
        Error::Author(diags) => diags.render(false),
        Error::Usage(told) => told.clone(),
        Error::World(error) => format!("{error:#}"),
        Error::Failure(_) | Error::Told(_) => "it cannot be read".into(),
    }
}

/// Where its remote is, if it says so.
fn shared(remote: Option<&Remote>) -> Option<String> {
    match &remote?.url {
        Some(Url::At(address)) => Some(address.text().to_string()),
        Some(Url::Nowhere) => Some("none".into()),
        None => None,
    }
}

/// How much of a job short nodes have together.
fn packed(profile: &Profile) -> String {
    match profile.pack_seconds > 0.0 {
        true => duration(profile.pack_seconds),
        false => "nothing".into(),
    }
}

/// Its partitions, with what they have.
fn places(profile: &Profile) -> String {
    let each = profile.partition.iter().map(|p| match p.gpus {
        0 => p.name.clone(),
        n => format!("{} ({n} GPUs)", p.name),
    });
    let each: Vec<String> = each.collect();
    match each.is_empty() {
        true => "one place".into(),
        false => each.join(", "),
    }
}

fn check(named: &str, as_json: bool) -> Outcome {
    let profile = on::profile(named)?;
    on::check_secrets(&profile)?;
    let there = profile.store.clone();
    let scheduler = open::open(&profile, there.as_deref().unwrap_or(Path::new(".")))?;
    let lines = scheduler.check();
    if as_json {
        let (ok, said) = match &lines {
            Ok(lines) => (true, lines.clone()),
            Err(error) => (false, vec![format!("{error:#}")]),
        };
        print_json(&json!({ "profile": profile.name, "ok": ok, "said": said }));
        return match ok {
            true => Ok(()),
            false => Err(Error::Told(3)),
        };
    }
    for line in lines? {
        print_lines(&format!("{line}\n"));
    }
    Ok(())
}
