//! What is said of one kind: in short, a line a parameter; all of it; or of one parameter, or the parameters of a table.

use super::offered::parameters;
use super::output::room;
use base::params::{Block, Default, ParamSpec};
use base::text::width;
use engine::kind::{Kind, Need};
use report::table::{Table, left};
use report::wrap::wrap;
use serde_json::{Value, json};

const PARAMETERS: &str = "Parameters (part of the key)";
const EXECUTION: &str = "Execution parameters (never part of the key)";

/// Metrics that are told each with its unit where little is told.
const FEW: usize = 12;
/// Characters of what is told of the kind as a whole there; a first sentence may be longer.
const OPENING: usize = 300;
/// Columns of a default there.
const MOST_DEFAULT: usize = 16;

/// What one looks up most: ports, outputs, metrics, and a line a parameter or table of parameters.
pub(super) fn short(kind: &Kind) -> String {
    let mut out = format!(
        "{}\n{}",
        hanging(&format!("{}: {}", kind.name, kind.summary)),
        wrapped(&opening(kind.about), 0)
    );
    let mut section = |title: &str, text: String| {
        if !text.is_empty() {
            out += &format!("\n{title}\n{text}");
        }
    };
    section("Inputs", rendered(&inputs(kind)));
    section("Outputs", rendered(&outputs(kind)));
    let metrics = metrics_of(kind, None);
    section(
        "Metrics",
        match metrics.len() > FEW {
            true => wrapped(&metric_names(kind).join(", "), 2),
            false => rendered(&metrics),
        },
    );
    section(PARAMETERS, lines(&(kind.params)()));
    section(EXECUTION, lines(&kind.own_execution()));
    out += &format!("\nExample\n{}", kind.example);
    let name = kind.name;
    out.push('\n');
    if let Some(first) = parameters(kind).first() {
        out += &format!("`pipe kinds {name}.{first}` explains `{first}`\n");
    }
    out + &format!("`pipe kinds {name} --all` has all of it\n")
}

/// All of it, every parameter explained.
pub(super) fn whole(kind: &Kind) -> String {
    let mut out = format!(
        "{}\n{}",
        hanging(&format!("{}: {}", kind.name, kind.summary)),
        wrapped(kind.about, 0)
    );
    let mut section = |title: &str, text: String| {
        if !text.is_empty() {
            out += &format!("\n{title}\n{text}");
        }
    };
    section("Inputs", rendered(&inputs(kind)));
    section("Outputs", rendered(&outputs(kind)));
    section("Metrics", rendered(&metrics_of(kind, None)));
    section(PARAMETERS, params(&(kind.params)()));
    section(EXECUTION, params(&kind.own_execution()));
    out + &format!("\nExample\n{}", kind.example)
}

fn inputs(kind: &Kind) -> Table {
    let mut ports = Table::new([left("port"), left("type"), left(""), left("")]);
    for port in kind.inputs {
        ports.push([
            port.name.to_string(),
            port.ty.word().to_string(),
            port.need.word(),
            port.doc.to_string(),
        ]);
    }
    ports
}

fn outputs(kind: &Kind) -> Table {
    let mut outputs = Table::new([left("output"), left("type"), left("")]);
    for output in kind.outputs {
        outputs.push([output.name, output.ty.word(), output.doc]);
    }
    outputs
}

/// A row a name; of families that anything may belong to, a row a family. Without those that the other kind has.
pub(super) fn metrics_of(kind: &Kind, but: Option<&Kind>) -> Table {
    let told = |name: &str| but.is_some_and(|b| b.metrics.iter().any(|m| m.name == name));
    let mut table = Table::new([left("metric"), left("unit"), left(""), left("")]);
    for metric in kind.metrics.iter().filter(|m| !told(m.name)) {
        for name in metric.names() {
            let label = kind.label(&name);
            let words = metric.better.words().to_string();
            table.push([name, metric.unit.to_string(), words, label]);
        }
    }
    table
}

fn metric_names(kind: &Kind) -> Vec<String> {
    kind.metrics.iter().flat_map(|m| m.names()).collect()
}

/// The parameters of a kind that a path means: one, or those of a table.
pub(super) struct Found {
    params: Vec<ParamSpec>,
    exec: Vec<ParamSpec>,
}

