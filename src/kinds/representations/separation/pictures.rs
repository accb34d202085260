//! Pictures of the states by UMAP, a seed each, and what is told of them over the seeds.

use super::numbers::{Told, balanced};
use super::params::Params;
use super::rows::Sides;
use analysis::clusters::Silhouettes;
use analysis::points::{Metric as Distance, Points};
use analysis::svm::{Cost, Svm};
use analysis::trust::trustworthiness;
use analysis::umap::graph::EPOCHS;
use analysis::umap::{Settings, Umap};
use base::picture::{Picture, Pictures};
use base::rng::Seed;
use base::stats;
use rayon::prelude::*;

/// All pictures, and what is told of each.
pub struct Album {
    /// By picture, where the points lie.
    pub places: Vec<Vec<[f32; 2]>>,
    pub told: Pictures,
}

/// Pictures hang on their seeds alone, so that they may be made at the same time.
pub fn album(points: &Points, sides: &Sides, p: &Params, layer: usize, seed: Seed) -> Album {
    let settings = Settings {
        neighbours: p.neighbours,
        min_dist: p.min_dist,
        metric: p.metric,
        epochs: EPOCHS,
    };
    let space = p.metric.distances(points);
    let umap = Umap::of(points, &space, &settings, seed.child("start"));
    let cost = Cost {
        c: p.svm_c,
        balanced: p.balanced,
    };
    let made: Vec<(Vec<[f32; 2]>, Picture)> = (0..p.seeds as u64)
        .into_par_iter()
        .map(|number| {
            let places = umap.picture(seed.child("picture").at(number));
            let told = told(&places, &space, sides, cost, (number, p.neighbours));
            (places, told)
        })
        .collect();
    let (places, pictures): (Vec<_>, Vec<_>) = made.into_iter().unzip();
    let shown = middle(&pictures);
    let told = Pictures {
        layer,
        shown,
        pictures,
    };
    Album { places, told }
}

fn told(
    places: &[[f32; 2]],
    space: &[f64],
    sides: &Sides,
    cost: Cost,
    (seed, neighbours): (u64, usize),
) -> Picture {
    let points = Points::planar(places);
    let svm = Svm::fit(&points, &sides.labels, cost);
    let above: Vec<bool> = points.rows().map(|row| svm.value(row) > 0.0).collect();
    let parts = above.contains(&true) && above.contains(&false);
    let (accuracy, _) = balanced(above.into_iter(), &sides.labels);
    let distances = Distance::Euclidean.distances(&points);
    Picture {
        seed,
        margin: parts.then(|| svm.margin()),
        w: [svm.w[0], svm.w[1]],
        b: svm.b,
        accuracy,
        silhouette: Silhouettes::of(&distances, &sides.labels).mean(),
        trustworthiness: trustworthiness(space, &points, neighbours),
    }
}

/// The place of the picture with the median margin, of an even number the lower one; of those without a margin the first.
fn middle(pictures: &[Picture]) -> usize {
    let margins = pictures.iter().enumerate();
    let mut margins: Vec<(f64, usize)> =
        margins.filter_map(|(i, p)| Some((p.margin?, i))).collect();
    margins.sort_by(|a, b| a.0.total_cmp(&b.0));
    let at = margins.len().saturating_sub(1) / 2;
    margins.get(at).map_or(0, |(_, i)| *i)
}

/// Medians over the pictures, with intervals where there are enough of them.
pub fn metrics(album: &Album, told: &mut Told) {
    let pictures = &album.told.pictures;
    let margins: Vec<f64> = pictures.iter().filter_map(|p| p.margin).collect();
    let mut median = |name: &str, unit: &str, values: &[f64]| {
        if let Some(median) = stats::median(values) {
            let interval = stats::median_interval(values);
            told.plain(name, unit, median, values.len(), interval);
        }
    };
    median("umap/margin", "margin", &margins);
    let of =
        |of: fn(&Picture) -> Option<f64>| -> Vec<f64> { pictures.iter().filter_map(of).collect() };
    median("umap/accuracy", "share", &of(|p| Some(p.accuracy)));
    median("umap/silhouette", "silhouette", &of(|p| Some(p.silhouette)));
    median("umap/trustworthiness", "share", &of(|p| p.trustworthiness));
    if !margins.is_empty() {
        let n = margins.len();
        let lowest = margins.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = margins.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        told.plain("umap/margin/lowest", "margin", lowest, n, None);
        told.plain("umap/margin/highest", "margin", highest, n, None);
    }
    let unparted = pictures.len() - margins.len();
    let share = unparted as f64 / pictures.len() as f64;
    let interval = Some(stats::wilson(unparted, pictures.len()));
    told.plain("umap/unparted", "share", share, pictures.len(), interval);
}
