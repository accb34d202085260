//! What is read of a model on a device besides scores and samples: hidden states, a score head, gradients at a suffix and what
//! candidates lose; each as the kernels read it.

use super::devices;
use crate::numerics::{FAMILIES, relative, tiny, weights};
use pipe::base::rng::Seed;
use pipe::learn::attack::gradient::Before;
use pipe::learn::attack::score::{Loss, Options, Scorer, Wanted as Asked};
use pipe::learn::attack::victim::{Here, Victim};
use pipe::learn::config::Head;
use pipe::learn::cpu::Cpu;
use pipe::learn::decoder::{self, Keep};
use pipe::learn::device::{self, DeviceWeights, Workspace};
use pipe::learn::learner::{Learner, Policy};
use pipe::learn::sample::choose::Choice;
use pipe::learn::sample::{self, Request, Stopped};
use pipe::learn::states::{Position, Wanted};
use pipe::learn::weights::Weights;

fn tokens(n: usize, seed: u64) -> Vec<u32> {
    let mut rng = Seed::new(seed).rng();
    (0..n).map(|_| rng.below(37) as u32).collect()
}

fn both(weights: &Weights) -> [Box<dyn Learner>; 2] {
    [
        Box::new(Cpu::frozen(weights.clone(), None)),
        device::open(super::own(), weights.clone(), None, false, Keep::All).expect("opened"),
    ]
}

#[test]
fn states_of_prompts_are_those_of_the_kernels() {
    let prompts: Vec<Vec<u32>> = (0..9).map(|i| tokens(1 + 7 * i % 30, i as u64)).collect();
    for (family, head) in FAMILIES {
        let weights = weights(family, head);
        let [mut cpu, mut there] = both(&weights);
        for position in [Position::Last, Position::Mean] {
            let wanted = Wanted {
                layers: &[0, 2],
                position,
            };
            let mut heard = vec![];
            let mut done = |n| {
                heard.push(n);
                true
            };
            let ours = there.states(Policy::Live, &prompts, wanted, 4, &mut done);
            let ours = ours.expect("computed").expect("not stopped");
            assert_eq!(heard, [4, 8, 9]);
            let theirs = cpu.states(Policy::Live, &prompts, wanted, 4, &mut |_| true);
            let theirs = theirs.expect("computed").expect("not stopped");
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert_eq!(ours.len(), theirs.len());
                assert!(relative(ours, theirs) < 1e-5, "{family:?} {position:?}");
            }
            assert_eq!(ours.len(), theirs.len());
            let stopped = there.states(Policy::Live, &prompts, wanted, 4, &mut |_| false);
            assert_eq!(stopped.expect("computed"), None);
        }
    }
}

/// What is no number in one prompt is none in its own states, and leaves those that go with it as they are.
#[test]
fn a_broken_prompt_leaves_the_states_of_others_as_they_are() {
    let (family, head) = FAMILIES[2];
    let mut weights = weights(family, head);
    let d = weights.config.hidden_size;
    let embed = weights.layout.embed.start;
    weights.data[embed + 30 * d..embed + 31 * d].fill(f32::NAN);
    let prompts = [vec![1, 2, 3], vec![4, 30, 5], vec![6, 7, 8, 9]];
    let [cpu, there] = both(&weights).map(|mut learner| {
        let each = [Position::Last, Position::Mean].map(|position| {
            let layers = &[0, 2];
            let wanted = Wanted { layers, position };
            let states = learner.states(Policy::Live, &prompts, wanted, 8, &mut |_| true);
            states.expect("computed").expect("not stopped").concat()
        });
        each.concat()
    });
    assert_eq!(cpu.len(), there.len());
    for (place, (theirs, ours)) in cpu.chunks(d).zip(there.chunks(d)).enumerate() {
        let broken = |state: &[f32]| state.iter().any(|x| x.is_nan());
        assert_eq!(broken(ours), broken(theirs), "state {place}");
        assert!(broken(ours) || relative(ours, theirs) < 1e-5, "{place}");
    }
}

#[test]
fn a_score_head_gives_the_numbers_of_the_kernels() {
    let config = tiny(FAMILIES[2].0, Head::Score { labels: 1 });
    let weights = Weights::random(config, Seed::new(3));
    let sequences: Vec<Vec<u32>> = (0..9).map(|i| tokens(1 + 7 * i % 30, i as u64)).collect();
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let [ours, theirs] = both(&weights).map(|mut learner| {
        let stopped = learner.labels(&sequences, &mut |_| false);
        assert_eq!(stopped.expect("computed"), None);
        let numbers = learner.labels(&sequences, &mut |n| n <= 9);
        numbers.expect("computed").expect("not stopped")
    });
    assert!(ours[0] != ours[1], "{ours:?}");
    assert!(relative(&ours, &theirs) < 1e-5, "{ours:?} {theirs:?}");
}

