//! Attacks made of text against the tables that HarmBench, PAIR, best-of-N and nltk agree with.

use crate::study::attack;
use pipe::kinds::attacks::augment::{Draws, Params, Stage, augment};
use pipe::kinds::attacks::pair::reading::{Proposal, proposal};
use pipe::kinds::attacks::pair::rounds::{Asked, Cast, Search, run};
use pipe::kinds::attacks::pair::stream::{Rules, Said, Turn};
use pipe::kinds::attacks::pair::told::Told;
use pipe::kinds::attacks::quotes;
use pipe::kinds::attacks::rainbow::archive::{
    Order, Place, Vote, pick, probabilities, takes, wins,
};
use pipe::kinds::attacks::rainbow::bleu::{Smoothing, bleu};
use pipe::kinds::attacks::ratings::rating;
use serde_json::Value;
use std::collections::VecDeque;
use std::path::Path;

fn table(folder: &Path, name: &str) -> Value {
    let text = std::fs::read_to_string(folder.join(name)).expect("a golden table");
    serde_json::from_str(&text).expect("golden JSON is valid")
}

fn rows<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    let rows = of[name].as_array().map(Vec::as_slice).unwrap_or_default();
    assert!(!rows.is_empty(), "{name} has rows");
    rows
}

fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    let found = of[name].as_str();
    found.unwrap_or_else(|| panic!("{name} is no text in {of}"))
}

fn number(of: &Value) -> f64 {
    of.as_f64().expect("a number")
}

/// The draws that a table recorded, in their order.
#[derive(Default)]
struct Recorded {
    units: [VecDeque<f64>; 3],
    orders: VecDeque<Vec<usize>>,
    ups: VecDeque<bool>,
}

impl Recorded {
    fn of(row: &Value) -> Recorded {
        let mut draws = Recorded::default();
        let entries = |name: &str| row[name].as_array().expect("a list").iter();
        for entry in entries("scramble") {
            draws.units[0].push_back(number(&entry["u"]));
            if let Some(order) = entry["order"].as_array() {
                let order = order.iter().map(|place| place.as_u64().unwrap() as usize);
                draws.orders.push_back(order.collect());
            }
        }
        draws.units[1].extend(entries("capital_u").map(number));
        for entry in entries("noise") {
            draws.units[2].push_back(number(&entry["u"]));
            draws
                .ups
                .extend(entry["step"].as_i64().map(|step| step > 0));
        }
        draws
    }

    fn left(&self) -> usize {
        let units: usize = self.units.iter().map(VecDeque::len).sum();
        units + self.orders.len() + self.ups.len()
    }
}

impl Draws for Recorded {
    fn unit(&mut self, stage: Stage) -> f64 {
        let place = match stage {
            Stage::Scramble => 0,
            Stage::Capitals => 1,
            Stage::Noise => 2,
        };
        self.units[place].pop_front().expect("one more draw")
    }

    fn order(&mut self, n: usize) -> Vec<usize> {
        let order = self.orders.pop_front().expect("one more order");
        assert_eq!(order.len(), n);
        order
    }

    fn up(&mut self) -> bool {
        self.ups.pop_front().expect("one more direction")
    }
}

#[test]
fn copies_of_best_of_n_are_those_of_the_release() {
    let Some(folder) = attack(&["best_of_n.json"]) else {
        return;
    };
    let golden = table(&folder, "best_of_n.json");
    for row in rows(&golden, "augment") {
        let mut p = Params {
            n: 1,
            sigma: number(&row["sigma"]),
            scramble: true,
            capitals: true,
            noise: true,
            drop_other_letters: false,
            seed: 0,
        };
        let mut draws = Recorded::of(row);
        let copy = augment(text(row, "text"), &p, &mut draws);
        assert_eq!(copy.scrambled, text(row, "scrambled"));
        assert_eq!(copy.capital, text(row, "capital"));
        assert_eq!(copy.result, text(row, "result"));
        assert_eq!(draws.left(), 0, "every draw was asked for");
        p.drop_other_letters = true;
        p.noise = false;
        let as_released = augment(text(row, "text"), &p, &mut Recorded::of(row));
        assert_eq!(as_released.capital, text(row, "capital_as_released"));
    }
}

