//! How often the intervals of simulated studies hold the truth: binary outcomes, with effects of the seed and of the prompt on each
//! side and on both together.

use pipe::base::rng::{Rng, Seed};
use pipe::base::stats::crossed::{ALPHA, Range, Values, contrast, estimate};
use pipe::report::verdicts::decide;

/// Of a study: log-odds of both sides, and the spreads of what moves them.
struct World {
    sides: [f64; 2],
    /// Of a seed: on both sides, on each.
    seed: [f64; 2],
    /// Of a prompt: on both sides, on each.
    prompt: [f64; 2],
}

impl World {
    fn draw(rng: &mut Rng) -> World {
        let between = |low: f64, high: f64, rng: &mut Rng| low + (high - low) * rng.unit();
        let first = between(-1.0, 2.5, rng);
        World {
            sides: [first, first + between(-1.0, 1.0, rng)],
            seed: [between(0.0, 0.5, rng), between(0.0, 0.6, rng)],
            prompt: [between(0.5, 2.0, rng), between(0.2, 1.0, rng)],
        }
    }

    /// The mean of one side over all seeds and prompts that there could be.
    fn truth(&self, side: usize) -> f64 {
        let all = self.seed.iter().chain(&self.prompt);
        let spread = all.map(|s| s * s).sum::<f64>().sqrt();
        let (mut sum, mut weights) = (0.0, 0.0);
        for i in -400..=400 {
            let z = f64::from(i) / 50.0;
            let weight = (-z * z / 2.0).exp();
            sum += weight * share(self.sides[side] + spread * z);
            weights += weight;
        }
        sum / weights
    }

    /// By seed: the differences, and the second side's values.
    fn study(&self, seeds: usize, prompts: usize, rng: &mut Rng) -> [Vec<Values>; 2] {
        let [first, second] = self.sides_of(seeds, prompts, rng);
        let less = |a: &Values, b: &Values| -> Values {
            let pairs = b.iter().zip(a.values());
            pairs.map(|((name, b), a)| (name.clone(), b - a)).collect()
        };
        let pairs = first.iter().zip(&second);
        [pairs.map(|(a, b)| less(a, b)).collect(), second]
    }

    /// By seed: the values of both sides.
    fn sides_of(&self, seeds: usize, prompts: usize, rng: &mut Rng) -> [Vec<Values>; 2] {
        let of_prompt: Vec<[f64; 2]> = (0..prompts).map(|_| effects(self.prompt, rng)).collect();
        let mut found = [vec![], vec![]];
        for _ in 0..seeds {
            let of_seed = effects(self.seed, rng);
            let mut values = [Values::new(), Values::new()];
            for (i, of_prompt) in of_prompt.iter().enumerate() {
                let mut outcome = |side: usize| {
                    let odds = self.sides[side] + of_seed[side] + of_prompt[side];
                    f64::from(rng.chance(share(odds)))
                };
                let (a, b) = (outcome(0), outcome(1));
                values[0].insert(format!("{i:03}"), a);
                values[1].insert(format!("{i:03}"), b);
            }
            let [first, second] = values;
            found[0].push(first);
            found[1].push(second);
        }
        found
    }
}

fn share(odds: f64) -> f64 {
    1.0 / (1.0 + (-odds).exp())
}

/// On both sides together, and on each.
fn effects([both, each]: [f64; 2], rng: &mut Rng) -> [f64; 2] {
    let common = both * rng.normal();
    [common + each * rng.normal(), common + each * rng.normal()]
}

const STUDIES: usize = 1200;

/// Three standard errors of a share of 95 % in so many studies.
fn error(studies: usize) -> f64 {
    3.0 * (0.95 * 0.05 / studies as f64).sqrt()
}

#[test]
fn intervals_over_seeds_and_prompts_hold_the_truth_in_95_of_100_studies() {
    let mut told = String::new();
    for seeds in [2, 3, 5, 10] {
        let mut covered = [0, 0];
        for prompts in [40, 100, 400] {
            let mut here = [0, 0];
            for study in 0..STUDIES {
                let at = Seed::new(study as u64).child("coverage");
                let mut rng = at.at((1000 * seeds + prompts) as u64).rng();
                let world = World::draw(&mut rng);
                let truths = [0, 1].map(|side| world.truth(side));
                let [differences, second] = world.study(seeds, prompts, &mut rng);
                for (i, (values, range, truth)) in [
                    (differences, Range::Difference, truths[1] - truths[0]),
                    (second, Range::Share, truths[1]),
                ]
                .into_iter()
                .enumerate()
                {
                    let found = estimate(&[values], range).unwrap();
                    let (low, high) = found.interval(ALPHA).unwrap();
                    here[i] += usize::from(low <= truth && truth <= high);
                }
            }
            let shares = here.map(|n| n as f64 / STUDIES as f64);
            told += &format!("{seeds} seeds, {prompts} prompts: {shares:.3?}\n");
            (covered[0], covered[1]) = (covered[0] + here[0], covered[1] + here[1]);
        }
        let all = 3 * STUDIES;
        for share in covered.map(|n| n as f64 / all as f64) {
            // No smooth rule holds two seeds closer than this at every ratio of their noise to that of prompts.
            let most = if seeds == 2 { 0.97 } else { 0.96 };
            let within = 0.94 - error(all)..=most + error(all);
            assert!(within.contains(&share), "{seeds} seeds: {share:.4}\n{told}");
        }
    }
    println!("{told}");
}