impl Found {
    pub fn of(kind: &Kind, path: &str) -> Found {
        let means = |s: &ParamSpec| s.name == path || s.key() == path;
        let of = |specs: Vec<ParamSpec>| specs.into_iter().filter(means).collect();
        Found {
            params: of((kind.params)()),
            exec: of(kind.own_execution()),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.params.is_empty() && self.exec.is_empty()
    }

    pub fn page(&self) -> String {
        let parts = [(PARAMETERS, &self.params), (EXECUTION, &self.exec)];
        let parts = parts.iter().filter(|(_, specs)| !specs.is_empty());
        let parts = parts.map(|(title, specs)| format!("{title}\n{}", params(specs)));
        parts.collect::<Vec<_>>().join("\n")
    }

    pub fn as_json(&self, kind: &Kind) -> Value {
        json!({ "kind": kind.name, "params": specs_as_json(&self.params), "exec": specs_as_json(&self.exec) })
    }
}

pub(super) fn rendered(table: &Table) -> String {
    match table.is_empty() {
        true => String::new(),
        false => table.fit(room()),
    }
}

/// A line with name, default and the first words of the explanation; a table is a line, too.
fn lines(specs: &[ParamSpec]) -> String {
    let mut rows: Vec<[String; 3]> = vec![];
    let mut block: Option<Block> = None;
    for spec in specs {
        match spec.block {
            Some(own) if block == Some(own) => {}
            Some(own) => rows.push(of_block(own, specs)),
            None => rows.push([
                spec.name.into(),
                cut(&default(spec), MOST_DEFAULT),
                sentence(spec.doc),
            ]),
        }
        block = spec.block;
    }
    let widest = |at: usize| rows.iter().map(|r| width(&r[at])).max().unwrap_or(0);
    let (first, second) = (widest(0), widest(1));
    let line = |[name, default, words]: &[String; 3]| {
        let line = format!("  {name:first$}  {default:second$}  {words}");
        cut(line.trim_end(), room()) + "\n"
    };
    rows.iter().map(line).collect()
}

fn of_block(block: Block, specs: &[ParamSpec]) -> [String; 3] {
    let inner = specs.iter().filter(|s| s.block == Some(block));
    let inner: Vec<&str> = inner.map(ParamSpec::field).collect();
    let there = match block.optional {
        true => "table, absent",
        false => "table",
    };
    let words = match block.doc.is_empty() {
        true => inner.join(", "),
        false => sentence(block.doc),
    };
    [block.name.into(), there.into(), words]
}

fn default(spec: &ParamSpec) -> String {
    match &spec.default {
        Default::Required => "required".into(),
        Default::Absent => "absent".into(),
        Default::Value(value) => value.canon(),
    }
}

/// The first sentence, without its stop. One in parentheses ends nothing.
fn sentence(doc: &str) -> String {
    let line = one_line(doc);
    let mut depth = 0;
    let end = line.char_indices().find(|(at, c)| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        depth == 0 && line[*at..].starts_with(". ")
    });
    let first = &line[..end.map_or(line.len(), |(at, _)| at)];
    first.trim_end_matches('.').to_string()
}

/// The first sentences.
fn opening(about: &str) -> String {
    let line = one_line(about);
    let mut out = String::new();
    for sentence in line.split_inclusive(". ") {
        if !out.is_empty() && out.len() + sentence.len() > OPENING {
            break;
        }
        out += sentence;
    }
    out
}

/// The words that have room in so many columns.
fn cut(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_string();
    }
    let mut out = String::new();
    for c in text.chars() {
        if width(&out) + 2 > room {
            break;
        }
        out.push(c);
    }
    let word = out.rfind(' ').filter(|at| 2 * at > out.len());
    out.truncate(word.unwrap_or(out.len()));
    out.trim_end_matches([',', ';', ':', ' ']).to_string() + "…"
}

/// A line with name, shape and default, and the explanation below it; before the first of a block that block's.
fn params(specs: &[ParamSpec]) -> String {
    let mut out = String::new();
    let mut block = None;
    for spec in specs {
        if let Some(own) = spec.block
            && block != Some(own)
        {
            let there = match own.optional {
                true => "absent unless it is written",
                false => "always there",
            };
            out += &format!("  [{}]: a table, {there}\n", own.name);
            if !own.doc.is_empty() {
                out += &wrapped(own.doc, 6);
            }
        }
        block = spec.block;
        let default = match &spec.default {
            Default::Required => "required".to_string(),
            Default::Absent => "absent by default".to_string(),
            Default::Value(value) => format!("default {}", value.canon()),
        };
        let shape = spec.ty.describe();
        out += &hanging(&format!("  {}: {shape}, {default}", spec.name));
        out += &wrapped(spec.doc, 6);
    }
    out
}

/// As `wrapped`, with lines after the first further in.
fn hanging(text: &str) -> String {
    wrap(text, room().min(100), 4).join("\n") + "\n"
}

/// Lines of at most 100 columns, each ended by a newline.
pub(super) fn wrapped(text: &str, indent: usize) -> String {
    let room = room().min(100);
    let space = " ".repeat(indent);
    let mut lines = vec![space.clone()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is a first line");
        if width(last) > indent && width(last) + 1 + width(word) > room {
            lines.push(format!("{space}{word}"));
        } else {
            if width(last) > indent {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}

/// The doc comment as one line.
fn one_line(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) fn as_json(kind: &Kind) -> Value {
    let inputs = kind.inputs.iter();
    let outputs = kind.outputs.iter();
    json!({
        "name": kind.name, "revision": kind.revision, "summary": kind.summary, "about": kind.about, "example": kind.example,
        "inputs": inputs.map(|p| json!({ "name": p.name, "type": p.ty.word(), "required": matches!(p.need, Need::Always), "need": p.need.word(), "doc": p.doc }))
            .collect::<Vec<_>>(),
        "role": kind.role,
        "metrics": kind.metrics,
        "outputs": outputs.map(|o| json!({ "name": o.name, "type": o.ty.word(), "doc": o.doc })).collect::<Vec<_>>(),
        "params": specs_as_json(&(kind.params)()), "exec": specs_as_json(&kind.own_execution()),
    })
}

fn specs_as_json(specs: &[ParamSpec]) -> Value {
    let one = |s: &ParamSpec| {
        let default = match &s.default {
            Default::Value(value) => json!(value),
            _ => Value::Null,
        };
        let block = s
            .block
            .map(|b| json!({ "name": b.name, "doc": one_line(b.doc), "optional": b.optional }));
        json!({
            "name": s.name, "block": block, "takes": s.ty.describe(), "doc": one_line(s.doc), "default": default,
            "required": matches!(s.default, Default::Required),
        })
    };
    specs.iter().map(one).collect()
}
