//! `pipe export`: an artifact as plain files.

use super::args::{RecipeArgs, StoreArgs};
use super::complete;
use super::hint::Hint;
use super::output::{Error, Outcome, print, print_json};
use super::{store, study};
use anyhow::{Context, anyhow};
use base::text::listed;
use serde_json::json;
use std::path::PathBuf;

/// Copy an artifact out of the store: a model folder that transformers loads, rows as JSONL, metrics as JSON.
///
/// Digests are checked before copying.
///
/// Example: pipe export recipes/tars.toml rl models/tars-rl
#[derive(clap::Args)]
pub struct Export {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// The node, or NODE.OUTPUT; without an output, the kind's first
    #[arg(add = complete::nodes())]
    node: String,
    /// The folder to fill; it must be absent or empty
    #[arg(value_hint = clap::ValueHint::DirPath)]
    folder: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
    /// Write into a folder that is not empty
    #[arg(long)]
    force: bool,
    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Export) -> Outcome {
    let study = study::load(&args.recipe)?;
    let store = store::reading(&args.store)?;
    let place = study::place(&study, &args.node)?;
    let hint = Hint {
        recipes: std::slice::from_ref(&args.recipe.recipe),
        changes: &args.recipe.changes,
        store: &args.store,
    };
    let record = study::record(&store, &study.graph, hint, place.id)?;
    let (name, artifact) = study::artifact(&study.graph, &place, &record);
    let shown = args.folder.display();
    if args.folder.exists() && !args.folder.is_dir() {
        return Err(Error::Usage(format!("{shown} is not a folder")));
    }
    let full = std::fs::read_dir(&args.folder).is_ok_and(|mut entries| entries.next().is_some());
    if full && !args.force {
        return Err(Error::Usage(format!(
            "{shown} is not empty; `--force` writes into it all the same"
        )));
    }
    // Where they are not here, and may be had.
    artifact
        .files
        .iter()
        .try_for_each(|blob| store.objects().reach(blob))?;
    let damaged = store.verify(&record)?;
    if !damaged.is_empty() {
        return Err(Error::World(anyhow!(
            "the artifact is damaged and was moved to quarantine: {}; `{}` makes it again",
            listed(damaged.iter().map(String::as_str)),
            hint.command("run", &["--only", &study.graph.node(place.id).name])
        )));
    }
    std::fs::create_dir_all(&args.folder).with_context(|| format!("failed to make {shown}"))?;
    store
        .objects()
        .copy(&artifact.files, &args.folder)
        .with_context(|| format!("failed to write into {shown}"))?;
    if args.json {
        let files: Vec<_> = artifact
            .files
            .iter()
            .map(|f| json!({ "path": f.path, "bytes": f.size }))
            .collect();
        print_json(
            &json!({ "folder": args.folder, "output": name, "type": artifact.ty, "files": files }),
        );
        return Ok(());
    }
    for file in &artifact.files {
        print(&format!("{}\n", args.folder.join(&file.path).display()));
    }
    Ok(())
}
