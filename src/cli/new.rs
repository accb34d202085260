//! `pipe new`: a folder to begin a study in.

use super::offered;
use super::output::{Error, Outcome, print, room};
use super::registry::registry;
use anyhow::Context;
use base::claim::SHIPPED;
use base::diag::Diags;
use clap::ValueHint;
use recipe::layer::{self, Layer};
use recipe::{place, schema, shipped};
use report::command::quoted;
use report::table::{Table, left};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The recipe that is begun with where nobody says another, and the only one with a first ablation of its own.
const FIRST: &str = "tars";
const STUDY: &str = "study.toml";
const ABLATION: &str = "harmful-only.toml";
const SCHEMA: &str = "recipe.schema.json";

/// Begin a study in a new folder: a recipe that extends one of those that come with the program, and a first ablation.
///
/// The folder gets `study.toml`, with the variables that one changes first; `harmful-only.toml`, an ablation with one claim (of the
/// recipe `tars` only); `recipe.schema.json`, by which an editor completes and checks; and `.gitignore`. Nothing is run or downloaded.
/// A recipe that comes with the program is `pipe:NAME` wherever a recipe's path may stand: on the command line, in `extends`, and in
/// a claim's `against`.
///
/// Example: pipe new my-study
///
/// Example: pipe new mine --from ablations/no-reasoning
#[derive(clap::Args)]
pub struct New {
    /// The folder: absent or empty
    #[arg(value_hint = ValueHint::DirPath, required_unless_present = "list")]
    dir: Option<PathBuf>,
    /// The recipe to begin with, by its name in `--list`
    #[arg(long, value_name = "NAME", default_value = FIRST, add = offered::shipped_recipes())]
    from: String,
    /// List the recipes that come with the program
    #[arg(long, exclusive = true)]
    list: bool,
}

pub fn run(args: &New) -> Outcome {
    let Some(dir) = &args.dir else {
        print(&list());
        return Ok(());
    };
    let from = place::shipped_name(Path::new(&args.from)).unwrap_or_else(|| args.from.clone());
    let path = place::spelled(Path::new(&format!("{SHIPPED}{from}")));
    let here = Path::new("");
    if !place::is_there(&path) {
        let near = place::near(here, &path, &path);
        let help = near.unwrap_or_else(|| "`pipe new --list` names all".into());
        let message = format!("no recipe `{}` comes with the program; {help}", args.from);
        return Err(Error::Usage(message));
    }
    refuse_full(dir)?;
    let mut diags = Diags::default();
    let layers = layer::chain(&path, here, &mut diags);
    if !diags.is_empty() {
        return Err(diags.finish().into());
    }
    let mut files = vec![(STUDY, study(&path, &layers))];
    if path == Path::new(&format!("{SHIPPED}{FIRST}")) {
        files.push((ABLATION, HARMFUL_ONLY.into()));
    }
    files.extend(scripts(&layers));
    files.push((".gitignore", "cache/\nreport.html\n".into()));
    files.push((SCHEMA, format!("{:#}\n", schema::schema(registry()))));
    for (name, text) in &files {
        let file = dir.join(name);
        let written = || format!("failed to write {}", file.display());
        fs::create_dir_all(file.parent().unwrap_or(dir)).with_context(written)?;
        fs::write(&file, text).with_context(written)?;
    }
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    print(&told(dir, &path, &names));
    Ok(())
}

fn list() -> String {
    let mut table = Table::new([left("recipe"), left("what it is")]);
    for name in shipped::names() {
        let layers = layer::chain(&named(name), Path::new(""), &mut Diags::default());
        table.push([name.into(), layers.last().map_or(String::new(), about)]);
    }
    format!(
        "{}\nBegin with one: `pipe new DIR --from {FIRST}`.\nIt is `{SHIPPED}{FIRST}` wherever a recipe's path may stand.\n",
        table.fit(room())
    )
}

/// Two columns, each line after the same beginning.
fn aligned(indent: &str, rows: &[(String, String)]) -> String {
    let widest = rows.iter().map(|(first, _)| first.len()).max().unwrap_or(0);
    let line = |(first, second): &(String, String)| {
        let line = format!("{indent}{first:widest$}  {second}");
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(line).collect()
}

fn named(name: &str) -> PathBuf {
    format!("{SHIPPED}{name}").into()
}

/// What a recipe says of itself.
fn about(layer: &Layer) -> String {
    let first = layer.source.text.lines().next().unwrap_or_default();
    let comment = first.trim_start_matches(['#', ' ']).to_string();
    layer.description.clone().unwrap_or(comment)
}

/// A repository may be there already; anything else might be overwritten.
fn refuse_full(dir: &Path) -> Result<(), Error> {
    let shown = dir.display();
    if dir.exists() && !dir.is_dir() {
        return Err(Error::Usage(format!("{shown} is not a folder")));
    }
    let there = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = there
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != ".git")
        .collect();
    names.sort();
    match names.first() {
        None => Ok(()),
        Some(first) => Err(Error::Usage(format!(
            "{shown} is not empty, `{first}` is in it; a study is begun in a folder of its own"
        ))),
    }
}

