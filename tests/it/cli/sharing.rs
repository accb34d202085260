//! One cache for several machines, from the command line: a folder that stores share.

use super::{Said, Space};
use std::path::Path;
use std::time::{Duration, Instant};

pub(super) const CHAIN: &str = "name = \"chain\"\n[node.w]\nkind = \"toy-write\"\ntext = \"one\"\n\
                     [node.v]\nkind = \"toy-write\"\ntext = \"v\"\n\
                     [node.j]\nkind = \"toy-join\"\nin = { a = \"w\", b = \"v\" }\n\
                     [node.k]\nkind = \"toy-join\"\nin = { a = \"j\" }\n";

pub(super) fn folder(space: &Space) -> String {
    let folder = space.path("remote");
    std::fs::create_dir_all(&folder).unwrap();
    space.pipe(&["keys", "new", "--name", "ada"]).ok();
    folder.to_str().unwrap().to_string()
}

/// As the user who has a key beside the folder, on whatever machine.
pub(super) fn with(space: &Space, remote: &str, args: &[&str]) -> Said {
    let mut command = space.command(args);
    command.env("PIPE_REMOTE", remote);
    command.env("PIPE_CONFIG", Path::new(remote).with_file_name("config"));
    Said::new(command.output().unwrap())
}

pub(super) fn words(said: &Said) -> Vec<String> {
    said.states().into_iter().map(|(_, word)| word).collect()
}

/// One who has run the chain, and the remote that has it.
pub(super) fn made() -> (Space, String) {
    let space = Space::with(CHAIN);
    let remote = folder(&space);
    let said = with(&space, &remote, &["run", "r.toml", "--json"]).ok();
    assert_eq!(words(&said), ["done"; 4]);
    (space, remote)
}

#[test]
fn a_run_gives_what_it_made_and_the_next_machine_makes_nothing() {
    let (one, remote) = made();
    let there = |name: &str| Path::new(&remote).join(name).exists();
    assert!(
        ["format", "objects", "actions", "index"]
            .iter()
            .all(|n| there(n))
    );
    let two = Space::with(CHAIN);
    let plan = with(&two, &remote, &["plan", "r.toml"]).ok();
    assert!(plan.out.contains("4 of 4 are hits"), "{}", plan.out);
    assert!(!two.path("cache").exists(), "a plan makes nothing");
    let said = with(&two, &remote, &["run", "r.toml", "--json"]).ok();
    assert_eq!(words(&said), ["hit"; 4]);
    let why = with(&two, &remote, &["why", "r.toml", "k"]).ok().out;
    assert!(why.contains(&format!("found at {remote}")), "{why}");
    let shown = ["show", "r.toml", "k", "--provenance"];
    let shown = with(&two, &remote, &shown).ok().out;
    assert!(shown.contains(&format!("found at     {remote}")), "{shown}");
    assert!(shown.contains("signed by    ada"), "{shown}");
    let own = one.pipe(&["show", "r.toml", "k", "--provenance"]).ok().out;
    assert!(!own.contains("found at"), "{own}");
    two.pipe(&["verify", "--all"]).ok();
}

#[test]
fn who_reads_brings_what_is_read_and_a_store_for_it() {
    let (one, remote) = made();
    let two = Space::with(CHAIN);
    let said = with(&two, &remote, &["export", "r.toml", "k", "out"]).ok();
    assert!(said.out.contains("text.txt"), "{}", said.out);
    let text = std::fs::read_to_string(two.path("out/text.txt")).unwrap();
    one.pipe(&["export", "r.toml", "k", "out"]).ok();
    assert_eq!(
        text,
        std::fs::read_to_string(one.path("out/text.txt")).unwrap()
    );
    // Without a remote there is nothing to read, and it says so.
    let three = Space::with(CHAIN);
    let said = three.pipe(&["export", "r.toml", "k", "out"]).ends(3);
    assert!(said.err.contains("there is no store"), "{}", said.err);
}

#[test]
fn push_sends_what_was_made_before_and_pull_brings_everything() {
    let one = Space::with(CHAIN);
    let remote = folder(&one);
    one.pipe(&["run", "r.toml", "-q"]).ok();
    let said = one.pipe(&["push"]).ends(3);
    assert!(said.err.contains("set PIPE_REMOTE"), "{}", said.err);
    let said = with(&one, &remote, &["push", "--json"]).ok().json();
    assert_eq!((&said["pushed"], &said["there"]), (&4.into(), &0.into()));
    let said = with(&one, &remote, &["push", "r.toml"]).ok();
    assert!(
        said.out.starts_with("0 records pushed, 4 there already"),
        "{}",
        said.out
    );
    let two = Space::with(CHAIN);
    let said = with(&two, &remote, &["pull", "r.toml"]).ok();
    assert!(said.out.starts_with("4 records are here"), "{}", said.out);
    // Nothing is missing when the remote is gone.
    std::fs::remove_dir_all(&remote).unwrap();
    let said = two
        .pipe(&["run", "r.toml", "--only", "k", "--fresh", "k", "--json"])
        .ok();
    assert_eq!(words(&said), ["hit", "hit", "hit", "done"]);
    let three = Space::with(CHAIN);
    let said = with(&three, &remote, &["pull", "r.toml"]).ends(3);
    assert!(said.err.contains("there is no folder"), "{}", said.err);
}

