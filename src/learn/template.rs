//! Chat templates: messages to the text that a model was trained on, as transformers renders them (Jinja2 with
//! `trim_blocks`, `lstrip_blocks`, loop controls and its own `tojson`), and which part of that text an assistant wrote.
//!
//! `{% generation %}` (transformers' assistant tracker) becomes a call block whose result is wrapped in two private-use
//! characters; they are taken out of the text again and leave the spans. Knows nothing of ids.
//!
//! A template comes with a model, so it is a program of somebody else: it has bounded steps and memory and reads no file.

use crate::json;
use anyhow::{Context, Result, anyhow, bail, ensure};
use base::memory::{self, Bounds, Exceeded};
use base::text::bytes;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, State};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

/// What `strftime_now` says, in every run: some templates print the date, and a prompt must not change overnight. It
/// is the date that Llama 3.2's own template falls back to.
pub(crate) const TODAY: (u32, u32, u32) = (2024, 7, 26);

/// The largest template, in bytes; those of well-known models have ten thousand.
pub const MOST_SOURCE: usize = 1 << 20;
/// Steps that one rendering may take, each an instruction or 64 bytes of text that it makes: a conversation of a thousand turns
/// takes a hundred thousand. What goes in may be gone over so many times more.
pub(crate) const MOST_STEPS: u64 = 500_000;
const TIMES: u64 = 32;
/// Lists that are made of lists cost it no steps, so memory and time have bounds of their own.
pub const MOST_MEMORY: usize = 128 << 20;
const MOST_TIME: Duration = Duration::from_secs(60);
/// So that the deepest value that so many steps can nest can be walked.
const STACK: usize = 512 << 20;
/// Longest tag that may be a `generation` tag.
const LONGEST_TAG: usize = 1000;

const NAME: &str = "chat template";
const OPEN: char = '\u{10f8e0}';
const CLOSE: char = '\u{10f8e1}';
const GENERATION: &str = "__generation";
/// Around the name of a token that has no text.
const HOLE: char = '\u{10f8e2}';

pub struct Template {
    env: Environment<'static>,
    /// True where the source marks what the assistant wrote.
    marked: bool,
    /// `bos_token`, `eos_token`, …, visible in the template.
    tokens: BTreeMap<String, String>,
    /// Those that it looks at and nobody named, with what to do about it.
    absent: BTreeMap<String, String>,
}

/// What goes into a template.
#[derive(Clone, Copy, Debug)]
pub struct Dialogue<'a> {
    /// Objects with `role` and `content`, and what else the template knows (`tool_calls`).
    pub messages: &'a [Value],
    pub tools: Option<&'a Value>,
    /// Ends with the header of a turn for the assistant to write.
    pub add_generation_prompt: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    pub text: String,
    /// Bytes that an assistant wrote; `None` where the template does not mark them.
    pub assistant: Option<Vec<Range<usize>>>,
}

impl Template {
    /// Fails on a syntax error, with the template's line.
    pub fn new(source: &str, tokens: BTreeMap<String, String>) -> Result<Template> {
        ensure!(
            source.len() <= MOST_SOURCE,
            "the chat template is larger than {}",
            bytes(MOST_SOURCE as u64)
        );
        let (source, marked) = rewrite_generation(source);
        let mut env = environment();
        env.add_template_owned(NAME, source).map_err(plain)?;
        Ok(Template {
            env,
            marked,
            tokens,
            absent: BTreeMap::new(),
        })
    }

    /// Names that it looks at and does not set itself.
    pub fn names(&self) -> BTreeSet<String> {
        let template = self.env.get_template(NAME);
        template.map_or_else(
            |_| BTreeSet::new(),
            |template| template.undeclared_variables(false).into_iter().collect(),
        )
    }

    /// This template where these tokens have no text: what writes one is an error with this cure, and not an empty place. Asking
    /// whether there is one is none.
    pub fn without(mut self, mut absent: BTreeMap<String, String>) -> Template {
        let names = self.names();
        absent.retain(|name, _| names.contains(name));
        self.absent = absent;
        self
    }

