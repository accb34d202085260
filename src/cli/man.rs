//! `pipe man` and `pipe completions`: what a shell and `man` know of the command line, made of the same arguments.

use super::offered;
use super::output::{Error, Outcome, print};
use anyhow::Context;
use clap::{Command, ValueHint};
use std::path::PathBuf;

/// Print the manual page; or write the pages of all verbs into a folder.
///
/// Example: pipe man ~/.local/share/man/man1 && man pipe-run
#[derive(clap::Args)]
pub struct Man {
    /// Folder for `pipe.1` and a page for every verb; it is made where it is missing
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    folder: Option<PathBuf>,
}

pub fn run(command: Command, args: &Man) -> Outcome {
    let command = command.disable_help_subcommand(true);
    let Some(folder) = &args.folder else {
        let mut page = vec![];
        clap_mangen::Man::new(command)
            .render(&mut page)
            .context("failed to write the page")?;
        print(&String::from_utf8_lossy(&page));
        return Ok(());
    };
    if folder.exists() && !folder.is_dir() {
        let shown = folder.display();
        return Err(Error::Usage(format!("{shown} is not a folder")));
    }
    let written = || format!("failed to write pages into {}", folder.display());
    std::fs::create_dir_all(folder).with_context(written)?;
    clap_mangen::generate_to(command, folder).with_context(written)?;
    Ok(())
}

/// Print a completion script for a shell.
///
/// It completes verbs, options and files; nodes of the recipes on the line, runs of the store, names of metrics and kinds, for which the
/// shell asks `pipe`.
///
/// Example: pipe completions bash > ~/.local/share/bash-completion/completions/pipe
#[derive(clap::Args)]
pub struct Completions {
    shell: clap_complete::Shell,
}

pub fn completions(args: &Completions) -> Outcome {
    let shell = args.shell.to_string();
    let script = offered::script(&shell)?;
    let none = || Error::Usage(format!("nothing is known of the shell `{shell}`"));
    print(&script.ok_or_else(none)?);
    Ok(())
}
