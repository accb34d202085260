//! What is measured in the space of the states, with every prompt's part in it.

use super::rows::Sides;
use crate::shared::measure::Measure;
use analysis::cka::Alignment;
use analysis::clusters::{Silhouettes, calinski_harabasz, davies_bouldin};
use analysis::points::{Metric as Distance, Points};
use analysis::probe::{self, Probe};
use analysis::sides::{Apart, Sides as Line, centroid_cosine};
use anyhow::{Result, bail};
use base::rng::Seed;
use base::rows::Metric;
use base::stats;
use base::text::count;
use engine::kind::context::NodeCtx;
use std::collections::BTreeMap;

/// Metrics in the order in which they are told.
#[derive(Default)]
pub struct Told {
    all: Vec<Measure>,
    /// Names of what came out as no number.
    nothing: Vec<String>,
}

const AREA: (f64, f64) = (0.0, 1.0);
const EITHER: (f64, f64) = (-1.0, 1.0);
const SIZE: (f64, f64) = (0.0, f64::INFINITY);

impl Told {
    /// A number with no observation behind it.
    pub fn plain(
        &mut self,
        name: &str,
        unit: &str,
        value: f64,
        n: usize,
        interval: Option<(f64, f64)>,
    ) {
        self.push(Measure {
            metric: Metric {
                name: name.into(),
                value,
                n,
                interval,
                unit: unit.into(),
            },
            values: BTreeMap::new(),
        });
    }

    /// A number to which every prompt adds its influence; several prompts of one observation add together. The interval is Student's over
    /// the observations, within what can be.
    fn influenced(
        &mut self,
        (name, unit): (&str, &str),
        value: f64,
        influences: &[f64],
        sides: &Sides,
        (least, most): (f64, f64),
    ) {
        let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
        for (observed, influence) in sides.observed().into_iter().zip(influences) {
            *sums.entry(observed).or_default() += influence;
        }
        let share = sums.len() as f64 / influences.len() as f64;
        let values: BTreeMap<String, f64> = sums
            .into_iter()
            .map(|(observed, sum)| (observed.to_string(), value + share * sum))
            .collect();
        let each: Vec<f64> = values.values().copied().collect();
        let varies = each.windows(2).any(|pair| pair[0] != pair[1]);
        let interval = stats::mean_interval(&each).filter(|_| varies);
        self.push(Measure {
            metric: Metric {
                name: name.into(),
                value,
                n: values.len(),
                interval: interval.map(|(low, high)| (low.max(least), high.min(most))),
                unit: unit.into(),
            },
            values,
        });
    }

    fn push(&mut self, measure: Measure) {
        let Metric {
            value, interval, ..
        } = measure.metric;
        let finite = interval.is_none_or(|(low, high)| low.is_finite() && high.is_finite());
        match value.is_finite() && finite {
            true => self.all.push(measure),
            false => self.nothing.push(measure.metric.name),
        }
    }

    pub fn say(&self, ctx: &NodeCtx) {
        if !self.nothing.is_empty() {
            let n = count(self.nothing.len() as u64, "metric", "metrics");
            let names = self.nothing.join(", ");
            ctx.log(&format!(
                "{n} left out, of which nothing can be told here: {names}"
            ));
        }
    }

    /// The metrics, and those with values behind them.
    pub fn parts(self) -> (Vec<Metric>, Vec<Measure>) {
        let metrics = self.all.iter().map(|m| m.metric.clone()).collect();
        (metrics, self.all)
    }
}

/// Points of both sides, and the probe's say on each.
pub struct Space<'a> {
    points: &'a Points,
    sides: &'a Sides,
    probe: Probe,
    folds: usize,
    pub fold: Vec<usize>,
    pub scores: Vec<f64>,
    distances: Vec<f64>,
    pub silhouettes: Vec<f64>,
}

/// Draws of a shuffle whose folds all have both labels.
const DRAWS: u64 = 100;

