//! Where a remote is named, what is said when there is none, what readers hear of it, and what it is given by whoever pushes.

use super::asking::Endpoint;
use super::sharing::{CHAIN, folder, made, with, words};
use super::{Said, Space};
use crate::keep::bucket::{Fault, Server};
use pipe::engine::store::Store;
use pipe::engine::system::clock;
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

const DAY: u64 = 86_400;

/// Somebody with settings of his own.
fn stranger(space: &Space, remote: &str, args: &[&str]) -> Said {
    let mut command = space.command(args);
    command.env("PIPE_REMOTE", remote);
    Said::new(command.output().unwrap())
}

pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

#[test]
fn the_first_that_names_a_remote_counts() {
    let (one, remote) = made();
    let space = Space::with(CHAIN);
    let key = with(&one, &remote, &["keys", "show"]).ok().out;
    space.pipe(&["keys", "trust", key.trim()]).ok();
    let hits = |args: &[&str]| {
        let plan = space.pipe(&[&["plan", "r.toml"], args].concat()).ok();
        plan.out.contains("4 of 4 are hits")
    };
    let table = |url: &str| format!("[remote]\nurl = \"{url}\"\n");
    assert!(!hits(&[]));
    // Of the user, of the store, of the profile, of the environment: the later counts more.
    space.file("config/settings.toml", &table(&remote));
    assert!(hits(&[]));
    Store::open(&space.path("cache")).unwrap();
    space.file("cache/settings.toml", &table("none"));
    assert!(!hits(&[]));
    let profile = format!(
        "executor = \"ray\"\naddress = \"http://127.0.0.1:1\"\n{}",
        table(&remote)
    );
    space.file("lab.toml", &profile);
    assert!(hits(&["--on", "./lab.toml"]));
    let mut command = space.command(&["plan", "r.toml", "--on", "./lab.toml"]);
    let said = Said::new(command.env("PIPE_REMOTE", "none").output().unwrap()).ok();
    assert!(said.out.contains("0 of 4 are hits"), "{}", said.out);
    let pulled = space.pipe(&["pull", "r.toml", "--on", "./lab.toml"]).ok();
    assert!(
        pulled.out.starts_with("4 records are here"),
        "{}",
        pulled.out
    );
}

#[test]
fn profiles_show_their_remote_and_what_is_wrong_with_it() {
    let space = Space::with(CHAIN);
    let ray = "executor = \"ray\"\naddress = \"http://127.0.0.1:1\"\n";
    space.file(
        "profiles/lab.toml",
        &format!("{ray}[remote]\nurl = \"s3://lab/pipe\"\n"),
    );
    space.file("profiles/old.toml", ray);
    space.file(
        "profiles/wrong.toml",
        &format!("{ray}[remote]\nurl = \"s4://lab/pipe\"\n"),
    );
    let profiles = |args: &[&str]| {
        let mut command = space.command(&[&["profiles"], args].concat());
        Said::new(
            command
                .env("PIPE_PROFILES", space.path("profiles"))
                .output()
                .unwrap(),
        )
    };
    let all = profiles(&["--json"]).ok().json();
    let of = |n: usize, member: &str| all["profiles"][n][member].clone();
    assert_eq!(of(0, "remote"), "s3://lab/pipe");
    assert_eq!(
        (of(1, "remote"), of(1, "problem")),
        (Value::Null, Value::Null)
    );
    let problem = of(2, "problem");
    assert!(
        problem.as_str().unwrap().contains("did you mean `s3://`?"),
        "{problem}"
    );
    let shown = profiles(&[]).ok().out;
    assert!(shown.contains("s3://lab/pipe"), "{shown}");
    let checked = profiles(&["--check", "wrong"]).ends(2);
    let caret = "wrong.toml:4:7\n  |\n4 | url = \"s4://lab/pipe\"\n  |       ^^^^^^^^^^^^^^^";
    assert!(checked.err.contains(caret), "{}", checked.err);
}

