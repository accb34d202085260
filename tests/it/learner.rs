//! The seam between the training loop and a model: a second learner, which logs what it is asked and leaves the computing to
//! the first, is trained by the same loop to the same bytes; and what may not be asked of one.

use crate::numerics::{FAMILIES, weights};
use anyhow::{Result, bail};
use pipe::base::rng::Seed;
use pipe::learn::adapter::{Adapter, Linear, Options as LoraOptions};
use pipe::learn::batch::{Row, micro_batches};
use pipe::learn::config::Config;
use pipe::learn::cpu::Cpu;
use pipe::learn::decoder::Keep;
use pipe::learn::learner::{Accumulated, Learner, Policy, Snapshot};
use pipe::learn::objective::Goal;
use pipe::learn::objective::advantage::{Advantage, advantages};
use pipe::learn::objective::grpo::{self, GrpoObjective};
use pipe::learn::objective::sft::SftObjective;
use pipe::learn::optim::{AdamW, LrSchedule, Optim};
use pipe::learn::sample::choose::Choice;
use pipe::learn::sample::forecast::Tally;
use pipe::learn::sample::{Options, Request, Sample};
use pipe::learn::states::Wanted;
use pipe::learn::train::{End, Feed, Hyperparameters, Report, State, Watch, Window, train};
use pipe::learn::weights::Weights;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

type Calls = Arc<Mutex<Vec<String>>>;

/// Logs every call; another one computes.
struct Logging {
    inner: Cpu,
    calls: Calls,
}

impl Logging {
    fn log(&self, call: impl Into<String>) {
        self.calls.lock().unwrap().push(call.into());
    }
}

impl Learner for Logging {
    fn config(&self) -> &Config {
        self.inner.config()
    }

    fn adapted(&self) -> bool {
        self.inner.adapted()
    }

    fn updates(&self) -> u64 {
        self.inner.updates()
    }

    fn score(&mut self, policy: Policy, rows: &[Row], temperature: f32) -> Result<Vec<Vec<f32>>> {
        self.log(format!("score {policy:?}"));
        self.inner.score(policy, rows, temperature)
    }

    fn accumulate(
        &mut self,
        rows: &[Row],
        goal: &mut Goal,
        temperature: f32,
        through: &mut dyn FnMut(usize),
    ) -> Result<Accumulated> {
        self.log("accumulate");
        self.inner.accumulate(rows, goal, temperature, through)
    }

    fn clip(&mut self, norm_max: f64) -> Result<f64> {
        self.log("clip");
        self.inner.clip(norm_max)
    }

    fn update(&mut self, rule: &AdamW, lr: f64) -> Result<()> {
        self.log("update");
        self.inner.update(rule, lr)
    }

    fn sample(
        &mut self,
        policy: Policy,
        requests: &[Request],
        options: &Options,
        on_progress: &mut (dyn FnMut(&Tally) + Send),
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Vec<Sample>>> {
        self.log(format!("sample {policy:?}"));
        self.inner
            .sample(policy, requests, options, on_progress, stop)
    }

    fn states(
        &mut self,
        policy: Policy,
        prompts: &[Vec<u32>],
        wanted: Wanted,
        at_once: usize,
        done: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Vec<Vec<f32>>>> {
        self.log("states");
        self.inner.states(policy, prompts, wanted, at_once, done)
    }

    fn labels(
        &mut self,
        sequences: &[&[u32]],
        done: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Vec<f32>>> {
        self.log("labels");
        self.inner.labels(sequences, done)
    }

    fn snapshot(&self) -> Result<Snapshot<'_>> {
        self.log("snapshot");
        self.inner.snapshot()
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        self.log("restore");
        self.inner.restore(snapshot)
    }

    fn finish(self: Box<Self>) -> Result<(Weights, Option<Adapter>)> {
        self.log("finish");
        Box::new(self.inner).finish()
    }
}

/// The same rows at every step, of several micro-batches.
struct Supervised;

impl Feed for Supervised {
    fn window<'a>(&'a mut self, _: u64, _: &mut dyn Learner) -> Result<Window<'a>> {
        let row = |i: usize| Row {
            ids: (0..400).map(|t| ((7 * i + 3 * t) % 37) as u32).collect(),
            mask: (0..400).map(|t| t > 10 * i).collect(),
        };
        let rows: Vec<Row> = (0..7).map(row).collect();
        assert!(micro_batches(&rows, 1).len() > 1);
        let scored = rows.iter().map(Row::scored).sum();
        Ok(Window {
            rows,
            goal: Goal::Logp(Box::new(SftObjective::new(scored))),
            metrics: vec![],
        })
    }
}

