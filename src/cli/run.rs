//! `pipe run`.

use crate::cli::args::{PartArgs, RecipeArgs, StoreArgs};
use crate::cli::{Done, Trouble, aside, colour};
use crate::engine::event::Event;
use crate::engine::exec::{self, Outcome, Settings, Stop};
use crate::engine::store::Store;
use crate::recipe::Loaded;
use crate::report::progress::{Progress, Style};
use crate::report::summary::{Part, Ran, Summary};
use std::io::IsTerminal;
use std::num::NonZeroUsize;

/// Runs what is not made yet, then shows the table of results
///
/// Progress goes to stderr, the summary to stdout. Ctrl-C lets the nodes save their state, a second Ctrl-C kills them;
/// either way the next run goes on from what was saved.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  pipe run study.toml
  pipe run study.toml --only sft-eval --threads 8
  pipe run study.toml --set vars.seed=1 --json > result.json")]
pub struct Run {
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    part: PartArgs,
    #[command(flatten)]
    store: StoreArgs,
    /// Threads that all nodes together may use; all cores if not given. Results do not depend on it
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// The summary as JSON
    #[arg(long)]
    json: bool,
    /// No progress, only what goes wrong
    #[arg(long, short)]
    quiet: bool,
}

impl Run {
    pub fn run(&self) -> Result<Done, Trouble> {
        let loaded = self.recipe.load()?;
        let wanted = self.part.wanted(&loaded.graph)?;
        let store = self.store.open()?;
        let mut settings = Settings::new()?;
        settings.threads = self.threads.map_or(settings.threads, NonZeroUsize::get);
        settings.stop = Stop::on_signals()?;
        settings.recipes = vec![(loaded.name.clone(), loaded.resolved_text.clone())];
        let mut progress = Progress::new(self.style());
        let mut seconds = 0.0;
        let outcome = exec::run(&store, &loaded.graph, &wanted, &settings, &mut |event| {
            if let Event::RunEnded { seconds: took, .. } = event {
                seconds = *took;
            }
            progress.hear(event);
        })?;
        let kept = store.runs().join(&outcome.run);
        let summary = summary(&store, &loaded, &outcome, seconds)?;
        let code = outcome.failure().map_or(0, |failure| {
            aside(&format!("error: {failure}\n"));
            failure.exit_code()
        });
        if self.json {
            return Ok(Done {
                code,
                ..Done::json(&summary.json(&store))
            });
        }
        Ok(Done {
            text: format!("\n{}run kept at {}\n", summary.text(), kept.display()),
            code,
        })
    }

    fn style(&self) -> Style {
        let stderr = std::io::stderr();
        match (self.quiet, stderr.is_terminal()) {
            (true, _) => Style::Quiet,
            (_, true) => Style::Live {
                colour: colour(&stderr),
            },
            _ => Style::Lines,
        }
    }
}

fn summary(
    store: &Store,
    loaded: &Loaded,
    outcome: &Outcome,
    seconds: f64,
) -> Result<Summary, Trouble> {
    let mut parts = vec![];
    for end in &outcome.nodes {
        let kind = loaded.graph.node(end.id).kind.name;
        let mut part = Part::new(store, &end.name, kind, end.record.clone())?.ended(&end.state);
        part.description = loaded.notes.get(&end.name).cloned();
        parts.push(part);
    }
    Ok(Summary {
        recipe: loaded.name.clone(),
        parts,
        ran: Some(Ran {
            id: outcome.run.clone(),
            seconds,
        }),
    })
}
