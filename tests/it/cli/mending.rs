//! What is damaged at a remote is said truly by who meets it, and right when somebody has pushed.

use super::remotes::files;
use super::sharing::{CHAIN, made, with};
use super::{Said, Space};
use crate::keep::bucket::{Fault, Server};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Another byte in its middle.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_it_lacked_and_what_was_damaged_are_told_apart() {
    let (one, remote) = made();
    let objects = files(&Path::new(&remote).join("objects"));
    let of = |text: &[u8]| -> PathBuf {
        let mut fits = objects
            .iter()
            .filter(|path| fs::read(path).unwrap() == text);
        fits.next().expect("some node made it").clone()
    };
    // Of two nodes the bytes are the same.
    let (lacked, damaged) = (of(b"v"), of(b"one v"));
    let harm = || {
        fs::remove_file(&lacked).unwrap();
        flip(&damaged);
    };
    harm();
    let said = with(&one, &remote, &["push", "--verify"]).ok().out;
    for told in [
        "0 records pushed, 4 there already",
        "the bytes of 1 record that it lacked are back\n",
        "the bytes of 2 records that were damaged there are right again\n",
    ] {
        assert!(said.contains(told), "{said}");
    }
    assert_eq!(fs::read(&damaged).unwrap(), b"one v");
    harm();
    let said = with(&one, &remote, &["push", "--verify", "--json"])
        .ok()
        .json();
    assert_eq!((&said["restored"], &said["mended"]), (&1.into(), &2.into()));
    // Without reading it is not known that bytes are others.
    harm();
    let said = with(&one, &remote, &["push"]).ok().out;
    assert!(
        said.contains("1 record that it lacked") && !said.contains("damaged"),
        "{said}"
    );
}

/// The index has all of it, and as it should be.
#[test]
fn a_damaged_record_that_the_index_has_is_found_by_who_reads_it() {
    let (one, remote) = made();
    let record = &files(&Path::new(&remote).join("actions"))[0];
    let good = fs::read(record).unwrap();
    flip(record);
    let key = record.file_stem().unwrap().to_str().unwrap();
    let told = format!("record {}: ", &key[..12]);
    let two = Space::with(CHAIN);
    let plan = with(&two, &remote, &["plan", "r.toml"]).ok();
    assert!(
        plan.out.contains("4 of 4 are hits") && plan.err.is_empty(),
        "{}",
        plan.err
    );
    let said = with(&two, &remote, &["pull", "r.toml", "--records"]).ok();
    assert!(said.out.starts_with("4 records are here"), "{}", said.out);
    let said = with(&two, &remote, &["push", "--verify"]).ok();
    assert_eq!(said.err.matches(&told).count(), 1, "{}", said.err);
    assert!(
        said.err
            .contains("whoever made it puts it right by `pipe push --verify`")
    );
    assert!(!said.out.contains("replaced"), "{}", said.out);
    // Nor does it hide that nothing lies there.
    let away = record.with_extension("away");
    fs::rename(record, &away).unwrap();
    let said = with(&two, &remote, &["push"]).ok();
    let gone = format!("{told}the index has it, and nothing lies under its name");
    assert!(said.err.contains(&gone), "{}", said.err);
    fs::rename(&away, record).unwrap();
    let said = with(&one, &remote, &["push", "--verify"]).ok();
    assert!(
        said.out.contains("1 damaged record was replaced\n"),
        "{}",
        said.out
    );
    assert_eq!(said.err, "");
    assert_eq!(fs::read(record).unwrap(), good);
}

/// Beside a record that is whole, and that the index has with it.
#[test]
fn a_signature_that_is_gone_or_damaged_is_given_again() {
    let (one, remote) = made();
    let all = files(&Path::new(&remote).join("sigs"));
    let read = || -> Vec<Vec<u8>> { all.iter().map(|path| fs::read(path).unwrap()).collect() };
    let good = read();
    fs::remove_file(&all[0]).unwrap();
    flip(&all[1]);
    with(&one, &remote, &["push", "--verify"]).ok();
    assert_eq!(read(), good);
    let plan = with(&Space::with(CHAIN), &remote, &["plan", "r.toml"]).ok();
    assert!(
        plan.out.contains("4 of 4 are hits") && plan.err.is_empty(),
        "{}",
        plan.err
    );
}

/// By whoever gives there, who need not be allowed to remove anything.
#[test]
fn a_damaged_part_of_the_index_takes_nothing_away_and_a_push_replaces_it() {
    for may_remove in [true, false] {
        let server = Server::start(Duration::ZERO);
        let one = Space::with(CHAIN);
        let as_ada = |space: &Space, args: &[&str]| {
            let mut command = space.command(args);
            command
                .env("PIPE_REMOTE", "s3://lab/one")
                .env("PIPE_CONFIG", one.path("config"))
                .envs(server.variables());
            Said::new(command.output().unwrap())
        };
        as_ada(&one, &["keys", "new", "--name", "ada"]).ok();
        as_ada(&one, &["run", "r.toml", "-q"]).ok();
        let part = server.names("/index/").remove(0);
        let stray = format!("/lab/one/index/{}.pack", "f".repeat(32));
        server.add(&part, b"half of".to_vec());
        server.add(&stray, b"nothing".to_vec());
        if !may_remove {
            server.breaks("POST", "", Fault::Refused, usize::MAX);
        }
        let two = Space::with(CHAIN);
        let told =
            "of its index is not read: its bytes are not those of its name (and 1 other like it)";
        for (verb, out) in [("plan", "4 of 4 are hits"), ("pull", "4 records are here")] {
            let said = as_ada(&two, &[verb, "r.toml"]).ok();
            assert!(said.out.contains(out), "{}", said.out);
            assert!(said.err.contains(told), "{}", said.err);
            assert!(
                said.err.contains("`pipe push` by anybody who gives there"),
                "{}",
                said.err
            );
        }
        let said = as_ada(&two, &["push"]).ok();
        assert!(said.err.starts_with("warning: "), "{}", said.err);
        for told in [
            "its index lacked 4 records, and has them now\n",
            "2 damaged parts of its index were replaced\n",
        ] {
            assert!(said.out.contains(told), "{}", said.out);
        }
        assert_eq!(server.read(&stray).as_deref(), (!may_remove).then_some(""));
        let three = Space::with(CHAIN);
        let plan = as_ada(&three, &["plan", "r.toml"]).ok();
        assert!(
            plan.out.contains("4 of 4 are hits") && plan.err.is_empty(),
            "{}",
            plan.err
        );
        let said = as_ada(&two, &["push", "--json"]).ok().json();
        assert_eq!((&said["indexed"], &said["parts"]), (&0.into(), &0.into()));
    }
}