/// Rollouts of the live weights, compared with the reference. Every third step has nothing to learn from.
struct Rollouts;

impl Feed for Rollouts {
    fn window<'a>(&'a mut self, step: u64, learner: &mut dyn Learner) -> Result<Window<'a>> {
        let request = |i: u32| Request {
            prompt: vec![5, 9, 3, i],
            samples: 4,
            seed: Seed::new(step).at(u64::from(i)),
        };
        let requests: Vec<Request> = (10..13).map(request).collect();
        let options = Options {
            choice: Choice::plain(0.9),
            max_new_tokens: 12,
            stop_ids: BTreeSet::from([1]),
            batch_rows: 8,
        };
        let groups = learner.sample(Policy::Live, &requests, &options, &mut |_| {}, &|| false)?;
        let (mut rows, mut rewards, mut sampler) = (vec![], vec![], vec![]);
        for (request, group) in requests.iter().zip(groups) {
            for sample in group {
                let even = sample.ids.iter().filter(|id| **id % 2 == 0).count();
                rewards.push(Some(even as f64 / sample.ids.len() as f64));
                let ids = [&request.prompt[..], &sample.ids].concat();
                let mask = (0..ids.len()).map(|t| t >= request.prompt.len()).collect();
                rows.push(Row { ids, mask });
                sampler.push(sample.logps);
            }
        }
        let old = learner.score(Policy::Live, &rows, 0.9)?;
        let reference = learner.score(Policy::Reference, &rows, 0.9)?;
        let objective = GrpoObjective {
            options: grpo::Options {
                beta: 0.1,
                ..grpo::Options::default()
            },
            totals: grpo::Totals {
                rows: rows.len(),
                tokens: rows.iter().map(Row::scored).sum(),
                micro_batches: micro_batches(&rows, 1).len(),
                max_length: 12,
            },
            advantages: advantages(&rewards, 4, Advantage::Group, 1e-6)?,
            old: Some(old),
            reference: Some(reference),
            sampler: Some(sampler),
            sums: Default::default(),
        };
        if step % 3 == 2 {
            rows.clear();
        }
        Ok(Window {
            rows,
            goal: Goal::Logp(Box::new(objective)),
            metrics: vec![],
        })
    }
}

/// Keeps the curve, and stops after a step.
struct Curve {
    until: u64,
    steps: Vec<Vec<(String, f64)>>,
}

impl Watch for Curve {
    fn step(&mut self, _: &State, report: Report) -> Result<bool> {
        self.steps.push(report.metrics);
        Ok(report.step < self.until)
    }
}

fn with() -> Hyperparameters {
    Hyperparameters {
        optim: Optim {
            lr: 1e-2,
            schedule: LrSchedule::Cosine,
            warmup_ratio: 0.25,
            weight_decay: 0.01,
            beta2: 0.99,
            grad_clip: 0.5,
        },
        steps: 4,
        temperature: 0.9,
    }
}

fn cpu(adapted: bool) -> Cpu {
    let (family, head) = FAMILIES[0];
    let weights = weights(family, head);
    let options = LoraOptions {
        rank: 2,
        alpha: 8.0,
        rank_stabilised: false,
        targets: Linear::ALL.to_vec(),
        blocks: 0..weights.config.layers,
    };
    let adapter = adapted.then(|| Adapter::new(&weights.config, &options, Seed::new(2)));
    Cpu::new(weights, adapter, true, Keep::All)
}

fn bits(array: &[f32]) -> Vec<u32> {
    array.iter().map(|x| x.to_bits()).collect()
}

/// Trains to the end and gives the curve and the bits of what was trained.
fn trained(mut state: State, feed: &mut dyn Feed) -> (String, Vec<u32>) {
    let mut curve = Curve {
        until: u64::MAX,
        steps: vec![],
    };
    let end = train(&mut state, feed, &with(), &mut curve).unwrap();
    assert_eq!(end, End::Done);
    let (weights, adapter) = state.learner.finish().unwrap();
    let data = adapter.map_or(weights.data, |adapter| adapter.data);
    (format!("{:?}", curve.steps), bits(&data))
}

