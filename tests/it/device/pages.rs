//! The pages of the sampler's cache: shared by the rows of a prompt, taken as a row reaches them, given back as it ends, waited
//! for where there are too few.

use super::sampler::alike;
use crate::numerics::{FAMILIES, tiny, weights};
use candle_core::Device;
use pipe::base::device::{DeviceName, Numerics, Place};
use pipe::base::rng::Seed;
use pipe::learn::batch::Row;
use pipe::learn::config::Config;
use pipe::learn::device::launch::{Choice as Kernels, by};
use pipe::learn::device::ledger::{Beside, Dims, Sampling};
use pipe::learn::device::sample::{Used, sample, width};
use pipe::learn::device::{self, DeviceWeights, Workspace};
use pipe::learn::learner::Policy;
use pipe::learn::sample::choose::Choice;
use pipe::learn::sample::forecast::Tally;
use pipe::learn::sample::{self as on_kernels, Options, Request, Sample};
use pipe::learn::weights::Weights;

/// Positions of a page.
const PAGE: usize = 256;

fn request(length: usize, samples: usize, seed: u64) -> Request {
    let mut rng = Seed::new(seed).rng();
    Request {
        prompt: (0..length).map(|_| rng.below(37) as u32).collect(),
        samples,
        seed: Seed::new(100 + seed),
    }
}

fn options(new: usize, rows: usize, stops: &[u32]) -> Options {
    super::sampler::options(Choice::plain(1.0), new, rows, stops)
}

/// One of the families that tests know, by its number.
fn model(number: usize) -> Weights {
    let (family, head) = FAMILIES[number];
    weights(family, head)
}

/// Samples, and what they took of the cache.
fn run(
    weights: &Weights,
    requests: &[Request],
    options: &Options,
    cache: Option<usize>,
) -> (Vec<Vec<Sample>>, Used) {
    let there = DeviceWeights::upload(weights, &Device::Cpu).expect("uploaded");
    let mut workspace = Workspace::default();
    if let Some(bytes) = cache {
        workspace = workspace.with_cache(bytes as u64);
    }
    let (nobody, go) = (&mut |_: &Tally| {}, &|| false);
    let net = (&there).into();
    let samples = sample(net, requests, options, nobody, go, &mut workspace);
    (samples.expect("sampled"), workspace.used)
}

/// What is said in a cache of so many pages is what is said where there is room for all, and the same bytes each time. Gives what it
/// took of the cache.
fn in_pages(weights: &Weights, requests: &[Request], options: &Options, pages: usize) -> Used {
    let (all, roomy) = run(weights, requests, options, None);
    assert_eq!(roomy.left, 0, "there is room for all of them");
    let few = || run(weights, requests, options, Some(pages * roomy.bytes));
    let (ours, used) = few();
    alike(&ours, &all, &format!("{pages} pages"));
    assert!(used.most <= used.pages, "{used:?}");
    assert_eq!(few(), (ours, used), "the same bytes twice");
    used
}

/// What is said is what the CPU's sampler says. Gives what it took of the cache.
fn on_cpu(weights: &Weights, requests: &[Request], options: &Options, what: &str) -> Used {
    let (ours, used) = run(weights, requests, options, None);
    let nobody = &mut |_: &Tally| {};
    let theirs = on_kernels::sample(weights, requests, options, nobody, &|| false);
    alike(&ours, &theirs.expect("sampled"), what);
    assert!(used.most <= used.pages, "{what}: {used:?}");
    used
}

#[test]
fn rows_of_a_prompt_share_the_pages_that_it_fills() {
    for number in 0..FAMILIES.len() {
        let weights = model(number);
        let options = options(20, 64, &[7]);
        // Two full pages and 88 positions; what eight rows have besides is a page of each.
        let group = [request(2 * PAGE + 88, 8, 1)];
        let shared = on_cpu(&weights, &group, &options, &format!("family {number}"));
        assert_eq!((shared.most, shared.pages), (2 + 8, 2 + 8));
        // As many prompts of their own share nothing.
        let apart: Vec<Request> = (0..8).map(|i| request(2 * PAGE + 88, 1, i)).collect();
        let (_, each) = run(&weights, &apart, &options, None);
        assert_eq!((each.most, each.pages), (3 * 8, 3 * 8));
        // Keys and values of a page in f32.
        let Config {
            layers,
            kv_heads,
            head_dim,
            ..
        } = weights.config;
        assert_eq!(shared.bytes, 2 * layers * kv_heads * PAGE * head_dim * 4);
    }
}