#[test]
fn what_is_wrong_with_a_remote_is_shown_where_it_stands() {
    let space = Space::with(CHAIN);
    let secret = "ada=ed25519-secret:MFECAQEwBQYDK2VwBCIEIHFzb21ldGhpbmc=";
    for (text, told) in [
        ("[remote]\nurl = 3\n", "settings.toml:2:7"),
        ("[remote]\nurl = \"ftp://lab/x\"\n", "settings.toml:2:7"),
        ("[remote]\ntrust = [\n  \"bob\",\n]\n", "settings.toml:3:3"),
        ("[remote]\ntrust = \"everybody\"\n", "settings.toml:2:9"),
        ("[remote]\nread_only = \"yes\"\n", "settings.toml:2:13"),
        (
            "[remote]\nurl = \"s3://who:secret@lab/x\"\n",
            "no name and no password",
        ),
        (
            &format!("[remote]\ntrust = [\"{secret}\"]\n"),
            "settings.toml:2:10",
        ),
        ("[remot]\nurl = \"x\"\n", "did you mean `remote`?"),
        ("[remote\n", "settings.toml:1:"),
        ("remote = 3\n", "`remote` is a table"),
    ] {
        space.file("config/settings.toml", text);
        let said = space.pipe(&["plan", "r.toml"]).ends(2);
        assert!(said.err.contains(told), "{text}: {}", said.err);
        assert!(said.err.contains('^'), "{text}: {}", said.err);
        assert!(!said.err.contains("who:secret"), "{}", said.err);
        assert!(!said.err.contains("MFECAQ"), "{}", said.err);
    }
    // In the store's own settings other entries are its own.
    Store::open(&space.path("cache")).unwrap();
    fs::remove_file(space.path("config/settings.toml")).unwrap();
    space.file("cache/settings.toml", "cap = \"1GB\"\n[remote]\nurl = 3\n");
    let said = space.pipe(&["plan", "r.toml"]).ends(2);
    assert!(said.err.contains("cache/settings.toml:3:7"), "{}", said.err);
}

/// Who may write to one place is known of that one.
#[test]
fn to_believe_all_is_said_of_one_address() {
    let (_one, remote) = made();
    let space = Space::with(CHAIN);
    let plan = || stranger(&space, &remote, &["plan", "r.toml"]).ok().out;
    Store::open(&space.path("cache")).unwrap();
    space.file("cache/settings.toml", "[remote]\ntrust = \"all\"\n");
    assert!(plan().contains("4 of 4 are hits"));
    let table = |url: &str| format!("[remote]\nurl = \"{url}\"\ntrust = \"all\"\n");
    space.file("cache/settings.toml", &table(&remote));
    assert!(plan().contains("4 of 4 are hits"));
    space.file("cache/settings.toml", &table("/somewhere/else"));
    assert!(plan().contains("0 of 4 are hits"));
}

#[test]
fn what_a_machine_lacks_is_another_error_than_what_somebody_wrote() {
    let space = Space::with(CHAIN);
    space.pipe(&["run", "r.toml", "-q"]).ok();
    let remote = space.path("remote");
    fs::create_dir(&remote).unwrap();
    // A folder that is not there comes first, and both are told at once.
    for verb in [&["push"][..], &["push", "--calls"]] {
        let both = stranger(&space, "/nowhere", verb).ends(3).err;
        let at = |what: &str| both.find(what).unwrap_or_else(|| panic!("{what}: {both}"));
        assert!(at("there is no folder /nowhere") < at("`pipe keys new` makes one"));
    }
    let verbs: [&[&str]; 4] = [
        &["push"],
        &["push", "--calls"],
        &["pull", "r.toml"],
        &["gc", "--remote"],
    ];
    for verb in &verbs[..2] {
        let keyless = stranger(&space, remote.to_str().unwrap(), verb).ends(3);
        assert!(
            keyless.err.contains("`pipe keys new` makes one"),
            "{}",
            keyless.err
        );
    }
    assert!(
        space
            .pipe(&["keys", "show"])
            .ends(3)
            .err
            .contains("`pipe keys new` makes one")
    );
    space.pipe(&["keys", "new", "--name", "ada"]).ok();
    let store = space.path("cache/settings.toml");
    for verb in verbs {
        let none = space.pipe(verb).ends(3).err;
        assert!(
            none.contains("this store has no remote: set PIPE_REMOTE"),
            "{none}"
        );
        let said = stranger(&space, "none", verb).ends(3).err;
        assert!(said.contains("PIPE_REMOTE is `none`"), "{said}");
        space.file("cache/settings.toml", "[remote]\nurl = \"none\"\n");
        let said = space.pipe(verb).ends(3).err;
        assert!(said.contains("cache/settings.toml is \"none\""), "{said}");
        fs::remove_file(&store).unwrap();
        let gone = stranger(&space, "/nowhere", verb).ends(3);
        assert!(gone.err.contains("there is no folder"), "{}", gone.err);
        stranger(&space, "s4://lab", verb).ends(2);
    }
    assert!(files(&remote).is_empty());
}

