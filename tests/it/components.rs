//! Variance components: by hand, and of simulated studies whose components are known.

use pipe::base::rng::{Rng, Seed};
use pipe::base::stats;
use pipe::base::stats::components::{Cell, Components, Part, components};
use pipe::base::stats::crossed::{Range, Values};

fn near(ours: f64, theirs: f64, within: f64) {
    assert!((ours - theirs).abs() <= within, "{ours} is not {theirs}");
}

fn runs(values: &[f64]) -> Vec<Cell> {
    let cell = |value: &f64| Cell {
        value: *value,
        values: None,
    };
    values.iter().map(cell).collect()
}

/// Of these values of prompts `FIRST`…
fn run(first: usize, values: &[f64]) -> Cell {
    let each = values.iter().enumerate();
    Cell {
        value: stats::mean(values).unwrap(),
        values: Some(each.map(|(i, v)| (format!("{}", first + i), *v)).collect()),
    }
}

#[test]
fn two_axes_are_those_of_the_analysis_of_variance() {
    // Mean squares: 36 of the first axis, 16 of the second, 4 of both.
    let found = components(&[2, 2], &runs(&[10.0, 12.0, 14.0, 20.0]), Range::Free);
    near(found.mean, 14.0, 1e-12);
    near(found.axes[0].alone.variance, (36.0 - 4.0) / 2.0, 1e-12);
    near(found.axes[1].alone.variance, (16.0 - 4.0) / 2.0, 1e-12);
    near(found.together.unwrap().variance, 4.0, 1e-12);
    near(found.total.variance, 16.0 + 6.0 + 4.0, 1e-12);
    // Pairs that differ in one axis only: 10 and 14, 12 and 20; 10 and 12, 14 and 20.
    near(found.axes[0].only.variance, (8.0 + 32.0) / 2.0, 1e-12);
    near(found.axes[1].only.variance, (2.0 + 18.0) / 2.0, 1e-12);
    assert_eq!(found.prompts, None);
    // One mean square with one degree of freedom: exact, by R's qchisq.
    let (low, high) = found.together.unwrap().interval.unwrap();
    near(low, (4.0f64 / 5.023_886).sqrt(), 1e-5);
    near(high, (4.0f64 / 0.000_982_069).sqrt(), 1e-3);
    // (36 - 4) / 2 with its limits by hand: 18 counts for, 2 against.
    let (low, high) = found.axes[0].alone.interval.unwrap();
    let (g, h) = (1.0 - 1.0 / 5.023_886, 1.0 / 0.000_982_069 - 1.0);
    assert_eq!(low, 0.0);
    let above = (h * 18.0_f64).hypot(g * 2.0);
    near(high, (16.0 + above).sqrt(), 1e-3);
}

#[test]
fn three_axes_come_out_as_they_were_put_in() {
    // Ten for the first axis, one for the second, nothing of the third, nothing together.
    let value = |i: usize| 10.0 * (i / 4) as f64 + (i / 2 % 2) as f64;
    let all: Vec<f64> = (0..8).map(value).collect();
    let found = components(&[2, 2, 2], &runs(&all), Range::Free);
    let sd = [0, 1, 2].map(|k| found.axes[k].alone.sd());
    near(sd[0], 10.0 / 2.0_f64.sqrt(), 1e-12);
    near(sd[1], 1.0 / 2.0_f64.sqrt(), 1e-12);
    near(sd[2], 0.0, 1e-6);
    near(found.axes[2].only.sd(), 0.0, 1e-6);
    near(found.total.variance, 50.0 + 0.5, 1e-9);
    // The order of the axes is that of the levels.
    let found = components(&[2, 3], &runs(&[0.0, 1.0, 2.0, 7.0, 8.0, 9.0]), Range::Free);
    near(found.axes[0].alone.variance, 49.0 / 2.0, 1e-9);
    near(found.axes[1].alone.variance, 1.0, 1e-9);
}

#[test]
fn an_estimate_below_zero_is_kept_and_shown_as_none() {
    let found = components(&[2, 2], &runs(&[0.0, 1.0, 1.0, 0.0]), Range::Free);
    let axis = found.axes[0].alone;
    assert!(axis.variance < -0.4 && axis.sd() == 0.0, "{axis:?}");
    near(found.together.unwrap().variance, 1.0, 1e-12);
    near(found.total.variance, 0.0, 1e-12);
    let alike = components(&[2, 2], &runs(&[3.0; 4]), Range::Free);
    assert_eq!((alike.total.variance, alike.total.interval), (0.0, None));
    // No share is spread further than half of the runs at either end.
    let wild = components(&[2], &runs(&[0.0, 1.0]), Range::Share);
    assert_eq!(wild.total.interval.unwrap().1, 0.5);
    assert_eq!(wild.together, None);
}

