//! Paired statistics: against scipy's and numpy's numbers, and by hand.

use crate::reference::Golden;
use crate::study::reference;
use pipe::base::rng::Seed;
use pipe::base::stats;
use pipe::base::stats::paired::{
    RESAMPLES, bootstrap, bootstrap_by, difference, mcnemar, over_trainings, quantile,
};

const ACCEPTED: f64 = 1e-9;

fn near(ours: f64, theirs: f64, within: f64) {
    assert!((ours - theirs).abs() <= within, "{ours} is not {theirs}");
}

#[test]
fn proportions_and_paired_tests_are_those_of_scipy() {
    let Some(folder) = reference(&["statistics.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("statistics"));
    let tests = golden.json["mcnemar"].as_array().unwrap();
    let shares = golden.json["proportions"].as_array().unwrap();
    assert!(tests.len() >= 4 && shares.len() >= 7);
    assert_eq!(golden.json["level"], 0.95);
    let count = |v: &serde_json::Value| v.as_u64().unwrap() as usize;
    for case in tests {
        let p = mcnemar(count(&case["only_a"]), count(&case["only_b"]));
        near(p, case["p_exact"].as_f64().unwrap(), ACCEPTED);
    }
    for case in shares {
        let (low, high) = stats::wilson(count(&case["successes"]), count(&case["n"]));
        near(low, case["wilson"][0].as_f64().unwrap(), ACCEPTED);
        near(high, case["wilson"][1].as_f64().unwrap(), ACCEPTED);
    }
}

#[test]
fn the_paired_bootstrap_is_that_of_numpy_on_the_same_resamples() {
    let Some(folder) = reference(&["statistics.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("statistics"));
    let (a, b) = (golden.get("paired_a"), golden.get("paired_b"));
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| b - a).collect();
    let rows: Vec<Vec<usize>> = golden
        .get("paired_index")
        .chunks_exact(a.len())
        .map(|row| row.iter().map(|i| *i as usize).collect())
        .collect();
    assert!(rows.len() > 100);
    let ours = bootstrap_by(&differences, &rows);
    let theirs = &golden.json["paired_bootstrap"];
    let number = |name: &str| theirs[name].as_f64().unwrap();
    near(ours.mean, number("mean_difference"), ACCEPTED);
    near(ours.standard_error, number("standard_error"), ACCEPTED);
    near(
        ours.share_not_positive,
        number("share_not_positive"),
        ACCEPTED,
    );
    near(
        ours.interval.0,
        theirs["interval"][0].as_f64().unwrap(),
        ACCEPTED,
    );
    near(
        ours.interval.1,
        theirs["interval"][1].as_f64().unwrap(),
        ACCEPTED,
    );
    // Own resamples are others; the answer agrees within the noise of so many.
    let own = bootstrap(&differences, Seed::new(1), RESAMPLES);
    near(
        own.standard_error,
        ours.standard_error,
        0.1 * ours.standard_error,
    );
}

#[test]
fn mcnemar_by_hand_and_where_powers_of_two_vanish() {
    // 2 · (1 + 5) / 2^5
    near(mcnemar(1, 4), 0.375, 1e-15);
    near(mcnemar(0, 5), 0.0625, 1e-15);
    assert_eq!(mcnemar(4, 1), mcnemar(1, 4));
    assert_eq!((mcnemar(0, 0), mcnemar(7, 7)), (1.0, 1.0));
    // The normal approximation with continuity correction: z = (100 - 1) / sqrt(4900) = 1.414, p = 0.157.
    near(mcnemar(2400, 2500), 0.157, 1e-3);
    let tiny = mcnemar(0, 2000);
    assert!((0.0..1e-300).contains(&tiny));
}

#[test]
fn quantiles_lie_on_the_line_between_two_values() {
    let values = [1.0, 2.0, 4.0, 8.0];
    assert_eq!(quantile(&values, 0.0), 1.0);
    assert_eq!(quantile(&values, 0.5), 3.0);
    assert_eq!(quantile(&values, 0.75), 5.0);
    assert_eq!(quantile(&values, 1.0), 8.0);
    assert_eq!(quantile(&[3.0], 0.025), 3.0);
}

#[test]
fn a_bootstrap_is_reproducible_and_its_error_is_that_of_the_mean() {
    // Differences of 0 and 1, half each: the standard error of the mean is 0.5 / sqrt(400).
    let values: Vec<f64> = (0..400).map(|i| f64::from(i % 2)).collect();
    let seed = Seed::new(0).child("paired bootstrap");
    let one = bootstrap(&values, seed, RESAMPLES);
    assert_eq!(one, bootstrap(&values, seed, RESAMPLES));
    assert_ne!(one, bootstrap(&values, seed.at(1), RESAMPLES));
    near(one.standard_error, 0.025, 0.001);
    near(one.interval.0, 0.5 - 1.96 * 0.025, 0.004);
    near(one.interval.1, 0.5 + 1.96 * 0.025, 0.004);
    assert_eq!((one.mean, one.share_not_positive), (0.5, 0.0));
}

#[test]
fn a_difference_has_means_an_interval_and_a_test() {
    // 60 pairs alike, 30 only the second, 10 only the first: +0.2.
    let pairs: Vec<(f64, f64)> = (0..100)
        .map(|i| match i {
            0..60 => (1.0, 1.0),
            60..90 => (0.0, 1.0),
            _ => (1.0, 0.0),
        })
        .collect();
    let d = difference(&pairs, true, Seed::new(3), RESAMPLES);
    assert_eq!((d.pairs, d.first, d.second), (100, 0.7, 0.9));
    near(d.difference, 0.2, 1e-12);
    assert_eq!(d.p, Some(mcnemar(10, 30)));
    // sqrt((0.4 - 0.04) / 100) = 0.06.
    near(d.standard_error.unwrap(), 0.06, 0.003);
    let (low, high) = d.interval.unwrap();
    near(low, 0.2 - 1.96 * 0.06, 0.011);
    near(high, 0.2 + 1.96 * 0.06, 0.011);
    let graded = [(0.5, 1.0), (0.25, 0.0)];
    assert_eq!(difference(&graded, true, Seed::new(3), 100).p, None);
    // Numbers that happen to be 0 and 1 are no outcomes.
    assert_eq!(difference(&pairs, false, Seed::new(3), 100).p, None);
}

#[test]
fn pairs_that_all_agree_are_not_certain() {
    // Clopper and Pearson of 0 in 20: 0.1684 (scipy).
    let same = vec![(1.0, 1.0); 20];
    let d = difference(&same, true, Seed::new(3), 100);
    let (low, high) = d.interval.unwrap();
    near(low, -0.16843347098308548, 1e-9);
    near(high, 0.16843347098308548, 1e-9);
    assert_eq!(
        (d.difference, d.p, d.standard_error),
        (0.0, Some(1.0), None)
    );
    // All 20 of 20 changed: the mean cannot be above 1.
    let changed = vec![(0.0, 1.0); 20];
    let (low, high) = difference(&changed, true, Seed::new(3), 100)
        .interval
        .unwrap();
    near(low, 1.0 - 2.0 * 0.16843347098308548, 1e-9);
    assert_eq!(high, 1.0);
    // Of numbers without bounds nothing can be said.
    let words = vec![(12.0, 13.0); 20];
    assert_eq!(difference(&words, false, Seed::new(3), 100).interval, None);
}

#[test]
fn trainings_are_what_is_repeated() {
    // t(0.975, 2) = 4.302653; sd of 1, 2, 3 is 1.
    let (low, high) = over_trainings(&[1.0, 2.0, 3.0], &[None; 3]).unwrap();
    near(low, 2.0 - 4.302653 / 3.0f64.sqrt(), 1e-6);
    near(high, 2.0 + 4.302653 / 3.0f64.sqrt(), 1e-6);
    assert_eq!(over_trainings(&[1.0], &[Some((0.0, 2.0))]), None);
    let alike = over_trainings(&[0.5, 0.5], &[Some((0.25, 0.75)), Some((0.125, 0.625))]);
    assert_eq!(alike, Some((0.125, 0.75)));
    assert_eq!(over_trainings(&[0.5, 0.5], &[None, Some((0.0, 1.0))]), None);
}
