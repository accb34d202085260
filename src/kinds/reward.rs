//! Rewards as a recipe declares them: expressions over named scorers, routed by prompt class.
//!
//! `harmful = "format * safety"` is parsed here and checked against the table of scorers; what a scorer measures is
//! its own file's business (`scorers/`).
//!
//! Grammar: `sum = product (('+' | '-') product)*`, `product = unary (('*' | '/') unary)*`,
//! `unary = '-' unary | atom`, `atom = number | scorer | ('min' | 'max') '(' sum ',' sum ')' | '(' sum ')'`.

use crate::base::rows::{Metric, PromptClass};
use crate::base::stats;
use crate::base::text::did_you_mean;
use crate::engine::kind::Problem;
use crate::kinds::scorers::{self, Judged, Scorer, Settings};
use anyhow::{Context, Result};
use std::collections::BTreeMap;

/// A parsed reward expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    Number(f64),
    /// A scorer by its name in the table.
    Scorer(String),
    Neg(Box<Expr>),
    Binary(Op, Box<Expr>, Box<Expr>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
}

impl Expr {
    /// Parses an expression; the error says what was expected at which character.
    pub fn parse(text: &str) -> Result<Expr, String> {
        let mut parser = Parser { text, at: 0 };
        let expr = parser.sum()?;
        match parser.peek() {
            None => Ok(expr),
            Some(c) => Err(format!("unexpected `{c}` at character {}", parser.at + 1)),
        }
    }

    /// Names of the scorers in order of first appearance.
    pub fn scorers(&self) -> Vec<&str> {
        fn walk<'a>(e: &'a Expr, out: &mut Vec<&'a str>) {
            match e {
                Expr::Number(_) => {}
                Expr::Scorer(name) => {
                    if !out.contains(&name.as_str()) {
                        out.push(name);
                    }
                }
                Expr::Neg(a) => walk(a, out),
                Expr::Binary(_, a, b) => {
                    walk(a, out);
                    walk(b, out);
                }
            }
        }
        let mut out = vec![];
        walk(self, &mut out);
        out
    }

    /// None where a scorer that is asked had no score.
    fn eval(&self, scores: &BTreeMap<&str, f64>) -> Option<f64> {
        Some(match self {
            Expr::Number(x) => *x,
            Expr::Scorer(name) => *scores.get(name.as_str())?,
            Expr::Neg(a) => -a.eval(scores)?,
            Expr::Binary(op, a, b) => {
                let (a, b) = (a.eval(scores)?, b.eval(scores)?);
                match op {
                    Op::Add => a + b,
                    Op::Sub => a - b,
                    Op::Mul => a * b,
                    Op::Div => a / b,
                    Op::Min => a.min(b),
                    Op::Max => a.max(b),
                }
            }
        })
    }
}

/// From prompt class to expression, with the scorers' settings.
pub struct Route {
    by_class: BTreeMap<PromptClass, Expr>,
    settings: Settings,
}

/// A reward and the scores it was made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Reward {
    pub value: f64,
    pub scores: BTreeMap<&'static str, f64>,
}

/// The same of a response that may be unscorable: a scorer had no score for it, or the expression has no finite value
/// (`1 / format`).
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    pub value: Option<f64>,
    pub scores: BTreeMap<&'static str, f64>,
}

impl Route {
    /// `table` is the recipe's `reward` table, already checked by `problems`.
    pub fn new(table: &BTreeMap<String, String>, settings: Settings) -> Result<Route> {
        let mut by_class = BTreeMap::new();
        for class in PromptClass::ALL {
            if let Some(text) = table.get(class.word()) {
                let expr = Expr::parse(text).map_err(anyhow::Error::msg);
                by_class.insert(
                    class,
                    expr.with_context(|| format!("reward of `{}`", class.word()))?,
                );
            }
        }
        Ok(Route { by_class, settings })
    }

    /// The reward of one response. A class without a route, or a response that is unscorable, is an error.
    pub fn reward(&self, judged: &Judged) -> Result<Reward> {
        let Scored { value, scores } = self.score(judged)?;
        let value = value.with_context(|| {
            format!(
                "the reward of prompt {} is no number: a scorer has no score for the response, or the expression has no \
                 finite value",
                judged.prompt_id
            )
        })?;
        Ok(Reward { value, scores })
    }

