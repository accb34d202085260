//! The side that asks: what it finds out, and what follows from it.

use super::deeds::{self, Seen};
use super::talk::{self, Still};
use super::words::{Finding, Lock, Question, Side, Taking};
use anyhow::Result;
use base::text::{bytes, count, duration};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::time::Instant;

/// Clocks that differ by more make times of records hard to compare.
const CLOCK: f64 = 2.0;
/// A store with less room is soon full.
const ROOM: u64 = 10 << 30;

/// Two sides of a folder.
#[derive(Debug, Serialize)]
pub struct Examined {
    pub here: Side,
    pub there: Side,
    pub findings: Vec<Finding>,
    /// What may not be done in this folder, in sentences.
    pub may_not: Vec<String>,
    /// Whether a store can be there at all.
    pub usable: bool,
    /// How claims exclude there: `flock` or `link`. None where one machine's locks exclude each other, which says nothing of two's.
    pub locks: Option<&'static str>,
}

impl Examined {
    /// Whether both sides are one machine: then it was not found out what two do.
    pub fn alone(&self) -> bool {
        self.here.boot == self.there.boot
    }
}

struct Asking<'a> {
    /// As this side calls it.
    folder: &'a Path,
    still: Still<'a>,
    number: usize,
}

impl Asking<'_> {
    fn say(&mut self, question: &Question) -> Result<usize> {
        let number = self.number;
        self.number += 1;
        talk::say(self.folder, &talk::question(number), question)?;
        Ok(number)
    }

    fn hear<T: DeserializeOwned>(&self, number: usize) -> Result<T> {
        talk::wait(self.folder, &talk::reply(number), self.still)
    }

    fn ask<T: DeserializeOwned>(&mut self, question: &Question) -> Result<T> {
        let number = self.say(question)?;
        self.hear(number)
    }
}

/// Asks the other side, which answers in this folder. `still`: whether it may yet come to answer.
pub fn examine(
    folder: &Path,
    version: &str,
    variables: &[String],
    still: Still,
) -> Result<Examined> {
    let mut asking = Asking {
        folder,
        still,
        number: 0,
    };
    let variables = variables.to_vec();
    let there: Side = asking.ask(&Question::Who {
        variables: variables.clone(),
    })?;
    let (delay, ahead) = delay(&mut asking, version)?;
    let here = deeds::side(folder, version, &variables);
    let flock = excludes(&mut asking, Lock::Flock);
    let record = excludes(&mut asking, Lock::Record);
    let link = one_winner(&mut asking, Taking::Link);
    let create = one_winner(&mut asking, Taking::Create);
    let rename = whole(&mut asking);
    let speed = deeds::written(folder);
    let _: () = asking.ask(&Question::End)?;
    let mut findings = vec![visible(delay), flock, record, link, create, rename];
    findings.push(clock(ahead));
    findings.push(space(&there, speed.ok()));
    findings.extend(versions(&here, &there));
    findings.extend(unset(&variables, &there));
    Ok(conclude(here, there, findings))
}