#[test]
fn who_reads_hears_what_was_refused_once_and_not_among_the_results() {
    let (_one, remote) = made();
    let told = "whom nobody here trusts";
    // Two nodes have a key, the others hang on what those give.
    for (verb, code, section) in [
        (&["show", "r.toml"][..], 0, Some("show")),
        (&["table", "r.toml"], 0, Some("table")),
        (&["claims", "r.toml"], 0, Some("claims")),
        (&["diff", "r.toml", "r.toml"], 0, Some("diff")),
        (&["why", "r.toml", "w"], 0, Some("why")),
        (&["report", "r.toml"], 2, None),
        (&["export", "r.toml", "w", "out"], 2, None),
    ] {
        let space = Space::with(CHAIN);
        let said = stranger(&space, &remote, verb).ends(code);
        let times = if verb.contains(&"w") { 1 } else { 2 };
        assert_eq!(
            said.err.matches(told).count(),
            times,
            "{verb:?}: {}",
            said.err
        );
        assert!(!said.out.contains(told), "{verb:?}: {}", said.out);
        if let Some(section) = section {
            let said = stranger(&space, &remote, &[verb, &["--json"]].concat()).ends(code);
            let answer = said.json();
            super::json::hold(&super::json::documented()[section], &answer, section);
            let remarks = answer["remarks"].as_array().unwrap();
            assert_eq!(remarks.len(), times, "{verb:?}");
            assert!(
                remarks[0].as_str().unwrap().starts_with("`w`: record "),
                "{answer}"
            );
            assert_eq!(said.err.matches(told).count(), times, "{}", said.err);
        }
    }
    let space = Space::with(CHAIN);
    space.pipe(&["run", "r.toml", "-q"]).ok();
    let slow = stranger(&space, "/nowhere/at/all", &["table", "r.toml"]).ok();
    assert_eq!(
        slow.err.matches("there is no folder").count(),
        0,
        "nothing was asked of it"
    );
    let slow = stranger(
        &space,
        "/nowhere/at/all",
        &["show", "r.toml", "--set", "w.text=two"],
    )
    .ok();
    assert_eq!(
        slow.err.matches("there is no folder").count(),
        1,
        "{}",
        slow.err
    );
    let fine = stranger(&space, "none", &["show", "r.toml", "--json"]).ok();
    assert!(
        fine.json().get("remarks").is_none() && fine.err.is_empty(),
        "{}",
        fine.err
    );
}