    /// As `reward`, for who has a use for responses that are unscorable.
    pub fn score(&self, judged: &Judged) -> Result<Scored> {
        let class = judged.class;
        let expr = self.by_class.get(&class).with_context(|| {
            format!("the reward table has no entry for class `{}`", class.word())
        })?;
        let mut scores = BTreeMap::new();
        for name in expr.scorers() {
            let scorer = scorers::get(name).with_context(|| format!("no scorer `{name}`"))?;
            let score = (scorer.score)(judged, &self.settings)
                .with_context(|| format!("scorer `{name}` on prompt {}", judged.prompt_id))?;
            if let Some(score) = score {
                scores.insert(scorer.name, score);
            }
        }
        let value = expr.eval(&scores).filter(|value| value.is_finite());
        Ok(Scored { value, scores })
    }
}

/// The mean of rewards, one a prompt, with its t interval.
pub fn mean_metric(name: &str, rewards: &[f64]) -> Metric {
    Metric {
        name: name.into(),
        value: rewards.iter().sum::<f64>() / rewards.len() as f64,
        n: rewards.len(),
        interval: stats::mean_interval(rewards),
        unit: "reward".into(),
    }
}

/// What is wrong with a recipe's reward table: unknown classes, expressions that do not parse, unknown scorers.
pub fn problems(path: &str, table: &BTreeMap<String, String>) -> Vec<Problem> {
    let mut found = vec![];
    let classes: Vec<&str> = PromptClass::ALL.iter().map(|c| c.word()).collect();
    for (class, text) in table {
        let path = format!("{path}.{class}");
        if !classes.contains(&class.as_str()) {
            found.push(Problem {
                path,
                message: format!("unknown prompt class `{class}`"),
                help: Some(format!("the classes are {}", quoted(&classes))),
            });
            continue;
        }
        match Expr::parse(text) {
            Err(message) => found.push(Problem {
                path,
                message,
                help: None,
            }),
            Ok(expr) => {
                for name in expr
                    .scorers()
                    .into_iter()
                    .filter(|n| scorers::get(n).is_none())
                {
                    let names: Vec<&str> = scorers::ALL.iter().map(|s: &&Scorer| s.name).collect();
                    let help = match did_you_mean(name, names.iter().copied()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("the scorers are {}", quoted(&names)),
                    };
                    found.push(Problem {
                        path: path.clone(),
                        message: format!("unknown scorer `{name}`"),
                        help: Some(help),
                    });
                }
            }
        }
    }
    found
}

fn quoted(words: &[&str]) -> String {
    words
        .iter()
        .map(|w| format!("`{w}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn expect(&mut self, c: char) -> Result<(), String> {
        if self.eat(c) {
            Ok(())
        } else {
            Err(format!("expected `{c}` at character {}", self.at + 1))
        }
    }

    fn sum(&mut self) -> Result<Expr, String> {
        let mut left = self.product()?;
        loop {
            let op = match self.peek() {
                Some('+') => Op::Add,
                Some('-') => Op::Sub,
                _ => return Ok(left),
            };
            self.at += 1;
            left = Expr::Binary(op, Box::new(left), Box::new(self.product()?));
        }
    }

    fn product(&mut self) -> Result<Expr, String> {
        let mut left = self.unary()?;
        loop {
            let op = match self.peek() {
                Some('*') => Op::Mul,
                Some('/') => Op::Div,
                _ => return Ok(left),
            };
            self.at += 1;
            left = Expr::Binary(op, Box::new(left), Box::new(self.unary()?));
        }
    }

    fn unary(&mut self) -> Result<Expr, String> {
        if self.eat('-') {
            return Ok(Expr::Neg(Box::new(self.unary()?)));
        }
        self.atom()
    }

    fn atom(&mut self) -> Result<Expr, String> {
        match self.peek() {
            Some('(') => {
                self.at += 1;
                let inner = self.sum()?;
                self.expect(')')?;
                Ok(inner)
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_ascii_alphabetic() => self.name(),
            Some(c) => Err(format!("unexpected `{c}` at character {}", self.at + 1)),
            None => Err("the expression ends where a scorer or a number is expected".into()),
        }
    }

    fn number(&mut self) -> Result<Expr, String> {
        let rest = &self.text[self.at..];
        let len = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number = rest[..len]
            .parse()
            .map_err(|_| format!("`{}` is not a number", &rest[..len]))?;
        self.at += len;
        Ok(Expr::Number(number))
    }

    fn name(&mut self) -> Result<Expr, String> {
        let rest = &self.text[self.at..];
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let len = rest.find(|c: char| !word(c)).unwrap_or(rest.len());
        let name = &rest[..len];
        self.at += len;
        let op = match name {
            "min" => Op::Min,
            "max" => Op::Max,
            _ => return Ok(Expr::Scorer(name.to_string())),
        };
        self.expect('(')?;
        let a = self.sum()?;
        self.expect(',')?;
        let b = self.sum()?;
        self.expect(')')?;
        Ok(Expr::Binary(op, Box::new(a), Box::new(b)))
    }
}