impl<'a> Space<'a> {
    /// Errors: folds that lack a side.
    pub fn of(
        points: &'a Points,
        sides: &'a Sides,
        probe: Probe,
        folds: usize,
    ) -> Result<Space<'a>> {
        let Some(fold) = dealt(sides, &sides.labels, folds) else {
            let of = |label: bool| {
                let own = sides.observed().into_iter().zip(&sides.labels);
                let own = own
                    .filter(|(_, l)| **l == label)
                    .map(|(observed, _)| observed);
                own.collect::<std::collections::BTreeSet<_>>().len()
            };
            bail!(
                "with `folds = {folds}` some fold has no prompt of one side: the positive side has {} behaviours or prompts, the negative \
                 one {}, and each fold takes one of both",
                of(true),
                of(false)
            );
        };
        let scores = probe.out_of_fold(points, &sides.labels, &fold);
        let distances = Distance::Euclidean.distances(points);
        let silhouettes = Silhouettes::of(&distances, &sides.labels).samples();
        Ok(Space {
            points,
            sides,
            probe,
            folds,
            fold,
            scores,
            distances,
            silhouettes,
        })
    }

    fn area(&self, told: &mut Told, name: &str) {
        let (area, influences) = probe::area(&self.scores, &self.sides.labels, &self.fold);
        told.influenced((name, "auroc"), area, &influences, self.sides, AREA);
    }

    /// The mean over sides of the share that the probe puts on its side.
    fn accuracy(&self, told: &mut Told) {
        let right = self.scores.iter().map(|score| *score > 0.0);
        let (accuracy, influences) = balanced(right, &self.sides.labels);
        let name = ("probe/accuracy", "share");
        told.influenced(name, accuracy, &influences, self.sides, AREA);
    }

    /// A number of the line between the centroids.
    fn along(
        &self,
        told: &mut Told,
        line: &Line,
        name: (&str, &str),
        of: fn(&Apart) -> f64,
        range: (f64, f64),
    ) {
        let (value, influences) = (of(&line.apart()), line.influences(of));
        told.influenced(name, value, &influences, self.sides, range);
    }

    fn silhouette(&self, told: &mut Told, name: &str, distances: &[f64]) {
        let silhouettes = Silhouettes::of(distances, &self.sides.labels);
        let name = (name, "silhouette");
        let (mean, influences) = (silhouettes.mean(), silhouettes.influences());
        told.influenced(name, mean, &influences, self.sides, EITHER);
    }

    /// Everything of the layer that is measured in full.
    pub fn all(&self, told: &mut Told) {
        self.area(told, "probe");
        self.accuracy(told);
        let line = Line::of(self.points, &self.sides.labels);
        self.along(told, &line, ("d_prime", "d'"), |a| a.d_prime, SIZE);
        self.along(told, &line, ("fisher", "ratio"), |a| a.fisher, SIZE);
        self.along(told, &line, ("axis_auroc", "auroc"), |a| a.axis_auroc, AREA);
        let distance = ("centroid/distance", "distance");
        self.along(told, &line, distance, |a| a.distance, SIZE);
        self.silhouette(told, "silhouette", &self.distances);
        let cosines = Distance::Cosine.distances(self.points);
        self.silhouette(told, "silhouette/cosine", &cosines);
        let labels = &self.sides.labels;
        let n = labels.len();
        let others = [
            (
                "centroid/cosine",
                "cosine",
                centroid_cosine(self.points, labels),
            ),
            (
                "davies_bouldin",
                "ratio",
                davies_bouldin(self.points, labels),
            ),
            (
                "calinski_harabasz",
                "ratio",
                calinski_harabasz(self.points, labels),
            ),
        ];
        for (name, unit, value) in others {
            told.plain(name, unit, value, n, None);
        }
    }

    /// What is told of every layer.
    pub fn by_layer(&self, told: &mut Told, layer: usize) {
        self.area(told, &format!("probe/layer/{layer}"));
        let line = Line::of(self.points, &self.sides.labels);
        let name = format!("d_prime/layer/{layer}");
        self.along(told, &line, (&name, "d'"), |a| a.d_prime, SIZE);
        self.silhouette(told, &format!("silhouette/layer/{layer}"), &self.distances);
    }

    /// The same of labels that mean nothing: means over permutations, with Student's intervals.
    pub fn shuffled(&self, told: &mut Told, shuffles: usize, seed: Seed) {
        let mut found = [vec![], vec![], vec![], vec![]];
        for shuffle in 0..shuffles as u64 {
            let Some((labels, fold)) = self.permuted(seed.at(shuffle)) else {
                continue;
            };
            let scores = self.probe.out_of_fold(self.points, &labels, &fold);
            let (area, _) = probe::area(&scores, &labels, &fold);
            let apart = Line::of(self.points, &labels).apart();
            let numbers = [area, apart.d_prime, apart.fisher, apart.axis_auroc];
            for (all, number) in found.iter_mut().zip(numbers) {
                all.push(number);
            }
        }
        let names = [
            ("probe/shuffled", "auroc"),
            ("d_prime/shuffled", "d'"),
            ("fisher/shuffled", "ratio"),
            ("axis_auroc/shuffled", "auroc"),
        ];
        for ((name, unit), numbers) in names.into_iter().zip(found) {
            if let Some(mean) = stats::mean(&numbers) {
                told.plain(
                    name,
                    unit,
                    mean,
                    numbers.len(),
                    stats::mean_interval(&numbers),
                );
            }
        }
    }

    /// Labels in another order, with folds that all have both.
    fn permuted(&self, seed: Seed) -> Option<(Vec<bool>, Vec<usize>)> {
        (0..DRAWS).find_map(|draw| {
            let mut labels = self.sides.labels.clone();
            seed.at(draw).rng().shuffle(&mut labels);
            let fold = dealt(self.sides, &labels, self.folds)?;
            Some((labels, fold))
        })
    }
}

