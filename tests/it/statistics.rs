//! Statistics: against scipy's and numpy's numbers, and by hand.

use crate::reference::Golden;
use crate::study::reference;
use pipe::base::rng::Seed;
use pipe::base::stats;
use pipe::base::stats::crossed::{
    self, ALPHA, Enough, Estimate, Range, Values, either, estimate, holm, of_means,
};
use pipe::base::stats::paired::{RESAMPLES, bootstrap, bootstrap_by, quantile};

const ACCEPTED: f64 = 1e-9;

fn near(ours: f64, theirs: f64, within: f64) {
    assert!((ours - theirs).abs() <= within, "{ours} is not {theirs}");
}

/// Where both metrics are of the same prompts it is a paired comparison; where they are of others, the variances add up.
#[test]
fn a_contrast_knows_which_prompts_both_sides_share() {
    let values = |letter: &str, all: &[f64]| -> Values {
        let each = all.iter().enumerate();
        each.map(|(i, v)| (format!("{letter}{i}"), *v)).collect()
    };
    let (a, b) = ([3.0, 9.0, 4.0, 14.0], [1.0, 8.0, 2.0, 11.0]);
    let both =
        crossed::contrast(vec![values("p", &a)], vec![values("p", &b)], Range::Count).unwrap();
    let differences = values("p", &[2.0, 1.0, 2.0, 3.0]);
    let paired = crossed::estimate(&[vec![differences]], Range::Free).unwrap();
    let (one, two) = (both.interval(0.05).unwrap(), paired.interval(0.05).unwrap());
    assert!(
        (one.0 - two.0).abs() < 1e-9 && (one.1 - two.1).abs() < 1e-9,
        "{one:?} {two:?}"
    );
    let apart =
        crossed::contrast(vec![values("p", &a)], vec![values("q", &b)], Range::Count).unwrap();
    let variance = |all: &[f64]| pipe::base::stats::sd(all).unwrap().powi(2) / 4.0;
    assert!((apart.error().powi(2) - variance(&a) - variance(&b)).abs() < 1e-9);
    // 7 of 10 and 3 of 10: with one of each outcome more, 8 of 12 and 4 of 12.
    let shares = |k: usize| -> Vec<f64> { (0..10).map(|i| f64::from(i < k)).collect() };
    let two = [values("p", &shares(7)), values("q", &shares(3))].map(|v| vec![v]);
    let [more, less] = two;
    let found = crossed::contrast(more, less, Range::Share).unwrap();
    let (low, high) = found.interval(0.05).unwrap();
    assert!((found.value - 0.4).abs() < 1e-12 && ((low + high) / 2.0 - 1.0 / 3.0).abs() < 1e-9);
}

