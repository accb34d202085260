//! `pipe import`: looks at results that were made elsewhere and writes the recipe that takes them in.

use super::args::StoreArgs;
use super::output::{Error, Outcome, complain, print_json, print_lines, room};
use super::run::{self, Run};
use base::text::{count, listed};
use clap::builder::PossibleValuesParser;
use clap::{Args, Command, FromArgMatches, ValueHint};
use kinds::data::import::As;
use kinds::data::import::found::{self, Found, Layout, Unit};
use kinds::scorers::{self, Scorer};
use kinds::shared::endpoint::Service;
use report::command::command;
use report::table::{Table, left, right};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Write a recipe that imports results which were made elsewhere: completions of HarmBench, logs of inspect_ai, sample logs of
/// lm-evaluation-harness.
///
/// Tells what a file or folder holds (models, responses, scores), and writes an `import` node for each file and an `evaluate` node for
/// each of these and every scorer. Nothing runs unless `--run` is given; `pipe run`, `show`, `diff` and `report` take the recipe like any
/// other. For results that are to stand for a node of another recipe see `pipe adopt`.
///
/// Example: pipe import HarmBench/results/GCG -o gcg.toml
///
/// Example: pipe import logs/ --scorer refusal --class ambiguous --run
#[derive(clap::Args)]
pub struct Import {
    /// A file, or a folder that holds some
    #[arg(value_hint = ValueHint::AnyPath)]
    path: PathBuf,
    /// How the files lie [default: whichever of these they are]
    #[arg(long, value_parser = ["harmbench", "inspect", "lm-eval"])]
    layout: Option<String>,
    /// The recipe to write
    #[arg(long, short, value_name = "RECIPE", default_value = "imported.toml", value_hint = ValueHint::FilePath)]
    out: PathBuf,
    /// Class of the prompts [default: harmful for HarmBench, else harmless]
    #[arg(long, value_parser = ["harmful", "harmless", "ambiguous"])]
    class: Option<String>,
    /// Who judges. Those that ask a service do so at the url and model that the recipe's `[vars]` name. May be repeated
    #[arg(long, default_value = "refusal", value_parser = PossibleValuesParser::new(judges()))]
    scorer: Vec<String>,
    /// Replace a recipe that is there
    #[arg(long)]
    force: bool,
    /// Run the recipe as well, as `pipe run` does
    #[arg(long)]
    run: bool,
    #[command(flatten)]
    store: StoreArgs,
    /// Print what was found as JSON
    #[arg(long, conflicts_with = "run")]
    json: bool,
}

pub fn run(args: &Import) -> Outcome {
    if args.out.exists() && !args.force {
        let out = args.out.display();
        return Err(Error::Usage(format!(
            "{out} is there already; `--out` names another recipe, `--force` replaces it"
        )));
    }
    let layout = args.layout.as_deref().and_then(layout);
    let found = found::look(&args.path, layout)?;
    for line in found.summary() {
        complain(&format!("{line}\n"));
    }
    let mut scorers = args.scorer.clone();
    let mut seen = BTreeSet::new();
    scorers.retain(|scorer| seen.insert(scorer.clone()));
    let Found { units, passed } = found;
    let nodes = nodes(&units);
    let text = recipe(args, &nodes, &scorers)?;
    std::fs::write(&args.out, text).map_err(|e| {
        let out = args.out.display();
        anyhow::anyhow!("failed to write {out}: {e}")
    })?;
    if args.json {
        print_json(&json!({
            "recipe": args.out,
            "passed_over": passed.iter().map(|(file, why)| json!({ "path": file, "why": why })).collect::<Vec<_>>(),
            "found": nodes.iter().map(|(name, unit)| json!({
                "node": name,
                "layout": unit.layout.word(),
                "model": unit.model,
                "group": unit.group,
                "path": unit.path,
                "results": unit.results,
                "responses": unit.rows.len(),
                "left_out": unit.left(),
                "unscorable": unit.scores().into_iter().map(|name| (name, unit.unscorable(name).values().sum::<u64>()))
                    .filter(|(_, n)| *n > 0).collect::<BTreeMap<_, _>>(),
                "remarks": unit.remarks(),
                "scores": unit.scores(),
            })).collect::<Vec<_>>(),
        }));
        return Ok(());
    }
    print_lines(&told(&nodes, passed.len(), &args.out, &scorers[0]));
    match args.run {
        true => run_it(args),
        false => Ok(()),
    }
}