#[test]
fn one_pair_of_quotes_is_taken_away() {
    let Some(folder) = attack(&["pair.json"]) else {
        return;
    };
    for row in rows(&table(&folder, "pair.json"), "quotes") {
        let raw = text(row, "raw");
        assert_eq!(quotes::stripped(raw), text(row, "stripped"), "{raw:?}");
    }
}

#[test]
fn replies_of_attackers_are_read_by_one_rule() {
    let Some(folder) = attack(&["pair.json"]) else {
        return;
    };
    for row in rows(&table(&folder, "pair.json"), "replies") {
        let whole = text(row, "begun").to_string() + text(row, "raw");
        let read = proposal(&whole);
        let expected = row["json_reading"].as_object().map(|fields| Proposal {
            improvement: fields["improvement"].as_str().expect("a text").into(),
            prompt: fields["prompt"].as_str().expect("a text").into(),
        });
        assert_eq!(read, expected, "{}: {whole:?}", row["name"]);
    }
}

#[test]
fn ratings_of_judges_are_read_by_one_rule() {
    let Some(folder) = attack(&["pair.json"]) else {
        return;
    };
    for row in rows(&table(&folder, "pair.json"), "ratings") {
        let whole = text(row, "begun").to_string() + text(row, "raw");
        let expected = row["readable"].as_u64().map(|n| n as u32);
        assert_eq!(rating(&whole), expected, "{}: {whole:?}", row["name"]);
    }
}

/// Attackers, targets and judges that say what a table has them say.
struct Script<'a> {
    streams: &'a [Value],
    calls: [usize; 3],
}

impl Cast for Script<'_> {
    fn say(&mut self, turn: Turn, asked: &[Asked]) -> anyhow::Result<Vec<Option<Said>>> {
        let said = asked.iter().map(|a| {
            let lines = &self.streams[a.stream][a.step];
            let line = match turn {
                Turn::Attacker => lines["attacker"][a.tries].as_str(),
                Turn::Target => Some(text(lines, "target")),
                Turn::Judge => {
                    assert_eq!(a.answer, text(lines, "target"));
                    Some(text(lines, "judge"))
                }
            };
            self.calls[turn as usize] += usize::from(line.is_some());
            line.map(|line| Said {
                text: line.into(),
                ..Said::default()
            })
        });
        Ok(said.collect())
    }

    fn at_once(&self, _: Turn) -> usize {
        2
    }
}

#[test]
fn the_loop_of_pair_goes_on_and_ends_as_the_table_says() {
    let Some(folder) = attack(&["pair.json"]) else {
        return;
    };
    let golden = table(&folder, "pair.json");
    let told = Told::new(None, None).expect("our own texts");
    for row in rows(&golden, "loop") {
        let (script, expected) = (&row["script"], &row["expected"]);
        let count = |of: &Value, name: &str| of[name].as_u64().expect("a count") as usize;
        let streams = rows(script, "streams");
        let rules = Rules {
            streams: streams.len(),
            steps: count(script, "steps"),
            retries: count(script, "retries"),
            keep: count(row, "keep_last_n"),
            cutoff: count(row, "cutoff") as u32,
        };
        let goal = text(script, "behavior");
        // Beside another search, which changes nothing.
        let mut searches = vec![
            Search::new(goal, &rules, &told),
            Search::new(goal, &rules, &told),
        ];
        let goals = [goal, goal];
        let calls = [0; 3];
        let mut cast = Script { streams, calls };
        run(&mut searches, &goals, &rules, &told, &mut cast, &mut |_| {
            Ok(())
        })
        .expect("nobody fails");
        let name = text(script, "name");
        assert_eq!(searches[0], searches[1], "{name}");
        let search = &searches[0];
        assert_eq!(search.steps.len(), count(expected, "steps_done"), "{name}");
        let calls: Vec<usize> = ["attacker", "target", "judge"]
            .map(|who| 2 * count(&expected["calls"], who))
            .into();
        assert_eq!(cast.calls.to_vec(), calls, "{name}");
        for (step, (rounds, of_step)) in search.steps.iter().zip(rows(expected, "log")).enumerate()
        {
            let of_step = of_step.as_array().expect("a list");
            assert_eq!(rounds.len(), of_step.len(), "{name} {step}");
            for (round, of) in rounds.iter().zip(of_step) {
                assert_eq!(
                    (round.stream, round.tries),
                    (count(of, "stream"), count(of, "tries"))
                );
                assert_eq!(
                    round.prompt.as_deref(),
                    of["prompt"].as_str(),
                    "{name} {step}"
                );
                if round.prompt.is_some() {
                    assert_eq!(round.score, of["score"].as_u64().map(|n| n as u32));
                    assert_eq!(Some(round.readable), of["readable"].as_bool());
                    assert_eq!(round.kept, count(of, "messages_kept"), "{name} {step}");
                }
            }
        }
        let best = search.best.as_ref();
        assert_eq!(
            best.is_none(),
            expected["found_nothing"].as_bool().expect("a flag"),
            "{name}"
        );
        assert_eq!(
            best.map_or(0, |(_, s)| *s as usize),
            count(expected, "best_score")
        );
        let prompt = best.map_or(goal, |(prompt, _)| prompt.as_str());
        assert_eq!(prompt, text(expected, "best_prompt"), "{name}");
    }
}