#[test]
fn push_brings_back_what_the_remote_has_lost() {
    let (one, remote) = made();
    let objects = || files(&Path::new(&remote).join("objects"));
    let all = objects();
    let lose = || all.iter().for_each(|path| fs::remove_file(path).unwrap());
    lose();
    let said = with(&one, &remote, &["push", "--json"]).ok().json();
    assert_eq!((&said["pushed"], &said["there"]), (&0.into(), &4.into()));
    assert_eq!(said["restored"], 4);
    assert_eq!(objects(), all);
    let said = with(&one, &remote, &["push"]).ok();
    assert!(
        said.out.starts_with("0 records pushed, 4 there already"),
        "{}",
        said.out
    );
    assert!(!said.out.contains("lacked"), "{}", said.out);
    // So does somebody who has them from there, and signs nothing that he did not make.
    let two = Space::with(CHAIN);
    let as_bob = |args: &[&str]| {
        let mut command = two.command(args);
        Said::new(command.env("PIPE_REMOTE", &remote).output().unwrap())
    };
    as_bob(&["keys", "new", "--name", "bob"]).ok();
    let ada = with(&one, &remote, &["keys", "show"]).ok().out;
    as_bob(&["keys", "trust", ada.trim()]).ok();
    as_bob(&["pull", "r.toml"]).ok();
    let signatures = files(&Path::new(&remote).join("sigs"));
    lose();
    let said = as_bob(&["push"]).ok();
    let told = "the bytes of 4 records that it lacked are back";
    assert!(said.out.contains(told), "{}", said.out);
    assert_eq!(objects(), all);
    assert_eq!(files(&Path::new(&remote).join("sigs")), signatures);
    // A torn one is no better than none.
    let one_of = |path: &&PathBuf| fs::read(path).unwrap() == b"one";
    let torn = all.iter().find(one_of).expect("the text of `w`");
    fs::remove_file(torn).unwrap();
    fs::write(torn, "o").unwrap();
    let said = as_bob(&["push", "--json"]).ok().json();
    assert_eq!((&said["restored"], &said["mended"]), (&0.into(), &1.into()));
    assert_eq!(fs::read(torn).unwrap(), b"one");
    with(&one, &remote, &["verify", "--all"]).ok();
}

/// What was given is not lacking for that.
#[test]
fn a_remote_that_does_not_say_what_it_has_is_told_and_nothing_else_is_missed() {
    let space = Space::with(CHAIN);
    space.pipe(&["keys", "new", "--name", "ada"]).ok();
    let server = Server::start(Duration::ZERO);
    let ask = |args: &[&str]| {
        let mut command = space.command(args);
        command
            .env("PIPE_REMOTE", "s3://lab/one")
            .envs(server.variables());
        Said::new(command.output().unwrap())
    };
    ask(&["run", "r.toml", "-q"]).ok();
    ask(&["push"]).ok();
    // Of one blob it does not say so, and has lost another.
    let blob = |text: &str| blake3::hash(text.as_bytes()).to_hex().to_string();
    server.breaks("HEAD", &blob("one"), Fault::Refused, usize::MAX);
    server.forget(&blob("v"));
    let push = |restored: u64, blobs: &str| {
        let said = ask(&["push", "--json"]).ends(3);
        let told = "not all that lies at the remote was looked at; the same command goes on";
        assert!(said.err.contains(told), "{}", said.err);
        let said = said.json();
        assert_eq!((&said["there"], &said["ok"]), (&4.into(), &false.into()));
        assert_eq!(said["restored"], restored);
        let failed = said["failed"].as_array().unwrap();
        assert_eq!(failed.len(), 1, "{said}");
        let told = failed[0].as_str().unwrap();
        assert!(told.contains(blobs), "{told}");
        assert!(
            told.ends_with("was not told: this identity may not read it"),
            "{told}"
        );
    };
    push(1, &format!("whether blob {} is there", &blob("one")[..12]));
    server.breaks("HEAD", "/objects/", Fault::Refused, usize::MAX);
    push(0, " blobs are there");
}

