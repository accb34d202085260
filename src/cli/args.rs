//! Arguments that several verbs share, and what they stand for: a loaded recipe, a store, a part of a graph.

use crate::base::diag::Diags;
use crate::base::text::{did_you_mean, listed};
use crate::cli::{Trouble, aside, colour};
use crate::engine::graph::{Graph, NodeId};
use crate::engine::plan::Wanted;
use crate::engine::store::Store;
use crate::kinds::REGISTRY;
use crate::recipe::{self, Loaded, Overrides};
use anyhow::Context;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct RecipeArgs {
    /// The recipe file
    pub recipe: PathBuf,
    #[command(flatten)]
    pub sets: SetArgs,
}

#[derive(clap::Args)]
pub struct SetArgs {
    /// Replaces a value of the recipe, as `vars.seed=1` or `node.sft.lr=1e-4`; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<String>,
}

#[derive(clap::Args)]
pub struct StoreArgs {
    /// Folder of the store
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

#[derive(clap::Args)]
pub struct PartArgs {
    /// Only these nodes and what they need
    #[arg(long, value_name = "NODE", num_args = 1.., value_delimiter = ',')]
    only: Vec<String>,
    /// Executes these nodes from the beginning although there is an artifact
    #[arg(long, value_name = "NODE", num_args = 1.., value_delimiter = ',')]
    fresh: Vec<String>,
}

impl RecipeArgs {
    pub fn load(&self) -> Result<Loaded, Trouble> {
        self.try_load()?.map_err(Trouble::Recipe)
    }

    /// For the verb that shows what is wrong itself.
    pub fn try_load(&self) -> Result<Result<Loaded, Diags>, Trouble> {
        load(&self.recipe, &self.sets)
    }
}

impl StoreArgs {
    pub fn open(&self) -> Result<Store, Trouble> {
        Ok(Store::open(&self.place())?)
    }

    /// For verbs that only read: nothing is made where there is no store.
    pub fn open_existing(&self) -> Result<Store, Trouble> {
        let place = self.place();
        if !place.join("format").exists() {
            return Err(Trouble::Absent(format!(
                "there is no store at {}",
                place.display()
            )));
        }
        self.open()
    }

    fn place(&self) -> PathBuf {
        let named = || environment("PIPE_STORE").filter(|v| !v.is_empty());
        match &self.store {
            Some(dir) => dir.clone(),
            None => named().map_or_else(|| PathBuf::from("cache"), PathBuf::from),
        }
    }
}

impl PartArgs {
    pub fn wanted(&self, graph: &Graph) -> Result<Wanted, Trouble> {
        let find = |names: &[String]| -> Result<Vec<NodeId>, Trouble> {
            names.iter().map(|name| node(graph, name)).collect()
        };
        Ok(Wanted {
            only: find(&self.only)?,
            fresh: find(&self.fresh)?.into_iter().collect(),
        })
    }
}

pub fn load(path: &std::path::Path, sets: &SetArgs) -> Result<Result<Loaded, Diags>, Trouble> {
    let overrides = Overrides {
        sets: sets.sets.clone(),
        cwd: std::env::current_dir().context("finding the current directory")?,
    };
    let loaded = recipe::load(path, &overrides, &REGISTRY);
    if let Ok(loaded) = &loaded
        && !loaded.warnings.is_empty()
    {
        aside(&loaded.warnings.render(colour(&std::io::stderr())));
    }
    Ok(loaded)
}

/// A node by name.
pub fn node(graph: &Graph, name: &str) -> Result<NodeId, Trouble> {
    let names = || graph.nodes().iter().map(|n| n.name.as_str());
    graph.find(name).ok_or_else(|| {
        Trouble::Arguments(match did_you_mean(name, names()) {
            Some(near) => format!("the recipe has no node `{name}`; did you mean `{near}`?"),
            None => format!(
                "the recipe has no node `{name}`; it has {}",
                listed(names())
            ),
        })
    })
}

/// The one place that reads the environment.
#[allow(clippy::disallowed_methods)] // The fence says: in cli only; this is that place.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
