//! The room `analysis` where no golden file looks: what each point adds to a number, eigenvectors that are known, optima that two ways lead
//! to, pictures of graphs that fall apart.

use pipe::analysis::auroc::{self, auroc, placements};
use pipe::analysis::cka::Alignment;
use pipe::analysis::clusters::Silhouettes;
use pipe::analysis::logistic::Logistic;
use pipe::analysis::points::{Metric, Points, dot};
use pipe::analysis::probe::{self, Probe};
use pipe::analysis::sides::{Apart, Sides};
use pipe::analysis::solve::{Cholesky, eigen, solve_consistent};
use pipe::analysis::spectrum::{Sparse, lowest};
use pipe::analysis::svm::{Cost, Svm};
use pipe::analysis::trust::trustworthiness;
use pipe::analysis::umap::{Settings, Umap};
use pipe::base::rng::Seed;
use pipe::base::stats;
use std::f64::consts::PI;

/// Two clouds of normal draws, this far apart along the first coordinate; every third point is of label `true`.
fn clouds(n: usize, width: usize, gap: f64, seed: u64) -> (Points, Vec<bool>) {
    let mut rng = Seed::new(seed).rng();
    let labels: Vec<bool> = (0..n).map(|i| i % 3 == 0).collect();
    let mut values = vec![];
    for label in &labels {
        for column in 0..width {
            let shift = if *label && column == 0 { gap } else { 0.0 };
            values.push(rng.normal() + shift);
        }
    }
    (Points::new(values, width), labels)
}

fn without<T: Copy>(all: &[T], i: usize) -> Vec<T> {
    [&all[..i], &all[i + 1..]].concat()
}

/// n θ - (n - 1) θ(i), less their mean, with θ(i) computed from what is left.
fn jackknife(n: usize, whole: f64, left: impl Fn(usize) -> f64) -> Vec<f64> {
    let pseudo: Vec<f64> = (0..n)
        .map(|i| n as f64 * whole - (n - 1) as f64 * left(i))
        .collect();
    let mean = stats::mean(&pseudo).unwrap();
    pseudo.iter().map(|p| p - mean).collect()
}

fn close(ours: &[f64], other: &[f64]) {
    assert_eq!(ours.len(), other.len());
    let scale = other.iter().fold(1e-12f64, |most, x| most.max(x.abs()));
    for (a, b) in ours.iter().zip(other) {
        assert!((a - b).abs() < 1e-8 * scale, "{a} is not {b}");
    }
}

#[test]
fn what_a_point_adds_is_what_its_absence_takes() {
    let n = 23;
    let (points, labels) = clouds(n, 5, 1.5, 1);
    let (other, _) = clouds(n, 7, 1.0, 2);
    let kept = |i: usize| without(&(0..n).collect::<Vec<_>>(), i);
    let numbers: [fn(&Apart) -> f64; 4] = [
        |a| a.distance,
        |a| a.fisher,
        |a| a.d_prime,
        |a| a.axis_auroc,
    ];
    let sides = Sides::of(&points, &labels);
    for of in numbers {
        let whole = of(&sides.apart());
        let slow = jackknife(n, whole, |i| {
            of(&Sides::of(&points.taken(&kept(i)), &without(&labels, i)).apart())
        });
        close(&sides.influences(of), &slow);
    }
    for metric in [Metric::Euclidean, Metric::Cosine] {
        let distances = metric.distances(&points);
        let silhouettes = Silhouettes::of(&distances, &labels);
        let slow = jackknife(n, silhouettes.mean(), |i| {
            let distances = metric.distances(&points.taken(&kept(i)));
            Silhouettes::of(&distances, &without(&labels, i)).mean()
        });
        close(&silhouettes.influences(), &slow);
    }
    let alignment = Alignment::of(&points, &other);
    let slow = jackknife(n, alignment.cka(), |i| {
        Alignment::of(&points.taken(&kept(i)), &other.taken(&kept(i))).cka()
    });
    close(&alignment.influences(), &slow);
    let scores: Vec<f64> = points.rows().map(|row| row[0]).collect();
    let slow = jackknife(n, auroc(&scores, &labels), |i| {
        auroc(&without(&scores, i), &without(&labels, i))
    });
    close(&auroc::influences(&scores, &labels), &slow);
}