/// The median time of a question and its reply, in seconds; and by how much the other side's clock is ahead.
fn delay(asking: &mut Asking, version: &str) -> Result<(f64, f64)> {
    let mut times = vec![];
    for _ in 0..5 {
        let since = Instant::now();
        let _: () = asking.ask(&Question::Echo)?;
        times.push(since.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let ms = |folder: &Path| deeds::side(folder, version, &[]).now_ms as f64 / 1e3;
    let before = ms(asking.folder);
    let there: Side = asking.ask(&Question::Who { variables: vec![] })?;
    let after = ms(asking.folder);
    Ok((times[2], there.now_ms as f64 / 1e3 - (before + after) / 2.0))
}

fn finding(name: &str, holds: impl Into<Option<bool>>, told: impl Into<String>) -> Finding {
    Finding {
        name: name.into(),
        holds: holds.into(),
        told: told.into(),
    }
}

fn visible(delay: f64) -> Finding {
    let told = format!(
        "what one side writes the other has answered after {:.0} ms",
        delay * 1e3
    );
    finding("visible", delay < 5.0, told)
}

/// Whether who holds a lock keeps the other out, in both directions, and lets it in afterwards.
fn excludes(asking: &mut Asking, lock: Lock) -> Finding {
    let (name, call) = match lock {
        Lock::Flock => ("flock", "flock"),
        Lock::Record => ("record-lock", "fcntl"),
    };
    let mut tried = || -> Result<[bool; 3]> {
        let held = deeds::lock(asking.folder, lock)?;
        let other: bool = asking.ask(&Question::Try { lock })?;
        let one = held.is_some() && !other;
        drop(held);
        let held: bool = asking.ask(&Question::Hold { lock })?;
        let own = deeds::lock(asking.folder, lock)?;
        let two = held && own.is_none();
        drop(own);
        let _: () = asking.ask(&Question::Echo)?; // It lets go.
        let free = deeds::lock(asking.folder, lock)?.is_some();
        Ok([one, two, free])
    };
    match tried() {
        Ok([true, true, true]) => finding(
            name,
            true,
            format!("`{call}` of one side keeps the other out"),
        ),
        Ok([true, true, false]) => finding(
            name,
            false,
            format!("`{call}` is not given back when it is let go"),
        ),
        Ok(_) => finding(
            name,
            false,
            format!("both sides had the same `{call}` lock at once"),
        ),
        Err(error) => finding(name, false, format!("there is no `{call}`: {error:#}")),
    }
}

/// Whether a name that both take is one's.
fn one_winner(asking: &mut Asking, taking: Taking) -> Finding {
    let name = match taking {
        Taking::Link => "link",
        Taking::Create => "create",
    };
    let mut tried = || -> Result<(Vec<usize>, Vec<usize>)> {
        let number = asking.say(&Question::Race { taking })?;
        // The other side begins when it has seen the question.
        std::thread::sleep(talk::LOOK_EVERY);
        let own = deeds::race(asking.folder, taking, "a");
        let other: Vec<usize> = asking.hear(number)?;
        Ok((own?, other))
    };
    match tried() {
        Ok((own, other)) => {
            let both = own.iter().filter(|round| other.contains(round)).count();
            let names = count((own.len() + other.len() - both) as u64, "name", "names");
            match both {
                0 => {
                    let (a, b) = (own.len(), other.len());
                    finding(
                        name,
                        true,
                        format!("of {names} each had one winner ({a} here, {b} there)"),
                    )
                }
                _ => finding(name, false, format!("of {names} {both} had two winners")),
            }
        }
        Err(error) => finding(name, false, format!("it cannot be done: {error:#}")),
    }
}

/// Whether a file that is replaced is always there, and whole.
fn whole(asking: &mut Asking) -> Finding {
    let mut tried = || -> Result<(usize, Seen)> {
        // It is there before anybody looks for it.
        deeds::replace_once(asking.folder, 0)?;
        let number = asking.say(&Question::Read)?;
        let times = deeds::replace(asking.folder)?;
        Ok((times, asking.hear(number)?))
    };
    match tried() {
        Ok((
            times,
            Seen {
                whole,
                absent: 0,
                torn: 0,
            },
        )) => finding(
            "rename",
            true,
            format!("a file was replaced {times} times and read {whole} times, always whole"),
        ),
        Ok((_, seen)) => {
            let Seen {
                whole,
                absent,
                torn,
            } = seen;
            finding(
                "rename",
                false,
                format!(
                    "a file that is replaced was read {whole} times whole, {absent} times absent, {torn} times torn"
                ),
            )
        }
        Err(error) => finding("rename", false, format!("it cannot be done: {error:#}")),
    }
}

fn clock(ahead: f64) -> Finding {
    let told = match ahead.abs() < 0.05 {
        true => "both clocks say the same".to_string(),
        false => {
            let word = if ahead > 0.0 { "ahead of" } else { "behind" };
            format!("the other clock is {:.1} s {word} this one", ahead.abs())
        }
    };
    finding("clock", ahead.abs() < CLOCK, told)
}

fn space(there: &Side, speed: Option<f64>) -> Finding {
    let speed = speed.map_or(String::new(), |s| {
        format!("; {} a second are written", bytes(s as u64))
    });
    match there.free {
        Some(free) => finding(
            "space",
            free > ROOM,
            format!("{} are free{speed}", bytes(free)),
        ),
        None => finding(
            "space",
            None,
            format!("nobody says how much is free{speed}"),
        ),
    }
}

fn versions(here: &Side, there: &Side) -> Option<Finding> {
    let same = here.version == there.version;
    let told = match same {
        true => format!("both are pipe {}", here.version),
        false => format!("pipe {} here, {} there", here.version, there.version),
    };
    Some(finding("version", same, told))
}

fn unset(variables: &[String], there: &Side) -> Option<Finding> {
    let absent: Vec<&str> = variables
        .iter()
        .map(String::as_str)
        .filter(|name| !there.variables.iter().any(|v| v == name))
        .collect();
    match (variables.is_empty(), absent.is_empty()) {
        (true, _) => None,
        (_, true) => Some(finding(
            "variables",
            true,
            "all that were asked for are set there",
        )),
        _ => Some(finding(
            "variables",
            false,
            format!("not set there: {}", absent.join(", ")),
        )),
    }
}

fn conclude(here: Side, there: Side, findings: Vec<Finding>) -> Examined {
    let holds = |name: &str| {
        findings
            .iter()
            .any(|f| f.name == name && f.holds == Some(true))
    };
    let mut may_not = vec![];
    let mut not = |holds: bool, told: &str| {
        if !holds {
            may_not.push(told.to_string());
        }
    };
    not(
        holds("link"),
        "no store may lie here: records are committed by a hard link that one alone can make",
    );
    not(
        holds("rename"),
        "no store may lie here: a file that is replaced is not always there and whole",
    );
    not(
        holds("flock"),
        "`locks = \"flock\"` may not stand in a profile of this store, and `pipe gc --apply` is refused while another machine is at work",
    );
    not(
        holds("record-lock"),
        "nodes that ask services may not run on two machines at once: each would pay for the same answers",
    );
    not(
        holds("version"),
        "nodes may not be sent there before both have the same pipe",
    );
    let usable = holds("link") && holds("rename");
    let alone = here.boot == there.boot;
    let locks = match (holds("flock"), alone) {
        // As with two mounts of one file system: where they exclude nobody here, they do not between machines.
        (false, _) => Some("link"),
        (true, false) => Some("flock"),
        (true, true) => None,
    };
    let late = duration(CLOCK);
    not(
        holds("clock"),
        &format!("times of records may not be compared: the clocks differ by more than {late}"),
    );
    Examined {
        here,
        there,
        findings,
        may_not,
        usable,
        locks,
    }
}
