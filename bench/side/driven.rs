//! The training loop, one step at a time: a step begins when it is asked for and ends when its update is done.

use crate::turns;
use anyhow::{Result, bail};
use pipe::learn::adapter::Net;
use pipe::learn::decoder::{Keep, Workspace};
use pipe::learn::optim::{LrSchedule, Optim};
use pipe::learn::train::{self, Feed, Report, Settings, State, Watch, Window};
use serde_json::json;
use std::cell::Cell;
use std::time::Instant;

/// The settings of every step here: constant rate, gradients clipped to norm 1. The other side has the same.
pub fn settings() -> Settings {
    Settings {
        optim: Optim {
            lr: 1e-4,
            schedule: LrSchedule::Constant,
            warmup_ratio: 0.0,
            weight_decay: 0.01,
            beta2: 0.999,
            grad_clip: 1.0,
        },
        steps: 1 << 40,
        temperature: 1.0,
        keep: Keep::All,
    }
}

/// Takes a step of `feed` for every `go`, and hands any other unit to `other`, until the input ends.
pub fn steps(
    mut state: State,
    settings: &Settings,
    feed: &mut dyn Feed,
    other: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<()> {
    let start = Cell::new(Instant::now());
    let mut asked = Asked {
        feed,
        other,
        start: &start,
    };
    match train::train(
        &mut state,
        &mut asked,
        settings,
        &mut Clock { start: &start },
    ) {
        Err(error) if error.is::<Closed>() => Ok(()),
        Err(error) => Err(error),
        Ok(_) => bail!("the loop ended before its input did"),
    }
}

/// A feed whose windows wait until they are asked for.
struct Asked<'f> {
    feed: &'f mut dyn Feed,
    other: &'f mut dyn FnMut(&str) -> Result<()>,
    start: &'f Cell<Instant>,
}

impl Feed for Asked<'_> {
    fn window<'a>(
        &'a mut self,
        step: u64,
        net: Net,
        workspace: &mut Workspace,
    ) -> Result<Window<'a>> {
        loop {
            match turns::asked() {
                None => return Err(Closed.into()),
                Some(unit) if unit == "go" => break,
                Some(unit) => (self.other)(&unit)?,
            }
        }
        self.start.set(Instant::now());
        self.feed.window(step, net, workspace)
    }
}

/// Answers when the update of a step is done.
struct Clock<'c> {
    start: &'c Cell<Instant>,
}

impl Watch for Clock<'_> {
    fn step(&mut self, _: &State, report: Report) -> Result<bool> {
        let seconds = self.start.get().elapsed().as_secs_f64();
        let mut reply = json!({"seconds": seconds, "tokens": report.tokens});
        for (name, value) in report.metrics {
            reply[name] = json!(value);
        }
        turns::answer(reply);
        Ok(true)
    }
}

/// Nobody asks for steps any more.
#[derive(Debug)]
struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the input ended")
    }
}
impl std::error::Error for Closed {}