#[test]
fn proportions_are_those_of_scipy() {
    let Some(folder) = reference(&["statistics.json"]) else {
        return;
    };
    let golden = Golden::open(&folder.join("statistics"));
    let shares = golden.json["proportions"].as_array().unwrap();
    assert!(shares.len() >= 7);
    assert_eq!(golden.json["level"], 0.95);
    let count = |v: &serde_json::Value| v.as_u64().unwrap() as usize;
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

/// By seed, of prompts `p0`…: these values.
fn seeds(all: &[&[f64]]) -> Vec<Values> {
    let of = |values: &&[f64]| {
        let each = values.iter().enumerate();
        each.map(|(i, v)| (format!("p{i}"), *v)).collect()
    };
    all.iter().map(of).collect()
}

fn of(all: &[&[f64]], range: Range) -> Estimate {
    estimate(&[seeds(all)], range).unwrap()
}

#[test]
fn one_seed_is_students_interval_over_prompts() {
    let e = of(&[&[1.0, 2.0, 3.0, 6.0]], Range::Free);
    assert_eq!((e.value, e.seeds, e.prompts), (3.0, 1, 4));
    // sd 2.160247, t(0.975, 3) = 3.182446.
    let (low, high) = e.interval(ALPHA).unwrap();
    near(low, 3.0 - 3.182_446 * 2.160_247 / 2.0, 1e-5);
    near(high, 3.0 + 3.182_446 * 2.160_247 / 2.0, 1e-5);
    // t = 3 / 1.080123 = 2.777460: p by R's 2 * pt(-2.777460, 3).
    near(e.p(0.0).unwrap(), 0.069_1, 2e-4);
    // A count is not below zero.
    assert_eq!(
        of(&[&[1.0, 2.0, 3.0, 6.0]], Range::Count)
            .interval(ALPHA)
            .unwrap()
            .0,
        0.0
    );
    assert_eq!(
        e.enough(&[0.0], ALPHA, 100),
        None,
        "one seed says nothing of others"
    );
}

#[test]
fn prompts_of_their_own_leave_students_interval_over_seeds() {
    // Means 1, 2, 3 of prompts that no two seeds share.
    let each: Vec<Values> = (0..3)
        .map(|s| {
            (0..2)
                .map(|i| (format!("{s} {i}"), s as f64 + i as f64 + 0.5))
                .collect()
        })
        .collect();
    let e = estimate(&[each], Range::Free).unwrap();
    let (low, high) = e.interval(ALPHA).unwrap();
    near(low, 2.0 - 4.302_653 / 3.0f64.sqrt(), 1e-5);
    near(high, 2.0 + 4.302_653 / 3.0f64.sqrt(), 1e-5);
    assert_eq!(
        of_means(&[1.0, 2.0, 3.0], 2, Range::Free)
            .unwrap()
            .interval(ALPHA),
        Some((low, high))
    );
}

#[test]
fn seeds_that_agree_leave_the_interval_over_prompts() {
    // The same values in ten seeds: the trainings say nothing new, and the prompts are four all the same.
    let values: &[f64] = &[1.0, 2.0, 3.0, 6.0];
    let ten = of(&[values; 10], Range::Free);
    near(ten.error(), 2.160_247 / 2.0, 1e-6);
    let (low, high) = ten.interval(ALPHA).unwrap();
    near(high - low, 2.0 * stats::Z95 * 2.160_247 / 2.0, 1e-4);
}

#[test]
fn the_interval_ends_where_p_is_one_in_twenty() {
    let values = seeds(&[
        &[1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0],
        &[1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        &[1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0],
    ]);
    for range in [Range::Difference, Range::Free] {
        let e = estimate(std::slice::from_ref(&values), range).unwrap();
        let (low, high) = e.interval(ALPHA).unwrap();
        assert!(low < e.value && e.value < high && high < 1.0);
        near(e.p(low).unwrap(), ALPHA, 1e-6);
        near(e.p(high).unwrap(), ALPHA, 1e-6);
        assert!(e.p(low - 0.01).unwrap() < ALPHA && e.p(low + 0.01).unwrap() > ALPHA);
        let narrow = e.interval(0.2).unwrap();
        assert!(low < narrow.0 && narrow.1 < high);
    }
}

#[test]
fn shares_are_never_certain_and_never_out_of_bounds() {
    let all = vec![1.0; 40];
    for n in [1, 2, 10] {
        let seeds: Vec<&[f64]> = vec![&all; n];
        let (low, high) = of(&seeds, Range::Share).interval(ALPHA).unwrap();
        assert!(
            high == 1.0 && (0.85..0.95).contains(&low),
            "{n} seeds: {low}"
        );
        let none = of(&seeds, Range::Difference).interval(ALPHA).unwrap();
        assert!(none.1 == 1.0 && none.0 < 1.0, "{none:?}");
    }
    let zeros = vec![0.0; 40];
    let (low, high) = of(&[&zeros, &zeros], Range::Difference)
        .interval(ALPHA)
        .unwrap();
    assert!(low < 0.0 && 0.0 < high && high < 0.2, "{low} {high}");
    // Two seeds far apart know little, but no share is above 1.
    let (low, high) = of(&[&all, &zeros], Range::Share).interval(ALPHA).unwrap();
    assert_eq!((low, high), (0.0, 1.0));
    // Of numbers without bounds that are all alike nothing can be said.
    let words = of(&[&[2.0; 5], &[2.0; 5]], Range::Count);
    assert_eq!((words.interval(ALPHA), words.p(0.0)), (None, None));
}

/// More prompts leave the noise of the trainings, which two seeds tell with a t of 12.7.
#[test]
fn prompts_settle_nothing_while_the_seeds_that_there_are_do_not() {
    let at = |add: f64| -> Vec<f64> {
        let value = |i| if i % 2 == 0 { 1.0 } else { -0.7 };
        (0..20).map(|i| value(i) + add).collect()
    };
    let (low, high) = (at(-0.02), at(0.02));
    let e = of(&[&low, &high], Range::Free);
    let Some(Enough::Prompts { prompts, seeds }) = e.enough(&[0.0], ALPHA, 100) else {
        panic!("{e:?}");
    };
    // s = 0.0283; the difference is 0.15. Two seeds alone: 12.7 s / sqrt(2) = 0.254 is above it, whatever the prompts.
    assert!(seeds > 2, "{seeds} seeds of {prompts}");
    // By hand, of n prompts that vary by 0.85 each: (1.96 + 0.84)^2 * 0.7225 * 20 / 19 / n = 0.15^2 alone takes n = 265.
    assert!((265..600).contains(&prompts), "{seeds} seeds of {prompts}");
    // With so many of both it would be settled, even where the trainings' noise is too small beside the prompts' to widen the interval.
    let (seeds, prompts) = (seeds as f64, prompts as f64);
    let (own, common) = (0.0008 / seeds, 0.7605 / prompts);
    let least = 1.96 * common.sqrt() + 0.84 * (own + common).sqrt();
    assert!((0.13..=0.15).contains(&least), "{least}");
}

#[test]
fn a_mean_of_metrics_is_paired_by_seed() {
    // What one metric gains the other loses: the mean of both is known though neither is.
    let a = seeds(&[&[0.3, 0.5], &[0.5, 0.7], &[0.1, 0.3]]);
    let b = seeds(&[&[0.7, 0.5], &[0.5, 0.3], &[0.9, 0.7]]);
    let [one, other] = [&a, &b].map(|v| estimate(std::slice::from_ref(v), Range::Free).unwrap());
    let both = estimate(&[a.clone(), b.clone()], Range::Free).unwrap();
    assert_eq!(both.each, [0.5, 0.5, 0.5]);
    assert!(both.error() < 0.2 * one.error());
    near(one.correlation(&other).unwrap(), -0.5714, 1e-3);
    let twice = estimate(&[a.clone(), a], Range::Free).unwrap();
    near(twice.error(), one.error(), 1e-12);
}

#[test]
fn what_would_settle_it_is_seeds_or_prompts_or_nothing() {
    // Seeds at 0.1, 0.3 of the same 200 prompts, which differ little.
    let noisy: Vec<f64> = (0..200).map(|i| 0.1 + 0.001 * f64::from(i % 2)).collect();
    let more: Vec<f64> = noisy.iter().map(|v| v + 0.2).collect();
    let e = of(&[&noisy, &more], Range::Free);
    assert!(e.p(0.0).unwrap() > 0.2);
    let Some(Enough::Seeds(n)) = e.enough(&[0.0], ALPHA, 100) else {
        panic!("{e:?}");
    };
    assert!((5..=8).contains(&n), "{n}");
    assert!(e.detectable(ALPHA).unwrap() > e.interval(ALPHA).unwrap().1 - e.value);
    // Seeds agree, prompts do not.
    let wild: Vec<f64> = (0..20)
        .map(|i| if i % 2 == 0 { 1.0 } else { -0.7 })
        .collect();
    let e = of(&[&wild, &wild, &wild], Range::Free);
    let Some(Enough::Prompts { prompts, seeds }) = e.enough(&[0.0], ALPHA, 100) else {
        panic!("{e:?}");
    };
    assert!((200..400).contains(&prompts), "{prompts}");
    assert_eq!(seeds, 3);
    assert_eq!(e.enough(&[e.value], ALPHA, 100), Some(Enough::Nothing));
    assert_eq!(Enough::Seeds(3).most(Enough::Seeds(5)), Enough::Seeds(5));
    assert_eq!(Enough::Seeds(3).most(Enough::Nothing), Enough::Nothing);
    let prompts_of = |prompts, seeds| Enough::Prompts { prompts, seeds };
    assert_eq!(Enough::Seeds(3).least(prompts_of(2, 2)), Enough::Seeds(3));
    assert_eq!(Enough::Nothing.least(prompts_of(2, 2)), prompts_of(2, 2));
    assert_eq!(
        prompts_of(20, 3).least(prompts_of(40, 2)),
        prompts_of(20, 3)
    );
    assert_eq!(prompts_of(20, 3).most(prompts_of(40, 2)), prompts_of(40, 3));
    assert_eq!(Enough::Seeds(5).most(prompts_of(40, 2)), prompts_of(40, 5));
    // Nothing varied: no number of seeds like these gives an interval.
    let alike = of(&[&[0.0, 0.0], &[0.0, 0.0]], Range::Free);
    assert_eq!(alike.enough(&[0.1], ALPHA, 100), Some(Enough::Nothing));
}

#[test]
fn many_questions_are_corrected_by_holm() {
    let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
    for (ours, by_r) in corrected.iter().zip([0.03, 0.06, 0.06, 0.02]) {
        near(*ours, by_r, 1e-12);
    }
    assert_eq!(holm(&[0.2]), [0.2]);
    assert_eq!(holm(&[]), [0.0; 0]);
    // Independent: 1 - 0.95². Alike, of many seeds: no correction is left.
    near(either(0.05, None, 3), 0.0975, 1e-6);
    assert!(either(0.05, Some(1.0), 1000) < 0.053);
    let (few, many) = (either(0.05, Some(0.9), 3), either(0.05, Some(0.9), 30));
    assert!(0.05 < many && many < few && few < 0.0975, "{few} {many}");
}

#[test]
fn quantiles_of_any_level_are_those_of_r() {
    for (alpha, freedom, t) in [
        (0.01, 1, 63.656_741),
        (0.2, 2, 1.885_618),
        (0.001, 4, 8.610_302),
        (0.05, 9, 2.262_157),
    ] {
        near(stats::student(alpha, freedom), t, 1e-5);
    }
    for (alpha, z) in [
        (0.05, 1.959_964),
        (0.01, 2.575_829),
        (0.4, 0.841_621),
        (1e-6, 4.891_638),
    ] {
        near(stats::normal(alpha), z, 1e-5);
    }
    for (below, freedom, x) in [
        (0.025, 1, 0.000_982_069),
        (0.975, 1, 5.023_886),
        (0.025, 4, 0.484_419),
        (0.975, 4, 11.143_287),
        (0.025, 9, 2.700_389),
        (0.975, 9, 19.022_768),
    ] {
        near(stats::chi_square(below, freedom), x, 1e-6);
    }
    // Where the cube root takes over.
    for below in [0.025, 0.975] {
        let [exact, next] = [300, 301].map(|k| stats::chi_square(below, k) / k as f64);
        near(exact, next, 1e-3);
    }
    near(stats::within(3.0), 0.997_300_204, 1e-9);
    near(stats::within(2.999_999), stats::within(3.000_001), 1e-7);
    near(
        stats::normal_square(1.0, 0.0),
        0.682_689_49 * 0.682_689_49,
        1e-6,
    );
}