    /// Fails with the template's own message (`raise_exception`) and line.
    pub fn render(&self, dialogue: Dialogue) -> Result<Rendered> {
        let mut variables = serde_json::Map::new();
        for (name, text) in &self.tokens {
            variables.insert(name.clone(), Value::from(text.as_str()));
        }
        variables.insert("messages".into(), Value::from(dialogue.messages));
        let tools = dialogue.tools.cloned().unwrap_or(Value::Null);
        variables.insert("tools".into(), tools);
        variables.insert("documents".into(), Value::Null);
        variables.insert(
            "add_generation_prompt".into(),
            dialogue.add_generation_prompt.into(),
        );
        let variables = Value::Object(variables);
        if self.marked && variables.to_string().contains([OPEN, CLOSE]) {
            bail!("a message holds U+10F8E0 or U+10F8E1, which mark the assistant's text here");
        }
        let text = self.text(&variables, false);
        let text = text.map_err(|error| match self.absent.first_key_value() {
            Some((name, cure)) => error.context(format!(
                "the chat template looks at {name}, which the folder does not name: {cure}"
            )),
            None => error,
        })?;
        self.expect_named(&variables)?;
        if self.marked {
            take_marks(&text)
        } else {
            Ok(Rendered {
                text,
                assistant: None,
            })
        }
    }

    /// Once more, with something that shows in the place of what is not named.
    fn expect_named(&self, variables: &Value) -> Result<()> {
        if self.absent.is_empty() || variables.to_string().contains(HOLE) {
            return Ok(());
        }
        // A failure here is that of the stand-in.
        let text = self.text(variables, true).unwrap_or_default();
        let Some(at) = text.find(HOLE) else {
            return Ok(());
        };
        let name = text[at + HOLE.len_utf8()..].split(HOLE).next();
        let name = name.unwrap_or_default();
        bail!(
            "the chat template writes {name}, which the folder does not name: {}",
            self.absent.get(name).map_or("", String::as_str)
        );
    }

    /// `holes`: what is not named is an object that shows where it is written.
    fn text(&self, variables: &Value, holes: bool) -> Result<String> {
        let weight = weight(variables);
        let mut env = self.env.clone();
        env.set_fuel(Some(MOST_STEPS + TIMES * weight as u64 / 64));
        let mut variables: BTreeMap<String, minijinja::Value> = variables
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), json::value(value)))
            .collect();
        if holes {
            hole::expect(&mut env);
            let holes = self.absent.keys();
            variables.extend(holes.map(|name| (name.clone(), hole::value(name))));
        }
        let bounds = Bounds {
            memory: MOST_MEMORY + 2 * TIMES as usize * weight,
            stack: STACK,
            time: MOST_TIME,
        };
        let render = move || {
            let template = env.get_template(NAME).map_err(plain)?;
            template.render(variables).map_err(plain)
        };
        let rendered = memory::bounded(bounds, render);
        match rendered.context("failed to start a thread for a chat template: see `ulimit -u` (processes) and `ulimit -v` (memory)")? {
            Ok(text) => text,
            Err(Exceeded::Memory) => {
                bail!(
                    "chat template: it takes more than {}",
                    bytes(bounds.memory as u64)
                )
            }
            Err(Exceeded::Time) => bail!("chat template: it does not end"),
        }
    }
}

fn weight(value: &Value) -> usize {
    let inside: usize = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(entries) => entries.iter().map(|(k, v)| k.len() + weight(v)).sum(),
        _ => 0,
    };
    size_of::<Value>() + inside
}

fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
        .expect("the default delimiters are valid");
    env.set_syntax(syntax);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    env.add_filter("tojson", to_json);
    env.add_function("raise_exception", |message: String| {
        Err::<String, _>(Error::new(ErrorKind::InvalidOperation, message))
    });
    env.add_function("strftime_now", strftime);
    env.add_function(GENERATION, |state: &mut State, kwargs: Kwargs| {
        let caller: minijinja::Value = kwargs.get("caller")?;
        let text = caller.call(state, &[])?;
        Ok::<_, Error>(format!("{OPEN}{text}{CLOSE}"))
    });
    env
}

