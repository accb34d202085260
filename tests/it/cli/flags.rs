//! What a command is asked that cannot be, or would do nothing: it is told, and nothing is made.

use super::{GREETING, Space};

/// Two rows of a file without labels: it delivers no scores.
fn unlabelled() -> Space {
    let space = Space::with(
        "[node.c]\nkind = \"completions-file\"\npath = \"c.csv\"\nclass = \"harmful\"\n",
    );
    space.file("c.csv", "id,prompt,completion\n1,how,no way\n2,why,sure\n");
    space.pipe(&["run", "r.toml", "-q"]).ok();
    space
}

#[test]
fn an_output_that_a_node_does_not_deliver_is_named_with_what_it_hangs_on() {
    let space = unlabelled();
    for args in [
        &["show", "r.toml", "c.scores"][..],
        &["export", "r.toml", "c.scores", "out"],
    ] {
        let told = space.pipe(args).ends(2).err;
        assert!(
            told.contains("`c` gives no `scores` as it is set: "),
            "{told}"
        );
        assert!(told.contains("label_column"), "{told}");
    }
    let told = space.pipe(&["show", "r.toml", "c.score"]).ends(2).err;
    assert!(told.contains("it has `completions`"), "{told}");
}

#[test]
fn a_flag_that_would_do_nothing_is_an_error() {
    let space = unlabelled();
    space.file("g.toml", GREETING);
    let fresh = ["--only", "hello", "--fresh", "who"];
    for verb in ["plan", "run"] {
        let args = [&[verb, "g.toml"][..], &fresh].concat();
        let told = space.pipe(&args).ends(2).err;
        assert!(told.contains("`--fresh who` does nothing here"), "{told}");
    }
    let told = space.pipe(&["why", "g.toml", "hello", "--fresh", "both"]);
    assert!(
        told.ends(2)
            .err
            .contains("`--fresh both` does nothing here")
    );
    space
        .pipe(&["plan", "g.toml", "--only", "both", "--fresh", "who"])
        .ok();
    for args in [
        "ls --kind completions-file --runs",
        "ls --kind completions-file --pins",
        "calls --limit 3",
        "check r.toml --resolved --json",
        "kinds generate --scorers",
        "kinds --keys --datasets",
    ] {
        let words: Vec<&str> = args.split(' ').collect();
        let told = space.pipe(&words).ends(2).err;
        assert!(told.contains("--"), "{args}: {told}");
    }
    let told = space.pipe(&["ls", "--kind", "completions-fil"]).ends(2).err;
    assert!(told.contains("did you mean `completions-file`?"), "{told}");
    space
        .pipe(&["ls", "--kind", "completions-file", "--size"])
        .ok();
    let told = space.pipe(&["show", "r.toml", "--where", "class=harmful"]);
    let told = told.ends(2).err;
    assert!(
        told.contains("`--where` chooses rows, and the table of a study has none"),
        "{told}"
    );
}

#[test]
fn what_is_refused_leaves_no_store() {
    let space = Space::with(
        "[node.x]\nkind = \"toy-source\"\nfrom = \"absent.txt\"\n\
         [node.w]\nkind = \"toy-write\"\ntext = \"w\"\n",
    );
    let reason = ["--reason", "made elsewhere"];
    for args in [
        &["adopt", "r.toml", "xx", "f"][..],
        &["adopt", "r.toml", "x", "f"],
        &["adopt", "r.toml", "w", "f"],
    ] {
        space.file("f", "a text");
        let said = space.pipe(&[args, &reason].concat());
        assert_ne!(said.code, Some(0), "{args:?}");
        assert!(!space.path("cache").exists() || args[2] == "w", "{args:?}");
    }
    let space = Space::new();
    let claim = "[[claim]]\nabout = \"a\"\nagainst = \"b.toml\"\nnode = \"x\"\n\
                 expect = [{ metric = \"m\", is = \"lower\" }]\n";
    let node = "[vars]\nseed = 0\n[node.x]\nkind = \"toy-source\"\nfrom = \"absent.txt\"\nmore = [\"x-${seed}\"]\n";
    space.file("a.toml", &format!("{claim}{node}"));
    space.file("b.toml", node);
    let said = space.pipe(&["run", "a.toml", "--until-settled"]).ends(3);
    assert!(said.err.contains("nothing was started"), "{}", said.err);
    assert!(!space.path("cache").exists());
}

#[test]
fn a_recipe_that_is_not_there_is_answered_with_what_is_near() {
    let space = Space::with(GREETING);
    space.pipe(&["run", "r.toml", "-q"]).ok();
    for (args, near) in [
        (&["plan", "r.tml"][..], "did you mean `r.toml`?"),
        (&["diff", "r.toml", "r.tom"], "did you mean `r.toml`?"),
        (&["pin", "r.tml"], "did you mean `r.toml`?"),
        (&["show", "both"], "names of nodes stand after it"),
    ] {
        let told = space.pipe(args).ends(2).err;
        assert!(told.contains(near), "{args:?}: {told}");
    }
}

#[test]
fn what_two_recipes_say_of_a_file_that_both_extend_is_told_once() {
    let space = Space::new();
    let base = GREETING.replace("[vars]", "[vars]\nidle = 1");
    space.file("r.toml", &base);
    space.file(
        "a.toml",
        "extends = \"r.toml\"\nname = \"a\"\n[vars]\nwho = \"a\"\n",
    );
    space.file(
        "b.toml",
        "extends = \"r.toml\"\nname = \"b\"\n[vars]\nwho = \"b\"\n",
    );
    space.pipe(&["run", "a.toml", "b.toml", "-q"]).ok();
    let once = |args: &[&str]| {
        let told = space.pipe(args).err;
        let warning = "variable `idle` is never used\n --> r.toml:";
        assert_eq!(told.matches(warning).count(), 1, "{args:?}: {told}");
        assert_eq!(told.matches("is never used").count(), 1, "{args:?}: {told}");
    };
    once(&["diff", "a.toml", "b.toml"]);
    // Its claim is against the other one, which is read, too.
    space.file(
        "b.toml",
        "extends = \"r.toml\"\nname = \"b\"\n[vars]\nwho = \"b\"\n[[claim]]\nabout = \"b\"\nagainst = \"r.toml\"\n\
         node = \"both\"\nexpect = [{ metric = \"m\", is = \"lower\" }]\n",
    );
    once(&["claims", "b.toml"]);
}