/// The folds of the prompts; none where one lacks a label.
fn dealt(sides: &Sides, labels: &[bool], folds: usize) -> Option<Vec<usize>> {
    let fold = probe::deal(&sides.observed(), labels, folds);
    let sizes = probe::sizes(&fold, labels);
    let whole = |sizes: &Vec<usize>| sizes.len() == folds && !sizes.contains(&0);
    sizes.iter().all(whole).then_some(fold)
}

/// The mean over labels of the share that was taken for its own label, and what each point adds to it.
pub fn balanced(taken: impl Iterator<Item = bool>, labels: &[bool]) -> (f64, Vec<f64>) {
    let right: Vec<bool> = taken
        .zip(labels)
        .map(|(taken, label)| taken == *label)
        .collect();
    let of = |label: bool| {
        let own = labels.iter().zip(&right).filter(|(l, _)| **l == label);
        let own: Vec<f64> = own.map(|(_, right)| f64::from(*right)).collect();
        (own.len() as f64, stats::mean(&own).unwrap_or(f64::NAN))
    };
    let parts = [of(false), of(true)];
    let n = labels.len() as f64;
    let each = labels.iter().zip(&right).map(|(label, right)| {
        let (count, share) = parts[usize::from(*label)];
        n / (2.0 * count) * (f64::from(*right) - share)
    });
    ((parts[0].1 + parts[1].1) / 2.0, each.collect())
}

/// The alignment with another model, and what is left of it where the prompts of that model are in another order.
pub fn alignment(
    told: &mut Told,
    own: &Points,
    theirs: &Points,
    sides: &Sides,
    (shuffles, seed): (usize, Seed),
) {
    let alignment = Alignment::of(own, theirs);
    let influences = alignment.influences();
    told.influenced(("cka", "cka"), alignment.cka(), &influences, sides, AREA);
    let orders = (0..shuffles as u64).map(|shuffle| {
        let mut order: Vec<usize> = (0..own.len()).collect();
        seed.at(shuffle).rng().shuffle(&mut order);
        alignment.reordered(&order)
    });
    let orders: Vec<f64> = orders.collect();
    if let Some(mean) = stats::mean(&orders) {
        let interval = stats::mean_interval(&orders);
        told.plain("cka/shuffled", "cka", mean, orders.len(), interval);
    }
}

pub fn aligned_layer(told: &mut Told, own: &Points, theirs: &Points, sides: &Sides, layer: usize) {
    let alignment = Alignment::of(own, theirs);
    let name = format!("cka/layer/{layer}");
    let influences = alignment.influences();
    told.influenced((&name, "cka"), alignment.cka(), &influences, sides, AREA);
}