/// A prompt that ends where a page does, before and behind it, and one of a token alone.
#[test]
fn prompts_at_the_ends_of_pages_go_on_as_on_the_cpu() {
    let lengths = [PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 1, 2 * PAGE - 3];
    let requests = lengths.iter().zip(0..);
    let requests: Vec<Request> = requests
        .map(|(&n, i)| request(n, 1 + i as usize % 3, i))
        .collect();
    for (new, rows) in [(1, 64), (2, 64), (30, 64), (30, 2), (300, 5)] {
        let what = format!("{new} tokens of {rows} rows");
        on_cpu(&model(1), &requests, &options(new, rows, &[]), &what);
    }
}

/// A prompt without a second position fills no page and shares none: each of its samples has it in a page of its own, whatever goes with
/// it, and where pages are few it begins, waits and is computed again as others are.
#[test]
fn a_prompt_of_one_token_has_pages_as_any_other() {
    let weights = model(1);
    let one = [request(1, 4, 1)];
    for (new, pages) in [(1, 1), (2, 1), (PAGE, 1), (PAGE + 1, 2)] {
        let what = format!("{new} tokens");
        let used = on_cpu(&weights, &one, &options(new, 64, &[]), &what);
        assert_eq!((used.pages, used.most), (4 * pages, 4 * pages), "{what}");
        assert_eq!(used.taken, 4 * pages, "{what}");
    }
    // Beside a longer one, whose products have its row in the middle.
    let beside = [request(40, 2, 2), request(1, 3, 1), request(PAGE + 7, 2, 3)];
    on_cpu(&weights, &beside, &options(12, 64, &[7]), "beside others");
    let used = in_pages(&weights, &beside, &options(12, 64, &[7]), 2);
    assert_eq!(used.pages, 2);
}

#[test]
fn where_pages_are_few_rows_wait_and_say_the_same() {
    let weights = model(2);
    let requests = [
        request(PAGE + 20, 6, 1),
        request(30, 4, 2),
        request(2 * PAGE + 5, 5, 3),
        request(PAGE, 3, 4),
    ];
    let options = options(40, 64, &[7, 9]);
    let roomy = on_cpu(&weights, &requests, &options, "all at once");
    // (1 + 6) + 4 + (2 + 5) + (1 + 3)
    assert_eq!(roomy.pages, 22);
    // The longest row has three pages, so it begins with three; with one less than wanted somebody waits.
    for pages in [0, 3, 4, 7, 21] {
        let used = in_pages(&weights, &requests, &options, pages);
        assert_eq!(used.pages, pages.max(3));
    }
}

/// Of samples that may have 500 tokens there is room for one or two at their full length. Soon more begin, as most of them end within the
/// page where their prompt ends; those that do not take pages of the youngest, which say the same later. Where a prompt fills a page, its
/// samples share that.
#[test]
fn samples_begin_by_the_length_to_expect_and_the_youngest_leave_their_pages() {
    let weights = model(2);
    let of = |length: usize| -> Vec<Request> { (0..12).map(|i| request(length, 5, i)).collect() };
    let penalty = Choice {
        repetition_penalty: 1.05,
        ..Choice::plain(1.0)
    };
    for (choice, filled) in [
        (Choice::plain(1.0), 0),
        (penalty, 0),
        (Choice::plain(1.0), PAGE),
    ] {
        let options = Options {
            choice,
            ..options(500, 64, &[7])
        };
        let (all, _) = run(&weights, &of(PAGE / 2), &options, None);
        let tokens: usize = all.iter().flatten().map(|sample| sample.ids.len()).sum();
        // One of e^2 is longer than twice the mean, and 3/2 of it are expected.
        let requests = of(filled + PAGE - (2 * tokens / 60).min(PAGE / 2));
        let used = in_pages(&weights, &requests, &options, 7);
        println!("{tokens} tokens: {used:?}");
        assert_eq!((used.pages, used.most), (7, 7));
        assert!(used.left > 0, "{used:?}");
    }
}