fn layout(word: &str) -> Option<Layout> {
    match word {
        "harmbench" => As::HarmBench.layout(),
        "inspect" => As::Inspect.layout(),
        _ => As::LmEval.layout(),
    }
}

/// The units with the names of their nodes, each once.
fn nodes(units: &[Unit]) -> Vec<(String, &Unit)> {
    let mut taken = BTreeSet::new();
    let several = |unit: &Unit| {
        let of = units.iter().filter(|u| u.model == unit.model);
        of.count() > 1
    };
    let named = units.iter().map(|unit| {
        let plain = match several(unit) {
            true => slug(&format!("{}-{}", unit.model, unit.group)),
            false => slug(&unit.model),
        };
        let free = (1..).map(|i| match i {
            1 => plain.clone(),
            i => format!("{plain}-{i}"),
        });
        let mut free = free.filter(|name| !taken.contains(name));
        let name = free.next().expect("there is always another number");
        taken.insert(name.clone());
        (name, unit)
    });
    named.collect()
}

/// A text as the name of a node: small letters, digits and single hyphens.
fn slug(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|w| !w.is_empty()).collect();
    match words.is_empty() {
        true => "model".into(),
        false => words.join("-"),
    }
}

/// A table of what there is, and how it goes on.
fn told(nodes: &[(String, &Unit)], passed: usize, out: &Path, scorer: &str) -> String {
    let mut table = Table::new([
        left("node"),
        left("layout"),
        left("model"),
        left("of"),
        right("responses"),
        left("scores"),
    ]);
    for (name, unit) in nodes {
        table.push([
            name.clone(),
            unit.layout.word().into(),
            unit.model.clone(),
            unit.group.clone(),
            unit.rows.len().to_string(),
            unit.scores().into_iter().collect::<Vec<_>>().join(", "),
        ]);
    }
    let mut text = table.fit(room());
    for (name, unit) in nodes {
        for remark in unit.remarks() {
            let _ = writeln!(text, "{name}: {remark}");
        }
    }
    let mut left_out: BTreeMap<&str, usize> = BTreeMap::new();
    for (why, n) in nodes.iter().flat_map(|(_, unit)| &unit.left_out) {
        *left_out.entry(why).or_default() += n;
    }
    for (why, n) in left_out {
        let samples = count(n as u64, "sample is", "samples are");
        let _ = writeln!(text, "{samples} left out: {why}");
    }
    if passed > 0 {
        let files = count(passed as u64, "file is", "files are");
        let _ = writeln!(text, "{files} passed over, named above with the reason");
    }
    let out = out.display().to_string();
    let run = command(["run", &out]);
    let _ = writeln!(text, "\n{out} is written; `{run}` takes them in");
    if let [(first, _), (second, _), ..] = nodes {
        let pair = format!("{first}-{scorer}={second}-{scorer}");
        let diff = command(["diff", &out, &out, "--pair", &pair]);
        let _ = writeln!(text, "then `{diff}` compares two of them");
    }
    text
}

