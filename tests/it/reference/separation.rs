//! Separations, probes and clusters against scikit-learn: every set of points, cost and label that the files hold, and what the
//! first set of goldens has of them.

use super::{Golden, Parity};
use crate::study::{attack, reference};
use pipe::analysis::auroc::auroc;
use pipe::analysis::clusters::{Silhouettes, calinski_harabasz, davies_bouldin};
use pipe::analysis::points::{Metric, Points};
use pipe::analysis::probe::{self, Probe, Scaler};
use pipe::analysis::sides::{self, Sides};
use pipe::analysis::svm::{Cost, Svm};
use serde_json::Value;

/// Points of a golden record.
pub fn points(golden: &Golden, name: &str) -> Points {
    let width = *golden.shape(name).last().expect("a width");
    Points::new(golden.get(name).to_vec(), width)
}

pub fn labels(golden: &Golden, name: &str) -> Vec<bool> {
    golden.get(name).iter().map(|x| *x == 1.0).collect()
}

pub fn whole(golden: &Golden, name: &str) -> Vec<usize> {
    golden.get(name).iter().map(|x| *x as usize).collect()
}

pub fn number(value: &Value, name: &str) -> f64 {
    let number = value[name].as_f64();
    number.unwrap_or_else(|| panic!("{name} is a number"))
}

pub fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().expect("a table of entries").iter()
}

/// A margin this wide parts nothing, in points of a few units.
pub const NO_MARGIN: f64 = 1e4;

/// How far a number is from the golden one, of its size, or of 1 where it is small.
pub fn off(ours: f64, golden: f64) -> f64 {
    assert!(ours.is_finite(), "a finite number");
    (ours - golden).abs() / golden.abs().max(1.0)
}

/// The largest difference of two lists, of the largest golden number.
pub fn off_of_largest(ours: &[f64], golden: &[f64]) -> f64 {
    assert_eq!(ours.len(), golden.len(), "as many numbers as the golden");
    assert!(ours.iter().all(|x| x.is_finite()), "finite numbers");
    let scale = golden.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    let each = ours.iter().zip(golden).map(|(a, b)| (a - b).abs());
    each.fold(0.0, f64::max) / scale
}

/// The numbers of two clouds that need no fit, each with its name in the goldens.
pub fn apart(points: &Points, labels: &[bool]) -> Vec<(&'static str, f64)> {
    let of = Sides::of(points, labels).apart();
    let silhouette = |metric: Metric| Silhouettes::of(&metric.distances(points), labels).mean();
    vec![
        ("centroid_cosine", sides::centroid_cosine(points, labels)),
        ("centroid_distance", of.distance),
        ("fisher_trace", of.fisher),
        ("d_prime", of.d_prime),
        ("auroc_centroid_axis", of.axis_auroc),
        ("silhouette", silhouette(Metric::Euclidean)),
        ("silhouette_cosine", silhouette(Metric::Cosine)),
        ("davies_bouldin", davies_bouldin(points, labels)),
        ("calinski_harabasz", calinski_harabasz(points, labels)),
    ]
}

pub fn check_apart(
    parity: &mut Parity,
    golden: &Value,
    points: &Points,
    labels: &[bool],
    case: &str,
) {
    for (name, ours) in apart(points, labels) {
        parity.check(off(ours, number(golden, name)), &format!("{case}, {name}"));
    }
}

pub fn check_aurocs(
    parity: &mut Parity,
    golden: &Value,
    names: [&str; 3],
    (scores, labels, fold): (&[f64], &[bool], &[usize]),
    case: &str,
) {
    let by_fold = probe::by_fold(scores, labels, fold);
    let [each, mean, pooled] = names;
    let expected = golden[each].as_array().expect("an area a fold");
    assert_eq!(by_fold.len(), expected.len());
    for (ours, golden) in by_fold.iter().zip(expected) {
        parity.check(off(*ours, golden.as_f64().expect("an area")), case);
    }
    let ours = by_fold.iter().sum::<f64>() / by_fold.len() as f64;
    parity.check(off(ours, number(golden, mean)), case);
    parity.check(off(auroc(scores, labels), number(golden, pooled)), case);
}

