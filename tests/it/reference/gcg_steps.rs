//! Whole steps of GCG against nanoGCG and transformers: parts of the prompt, banned tokens, gradient, candidates, filters, losses,
//! what is chosen; a target that is reached; the buffer; when a suffix is tried out.

use super::{Golden, Parity, ids, worst};
use crate::study::{attack, reference};
use pipe::learn::attack::allowed::{Allowed, Characters};
use pipe::learn::attack::frame::Frame;
use pipe::learn::attack::gradient::Before;
use pipe::learn::attack::score::{Loss, Options, Score, Scorer, Wanted};
use pipe::learn::attack::search::{self, Buffer};
use pipe::learn::checkpoint;
use pipe::learn::decoder::Workspace;
use pipe::learn::tokenizer::Tokenizer;
use pipe::learn::weights::Weights;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Every quantity of the set, by its tolerance.
struct Table {
    text: Parity,
    loss: Parity,
    gradient: Parity,
    losses: Parity,
    mellowmax: Parity,
    exact: Parity,
}

#[test]
fn steps_agree_with_nanogcg() {
    let Some(set) = attack(&["gcg_steps.json"]) else {
        return;
    };
    let golden = Golden::open(&set.join("gcg_steps"));
    let cases = golden.json["cases"].as_object().expect("cases");
    let mut table = Table {
        text: Parity::new("GCG steps: texts, ids, banned tokens", f64::MIN_POSITIVE),
        loss: Parity::new("GCG steps: loss", 2e-5),
        gradient: Parity::new("GCG steps: gradient of its largest", 1e-4),
        losses: Parity::new("GCG steps: candidates' losses", 2e-5),
        mellowmax: Parity::new("GCG steps: mellowmax", 2e-5),
        exact: Parity::new("GCG steps: candidates, survival, choice", f64::MIN_POSITIVE),
    };
    for (name, case) in cases {
        let folder = format!("models/{}", text(&case["model"]));
        let Some(models) = reference(&[&folder]) else {
            return;
        };
        Case::open(&models.join(folder), name, case).check(&golden, &mut table);
    }
    for parity in [
        table.text,
        table.loss,
        table.gradient,
        table.losses,
        table.mellowmax,
        table.exact,
    ] {
        parity.report();
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

struct Case<'g> {
    name: &'g str,
    json: &'g Value,
    weights: Weights,
    tokenizer: Tokenizer,
}

impl<'g> Case<'g> {
    fn open(folder: &Path, name: &'g str, json: &'g Value) -> Case<'g> {
        Case {
            name,
            json,
            weights: checkpoint::load(folder).expect("a checkpoint"),
            tokenizer: Tokenizer::load(folder).expect("a tokenizer"),
        }
    }

    fn part(&self, name: &str) -> Vec<u32> {
        ids(&self.json[format!("{name}_ids")])
    }

    fn frame(&self) -> Frame<'_> {
        let content = text(&self.json["content_before_suffix"]);
        let bot = text(&self.json["text"]["bot"]);
        let prefill = (!bot.is_empty()).then_some(bot);
        Frame::new(&self.tokenizer, content, prefill).expect("a chat is divided")
    }

    fn check(&self, golden: &Golden, table: &mut Table) {
        let rows = self.weights.config.vocab_size;
        let frame = self.frame();
        let same = |parity: &mut Parity, what: &str, ours: &[u32], theirs: Vec<u32>| {
            parity.same(ours.to_vec(), theirs, &format!("{} {what}", self.name));
        };
        let texts = &mut table.text;
        texts.same(&*frame.head, text(&self.json["head"]), self.name);
        texts.same(&*frame.tail, text(&self.json["tail"]), self.name);
        same(texts, "before", &frame.before, self.part("before"));
        same(texts, "after", &frame.after, self.part("after"));
        for what in ["suffix", "target"] {
            let encoded = self.tokenizer.encode(text(&self.json["text"][what]));
            same(texts, what, &encoded.expect("ids"), self.part(what));
        }
        frame
            .expect(text(&self.json["text"]["suffix"]))
            .expect("the template writes the suffix as it stands");
        let allowed = Allowed::new(&self.tokenizer, rows, Characters::PrintableAscii);
        let allowed = allowed.expect("some token is allowed");
        let banned: Vec<u32> = (0..rows as u32).filter(|id| !allowed.has(*id)).collect();
        same(texts, "forbidden", &banned, ids(&self.json["forbidden"]));

        let mut workspace = Workspace::new();
        let before = Before::new(&self.weights, &frame.before, &mut workspace);
        let mut scorer = Scorer::new(&self.weights).expect("a language model");
        let steps = self.json["steps"].as_array().expect("steps");
        let mut next = self.part("suffix");
        for (i, step) in steps.iter().enumerate() {
            let prefix = format!("{}.step{i}.", self.name);
            let tensor = |name: &str| golden.get(&format!("{prefix}{name}"));
            let suffix: Vec<u32> = tensor("ids").iter().map(|&id| id as u32).collect();
            table.exact.same(&suffix, &next, &format!("{prefix}ids"));
            let target = self.part("target");
            let slope = before.slope(
                &suffix,
                &frame.after,
                &target,
                Loss::CrossEntropy,
                &mut workspace,
            );
            let own = number(&step["loss"]);
            table.loss.check((slope.loss / own - 1.0).abs(), &prefix);
            let off = worst(&slope.gradient, tensor("gradient"));
            table.gradient.check(off, &prefix);
            self.tops(&prefix, &slope.gradient, golden, &allowed, table);
            let sampled = self.candidates(&prefix, step, golden, table);
            let scores = self.scores(&mut scorer, &frame.whole(&suffix), &sampled, &frame);
            next = self.choice(&prefix, step, golden, &scores, &frame, &sampled, table);
        }
        let result = &self.json["result"];
        let last = self.tokenizer.decode(&next, false).expect("a text");
        let message = frame.message(&last);
        table
            .exact
            .same(&*message, text(&result["test_case"]), self.name);
        let survives = frame.survival(&next).expect("it renders").whole;
        let whole = result["round_trip_whole"].as_bool();
        table.exact.same(Some(survives), whole, self.name);
        self.mistakes(&frame, &mut scorer);
        before.recycle(&mut workspace);
    }

    /// Values that are nearly equal may change places.
    fn tops(
        &self,
        prefix: &str,
        gradient: &[f32],
        golden: &Golden,
        allowed: &Allowed,
        table: &mut Table,
    ) {
        let (v, k) = (
            self.weights.config.vocab_size,
            golden.shape(&format!("{prefix}top_ids"))[1],
        );
        let theirs = golden.get(&format!("{prefix}top_ids"));
        let values = golden.get(&format!("{prefix}top_values"));
        let largest = gradient.iter().fold(0.0f32, |m, g| m.max(g.abs()));
        let ours = search::most_negative(gradient, v, k, allowed);
        for (position, ids) in ours.iter().enumerate() {
            assert_eq!(ids.len(), k, "{prefix} {position}");
            for (place, &id) in ids.iter().enumerate() {
                let at = position * k + place;
                let off = f64::from(gradient[position * v + id as usize]) - values[at];
                let case = format!("{prefix} {position}:{place}");
                table.gradient.check(off.abs() / f64::from(largest), &case);
            }
            let theirs = &theirs[position * k..(position + 1) * k];
            assert!(theirs.iter().all(|id| allowed.has(*id as u32)), "{prefix}");
        }
    }

    /// By the positions, the picks and the stored top ids.
    fn candidates(
        &self,
        prefix: &str,
        step: &Value,
        golden: &Golden,
        table: &mut Table,
    ) -> Vec<Vec<u32>> {
        let rows = |name: &str| -> Vec<Vec<usize>> {
            let name = format!("{prefix}{name}");
            let width = golden.shape(&name)[1];
            let rows = golden.get(&name).chunks_exact(width);
            rows.map(|row| row.iter().map(|&x| x as usize).collect())
                .collect()
        };
        let tokens = |name: &str| -> Vec<Vec<u32>> {
            let of = |row: Vec<usize>| row.into_iter().map(|id| id as u32).collect();
            rows(name).into_iter().map(of).collect()
        };
        let (positions, top) = (rows("positions"), tokens("top_ids"));
        let suffix: Vec<u32> = golden
            .get(&format!("{prefix}ids"))
            .iter()
            .map(|&id| id as u32)
            .collect();
        if text(&step["sampler"]) == "even" {
            let even = search::even(suffix.len(), positions.len());
            table.exact.same(&even, &positions, prefix);
        }
        let ours = search::replaced(&suffix, &top, &positions, &rows("picks"));
        table.exact.same(&ours, &tokens("sampled"), prefix);
        ours
    }

    /// However the work is cut, the numbers are the same.
    fn scores(
        &self,
        scorer: &mut Scorer,
        base: &[u32],
        sampled: &[Vec<u32>],
        frame: &Frame,
    ) -> Vec<Score> {
        let target = self.part("target");
        let prompts: Vec<Vec<u32>> = sampled.iter().map(|s| frame.whole(s)).collect();
        scorer.rebase(base).expect("a base");
        let scores = scored(scorer, &prompts, Wanted::Target(&target), 200);
        assert_eq!(
            scores,
            scored(scorer, &prompts, Wanted::Target(&target), 1),
            "one candidate at a time"
        );
        let threads = rayon::ThreadPoolBuilder::new().num_threads(3);
        let other = threads.build().expect("threads").install(|| {
            let turned: Vec<Vec<u32>> = prompts.iter().rev().cloned().collect();
            scored(scorer, &turned, Wanted::Target(&target), 77)
        });
        let turned: Vec<Score> = other.into_iter().rev().collect();
        assert_eq!(scores, turned, "other threads, another order");
        scores
    }

    #[allow(clippy::too_many_arguments)]
    fn choice(
        &self,
        prefix: &str,
        step: &Value,
        golden: &Golden,
        scores: &[Score],
        frame: &Frame,
        sampled: &[Vec<u32>],
        table: &mut Table,
    ) -> Vec<u32> {
        let tensor = |name: &str| golden.get(&format!("{prefix}{name}"));
        let flags = |name: &str| -> Vec<bool> { tensor(name).iter().map(|&x| x == 1.0).collect() };
        let of = |loss: Loss| -> Vec<f64> { scores.iter().map(|s| loss.of(s)).collect() };
        let narrow = |all: &[f64]| -> Vec<f32> { all.iter().map(|&x| x as f32).collect() };
        let losses = of(Loss::CrossEntropy);
        table
            .losses
            .check(worst(&narrow(&losses), tensor("losses")), prefix);
        let mellow = narrow(&of(Loss::Mellowmax));
        table
            .mellowmax
            .check(worst(&mellow, tensor("mellowmax")), prefix);
        let greedy: Vec<bool> = scores.iter().map(|s| s.greedy).collect();
        table.exact.same(greedy, flags("target_match"), prefix);
        let survival: Vec<_> = sampled
            .iter()
            .map(|s| frame.survival(s).expect("it renders"))
            .collect();
        let alone: Vec<bool> = survival.iter().map(|s| s.alone).collect();
        let whole: Vec<bool> = survival.iter().map(|s| s.whole).collect();
        for (kept, name, chosen) in [
            (&alone, "kept", "chosen"),
            (&whole, "kept_whole", "chosen_whole"),
        ] {
            table.exact.same(kept, &flags(name), prefix);
            let count = kept.iter().filter(|k| **k).count() as u64;
            table.exact.same(Some(count), step[name].as_u64(), prefix);
            let ours = search::least(&losses, kept).map(|i| i as u64);
            table.exact.same(ours, step[chosen].as_u64(), prefix);
        }
        let all = vec![true; losses.len()];
        let best = search::least(&losses, &all).map(|i| i as u64);
        table.exact.same(best, step["best_of_all"].as_u64(), prefix);
        let texts = step["texts"].as_array().expect("texts");
        for (ids, golden) in sampled.iter().zip(texts) {
            let ours = self.tokenizer.decode(ids, false).expect("a text");
            table.exact.same(&*ours, text(golden), prefix);
        }
        let chosen = search::least(&losses, &alone).expect("a candidate is kept");
        table.exact.same(
            sampled[chosen].clone(),
            ids(&step["chosen_ids"]),
            &format!("{prefix} chosen"),
        );
        sampled[chosen].clone()
    }

    /// None of the usual mistakes is made: each would be seen in the loss.
    fn mistakes(&self, frame: &Frame, scorer: &mut Scorer) {
        let prompt = frame.whole(&self.part("suffix"));
        let target = self.part("target");
        let scores = scored(scorer, &[prompt], Wanted::Target(&target), 64);
        let own = Loss::CrossEntropy.of(&scores[0]);
        let mistakes = self.json["mistakes"].as_object().expect("mistakes");
        for (mistake, loss) in mistakes {
            let off = (own / number(loss) - 1.0).abs();
            assert!(off > 1e-4, "{}: {mistake} is off by {off}", self.name);
        }
    }
}

