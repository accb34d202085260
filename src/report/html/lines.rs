//! A line that is the mean of others, which are its seeds: drawn where all of them have a value, with themselves thin behind it.

use crate::html::plot::{Mark, Series};

/// By step, ascending.
pub type Points = Vec<(f64, f64)>;

/// What one of the lines is at a step, where it is anything.
pub type At = fn(&[(f64, f64)], f64) -> Option<f64>;

/// What it is at that very step.
pub fn exactly(points: &[(f64, f64)], step: f64) -> Option<f64> {
    let at = points.binary_search_by(|p| p.0.total_cmp(&step)).ok()?;
    Some(points[at].1)
}

/// What it was last until a step: one that ended stays where it ended.
pub fn until(points: &[(f64, f64)], step: f64) -> Option<f64> {
    let until = points.partition_point(|p| p.0 <= step);
    Some(points[until.checked_sub(1)?].1)
}

pub fn mean(label: &str, style: usize, seeds: Vec<Points>, at: At) -> Series {
    let mut steps: Vec<f64> = seeds.iter().flatten().map(|p| p.0).collect();
    steps.sort_by(f64::total_cmp);
    steps.dedup();
    let marks = steps.into_iter().filter_map(|x| {
        let all: Option<Vec<f64>> = seeds.iter().map(|s| at(s, x)).collect();
        Some(Mark {
            x,
            y: rounded(base::stats::mean(&all?)?),
            ..Mark::default()
        })
    });
    let marks: Vec<Mark> = marks.collect();
    Series {
        label: label.into(),
        style,
        line: true,
        // No line is seen of a single point.
        dots: marks.len() == 1,
        marks,
        threads: if seeds.len() > 1 { seeds } else { vec![] },
    }
}

/// Six digits: what a picture can show, and what a file need not be larger for.
pub fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}
