//! `pipe table`: metrics of many recipes, means over seeds, for reading or for a paper.

use super::args::{RecipesArgs, StoreArgs};
use super::complete;
use super::output::{Outcome, complain, print, room, room_aside};
use super::{remote, store, study};
use report::grid::{self, grid};
use report::page::Page;
use report::side::Side;
use report::spread::{show, spread};

/// Print a table: a row an evaluation, a column a metric, in every cell the mean over seeds and its uncertainty.
///
/// An evaluation that several recipes share stands once. Nothing is run.
///
/// With `--spread` a table a metric: where the axes of seeds are fully crossed, as those of recipes/spread.toml, what makes runs differ. Every
/// choice of the other axes is a column, so that before and after stand side by side.
///
/// Example: pipe table recipes/tars.toml recipes/ablations/*.toml --metric defense --metric compliance --latex
#[derive(clap::Args)]
pub struct Table {
    #[command(flatten)]
    recipes: RecipesArgs,
    #[command(flatten)]
    store: StoreArgs,
    /// A column [default: defense and compliance, or all there are]. May be repeated
    #[arg(long = "metric", value_name = "METRIC", add = complete::metrics())]
    metrics: Vec<String>,
    /// Only evaluations of this name. May be repeated
    #[arg(long = "node", value_name = "NODE", add = complete::nodes())]
    nodes: Vec<String>,
    /// What makes runs differ instead (variance components): the standard deviation between runs, and what of it comes of each of these
    /// axes of seeds, of the axes together and of the number of prompts [default: axes called `seed` or `…_seed`]
    #[arg(long, value_name = "AXES", num_args = 0..=1, require_equals = true, value_delimiter = ',', conflicts_with = "latex")]
    spread: Option<Vec<String>>,
    /// Print as Markdown
    #[arg(long, group = "format")]
    md: bool,
    /// Print as CSV: a line a cell, raw numbers
    #[arg(long, group = "format")]
    csv: bool,
    /// Print as a LaTeX tabular for the package booktabs
    #[arg(long, group = "format")]
    latex: bool,
    /// Print as JSON
    #[arg(long, group = "format")]
    json: bool,
}

pub fn run(args: &Table) -> Outcome {
    let study = study::load_all(&args.recipes.recipes, &args.recipes.changes)?;
    let store = store::reading(&args.store)?;
    let sides = study::sides(&store, study)?;
    let sides: Vec<&Side> = sides.iter().collect();
    if let Some(seeds) = &args.spread {
        let found = spread(&store, &sides, seeds, &args.metrics, &args.nodes)?;
        if args.json {
            remote::answer(
                &store,
                serde_json::to_value(&found).map_err(anyhow::Error::from)?,
            );
            return Ok(());
        }
        remote::tell(&store);
        print(&match (args.md, args.csv) {
            (true, _) => show::page(&found).markdown(),
            (_, true) => {
                aside(&show::remarks(&found));
                show::csv(&found)?
            }
            _ => show::page(&found).fit(room()),
        });
        return Ok(());
    }
    let found = grid(&store, &sides, &args.metrics, &args.nodes)?;
    if args.json {
        remote::answer(
            &store,
            serde_json::to_value(&found).map_err(anyhow::Error::from)?,
        );
        return Ok(());
    }
    remote::tell(&store);
    print(&match (args.md, args.csv, args.latex) {
        (true, _, _) => grid::page(&found).markdown(),
        (_, true, _) => {
            aside(&grid::remarks(&found));
            grid::csv(&found)?
        }
        (_, _, true) => grid::latex(&found),
        _ => grid::page(&found).fit(room()),
    });
    Ok(())
}

/// What has no place among raw numbers is said beside them.
fn aside(remarks: &Page) {
    if !remarks.is_empty() {
        complain(&remarks.fit(room_aside()));
    }
}
