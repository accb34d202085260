//! Reward expressions over named scorers: parsing and value. What a scorer measures, and which class asks for what, is not known
//! here.
//!
//! Grammar: `sum = product (('+' | '-') product)*`, `product = unary (('*' | '/') unary)*`,
//! `unary = '-' unary | atom`, `atom = number | scorer | ('min' | 'max') '(' sum ',' sum ')' | '(' sum ')'`.

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

/// Parts of an expression, operators and parentheses counted: what walks one does so by calling itself.
const MOST_PARTS: usize = 1000;
/// Largest number: losses and advantages are in single precision, and far more is no number there.
const LARGEST: f64 = 1e9;
/// Parentheses and signs within each other.
const DEEPEST: usize = 64;

impl Expr {
    /// Parses an expression; the error says what was expected at which character.
    pub fn parse(text: &str) -> Result<Expr, String> {
        let mut parser = Parser {
            text,
            at: 0,
            parts: 0,
            depth: 0,
        };
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
    pub(super) fn eval(&self, scores: &BTreeMap<&'static str, f64>) -> Option<f64> {
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

struct Parser<'a> {
    text: &'a str,
    at: usize,
    parts: usize,
    depth: usize,
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
            let at = self.at;
            let right = self.unary()?;
            if op == Op::Div && right == Expr::Number(0.0) {
                return Err(format!("a division by 0 at character {at}"));
            }
            left = Expr::Binary(op, Box::new(left), Box::new(right));
        }
    }

    fn unary(&mut self) -> Result<Expr, String> {
        self.parts += 1;
        self.depth += 1;
        if self.parts > MOST_PARTS {
            return Err(format!("the expression has more than {MOST_PARTS} parts"));
        }
        if self.depth > DEEPEST {
            let at = self.at + 1;
            return Err(format!(
                "more than {DEEPEST} parentheses and signs within each other at character {at}"
            ));
        }
        let found = match self.eat('-') {
            true => self.unary().map(|inner| Expr::Neg(Box::new(inner))),
            false => self.atom(),
        };
        self.depth -= 1;
        found
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
        let number: f64 = rest[..len]
            .parse()
            .map_err(|_| format!("`{}` is not a number", &rest[..len]))?;
        if number > LARGEST {
            let at = self.at + 1;
            return Err(format!("the number at character {at} is above {LARGEST}"));
        }
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
