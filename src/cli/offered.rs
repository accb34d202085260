//! What a shell completes of the program's own names: kinds and their parameters, recipes that come with it, words that are handed
//! over; and the scripts that make a shell ask. Knows no study, no store and no arguments.

use super::registry::registry;
use anyhow::ensure;
use base::claim::SHIPPED;
use base::params::ParamSpec;
use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};
use clap_complete::env::Shells;
use data::schema;
use engine::kind::Kind;
use recipe::shipped;
use std::ffi::OsStr;

/// The variable in which a shell says that it asks, and which shell it is.
pub const VARIABLE: &str = "PIPE_COMPLETE";

pub fn offered(begun: &OsStr, all: Vec<String>) -> Vec<CompletionCandidate> {
    let begun = begun.to_string_lossy();
    let fit = all.into_iter().filter(|name| name.starts_with(&*begun));
    fit.map(CompletionCandidate::new).collect()
}

/// Files, and the recipes that come with the program.
pub fn recipes() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        let mut found = PathCompleter::file().complete(begun);
        // Who has begun nothing yet is to see the files.
        if !begun.is_empty() {
            let shipped = shipped::names().map(|name| format!("{SHIPPED}{name}"));
            found.extend(offered(begun, shipped.collect()));
        }
        found
    })
}

/// By their names alone.
pub fn shipped_recipes() -> ArgValueCompleter {
    let names = || shipped::names().map(String::from).collect();
    ArgValueCompleter::new(move |begun: &OsStr| offered(begun, names()))
}

/// Kinds, and behind a dot the parameters of the kind; of `dataset` the sets, too.
pub fn kinds() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| offered(begun, kind_names(&begun.to_string_lossy())))
}

fn kind_names(begun: &str) -> Vec<String> {
    let of_kind = begun
        .split_once('.')
        .and_then(|(kind, _)| registry().get(kind));
    let Some(kind) = of_kind else {
        return registry().names().map(String::from).collect();
    };
    let sets = schema::NAMES.iter().filter(|_| kind.name == "dataset");
    let names = sets.copied().chain(parameters(kind));
    names.map(|name| format!("{}.{name}", kind.name)).collect()
}

/// The parameters and tables of a kind, each once; then what the tables hold.
pub fn parameters(kind: &Kind) -> Vec<&'static str> {
    let specs = (kind.params)().into_iter().chain(kind.own_execution());
    let specs: Vec<ParamSpec> = specs.collect();
    let mut names: Vec<&str> = vec![];
    let inner = specs.iter().filter(|s| s.block.is_some());
    for name in specs
        .iter()
        .map(ParamSpec::key)
        .chain(inner.map(|s| s.name))
    {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The script that makes a shell ask.
pub fn script(shell: &str) -> anyhow::Result<Option<String>> {
    let shells = Shells::builtins();
    let Some(shell) = shells.completer(shell) else {
        return Ok(None);
    };
    let mut script = vec![];
    shell.write_registration(VARIABLE, "pipe", "pipe", "pipe", &mut script)?;
    let script = String::from_utf8_lossy(&script).into_owned();
    Ok(Some(match shell.name() {
        "bash" => with_colons(&script)?,
        _ => script,
    }))
}

/// To bash `pipe:tars` is three words, unless COMP_WORDBREAKS says otherwise, and of what is offered it wants what follows the colon.
fn with_colons(script: &str) -> anyhow::Result<String> {
    let changes = [
        (
            r#"    local words=("${COMP_WORDS[@]}")
    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
        words[COMP_CWORD]="$2"
    fi
"#,
            r#"    local words=() glued="" before="" i word
    for ((i = 0; i < ${#COMP_WORDS[@]}; i++)); do
        word="${COMP_WORDS[i]}"
        if [[ $i -eq $COMP_CWORD && "${BASH_VERSINFO[0]}" -ge 4 && "$word" != *: ]]; then
            word="$2"
        fi
        if [[ $i -gt 0 && "$COMP_WORDBREAKS" == *:* && ( "${COMP_WORDS[i]}" == :* || "$glued" == yes ) ]]; then
            words[${#words[@]}-1]+="$word"
        else
            words+=("$word")
        fi
        glued=""
        [[ "${COMP_WORDS[i]}" == *: ]] && glued=yes
        if [[ $i -eq $COMP_CWORD ]]; then
            _CLAP_COMPLETE_INDEX=$((${#words[@]} - 1))
            before="${words[_CLAP_COMPLETE_INDEX]}"
        fi
    done
    [[ "$COMP_WORDBREAKS" == *:* && "$before" == *:* ]] && before="${before%"${before##*:}"}" || before=""
"#,
        ),
        (
            r#"    if [[ $? != 0 ]]; then
        unset COMPREPLY
"#,
            r#"    local failed=$?
    [[ -n "$before" ]] && COMPREPLY=("${COMPREPLY[@]#"$before"}")
    if [[ $failed != 0 ]]; then
        unset COMPREPLY
"#,
        ),
    ];
    let mut out = script.to_string();
    for (was, is) in changes {
        ensure!(
            out.contains(was),
            "the script for bash is another one than is known"
        );
        out = out.replace(was, is);
    }
    Ok(out)
}
