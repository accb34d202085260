//! Do judges agree? Two to four judges on the same completions: for every two of them the raw agreement and Cohen's κ.
//!
//! With p_ij the share of rows that the first judge puts in class i and the second in j, p_o = Σ p_ii and p_e = Σ p_i. p_.i:
//! κ = (p_o - p_e) / (1 - p_e) (Cohen 1960). Its interval is κ ± 1.96 √V with the large-sample variance (Fleiss, Cohen and Everitt
//! 1969, for κ ≠ 0)
//!
//!     V = [ Σ_i p_ii ((1 - p_e) - (p_i. + p_.i)(1 - p_o))² + (1 - p_o)² Σ_{i≠j} p_ij (p_.i + p_j.)² - (p_o p_e - 2 p_e + p_o)² ]
//!         / (n (1 - p_e)⁴)
//!
//! cut to [-1, 1]. Where both judges put every row in the same one class, κ is 0 / 0 and is not given; where they agree on every
//! row, V is 0, which is no certainty, and there is no interval.

use crate::data::labels::{nearly, quoted, tallied};
use crate::scorers::Scorer;
use crate::shared::measure::{self, Measure};
use anyhow::{Result, bail, ensure};
use base::params::{ParamSet, ParamValue, Problem};
use base::rows::{self, CompletedPrompt, Metric, Score};
use base::setup::Acts;
use base::stats::Z95;
use base::{choice, params};
use engine::kind::context::NodeCtx;
use engine::kind::{Kind, MetricInfo, Need, NodeId, Output, Port, Role, Type, Upstream};
use std::collections::{BTreeMap, BTreeSet};

choice! {
    /// What judges agree on.
    pub enum On { Good = "good", Refused = "refused", Label = "label" }
}

const LABELS: Acts = Acts::only("where `on` is `label`", |s| s.says("on", "label"));

params! {
    pub struct Params {
        /// What is compared. `good`: whether the attack on a harmful prompt failed, whether another request was answered.
        /// `refused`: whether the answer refuses, of judges that say so. `label`: a person's label as it was given; a judge
        /// without labels says `refused_label` or `answered_label`.
        on: On = On::Good;
        /// With `label`: what a refusal is called.
        refused_label: String = "2_full_refusal".to_string(), if LABELS;
        /// With `label`: what an answer that does not refuse is called.
        answered_label: String = "1_full_compliance".to_string(), if LABELS;
    }
}

const PORTS: [&str; 4] = ["a", "b", "c", "d"];

const fn port(place: usize, need: Need) -> Port {
    let doc = "what a judge said of each completion";
    Port {
        need,
        ..Port::optional(PORTS[place], Type::Scores, doc)
    }
}

pub const KIND: Kind = Kind {
    name: "agreement",
    revision: 1,
    role: Role::Measures,
    summary: "how far judges of the same completions agree: raw share and Cohen's kappa for every two of them",
    about: "`agreement/A-B` is the share of completions on which two judges say the same, `kappa/A-B` what of it is more than \
            chance, with the ports as names. Rows pair by the completion's id and by what was judged (prompt, class, \
            answer); those that do not pair are `unpaired/A-B`, of all ids of the two, and pairs that either could not judge \
            are `unscorable/A-B`: both are left out of the agreement. The log holds the table of each pair.",
    example: r#"
[node.judges]
kind = "agreement"
in = { a = "published.scores", b = "matched.scores" }
"#,
    inputs: &[
        port(0, Need::Always),
        port(1, Need::Always),
        port(2, Need::Never),
        port(3, Need::Never),
    ],
    outputs: &[Output::always(
        "metrics",
        Type::Metrics,
        "for every two judges: agreement, kappa, what is unpaired and unscorable",
    )],
    metrics: &[
        MetricInfo::higher("agreement/*", "share", "agreement, *"),
        MetricInfo::higher("kappa/*", "kappa", "Cohen's kappa, *"),
        MetricInfo::plain("unpaired/*", "share", "unpaired, *"),
        MetricInfo::plain("unscorable/*", "share", "unscorable pairs, *"),
    ],
    params: Params::specs,
    above: Some(above),
    run,
    ..Kind::DEFAULTS
};