fn scored(scorer: &mut Scorer, prompts: &[Vec<u32>], wanted: Wanted, tokens: usize) -> Vec<Score> {
    let options = Options {
        tokens,
        stop: &|| false,
    };
    scorer.score(prompts, wanted, options).expect("scores")
}

#[test]
fn a_target_that_greedy_decoding_reaches_is_known() {
    let Some(set) = attack(&["gcg_steps.json"]) else {
        return;
    };
    let golden = Golden::open(&set.join("gcg_steps"));
    let reached = &golden.json["reached"];
    let folder = format!("models/{}", text(&reached["model"]));
    let Some(models) = reference(&[&folder]) else {
        return;
    };
    let weights = checkpoint::load(&models.join(folder)).expect("a checkpoint");
    let part = |name: &str| ids(&reached[format!("{name}_ids")]);
    let (before, after, target) = (part("before"), part("after"), part("target"));
    let width = golden.shape("reached.suffixes")[1];
    let prompts: Vec<Vec<u32>> = golden
        .get("reached.suffixes")
        .chunks_exact(width)
        .map(|row| {
            let suffix: Vec<u32> = row.iter().map(|&id| id as u32).collect();
            [&before[..], &suffix, &after].concat()
        })
        .collect();
    let mut scorer = Scorer::new(&weights).expect("a language model");
    // Of nothing that was computed before, the losses are the same but for rounding.
    let bare = scored(&mut scorer, &prompts, Wanted::Target(&target), 300);
    scorer.rebase(&before).expect("a base");
    let scores = scored(&mut scorer, &prompts, Wanted::Target(&target), 300);
    let mut losses = Parity::new("GCG: losses of a target that is reached", 2e-5);
    for (all, what) in [(&bare, "bare"), (&scores, "shared")] {
        let of = |loss: Loss| -> Vec<f32> { all.iter().map(|s| loss.of(s) as f32).collect() };
        losses.check(
            worst(&of(Loss::CrossEntropy), golden.get("reached.losses")),
            what,
        );
        losses.check(
            worst(&of(Loss::Mellowmax), golden.get("reached.mellowmax")),
            what,
        );
        let hits: Vec<u32> = (0..)
            .zip(all)
            .filter(|(_, s)| s.greedy)
            .map(|(i, _)| i)
            .collect();
        losses.same(hits, ids(&reached["reached_by"]), what);
    }
    losses.report();
}