#[test]
fn gradients_at_a_suffix_are_those_of_the_kernels() {
    let (before, suffix, after, target) = (tokens(6, 1), tokens(4, 2), tokens(3, 3), tokens(5, 4));
    for (family, head) in FAMILIES {
        let weights = weights(family, head);
        let mut kernels = decoder::Workspace::new();
        let whole = Before::new(&weights, &before, &mut kernels);
        for (_, device) in devices() {
            let there = DeviceWeights::upload(&weights, &device).expect("uploaded");
            for loss in [Loss::CrossEntropy, Loss::Mellowmax] {
                let theirs = whole.slope(&suffix, &after, &target, loss, &mut kernels);
                let around = [&before[..], &suffix, &after];
                let mut workspace = Workspace::default();
                let net = (&there).into();
                let ours = device::attack::slope(net, around, &target, loss, &mut workspace);
                let ours = ours.expect("computed");
                let case = format!("{family:?} {loss:?}");
                assert!((ours.loss / theirs.loss - 1.0).abs() < 1e-5, "{case}");
                let off = relative(&ours.gradient, &theirs.gradient);
                assert_eq!(ours.gradient.len(), theirs.gradient.len());
                assert!(off < 2e-5, "{case}: {off}");
            }
        }
    }
}

#[test]
fn candidates_lose_what_they_lose_on_the_kernels() {
    let base = tokens(20, 1);
    let prompts: Vec<Vec<u32>> = (0..14)
        .map(|i| {
            let mut prompt = base[..6 + i].to_vec();
            prompt[5] = i as u32;
            prompt
        })
        .collect();
    let target = tokens(3, 4);
    let (family, head) = FAMILIES[1];
    let weights = weights(family, head);
    let options = Options {
        tokens: 50,
        stop: &|| false,
    };
    let mut scorer = Scorer::new(&weights).expect("a language head");
    scorer.rebase(&base).expect("a base");
    for (_, device) in devices() {
        let there = DeviceWeights::upload(&weights, &device).expect("uploaded");
        let net = (&there).into();
        for wanted in [Asked::Target(&target), Asked::First(&[3, 9])] {
            let theirs = scorer.score(&prompts, wanted, options).expect("scored");
            // Logits of all rows, and of one prompt at a time.
            for at_once in [1 << 20, 1] {
                let mut workspace = Workspace::new(at_once);
                let ours = device::attack::score(net, &prompts, wanted, options, &mut workspace);
                let ours = ours.expect("scored");
                assert_eq!(ours.len(), theirs.len());
                for (ours, theirs) in ours.iter().zip(&theirs) {
                    assert_eq!(ours.greedy, theirs.greedy);
                    assert_eq!(ours.logps.len(), theirs.logps.len());
                    let close =
                        |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 2e-5);
                    assert!(close(&ours.logps, &theirs.logps), "{ours:?} {theirs:?}");
                    assert!(close(&ours.logits, &theirs.logits), "{ours:?} {theirs:?}");
                }
            }
        }
        let mut workspace = Workspace::default();
        let wanted = Asked::First(&[3]);
        let stopped = Options {
            tokens: 50,
            stop: &|| true,
        };
        let error = device::attack::score(net, &prompts, wanted, stopped, &mut workspace);
        assert!(error.expect_err("stopped").is::<Stopped>());
        for (prompts, wanted, said) in [
            (&prompts[..], Asked::First(&[99]), "token 99"),
            (&[vec![]], wanted, "no tokens"),
        ] {
            let error = device::attack::score(net, prompts, wanted, options, &mut workspace);
            let error = error.expect_err("refused").to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}

#[test]
fn a_victim_on_a_device_is_what_it_is_on_the_kernels() {
    let (family, head) = FAMILIES[0];
    let weights = weights(family, head);
    let here: Box<dyn Victim> = Box::new(Here::new(&weights).expect("a language head"));
    let there = device::victim(super::own(), &weights).expect("opened");
    let options = Options {
        tokens: 64,
        stop: &|| false,
    };
    let prompts = [tokens(7, 1), tokens(12, 2), tokens(7, 1)];
    let target = tokens(3, 4);
    let [ours, theirs] = [there, here].map(|mut victim| {
        victim.rebase(&prompts[0]).expect("a base");
        let error = victim.rebase(&[99]).expect_err("no such token");
        let wanted = Asked::Target(&target);
        let scores = victim.score(&prompts, wanted, options).expect("scored");
        let losses: Vec<f32> = scores.iter().flat_map(|s| s.logps.clone()).collect();
        assert!(victim.computed() > 0);
        let mut gradients = vec![];
        // What comes before is the same, then another, then the first again.
        for before in [&prompts[0], &prompts[0], &prompts[1], &prompts[0]] {
            let around = [&before[..], &target, &[5]];
            let slope = victim.slope(around, &target, Loss::CrossEntropy);
            gradients.extend(slope.expect("computed").gradient);
        }
        let request = Request {
            prompt: prompts[1].clone(),
            samples: 2,
            seed: Seed::new(3),
        };
        let sampling = sample::Options {
            choice: Choice::plain(1.0),
            max_new_tokens: 9,
            stop_ids: Default::default(),
            batch_rows: 4,
        };
        let samples = victim.sample(request, &sampling, &|| false);
        let ids: Vec<Vec<u32>> = samples
            .expect("sampled")
            .into_iter()
            .map(|s| s.ids)
            .collect();
        assert_eq!(victim.config(), &weights.config);
        (losses, gradients, ids, error.to_string())
    });
    assert!(relative(&ours.0, &theirs.0) < 1e-5);
    assert_eq!(ours.1.len(), theirs.1.len());
    assert!(relative(&ours.1, &theirs.1) < 2e-5);
    assert_eq!((ours.2, ours.3), (theirs.2, theirs.3));
}
