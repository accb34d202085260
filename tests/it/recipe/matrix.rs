//! `[matrix]`: which choices it makes, what fans out with them, and what is wrong with one.

use super::{KINDS, check, variants};
use pipe::engine::graph::union::{Part, union};
use pipe::recipe::{Loaded, Overrides, from_text, load};
use std::path::Path;

const SWEEP: &str = r#"
[vars]
seed = 0
lr = 1e-3
[node.base]
kind = "base"
[node.data]
kind = "data"
rows = 4
[node.tune]
kind = "tune"
in = { model = "base", data = "data" }
steps = 3
lr = "${lr}"
remark = "seed ${seed}"
[node.sink]
kind = "sink"
in = { model = "tune" }
"#;

/// Each choice as `a=1 b=2`, in order.
fn choices(matrix: &str, flags: &[&str]) -> Vec<String> {
    let loaded = variants(&format!("{matrix}\n{SWEEP}"), flags).unwrap();
    let text = |l: &Loaded| {
        let axes: Vec<String> = l.axes.iter().map(|(a, v)| format!("{a}={v}")).collect();
        axes.join(" ")
    };
    loaded.iter().map(text).collect()
}

#[test]
fn axes_are_multiplied_zipped_excluded_and_included() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("", &[], &[""]),
        ("[matrix]\nseed = [0, 1]", &[], &["seed=0", "seed=1"]),
        (
            "[matrix]\nseed = [0, 1]\nlr = [1e-3, 2e-3]",
            &[],
            &[
                "lr=0.001 seed=0",
                "lr=0.002 seed=0",
                "lr=0.001 seed=1",
                "lr=0.002 seed=1",
            ],
        ),
        (
            "[matrix]\nseed = [0, 1]\nlr = [1e-3, 2e-3]\nzip = [[\"seed\", \"lr\"]]",
            &[],
            &["lr=0.001 seed=0", "lr=0.002 seed=1"],
        ),
        (
            "[matrix]\nseed = [0, 1]\nlr = [1e-3, 2e-3]\nexclude = [{ seed = 1, lr = 2e-3 }]",
            &[],
            &["lr=0.001 seed=0", "lr=0.002 seed=0", "lr=0.001 seed=1"],
        ),
        (
            "[matrix]\nseed = [0]\nlr = [1e-3]\ninclude = [{ seed = 7, lr = 5.0 }]",
            &[],
            &["lr=0.001 seed=0", "lr=5.0 seed=7"],
        ),
        // A parameter of a node, in either way of writing it.
        (
            "[matrix]\ntune.steps = [1, 2]",
            &[],
            &["tune.steps=1", "tune.steps=2"],
        ),
        (
            "[matrix]\n\"node.tune.steps\" = [1]",
            &[],
            &["node.tune.steps=1"],
        ),
        // A variable in either way, which is one axis.
        ("[matrix]\n\"vars.seed\" = [3]", &[], &["seed=3"]),
        (
            "[matrix]\nseed = [0]",
            &["vars.seed=1,2"],
            &["seed=1", "seed=2"],
        ),
        (
            "[matrix]\nvars.seed = [0, 1]\nlr = [1.0, 2.0]\nzip = [[\"vars.seed\", \"lr\"]]\nexclude = [{ vars.seed = 1 }]",
            &[],
            &["lr=1.0 seed=0"],
        ),
        // The command line is over the file.
        (
            "[matrix]\nseed = [0, 1]",
            &["seed=5,6"],
            &["seed=5", "seed=6"],
        ),
        ("", &["seed=[3]", "lr=1"], &["lr=1 seed=3"]),
    ];
    for (matrix, flags, expected) in cases {
        assert_eq!(choices(matrix, flags), *expected, "{matrix} {flags:?}");
    }
}

/// Of two axes over one thing the later would undo the earlier, in every choice.
#[test]
fn axes_that_hold_each_other_are_refused() {
    for (matrix, flags) in [
        (
            "\"tune.reward\" = [{ a = \"1\" }]\n\"tune.reward.a\" = [\"2\"]",
            &[][..],
        ),
        (
            "\"tune.reward.a\" = [\"2\"]",
            &["tune.reward={ a = '1' },"][..],
        ),
        ("tune.steps = [1]\n\"node.tune.steps\" = [2]", &[]),
        ("seed = [1]\n\"vars.seed\" = [2]", &[]),
    ] {
        let told = variants(&format!("[matrix]\n{matrix}\n{SWEEP}"), flags).err();
        let told = told.unwrap_or_else(|| panic!("{matrix} is taken"));
        assert!(told.contains(" vary the same"), "{told}");
    }
    // One of the command line would be lost.
    for flags in [&["seed=0,1", "vars.seed=2"][..], &["seed=0", "seed=1"]] {
        let told = variants(SWEEP, flags).err().unwrap_or_default();
        assert!(told.contains("` is given twice"), "{told}");
    }
    // Names that only begin alike are two, and the command line is over the file however it writes a path.
    assert_eq!(
        choices("[matrix]\n\"tune.lr\" = [1.0]\nlr = [2.0]", &[]).len(),
        1
    );
    assert_eq!(
        choices("[matrix]\ntune.steps = [1, 2]", &["node.tune.steps=3"]),
        ["node.tune.steps=3"]
    );
}

