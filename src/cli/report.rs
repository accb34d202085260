//! `pipe report`: recipes as one page to read, its figures as files, or the data behind it.

use super::args::{Changes, StoreArgs};
use super::output::{Error, Outcome, colour, complain, print, print_json};
use super::study;
use anyhow::Context;
use recipe::study::Study;
use report::html::{self, Options, Page, Source};
use serde_json::json;
use std::path::PathBuf;

/// Write a report of recipes: one HTML file that needs nothing but itself.
///
/// It holds the graph, the frontier of safety and refusal, training curves, length of the reasoning, claims, the
/// evaluations with intervals, samples to browse, and where everything comes from. Nothing is run; what is missing is
/// named with the command that makes it. The same recipes and the same store give the same bytes.
///
/// Example: pipe report recipes/tars.toml recipes/ablations/*.toml -o report.html --figures figures
#[derive(clap::Args)]
pub struct Report {
    /// The recipes' TOML files
    #[arg(required = true, value_name = "RECIPE")]
    recipes: Vec<PathBuf>,
    #[command(flatten)]
    changes: Changes,
    #[command(flatten)]
    store: StoreArgs,
    /// The page to write [default: report.html, unless --figures or --json asks for something else]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the figures as SVG files into this folder
    #[arg(long, value_name = "DIR")]
    figures: Option<PathBuf>,
    /// Prompts whose answers the page carries
    #[arg(long, value_name = "N", default_value_t = html::SAMPLES)]
    samples: usize,
    /// Print the data behind the page as JSON
    #[arg(long)]
    json: bool,
}

impl Report {
    fn options(&self) -> Options {
        let named = |flag: &str, values: &[String]| -> Vec<String> {
            let pairs = values.iter().map(|v| [flag.to_string(), v.clone()]);
            pairs.flatten().collect()
        };
        let mut changes = named("--set", &self.changes.set);
        changes.extend(named("--matrix", &self.changes.matrix));
        Options {
            samples: self.samples,
            changes,
        }
    }

    fn nothing(&self) -> String {
        let recipes: Vec<String> = self
            .recipes
            .iter()
            .map(|r| r.display().to_string())
            .collect();
        format!(
            "there is nothing to report yet; `pipe run {}` makes it",
            recipes.join(" ")
        )
    }
}

pub fn run(args: &Report) -> Outcome {
    let store = study::open_existing(&args.store).map_err(|error| match error {
        Error::World(error) => Error::World(error.context(args.nothing())),
        other => other,
    })?;
    let study = study::load_all(&args.recipes, &args.changes)?;
    complain(&study.warnings.render(colour()));
    let sources = sources(&study);
    let sides = study::sides(&store, study)?;
    if sides.iter().all(|s| s.records.is_empty()) {
        return Err(Error::Usage(args.nothing()));
    }
    let page = Page::gather(&store, &sides, &sources, &args.options())?;
    let mut wrote = vec![];
    if let Some(folder) = &args.figures {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("failed to make {}", folder.display()))?;
        for (name, svg) in page.figures() {
            let file = folder.join(name);
            write(&file, &svg)?;
            wrote.push(file);
        }
    }
    let default = (args.figures.is_none() && !args.json).then(|| PathBuf::from("report.html"));
    if let Some(file) = args.output.clone().or(default) {
        write(&file, &html::render::page(&page)?)?;
        wrote.push(file);
    }
    if args.json {
        print_json(&json!({ "store": store.root(), "wrote": wrote, "report": page }));
        return Ok(());
    }
    for file in &wrote {
        print(&format!("wrote {}\n", file.display()));
    }
    for missing in &page.head.missing {
        complain(&format!(
            "{} lacks {}; `{}` makes it\n",
            missing.recipe, missing.nodes, missing.command
        ));
    }
    Ok(())
}

/// A recipe's words, under the first choice of its axes.
fn sources(study: &Study) -> Vec<Source> {
    let mut sources: Vec<Source> = vec![];
    for variant in &study.variants {
        let loaded = &variant.loaded;
        if !sources.iter().any(|s| s.recipe == loaded.name) {
            sources.push(Source {
                recipe: loaded.name.clone(),
                about: loaded.description.clone(),
                text: loaded.resolved_text(),
            });
        }
    }
    sources
}

fn write(file: &std::path::Path, text: &str) -> Result<(), Error> {
    std::fs::write(file, text).with_context(|| format!("failed to write {}", file.display()))?;
    Ok(())
}
