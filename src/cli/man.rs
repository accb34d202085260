//! `pipe man` and `pipe completions`: what a shell and `man` know of the command line, made of the same arguments.

use super::output::{Error, Outcome, print};
use super::registry::registry;
use anyhow::Context;
use clap::builder::PossibleValuesParser;
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
/// It completes verbs, options, files, and the names of kinds.
///
/// Example: pipe completions bash > ~/.local/share/bash-completion/completions/pipe
#[derive(clap::Args)]
pub struct Completions {
    shell: clap_complete::Shell,
}

pub fn complete(command: Command, args: &Completions) -> Outcome {
    let kinds = |id: &'static str| {
        move |command: Command| {
            command.mut_arg(id, |arg| {
                arg.value_parser(PossibleValuesParser::new(registry().names()))
            })
        }
    };
    // Only the script restricts them: the verbs themselves answer a wrong name with the nearest one.
    let mut command = command
        .mut_subcommand("kinds", kinds("name"))
        .mut_subcommand("ls", kinds("kind"));
    let mut script = vec![];
    clap_complete::generate(args.shell, &mut command, "pipe", &mut script);
    print(&String::from_utf8_lossy(&script));
    Ok(())
}