#[test]
fn the_variance_of_an_area_is_delong_s() {
    let (points, labels) = clouds(60, 1, 1.0, 3);
    let scores: Vec<f64> = points.rows().map(|row| row[0]).collect();
    let placed = placements(&scores, &labels);
    let variance = |of: bool| {
        let own = placed.iter().zip(&labels);
        let own: Vec<f64> = own.filter_map(|(v, l)| (*l == of).then_some(*v)).collect();
        let sd = stats::sd(&own).unwrap();
        sd * sd / own.len() as f64
    };
    let delong = variance(true) + variance(false);
    let influences = auroc::influences(&scores, &labels);
    let sd = stats::sd(&influences).unwrap();
    let ours = sd * sd / influences.len() as f64;
    // The jackknife divides by n - 1 where DeLong divides by n, of each label.
    assert!((ours / delong - 1.0).abs() < 0.06, "{ours} and {delong}");
    let sum: f64 = influences.iter().sum();
    assert!(sum.abs() < 1e-9, "{sum}");
}

/// The interval of a number by what each point adds to it holds the number's mean over many draws about as often as it says.
#[test]
fn intervals_by_what_points_add_hold_what_they_say() {
    let ids: Vec<String> = (0..120).map(|i| i.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let told = |seed: u64| -> [(f64, Vec<f64>); 3] {
        let (points, labels) = clouds(120, 2, 1.5, 1000 + seed);
        let distances = Metric::Euclidean.distances(&points);
        let silhouettes = Silhouettes::of(&distances, &labels);
        let sides = Sides::of(&points, &labels);
        let fold = probe::deal(&ids, &labels, 5);
        let probe = Probe {
            c: 1.0,
            scaled: true,
        };
        let scores = probe.out_of_fold(&points, &labels, &fold);
        [
            (silhouettes.mean(), silhouettes.influences()),
            (sides.apart().d_prime, sides.influences(|a| a.d_prime)),
            probe::area(&scores, &labels, &fold),
        ]
    };
    let draws: Vec<[(f64, Vec<f64>); 3]> = (0..200).map(told).collect();
    for number in 0..3 {
        let each: Vec<f64> = draws.iter().map(|draw| draw[number].0).collect();
        let mean = stats::mean(&each).unwrap();
        let held = draws.iter().filter(|draw| {
            let (value, influences) = &draw[number];
            let values: Vec<f64> = influences.iter().map(|i| value + i).collect();
            let (low, high) = stats::mean_interval(&values).unwrap();
            low <= mean && mean <= high
        });
        let share = held.count() as f64 / 200.0;
        assert!((0.88..=0.99).contains(&share), "{number}: {share}");
    }
}

#[test]
fn what_is_one_observation_is_in_one_fold_and_labels_are_dealt_apart() {
    let ids = ["a", "b", "a", "c", "d", "e", "a", "f"];
    let labels = [true, true, true, false, false, true, true, false];
    let fold = probe::deal(&ids, &labels, 2);
    assert_eq!(fold, [0, 1, 0, 0, 1, 0, 0, 0]);
    assert_eq!(probe::sizes(&fold, &labels), [vec![2, 1], vec![4, 1]]);
    // The area of folds is the mean of the values behind it.
    let scores = [0.9, 0.2, 0.4, 0.5, 0.3, 0.8, 0.1, 0.2];
    let (area, influences) = probe::area(&scores, &labels, &fold);
    let by_fold = probe::by_fold(&scores, &labels, &fold);
    assert!((area - (6.0 * by_fold[0] + 2.0 * by_fold[1]) / 8.0).abs() < 1e-12);
    assert!(influences.iter().sum::<f64>().abs() < 1e-9);
}

#[test]
fn both_forms_of_the_probe_have_one_optimum() {
    // Columns of zeros say nothing, but with them there are more dimensions than points.
    let (points, labels) = clouds(40, 6, 1.0, 4);
    let wide: Vec<f64> = points
        .rows()
        .flat_map(|row| row.iter().copied().chain([0.0; 60]))
        .collect();
    let wide = Points::new(wide, 66);
    for c in [0.01, 1.0, 1000.0] {
        let primal = Logistic::fit(&points, &labels, c);
        let dual = Logistic::fit(&wide, &labels, c);
        close(&dual.w[..6], &primal.w);
        close(&[dual.b], &[primal.b]);
        // The slope is 0 in every direction: w = C Σ y x / (1 + exp(y f)).
        let mut pull = vec![0.0; 6];
        let mut balance = 0.0;
        for (row, label) in points.rows().zip(&labels) {
            let y = if *label { 1.0 } else { -1.0 };
            let share = c * y / (1.0 + (y * primal.score(row)).exp());
            balance += share;
            pull.iter_mut().zip(row).for_each(|(p, x)| *p += share * x);
        }
        close(&pull, &primal.w);
        assert!(balance.abs() < 1e-8 * c, "{balance}");
    }
    // Where nothing of the label is in the points a probe out of fold knows nothing.
    let (points, labels) = clouds(400, 20, 0.0, 5);
    let ids: Vec<String> = (0..400).map(|i| i.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let fold = probe::deal(&ids, &labels, 5);
    let probe = Probe {
        c: 1.0,
        scaled: true,
    };
    let (area, _) = probe::area(&probe.out_of_fold(&points, &labels, &fold), &labels, &fold);
    assert!((area - 0.5).abs() < 0.1, "{area}");
}

#[test]
fn a_margin_is_the_gap_between_what_it_parts() {
    // Two lines of points at x = -1 and x = 3: half the way between them, the gap as wide as the margin.
    let rows = [
        -1.0, 0.0, -1.0, 1.0, -1.0, 2.0, 3.0, 0.0, 3.0, 1.0, 3.0, 2.0,
    ];
    let points = Points::new(rows.to_vec(), 2);
    let labels = [false, false, false, true, true, true];
    let cost = Cost {
        c: 10.0,
        balanced: false,
    };
    let svm = Svm::fit(&points, &labels, cost);
    assert!((svm.margin() - 4.0).abs() < 1e-9, "{svm:?}");
    assert!(svm.value(&[1.0, 7.0]).abs() < 1e-9, "{svm:?}");
    // The same points in another order, and once more each at half the cost, are the same problem.
    let (points, labels) = clouds(90, 2, 1.0, 6);
    let whole = Svm::fit(&points, &labels, Cost { c: 2.0, ..cost });
    let mut order: Vec<usize> = (0..90).collect();
    Seed::new(7).rng().shuffle(&mut order);
    let twice: Vec<usize> = order.iter().chain(&order).copied().collect();
    let twice_labels: Vec<bool> = twice.iter().map(|&i| labels[i]).collect();
    let doubled = Svm::fit(
        &points.taken(&twice),
        &twice_labels,
        Cost { c: 1.0, ..cost },
    );
    close(&doubled.w, &whole.w);
    close(&[doubled.b, doubled.objective], &[whole.b, whole.objective]);
    // Balanced, a label's points weigh the same however many they are.
    let more: Vec<usize> = (0..90).chain((0..90).filter(|i| labels[*i])).collect();
    let more_labels: Vec<bool> = more.iter().map(|&i| labels[i]).collect();
    let balanced = |points: &Points, labels: &[bool], c: f64| {
        let balanced = true;
        Svm::fit(points, labels, Cost { c, balanced })
    };
    let one = balanced(&points, &labels, 90.0);
    let other = balanced(&points.taken(&more), &more_labels, 90.0 * 90.0 / 120.0);
    close(&other.w, &one.w);
}

#[test]
fn eigenvectors_of_a_path_are_cosines() {
    // Of the path's Laplacian: 2 - 2 cos(π k / n), with cos(π k (i + ½) / n).
    let n = 300usize;
    let rows = (0..n)
        .map(|i| {
            let near = [i.checked_sub(1), (i + 1 < n).then_some(i + 1)];
            let near: Vec<usize> = near.into_iter().flatten().collect();
            let own = [(i, near.len() as f64)];
            own.into_iter()
                .chain(near.iter().map(|&j| (j, -1.0)))
                .collect()
        })
        .collect();
    let (values, vectors) = lowest(&Sparse { rows }, 4.0, 4, Seed::new(0));
    for (k, (value, vector)) in values.iter().zip(&vectors).enumerate() {
        let step = PI * k as f64 / n as f64;
        assert!((value - (2.0 - 2.0 * step.cos())).abs() < 1e-10, "{value}");
        let expected: Vec<f64> = (0..n).map(|i| (step * (i as f64 + 0.5)).cos()).collect();
        let length = dot(&expected, &expected).sqrt();
        let overlap = dot(vector, &expected).abs() / length;
        assert!((overlap - 1.0).abs() < 1e-9, "{k}: {overlap}");
    }
    // Parts that hang together by a thread: values far closer to each other than to the rest.
    let row = |i: usize| -> Vec<(usize, f64)> {
        let part = (0..90).filter(|j| j / 30 == i / 30);
        let entry = |j: usize| if i == j { 29.0 } else { -1.0 } / 30.0;
        part.map(|j| (j, entry(j))).collect()
    };
    let mut rows: Vec<Vec<(usize, f64)>> = (0..90).map(row).collect();
    for (i, j, w) in [(0, 30, 1e-7), (30, 60, 2e-7)] {
        rows[i].extend([(j, -w), (i, w)]);
        rows[j].extend([(i, -w), (j, w)]);
    }
    let (values, vectors) = lowest(&Sparse { rows }, 2.0, 3, Seed::new(0));
    // A path of three with these weights, over 30 points each: the roots of x² - 2 (u + v) x + 3 u v.
    let root = |sign: f64| (3e-7 + sign * (9e-14f64 - 6e-14).sqrt()) / 30.0;
    // To first order in them.
    for (value, root) in values[1..].iter().zip([root(-1.0), root(1.0)]) {
        assert!((value / root - 1.0).abs() < 1e-5, "{value}, not {root}");
    }
    let spread = |of: &[f64]| of.iter().fold(0.0f64, |m, x| m.max((x - of[0]).abs()));
    assert!(spread(&vectors[1][..30]) < 1e-6, "a part is one");
}

#[test]
fn systems_short_of_rank_are_solved_where_they_can_be() {
    let a = vec![2.0, 1.0, 3.0, 4.0, 2.0, 6.0, 0.0, 1.0, 1.0];
    let x = solve_consistent(a.clone(), vec![6.0, 12.0, 2.0], 3);
    for (row, right) in a.chunks_exact(3).zip([6.0, 12.0, 2.0]) {
        assert!((dot(row, &x) - right).abs() < 1e-9, "{x:?}");
    }
    assert!(Cholesky::new(vec![1.0, 2.0, 2.0, 1.0], 2).is_none());
    let factor = Cholesky::new(vec![4.0, 0.0, 2.0, 3.0], 2).unwrap();
    let mut b = vec![8.0, 7.0];
    factor.solve(&mut b);
    close(&b, &[1.25, 1.5]);
    let (values, vectors) = eigen(vec![2.0, 1.0, 1.0, 2.0], 2);
    close(&values, &[1.0, 3.0]);
    assert!((vectors[0] + vectors[1]).abs() < 1e-12);
}

#[test]
fn a_picture_of_many_parts_is_finite_and_keeps_them_apart() {
    // Six clouds so far from each other that no neighbour is in another one, and three points alone far away.
    let mut rng = Seed::new(8).rng();
    let mut rows = vec![];
    for cloud in 0..6 {
        for _ in 0..20 {
            let place = [f64::from(cloud) * 100.0, f64::from(cloud % 2) * 90.0, 0.0];
            rows.extend(place.map(|x| x + rng.normal()));
        }
    }
    for i in 0..3 {
        rows.extend([-900.0, 0.01 * f64::from(i), 5.0]);
    }
    let points = Points::new(rows, 3);
    let settings = Settings {
        neighbours: 3,
        min_dist: 0.1,
        metric: Metric::Euclidean,
        epochs: 100,
    };
    let distances = Metric::Euclidean.distances(&points);
    let umap = Umap::of(&points, &distances, &settings, Seed::new(0));
    let picture = umap.picture(Seed::new(1));
    assert!(picture.as_flattened().iter().all(|x| x.is_finite()));
    let again = Umap::of(&points, &distances, &settings, Seed::new(0));
    assert_eq!(
        again.picture(Seed::new(1)),
        picture,
        "one seed, one picture"
    );
    assert_ne!(
        again.picture(Seed::new(2)),
        picture,
        "another seed, another"
    );
    let kept = trustworthiness(&distances, &Points::planar(&picture), 5).unwrap();
    assert!(kept > 0.9, "{kept}");
    assert_eq!(
        trustworthiness(&distances, &Points::planar(&picture), 62),
        None
    );
}