/// The recipe's text. Its paths are relative to it where they are below its folder.
fn recipe(args: &Import, nodes: &[(String, &Unit)], scorers: &[String]) -> Result<String, Error> {
    let name = slug(&found::stem(&args.out));
    let mut text = format!(
        "# Results that were made elsewhere, as `pipe import` found them.\n\nname = \"{name}\"\n\
         description = \"Imported results\"\n"
    );
    text += &vars(scorers);
    for (name, unit) in nodes {
        let _ = write!(text, "\n[node.{name}]\nkind = \"import\"\n");
        let mut line = |key: &str, value: &str| {
            let value = toml::Value::from(value);
            let _ = writeln!(text, "{key} = {value}");
        };
        line("path", &beside(&unit.path, &args.out)?);
        if let Some(results) = &unit.results {
            line("results", &beside(results, &args.out)?);
        }
        line("layout", unit.layout.word());
        if let Some(class) = &args.class {
            line("class", class);
        }
        let scores = unit.scores();
        if let Some(score) = scores.first() {
            line("score", score);
            if scores.len() > 1 {
                let _ = writeln!(text, "# it has {}", listed(scores.iter().copied()));
            }
        }
        for scorer in scorers {
            let _ = write!(
                text,
                "\n[node.{name}-{scorer}]\nkind = \"evaluate\"\nin = {{ completions = \"{name}\" }}\nscorer = \"{scorer}\"\n{}",
                needs(&format!("{name}-{scorer}"), scorer)
            );
        }
    }
    Ok(text)
}

/// Scorers that judge whole answers and need neither the built-in world's truth nor a model of a node.
fn judges() -> Vec<&'static str> {
    let free = |s: &&&Scorer| s.judges() && !s.needs_truth() && !s.is_model();
    scorers::ALL.iter().filter(free).map(|s| s.name).collect()
}

fn service(scorer: &str) -> Option<Service> {
    Some(scorers::get(scorer)?.service()?.service)
}

/// Where the scorers' services are, to be set by whoever has them.
fn vars(named: &[String]) -> String {
    let mut lines = String::new();
    for wanted in [Service::Judge, Service::Moderation, Service::Score] {
        if named.iter().any(|s| service(s) == Some(wanted)) {
            for (field, example) in wanted.examples() {
                lines += &format!("{}_{field} = \"{example}\"\n", wanted.block());
            }
        }
    }
    match lines.is_empty() {
        true => lines,
        false => format!("\n[vars]\n{lines}"),
    }
}

/// What a scorer needs beside its name, for the node of this name.
fn needs(node: &str, scorer: &str) -> String {
    let Some(service) = service(scorer) else {
        return String::new();
    };
    let block = service.block();
    let threshold = match service {
        Service::Moderation => "score_threshold = 0.9\n",
        _ => "",
    };
    format!(
        "{threshold}\n[node.{node}.{block}]\nurl = \"${{{block}_url}}\"\nmodel = \"${{{block}_model}}\"\n"
    )
}

/// A path as a recipe writes it: from the recipe's folder where it is below that, else whole.
fn beside(path: &Path, recipe: &Path) -> Result<String, Error> {
    let whole = |path: &Path| {
        let whole = std::fs::canonicalize(path);
        whole.map_err(|e| anyhow::anyhow!("failed to find {}: {e}", path.display()))
    };
    let folder = match recipe.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let (path, folder) = (whole(path)?, whole(folder)?);
    let written = path.strip_prefix(&folder).unwrap_or(&path);
    let written = written.to_str().ok_or_else(|| {
        let path = path.display();
        Error::Usage(format!("{path} is no UTF-8, which a recipe has to be"))
    })?;
    // `${` would begin a variable.
    Ok(written.replace("${", "$${"))
}

/// `pipe run` with the recipe.
fn run_it(args: &Import) -> Outcome {
    let mut words: Vec<std::ffi::OsString> = vec!["run".into()];
    if let Some(store) = &args.store.store {
        words.push("--store".into());
        words.push(store.into());
    }
    words.push("--".into());
    words.push(args.out.as_os_str().into());
    let words = Run::augment_args(Command::new("run")).get_matches_from(words);
    run::run(&Run::from_arg_matches(&words).expect("the words say what to run"))
}
