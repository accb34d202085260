//! The last words of `pipe run`: the answer first, then what it took, then what to do next. A screen of them; the rest is a command away.

use super::hint::{Hint, SAME};
use super::output::shown;
use super::study;
use anyhow::Result;
use base::calls::Calls;
use base::stats::crossed::ALPHA;
use base::text::{bytes, count, duration, listed};
use engine::events::event::State;
use engine::graph::NodeId;
use engine::kind::Role;
use engine::run::{NodeEnd, Outcome as Ended};
use engine::store::Store;
use engine::store::record::Record;
use recipe::study::Study;
use report::side::Side;
use report::summary::Item;
use report::verdicts::{self, Answer, show};
use report::words;
use report::wrap::wrap;
use std::collections::BTreeMap;

/// What stands for the words that would be repeated.
const OF_THIS_RUN: &str = " (…: the recipes and flags of this run)";

pub struct Closing<'a> {
    pub store: &'a Store,
    pub study: &'a Study,
    pub ended: &'a Ended,
    /// Nodes that have an artifact now.
    pub items: &'a [Item<'a>],
    pub hint: Hint<'a>,
    /// The nodes that were named.
    pub only: &'a [String],
    /// The profile that it was sent to.
    pub on: Option<&'a str>,
    pub wall: f64,
    pub threads: usize,
}

/// What several variants have in common.
#[derive(Clone, Copy)]
pub struct Sharing {
    /// Nodes of this run, counted in every variant for itself.
    apart: usize,
    /// Those that would have been made once more.
    pub nodes: usize,
    /// What they would have taken.
    pub seconds: f64,
    dollars: f64,
}

impl Sharing {
    fn line(&self, study: &Study) -> String {
        format!(
            "{} of {} in {} are shared (saved {})",
            self.nodes,
            count(self.apart as u64, "node", "nodes"),
            count(study.variants.len() as u64, "variant", "variants"),
            words::cost(self.seconds, self.dollars)
        )
    }
}

