//! `pipe keys`: one's own key, and whose records are taken from a shared store.

use super::keyring::{self, Trusted};
use super::output::{Error, Outcome, print_json, print_lines, print_table};
use ::remote::keys::{Identity, Secret, problem};
use anyhow::anyhow;
use base::text::did_you_mean;
use clap::Subcommand;
use report::table::{Table, left};
use serde_json::json;
use std::path::Path;

/// Make and show your key, and say whom you trust: whose records are taken from a shared store.
///
/// What a run or `pipe push` gives to a shared store is signed by your key, and a record from there is taken only if you signed it or
/// somebody whom you trust did. What was made on this machine needs no signature.
///
/// The private key is `key` in the folder of your settings ($PIPE_CONFIG, else $XDG_CONFIG_HOME/pipe, else ~/.config/pipe) and never
/// leaves it; whom you trust is `trusted` there, a line each, besides `trust` of `[remote]` in the settings.
///
/// Example: pipe keys new --name ada
///
/// Example: pipe keys trust ada=ed25519:GYnO…
#[derive(clap::Args)]
pub struct Keys {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make your key. Whoever trusts it takes what you give to a shared store.
    ///
    /// Example: pipe keys new --name ada
    New {
        /// What you are called: others see it beside what you made [default: your name on this machine]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Instead of the key that you have. That one stays trusted here, and where others trust it
        #[arg(long)]
        replace: bool,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print your public key: the line that others give to `pipe keys trust`.
    ///
    /// Example: pipe keys show
    Show {
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// List whom you trust.
    ///
    /// Example: pipe keys list
    List {
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Trust somebody: records that they signed are taken from a shared store.
    ///
    /// Ask them for the line that `pipe keys show` prints, in a way by which you know that it is them.
    ///
    /// Example: pipe keys trust ada=ed25519:GYnO…
    Trust {
        /// NAME=ed25519:KEY, as `pipe keys show` of theirs prints it; NAME may be what you call them
        #[arg(value_name = "KEY")]
        line: String,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Trust somebody no longer. Records that were taken from them stay.
    ///
    /// Example: pipe keys untrust ada
    Untrust {
        /// The name, the key, or the whole line
        who: String,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(args: &Keys) -> Outcome {
    let folder = keyring::config()?;
    match &args.what {
        What::New {
            name,
            replace,
            json,
        } => new(&folder, name.as_deref(), *replace, *json),
        What::Show { json } => show(&folder, *json),
        What::List { json } => list(&folder, *json),
        What::Trust { line, json } => trust(&folder, line, *json),
        What::Untrust { who, json } => untrust(&folder, who, *json),
    }
}

fn new(folder: &Path, name: Option<&str>, replace: bool, as_json: bool) -> Outcome {
    let path = keyring::own_path(folder);
    // One that cannot be used any more is replaced as well.
    let old = match replace {
        true => keyring::own(folder).ok().flatten(),
        false => None,
    };
    if path.exists() && !replace {
        return Err(Error::Usage(format!(
            "you have a key, {}; `pipe keys show` prints its public half, `--replace` makes another",
            path.display()
        )));
    }
    let name = match name {
        Some(name) => name.to_string(),
        None => login().ok_or_else(|| Error::Usage("`--name` says what you are called".into()))?,
    };
    if let Some(problem) = problem(&name) {
        return Err(Error::Usage(format!("`--name {name}`: {problem}")));
    }
    let secret = Secret::new(&name)?;
    if let Some(old) = old {
        let mut trusted = Trusted::read(folder)?;
        let before = former(&trusted.all(), old.identity());
        trusted.add(&before)?;
    }
    let path = keyring::keep(folder, &secret)?;
    let who = secret.identity();
    match as_json {
        true => print_json(
            &json!({ "name": who.name, "key": who.key(), "line": who.to_string(), "file": path }),
        ),
        false => print_lines(&format!(
            "{who}\nyour key is {}; whoever runs `pipe keys trust` with the line above takes what you push\n",
            path.display()
        )),
    }
    Ok(())
}

/// A key of one's own that was replaced, under a name that nobody has yet.
fn former(trusted: &[Identity], old: &Identity) -> Identity {
    let free = |name: &String| trusted.iter().all(|who| who.name != *name);
    let numbered = (1..).map(|n| format!("{}-before-{n}", old.name));
    let mut names = numbered.map(|name| match name.len() > 64 {
        true => name[name.len() - 64..].to_string(),
        false => name,
    });
    let name = names.find(free);
    old.called(&name.expect("there are more numbers than lines"))
}

/// What the user is called on this machine.
fn login() -> Option<String> {
    let name =
        super::environment::variable("USER").or_else(|| super::environment::variable("LOGNAME"))?;
    problem(&name).is_none().then_some(name)
}

fn none() -> Error {
    Error::World(anyhow!("you have no key; `pipe keys new` makes one"))
}

fn show(folder: &Path, as_json: bool) -> Outcome {
    let own = keyring::own(folder)?.ok_or_else(none)?;
    let who = own.identity();
    match as_json {
        true => print_json(&json!({
            "name": who.name, "key": who.key(), "line": who.to_string(), "signer": who.signer(), "file": keyring::own_path(folder),
        })),
        false => print_lines(&format!("{who}\n")),
    }
    Ok(())
}

fn list(folder: &Path, as_json: bool) -> Outcome {
    let own = keyring::own(folder)?;
    let trusted = Trusted::read(folder)?;
    let own = own.iter().map(|own| (own.identity().clone(), true));
    let all = own.chain(trusted.all().into_iter().map(|who| (who, false)));
    let all: Vec<(Identity, bool)> = all.collect();
    keyring::warn(&trusted);
    if as_json {
        let keys = all.iter().map(|(who, own)| {
            json!({ "name": who.name, "key": who.key(), "line": who.to_string(), "own": own })
        });
        print_json(&json!({
            "file": trusted.path(), "keys": keys.collect::<Vec<_>>(), "unusable": trusted.unusable(),
        }));
        return Ok(());
    }
    if all.is_empty() {
        print_lines(
            "you have no key and trust nobody; `pipe keys new` and `pipe keys trust KEY` change that\n",
        );
        return Ok(());
    }
    let mut table = Table::new([left("name"), left("key"), left("")]);
    for (who, own) in &all {
        let mark = if *own { "your own" } else { "" };
        table.push([who.name.clone(), who.key(), mark.to_string()]);
    }
    print_table(&table);
    Ok(())
}

fn trust(folder: &Path, line: &str, as_json: bool) -> Outcome {
    let who = Identity::parse(line).map_err(|e| Error::Usage(format!("{e:#}")))?;
    let own = keyring::own(folder)?;
    let mut trusted = Trusted::read(folder)?;
    let mut known = trusted.all();
    known.extend(own.map(|own| own.identity().clone()));
    if let Some(same) = known.iter().find(|known| known.same_key(&who)) {
        let name = &same.name;
        match as_json {
            true => print_json(&json!({ "trusted": name, "key": same.key(), "new": false })),
            false => print_lines(&format!("`{name}` is trusted already\n")),
        }
        return Ok(());
    }
    if known.iter().any(|known| known.name == who.name) {
        return Err(Error::Usage(format!(
            "`{0}` is the name of another key that is trusted; if they have a new one: `pipe keys untrust {0}` first, else write \
             another name before the `=`",
            who.name
        )));
    }
    trusted.add(&who)?;
    match as_json {
        true => print_json(&json!({ "trusted": who.name, "key": who.key(), "new": true })),
        false => print_lines(&format!(
            "records that `{}` signed are taken from now on\n",
            who.name
        )),
    }
    Ok(())
}

fn untrust(folder: &Path, named: &str, as_json: bool) -> Outcome {
    let mut trusted = Trusted::read(folder)?;
    let Some((name, gone)) = trusted.remove(named)? else {
        let known = trusted.all();
        let near = did_you_mean(named, known.iter().map(|who| who.name.as_str()));
        let near = near.map(|n| format!("; did you mean `{n}`?"));
        return Err(Error::Usage(format!(
            "{} trusts nobody called `{named}`{}",
            trusted.path().display(),
            near.unwrap_or_default()
        )));
    };
    match as_json {
        true => {
            print_json(&json!({ "untrusted": name, "key": gone.as_ref().map(Identity::key) }));
        }
        false => print_lines(&match gone {
            Some(_) => format!(
                "records that `{name}` signed are no longer taken, unless `trust` of a `[remote]` names them; those that were taken before stay\n"
            ),
            None => format!(
                "the line of `{name}` is gone from {}: it was no key, and trusted nobody\n",
                trusted.path().display()
            ),
        }),
    }
    Ok(())
}
