//! `pipe report`: recipes as one page to read, its figures as files, or the data behind it.

use super::{Error, Outcome, StoreArgs, colour, complain, print, print_json, study};
use crate::engine::plan::{self, Wanted};
use crate::engine::verdict::Verdict;
use crate::kinds::REGISTRY;
use crate::recipe::{self, Overrides};
use crate::report::html::{self, Page, Source};
use crate::report::side::Side;
use anyhow::Context;
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
#[command(verbatim_doc_comment)]
pub struct Report {
    /// The recipes' TOML files
    #[arg(required = true, value_name = "RECIPE")]
    recipes: Vec<PathBuf>,
    /// Change a value of every recipe for this command: `vars.NAME=VALUE`, `NODE.PARAM=VALUE`. May be repeated
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    store: StoreArgs,
    /// The page to write [default: report.html, unless --figures or --json asks for something else]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the figures as SVG files into this folder
    #[arg(long, value_name = "DIR")]
    figures: Option<PathBuf>,
    /// Prompts whose answers the page carries
    #[arg(long, value_name = "N", default_value_t = page::SAMPLES)]
    samples: usize,
    /// Print the data behind the page as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Report) -> Outcome {
    let store = study::open_existing(&args.store)?;
    let cwd = std::env::current_dir().context("failed to find the current folder")?;
    let overrides = Overrides {
        sets: args.set.clone(),
        cwd,
    };
    let (mut sides, mut sources) = (vec![], vec![]);
    for file in &args.recipes {
        let loaded = recipe::load(file, &overrides, &REGISTRY)?;
        complain(&loaded.warnings.render(colour()));
        let plan = plan::plan(&store, &loaded.graph, &Wanted::default())?;
        let records = plan.nodes.iter().filter_map(|p| match &p.verdict {
            Verdict::Hit(record) => Some((p.id, (**record).clone())),
            _ => None,
        });
        sources.push(Source {
            recipe: loaded.name.clone(),
            about: loaded.description.clone(),
            text: loaded.resolved_text.clone(),
        });
        sides.push(Side {
            recipe: loaded.name,
            file: file.clone(),
            axes: Default::default(),
            records: records.collect(),
            graph: loaded.graph,
            notes: loaded.notes,
            claims: vec![],
        });
    }
    if sides.iter().all(|s| s.records.is_empty()) {
        let commands: Vec<String> = args
            .recipes
            .iter()
            .map(|r| format!("`pipe run {}`", r.display()))
            .collect();
        return Err(Error::Usage(format!(
            "the store at {} has nothing of {} yet; {} makes it",
            store.root().display(),
            if args.recipes.len() == 1 {
                "this recipe"
            } else {
                "these recipes"
            },
            commands.join(", ")
        )));
    }
    let page = Page::gather(&store, &sides, &sources, args.samples)?;
    let mut wrote = vec![];
    if let Some(folder) = &args.figures {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("failed to make {}", folder.display()))?;
        for (name, svg) in page.figures()? {
            let file = folder.join(name);
            write(&file, &svg)?;
            wrote.push(file);
        }
    }
    let default = (args.figures.is_none() && !args.json).then(|| PathBuf::from("report.html"));
    if let Some(file) = args.output.clone().or(default) {
        write(&file, &page::render::html(&page)?)?;
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

fn write(file: &std::path::Path, text: &str) -> Result<(), Error> {
    std::fs::write(file, text).with_context(|| format!("failed to write {}", file.display()))?;
    Ok(())
}
