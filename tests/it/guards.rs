//! Guards: each fires on what it is for, names its cause and numbers, and leaves healthy runs alone; alone on metrics, and
//! through the engine on runs made to go wrong, with what is kept of them.

use crate::study::{Ran, Study};
use crate::training::{REASONER, WORLD, checkpoints, rl, step_of};
use pipe::engine::events::event::State;
use pipe::learn::checkpoint;
use pipe::learn::guard::{Cause, Guard, Limits, Tripped};

const LIMITS: Limits = Limits {
    grad_norm: 100.0,
    entropy: 1e-3,
    entropy_steps: 3,
    flat_steps: 4,
    sampler_gap: 0.1,
};

/// The first step that trips, of steps with these metrics.
fn trips<'a>(
    limits: Limits,
    steps: impl IntoIterator<Item = Vec<(&'a str, f64)>>,
) -> Option<Tripped> {
    let mut guard = Guard::new(limits);
    let mut check = |(i, metrics): (usize, Vec<(&str, f64)>)| {
        let metrics: Vec<_> = metrics.iter().map(|(n, v)| (n.to_string(), *v)).collect();
        guard.check(i as u64 + 1, &metrics).err()
    };
    steps.into_iter().enumerate().find_map(&mut check)
}

fn norms(list: impl IntoIterator<Item = f64>) -> Option<Tripped> {
    trips(LIMITS, list.into_iter().map(|n| vec![("grad_norm", n)]))
}

fn entropies(list: impl IntoIterator<Item = f64>) -> Option<Tripped> {
    trips(LIMITS, list.into_iter().map(|e| vec![("entropy", e)]))
}

/// Of (share of groups without a spread, mean reward).
fn rewards(list: impl IntoIterator<Item = (f64, f64)>) -> Option<Tripped> {
    let metrics = |(flat, reward)| vec![("frac_reward_zero_std", flat), ("reward", reward)];
    trips(LIMITS, list.into_iter().map(metrics))
}

#[test]
fn any_metric_that_is_no_number_trips_even_where_all_else_is_off() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let steps = [vec![("loss", 1.0)], vec![("loss", 1.0), ("kl", bad)]];
        let tripped = trips(Limits::default(), steps).unwrap();
        assert_eq!(tripped.step, 2);
        let text = tripped.to_string();
        assert!(
            text.contains("`kl` is") && text.contains("at step 2"),
            "{text}"
        );
    }
    let nan = trips(LIMITS, [vec![("loss", f64::NAN)]]).unwrap();
    assert!(nan.broken());
    assert_eq!(nan.good_before(), 0);
}

#[test]
fn a_gradient_explodes_beyond_its_own_median_and_beyond_the_factor_itself() {
    let after = |calm: f64, n: usize, last: f64| norms(std::iter::repeat_n(calm, n).chain([last]));
    let tripped = after(2.0, 16, 201.0).unwrap();
    assert_eq!(tripped.step, 17);
    let cause = Cause::ExplodingGradient {
        norm: 201.0,
        median: 2.0,
        factor: 100.0,
    };
    assert_eq!(tripped.cause, cause);
    assert!(!tripped.broken());
    assert_eq!(
        tripped.good_before(),
        17,
        "the state before this update is good"
    );
    assert_eq!(after(2.0, 16, 199.0), None);
    assert_eq!(after(2.0, 15, 1e9), None, "too early to say what is usual");
    // Steps of RL that have nothing to say, and the first that has.
    assert_eq!(after(1e-6, 64, 99.0), None);
    assert!(after(0.0, 64, 101.0).is_some());
    // What is usual follows the run: from an untrained model's norms down, and slowly up again.
    assert_eq!(norms((0..200).map(|i| 50.0 / f64::from(i + 1))), None);
    assert_eq!(norms((0..200).map(|i| 1.1f64.powi(i))), None);
    assert!(norms((0..200).map(|i| 1.5f64.powi(i))).is_some());
}

#[test]
fn entropy_has_to_be_low_for_some_steps_in_a_row() {
    assert_eq!(entropies([0.5, 1e-4, 1e-4, 0.5, 1e-4, 1e-4, 2e-3]), None);
    let tripped = entropies([0.5, 1e-4, 1e-4, 1e-5, 1e-4]).unwrap();
    assert_eq!(tripped.step, 4);
    assert!(!tripped.broken());
    assert_eq!(
        tripped.good_before(),
        1,
        "step 2 found the weights of 1 step wanting"
    );
    let text = tripped.to_string();
    let words = "1.000e-5 nats at step 4, below 1.000e-3 for 3 steps in a row";
    assert!(
        text.starts_with("entropy collapse") && text.contains(words),
        "{text}"
    );
}