#[test]
fn margins_agree_with_the_exact_optimum_whatever_the_cost() {
    let Some(folder) = attack(&["separation.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("separation"));
    let mut margins = Parity::new("SVM: w, b, margin, objective", 1e-6);
    let mut counts = Parity::new("SVM: points that w is made of", f64::MIN_POSITIVE);
    for (key, case) in entries(&golden.json["svm"]) {
        // `SET.C<cost>`, and what else is said of it; a cost has a point of its own in 0.01.
        let (set, rest) = key.split_once(".C").expect("a set and a cost");
        let (cost, kind) = match rest.rsplit_once('.') {
            Some((cost, kind)) if kind.parse::<f64>().is_err() => (cost, kind),
            _ => (rest, ""),
        };
        if kind == "penalised_intercept" {
            continue;
        }
        let labels = labels(&golden, &format!("{set}.labels"));
        let mut points = points(&golden, &format!("{set}.points"));
        if kind == "scaled" {
            points = Scaler::of(&points).all(&points);
        }
        let cost = Cost {
            c: cost.parse().expect("a cost"),
            balanced: kind == "balanced",
        };
        let svm = Svm::fit(&points, &labels, cost);
        // Where nothing parts the sides w is 0 but for rounding, and any margin beyond all sizes is as good.
        match number(case, "margin") > NO_MARGIN {
            true => counts.same(svm.margin() > NO_MARGIN, true, key),
            false => margins.check(off(svm.margin(), number(case, "margin")), key),
        }
        let w = case["w"].as_array().expect("a direction");
        let largest = w.iter().map(|x| x.as_f64().expect("a number").abs());
        let largest = largest.fold(1.0, f64::max);
        for (ours, golden) in svm.w.iter().zip(w) {
            let golden = golden.as_f64().expect("a number");
            margins.check((ours - golden).abs() / largest, key);
        }
        if case["intercept_unique"] != false {
            margins.check(off(svm.b, number(case, "b")), key);
        }
        if let Some(objective) = case["objective"].as_f64() {
            margins.check(off(svm.objective, objective), key);
        }
        let parted = svm.margin() < NO_MARGIN;
        if set != "repeated" && parted && !case["support"].is_null() {
            let golden = case["support"].as_array().expect("a count a label");
            let golden: Vec<u64> = golden
                .iter()
                .map(|n| n.as_u64().expect("a count"))
                .collect();
            counts.same(svm.support.map(|n| n as u64).to_vec(), golden, key);
        }
        if let Some(accuracy) = case["accuracy"].as_f64() {
            let right = points.rows().zip(&labels);
            let right = right.filter(|(x, label)| (svm.value(x) > 0.0) == **label);
            let ours = right.count() as f64 / labels.len() as f64;
            counts.same(ours, accuracy, key);
        }
    }
    margins.report();
    counts.report();
}

#[test]
fn two_clouds_are_as_far_apart_as_scikit_learn_says() {
    let Some(folder) = attack(&["separation.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("separation"));
    let mut scores = Parity::new("separation: scores", 1e-6);
    let mut samples = Parity::new("separation: silhouettes of points", 1e-6);
    for (set, case) in entries(&golden.json["scores"]) {
        let (points, labels) = match case["points"].as_array() {
            // A label with one member has a silhouette of 0 and nothing else.
            Some(rows) => {
                let numbers = rows.iter().flat_map(|row| row.as_array().expect("a row"));
                let numbers = numbers.map(|x| x.as_f64().expect("a number")).collect();
                let width = rows[0].as_array().expect("a row").len();
                let labels = case["labels"].as_array().expect("labels");
                let labels = labels.iter().map(|l| l.as_u64() == Some(1)).collect();
                (Points::new(numbers, width), labels)
            }
            None => {
                let labels = labels(&golden, &format!("{set}.labels"));
                (points(&golden, &format!("{set}.points")), labels)
            }
        };
        let distances = Metric::Euclidean.distances(&points);
        let ours = Silhouettes::of(&distances, &labels).samples();
        let expected: Vec<f64> = match case["silhouette_samples"].as_array() {
            Some(given) => given
                .iter()
                .map(|x| x.as_f64().expect("a number"))
                .collect(),
            None => {
                check_apart(&mut scores, case, &points, &labels, set);
                golden.get(&format!("{set}.silhouette_samples")).to_vec()
            }
        };
        for (ours, golden) in ours.iter().zip(&expected) {
            samples.check(off(*ours, *golden), set);
        }
    }
    scores.report();
    samples.report();
}

#[test]
fn the_area_under_the_curve_counts_ties_by_half() {
    let Some(folder) = attack(&["separation.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("separation"));
    let mut areas = Parity::new("AUROC with ties", 1e-9);
    for (i, case) in golden.json["auroc"]
        .as_array()
        .expect("cases")
        .iter()
        .enumerate()
    {
        let numbers = |name: &str| -> Vec<f64> {
            let list = case[name].as_array().expect("a list");
            list.iter().map(|x| x.as_f64().expect("a number")).collect()
        };
        let labels: Vec<bool> = numbers("labels").iter().map(|l| *l == 1.0).collect();
        let ours = auroc(&numbers("scores"), &labels);
        areas.check(off(ours, number(case, "auroc")), &format!("case {i}"));
    }
    areas.report();
}

#[test]
fn a_probe_scores_as_scikit_learn_s_logistic_regression_does() {
    let Some(folder) = attack(&["separation.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("separation"));
    let (x, y) = (points(&golden, "probe.x"), labels(&golden, "probe.labels"));
    let fold = whole(&golden, "probe.fold");
    let mut scores = Parity::new("probe: scores out of fold", 1e-4);
    // The direction in which the loss is flattest: scikit-learn's own solvers differ by 7e-5 in it.
    let mut intercepts = Parity::new("probe: intercepts", 1e-3);
    let mut areas = Parity::new("probe: AUROC", 1e-3);
    for (key, case) in entries(&golden.json["probe"]) {
        let cost = key.trim_start_matches('C').trim_end_matches(".scaled");
        let probe = Probe {
            c: cost.parse().expect("a cost"),
            scaled: key.ends_with(".scaled"),
        };
        let ours = probe.out_of_fold(&x, &y, &fold);
        let expected = golden.get(&format!("probe.scores.{key}"));
        scores.check(off_of_largest(&ours, expected), key);
        let names = ["auroc_per_fold", "auroc_mean", "auroc_pooled"];
        check_aurocs(&mut areas, case, names, (&ours, &y, &fold), key);
        let train: Vec<usize> = (0..y.len()).filter(|i| fold[*i] != 0).collect();
        let of_train: Vec<bool> = train.iter().map(|&i| y[i]).collect();
        let first = probe.fit(&x.taken(&train), &of_train).fit;
        let length = first.w.iter().map(|w| w * w).sum::<f64>().sqrt();
        scores.check(off(length, number(&case["fold0"], "w_l2")), key);
        intercepts.check(off(first.b, number(&case["fold0"], "b")), key);
    }
    // What labels that mean nothing show.
    let y = labels(&golden, "shuffled.labels");
    let fold = whole(&golden, "shuffled.fold");
    let plain = Probe {
        c: 1.0,
        scaled: false,
    };
    let ours = plain.out_of_fold(&x, &y, &fold);
    scores.check(
        off_of_largest(&ours, golden.get("shuffled.scores")),
        "shuffled",
    );
    let case = &golden.json["shuffled"];
    let names = ["probe_auroc_per_fold", "probe_auroc", "probe_auroc_pooled"];
    check_aurocs(&mut areas, case, names, (&ours, &y, &fold), "shuffled");
    let mut apart = Parity::new("separation: scores of shuffled labels", 1e-6);
    check_apart(&mut apart, case, &x, &y, "shuffled");
    scores.report();
    intercepts.report();
    areas.report();
    apart.report();
}

#[test]
fn the_first_set_of_separations_agrees_too() {
    let Some(folder) = reference(&["analysis.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("analysis"));
    let mut margins = Parity::new("analysis: SVM w, b, margin", 1e-4);
    let y = labels(&golden, "point_labels");
    for (key, case) in entries(&golden.json["svm"]) {
        let (set, c) = key.split_once(".C").expect("a set and a cost");
        let cost = Cost {
            c: c.parse().expect("a cost"),
            balanced: false,
        };
        let svm = Svm::fit(&points(&golden, &format!("points_{set}")), &y, cost);
        margins.check(off(svm.margin(), number(case, "margin")), key);
        margins.check(off(svm.b, number(case, "b")), key);
        for (ours, golden) in svm.w.iter().zip(case["w"].as_array().expect("a direction")) {
            margins.check(off(*ours, golden.as_f64().expect("a number")), key);
        }
    }
    let mut silhouettes = Parity::new("analysis: silhouettes", 1e-4);
    for (set, mean) in entries(&golden.json["silhouette"]) {
        let distances = Metric::Euclidean.distances(&points(&golden, &format!("points_{set}")));
        let of = Silhouettes::of(&distances, &y);
        silhouettes.check(off(of.mean(), mean.as_f64().expect("a number")), set);
        let name = format!("silhouette_{set}");
        if golden.has(&name) {
            for (ours, golden) in of.samples().iter().zip(golden.get(&name)) {
                silhouettes.check(off(*ours, *golden), set);
            }
        }
    }
    let (x, y) = (points(&golden, "probe_x"), labels(&golden, "probe_labels"));
    let fold = whole(&golden, "probe_fold");
    let plain = Probe {
        c: 1.0,
        scaled: false,
    };
    let ours = plain.out_of_fold(&x, &y, &fold);
    let mut scores = Parity::new("analysis: probe scores", 1e-4);
    scores.check(off_of_largest(&ours, golden.get("probe_scores")), "probe");
    let case = &golden.json["probe"];
    let mut areas = Parity::new("analysis: probe AUROC", 1e-3);
    let names = ["auroc_per_fold", "auroc_mean", "auroc_pooled"];
    check_aurocs(&mut areas, case, names, (&ours, &y, &fold), "probe");
    for (name, ours) in apart(&x, &y) {
        if let Some(expected) = case[name].as_f64() {
            silhouettes.check(off(ours, expected), name);
        }
    }
    margins.report();
    silhouettes.report();
    scores.report();
    areas.report();
}
