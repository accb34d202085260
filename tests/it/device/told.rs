//! Whatever is asked of a device: where that has no room left it says so, with what it was computing.

use anyhow::{Result, anyhow};
use candle_core::Device;
use pipe::base::device::OutOfMemory;
use pipe::base::rng::Seed;
use pipe::learn::adapter::Adapter;
use pipe::learn::attack::gradient::Slope;
use pipe::learn::attack::score::{self, Loss, Score};
use pipe::learn::attack::victim::Victim;
use pipe::learn::batch::Row;
use pipe::learn::config::{Config, Family, Head};
use pipe::learn::device::told::Told;
use pipe::learn::learner::{Accumulated, Learner, Policy, Snapshot};
use pipe::learn::objective::Goal;
use pipe::learn::objective::sft::SftObjective;
use pipe::learn::optim::AdamW;
use pipe::learn::sample::choose::Choice;
use pipe::learn::sample::forecast::Tally;
use pipe::learn::sample::{Options, Request, Sample};
use pipe::learn::states::{Position, Wanted};
use pipe::learn::weights::Weights;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// What computes on a card that is full, or fails otherwise.
struct Full {
    config: Config,
    says: &'static str,
}

impl Full {
    fn fails<T>(&self) -> Result<T> {
        Err(anyhow!(self.says).context("in a product"))
    }
}

impl Learner for Full {
    fn config(&self) -> &Config {
        &self.config
    }

    fn adapted(&self) -> bool {
        true
    }

    fn updates(&self) -> u64 {
        7
    }

    fn score(&mut self, _: Policy, _: &[Row], _: f32) -> Result<Vec<Vec<f32>>> {
        self.fails()
    }

    fn accumulate(
        &mut self,
        _: &[Row],
        _: &mut Goal,
        _: f32,
        _: &mut dyn FnMut(usize),
    ) -> Result<Accumulated> {
        self.fails()
    }

    fn clip(&mut self, _: f64) -> Result<f64> {
        self.fails()
    }

    fn update(&mut self, _: &AdamW, _: f64) -> Result<()> {
        self.fails()
    }

    fn sample(
        &mut self,
        _: Policy,
        _: &[Request],
        _: &Options,
        _: &mut (dyn FnMut(&Tally) + Send),
        _: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Vec<Sample>>> {
        self.fails()
    }

    fn states(
        &mut self,
        _: Policy,
        _: &[Vec<u32>],
        _: Wanted,
        _: usize,
        _: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Vec<Vec<f32>>>> {
        self.fails()
    }

    fn labels(
        &mut self,
        _: &[&[u32]],
        _: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Vec<f32>>> {
        self.fails()
    }

    fn snapshot(&self) -> Result<Snapshot<'_>> {
        self.fails()
    }

    fn restore(&mut self, _: Snapshot) -> Result<()> {
        self.fails()
    }

    fn finish(self: Box<Self>) -> Result<(Weights, Option<Adapter>)> {
        self.fails()
    }
}

impl Victim for Full {
    fn config(&self) -> &Config {
        &self.config
    }

    fn rebase(&mut self, _: &[u32]) -> Result<()> {
        self.fails()
    }

    fn score(&mut self, _: &[Vec<u32>], _: score::Wanted, _: score::Options) -> Result<Vec<Score>> {
        self.fails()
    }

    fn computed(&self) -> usize {
        3
    }

    fn slope(&mut self, _: [&[u32]; 3], _: &[u32], _: Loss) -> Result<Slope> {
        self.fails()
    }

    fn sample(
        &mut self,
        _: Request,
        _: &Options,
        _: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Sample>> {
        self.fails()
    }
}

fn full(says: &'static str) -> Told<Full> {
    let config = crate::numerics::tiny(Family::Llama, Head::Tied);
    Told::new(&Device::Cpu, || Ok(Full { config, says })).unwrap()
}

fn options() -> Options {
    Options {
        choice: Choice::plain(1.0),
        max_new_tokens: 1,
        stop_ids: BTreeSet::new(),
        batch_rows: 1,
    }
}

fn request() -> Request {
    Request {
        prompt: vec![1],
        samples: 1,
        seed: Seed::new(0),
    }
}

/// What each way of asking a learner, then a victim, ends in.
fn errors(says: &'static str) -> Vec<anyhow::Error> {
    let mut it: Box<dyn Learner> = Box::new(full(says));
    assert_eq!((it.updates(), it.adapted()), (7, true));
    let mut goal = Goal::Logp(Box::new(SftObjective::new(1)));
    let wanted = Wanted {
        layers: &[],
        position: Position::Last,
    };
    let none = || Cow::Borrowed(&[][..]);
    let snapshot = Snapshot {
        trained: none(),
        first: none(),
        second: none(),
        updates: 0,
    };
    let live = Policy::Live;
    let mut all = vec![
        it.score(live, &[], 1.0).unwrap_err(),
        it.accumulate(&[], &mut goal, 1.0, &mut |_| {}).unwrap_err(),
        it.clip(1.0).unwrap_err(),
        it.update(&AdamW::default(), 1e-3).unwrap_err(),
        it.sample(live, &[], &options(), &mut |_| {}, &|| false)
            .unwrap_err(),
        it.states(live, &[], wanted, 1, &mut |_| true).unwrap_err(),
        it.labels(&[], &mut |_| true).unwrap_err(),
        it.snapshot().map(drop).unwrap_err(),
        it.restore(snapshot).unwrap_err(),
        it.finish().map(drop).unwrap_err(),
    ];
    let mut it: Box<dyn Victim> = Box::new(full(says));
    assert_eq!(it.computed(), 3);
    let asked = score::Wanted::Target(&[1]);
    let how = score::Options {
        tokens: 1,
        stop: &|| false,
    };
    all.extend([
        it.rebase(&[]).unwrap_err(),
        it.score(&[], asked, how).map(drop).unwrap_err(),
        it.slope([&[], &[], &[]], &[], Loss::CrossEntropy)
            .map(drop)
            .unwrap_err(),
        it.sample(request(), &options(), &|| false)
            .map(drop)
            .unwrap_err(),
    ]);
    all
}

#[test]
fn whatever_is_asked_of_a_full_device_says_that_it_is_full_and_what_it_computed() {
    let what: Vec<String> = errors("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")")
        .into_iter()
        .map(|error| error.downcast::<OutOfMemory>().unwrap().what)
        .collect();
    assert_eq!(
        what,
        [
            "log-probabilities",
            "a gradient",
            "the norm of a gradient",
            "an update",
            "samples",
            "hidden states",
            "scores",
            "a snapshot",
            "a snapshot",
            "the weights",
            "keys and values",
            "scores of candidates",
            "a gradient",
            "samples",
        ]
    );
    let made = Told::new(&Device::Cpu, || -> Result<Full> {
        Err(anyhow!("CUBLAS_STATUS_ALLOC_FAILED"))
    });
    let error = made.map(drop).unwrap_err();
    assert_eq!(error.to_string(), "out of memory on candle (the weights)");
    // What has another reason is told as it is.
    for error in errors("a shape") {
        assert_eq!(format!("{error:#}"), "in a product: a shape");
    }
}