/// A judge that says nothing of refusals would be counted by the string rule's word, which is not its own.
fn above(graph: &dyn Upstream, id: NodeId) -> Vec<Problem> {
    let node = graph.node(id);
    let Ok(p) = Params::read(&node.params) else {
        return vec![];
    };
    if p.on == On::Good {
        return vec![];
    }
    let blind = node.inputs.iter().filter_map(|(port, edge)| {
        let judge = graph.node(edge.node);
        let scorer = <&Scorer>::read(Some(judge.params.get("scorer")?)).ok()?;
        (!scorer.sees_refusals()).then_some((port, scorer, judge.name.as_str()))
    });
    let problem = |(port, scorer, judge): (&&str, &Scorer, &str)| Problem {
        path: "on".into(),
        message: format!(
            "`{judge}` at `{port}` judges by `{}`, which does not say whether an answer refuses",
            scorer.name
        ),
        help: Some("`on = \"good\"` compares what every judge says".into()),
    };
    blind.map(problem).collect()
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let mut judges: Vec<(&str, Vec<Score>)> = vec![];
    for name in PORTS {
        if let Some(folder) = ctx.input_opt(name) {
            judges.push((name, rows::read_rows(folder)?));
        }
    }
    let mut all: Vec<Measure> = vec![];
    for (i, (a, first)) in judges.iter().enumerate() {
        for (b, second) in &judges[i + 1..] {
            let pairs = Pairs::of(first, second, &p);
            let name = format!("{a}-{b}");
            pairs.ensure_one_vocabulary(a, b)?;
            if let Some(other) = unused(&p, first, second) {
                bail!(
                    "{a} and {b}: a judge without labels says `{}` or `{}`, and no label of the other is one of these: {other}; \
                     `refused_label` and `answered_label` name them",
                    p.refused_label,
                    p.answered_label
                );
            }
            ensure!(
                !pairs.both.is_empty(),
                "{a} and {b} have no completion in common that both judged: {} rows of {a} and {} of {b}, {} in pairs, {} \
                 of these unscorable",
                first.len(),
                second.len(),
                pairs.paired,
                pairs.unscorable()
            );
            pairs.log_lines(a, b).iter().for_each(|line| ctx.log(line));
            all.extend(pairs.measures(&name));
        }
    }
    let folder = ctx.output("metrics");
    let prompts: Vec<CompletedPrompt> = judges[0].1.iter().map(prompt).collect();
    rows::write_values(&folder, &measure::values(prompts.iter(), &all))?;
    rows::write_metrics(&folder, all.into_iter().map(|m| m.metric).collect())
}

/// The prompt of a row; its truth is not in it.
fn prompt(score: &Score) -> CompletedPrompt {
    CompletedPrompt {
        prompt_id: score.prompt_id.clone(),
        class: score.class,
        prompt: score.prompt.clone(),
        source: String::new(),
        category: score.category.clone(),
        difficulty: score.difficulty,
        labels: Default::default(),
        truth: None,
        attacked: None,
    }
}

/// What two judges say of the same completions.
pub struct Pairs<'a> {
    /// The prompt's id, what the first says, what the second says.
    pub both: Vec<(&'a str, &'a str, &'a str)>,
    /// Completions that both have.
    pub paired: usize,
    /// Ids that either has.
    pub ids: usize,
}

