//! The fuzzy graph of UMAP: how strongly points hang together, by their neighbours.

use crate::neighbours::Neighbours;
use std::collections::BTreeMap;

/// Weighted edges, sorted by head and tail.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// How many points there are.
    pub n: usize,
    pub head: Vec<usize>,
    pub tail: Vec<usize>,
    /// In (0, 1], of single precision as umap-learn has them: which edges are dropped hangs on it.
    pub weight: Vec<f32>,
}

/// How what two points are to each other is made one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Union {
    /// So many neighbours of a point hang on it in full; between whole numbers on the straight line.
    pub local_connectivity: f64,
    /// 1 is a + b - ab, 0 is ab.
    pub mix: f64,
}

impl Default for Union {
    fn default() -> Union {
        Union {
            local_connectivity: 1.0,
            mix: 1.0,
        }
    }
}

/// Halvings of a bandwidth, and how near its sum comes to what is wanted.
const HALVINGS: usize = 64;
const NEAR: f64 = 1e-5;
/// The least bandwidth, as a share of the mean distance.
const LEAST: f64 = 1e-3;
/// Passes that umap-learn makes over up to 10,000 points.
pub const EPOCHS: usize = 500;
/// Up to so many epochs edges are dropped as if there were `EPOCHS`.
const FEW: usize = 10;

/// By point: from which distance on a neighbour hangs less than in full, and how fast that falls. In single precision throughout, as in
/// umap-learn: where the search for σ ends hangs on it.
pub struct Bandwidths {
    pub rho: Vec<f32>,
    pub sigma: Vec<f32>,
}

/// ρ is the distance of the nearest neighbour that is not at the same place, σ such that Σ exp(-max(0, d - ρ) / σ) over the neighbours but
/// the first is log₂ k, and not below a thousandth of the mean distance.
pub fn bandwidths(near: &Neighbours, local_connectivity: f64) -> Bandwidths {
    let wanted = (near.k as f64).log2();
    let mean = |d: &[f64]| d.iter().sum::<f64>() / d.len() as f64;
    let of_all = mean(&near.distance);
    let (mut rho, mut sigma) = (vec![], vec![]);
    for row in near.distance.chunks_exact(near.k) {
        let single: Vec<f32> = row.iter().map(|d| *d as f32).collect();
        let from = reach(&single, local_connectivity);
        let least = LEAST * if from > 0.0 { mean(row) } else { of_all };
        rho.push(from);
        sigma.push(bandwidth(&single[1..], from, wanted).max(least as f32));
    }
    Bandwidths { rho, sigma }
}

fn reach(row: &[f32], local_connectivity: f64) -> f32 {
    let apart: Vec<f32> = row.iter().copied().filter(|d| *d > 0.0).collect();
    let whole = local_connectivity.floor() as usize;
    let part = local_connectivity - whole as f64;
    if (apart.len() as f64) < local_connectivity {
        return apart.last().copied().unwrap_or(0.0);
    }
    let below = if whole > 0 { apart[whole - 1] } else { 0.0 };
    match part > NEAR {
        // Where there are just as many, what comes after the last is the last.
        true => {
            let next = apart[whole.min(apart.len() - 1)];
            below + (part * f64::from(next - below)) as f32
        }
        false => below,
    }
}

fn bandwidth(row: &[f32], rho: f32, wanted: f64) -> f32 {
    let (mut low, mut high, mut middle) = (0.0f32, f32::MAX, 1.0f32);
    for _ in 0..HALVINGS {
        let mut sum = 0.0f32;
        for d in row {
            sum += (-(d - rho).max(0.0) / middle).exp();
        }
        if (f64::from(sum) - wanted).abs() < NEAR {
            break;
        }
        if f64::from(sum) > wanted {
            high = middle;
        } else {
            low = middle;
            if high == f32::MAX {
                middle *= 2.0;
                continue;
            }
        }
        middle = (low + high) / 2.0;
    }
    middle
}

