//! Commands that are advised: on the same study, with all that stood on the command line, as they are typed.

use super::args::{Changes, StoreArgs};
use base::text::width;
use report::command::command;
use std::path::PathBuf;

/// In the place of words that stand on the command line already.
pub const SAME: &str = "…";

/// Which study is meant.
#[derive(Clone, Copy)]
pub struct Hint<'a> {
    pub recipes: &'a [PathBuf],
    pub changes: &'a Changes,
    pub store: &'a StoreArgs,
}

impl Hint<'_> {
    /// `pipe run r.toml --set vars.seed=1 --only rl`; `more`: words of this verb alone.
    pub fn command(&self, verb: &str, more: &[&str]) -> String {
        let files = self.recipes.iter().map(|file| file.display().to_string());
        let mut words = vec![verb.to_string()];
        words.extend(files);
        words.extend(self.given());
        words.extend(more.iter().map(|word| word.to_string()));
        command(words)
    }

    /// The same where several such commands are advised at once: `pipe show …`, where the words are too many to be repeated.
    pub fn short(&self, verb: &str) -> String {
        const LONG: usize = 200;
        let whole = self.command(verb, &[]);
        match width(&whole) > LONG {
            true => format!("pipe {verb} {SAME}"),
            false => whole,
        }
    }

    /// Of a verb that reads the store alone.
    pub fn of_store(&self, verb: &str, more: &[&str]) -> String {
        let mut words = vec![verb.to_string()];
        words.extend(more.iter().map(|word| word.to_string()));
        if let Some(store) = &self.store.store {
            words.extend(["--store".into(), store.display().to_string()]);
        }
        command(words)
    }

    /// What stands on the command line beside the recipes, word by word.
    pub fn given(&self) -> impl Iterator<Item = String> {
        let named = |flag: &'static str, values: &[String]| -> Vec<String> {
            let pairs = values.iter().map(|v| [flag.to_string(), v.clone()]);
            pairs.flatten().collect()
        };
        let store = self.store.store.iter().map(|s| s.display().to_string());
        let store: Vec<String> = store.collect();
        let given = [
            named("--set", &self.changes.set),
            named("--matrix", &self.changes.matrix),
            named("--store", &store),
        ];
        given.into_iter().flatten()
    }
}