#[test]
fn a_reward_is_dead_where_no_group_has_a_spread_and_the_run_has_not_arrived() {
    let tripped = rewards([(1.0, 0.5); 9]).unwrap();
    assert_eq!(tripped.step, 4, "constant from the start");
    let text = tripped.to_string();
    assert!(
        text.starts_with("dead reward") && text.contains("4 steps in a row"),
        "{text}"
    );
    // Nothing has a reward at all: that is no reward of 0.
    let none = trips(
        LIMITS,
        [(); 9].map(|()| vec![("frac_reward_zero_std", 1.0)]),
    )
    .unwrap();
    assert_eq!(none.step, 4);
    assert!(none.to_string().contains("(none has a reward)"), "{none}");
    // One group in a hundred is enough.
    assert_eq!(rewards([(0.99, 0.5); 9]), None);
    assert_eq!(
        rewards([1.0, 1.0, 1.0, 0.9, 1.0, 1.0, 1.0].map(|f| (f, 0.5))),
        None
    );
    // It learned, and is at its best everywhere.
    let learned = [(0.5, 0.3), (0.7, 0.8)];
    assert_eq!(rewards(learned.into_iter().chain([(1.0, 1.0); 50])), None);
    // It learned, and fell back to where nothing is earned.
    let fallen = rewards(learned.into_iter().chain([(1.0, 0.0); 50])).unwrap();
    assert_eq!(fallen.step, 6);
}

#[test]
fn zero_switches_a_guard_off() {
    let bad = |i: usize| {
        vec![
            ("grad_norm", if i == 40 { 1e30 } else { 1.0 }),
            ("entropy", 0.0),
            ("frac_reward_zero_std", 1.0),
            ("reward", 0.0),
        ]
    };
    assert_eq!(trips(Limits::default(), (0..99).map(bad)), None);
    assert!(trips(LIMITS, (0..99).map(bad)).is_some());
}

/// WORLD, REASONER and RL of forty steps, whose rewards do not hang on the length.
fn policy(reward: &str, extra: &str) -> String {
    let settings = "batch = 4\ngroup = 4\nsteps = 40\ntruncated = \"score\"\n";
    let node = rl(reward, &format!("{settings}{extra}"))
        .replace(", validation = \"prompts.validation\"", "");
    [WORLD, REASONER, &node].concat()
}