#[test]
fn another_learner_is_trained_by_the_same_loop_to_the_same_bytes() {
    let feeds: [fn() -> Box<dyn Feed>; 2] = [|| Box::new(Supervised), || Box::new(Rollouts)];
    let begins = bits(&cpu(false).snapshot().unwrap().trained);
    for adapted in [false, true] {
        for (feed, name) in feeds.iter().zip(["sft", "grpo"]) {
            let calls = Calls::default();
            let logging = Logging {
                inner: cpu(adapted),
                calls: calls.clone(),
            };
            let (curve, ours) = trained(State::new(cpu(adapted)), feed().as_mut());
            let (other_curve, others) = trained(State::new(logging), feed().as_mut());
            assert!(!curve.contains("NaN") && ours != begins, "{name} learns");
            assert_eq!(curve, other_curve, "{name}");
            assert!(ours == others, "{name}: bytes differ");
            let update = ["accumulate", "clip", "update"];
            let rollouts = ["sample Live", "score Live", "score Reference"];
            let mut expected: Vec<&str> = vec![];
            for step in 0..4 {
                match name {
                    "sft" => expected.extend(update),
                    _ => {
                        expected.extend(rollouts);
                        expected.extend(update.iter().filter(|_| step % 3 != 2));
                    }
                }
            }
            expected.push("finish");
            assert_eq!(*calls.lock().unwrap(), expected, "{name}");
        }
    }
}

#[test]
fn a_snapshot_in_the_middle_goes_on_to_the_same_bytes_in_another_learner() {
    for adapted in [false, true] {
        let (_, whole) = trained(State::new(cpu(adapted)), &mut Rollouts);
        let mut first = State::new(cpu(adapted));
        let mut until = Curve {
            until: 3,
            steps: vec![],
        };
        let end = train(&mut first, &mut Rollouts, &with(), &mut until).unwrap();
        assert_eq!((end, first.skipped, first.step()), (End::Stopped, 1, 3));
        let calls = Calls::default();
        let mut second = State::new(Logging {
            inner: cpu(adapted),
            calls: calls.clone(),
        });
        let snapshot = first.learner.snapshot().unwrap();
        second.learner.restore(snapshot).unwrap();
        second.skipped = first.skipped;
        assert!(trained(second, &mut Rollouts).1 == whole, "bytes differ");
        assert_eq!(calls.lock().unwrap()[0], "restore");
    }
    // All weights are no adapter.
    let snapshot = cpu(false);
    let error = cpu(true).restore(snapshot.snapshot().unwrap()).unwrap_err();
    assert!(error.to_string().contains("another model"), "{error}");
}

#[test]
fn what_a_watcher_refuses_touches_no_weight() {
    struct Refusing;
    impl Watch for Refusing {
        fn check(&mut self, _: u64, metrics: &[(String, f64)]) -> Result<()> {
            let norm = metrics.iter().find(|(name, _)| name == "grad_norm");
            bail!("the norm is {:?}", norm.map(|(_, value)| *value > 0.0));
        }
        fn step(&mut self, _: &State, _: Report) -> Result<bool> {
            panic!("no step is done");
        }
    }
    let mut state = State::new(cpu(false));
    let before = bits(&state.learner.snapshot().unwrap().trained);
    let error = train(&mut state, &mut Supervised, &with(), &mut Refusing).unwrap_err();
    assert_eq!(error.to_string(), "the norm is Some(true)");
    let after = state.learner.snapshot().unwrap();
    assert!(bits(&after.trained) == before && after.updates == 0);
}

#[test]
fn the_reference_is_what_training_began_as() {
    let rows = [Row {
        ids: vec![3, 8, 1, 30, 12],
        mask: vec![true; 5],
    }];
    for adapted in [false, true] {
        let mut state = State::new(cpu(adapted));
        let before = state.learner.score(Policy::Reference, &rows, 1.0).unwrap();
        let live = state.learner.score(Policy::Live, &rows, 1.0).unwrap();
        assert_eq!(before, live, "an adapter begins as nothing");
        let mut curve = Curve {
            until: 2,
            steps: vec![],
        };
        train(&mut state, &mut Supervised, &with(), &mut curve).unwrap();
        let reference = state.learner.score(Policy::Reference, &rows, 1.0).unwrap();
        let live = state.learner.score(Policy::Live, &rows, 1.0).unwrap();
        assert_eq!(reference, before);
        assert_ne!(live, before);
    }
}