impl Closing<'_> {
    /// In so many columns.
    pub fn text(&self, sharing: Option<Sharing>, room: usize) -> Result<String> {
        let sides = self.sides()?;
        let answers = self.answers(&sides)?;
        let mut out = String::from("\n");
        if !answers.is_empty() {
            out += &format!("{}\n", show::verdicts(&answers).fit(room));
        }
        let sides: Vec<&Side> = sides.iter().collect();
        let measured = match self.study.variants.len() {
            1 => {
                let whole = self.hint.short("show");
                report::closing::one(self.store, self.items, room, &whole)?
            }
            _ => {
                let whole = self.hint.short("table");
                report::closing::several(self.store, &sides, room, &whole)?
            }
        };
        if !measured.text.is_empty() {
            out += &format!("{}\n\n", measured.text.trim_end());
        }
        let mut lines = vec![self.totals()];
        lines.extend(self.longest());
        lines.extend(self.asked().map(|told| format!("asked services: {told}")));
        lines.extend(self.consequences());
        lines.extend(sharing.map(|shared| shared.line(self.study)));
        lines.push(self.place());
        for line in lines.iter().flat_map(|line| wrap(line, room, 2)) {
            out += &format!("{line}\n");
        }
        let next = self.next(!measured.text.is_empty(), !answers.is_empty());
        if !next.is_empty() {
            let same = next.iter().any(|(command, _)| command.ends_with(SAME));
            let same = if same { OF_THIS_RUN } else { "" };
            out += &format!("next{same}:\n");
        }
        for (command, what) in next {
            // A command is pasted, so it has a line of its own.
            out += &format!("  {command}\n      {what}\n");
        }
        Ok(out)
    }

    /// The answer in one line.
    pub fn in_short(&self) -> Result<String> {
        let answers = self.answers(&self.sides()?)?;
        let claims = match answers.is_empty() {
            true => String::new(),
            false => format!("{}; ", show::summary(&answers)),
        };
        Ok(format!("{claims}{}\n", self.totals()))
    }

    fn place(&self) -> String {
        format!("run {} in {}", self.ended.run, shown(self.store.root()))
    }

    /// The variants, where there is anything to answer or to take means of, with the records that this takes.
    fn sides(&self) -> Result<Vec<Side>> {
        let claims = self
            .study
            .variants
            .iter()
            .any(|v| !v.loaded.claims.is_empty());
        let several = self.study.variants.len() > 1;
        let measures = |n: &&NodeEnd| self.study.graph.node(n.id).kind.role == Role::Evaluates;
        let means = several && self.ended.nodes.iter().any(|n| measures(&n));
        if !(claims || means) {
            return Ok(vec![]);
        }
        let ends = self.ended.nodes.iter().filter(|n| claims || measures(n));
        let record = |n: &NodeEnd| -> Option<(NodeId, Record)> {
            Some((n.id, self.store.record(&n.brief.as_ref()?.key).ok()??))
        };
        let records: BTreeMap<NodeId, Record> = ends.filter_map(record).collect();
        Ok(study::sides_with(self.study, &records))
    }

    /// The claims that can be answered, where both recipes are in the run.
    fn answers(&self, sides: &[Side]) -> Result<Vec<Answer>> {
        let sides: Vec<&Side> = sides.iter().collect();
        let mut answers = verdicts::answers(self.store, &sides, ALPHA, |_| true)?;
        answers.retain(|a| a.verdict.is_some());
        Ok(answers)
    }

    fn totals(&self) -> String {
        let hits: Vec<&Item> = self.items.iter().filter(|i| i.hit).collect();
        let saved: f64 = hits.iter().map(|i| i.cost.seconds).sum();
        let paid: f64 = hits.iter().map(|i| i.cost.dollars).sum();
        let ran = self.items.len() - hits.len();
        let mut parts = match hits.len() {
            0 => vec![],
            n => vec![format!(
                "{} (saved {})",
                count(n as u64, "hit", "hits"),
                words::cost(saved, paid)
            )],
        };
        let nodes = &self.ended.nodes;
        let spent: f64 = nodes.iter().map(|n| n.spent.dollars).sum();
        let of_state = |is: fn(&State) -> bool| nodes.iter().filter(|n| is(&n.state)).count();
        let interrupted = || nodes.iter().filter(|n| n.state == State::Interrupted);
        let begun = interrupted().filter(|n| n.spent.attempts > 0).count();
        let not_begun = interrupted().count() - begun;
        for (n, word) in [
            (ran, "ran"),
            (of_state(|s| matches!(s, State::Failed { .. })), "failed"),
            (of_state(|s| matches!(s, State::Skipped { .. })), "skipped"),
            (begun, "interrupted"),
            (not_begun, "not begun"),
        ] {
            if n > 0 {
                parts.push(format!("{n} {word}"));
            }
        }
        format!(
            "{}: {}; {} in all{}",
            count(nodes.len() as u64, "node", "nodes"),
            parts.join(", "),
            words::cost(self.wall, spent),
            self.busy()
        )
    }

    /// Nodes that had workers, whatever became of them.
    fn worked(&self) -> impl Iterator<Item = &NodeEnd> {
        let all = self.ended.nodes.iter();
        all.filter(|n| n.spent.attempts > 0)
    }

    /// Which nodes took most of the time, and the most memory, where a study has more than a few.
    fn longest(&self) -> Option<String> {
        const NAMED: usize = 3;
        let mut ran: Vec<&NodeEnd> = self.worked().collect();
        if ran.len() <= NAMED {
            return None;
        }
        let peak = ran.iter().map(|n| n.spent.peak_bytes).max()?;
        ran.sort_by(|a, b| b.spent.seconds.total_cmp(&a.spent.seconds));
        let named = ran.iter().take(NAMED).map(|n| {
            let whole = match n.state {
                State::Failed { .. } => " (failed)",
                State::Interrupted => " (interrupted)",
                _ => "",
            };
            format!("`{}` {}{whole}", n.name, duration(n.spent.seconds))
        });
        let named: Vec<String> = named.collect();
        Some(format!(
            "longest: {}; memory {} at most",
            named.join(", "),
            bytes(peak)
        ))
    }

    /// How much of the threads those nodes had been given, where that says something.
    fn busy(&self) -> String {
        const LONG: f64 = 60.0;
        let mut ran = self.worked().peekable();
        if self.wall < LONG || ran.peek().is_none() {
            return String::new();
        }
        let given: f64 = ran.map(|n| n.spent.seconds * n.spent.threads as f64).sum();
        let threads = self.threads.max(1);
        format!(
            ", {} busy {:.0} % of it",
            count(threads as u64, "thread", "threads"),
            100.0 * given / (self.wall * threads as f64)
        )
    }

    /// All calls to services together.
    fn asked(&self) -> Option<String> {
        let mut sum = Calls::default();
        self.ended
            .nodes
            .iter()
            .for_each(|n| sum.add(&n.spent.calls));
        words::calls(&sum)
    }

    /// What each failure has cost: the nodes that were skipped because of it, and where it is told in full.
    fn consequences(&self) -> Vec<String> {
        let nodes = &self.ended.nodes;
        let mut out = vec![];
        for failed in nodes
            .iter()
            .filter(|n| matches!(n.state, State::Failed { .. }))
        {
            let because = |n: &&NodeEnd| matches!(&n.state, State::Skipped { because } if *because == failed.name);
            let skipped: Vec<&str> = nodes
                .iter()
                .filter(because)
                .map(|n| n.name.as_str())
                .collect();
            if !skipped.is_empty() {
                let skipped = listed(skipped);
                out.push(format!(
                    "skipped because `{}` failed: {skipped}",
                    failed.name
                ));
            }
        }
        out
    }

    /// Commands, and what each shows.
    fn next(&self, measured: bool, answered: bool) -> Vec<(String, &'static str)> {
        let mut next = vec![];
        if self
            .ended
            .nodes
            .iter()
            .any(|n| n.state == State::Interrupted)
        {
            let only = self.only.iter().flat_map(|node| ["--only", node]);
            let on = self.on.iter().flat_map(|profile| ["--on", profile]);
            let same: Vec<&str> = only.chain(on).collect();
            return vec![(self.hint.command("run", &same), "goes on where it stopped")];
        }
        let failed = |n: &&NodeEnd| matches!(n.state, State::Failed { .. });
        if let Some(failed) = self.ended.nodes.iter().find(failed) {
            let words = [&self.ended.run, &failed.name].map(String::as_str);
            next.push((
                self.hint.of_store("logs", &words),
                "what the node that failed said",
            ));
        }
        if answered {
            next.push((self.hint.short("claims"), "the numbers behind the verdicts"));
        }
        if measured {
            next.push((
                self.hint.short("report"),
                "all of it as a page: report.html",
            ));
            next.push(match self.study.variants.len() {
                1 => (
                    self.hint.short("show"),
                    "every measure, and what each node took",
                ),
                _ => (self.hint.short("table"), "the whole table, for a paper too"),
            });
        }
        next
    }
}

/// Nothing for a single variant.
pub fn sharing(study: &Study, ended: &Ended) -> Option<Sharing> {
    if study.variants.len() < 2 {
        return None;
    }
    let mut shared = Sharing {
        apart: 0,
        nodes: 0,
        seconds: 0.0,
        dollars: 0.0,
    };
    let mut uses: BTreeMap<NodeId, usize> = BTreeMap::new();
    for place in study.variants.iter().flat_map(|v| &v.places) {
        *uses.entry(*place).or_default() += 1;
    }
    for end in &ended.nodes {
        let users = uses[&end.id];
        let again = users - 1;
        shared.apart += users;
        shared.nodes += again;
        if let Some(cost) = end.cost() {
            shared.seconds += again as f64 * cost.seconds;
            shared.dollars += again as f64 * cost.dollars;
        }
    }
    Some(shared)
}