impl<'a> Pairs<'a> {
    pub fn of(first: &'a [Score], second: &'a [Score], p: &'a Params) -> Pairs<'a> {
        let mut others: BTreeMap<&str, Vec<&Score>> = BTreeMap::new();
        for score in second {
            others.entry(score.id.as_str()).or_default().push(score);
        }
        let firsts = first.iter().map(|s| s.id.as_str());
        let ids: BTreeSet<&str> = firsts.chain(others.keys().copied()).collect();
        let mut pairs = Pairs {
            both: vec![],
            paired: 0,
            ids: ids.len(),
        };
        for score in first {
            let same = others.get(score.id.as_str()).into_iter().flatten();
            let mut same = same.filter(|s| s.fingerprint() == score.fingerprint());
            let Some(other) = same.next() else {
                continue;
            };
            pairs.paired += 1;
            if score.scored() && other.scored() {
                pairs
                    .both
                    .push((score.prompt_id.as_str(), said(score, p), said(other, p)));
            }
        }
        pairs
    }

    /// Errors: the two say words that are nearly the same, which would count as disagreement.
    fn ensure_one_vocabulary(&self, a: &str, b: &str) -> Result<()> {
        let of = |side: fn(&(&'a str, &'a str, &'a str)) -> &'a str| -> BTreeSet<&'a str> {
            self.both.iter().map(side).collect()
        };
        let (firsts, seconds) = (of(|both| both.1), of(|both| both.2));
        for first in &firsts {
            if let Some(second) = seconds.iter().find(|second| nearly(first, second)) {
                bail!(
                    "{a} says {} where {b} says {}, which would count as disagreement: write both in one way",
                    quoted(first),
                    quoted(second)
                );
            }
        }
        Ok(())
    }

    pub fn unscorable(&self) -> usize {
        self.paired - self.both.len()
    }

    /// How often the first said the one and the second the other, by what they said.
    pub fn table(&self) -> Table {
        let of = self.both.iter();
        let words: BTreeSet<&str> = of.flat_map(|(_, a, b)| [*a, *b]).collect();
        let words: Vec<String> = words.into_iter().map(String::from).collect();
        let place = |word: &str| words.iter().position(|w| w == word);
        let mut counts = vec![vec![0; words.len()]; words.len()];
        for (_, a, b) in &self.both {
            if let (Some(i), Some(j)) = (place(a), place(b)) {
                counts[i][j] += 1;
            }
        }
        Table { words, counts }
    }

    fn measures(&self, name: &str) -> Vec<Measure> {
        let same = self.both.iter().map(|(id, a, b)| (*id, a == b));
        let mut out: Vec<Measure> = measure::share(&format!("agreement/{name}"), same)
            .into_iter()
            .collect();
        let plain = |metric: Metric| Measure {
            metric,
            values: BTreeMap::new(),
        };
        if let Some(kappa) = self.table().kappa() {
            out.push(plain(Metric {
                name: format!("kappa/{name}"),
                value: kappa.value,
                n: self.both.len(),
                interval: kappa.interval,
                unit: "kappa".into(),
            }));
        }
        for (what, count, n) in [
            ("unscorable", self.unscorable(), self.paired),
            ("unpaired", self.ids - self.paired, self.ids),
        ] {
            out.push(plain(Metric {
                name: format!("{what}/{name}"),
                value: count as f64 / n as f64,
                n,
                interval: None,
                unit: "share".into(),
            }));
        }
        out
    }

    /// Lines for the log: the counts, and the table of who said what.
    fn log_lines(&self, a: &str, b: &str) -> Vec<String> {
        let table = self.table();
        let agree: usize = (0..table.words.len()).map(|i| table.counts[i][i]).sum();
        let kappa = table.kappa();
        let kappa = kappa.map_or("not defined".into(), |k| format!("{:.3}", k.value));
        let mut lines = vec![format!(
            "{a} and {b} agree on {agree} of {} completions, kappa {kappa}; {} of {} pairs unscorable, {} of {} ids unpaired",
            self.both.len(),
            self.unscorable(),
            self.paired,
            self.ids - self.paired,
            self.ids
        )];
        let columns = table.words.join(" | ");
        lines.push(format!("{a} (rows) against {b} (columns): {columns}"));
        for (word, counts) in table.words.iter().zip(&table.counts) {
            let counts: Vec<String> = counts.iter().map(usize::to_string).collect();
            lines.push(format!("  {word}: {}", counts.join(" | ")));
        }
        lines
    }
}

/// The labels of one side, where the other has none and is called by words that are none of them.
fn unused(p: &Params, first: &[Score], second: &[Score]) -> Option<String> {
    let labels = |rows: &[Score]| -> BTreeMap<String, u64> {
        let mut labels = BTreeMap::new();
        for label in rows.iter().filter_map(|s| s.label.clone()) {
            *labels.entry(label).or_default() += 1;
        }
        labels
    };
    let (first, second) = (labels(first), labels(second));
    let there = match (first.is_empty(), second.is_empty()) {
        (false, true) => first,
        (true, false) => second,
        _ => return None,
    };
    let known = [&p.refused_label, &p.answered_label];
    let none = p.on == On::Label && !known.iter().any(|label| there.contains_key(*label));
    none.then(|| tallied(there.iter().map(|(label, n)| (label.as_str(), *n))))
}

fn said<'a>(score: &'a Score, p: &'a Params) -> &'a str {
    match p.on {
        On::Good if score.good => "good",
        On::Good => "not good",
        On::Refused if score.refused => "refused",
        On::Refused => "answered",
        On::Label => match (&score.label, score.refused) {
            (Some(label), _) => label,
            (None, true) => &p.refused_label,
            (None, false) => &p.answered_label,
        },
    }
}

/// Counts of what two judges said: rows are the first's words, columns the second's.
pub struct Table {
    pub words: Vec<String>,
    pub counts: Vec<Vec<usize>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kappa {
    pub value: f64,
    /// Large-sample standard error.
    pub error: f64,
    pub interval: Option<(f64, f64)>,
}

impl Table {
    /// None where chance alone would agree always.
    pub fn kappa(&self) -> Option<Kappa> {
        let k = self.words.len();
        let n: usize = self.counts.iter().flatten().sum();
        let p = |i: usize, j: usize| self.counts[i][j] as f64 / n as f64;
        let row: Vec<f64> = (0..k).map(|i| (0..k).map(|j| p(i, j)).sum()).collect();
        let column: Vec<f64> = (0..k).map(|j| (0..k).map(|i| p(i, j)).sum()).collect();
        let observed: f64 = (0..k).map(|i| p(i, i)).sum();
        let chance: f64 = (0..k).map(|i| row[i] * column[i]).sum();
        // Both said one word, and the same: k is 1.
        if n == 0 || k < 2 {
            return None;
        }
        let rest = 1.0 - chance;
        let value = (observed - chance) / rest;
        let (mut same, mut other) = (0.0, 0.0);
        for i in 0..k {
            same += p(i, i) * (rest - (row[i] + column[i]) * (1.0 - observed)).powi(2);
            for j in (0..k).filter(|j| *j != i) {
                other += p(i, j) * (column[i] + row[j]).powi(2);
            }
        }
        let third = (observed * chance - 2.0 * chance + observed).powi(2);
        let variance = same + (1.0 - observed).powi(2) * other - third;
        let error = (variance.max(0.0) / n as f64).sqrt() / rest.powi(2);
        let agree: usize = (0..k).map(|i| self.counts[i][i]).sum();
        let half = Z95 * error;
        let interval = (agree < n).then(|| ((value - half).max(-1.0), (value + half).min(1.0)));
        Some(Kappa {
            value,
            error,
            interval,
        })
    }
}