#[test]
fn prompts_count_as_far_as_runs_do_not_share_them() {
    let values = [1.0, 2.0, 3.0, 6.0];
    let sampled = stats::sd(&values).unwrap().powi(2) / 4.0;
    let more = values.map(|v| v + 5.0);
    // The same prompts, each five higher: nothing comes of which prompts they are.
    let same = components(&[2], &[run(0, &values), run(0, &more)], Range::Free);
    near(same.prompts.unwrap().variance, 0.0, 1e-12);
    near(same.axes[0].alone.variance, 12.5, 1e-12);
    // Other prompts: each mean is as uncertain as its own are.
    let apart = components(&[2], &[run(0, &values), run(9, &more)], Range::Free);
    near(apart.prompts.unwrap().variance, sampled, 1e-12);
    near(apart.axes[0].alone.variance, 12.5 - sampled, 1e-12);
    near(apart.total.variance, 12.5, 1e-12);
    // Half of them are shared: those two move both means, by their covariance, each by half of its prompts.
    let half = components(&[2], &[run(0, &values), run(2, &more)], Range::Free);
    let covariance = (3.0 - 4.5) * (6.0 - 6.5) * 2.0;
    near(
        half.prompts.unwrap().variance,
        sampled - covariance * 2.0 / 16.0,
        1e-12,
    );
    // Shared along one axis, as evals of one prompt seed are: the first axis is rid of them, the second is not.
    let cells = [
        run(0, &values),
        run(9, &more),
        run(0, &values),
        run(9, &more),
    ];
    let found = components(&[2, 2], &cells, Range::Free);
    near(found.prompts.unwrap().variance, sampled, 1e-12);
    near(found.axes[0].alone.variance, 0.0, 1e-12);
    near(found.axes[1].alone.variance, 12.5 - sampled, 1e-12);
    near(found.together.unwrap().variance, 0.0, 1e-12);
    // One run that does not know its prompts: nothing is known of any.
    let unknown = [run(0, &values), runs(&[7.0]).remove(0)];
    assert_eq!(components(&[2], &unknown, Range::Free).prompts, None);
}

/// Of a study: variances by set of axes (bit k: axis k), and of prompts, which belong to a level of axis 1.
struct World {
    levels: &'static [usize],
    sets: &'static [(usize, f64)],
    /// Of a prompt in all runs that have it, and in each alone.
    prompt: [f64; 2],
    binary: bool,
}

const PROMPTS: usize = 24;

impl World {
    fn runs(&self) -> usize {
        self.levels.iter().product()
    }

    /// The levels of a run.
    fn at(&self, mut i: usize) -> Vec<usize> {
        let mut at = vec![0; self.levels.len()];
        for k in (0..at.len()).rev() {
            at[k] = i % self.levels[k];
            i /= self.levels[k];
        }
        at
    }

    fn study(&self, seed: Seed) -> Vec<Cell> {
        // An effect has the stream of its set and of its levels.
        let effect = |set: usize, at: &[usize]| {
            let own = at.iter().enumerate().filter(|(k, _)| set >> k & 1 == 1);
            let seed = own.fold(seed.at(set as u64), |seed, (_, level)| {
                seed.at(*level as u64)
            });
            seed.rng().normal()
        };
        let cell = |i: usize| {
            let at = self.at(i);
            let own = self
                .sets
                .iter()
                .map(|(set, v)| v.sqrt() * effect(*set, &at));
            let mean: f64 = own.sum();
            let mut noise = seed.child("runs").at(i as u64).rng();
            let value = |p: usize| {
                let mut common = seed.child("prompts").at((at[1] * PROMPTS + p) as u64).rng();
                let value = mean
                    + self.prompt[0].sqrt() * common.normal()
                    + self.prompt[1].sqrt() * noise.normal();
                (format!("{} {p}", at[1]), value)
            };
            let values: Vec<(String, f64)> = (0..PROMPTS).map(value).collect();
            let values: Values = match self.binary {
                false => values.into_iter().collect(),
                true => self.outcomes(mean, &at, &mut noise),
            };
            Cell {
                value: values.values().sum::<f64>() / PROMPTS as f64,
                values: Some(values),
            }
        };
        (0..self.runs()).map(cell).collect()
    }

