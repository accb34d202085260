//! Preference pairs and DPO: who is paired with whom, the objective by finite differences, and the kinds through the engine.

use crate::fixtures;
use crate::study::Study;
use crate::training::{REASONER, WORLD, killed_at};
use pipe::base::rng::Seed;
use pipe::base::rows::{Completion, Pair, Prompt, PromptClass};
use pipe::kinds::REGISTRY;
use pipe::kinds::data::preferences::{self, Truncated};
use pipe::kinds::scorers::Settings;
use pipe::kinds::scorers::reward::Route;
use pipe::learn::batch::{Row, micro_batches};
use pipe::learn::objective::dpo::{self, DpoObjective, Loss, NllMean, Options, Pairs, Totals};
use pipe::learn::objective::{Objective, Scored};
use pipe::recipe::{self, Overrides};
use std::collections::BTreeMap;

/// Pairs of the reasoner's own responses, and DPO on them.
fn chain(samples: usize, extra: &str) -> String {
    format!(
        r#"{WORLD}{REASONER}
[node.answers]
kind = "generate"
in = {{ model = "reasoner", prompts = "mix" }}
samples = {samples}
max_new_tokens = 60
[node.pairs]
kind = "preference-pairs"
in = {{ completions = "answers" }}
reward = {{ harmful = "format", harmless = "format", ambiguous = "format" }}
[node.dpo]
kind = "dpo"
in = {{ model = "reasoner", pairs = "pairs" }}
batch = 8
lr = 1e-3
{extra}
"#
    )
}

fn response(prompt: &str, sample: u32, response: &str, finished: bool) -> Completion {
    let prompt = Prompt {
        category: "plain".into(),
        ..fixtures::prompt(prompt, PromptClass::Harmless, "ask")
    };
    Completion {
        tokens: 3,
        finished,
        ..fixtures::completion(prompt, sample, response)
    }
}

fn route(expression: &str) -> Route {
    let table = BTreeMap::from([("harmless".to_string(), expression.to_string())]);
    Route::new(&table, Settings { safety_snap: 0.9 }).unwrap()
}

#[test]
fn the_best_is_paired_with_the_worst_and_equal_scores_are_counted() {
    let (good, bad) = ("<think>\na\n</think>\n\nb", "b");
    let rows = [
        response("p", 0, bad, true),
        response("p", 1, good, true),
        response("p", 2, bad, true),
        response("p", 3, good, true),
        // Three responses make one pair.
        response("q", 0, good, true),
        response("q", 1, bad, true),
        response("q", 2, good, true),
        response("r", 0, bad, true),
        response("r", 1, bad, true),
    ];
    let made = preferences::pairs(
        &rows,
        &mut route("2 * format - 1"),
        Truncated::Score,
        &mut crate::judges::Quiet,
    )
    .unwrap();
    let ids: Vec<&str> = made.pairs.iter().map(|pair| pair.id.as_str()).collect();
    assert_eq!(ids, ["p#1-2", "p#3-0", "q#0-1"]);
    assert_eq!((made.prompts, made.equal, made.unscorable), (3, 1, 0));
    let first = &made.pairs[0];
    assert_eq!((first.chosen_score, first.rejected_score), (1.0, -1.0));
    assert_eq!(
        (first.chosen.as_str(), first.rejected.as_str()),
        (good, bad)
    );
    assert_eq!(first.prompt.prompt_id, "p");
}

#[test]
fn what_ran_into_the_limit_and_what_has_no_score_is_said() {
    let good = "<think>\na\n</think>\n\nb";
    let rows = [
        response("p", 0, good, false),
        response("p", 1, good, true),
        response("p", 2, "b", true),
    ];
    let of = |truncated, expression| {
        preferences::pairs(
            &rows,
            &mut route(expression),
            truncated,
            &mut crate::judges::Quiet,
        )
    };
    let ids = |made: &preferences::Made| -> Vec<String> {
        made.pairs.iter().map(|pair| pair.id.clone()).collect()
    };
    let made = of(Truncated::Score, "format").unwrap();
    assert_eq!((ids(&made), made.truncated), (vec!["p#0-2".into()], 1));
    assert!(!made.pairs[0].chosen_finished && made.pairs[0].rejected_finished);
    assert_eq!(ids(&of(Truncated::Penalise, "format").unwrap()), ["p#1-2"]);
    assert_eq!(ids(&of(Truncated::Drop, "format").unwrap()), ["p#1-2"]);
    // 1 / 0 is no score: the response without tags leaves the ranking.
    let made = of(Truncated::Drop, "1 / format").unwrap();
    assert_eq!(
        (made.pairs.len(), made.unscorable, made.truncated),
        (0, 1, 1)
    );
}

