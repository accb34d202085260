//! `pipe fetch`: what a recipe names on the Hugging Face hub and this machine does not have.

use super::args::RecipesArgs;
use super::environment::variable;
use super::output::{Error, Outcome, complain, print, print_json};
use super::study;
use base::text::{bytes, count};
use engine::store::hub::{self, Address, Found};
use engine::store::paths;
use serde_json::json;
use services::endpoint::Secret;
use services::hub::{Hub, Repo};
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Between two lines of progress.
const TOLD_EVERY: Duration = Duration::from_millis(200);

/// Download what recipes name on the Hugging Face hub and this machine does not have.
///
/// Into the cache that all clients of the hub share (HF_HUB_CACHE, HF_HOME). A file that broke off goes on where it was, and every file
/// is checked against the hub's own digest. Gated repositories need a token, in HF_TOKEN or where `hf auth login` put it. HF_ENDPOINT names
/// a mirror. Of a model only what `pipe` reads is taken: configuration, tokenizer, safetensors.
///
/// Example: pipe fetch recipes/paper/tars-1.5b.toml
///
/// Example: pipe fetch recipes/paper/evals.toml --dry-run
#[derive(clap::Args)]
pub struct Fetch {
    #[command(flatten)]
    recipes: RecipesArgs,
    /// Say what is missing, and download nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Fetch) -> Outcome {
    let study = study::load_all(&args.recipes.recipes, &args.recipes.changes)?;
    let mut there: BTreeSet<String> = BTreeSet::new();
    let mut missing: Vec<Address> = vec![];
    for node in study.graph.nodes() {
        for (_, written) in paths::named(&(node.kind.params)(), &node.params) {
            let Some(Ok(address)) = Address::parse(&written) else {
                continue;
            };
            match hub::find(&written) {
                Found::There { .. } => drop(there.insert(written)),
                Found::Absent { .. } if missing.contains(&address) => {}
                Found::Absent { .. } => missing.push(address),
            }
        }
    }
    if !args.dry_run && !missing.is_empty() {
        let endpoint = variable("HF_ENDPOINT");
        let endpoint = endpoint.unwrap_or_else(|| "https://huggingface.co".into());
        let hub = Hub::new(&endpoint, token())?;
        let mut failed = vec![];
        for address in &missing {
            if let Err(error) = fetch(&hub, address) {
                complain(&format!("error: {address}: {error:#}\n"));
                failed.push(address.to_string());
            }
        }
        if !failed.is_empty() {
            let n = count(failed.len() as u64, "address", "addresses");
            let message = format!("{n} could not be downloaded; what arrived is kept");
            return Err(Error::World(anyhow::anyhow!(message)));
        }
    }
    let names: Vec<String> = missing.iter().map(Address::to_string).collect();
    if args.json {
        print_json(&json!({
            "cache": hub::cache(), "there": there, "missing": if args.dry_run { &names[..] } else { &[] },
            "downloaded": if args.dry_run { &[] } else { &names[..] },
        }));
        return Ok(());
    }
    for name in &names {
        let what = if args.dry_run {
            "missing"
        } else {
            "downloaded"
        };
        print(&format!("{what}  {name}\n"));
    }
    let n = count(there.len() as u64, "address was", "addresses were");
    print(&format!(
        "{n} there already, in {}\n",
        hub::cache().display()
    ));
    Ok(())
}

fn fetch(hub: &Hub, address: &Address) -> anyhow::Result<()> {
    let repo = Repo {
        dataset: address.dataset,
        name: &address.repo,
        revision: &address.revision,
    };
    let folder = hub::cache().join(address.folder());
    let listing = hub.list(&repo)?;
    let wanted: Vec<&String> = listing
        .files
        .iter()
        .filter(|f| is_wanted(address, f))
        .collect();
    anyhow::ensure!(
        !wanted.is_empty(),
        "none of its {} files is `{}` or below it",
        listing.files.len(),
        address.file
    );
    let show = std::io::stderr().is_terminal();
    for file in wanted {
        let mut told = Instant::now();
        let heard = &mut |done: u64, all: u64| {
            if show && told.elapsed() > TOLD_EVERY {
                told = Instant::now();
                complain(&format!("\r{file}: {} of {} ", bytes(done), bytes(all)));
            }
        };
        hub.download(&repo, &listing.commit, file, &folder, heard)?;
        let end = if show { "\r" } else { "" };
        complain(&format!("{end}{}: {file}\n", address.repo));
    }
    hub.settle(&repo, &listing.commit, &folder)
}

/// Of a repository's files those that the address means and that `pipe` reads.
fn is_wanted(address: &Address, file: &str) -> bool {
    let named = address.file.is_empty()
        || file == address.file
        || file
            .strip_prefix(&address.file)
            .is_some_and(|f| f.starts_with('/'));
    let ends = |all: &[&str]| all.iter().any(|end| file.ends_with(end));
    let hidden = file.split('/').any(|part| part.starts_with('.'));
    let read = match address.dataset {
        true => ends(&[".csv", ".tsv", ".json", ".jsonl", ".parquet", ".gz", ".zst"]),
        false => {
            !file.contains('/')
                && (ends(&[".json", ".safetensors", ".model", ".jinja"]) || file == "merges.txt")
        }
    };
    named && (read || file == address.file) && !hidden
}

/// In HF_TOKEN, or in the file where the hub's own client keeps it.
fn token() -> Option<Secret> {
    let file = || {
        let home = variable("HF_HOME").map(PathBuf::from);
        let home =
            home.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache/huggingface")));
        std::fs::read_to_string(home?.join("token")).ok()
    };
    let token = variable("HF_TOKEN").or_else(file)?;
    let token = token.trim();
    (!token.is_empty()).then(|| Secret::new("HF_TOKEN", token.to_string()))
}
