//! UMAP (McInnes, Healy and Melville 2018, arXiv 1802.03426) in the plane, as umap-learn 0.5.12 computes it: exact neighbours, fuzzy graph,
//! spectral start, descent edge by edge. Where that leaves something to a machine or to time, it is fixed here: equal points, seed and
//! settings give equal bytes.
//!
//! The picture is a draw: with another seed clouds that are apart lie elsewhere, and how far apart they lie means nothing. What is
//! measured in it is measured over several seeds.

pub mod curve;
pub mod graph;
pub mod layout;
pub mod start;

use crate::neighbours;
use crate::points::{Metric, Points};
use base::rng::Seed;
use curve::Curve;
use graph::Graph;
use layout::Descent;
use start::Start;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Of each point, itself counted.
    pub neighbours: usize,
    /// How near to each other points may come in the picture.
    pub min_dist: f64,
    pub metric: Metric,
    pub epochs: usize,
}

/// Up to so many points umap-learn looks at all distances; beyond, its neighbours are approximate.
pub const MOST_POINTS: usize = 4096;

/// All that hangs on the points and not on the seed of a picture.
pub struct Umap {
    graph: Graph,
    start: Start,
    descent: Descent,
}

impl Umap {
    /// `distances` [n, n] are those of the points by the metric of the settings. Panics where there are not as many points as neighbours.
    pub fn of(points: &Points, distances: &[f64], settings: &Settings, seed: Seed) -> Umap {
        let near = neighbours::nearest(distances, points.len(), settings.neighbours);
        let whole = graph::fuzzy(&near, &graph::Union::default());
        let graph = whole.pruned(settings.epochs);
        let start = Start::of(&graph, points, settings.metric, seed);
        Umap {
            graph,
            start,
            descent: Descent::new(Curve::fit(1.0, settings.min_dist), settings.epochs),
        }
    }

    /// The picture of a seed, a point each.
    pub fn picture(&self, seed: Seed) -> Vec<[f32; 2]> {
        let start = self.start.placed(seed.child("start"));
        let mut rng = seed.child("descent").rng();
        // As umap-learn draws them: three numbers of 32 bits with a sign.
        let state = [(); 3].map(|()| i64::from(rng.next_u64() as i32));
        self.descent.run(start, &self.graph, state, |_, _| {})
    }
}