/// The first request, of samples of a prompt so long, whose samples have such lengths.
fn asked(
    weights: &Weights,
    (prompt, samples): (usize, usize),
    lengths: impl Fn(&[usize]) -> bool,
) -> Request {
    let all: Vec<Request> = (0..80).map(|i| request(prompt, samples, i)).collect();
    let (said, _) = run(weights, &all, &few(), None);
    let of =
        |samples: &Vec<Sample>| -> Vec<usize> { samples.iter().map(|s| s.ids.len()).collect() };
    let found = said.iter().position(|samples| lengths(&of(samples)));
    let found = found.expect("one of eighty is so long");
    request(prompt, samples, found as u64)
}

/// Of those that follow.
fn few() -> Options {
    options(120, 64, &[7])
}

/// Eight samples of 14 to 18 tokens, after which 21 to 27 are expected: fewer than a prompt of this length leaves of its page.
const EDGE: usize = PAGE - 30;

fn short(weights: &Weights) -> Vec<Request> {
    let short = asked(weights, (EDGE, 1), |n| (14..=18).contains(&n[0]));
    vec![short; 8]
}

/// A sample that has more tokens than were expected wants a page while a younger one has not come to the one it was promised, and never
/// will. Nobody leaves.
#[test]
fn a_page_that_a_younger_row_was_promised_is_taken_before_its_work_is() {
    let weights = model(2);
    let one = |prompt: usize, from: usize, to: usize| {
        asked(&weights, (prompt, 1), |n| (from..=to).contains(&n[0]))
    };
    let mut requests = short(&weights);
    // The second has the two pages that the first leaves, until the third has them, shortly before the first is at its page's end.
    requests.extend([
        one(EDGE, 32, 120),
        one(PAGE - 5, 20, 30),
        one(PAGE - 15, 13, 16),
    ]);
    let used = in_pages(&weights, &requests, &few(), 3);
    assert_eq!((used.pages, used.most, used.left), (3, 3, 0));
}

/// A prompt whose samples still hold its pages is kept: without it there would be no page more.
#[test]
fn a_prompt_is_forgotten_where_that_frees_a_page() {
    let weights = model(2);
    let mut requests = short(&weights);
    requests.push(asked(&weights, (EDGE, 1), |n| n[0] >= 32));
    // Two of them begin beside the one above, of which one leaves its page to it.
    let group = (PAGE + 130, 3);
    requests.push(asked(&weights, group, |n| n[0] >= 32 && n[1] >= 32));
    let used = in_pages(&weights, &requests, &few(), 4);
    assert_eq!((used.pages, used.most, used.left), (4, 4, 1));
    // Eight, two, the page of the prompt and one of each sample; and two of the sample that left.
    assert_eq!(used.taken, 8 + 2 + 1 + 3 + 2);
}

#[test]
fn samples_that_left_their_pages_are_work_to_come() {
    let weights = model(2);
    let mut requests = short(&weights);
    requests.push(asked(&weights, (EDGE, 1), |n| n[0] >= 32));
    requests.push(asked(&weights, (30, 1), |n| n[0] >= 32));
    let there = DeviceWeights::upload(&weights, &Device::Cpu).expect("uploaded");
    let (_, roomy) = run(&weights, &requests, &few(), None);
    let mut workspace = Workspace::default().with_cache(2 * roomy.bytes as u64);
    let mut said = 0;
    let mut told = |tally: &Tally| {
        // None is under way, and none waits to begin.
        if tally.ended == 9 {
            assert!(tally.work().left > 0.0);
            said += 1;
        }
    };
    let (net, go) = ((&there).into(), &|| false);
    sample(net, &requests, &few(), &mut told, go, &mut workspace).expect("sampled");
    assert!(said > 0 && workspace.used.left == 1, "{:?}", workspace.used);
}

#[test]
fn pages_of_rows_that_ended_are_taken_again() {
    let requests: Vec<Request> = (0..6)
        .map(|i| request(PAGE + 3 + 3 * i, 4, i as u64))
        .collect();
    let used = on_cpu(&model(0), &requests, &options(30, 6, &[7]), "six at a time");
    // Six rows and at most three prompts at a time, of 24 rows and six prompts.
    assert_eq!(used.pages, 6 + 3);
    assert_eq!(used.taken, 24 + 6);
}

#[test]
fn a_width_is_one_of_few_and_at_most_a_third_of_it_is_nobody_s() {
    let ladder = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256];
    for rows in 1..=256 {
        let least = ladder.iter().find(|&&step| step >= rows);
        assert_eq!(Some(&width(rows)), least, "{rows} rows");
    }
}