    /// Yes and no, of a chance that moves with the run.
    fn outcomes(&self, mean: f64, at: &[usize], rng: &mut Rng) -> Values {
        let outcome = |p| (format!("{} {p}", at[1]), f64::from(rng.chance(0.6 + mean)));
        (0..PROMPTS).map(outcome).collect()
    }

    /// The sum over sets that are chosen.
    fn sum(&self, chosen: impl Fn(usize) -> bool) -> f64 {
        let own = self.sets.iter().filter(|(set, _)| chosen(*set));
        own.map(|(_, v)| v).sum()
    }

    /// By part: what it is called, what it is found to be, what it is.
    fn parts(&self, found: &Components) -> Vec<(String, Part, f64)> {
        let n = PROMPTS as f64;
        let [common, own] = self.prompt.map(|v| v / n);
        // Of an outcome: p (1 - p) less what moves p.
        let all = match self.binary {
            true => (0.6 * 0.4 - self.sum(|_| true)) / n,
            false => common + own,
        };
        let mut parts = vec![
            ("total".into(), found.total, self.sum(|_| true) + all),
            (
                "together".into(),
                found.together.unwrap(),
                self.sum(|s| s.count_ones() > 1),
            ),
            ("prompts".into(), found.prompts.unwrap(), all),
        ];
        for (k, axis) in found.axes.iter().enumerate() {
            let new = if k == 1 || self.binary { all } else { own };
            let only = self.sum(|s| s >> k & 1 == 1) + new;
            parts.push((format!("axis {k}"), axis.alone, self.sum(|s| s == 1 << k)));
            parts.push((format!("only {k}"), axis.only, only));
        }
        parts
    }
}

const WORLDS: [World; 5] = [
    World {
        levels: &[2, 2, 2],
        sets: &[(1, 1.0), (2, 0.5), (4, 0.2), (3, 0.3), (7, 0.5)],
        prompt: [6.0, 12.0],
        binary: false,
    },
    World {
        levels: &[3, 3, 3],
        sets: &[(1, 1.0), (7, 1.0)],
        prompt: [24.0, 6.0],
        binary: false,
    },
    World {
        levels: &[3, 2],
        sets: &[(3, 1.0)],
        prompt: [0.0, 24.0],
        binary: false,
    },
    World {
        levels: &[2, 5],
        sets: &[(1, 1.0), (2, 1.0), (3, 0.1)],
        prompt: [3.0, 1.0],
        binary: false,
    },
    World {
        levels: &[3, 4],
        sets: &[(1, 0.003), (2, 0.002), (3, 0.002)],
        prompt: [0.0, 0.0],
        binary: true,
    },
];

#[test]
fn components_of_simulated_studies_are_found_and_their_intervals_hold_them() {
    const STUDIES: usize = 700;
    let error = |share: f64| 3.0 * (share * (1.0 - share) / STUDIES as f64).sqrt();
    let (mut told, mut all, mut held) = (String::new(), 0, 0);
    for (w, world) in WORLDS.iter().enumerate() {
        let mut found: Vec<(String, f64, Vec<f64>, usize)> = vec![];
        for study in 0..STUDIES {
            let seed = Seed::new(study as u64).child("components").at(w as u64);
            let range = if world.binary {
                Range::Share
            } else {
                Range::Free
            };
            let parts = world.parts(&components(world.levels, &world.study(seed), range));
            for (i, (name, part, truth)) in parts.into_iter().enumerate() {
                if study == 0 {
                    found.push((name, truth, vec![], 0));
                }
                found[i].2.push(part.variance);
                let holds = |(low, high): (f64, f64)| {
                    low * low <= truth + 1e-12 && truth <= high * high + 1e-12
                };
                // Without an interval the estimate is that there is nothing.
                let holds = part.interval.map_or(truth == 0.0, holds);
                found[i].3 += usize::from(holds);
            }
        }
        for (name, truth, variances, covered) in found {
            let mean = stats::mean(&variances).unwrap();
            let off = 4.0 * stats::sd(&variances).unwrap() / (STUDIES as f64).sqrt();
            let coverage = covered as f64 / STUDIES as f64;
            told += &format!("{w} {name}: {truth:.3} found {mean:.3}, held {coverage:.3}\n");
            near(mean, truth, off);
            // Of prompts there is none: they are known well.
            if name == "prompts" {
                assert!(stats::sd(&variances).unwrap() < 0.35 * truth, "{told}");
                continue;
            }
            assert!(coverage > 0.92 - error(0.92), "{told}");
            (all, held) = (all + 1, held + covered);
        }
    }
    let mean = held as f64 / (all * STUDIES) as f64;
    assert!((0.94..0.98).contains(&mean), "{mean}\n{told}");
    println!("{told}");
}