/// Each with a share of wrong labels.
const LOSSES: [(Loss, f64); 5] = [
    (Loss::Sigmoid, 0.0),
    (Loss::Cdpo, 0.1),
    (Loss::Robust, 0.2),
    (Loss::Ipo, 0.0),
    (Loss::SigmoidNorm, 0.0),
];

/// Three pairs with rows of several lengths.
struct Numbers {
    starts: Vec<usize>,
    logp: Vec<f32>,
    reference: Vec<f64>,
}

fn numbers() -> Numbers {
    let starts = vec![0, 3, 4, 9, 11, 12, 19];
    let mut rng = Seed::new(5).rng();
    let logp: Vec<f32> = (0..19).map(|_| -(rng.unit() as f32) * 3.0).collect();
    let sum = |b: &[usize]| logp[b[0]..b[1]].iter().map(|&x| f64::from(x)).sum::<f64>();
    let reference = starts.windows(2).map(sum).collect::<Vec<f64>>();
    let reference = reference.iter().map(|x| x + rng.unit() - 0.5).collect();
    Numbers {
        starts,
        logp,
        reference,
    }
}

const TOTALS: Totals = Totals {
    pairs: 3,
    chosen_tokens: 9,
};

#[test]
fn slopes_are_those_of_finite_differences() {
    let Numbers {
        starts,
        logp,
        reference,
    } = numbers();
    let loss_of = |options: &Options, logp: &[f32]| {
        let pairs = Pairs {
            starts: &starts,
            logp,
            entropy: &vec![0.0; logp.len()],
            greedy_hit: &vec![false; logp.len()],
            reference: &reference,
        };
        dpo::dpo(options, pairs, TOTALS)
    };
    for (loss, label_smoothing) in LOSSES {
        for (nll_coefficient, nll_mean) in [
            (0.0, NllMean::Pair),
            (3.0, NllMean::Pair),
            (3.0, NllMean::Token),
        ] {
            let options = Options {
                loss,
                beta: 0.7,
                label_smoothing,
                nll_coefficient,
                nll_mean,
            };
            let ours = loss_of(&options, &logp).dlogp;
            for i in 0..logp.len() {
                // A step that f32 holds exactly.
                let step = 2f32.powi(-10);
                let at = |by: f32| {
                    let mut moved = logp.clone();
                    moved[i] += by;
                    (loss_of(&options, &moved).loss, f64::from(moved[i]))
                };
                let ((above, x), (below, y)) = (at(step), at(-step));
                let slope = (above - below) / (x - y);
                assert!(
                    (slope - f64::from(ours[i])).abs() < 1e-5,
                    "{options:?} token {i}: {slope} against {}",
                    ours[i]
                );
            }
        }
    }
}