/// Of as many bytes as there should be, so that only who reads them sees it.
#[test]
fn push_puts_right_what_it_finds_wrong_when_it_looks() {
    let (one, remote) = made();
    let below = |folder: &str| files(&Path::new(&remote).join(folder));
    let text = |path: &PathBuf| fs::read(path).unwrap();
    let all: Vec<PathBuf> = [below("objects"), below("actions")].concat();
    let good: Vec<Vec<u8>> = all.iter().map(text).collect();
    for path in &all {
        let mut bytes = text(path);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::remove_file(path).unwrap();
        fs::write(path, bytes).unwrap();
    }
    with(&one, &remote, &["push"]).ok();
    assert_ne!(all.iter().map(text).collect::<Vec<_>>(), good);
    let said = with(&one, &remote, &["push", "--verify", "--json"]).ok();
    super::json::hold(&super::json::documented()["push"], &said.json(), "push");
    assert_eq!(all.iter().map(text).collect::<Vec<_>>(), good);
    let said = said.json();
    assert_eq!(
        (&said["pushed"], &said["wrong"]),
        (&4.into(), &Value::Array(vec![]))
    );
    // A size that is wrong is seen without that.
    for path in &all {
        let longer = [text(path), b"!".to_vec()].concat();
        fs::remove_file(path).unwrap();
        fs::write(path, longer).unwrap();
    }
    with(&one, &remote, &["push"]).ok();
    assert_eq!(all.iter().map(text).collect::<Vec<_>>(), good);
}

#[test]
fn a_damaged_record_is_named_by_whoever_asks_and_nothing_is_made_of_it() {
    let (one, remote) = made();
    let key = one.pipe(&["why", "r.toml", "w", "--json"]).ok().json()["record"]["key"].clone();
    let key = key.as_str().unwrap();
    let record = Path::new(&remote).join(format!("actions/{}/{key}.json", &key[..2]));
    let good = fs::read_to_string(&record).unwrap();
    fs::write(&record, good.replace("one", "two")).unwrap();
    fs::remove_dir_all(Path::new(&remote).join("index")).unwrap();
    let told = format!("record {} of {remote}", &key[..12]);
    let ask = |space: &Space, args: &[&str]| {
        let mut command = space.command(args);
        command.env("PIPE_REMOTE", &remote);
        command.env("PIPE_CONFIG", Path::new(&remote).with_file_name("config"));
        Said::new(command.output().unwrap())
    };
    for verb in [&["plan", "r.toml"][..], &["why", "r.toml", "w"]] {
        let said = ask(&Space::with(CHAIN), verb).ok();
        assert_eq!(said.err.matches(&told).count(), 1, "{verb:?}: {}", said.err);
        let said = ask(&Space::with(CHAIN), &[verb, &["--json"]].concat()).ok();
        assert!(said.out.contains(&told), "{verb:?}: {}", said.out);
    }
    let said = ask(&Space::with(CHAIN), &["pull", "r.toml"]).ends(3);
    assert_eq!(said.err.matches(&told).count(), 1, "{}", said.err);
    assert!(said.out.starts_with("1 record is here"), "{}", said.out);
    let two = Space::with(CHAIN);
    let said = ask(&two, &["pull", "r.toml", "--json"]).ends(3).json();
    assert_eq!((&said["ok"], &said["records"]), (&false.into(), &1.into()));
    assert!(
        said["refused"][0].as_str().unwrap().contains(&told),
        "{said}"
    );
    assert_eq!(said["missing"][0], "w");
    // Who does not have it names it as well, and who has it puts it right.
    let wrong = ask(&two, &["push", "--json"]).ok().json();
    assert!(
        wrong["wrong"][0].as_str().unwrap().contains(&key[..12]),
        "{wrong}"
    );
    assert_eq!(ask(&one, &["push", "--json"]).ok().json()["pushed"], 1);
    assert_eq!(fs::read_to_string(&record).unwrap(), good);
    assert_eq!(
        ask(&two, &["pull", "r.toml", "--json"]).ok().json()["records"],
        4
    );
}