#[test]
fn the_buffer_keeps_what_nanogcg_keeps() {
    let Some(set) = attack(&["gcg_steps.json"]) else {
        return;
    };
    let golden = Golden::open(&set.join("gcg_steps"));
    let entry = |value: &Value| (number(&value[0]), value[1].as_u64().expect("an id"));
    let entries = |value: &Value| -> Vec<(f64, u64)> {
        value
            .as_array()
            .expect("entries")
            .iter()
            .map(entry)
            .collect()
    };
    let mut parity = Parity::new("GCG: the buffer", f64::MIN_POSITIVE);
    let mut sizes = BTreeSet::new();
    for case in golden.json["buffer"].as_array().expect("buffers") {
        let size = case["size"].as_u64().expect("a size") as usize;
        sizes.insert(size);
        let mut buffer = Buffer::new(size, entries(&case["start"]));
        for step in case["steps"].as_array().expect("steps") {
            let id = step["id"].as_u64().expect("an id");
            let added = buffer.offer(number(&step["loss"]), id);
            let case = format!("size {size}, {id}");
            parity.same(Some(added), step["added"].as_bool(), &case);
            parity.same(Some(*buffer.best()), step["next_from"].as_u64(), &case);
            parity.same(buffer.entries().to_vec(), entries(&step["entries"]), &case);
        }
    }
    assert!(sizes.contains(&0) && sizes.len() > 1, "{sizes:?}");
    parity.report();
}

#[test]
fn suffixes_are_tried_out_when_harmbench_does() {
    let Some(set) = attack(&["gcg_steps.json"]) else {
        return;
    };
    let golden = Golden::open(&set.join("gcg_steps"));
    let mut parity = Parity::new("GCG: when a suffix is tried out", f64::MIN_POSITIVE);
    for case in golden.json["stops"].as_array().expect("stops") {
        let every = case["every"].as_u64().expect("a number") as usize;
        let losses = case["losses"].as_array().expect("losses");
        let refused = case["refused_if_asked"].as_array().expect("answers");
        let below = number(&case["below"]);
        let (mut checks, mut last) = (vec![], losses.len() - 1);
        for (step, loss) in losses.iter().enumerate() {
            if search::due(step, losses.len(), every) && number(loss) < below {
                checks.push(step as u32);
                if refused[step] == false {
                    last = step;
                    break;
                }
            }
        }
        let what = format!("every {every}");
        parity.same(checks, ids(&case["checks"]), &what);
        parity.same(Some(last as u64), case["last_step"].as_u64(), &what);
    }
    parity.report();
}