#[test]
fn shares_of_micro_batches_add_up_and_a_pair_is_never_cut() {
    let Numbers {
        starts,
        logp,
        reference,
    } = numbers();
    let (entropy, hits) = (vec![0.5; logp.len()], vec![true; logp.len()]);
    for (loss, label_smoothing) in LOSSES {
        let options = Options {
            loss,
            beta: 0.1,
            label_smoothing,
            nll_coefficient: 1.0,
            nll_mean: NllMean::Token,
        };
        let run = |cuts: &[usize]| {
            let mut window = DpoObjective {
                options: options.clone(),
                totals: TOTALS,
                reference: reference.clone(),
                sums: Default::default(),
            };
            let (mut total, mut slopes) = (0.0, vec![]);
            for cut in cuts.windows(2) {
                let tokens = starts[cut[0]]..starts[cut[1]];
                let bounds = starts[cut[0]..=cut[1]].iter().map(|s| s - tokens.start);
                let scored = Scored {
                    logp: &logp[tokens.clone()],
                    entropy: &entropy[tokens.clone()],
                    greedy_hit: &hits[tokens.clone()],
                };
                let share = window.share(cut[0]..cut[1], &bounds.collect::<Vec<_>>(), scored);
                total += share.loss;
                slopes.extend(share.dlogp);
            }
            (total, slopes, window.metrics())
        };
        let (whole, parts) = (run(&[0, 6]), run(&[0, 2, 4, 6]));
        assert!((whole.0 - parts.0).abs() < 1e-12);
        assert_eq!(whole.1, parts.1);
        for ((name, a), (_, b)) in whole.2.iter().zip(&parts.2) {
            assert!((a - b).abs() < 1e-12, "{loss:?} {name}");
        }
    }
    // 400 to 850 tokens a row: one by one, some micro-batch of 2048 would end within a pair.
    let rows: Vec<Row> = (0..10)
        .map(|i| Row {
            ids: vec![1; 400 + 50 * i],
            mask: vec![true; 400 + 50 * i],
        })
        .collect();
    let cuts = micro_batches(&rows, 2);
    assert!(
        cuts.iter().all(|c| c.start % 2 == 0 && c.end % 2 == 0),
        "{cuts:?}"
    );
    assert!(cuts.len() > 2 && cuts[0] == (0..4), "{cuts:?}");
    assert!(micro_batches(&rows, 1).iter().any(|c| c.end % 2 == 1));
}

#[test]
fn dpo_begins_at_ln_2_without_margins_and_learns_to_tell_the_answers_apart() {
    let study = Study::new();
    let settings = "beta = 0.1\nnll_coefficient = 0.0\nepochs = 8\n";
    let ran = study.run(&chain(8, settings));
    let rows: Vec<Pair> = ran.rows("pairs", "pairs");
    assert!(rows.len() > 20, "{} pairs", rows.len());
    for row in &rows {
        assert!(row.chosen_score > row.rejected_score, "{}", row.id);
    }
    let kept = ran.metric("pairs", "kept");
    assert_eq!(kept.value, rows.len() as f64 / kept.n as f64);
    assert_eq!(kept.n, 48 * 4, "four pairs of eight responses a prompt");
    assert_eq!(ran.metric("pairs", "score_gap").value, 1.0);
    let empty = rows
        .iter()
        .filter(|row| row.chosen.trim().is_empty() || row.rejected.trim().is_empty());
    let trained = rows.len() - empty.count();
    assert_eq!(ran.metric("dpo", "pairs/trained").value, trained as f64);
    let dropped = ran.metric("dpo", "pairs/empty").value;
    assert_eq!(dropped, (rows.len() - trained) as f64);
    let curve = ran.curve("dpo");
    let value = |step: usize, name: &str| curve[step][name].as_f64().unwrap();
    assert_eq!(curve.len(), trained, "8 epochs in batches of 8");
    assert!((value(0, "loss") - std::f64::consts::LN_2).abs() < 1e-6);
    for name in ["rewards/chosen", "rewards/rejected", "rewards/margins"] {
        assert!(value(0, name).abs() < 1e-6, "{name} {}", value(0, name));
    }
    let last = curve.len() - 1;
    assert!(value(last, "rewards/margins") > 1.0, "{}", curve[last]);
    assert!(value(last, "rewards/accuracies") > 0.8, "{}", curve[last]);
    assert!(value(last, "loss") < 0.5, "{}", curve[last]);
}

#[test]
fn the_anchor_holds_up_the_chosen_answers() {
    let with = |weight: &str| {
        let settings = format!("beta = 0.1\nnll_coefficient = {weight}\nepochs = 4\n");
        let curve = Study::new().run(&chain(4, &settings)).curve("dpo");
        let last = curve.last().unwrap();
        last["nll_loss"].as_f64().unwrap()
    };
    let (plain, anchored) = (with("0.0"), with("3.0"));
    assert!(anchored < 0.9 * plain, "{anchored} against {plain}");
}

