//! What the columns of public sets mean: a file a set, with one table. A schema says where a set lies, under which names its columns
//! go about, and makes a prompt, a conversation and a pair of a record as far as it has them. It opens no file.

mod advbench;
mod aegis;
mod do_not_answer;
mod harmbench;
mod harmbench_cases;
mod jailbreakbench;
mod mt_bench;
mod or_bench;
mod rainbow;
mod safeedit;
mod self_instruct;
mod sorry_bench;
mod strongreject;
mod tars_rl;
mod types;
mod ultrafeedback;
mod wildchat;
mod wildjailbreak;
mod xstest;

pub use types::{Chosen, Column, Item, NO_PROMPT, Row, SAME_ID, Schema, Survey};

/// Every schema, in the order of their names.
pub const ALL: &[&Schema] = &[
    &advbench::SCHEMA,
    &aegis::SCHEMA,
    &do_not_answer::SCHEMA,
    &harmbench::SCHEMA,
    &harmbench_cases::SCHEMA,
    &jailbreakbench::SCHEMA,
    &mt_bench::SCHEMA,
    &or_bench::SCHEMA,
    &rainbow::SCHEMA,
    &safeedit::SCHEMA,
    &self_instruct::SCHEMA,
    &sorry_bench::SCHEMA,
    &strongreject::SCHEMA,
    &tars_rl::SCHEMA,
    &ultrafeedback::SCHEMA,
    &wildchat::SCHEMA,
    &wildjailbreak::SCHEMA,
    &xstest::SCHEMA,
];

/// Their names.
pub const NAMES: [&str; ALL.len()] = {
    let mut names = [""; ALL.len()];
    let mut at = 0;
    while at < ALL.len() {
        names[at] = ALL[at].name;
        at += 1;
    }
    names
};

pub fn find(name: &str) -> Option<&'static Schema> {
    ALL.iter().copied().find(|schema| schema.name == name)
}