#[test]
fn who_may_not_or_will_not_give_runs_all_the_same() {
    let space = Space::with(CHAIN);
    let remote = folder(&space);
    let said = with(
        &space,
        &remote,
        &["run", "r.toml", "--remote-only-read", "--json"],
    )
    .ok();
    assert_eq!(words(&said), ["done"; 4]);
    assert_eq!(std::fs::read_dir(&remote).unwrap().count(), 0);
    // In the settings of the store.
    let text = format!("cap = \"1GB\"\n[remote]\nurl = \"{remote}\"\nread_only = true\n");
    space.file("cache/settings.toml", &text);
    let said = space
        .pipe(&["run", "r.toml", "--set", "w.text=two", "--json"])
        .ok();
    assert_eq!(words(&said).iter().filter(|w| *w == "done").count(), 3);
    // Who would do nothing else there is told.
    for verb in [
        &["push"][..],
        &["push", "--calls"],
        &["gc", "--remote", "--apply"],
    ] {
        let said = space.pipe(verb).ends(3);
        assert!(
            said.err.contains("`read_only = true` stands"),
            "{}",
            said.err
        );
    }
    assert_eq!(std::fs::read_dir(&remote).unwrap().count(), 0);
    // They stay when the cap changes.
    space.pipe(&["gc", "--cap", "2GB", "--keep"]).ok();
    let kept = std::fs::read_to_string(space.path("cache/settings.toml")).unwrap();
    assert!(
        kept.contains("[remote]") && kept.contains(&remote),
        "{kept}"
    );
    space.file(
        "cache/settings.toml",
        &text.replace("read_only", "read-only"),
    );
    let said = space.pipe(&["plan", "r.toml"]).ends(2);
    let told = [
        "`[remote]` has no entry `read-only`",
        "did you mean `read_only`?",
        "settings.toml:4:1",
    ];
    assert!(told.iter().all(|t| said.err.contains(t)), "{}", said.err);
}

#[test]
fn an_address_that_is_none_is_told_with_what_it_could_be() {
    let space = Space::with(CHAIN);
    for (address, told) in [
        ("s4://lab/x", "did you mean `s3://`?"),
        ("ftp://lab/x", "`s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`"),
        ("s3://key:secret@lab/x", "no name and no password"),
        ("s3:///x", "names no bucket"),
        ("file://lab/x", "names another machine"),
        ("s3:/lab", "did you mean `s3://lab`?"),
        ("s3:lab/x", "did you mean `s3://lab/x`?"),
        ("GS:/lab", "did you mean `gs://lab`?"),
        ("az:/lab", "did you mean `az://lab`?"),
        ("file:/shared/x", "did you mean `file:///shared/x`?"),
    ] {
        let said = with(&space, address, &["plan", "r.toml"]).ends(2);
        assert!(said.err.contains("PIPE_REMOTE: "), "{}", said.err);
        assert!(said.err.contains(told), "{}", said.err);
        assert!(!said.err.contains("secret@"), "{}", said.err);
    }
    with(&space, "none", &["plan", "r.toml"]).ok();
    // A folder may be called so all the same.
    std::fs::create_dir(space.path("s3:")).unwrap();
    with(&space, "./s3:", &["plan", "r.toml"]).ok();
}

#[test]
fn a_folder_that_is_not_there_is_one_line_and_the_run_goes_on() {
    let space = Space::with(CHAIN);
    let began = Instant::now();
    let said = with(&space, "/nowhere/at/all", &["run", "r.toml"]).ok();
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(
        said.err
            .matches("there is no folder /nowhere/at/all")
            .count(),
        1,
        "{}",
        said.err
    );
    assert!(!Path::new("/nowhere").exists());
}

#[test]
fn no_worker_sees_who_one_is_at_the_remote() {
    let space = Space::shipped();
    // What its worker sees, and what it sees itself.
    let script = "cat /proc/$PPID/environ >&2; env >&2; cp \"{file.0}\" \"{out.prompts}\"";
    let recipe = format!(
        "[node.look]\nkind = \"exec\"\ncommand = [\"sh\", \"-c\", '''{script}''']\nfiles = [\"rows.jsonl\"]\n\
         outputs = [\"prompts\"]\n"
    );
    space.file("r.toml", &recipe);
    let row =
        r#"{"id":"a","class":"harmful","prompt":"p","source":"s","category":"c","difficulty":1}"#;
    space.file("rows.jsonl", &format!("{row}\n"));
    let remote = folder(&space);
    let mut command = space.command(&["run", "r.toml", "--json"]);
    command.env("PIPE_REMOTE", &remote);
    for name in [
        "AWS_SECRET_ACCESS_KEY",
        "AZURE_STORAGE_KEY",
        "GOOGLE_BEARER_TOKEN",
    ] {
        command.env(name, "not-to-be-seen");
    }
    Said::new(command.output().unwrap()).ok();
    let mut looked = 0;
    let mut folders = vec![space.path("cache"), space.path("remote")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            assert!(!text.contains("not-to-be-seen"), "{}", path.display());
            assert!(!text.contains("PIPE_REMOTE="), "{}", path.display());
            looked += usize::from(text.contains("PATH="));
        }
    }
    assert!(looked > 0, "the node wrote what it saw");
}

#[test]
fn what_is_there_and_not_believed_is_not_said_to_be_nowhere() {
    let (_one, remote) = made();
    let stranger = Space::with(CHAIN);
    let mut command = stranger.command(&["pull", "r.toml"]);
    command.env("PIPE_REMOTE", &remote);
    let said = Said::new(command.output().unwrap()).ends(3);
    assert!(
        said.out.contains("none there that is believed"),
        "{}",
        said.out
    );
    assert!(said.err.contains("whom nobody here trusts"), "{}", said.err);
    assert!(
        said.err
            .contains("not everything that is there is read and believed"),
        "{}",
        said.err
    );
    // And of what is not there at all nothing is made.
    let empty = Space::with(CHAIN);
    let mut command = empty.command(&["pull", "r.toml", "--store", "new"]);
    command.env("PIPE_REMOTE", empty.path("nowhere"));
    Said::new(command.output().unwrap()).ends(3);
    assert!(!empty.path("new").exists());
}