#[test]
fn dpo_gives_the_same_bytes_on_one_thread_and_on_two() {
    let run = |threads| {
        let study = Study::new();
        let ran = study.run_with(
            &chain(4, "epochs = 1"),
            |s| s.capacity.threads = threads,
            |_| {},
        );
        [ran.digests("pairs"), ran.digests("dpo")]
    };
    assert_eq!(run(1), run(2));
}

#[test]
fn dpo_that_is_killed_again_and_again_ends_in_the_same_bytes() {
    let recipe = chain(4, "epochs = 3\ncheckpoint_every = 2");
    let calm = Study::new().run(&recipe);
    let study = Study::new();
    for moment in [1, 5] {
        let ran = killed_at(&study, &recipe, "dpo", moment);
        assert!(ran.failure("dpo").contains("killed by SIGKILL"));
    }
    let ran = study.run(&recipe);
    assert_eq!(ran.digests("dpo"), calm.digests("dpo"));
    assert_eq!(ran.record("dpo").cost.attempts, 3);
    assert!(ran.said("dpo", "resumed at step"), "{:?}", ran.said);
    assert!(ran.said(
        "dpo",
        "the reference's log-probabilities are those of an earlier attempt"
    ));
}

#[test]
fn every_loss_of_dpo_is_a_computation_of_its_own() {
    let choices = [
        "loss = \"sigmoid\"",
        "loss = \"cdpo\"\nlabel_smoothing = 0.1",
        "loss = \"robust\"\nlabel_smoothing = 0.1",
        "loss = \"ipo\"",
        "loss = \"sigmoid-norm\"",
        "nll_coefficient = 0.0",
        "nll_mean = \"token\"",
        "beta = 0.5",
        "seed = 1",
    ];
    let base = chain(4, "epochs = 1\n");
    let (before, node) = base.split_once("[node.dpo]").unwrap();
    let mut recipe = before.to_string();
    for (i, choice) in choices.iter().enumerate() {
        recipe += &format!("[node.dpo-{i}]{node}{choice}\n");
    }
    let ran = Study::new().run(&recipe);
    let mut models = BTreeMap::new();
    for (i, choice) in choices.iter().enumerate() {
        let digest = ran.digests(&format!("dpo-{i}")).remove("model").unwrap();
        if let Some(twin) = models.insert(digest, choice) {
            panic!("{choice} gives what {twin} gives");
        }
    }
}

#[test]
fn pairs_that_are_too_long_are_named_and_counted() {
    let study = Study::new();
    let ran = study.run(&chain(4, "epochs = 1\nmax_tokens = 60"));
    let (long, trained) = (
        ran.metric("dpo", "pairs/too_long"),
        ran.metric("dpo", "pairs/trained"),
    );
    assert!(
        long.value > 0.0 && trained.value > 0.0,
        "{long:?} {trained:?}"
    );
    let empty = ran.metric("dpo", "pairs/empty");
    assert_eq!(long.value + trained.value + empty.value, long.n as f64);
    let words = format!("dropped {} pairs of more than 60 tokens: ", long.value);
    assert!(ran.said("dpo", &words), "{:?}", ran.said);
    let failure = study
        .try_run(&chain(4, "epochs = 1\nmax_tokens = 3"))
        .failure("dpo");
    assert!(failure.contains("no pair is left: "), "{failure}");
}

#[test]
fn smoothing_that_would_do_nothing_is_refused() {
    let overrides = Overrides {
        sets: vec![],
        matrix: vec![],
        cwd: ".".into(),
    };
    let recipe = chain(4, "label_smoothing = 0.1");
    let Err(diags) = recipe::from_text("study.toml", &recipe, &overrides, &REGISTRY) else {
        panic!("the sigmoid loss has no smoothing");
    };
    let text = diags.render(false);
    assert!(
        text.contains("only `cdpo` and `robust` smooth labels"),
        "{text}"
    );
    assert!(text.contains("loss = \"cdpo\""), "{text}");
}
