//! `plan`, `run` and `why`: what runs, what is a hit, what is said about it.

use super::{GREETING, Space, lines, redact};

#[test]
fn a_plan_says_hit_run_and_maybe_with_the_changed_field() {
    let space = Space::with(GREETING);
    let before = space.pipe(&["plan", "r.toml"]).ok().out;
    assert_eq!(
        redact(&before, space.dir.path()),
        "  node kind expected why\n\
         RUN hello toy-write never run\n\
         RUN who toy-write never run\n\
         RUN both toy-join never run\n\
         0 of 3 are hits; 3 to run, of unknown length"
    );
    space.pipe(&["run", "r.toml"]).ok();
    let after = space.pipe(&["plan", "r.toml"]).ok().out;
    assert!(
        after.contains("3 of 3 are hits; nothing to run\n"),
        "{after}"
    );
    let changed = space
        .pipe(&["plan", "r.toml", "--set", "vars.who=moon"])
        .ok()
        .out;
    assert_eq!(
        redact(&changed, space.dir.path()),
        "  node kind expected why\n\
         HIT hello toy-write\n\
         RUN who toy-write T parameter `text`: \"world\" -> \"moon\"\n\
         MAYBE both toy-join T depends on what `who` gives\n\
         1 of 3 is a hit; 2 to run or decide, expected T"
    );
    let json = space
        .pipe(&["plan", "r.toml", "--json", "--set", "vars.who=moon"])
        .ok()
        .json();
    let words: Vec<_> = json["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| &n["verdict"])
        .collect();
    assert_eq!(words, ["hit", "run", "maybe"]);
    assert_eq!(json["nodes"][1]["reasons"][0]["new"], "\"moon\"");
}

#[test]
fn a_second_run_is_all_hits_and_says_what_it_saved() {
    let space = Space::with(GREETING);
    let first = space.pipe(&["run", "r.toml"]).ok();
    assert!(first.err.contains("+ both  done in "), "{}", first.err);
    assert!(first.out.contains("3 nodes: 3 ran; "), "{}", first.out);
    let second = space.pipe(&["run", "r.toml"]).ok();
    assert_eq!(
        redact(&second.err, space.dir.path()),
        "= hello hit, saved T\n= who hit, saved T\n= both hit, saved T"
    );
    assert_eq!(
        redact(&second.out, space.dir.path()),
        "\n3 nodes: 3 hits (saved T); T in all\nrun R in cache"
    );
}

#[test]
fn only_and_fresh_choose_what_runs() {
    let space = Space::with(GREETING);
    let only = space
        .pipe(&["run", "r.toml", "--json", "--only", "who"])
        .ok();
    assert_eq!(only.states(), [("who".to_string(), "done".to_string())]);
    let fresh = space
        .pipe(&["run", "r.toml", "--json", "--fresh", "who"])
        .ok();
    let words: Vec<String> = fresh.states().into_iter().map(|(_, s)| s).collect();
    assert_eq!(words, ["done", "done", "done"]);
    assert!(fresh.err.contains("forced by --fresh"), "{}", fresh.err);
    assert!(
        fresh.err.contains("who: the same bytes as before"),
        "{}",
        fresh.err
    );
    for flag in ["--only", "--fresh"] {
        let said = space.pipe(&["run", "r.toml", flag, "whoo"]).ends(2);
        assert_eq!(
            said.err,
            "error: the recipe has no node `whoo`; did you mean `who`?\n"
        );
    }
}

#[test]
fn threads_quiet_and_json_do_what_they_say() {
    let space = Space::with("[node.slow]\nkind = \"toy-slow\"\nticks = 3\n");
    let said = space.pipe(&["run", "r.toml", "--threads", "5"]).ok();
    assert!(
        said.err.contains("> slow  never run  (5 threads)"),
        "{}",
        said.err
    );
    assert!(said.err.contains("with 5 threads"), "{}", said.err);
    space.pipe(&["run", "r.toml", "--threads", "0"]).ends(2);
    let quiet = space
        .pipe(&["run", "r.toml", "--quiet", "--fresh", "slow"])
        .ok();
    assert_eq!(quiet.err, "");
    assert!(quiet.out.contains("1 node: 1 ran; "), "{}", quiet.out);
    let json = space.pipe(&["run", "r.toml", "--json"]).ok().json();
    assert_eq!(json["ok"], true);
    assert_eq!(json["nodes"][0]["hit"], true);
    assert!(json["nodes"][0]["outputs"]["out"]["digest"].is_string());
}

#[test]
fn a_forced_node_is_told_with_what_it_took_this_time() {
    let slow = |tick_ms: u32| {
        format!(
            "[node.slow]\nkind = \"toy-slow\"\nticks = 4\ntick_ms = {tick_ms}\ntick_dollars = 1.0\n"
        )
    };
    let space = Space::with(&slow(1));
    let took = |args: &[&str]| -> f64 {
        let said = space.pipe(&[&["run", "r.toml", "--json"], args].concat());
        let json = said.ok().json();
        json["nodes"][0]["cost"]["seconds"].as_f64().unwrap()
    };
    let first = took(&[]);
    std::fs::write(space.path("r.toml"), slow(100)).unwrap();
    let (again, hit) = (took(&["--fresh", "slow"]), took(&[]));
    assert!(again >= 0.4, "{again}");
    assert_eq!(hit, first, "a hit is told with what it took to make");
    let said = space.pipe(&["run", "r.toml"]).ok();
    assert!(said.out.contains("1 hit (saved"), "{}", said.out);
    let said = space.pipe(&["run", "r.toml", "--fresh", "slow"]).ok();
    assert!(said.out.contains("$4"), "{}", said.out);
}

#[test]
fn a_failure_names_what_it_skips_and_the_next_run_goes_on() {
    let recipe = |kind: &str| {
        format!(
            "[node.fine]\nkind = \"toy-write\"\ntext = \"fine\"\n\
             [node.bad]\nkind = {kind}\n\
             [node.below]\nkind = \"toy-join\"\nin = {{ a = \"fine\", b = \"bad\" }}\n\
             [node.lower]\nkind = \"toy-join\"\nin = {{ a = \"below\" }}\n"
        )
    };
    let space = Space::with(&recipe("\"toy-fail\""));
    let said = space.pipe(&["run", "r.toml"]).ends(1);
    assert!(
        said.err.contains("x bad  failed: as asked\n"),
        "{}",
        said.err
    );
    assert!(
        said.err.contains("- below  skipped: `bad` failed\n"),
        "{}",
        said.err
    );
    assert!(
        said.err.contains("- lower  skipped: `bad` failed\n"),
        "{}",
        said.err
    );
    assert!(said.err.contains("+ fine  done in "), "{}", said.err);
    assert!(said.err.ends_with("error: failed: `bad`\n"), "{}", said.err);
    assert!(said.out.contains("1 failed, 2 skipped"), "{}", said.out);
    let quiet = space.pipe(&["run", "r.toml", "--quiet", "--json"]).ends(1);
    assert!(
        quiet.err.starts_with("x bad  failed: as asked\n"),
        "{}",
        quiet.err
    );
    assert_eq!(quiet.json()["ok"], false);

    space.file("r.toml", &recipe("\"toy-write\"\ntext = \"good\""));
    let said = space.pipe(&["run", "r.toml", "--json"]).ok();
    let words: Vec<String> = said.states().into_iter().map(|(_, s)| s).collect();
    assert_eq!(words, ["hit", "done", "done", "done"]);
}

#[test]
fn last_words_of_a_dead_worker_are_shown() {
    let space = Space::with("[node.bad]\nkind = \"toy-fail\"\nhow = \"exit\"\n");
    let said = space.pipe(&["run", "r.toml"]).ends(1);
    assert!(said.err.contains("last words"), "{}", said.err);
    assert!(said.err.contains("exit"), "{}", said.err);
}

#[test]
fn two_runs_on_one_store_execute_each_node_once() {
    let space = Space::with(
        "[node.a]\nkind = \"toy-write\"\ntext = \"a\"\nwait_ms = 300\ncount = \"COUNT\"\n\
         [node.b]\nkind = \"toy-join\"\nin = { a = \"a\" }\ncount = \"COUNT\"\n",
    );
    let count = space.path("count");
    let text = std::fs::read_to_string(space.path("r.toml")).unwrap();
    space.file("r.toml", &text.replace("COUNT", count.to_str().unwrap()));
    let one = space.command(&["run", "r.toml"]).spawn().unwrap();
    let other = space.command(&["run", "r.toml"]).spawn().unwrap();
    for child in [one, other] {
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(lines(&count), ["write", "join"]);
}

#[test]
fn why_names_the_parameter_the_source_and_the_root() {
    let space = Space::with(
        "[vars]\ntext = \"one\"\n[node.w]\nkind = \"toy-write\"\ntext = \"${text}\"\n\
         [node.s]\nkind = \"toy-source\"\nfrom = \"data.txt\"\n\
         [node.j]\nkind = \"toy-join\"\nin = { a = \"w\", b = \"s\" }\n\
         [node.k]\nkind = \"toy-join\"\nin = { a = \"j\" }\n",
    );
    space.file("data.txt", "old");
    space.pipe(&["run", "r.toml", "--only", "s"]).ok();
    let never = space.pipe(&["why", "r.toml", "w"]).ok().out;
    assert_eq!(never, "`w` runs:\n  never run\n");
    space.pipe(&["run", "r.toml"]).ok();

    let hit = space.pipe(&["why", "r.toml", "k"]).ok().out;
    assert_eq!(
        redact(&hit, space.dir.path()),
        "`k` is a hit: key #\n  made T ago by node `k` of `r`; a hit saves T\n  from j.out on `a`: #"
    );
    let param = space
        .pipe(&["why", "r.toml", "w", "--set", "vars.text=two"])
        .ok()
        .out;
    assert!(
        param.contains("`w` runs:\n  parameter `text`: \"one\" -> \"two\"\n"),
        "{param}"
    );
    let cascade = space
        .pipe(&["why", "r.toml", "k", "--set", "vars.text=two"])
        .ok()
        .out;
    assert!(cascade.contains("`k` may run"), "{cascade}");
    assert!(
        cascade.contains("`w` (the root): parameter `text`: \"one\" -> \"two\""),
        "{cascade}"
    );
    space.file("data.txt", "new");
    let source = space.pipe(&["why", "r.toml", "s"]).ok().out;
    assert!(source.contains("the content of `from` changed"), "{source}");

    let args = ["why", "r.toml", "w", "--json", "--set", "vars.text=two"];
    let json = space.pipe(&args).ok().json();
    assert_eq!(json["planned"]["reasons"][0]["name"], "text");
    let manifest = space.pipe(&["why", "r.toml", "w", "--manifest"]).ok().out;
    assert!(manifest.contains("param text = \"one\""), "{manifest}");
    let said = space.pipe(&["why", "r.toml", "kk"]).ends(2);
    assert_eq!(
        said.err,
        "error: the recipe has no node `kk`; did you mean `k`?\n"
    );
}

#[test]
fn a_node_that_never_ran_is_not_explained_by_another_of_its_kind() {
    let space = Space::with(GREETING);
    let only = ["run", "r.toml", "-q", "--only", "hello"];
    space.pipe(&only).ok();
    let plan = space.pipe(&["plan", "r.toml"]).ok().out;
    let line = plan.lines().find(|l| l.contains(" who ")).unwrap();
    assert!(line.ends_with("never run"), "{plan}");
    assert_eq!(
        space.pipe(&["why", "r.toml", "who"]).ok().out,
        "`who` runs:\n  never run\n"
    );
}

#[test]
fn a_namesake_of_another_kind_is_a_stranger() {
    let space = Space::with(GREETING);
    space.pipe(&["run", "r.toml", "-q"]).ok();
    space.file("other.toml", "[node.who]\nkind = \"toy-fail\"\n");
    assert_eq!(
        space.pipe(&["why", "other.toml", "who"]).ok().out,
        "`who` runs:\n  never run\n"
    );
    let said = space.pipe(&["why", "other.toml", "nobody"]).ends(2);
    assert_eq!(
        said.err,
        "error: the recipe has no node `nobody`; it has `who`\n"
    );
    let said = space
        .pipe(&["check", "other.toml", "--set", "nobody.x=1"])
        .ends(2);
    assert!(
        said.err.contains("= help: there are `who`\n"),
        "{}",
        said.err
    );
}