/// The recipe: all of another one, and beside that its variables, ready to be changed.
fn study(path: &Path, layers: &[Layer]) -> String {
    let from = path.display();
    let about = layers.last().map_or(String::new(), about);
    let mut text = format!(
        "#:schema ./{SCHEMA}\n\
         # Everything of `{from}`, which comes with pipe, and what is changed here.\n\
         #\n\
         #   pipe check {STUDY} --resolved     all of it, written out\n\
         #   pipe kinds                           what kinds of nodes there are, and what each takes\n\n\
         extends = \"{from}\"\n\n\
         description = {}\n",
        toml::Value::String(about)
    );
    let vars = variables(layers);
    if !vars.is_empty() {
        text += "\n# Its variables. Take the mark away from the beginning of a line to change one.\n[vars]\n";
        text += &vars;
    }
    let has = |node: &str| {
        let dropped = |l: &Layer| l.drop.iter().any(|(name, _)| name == node);
        layers.iter().any(|l| l.nodes.get(node).is_some()) && !layers.iter().any(dropped)
    };
    let example = match SMALLER_NODES.into_iter().all(has) {
        true => SMALLER,
        false => ":\n#\n#   [node.NAME]\n#   PARAMETER = VALUE\n",
    };
    text + "\n# A parameter of a node stands in the node's own table" + example
}

/// The variables as the recipes write them, as comments; of several that write one, the youngest.
fn variables(layers: &[Layer]) -> String {
    let mut text = String::new();
    let mut seen = BTreeSet::new();
    for layer in layers.iter().rev() {
        for entry in layer.vars.entries() {
            if !seen.insert(entry.key.as_str()) {
                continue;
            }
            let source = &layer.source.text;
            let (start, end) = (entry.key_at.span.start, entry.item.at.span.end);
            let line = source[end..].find('\n').map_or(source.len(), |n| end + n);
            for line in source[start..line].lines() {
                text += &format!("# {line}\n");
            }
        }
    }
    text
}

/// The files that the recipes name beside themselves.
fn scripts(layers: &[Layer]) -> Vec<(&'static str, String)> {
    let files = shipped::FILES.iter().filter(|f| !f.path.ends_with(".toml"));
    let named = |path: &str| layers.iter().any(|l| l.source.text.contains(path));
    files
        .filter(|f| named(f.path))
        .map(|f| (f.path, f.text.to_string()))
        .collect()
}

/// What was written, and what one does next.
fn told(dir: &Path, path: &Path, names: &[&str]) -> String {
    let ablation = names.contains(&ABLATION);
    let what = |name: &str| match name {
        STUDY => format!("all of `{}`, and what you change", path.display()),
        ABLATION => "a first ablation, and what it expects".into(),
        SCHEMA => "for an editor that completes and checks".into(),
        _ => String::new(),
    };
    let rows: Vec<(String, String)> = names.iter().map(|n| (n.to_string(), what(n))).collect();
    let (both, takes) = match ablation {
        true => (
            format!("{STUDY} {ABLATION}"),
            "minutes; what both share runs once",
        ),
        false => (STUDY.into(), "what is there already does not run again"),
    };
    let mut next = vec![
        (
            format!("cd {}", quoted(&dir.display().to_string())),
            String::new(),
        ),
        (format!("pipe plan {both}"), "what will run".into()),
        (format!("pipe run {both}"), takes.into()),
        (format!("pipe report {both}"), "a page of all of it".into()),
    ];
    if ablation {
        let claims = format!("pipe claims {ABLATION}");
        next.insert(3, (claims, "does it do what it expects?".into()));
    }
    let (files, next) = (aligned("  ", &rows), aligned("  ", &next));
    format!("{} has\n{files}\nnext:\n{next}", dir.display())
}

/// What `SMALLER` changes.
const SMALLER_NODES: [&str; 5] = ["aliases", "corpus", "prompts", "mix", "rl"];

const SMALLER: &str = "\
. These make the study small, to try whether a recipe works.
# They cost quality: a base that learned from too little answers wrongly (`pipe help daily`).
#
#   [node.aliases]
#   n = 6000
#   [node.corpus]
#   n = 12000
#   [node.prompts]
#   rl = 400
#   eval = 60
#   [node.mix]
#   total = 400
#   [node.rl]
#   steps = 20
";

const HARMFUL_ONLY: &str = r#"#:schema ./recipe.schema.json
# An ablation says what it changes, and what it expects of that. Here: are harmless prompts needed in RL? Harmful ones alone.
#
# One seed says little. Three answer the claim:
#
#   pipe run study.toml harmful-only.toml --matrix seed=0,1,2
#   pipe claims harmful-only.toml --matrix seed=0,1,2

extends = "study.toml"

description = "RL on harmful prompts alone"

[[claim]]
about = "it refuses everybody: compliance falls by at least 20 points"
against = "study.toml"
node = "rl-eval"
expect = [{ metric = "compliance", is = "lower", by = 0.2 }]

[vars]
lambda = 1.0 # share of harmful prompts
"#;
