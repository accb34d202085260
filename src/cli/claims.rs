//! `pipe claims`: what recipes expect of each other, and what came of it.

use super::args::{RecipesArgs, StoreArgs};
use super::output::{Outcome, colour, complain, print, print_lines, room};
use super::{remote, store, study};
use base::stats::crossed::ALPHA;
use report::side::Side;
use report::verdicts::{self, show};
use serde_json::json;

/// Answer the claims of recipes: reproduced, contradicted or inconclusive, with the numbers.
///
/// A claim holds if all its conditions do. Differences are of the same prompts; over several seeds (`--matrix seed=0,1,2`)
/// the interval is over trainings and prompts. The verdicts of several claims are corrected together (Holm); beside each stands what it
/// would be alone. Of a claim that is open it says how many seeds would settle it. Recipes that claims are against are read
/// too. Nothing is run.
///
/// Example: pipe claims recipes/ablations/*.toml --matrix seed=0,1,2 --md
#[derive(clap::Args)]
pub struct Claims {
    #[command(flatten)]
    recipes: RecipesArgs,
    #[command(flatten)]
    store: StoreArgs,
    /// Print as Markdown
    #[arg(long, conflicts_with = "json")]
    md: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Claims) -> Outcome {
    let changes = &args.recipes.changes;
    let mut files = args.recipes.recipes.clone();
    let asked = study::load_all(&files, changes)?;
    files.extend(study::missing(&asked));
    let store = store::reading(&args.store)?;
    let study = study::load_all(&files, changes)?;
    complain(&study.warnings.render(colour()));
    let sides = study::sides(&store, study)?;
    let sides: Vec<&Side> = sides.iter().collect();
    let names = asked.names();
    let answers = verdicts::answers(&store, &sides, ALPHA, |recipe| names.contains(&recipe))?;
    if args.json {
        let family = verdicts::family(&answers);
        let family = family.map(|a| json!({ "recipe": a.recipe, "about": a.about }));
        let family: Vec<_> = family.collect();
        remote::answer(&store, json!({ "claims": answers, "family": family }));
        return Ok(());
    }
    remote::tell(&store);
    if answers.is_empty() {
        print_lines(&format!("{}\n", study::claims_nothing(&names)));
        return Ok(());
    }
    let page = show::page(&answers);
    print(&match args.md {
        true => page.markdown(),
        false => page.fit(room()),
    });
    print_lines(&format!("\n{}\n", show::summary(&answers)));
    Ok(())
}
