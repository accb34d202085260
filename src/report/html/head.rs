//! The top of the page: which recipes, how much is there, what is missing and which command makes it. Says when things
//! were made by their records; there is no clock.

use crate::command::command;
use crate::html::source::Source;
use crate::html::study::Study;
use base::text::{count, dollars, duration};
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
pub struct Head {
    pub title: String,
    pub recipes: Vec<Recipe>,
    /// Whether the built-in world is in it.
    pub world: bool,
    pub totals: String,
    /// Days, `2026-01-31` or a span of them.
    pub made: Option<String>,
    /// Versions of the program that made it.
    pub versions: Vec<String>,
    pub missing: Vec<Missing>,
}

#[derive(Serialize)]
pub struct Recipe {
    pub name: String,
    pub file: String,
    pub about: Option<String>,
    /// `seed 0, 1, 2`.
    pub axes: Vec<String>,
}

/// What a recipe lacks.
#[derive(Serialize)]
pub struct Missing {
    pub recipe: String,
    pub nodes: String,
    pub command: String,
}

pub fn head(study: &Study, sources: &[Source], given: &[String]) -> Head {
    let records: Vec<_> = study.items.iter().filter_map(|i| i.record).collect();
    let names: Vec<&str> = study.recipes.iter().map(|r| r.name).collect();
    let times = records.iter().map(|r| r.cost.started_ms).filter(|t| *t > 0);
    let days: Vec<String> = times
        .clone()
        .min()
        .into_iter()
        .chain(times.max())
        .map(day)
        .collect();
    let mut versions: Vec<String> = records
        .iter()
        .map(|r| r.provenance.version.clone())
        .collect();
    versions.sort();
    versions.dedup();
    let seconds = records.iter().map(|r| r.cost.seconds).sum();
    let paid: f64 = records.iter().map(|r| r.cost.dollars).sum();
    let paid = match paid > 0.0 {
        true => format!(" and cost {}", dollars(paid)),
        false => String::new(),
    };
    Head {
        title: match names.as_slice() {
            [one] => format!("Study {one}"),
            [first, ..] => format!(
                "Study {first} and {}",
                count(names.len() as u64 - 1, "other", "others")
            ),
            [] => "Study".into(),
        },
        recipes: recipes(study, sources),
        world: study.items.iter().any(|i| i.node.kind.synthetic),
        totals: format!(
            "{}, {} with artifacts; they took {} to make{paid}",
            count(study.items.len() as u64, "node", "nodes"),
            records.len(),
            duration(seconds)
        ),
        made: match days.as_slice() {
            [first, last] if first != last => Some(format!("{first} to {last}")),
            [first, ..] => Some(first.clone()),
            [] => None,
        },
        versions,
        missing: missing(study, given),
    }
}

fn recipes(study: &Study, sources: &[Source]) -> Vec<Recipe> {
    let one = |recipe: &crate::html::study::Recipe| {
        let sides = || recipe.sides.iter().map(|s| &study.sides[*s].axes);
        let mut axes: Vec<(&str, Vec<&str>)> = vec![];
        for (axis, value) in sides().flatten() {
            match axes.iter_mut().find(|(a, _)| a == axis) {
                Some((_, values)) if values.contains(&value.as_str()) => {}
                Some((_, values)) => values.push(value),
                None => axes.push((axis, vec![value])),
            }
        }
        let source = sources.iter().find(|s| s.recipe == recipe.name);
        Recipe {
            name: recipe.name.into(),
            file: recipe.file.display().to_string(),
            about: source.and_then(|s| s.about.clone()),
            axes: axes
                .iter()
                .map(|(a, v)| format!("{a} {}", v.join(", ")))
                .collect(),
        }
    };
    study.recipes.iter().map(one).collect()
}

/// A shared node is said to be missing once.
fn missing(study: &Study, given: &[String]) -> Vec<Missing> {
    let made = |recipe: &Path| {
        let words = ["run".to_string(), recipe.display().to_string()];
        command(words.iter().chain(given))
    };
    let of = |(at, recipe): (usize, &crate::html::study::Recipe)| {
        let own = study
            .items
            .iter()
            .filter(|i| i.record.is_none() && i.recipes[0] == at);
        let mut names: Vec<&str> = vec![];
        for name in own.map(|i| i.name) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        (!names.is_empty()).then(|| Missing {
            recipe: recipe.name.into(),
            nodes: names.join(", "),
            command: made(recipe.file),
        })
    };
    study.recipes.iter().enumerate().filter_map(of).collect()
}

/// The day of a time in milliseconds since 1970, UTC, in the calendar of today's leap years.
fn day(ms: u64) -> String {
    let mut days = ms / 86_400_000;
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for long in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < long {
            break;
        }
        days -= long;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}