#[test]
fn what_is_set_inside_of_an_axis_is_kept_or_refused() {
    let with = |values: &str, set: &str| {
        let overrides = Overrides {
            sets: vec![set.into()],
            ..Overrides::default()
        };
        let text = format!("[matrix]\n\"tune.reward\" = [{values}]\n{SWEEP}");
        let loaded = from_text("r.toml", &text, &overrides, &KINDS);
        let reward = |one: &Loaded| {
            let node = one.graph.node(one.graph.find("tune").unwrap());
            node.params["reward"].canon()
        };
        match loaded {
            Ok(all) => Ok(all.iter().map(reward).collect::<Vec<_>>()),
            Err(diags) => Err(diags.render(false)),
        }
    };
    let kept = with("{ a = \"1\" }, { b = \"2\" }", "tune.reward.c=3x");
    let expected = [r#"{"a": "1", "c": "3x"}"#, r#"{"b": "2", "c": "3x"}"#];
    assert_eq!(kept.unwrap(), expected);
    for set in [
        "tune.reward.a=3x",
        "node.tune.reward.a=3x",
        "tune.reward.a.x=3x",
    ] {
        let told = with("{ a = \"1\" }, { b = \"2\" }", set).err();
        let told = told.unwrap_or_else(|| panic!("{set} is lost"));
        assert!(
            told.contains("`tune.reward` is an axis of `[matrix]`, so `--set` cannot fix `"),
            "{told}"
        );
        assert!(told.contains("tune.reward=[{ … }]"), "{told}");
    }
}

#[test]
fn a_choice_reaches_variables_and_parameters() {
    let text = format!("[matrix]\nseed = [4]\ntune.layers = [[1, 2]]\n{SWEEP}");
    let loaded = variants(&text, &[]).unwrap();
    let tune = loaded[0].graph.find("tune").unwrap();
    let params = &loaded[0].graph.node(tune).params;
    assert_eq!(params["remark"].canon(), "\"seed 4\"");
    assert_eq!(params["layers"].canon(), "[1, 2]");
    assert_eq!(loaded[0].axes["tune.layers"], "[1 2]");
}

#[test]
fn only_what_depends_on_an_axis_fans_out() {
    let text = format!("[matrix]\nseed = [0, 1]\nlr = [1e-3, 2e-3]\n{SWEEP}");
    let text = text.replace("steps = 3", "steps = 3\n[node.once]\nkind = \"sink\"\nin = { model = \"base\" }\n[node.draw]\nkind = \"data\"\nrows = 1\nseed = \"${seed}\"\n[node.rest]\nkind = \"tune\"\nin = { model = \"base\", data = \"draw\" }\nsteps = 3");
    let loaded = variants(&text, &[]).unwrap();
    let parts = loaded.iter().map(|l| Part {
        recipe: &l.name,
        axes: &l.axes,
        graph: &l.graph,
    });
    let united = union(&parts.collect::<Vec<_>>());
    let mut names: Vec<&str> = united.graph.nodes().iter().map(|n| &*n.name).collect();
    names.sort_unstable();
    // `tune` lost its own parameters to `rest` above, which has both axes; `draw` has one of them.
    assert_eq!(
        names,
        [
            "base",
            "data",
            "draw@seed=0",
            "draw@seed=1",
            "once",
            "rest@lr=0.001,seed=0",
            "rest@lr=0.001,seed=1",
            "rest@lr=0.002,seed=0",
            "rest@lr=0.002,seed=1",
            "sink",
            "tune",
        ]
    );
    for (own, places) in loaded.iter().zip(&united.places) {
        for (id, place) in own.graph.ids().zip(places) {
            let (node, merged) = (own.graph.node(id), united.graph.node(*place));
            assert_eq!(node.name, merged.plain_name());
            assert_eq!(node.params, merged.params);
        }
    }
}

#[test]
fn a_child_inherits_axes_and_changes_them() {
    let files = super::Files::new(&[
        ("parent.toml", &format!("[matrix]\nseed = [0, 1]\n{SWEEP}")),
        (
            "child.toml",
            "extends = \"parent.toml\"\n[matrix]\nlr = [5]\n",
        ),
    ]);
    let overrides = Overrides {
        cwd: files.folder.path().into(),
        ..Overrides::default()
    };
    let loaded =
        load(Path::new("child.toml"), &overrides, &KINDS).unwrap_or_else(|d| panic!("{d}"));
    let axes: Vec<_> = loaded
        .iter()
        .map(|l| (&*l.axes["lr"], &*l.axes["seed"]))
        .collect();
    assert_eq!(axes, [("5", "0"), ("5", "1")]);
}

#[test]
fn what_is_wrong_with_a_matrix_is_said_at_its_place() {
    let node = "[node.base]\nkind = \"base\"\n";
    for (matrix, said) in [
        ("sed = [1]", "unknown variable `sed`"),
        (
            "seed = 3",
            "the axis `seed` expects an array of values, got an integer",
        ),
        ("seed = []", "the axis `seed` has no values"),
        ("seed = [1, 1]", "`seed` has the value 1 twice"),
        ("base.x = [1]", "unknown parameter `x`"),
        ("bse.x = [1]", "unknown node `bse`"),
        (
            "seed = [1]\nzip = [[\"sed\"]]",
            "`sed` is no axis of `[matrix]`",
        ),
        (
            "seed = [1, 2]\nother = [1]\nzip = [[\"seed\", \"other\"]]",
            "zipped axes are of different lengths",
        ),
        (
            "seed = [1]\nexclude = [{ seed = 1 }]",
            "`[matrix]` excludes every choice",
        ),
        (
            "seed = [1]\nexclude = [{ sed = 1 }]",
            "`sed` is no axis of `[matrix]`",
        ),
        (
            "seed = [1]\nother = [1]\ninclude = [{ seed = 2 }]",
            "`include` lacks a value for `other`",
        ),
        (
            "seed = [1, 2, 3]\nmax = 2",
            "`[matrix]` makes 3 choices, more than 2",
        ),
        (
            "seed = [1]\nmax = 0",
            "`max` is a number of choices, at least 1",
        ),
    ] {
        let used = "description = \"${seed} ${other}\"\n";
        let text = format!("[vars]\nseed = 0\nother = 0\n[matrix]\n{matrix}\n{node}{used}");
        let shown = variants(&text, &[]).err().unwrap_or_default();
        assert!(shown.contains(said), "{matrix}\n{shown}");
        assert!(shown.contains("--> r.toml:"), "{matrix}\n{shown}");
    }
    let many: Vec<String> = (0..65).map(|i| i.to_string()).collect();
    let text = format!(
        "[vars]\nseed = 0\n[matrix]\nseed = [{}]\n{node}",
        many.join(", ")
    );
    let shown = variants(&text, &[]).err().unwrap_or_default();
    assert!(shown.contains("write `max = 65` in `[matrix]`"), "{shown}");
    let raised = text.replace("[matrix]", "[matrix]\nmax = 65");
    assert_eq!(variants(&raised, &[]).unwrap().len(), 65);
}

#[test]
fn an_unknown_axis_shows_its_line() {
    check(
        r#"
[vars]
seed = 0
[matrix]
sed = [1]
[node.base]
kind = "base"
description = "seed ${seed}"
=====
error: unknown variable `sed`
 --> r.toml:4:1
  |
4 | sed = [1]
  | ^^^ an axis is a variable of `[vars]`, or `NODE.PARAM`
  = help: did you mean `seed`?
"#,
    );
}

#[test]
fn a_value_that_is_set_and_varied_is_an_error() {
    let overrides = Overrides {
        sets: vec!["vars.seed=3".into()],
        ..Overrides::default()
    };
    let text = format!("[matrix]\nseed = [0, 1]\n{SWEEP}");
    let Err(diags) = pipe::recipe::from_text("r.toml", &text, &overrides, &KINDS) else {
        panic!("it was accepted");
    };
    let shown = diags.render(false);
    assert!(shown.contains("write `--matrix seed=VALUE`"), "{shown}");
}

/// What leaves out nothing, or makes a choice a second time, is a slip of the hand.
#[test]
fn what_a_matrix_excludes_and_includes_changes_it() {
    let told = |matrix: &str, flags: &[&str]| {
        let told = variants(&format!("[matrix]\n{matrix}\n{SWEEP}"), flags);
        told.err().unwrap_or_default()
    };
    let empty = told("seed = [0, 1]\nexclude = [{}]", &[]);
    assert!(empty.contains("this excludes nothing"), "{empty}");
    let twice = "seed = [0, 1]\ninclude = [{ seed = 1 }]";
    let again = told(twice, &[]);
    assert!(again.contains("there is this choice already"), "{again}");
    // The command line is over the file, which could not know.
    let matrix = format!("[matrix]\n{twice}");
    assert_eq!(choices(&matrix, &["seed=1,2"]), ["seed=1", "seed=2"]);
    let none = told("seed = [0, 1]\nmax = 0", &[]);
    assert!(
        none.contains("`max` is a number of choices, at least 1"),
        "{none}"
    );
    let text = format!("[matrix]\nseed = [0, 1]\nexclude = [{{ seed = 7 }}]\n{SWEEP}");
    let loaded = variants(&text, &[]).unwrap();
    assert_eq!(loaded.len(), 2);
    let warned = loaded[0].warnings.render(false);
    assert!(
        warned.contains("no choice has these values, so none is excluded"),
        "{warned}"
    );
    // A table is a value where an axis is of tables.
    let matrix = "[matrix]\n\"tune.reward\" = [{ a = \"1\" }, { b = \"2\" }]\nexclude = [{ tune.reward = { a = \"1\" } }]";
    assert_eq!(choices(matrix, &[]), ["tune.reward={b: 2}"]);
}