/// The step that a failure names.
fn step_in(failure: &str) -> u64 {
    let (_, rest) = failure.split_once("step ").expect("a step is named");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// The checkpoint that a failure names as the last good one; it loads, whole and finite.
fn good_one(failure: &str) -> u64 {
    let (_, place) = failure
        .split_once(" is kept in ")
        .expect("a place is named");
    let place = std::path::Path::new(place.trim());
    let state = checkpoint::State::load(&place.join("state.safetensors")).unwrap();
    assert_eq!(state.header["step"].as_u64(), Some(step_of(place)));
    for (name, array) in &state.arrays {
        assert!(array.iter().all(|x| x.is_finite()), "{name}");
    }
    step_of(place)
}

fn resumed_at(ran: &Ran, node: &str, step: u64) {
    let words = format!("resumed at step {step} of");
    assert!(ran.said(node, &words), "no `{words}` in {:?}", ran.said);
}

#[test]
fn an_exploding_gradient_stops_the_node_and_keeps_the_state_before_the_update() {
    let study = Study::new();
    let recipe = [WORLD, REASONER].concat().replace(
        "lr = 1e-2",
        "lr = 10.0\nwarmup_ratio = 0.4\nguard.grad_norm = 2",
    );
    let failure = study.try_run(&recipe).failure("reasoner");
    assert!(
        failure.starts_with("exploding gradient: its norm is "),
        "{failure}"
    );
    assert!(failure.contains("beyond 2 times the median"), "{failure}");
    assert!(failure.contains("try a lower `lr`"), "{failure}");
    let step = step_in(&failure);
    assert_eq!(good_one(&failure), step - 1);
    // The same again goes on from there, and no further.
    let again = study.try_run(&recipe);
    resumed_at(&again, "reasoner", step - 1);
    let failure = again.failure("reasoner");
    assert!(failure.starts_with("exploding gradient"), "{failure}");
    assert_eq!(step_in(&failure), step, "its guard knows the steps before");
}

#[test]
fn a_run_that_a_guard_stopped_ends_under_a_looser_one_in_the_bytes_of_a_run_that_was_let_be() {
    let recipe = [WORLD, REASONER].concat();
    let calm = Study::new().run(&recipe);
    // A limit that this healthy run does not keep to: just below what was its worst.
    let curve: Vec<f64> = calm
        .curve("reasoner")
        .iter()
        .map(|s| s["grad_norm"].as_f64().unwrap())
        .collect();
    let within = |factor| {
        let limits = Limits {
            grad_norm: factor,
            ..LIMITS
        };
        trips(limits, curve.iter().map(|n| vec![("grad_norm", *n)]))
    };
    let factors: Vec<f64> = (1..200).map(|i| f64::from(i) * 0.05).collect();
    let tight = factors
        .iter()
        .rev()
        .find(|f| within(**f).is_some())
        .unwrap();
    let expected = within(*tight).unwrap();
    let study = Study::new();
    let failure = study
        .try_run(&format!("{recipe}guard.grad_norm = {tight}\n"))
        .failure("reasoner");
    assert!(failure.starts_with(&expected.to_string()), "{failure}");
    let ran = study.run(&format!("{recipe}guard.grad_norm = 0\n"));
    resumed_at(&ran, "reasoner", expected.step - 1);
    assert_eq!(ran.digests("reasoner"), calm.digests("reasoner"));
    // And what was made under one guard is a hit under any other.
    let hit = study.run(&format!("{recipe}guard.grad_norm = {tight}\n"));
    assert!(matches!(hit.state("reasoner"), State::Hit { .. }));
}

#[test]
fn a_policy_whose_entropy_falls_below_its_limit_is_stopped_and_keeps_the_state_before() {
    const STEPS: u64 = 1;
    let of_seed = |seed: u64| {
        let lines =
            format!("lr = 1e-3\nseed = {seed}\ncheckpoint_every = 1\nguard.flat_steps = 0\n");
        policy("format", &lines)
    };
    let within = |limit: f64, curve: &[f64]| {
        let limits = Limits {
            entropy: limit,
            entropy_steps: STEPS,
            ..Limits::default()
        };
        trips(limits, curve.iter().map(|e| vec![("entropy", *e)]))
    };
    // A limit that a calm run does not keep to, and breaks only when there are healthy states to keep. What a policy samples is a
    // matter of the processor, so of several seeds the first that has one.
    let late = |seed: u64| {
        let calm = Study::new().run(&of_seed(seed));
        let entropy = |s: &serde_json::Value| s["entropy"].as_f64().unwrap();
        let curve: Vec<f64> = calm.curve("rl").iter().map(entropy).collect();
        let mut limits = curve.iter().map(|e| e * 1.000_001);
        limits.find_map(|limit| {
            let tripped = within(limit, &curve)?;
            (tripped.good_before() > 3).then(|| (of_seed(seed), limit, tripped))
        })
    };
    let (recipe, limit, expected) = (0..9).find_map(late).expect("of nine curves one falls");
    let study = Study::new();
    let limited = format!("{recipe}guard.entropy = {limit}\nguard.entropy_steps = {STEPS}\n");
    let failure = study.try_run(&limited).failure("rl");
    assert!(failure.starts_with(&expected.to_string()), "{failure}");
    assert!(failure.starts_with("entropy collapse: "), "{failure}");
    assert!(failure.contains("try a lower `lr`"), "{failure}");
    // The last good one is from before the entropy fell; the newest is there to go on from.
    assert_eq!(good_one(&failure), expected.good_before() - 1, "{failure}");
    let newest = checkpoints(&study).iter().map(|p| step_of(p)).max();
    assert_eq!(newest, Some(expected.step - 1));
    let ran = study.try_run(&format!("{recipe}guard.entropy = 0\n"));
    resumed_at(&ran, "rl", expected.step - 1);
    assert!(
        matches!(ran.state("rl"), State::Done { .. }),
        "{:?}",
        ran.state("rl")
    );
}

#[test]
fn a_reward_that_is_always_the_same_is_stopped_as_dead() {
    let study = Study::new();
    let recipe = policy("0.5", "lr = 1e-3\n");
    let failure = study.try_run(&recipe).failure("rl");
    assert!(failure.starts_with("dead reward: "), "{failure}");
    let words = "20 steps in a row, up to step 20 (mean reward 0.5000)";
    assert!(failure.contains(words), "{failure}");
    assert!(
        failure.contains("the model it began as is the last good one"),
        "{failure}"
    );
    let loose = format!("{recipe}guard.flat_steps = 0\n");
    let ran = study.run(&loose);
    resumed_at(&ran, "rl", 19);
    assert_eq!(ran.digests("rl"), Study::new().run(&loose).digests("rl"));
}

#[test]
fn rl_that_diverges_says_so_and_does_not_panic() {
    let recipe = policy(
        "format",
        "lr = 1e6\nguard.flat_steps = 0\nguard.entropy = 0\n",
    );
    let failure = Study::new().try_run(&recipe).failure("rl");
    assert!(failure.starts_with("not finite: "), "{failure}");
    assert!(
        failure.contains("training diverged; a lower `lr` may help"),
        "{failure}"
    );
}