#[test]
fn an_index_that_is_gone_is_told_in_one_line_and_made_again() {
    let (one, remote) = made();
    let index = Path::new(&remote).join("index");
    fs::remove_dir_all(&index).unwrap();
    for verb in [
        &["plan", "r.toml"][..],
        &["show", "r.toml"],
        &["claims", "r.toml"],
    ] {
        let space = Space::with(CHAIN);
        let said = with(&space, &remote, verb).ok();
        assert_eq!(
            said.err.matches("the index of ").count(),
            1,
            "{verb:?}: {}",
            said.err
        );
        assert!(said.err.contains("`pipe push` by anybody"), "{}", said.err);
        assert_eq!(said.err.lines().count(), 1, "{}", said.err);
    }
    // The machine that made nothing of it can do that.
    let two = Space::with("[node.x]\nkind = \"toy-write\"\ntext = \"x\"\n");
    two.pipe(&["run", "r.toml", "-q"]).ok();
    let said = with(&two, &remote, &["push"]).ok();
    assert!(
        said.out
            .contains("its index lacked 4 records, and has them now"),
        "{}",
        said.out
    );
    let three = Space::with(CHAIN);
    let said = with(&three, &remote, &["plan", "r.toml"]).ok();
    assert!(said.out.contains("4 of 4 are hits"), "{}", said.out);
    assert_eq!(said.err, "");
    assert_eq!(
        with(&one, &remote, &["push", "--json"]).ok().json()["indexed"],
        0
    );
}

/// A blob of more than a MiB is looked for before it is sent, and believed while it is younger than a week: by the clock of who keeps it.
#[test]
fn how_old_a_blob_is_says_the_clock_of_the_remote() {
    let text = "x".repeat(600_000);
    let space = Space::with(&format!(
        "[node.w]\nkind = \"toy-write\"\ntext = \"{text}\"\n[node.j]\nkind = \"toy-join\"\nin = {{ a = \"w\", b = \"w\" }}\n"
    ));
    let remote = folder(&space);
    with(&space, &remote, &["run", "r.toml", "-q"]).ok();
    let large = files(&Path::new(&remote).join("objects"));
    let large = large
        .iter()
        .find(|path| fs::metadata(path).unwrap().len() > 1 << 20);
    let large = large.expect("the join is twice the text");
    for (days, shift, again) in [(6, 3, false), (6, -3, false), (8, -3, true), (8, 3, true)] {
        for folder in ["actions", "sigs", "index"] {
            fs::remove_dir_all(Path::new(&remote).join(folder)).unwrap();
        }
        let then =
            UNIX_EPOCH + Duration::from_millis(clock::now_ms()) - Duration::from_secs(days * DAY);
        File::open(large).unwrap().set_modified(then).unwrap();
        let mut command = space.command(&["push", "--json"]);
        command.env("PIPE_REMOTE", &remote);
        command.env("PIPE_CLOCK_SHIFT", (shift * DAY as i64).to_string());
        let said = Said::new(command.output().unwrap()).ok().json();
        assert_eq!(said["pushed"], 2);
        let written = fs::metadata(large).unwrap().modified().unwrap();
        assert_eq!(written != then, again, "{days} days, {shift}");
    }
    let left = fs::read_dir(&remote).unwrap();
    let left = left.map(|e| e.unwrap().file_name().into_string().unwrap());
    assert_eq!(
        left.filter(|name| name.starts_with('.')).count(),
        0,
        "no probe stays"
    );
}

