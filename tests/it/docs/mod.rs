//! README and `docs/`: every recipe in them is checked, every command is run or at least parsed, every link leads somewhere,
//! and what they list of the binary is the binary's own. `PIPE_BLESS=1` writes those lists anew.
//!
//! How a block is marked, behind its language:
//!     toml                       a whole recipe
//!     toml base=FILE             what a recipe that extends FILE adds
//!     toml file=FILE             a recipe that the commands of the page name; any other language: such a file
//!     sh                         commands of `pipe`, run one after the other beside a small study, which `pipe:tars` stands for
//!     sh parsed="REASON"         commands that are not run here; those of `pipe` are parsed
//!     text                       what something prints

mod commands;
mod lists;
mod markdown;
mod prose;
mod recipes;

use markdown::{Block, Page};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README first, then the manual in the order in which the files are called.
fn pages() -> Vec<Page> {
    let folder = std::fs::read_dir(root().join("docs")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".md")).collect();
    names.sort();
    let mut pages = vec![Page::read("README.md")];
    pages.extend(names.iter().map(|name| Page::read(&format!("docs/{name}"))));
    pages
}

/// The checkout as a reader has it, with a study so small that it runs in seconds.
struct Checkout {
    dir: TempDir,
}

/// Numbers of recipes that say how much there is to do, and what they are at most here.
const SMALL: [(&str, u64); 24] = [
    ("hidden_size", 16),
    ("layers", 1),
    ("heads", 2),
    ("intermediate_size", 32),
    ("n", 40),
    ("sft", 8),
    ("rl", 24),
    ("validation", 3),
    ("eval", 6),
    ("total", 12),
    ("take", 2),
    ("steps", 2),
    ("epochs", 1),
    ("batch", 8),
    ("group", 4),
    ("samples", 4),
    ("max_new_tokens", 12),
    ("width", 4),
    ("topk", 4),
    ("length", 4),
    ("population", 4),
    ("rank", 2),
    ("streams", 1),
    ("top", 1),
];

impl Checkout {
    fn new() -> Checkout {
        let checkout = Checkout {
            dir: tempfile::tempdir().unwrap(),
        };
        checkout.copy(Path::new("recipes"));
        checkout
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let up = "../".repeat(name.matches('/').count());
        std::fs::write(path, self.copied(text, &up)).unwrap();
    }

    /// `pipe:NAME` is in the program at its full size: here it is the copy in `recipes/`, which is the same but small. A name that no
    /// recipe has stays as it is.
    fn copied(&self, text: &str, up: &str) -> String {
        let mut parts = text.split("pipe:");
        let mut out = parts.next().unwrap_or_default().to_string();
        for part in parts {
            let end = part.find(|c: char| !c.is_ascii_alphanumeric() && !"-/".contains(c));
            let (name, rest) = part.split_at(end.unwrap_or(part.len()));
            let file = format!("recipes/{name}.toml");
            match self.path(&file).is_file() {
                true => out += &format!("{up}{file}{rest}"),
                false => out += &format!("pipe:{part}"),
            }
        }
        out
    }

    /// The recipes. Those of the paper's setting are only read, and preparing prompts is quick: they stay as large as they are.
    fn copy(&self, folder: &Path) {
        std::fs::create_dir_all(self.path(folder)).unwrap();
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let entry = entry.unwrap();
            let name = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                self.copy(&name);
                continue;
            }
            let text = std::fs::read_to_string(entry.path()).unwrap();
            let whole = ["recipes/paper", "recipes/prepare.toml"];
            let text = match whole.iter().any(|w| name.starts_with(w)) {
                true => text,
                false => smaller(&text),
            };
            std::fs::write(self.path(&name), text).unwrap();
        }
    }

    /// A line of shell in the checkout, where `pipe` is what is installed.
    fn shell(&self, line: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_pipe"));
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                &format!("PATH=\"$0:$PATH\"\n{}", self.copied(line, "")),
            ])
            .arg(program.parent().unwrap())
            .current_dir(self.dir.path())
            .env("HF_HUB_CACHE", self.path("hub"))
            .env_remove("PIPE_STORE")
            .stdin(Stdio::null());
        command
    }
}

/// `KEY = NUMBER` with a number that is at most what `SMALL` says.
fn smaller(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let said = line.split_once(" = ").and_then(|(key, rest)| {
            let most = SMALL.iter().find(|(name, _)| *name == key)?.1;
            let value = rest.split_whitespace().next()?;
            let number: u64 = value.parse().ok()?;
            Some(format!("{key} = {}", number.min(most)))
        });
        said.unwrap_or_else(|| line.to_string())
    });
    lines.map(|line| line + "\n").collect()
}

/// All that is wrong, told at once.
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn at(page: &Page, block: &Block) -> String {
    format!("{}:{}", page.name, block.line)
}