/// Five rows are computed as six, so that the sixth changes no bit of theirs.
#[test]
fn a_row_s_bits_hang_on_the_width_and_not_on_its_neighbours() {
    for (family, head) in FAMILIES {
        let weights = Weights::random(tiny(family, head), Seed::new(4));
        let options = options(40, 64, &[]);
        let (five, _) = run(&weights, &[request(50, 5, 1)], &options, None);
        let (six, _) = run(&weights, &[request(50, 6, 1)], &options, None);
        assert_eq!(five[0][..], six[0][..5], "{family:?}");
    }
}

#[test]
fn what_is_planned_is_what_is_there() {
    let weights = model(0);
    let dims = Dims::from(&weights.config);
    let place = Place::new(DeviceName::Candle, None);
    let beside = Beside::asked(&dims, place.into());
    for (prompt, samples, prompts, rows, new) in [
        (PAGE + 9, 4, 3, 8, 20),
        (40, 1, 5, 3, 300),
        (2 * PAGE, 3, 4, 7, 5),
        (2 * PAGE, 3, 4, 1, 1),
        (1, 3, 4, 7, PAGE + 1),
    ] {
        let requests: Vec<Request> = (0..prompts).map(|i| request(prompt, samples, i)).collect();
        let (_, used) = run(&weights, &requests, &options(new, rows, &[7]), None);
        let lengths = || requests.iter().map(|r| (r.prompt.len(), r.samples));
        let how = Sampling::new((place, None), (&dims, &beside), lengths, (rows, new));
        let ledger = how.ledger(&dims, &beside);
        let buffers = ledger.phases[0].buffers.iter();
        let cache = buffers.into_iter().find(|b| b.what == "cache");
        let there = (used.pages + 1) * used.bytes;
        assert_eq!(cache.expect("a cache").bytes, there as u64, "{how:?}");
    }
}

/// Played for a while: seven rows of three prompts, of which three share a page and two have one of a token, and room for four.
pub(super) fn few_rows_say_by_kernels_what_they_say_without() {
    for (family, head) in &FAMILIES[..2] {
        let weights = weights(*family, *head);
        let requests = [
            request(PAGE + 30, 3, 1),
            request(1, 2, 3),
            request(20, 2, 2),
        ];
        for choice in [Choice::plain(0.8), Choice::greedy()] {
            let options = Options {
                choice,
                ..options(6, 64, &[])
            };
            let plain = || run(&weights, &requests, &options, None);
            let (plain, roomy) = by(Kernels::Plain, plain);
            let (ours, used) = run(&weights, &requests, &options, Some(4 * roomy.bytes));
            alike(&ours, &plain, &format!("{family:?} {choice:?}"));
            assert_eq!((used.pages, used.most), (4, 4));
            let (again, _) = run(&weights, &requests, &options, Some(4 * roomy.bytes));
            assert_eq!(again, ours, "the same bytes twice");
        }
    }
}

/// In bf16, with heads of a width that its kernels have: log-probabilities are the trainer's but for rounding.
pub(super) fn few_rows_in_bf16_are_the_trainer_s() {
    for (family, head) in &FAMILIES[..2] {
        let config = Config {
            head_dim: 32,
            ..tiny(*family, *head)
        };
        let place = Place {
            device: super::own().device,
            numerics: Numerics::Bf16,
        };
        let weights = Weights::random(config, Seed::new(6));
        let mut there = device::asked(place, weights).expect("opened");
        let requests = [
            request(PAGE + 30, 3, 1),
            request(1, 2, 3),
            request(20, 2, 2),
        ];
        let (live, options) = (Policy::Live, options(6, 64, &[]));
        let samples = there.sample(live, &requests, &options, &mut |_| {}, &|| false);
        let samples = samples.expect("sampled");
        let rows = requests.iter().zip(&samples).flat_map(|(asked, samples)| {
            samples.iter().map(|sample| Row {
                ids: [&asked.prompt[..], &sample.ids].concat(),
                mask: [vec![false; asked.prompt.len()], vec![true; 6]].concat(),
            })
        });
        let rows: Vec<Row> = rows.collect();
        let scores = there.score(live, &rows, 1.0).expect("computed").concat();
        let logps = samples.iter().flatten().flat_map(|s| s.logps.iter());
        let most = logps.zip(&scores).map(|(a, b)| (a - b).abs());
        let most = most.fold(0.0, f32::max);
        assert!(most < 0.05, "{family:?}: {most}");
    }
}
