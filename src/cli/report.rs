//! `pipe report`: recipes as one page to read, its figures as files, or the data behind it.

use super::args::{Changes, StoreArgs};
use super::follow::{Following, Of, sources};
use super::hint::Hint;
use super::offered;
use super::output::{Error, Outcome, colour, complain, print};
use super::serve::{Place, Server};
use super::{remote, store, study};
use anyhow::Context;
use report::html::{self, Options, Page};
use serde_json::json;
use std::path::PathBuf;

/// Write a report of recipes: one HTML file that needs nothing but itself.
///
/// It holds the graph, the frontier of safety and refusal, training curves, length of the reasoning, claims, the
/// evaluations with intervals, samples to browse, and where everything comes from. Nothing is run; what is missing is
/// named with the command that makes it. The same recipes and the same store give the same bytes.
///
/// With --serve the page is shown to browsers on this machine, and follows what runs: how far it is, and every result as it comes.
///
/// Example: pipe report recipes/tars.toml recipes/ablations/*.toml -o report.html --figures figures
#[derive(clap::Args)]
pub struct Report {
    /// The recipes' TOML files
    #[arg(required = true, value_name = "RECIPE", add = offered::recipes())]
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
    /// Show the page to browsers on this machine, and keep it up to date, until Ctrl-C
    #[arg(long, conflicts_with_all = ["output", "figures", "json"])]
    serve: bool,
    /// The port of --serve; 0 takes any that is free
    #[arg(long, value_name = "N", default_value_t = PORT, requires = "serve")]
    port: u16,
    /// Print the data behind the page as JSON
    #[arg(long)]
    json: bool,
}

/// Where --serve listens, where nobody says another port.
const PORT: u16 = 8017;

impl Report {
    fn options(&self) -> Options {
        Options {
            samples: self.samples,
            given: self.hint().given().collect(),
        }
    }

    fn hint(&self) -> Hint<'_> {
        Hint {
            recipes: &self.recipes,
            changes: &self.changes,
            store: &self.store,
        }
    }

    fn nothing(&self) -> String {
        let run = self.hint().command("run", &[]);
        format!("there is nothing to report yet; `{run}` makes it")
    }
}

pub fn run(args: &Report) -> Outcome {
    if args.serve {
        return serve(args);
    }
    let store = store::reading(&args.store)?;
    let study = study::load_all(&args.recipes, &args.changes)?;
    complain(&study.warnings.render(colour()));
    let sources = sources(&study);
    let sides = study::sides(&store, study)?;
    remote::tell(&store);
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
        let answer = json!({ "store": store.root(), "wrote": wrote, "report": page });
        remote::answer(&store, answer);
        return Ok(());
    }
    remote::tell(&store);
    for file in &wrote {
        print(&format!("wrote {}\n", file.display()));
    }
    if args.figures.is_some() && args.output.is_none() {
        complain("figures only: `-o report.html` writes the page as well\n");
    }
    for missing in &page.head.missing {
        complain(&format!(
            "{} lacks {}; `{}` makes it\n",
            missing.recipe, missing.nodes, missing.command
        ));
    }
    Ok(())
}

/// Until the process ends. Recipes that cannot be read are told at once; a store that is not there may come.
fn serve(args: &Report) -> Outcome {
    let study = study::load_all(&args.recipes, &args.changes)?;
    complain(&study.warnings.render(colour()));
    let server = Server::bind(Place::here(args.port))?;
    print(&format!(
        "serving on {} (Ctrl-C ends it)\n",
        server.address()
    ));
    let nothing = args.nothing();
    let following = Following::new(Of {
        recipes: &args.recipes,
        changes: &args.changes,
        store: &args.store,
        options: args.options(),
        nothing: &nothing,
    });
    // Ctrl-C ends the process: there is nothing to be saved.
    server.serve(&following, &|| false);
    Ok(())
}

fn write(file: &std::path::Path, text: &str) -> Result<(), Error> {
    std::fs::write(file, text).with_context(|| format!("failed to write {}", file.display()))?;
    Ok(())
}