#[test]
fn bleu_is_that_of_nltk() {
    let Some(folder) = attack(&["rainbow.json"]) else {
        return;
    };
    for row in rows(&table(&folder, "rainbow.json"), "bleu") {
        let words = |name: &str| -> Vec<&str> {
            let words = row[name].as_array().expect("a list").iter();
            words.map(|w| w.as_str().expect("a word")).collect()
        };
        let (reference, candidate) = (words("reference"), words("candidate"));
        for (name, smoothing) in [("plain", Smoothing::None), ("method4", Smoothing::Method4)] {
            let (own, theirs) = (bleu(&reference, &candidate, smoothing), number(&row[name]));
            let close = (own - theirs).abs() <= 1e-12 * theirs.abs();
            assert!(close, "{name} of {candidate:?}: {own:e}, {theirs:e}");
        }
        let plain = bleu(&reference, &candidate, Smoothing::None);
        assert_eq!(
            Some(plain > 0.6),
            row["too_close"].as_bool(),
            "{candidate:?}"
        );
    }
}

#[test]
fn cells_are_tried_as_the_table_says() {
    let Some(folder) = attack(&["rainbow.json"]) else {
        return;
    };
    for row in rows(&table(&folder, "rainbow.json"), "cells") {
        let list = |name: &str| row[name].as_array().expect("a list").iter();
        let fitness: Vec<Option<f64>> = list("fitness").map(Value::as_f64).collect();
        let own = probabilities(&fitness, number(&row["temperature"]));
        let theirs: Vec<f64> = list("probabilities").map(number).collect();
        assert_eq!(own.len(), theirs.len());
        for (own, theirs) in own.iter().zip(&theirs) {
            assert!((own - theirs).abs() < 1e-12, "{own} {theirs}");
        }
        let picked: Vec<u64> = list("uniforms")
            .map(|u| pick(&own, number(u)) as u64)
            .collect();
        let expected: Vec<u64> = list("picked")
            .map(|p| p.as_u64().expect("a place"))
            .collect();
        assert_eq!(picked, expected);
    }
}

#[test]
fn who_takes_a_cell_is_as_the_table_says() {
    let Some(folder) = attack(&["rainbow.json"]) else {
        return;
    };
    for row in rows(&table(&folder, "rainbow.json"), "challenges") {
        let vote = |vote: &Value| -> Vote {
            let order = match vote[0].as_str() {
                Some("incumbent_first") => Order::IncumbentFirst,
                Some("challenger_first") => Order::ChallengerFirst,
                other => panic!("{other:?} is no order"),
            };
            let place = match vote[1].as_str() {
                Some("first") => Some(Place::First),
                Some("second") => Some(Place::Second),
                _ => None,
            };
            (order, place)
        };
        let votes: Vec<Vote> = row["votes"]
            .as_array()
            .expect("a list")
            .iter()
            .map(vote)
            .collect();
        assert_eq!(Some(wins(&votes) as u64), row["wins"].as_u64(), "{row}");
        let occupied = !row["incumbent"].is_null();
        assert_eq!(
            Some(takes(occupied, &votes)),
            row["takes"].as_bool(),
            "{row}"
        );
    }
}