#[test]
fn answers_that_somebody_shared_are_paid_for_once() {
    let endpoint = Endpoint::new(0);
    let (ada, bob) = (
        Space::with(&endpoint.recipe()),
        Space::with(&endpoint.recipe()),
    );
    let remote = folder(&ada);
    with(&ada, &remote, &["run", "r.toml", "-q"]).ok();
    let paid = endpoint.requests();
    assert!(paid > 0);
    assert!(
        !Path::new(&remote).join("calls").exists(),
        "nobody asked for it"
    );
    let answers = ada.pipe(&["calls", "--json"]).ok().json()["services"][0]["answers"].clone();
    let answers = answers.as_u64().unwrap();
    let said = with(&ada, &remote, &["push", "--calls"]).ok();
    assert_eq!(said.out, format!("{answers} answers pushed\n"));
    let said = with(&ada, &remote, &["push", "--calls", "--json"])
        .ok()
        .json();
    assert_eq!(said["answers"], 0, "they are there");

    let said = with(&bob, &remote, &["pull", "r.toml", "--calls"]).ok();
    assert!(
        said.out
            .contains(&format!("{answers} answers of services came")),
        "{}",
        said.out
    );
    let alone = with(
        &bob,
        "none",
        &["run", "r.toml", "--fresh", "asker", "--json"],
    )
    .ok();
    let words = words(&alone);
    assert_eq!(words[1], "done", "{words:?}");
    assert_eq!(endpoint.requests(), paid, "nothing is asked again");
    let said = with(&bob, &remote, &["pull", "r.toml", "--calls", "--json"])
        .ok()
        .json();
    assert_eq!(said["answers"], 0, "they are here");
    // What came is not given again either.
    let said = with(&bob, &remote, &["push", "--calls", "--json"])
        .ok()
        .json();
    assert_eq!(said["answers"], 0);
}

#[test]
fn answers_of_a_stranger_and_changed_ones_are_left_alone() {
    let endpoint = Endpoint::new(0);
    let ada = Space::with(&endpoint.recipe());
    let remote = folder(&ada);
    with(&ada, &remote, &["run", "r.toml", "-q"]).ok();
    with(&ada, &remote, &["push", "--calls"]).ok();
    let calls = files(&Path::new(&remote).join("calls"));
    let segment = calls
        .iter()
        .find(|path| path.extension().is_some_and(|e| e == "calls"));
    let segment = segment.unwrap();
    let came = |said: &Said| said.json()["answers"].as_u64().unwrap();
    let pull = ["pull", "r.toml", "--calls", "--json"];
    let eve = Space::with(&endpoint.recipe());
    let said = stranger(&eve, &remote, &pull).ends(3);
    assert_eq!(came(&said), 0);
    assert!(
        said.err.contains("error: answers ") && said.err.contains("whom nobody here trusts"),
        "{}",
        said.err
    );
    let mut bytes = fs::read(segment).unwrap();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    fs::write(segment, bytes).unwrap();
    let bob = Space::with(&endpoint.recipe());
    let said = with(&bob, &remote, &pull).ends(3);
    assert_eq!(came(&said), 0);
    assert!(
        said.err
            .contains("its bytes are not those of its name; they are left alone"),
        "{}",
        said.err
    );
    assert!(files(&bob.path("cache/calls")).is_empty());
    // Whoever gives them once more puts that right.
    let memos = files(&ada.path("cache/memo/remote")).into_iter();
    let memos = memos.filter(|path| path.extension().is_some_and(|e| e == "calls"));
    memos.for_each(|path| fs::remove_file(path).unwrap());
    with(&ada, &remote, &["push", "--calls"]).ok();
    assert!(came(&with(&bob, &remote, &pull).ok()) > 0);
}

/// A pipe that nobody writes to stands for a folder whose server is gone: whoever opens it waits.
#[test]
fn a_folder_whose_server_hangs_holds_nobody_up() {
    let space = Space::with(CHAIN);
    let remote = folder(&space);
    let made = std::process::Command::new("mkfifo")
        .arg(Path::new(&remote).join("format"))
        .status();
    assert!(made.unwrap().success());
    let began = Instant::now();
    let said = with(&space, &remote, &["run", "r.toml"]).ok();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(12), "{took:?}");
    assert_eq!(
        said.err.matches("does not answer").count(),
        1,
        "{}",
        said.err
    );
    let began = Instant::now();
    let plan = with(&space, &remote, &["plan", "r.toml", "--set", "w.text=two"]).ok();
    assert!(began.elapsed() < Duration::from_secs(8));
    assert_eq!(
        plan.err.matches("does not answer").count(),
        1,
        "{}",
        plan.err
    );
}