/// What each neighbour is to a point: exp(-(d - ρ) / σ), 1 up to ρ; never the point itself, nothing that is 0.
pub fn directed(near: &Neighbours, bandwidths: &Bandwidths) -> Graph {
    let n = bandwidths.rho.len();
    let mut edges = BTreeMap::new();
    for i in 0..n {
        let (rho, sigma) = (bandwidths.rho[i], bandwidths.sigma[i]);
        let places = i * near.k..(i + 1) * near.k;
        for place in places {
            let (j, d) = (near.index[place], near.distance[place] as f32 - rho);
            let weight = if d <= 0.0 || sigma == 0.0 {
                1.0
            } else {
                (-d / sigma).exp()
            };
            if j != i && weight > 0.0 {
                edges.insert((i, j), weight);
            }
        }
    }
    Graph::of(n, edges)
}

/// Both directions made one: mix (p + q - pq) + (1 - mix) pq.
pub fn united(directed: &Graph, mix: f64) -> Graph {
    let known: BTreeMap<(usize, usize), f32> = directed.edges().collect();
    let mix = mix as f32;
    let mut edges = BTreeMap::new();
    for (&(i, j), &p) in &known {
        let q = known.get(&(j, i)).copied().unwrap_or(0.0);
        let weight = mix * (p + q - p * q) + (1.0 - mix) * (p * q);
        if weight > 0.0 {
            edges.insert((i, j), weight);
            edges.insert((j, i), weight);
        }
    }
    Graph::of(directed.n, edges)
}

/// The whole graph of neighbours.
pub fn fuzzy(near: &Neighbours, union: &Union) -> Graph {
    let bandwidths = bandwidths(near, union.local_connectivity);
    united(&directed(near, &bandwidths), union.mix)
}

impl Graph {
    fn of(n: usize, edges: BTreeMap<(usize, usize), f32>) -> Graph {
        let mut graph = Graph {
            n,
            head: Vec::with_capacity(edges.len()),
            tail: Vec::with_capacity(edges.len()),
            weight: Vec::with_capacity(edges.len()),
        };
        for ((head, tail), weight) in edges {
            graph.head.push(head);
            graph.tail.push(tail);
            graph.weight.push(weight);
        }
        graph
    }

    pub fn edges(&self) -> impl Iterator<Item = ((usize, usize), f32)> {
        let ends = self.head.iter().copied().zip(self.tail.iter().copied());
        ends.zip(self.weight.iter().copied())
    }

    fn largest(&self) -> f32 {
        self.weight.iter().fold(0.0, |most, w| most.max(*w))
    }

    /// Without the edges that so many epochs would not come to.
    pub fn pruned(&self, epochs: usize) -> Graph {
        let turns = if epochs > FEW { epochs } else { EPOCHS };
        let least = self.largest() / turns as f32;
        Graph::of(self.n, self.edges().filter(|(_, w)| *w >= least).collect())
    }

    /// By edge, how many epochs pass from one turn of it to the next: the strongest has one every epoch.
    pub fn epochs_per_turn(&self, epochs: usize) -> Vec<f64> {
        let (all, largest) = (epochs as f32, self.largest());
        let turns = self.weight.iter().map(|w| f64::from(all * (w / largest)));
        turns.map(|turns| epochs as f64 / turns).collect()
    }

    /// By point, which part of the graph it is in, counted by the parts' first points; and how many parts there are.
    pub fn parts(&self) -> (Vec<usize>, usize) {
        let mut near = vec![vec![]; self.n];
        for ((head, tail), _) in self.edges() {
            near[head].push(tail);
        }
        let mut part = vec![usize::MAX; self.n];
        let mut parts = 0;
        for first in 0..self.n {
            if part[first] != usize::MAX {
                continue;
            }
            let mut waiting = vec![first];
            part[first] = parts;
            while let Some(i) = waiting.pop() {
                for &j in &near[i] {
                    if part[j] == usize::MAX {
                        part[j] = parts;
                        waiting.push(j);
                    }
                }
            }
            parts += 1;
        }
        (part, parts)
    }
}