#[test]
fn nothing_is_found_where_nothing_is_more_often_than_said() {
    // Both sides alike: p is at most 0.05 in one of twenty studies, and at most 0.2 in one of five.
    let studies = 2000;
    for seeds in [2, 3, 6] {
        let mut found = [0, 0];
        for study in 0..studies {
            let at = Seed::new(study).child("no difference");
            let mut rng = at.at(seeds as u64).rng();
            let world = World {
                sides: [1.0, 1.0],
                ..World::draw(&mut rng)
            };
            let [differences, _] = world.study(seeds, 60, &mut rng);
            let p = estimate(&[differences], Range::Difference)
                .unwrap()
                .p(0.0)
                .unwrap();
            found[0] += usize::from(p <= 0.05);
            found[1] += usize::from(p <= 0.2);
        }
        let shares = found.map(|n| n as f64 / studies as f64);
        assert!(
            shares[0] < 0.06 + error(studies as usize),
            "{seeds}: {shares:?}"
        );
        assert!(shares[0] > 0.02 && shares[1] > 0.12, "{seeds}: {shares:?}");
        assert!(shares[1] < 0.24, "{seeds}: {shares:?}");
    }
}

#[test]
fn looking_after_every_seed_finds_nothing_more_often_than_looking_once() {
    let (studies, most) = (600, 10);
    let mut settled = 0;
    for study in 0..studies {
        let mut rng = Seed::new(study).child("looks").rng();
        let world = World {
            sides: [1.0, 1.0],
            ..World::draw(&mut rng)
        };
        let [differences, _] = world.study(most, 100, &mut rng);
        let look = |seeds: &usize| {
            let found = estimate(&[differences[..*seeds].to_vec()], Range::Difference).unwrap();
            found.p(0.0).unwrap() <= decide::look(most)
        };
        settled += usize::from((2..=most).any(|seeds| look(&seeds)));
    }
    let share = settled as f64 / studies as f64;
    assert!(share < 0.06 + error(studies as usize), "{share}");
    assert!(share > 0.01, "{share}");
    assert_eq!(decide::look(2), ALPHA);
}

/// What one class has more than another, in the same trainings: each over its own prompts, of which some may be of both.
#[test]
fn intervals_of_what_one_metric_has_more_than_another_hold_the_truth() {
    let mut told = String::new();
    for seeds in [2, 3, 5, 10] {
        let mut covered = 0;
        // Prompts of the first, of the second, of both.
        let (studies, sizes) = (800, [(80, 80, 0), (40, 160, 0), (50, 50, 40)]);
        for (i, (first, second, both)) in sizes.into_iter().enumerate() {
            let mut here = 0;
            for study in 0..studies {
                let at = Seed::new(study as u64).child("contrast");
                let mut rng = at.at((10 * seeds + i) as u64).rng();
                let world = World::draw(&mut rng);
                let all = first + second + both;
                let [firsts, seconds] = world.sides_of(seeds, all, &mut rng);
                let own = |values: &Values, skipped: std::ops::Range<usize>| -> Values {
                    let kept = values.iter().enumerate();
                    let kept = kept.filter(|(i, _)| !skipped.contains(i));
                    kept.map(|(_, (name, value))| (name.clone(), *value))
                        .collect()
                };
                // Of the first alone, of both, of the second alone.
                let firsts = firsts.iter().map(|v| own(v, first + both..all));
                let seconds = seconds.iter().map(|v| own(v, 0..first));
                let found = contrast(seconds.collect(), firsts.collect(), Range::Share).unwrap();
                let (low, high) = found.interval(ALPHA).unwrap();
                let truth = world.truth(1) - world.truth(0);
                here += usize::from(low <= truth && truth <= high);
            }
            let share = here as f64 / studies as f64;
            told += &format!(
                "{seeds} seeds, {first} and {second} prompts, {both} of both: {share:.3}\n"
            );
            covered += here;
        }
        let all = sizes.len() * studies;
        let share = covered as f64 / all as f64;
        let most = if seeds == 2 { 0.97 } else { 0.96 };
        let within = 0.94 - error(all)..=most + error(all);
        assert!(within.contains(&share), "{seeds} seeds: {share:.4}\n{told}");
    }
    println!("{told}");
}