/// The message and the line, without the crate's own wording around a template's exception.
fn plain(error: Error) -> anyhow::Error {
    let message = match (error.kind(), error.detail()) {
        (ErrorKind::InvalidOperation, Some(detail)) => detail.to_string(),
        (ErrorKind::OutOfFuel, _) => "it takes too many steps or makes too much text".to_string(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    match error.line() {
        Some(line) => anyhow!("chat template line {line}: {message}"),
        None => anyhow!("chat template: {message}"),
    }
}

/// Turns the generation tags into a call block on the same lines; true where there were any.
fn rewrite_generation(source: &str) -> (String, bool) {
    let (mut out, mut rest, mut marked) = (String::new(), source, false);
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + 2);
        out.push_str(before);
        rest = tag;
        let near = &tag[..tag.floor_char_boundary(LONGEST_TAG)];
        let Some(end) = near.find("%}") else {
            continue;
        };
        let is_sign = |c: char| c == '-' || c == '+';
        let body = &tag[..end];
        let (left, body) = body.split_at(body.len() - body.trim_start_matches(is_sign).len());
        let word = body.trim_end_matches(is_sign);
        let right = &body[word.len()..];
        let replacement = match word.trim() {
            "generation" => format!("call {GENERATION}()"),
            "endgeneration" => "endcall".to_string(),
            _ => continue,
        };
        marked = true;
        // Line breaks inside the tag stay, so that errors name the template's own lines.
        let breaks = "\n".repeat(word.matches('\n').count());
        write!(out, "{left} {replacement}{breaks} {right}").expect("a string takes every write");
        rest = &tag[end..];
    }
    out.push_str(rest);
    (out, marked)
}

fn take_marks(text: &str) -> Result<Rendered> {
    let (mut out, mut spans, mut open) = (String::with_capacity(text.len()), vec![], None);
    for c in text.chars() {
        match (c, open) {
            (OPEN, None) => open = Some(out.len()),
            (CLOSE, Some(start)) => {
                spans.push(start..out.len());
                open = None;
            }
            (OPEN | CLOSE, _) => bail!("chat template: generation blocks are nested"),
            _ => out.push(c),
        }
    }
    Ok(Rendered {
        text: out,
        assistant: Some(spans),
    })
}

fn to_json(state: &State, value: minijinja::Value, kwargs: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    let sort_keys: Option<bool> = kwargs.get("sort_keys")?;
    let ascii: Option<bool> = kwargs.get("ensure_ascii")?;
    kwargs.assert_all_used()?;
    if ascii == Some(true) {
        let message = "tojson(ensure_ascii=true) is not supported";
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    let pay = || state.consume_fuel(1);
    json::dumps(&value, indent, sort_keys.unwrap_or(false), &pay)
}

fn strftime(format: String) -> Result<String, Error> {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let (year, month, day) = TODAY;
    let name = MONTHS[month as usize - 1];
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('Y') => out += &year.to_string(),
            Some('y') => out += &format!("{:02}", year % 100),
            Some('m') => out += &format!("{month:02}"),
            Some('d') => out += &format!("{day:02}"),
            Some('B') => out += name,
            Some('b') => out += &name[..3],
            Some('H' | 'M' | 'S') => out += "00",
            Some('%') => out.push('%'),
            other => {
                let sign: String = other.into_iter().collect();
                return Err(Error::new(
                    ErrorKind::InvalidOperation,
                    format!("strftime_now does not know %{sign}"),
                ));
            }
        }
    }
    Ok(out)
}

/// What stands for a token that nobody named: nothing, to whoever asks, and seen where it is written.
mod hole {
    use super::HOLE;
    use minijinja::value::{Object, ObjectRepr};
    use minijinja::{Environment, Value};
    use std::fmt;
    use std::sync::Arc;

    #[derive(Debug)]
    struct Hole(String);

    impl Object for Hole {
        fn repr(self: &Arc<Self>) -> ObjectRepr {
            ObjectRepr::Plain
        }

        fn is_true(self: &Arc<Self>) -> bool {
            false
        }

        fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{HOLE}{}{HOLE}", self.0)
        }
    }

    pub fn value(name: &str) -> Value {
        Value::from_object(Hole(name.into()))
    }

    fn nothing(value: &Value) -> bool {
        value.is_undefined() || value.downcast_object_ref::<Hole>().is_some()
    }

    /// Tests and filters that ask whether there is something.
    pub fn expect(env: &mut Environment<'static>) {
        env.add_test("defined", |value: Value| !nothing(&value));
        env.add_test("undefined", |value: Value| nothing(&value));
        for name in ["default", "d"] {
            let instead =
                |value: Value, other: Option<Value>, lax: Option<bool>| match nothing(&value)
                    || lax == Some(true) && !value.is_true()
                {
                    true => other.unwrap_or_else(|| Value::from("")),
                    false => value,
                };
            env.add_filter(name, instead);
        }
    }
}
