//! Where the descent of UMAP begins: eigenvectors of the graph, each part of a graph that falls apart by itself.

use super::graph::Graph;
use super::layout::Plane;
use crate::points::{Metric, Points};
use crate::spectrum::{Sparse, lowest, upright};
use base::rng::Seed;

/// Places of the points before they are scaled.
pub struct Start {
    /// The second and third eigenvector of the normalised Laplacian, where the part of the graph has them.
    pub at: Vec<[f64; 2]>,
    /// Points of parts too small for that: they are drawn around the middle of their part, this far at most.
    loose: Vec<(usize, f64)>,
}

/// A part with fewer points has no eigenvectors of its own.
const SMALL: usize = 4;
/// Up to so many parts are put on the axes.
const ON_AXES: usize = 4;
/// No eigenvalue of a normalised Laplacian is larger.
const TOP: f64 = 2.0;
/// Of the largest coordinate, then of each axis.
const WIDTH: f64 = 10.0;
/// Standard deviation of what is added, so that no two points begin at one place.
const NOISE: f64 = 1e-4;

impl Start {
    /// Of a graph over these points. The seed shows only where eigenvectors are not unique.
    pub fn of(graph: &Graph, points: &Points, metric: Metric, seed: Seed) -> Start {
        let (part, parts) = graph.parts();
        let mut start = Start {
            at: vec![[0.0; 2]; graph.n],
            loose: vec![],
        };
        if parts == 1 && graph.n >= SMALL {
            let all: Vec<usize> = (0..graph.n).collect();
            start.at = eigenvectors(graph, &all, seed.at(0));
            return start;
        }
        let middles = middles(points, &part, parts, metric, seed.child("parts"));
        for (number, middle) in middles.iter().enumerate() {
            let members: Vec<usize> = (0..graph.n).filter(|i| part[*i] == number).collect();
            let room = room(&middles, number);
            if members.len() < SMALL {
                members.iter().for_each(|&i| start.at[i] = *middle);
                start.loose.extend(members.into_iter().map(|i| (i, room)));
                continue;
            }
            let inside = eigenvectors(graph, &members, seed.at(number as u64));
            let largest = largest(&inside);
            for (i, [x, y]) in members.into_iter().zip(inside) {
                let scale = room / largest;
                start.at[i] = [middle[0] + x * scale, middle[1] + y * scale];
            }
        }
        start
    }

    /// Scaled to a largest coordinate of 10, with noise of a ten-thousandth, and then each axis to 0 to 10.
    pub fn placed(&self, seed: Seed) -> Plane {
        let mut rng = seed.child("noise").rng();
        let mut at = self.with_loose(seed.child("loose"));
        let scale = WIDTH / largest(&at);
        for place in &mut at {
            *place = place.map(|x| x * scale + NOISE * rng.normal());
        }
        spread(&mut at);
        at.into_iter()
            .map(|place| place.map(|x| x as f32))
            .collect()
    }

    fn with_loose(&self, seed: Seed) -> Vec<[f64; 2]> {
        let mut rng = seed.rng();
        let mut at = self.at.clone();
        for &(i, room) in &self.loose {
            at[i] = at[i].map(|x| x + room * (2.0 * rng.unit() - 1.0));
        }
        at
    }
}

/// Each axis to 0 to 10.
fn spread(at: &mut [[f64; 2]]) {
    for axis in 0..2 {
        let each = at.iter().map(|place| place[axis]);
        let low = each.clone().fold(f64::INFINITY, f64::min);
        let high = each.fold(f64::NEG_INFINITY, f64::max);
        let width = high - low;
        at.iter_mut()
            .for_each(|place| place[axis] = WIDTH * (place[axis] - low) / width);
    }
}

fn largest(at: &[[f64; 2]]) -> f64 {
    at.as_flattened()
        .iter()
        .fold(0.0f64, |most, x| most.max(x.abs()))
}

/// By member of a part, its entries in the second and third eigenvector of 1 - D^-½ W D^-½ with D the sums of the weights W.
fn eigenvectors(graph: &Graph, members: &[usize], seed: Seed) -> Vec<[f64; 2]> {
    let m = members.len();
    let mut place = vec![usize::MAX; graph.n];
    members
        .iter()
        .enumerate()
        .for_each(|(at, &i)| place[i] = at);
    let inside = || {
        let edges = graph.edges().filter(|((i, _), _)| place[*i] != usize::MAX);
        edges.map(|((i, j), w)| (place[i], place[j], f64::from(w)))
    };
    let mut degree = vec![0.0; m];
    inside().for_each(|(i, _, w)| degree[i] += w);
    let mut rows: Vec<Vec<(usize, f64)>> = (0..m).map(|i| vec![(i, 1.0)]).collect();
    inside().for_each(|(i, j, w)| rows[i].push((j, -w / (degree[i] * degree[j]).sqrt())));
    let (_, vectors) = lowest(&Sparse { rows }, TOP, 3, seed);
    (0..m).map(|i| [vectors[1][i], vectors[2][i]]).collect()
}

/// Where the parts lie: on the ends of the axes as long as these do, else by the distances of their centroids.
fn middles(
    points: &Points,
    part: &[usize],
    parts: usize,
    metric: Metric,
    seed: Seed,
) -> Vec<[f64; 2]> {
    if parts <= ON_AXES {
        let axes = parts.div_ceil(2);
        let ends = [[1.0, 0.0], [0.0, 1.0]];
        let there = ends[..axes].iter().copied();
        let back = ends[..axes].iter().map(|end| end.map(|x: f64| -x));
        return there.chain(back).take(parts).collect();
    }
    let centroids = (0..parts).flat_map(|k| points.mean(|i| part[i] == k));
    let centroids = Points::new(centroids.collect(), points.width());
    let distances = metric.distances(&centroids);
    let affinity = |i: usize, j: usize| {
        let d = distances[i * parts + j];
        if i == j { 0.0 } else { (-d * d).exp() }
    };
    let degree: Vec<f64> = (0..parts)
        .map(|i| (0..parts).map(|j| affinity(i, j)).sum())
        .map(|sum: f64| if sum > 0.0 { sum.sqrt() } else { 1.0 })
        .collect();
    let entry = |i: usize, j: usize| match i == j {
        true => 1.0,
        false => -affinity(i, j) / (degree[i] * degree[j]),
    };
    let row = |i: usize| (0..parts).map(|j| (j, entry(i, j))).collect();
    let rows = (0..parts).map(row).collect();
    let (_, mut vectors) = lowest(&Sparse { rows }, TOP, 3, seed);
    for vector in &mut vectors {
        let each = vector.iter_mut().zip(&degree);
        each.for_each(|(x, d)| *x /= d);
        upright(vector);
    }
    let highest = vectors[1..].concat().into_iter().fold(f64::MIN, f64::max);
    let place = |i: usize| [vectors[1][i] / highest, vectors[2][i] / highest];
    (0..parts).map(place).collect()
}

/// Half the way to the nearest other part.
fn room(middles: &[[f64; 2]], number: usize) -> f64 {
    let [x, y] = middles[number];
    let far = middles.iter().map(|[u, v]| (x - u).hypot(y - v));
    let nearest = far.filter(|d| *d > 0.0).fold(f64::INFINITY, f64::min);
    // Where all lie at one place there is nothing to keep clear of.
    if nearest.is_finite() {
        nearest / 2.0
    } else {
        1.0
    }
}
