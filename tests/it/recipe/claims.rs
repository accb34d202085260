//! `[[claim]]`: what is read of one, and what is wrong with one.

use super::{Files, KINDS};
use pipe::base::claim::{Axes, Expect};
use pipe::recipe::{Loaded, Overrides, load};
use std::path::Path;

const PARENT: &str = r#"
[vars]
rows = 1
[node.data]
kind = "data"
rows = "${rows}"
[node.base]
kind = "base"
[node.tune]
kind = "tune"
in = { model = "base", data = "data" }
steps = 3
"#;

fn child(claim: &str) -> Result<Vec<Loaded>, String> {
    let text = format!("extends = \"../parent.toml\"\n[matrix]\nrows = [1, 2]\n{claim}\n");
    let files = Files::new(&[("parent.toml", PARENT), ("below/child.toml", &text)]);
    let overrides = Overrides {
        cwd: files.folder.path().into(),
        ..Overrides::default()
    };
    load(Path::new("below/child.toml"), &overrides, &KINDS).map_err(|d| d.render(false))
}

#[test]
fn a_claim_is_read_with_its_defaults() {
    let text = r#"
[[claim]]
about = "more rows defend better"
against = "../parent.toml"
at = { rows = 2 }
against_at = { rows = 1 }
node = "tune"
expect = [
    { metric = "defense", is = "higher" },
    { metric = "compliance", is = "within", by = 0.05, node = "data", against_node = "base" },
]
"#;
    let loaded = child(text).unwrap();
    assert_eq!(loaded.len(), 2);
    let [claim] = loaded[1].claims.as_slice() else {
        panic!("one claim");
    };
    assert_eq!(claim.about, "more rows defend better");
    let against = claim.against.as_deref().unwrap();
    assert!(
        against.ends_with("parent.toml") && !against.ends_with("../parent.toml"),
        "{against:?}"
    );
    assert_eq!(claim.at, Axes::from([("rows".into(), "2".into())]));
    assert_eq!(claim.against_at, Axes::from([("rows".into(), "1".into())]));
    let [first, second] = claim.conditions.as_slice() else {
        panic!("two conditions");
    };
    assert_eq!((&*first.node, &*first.against_node), ("tune", "tune"));
    assert_eq!((first.expect, first.by), (Expect::Higher, 0.0));
    assert_eq!((&*second.node, &*second.against_node), ("data", "base"));
    assert_eq!((second.expect, second.by), (Expect::Within, 0.05));
    let several = text.replace(
        "metric = \"defense\", is = \"higher\"",
        "both = [\"a\", \"b\"], is = \"dominates\"",
    );
    let several = several.replace("metric = \"compliance\"", "mean = [\"b\", \"a\"]");
    let loaded = child(&several).unwrap();
    let [both, mean] = loaded[0].claims[0].conditions.as_slice() else {
        panic!("two conditions");
    };
    assert_eq!((both.expect, both.metrics.len()), (Expect::Dominates, 2));
    assert_eq!(mean.metrics, ["b", "a"]);
}

#[test]
fn claims_are_not_inherited() {
    let claim = "[[claim]]\nabout = \"x\"\nagainst = \"parent.toml\"\nnode = \"tune\"\nexpect = [{ metric = \"m\", is = \"lower\" }]\n";
    let files = Files::new(&[
        ("parent.toml", &format!("{claim}{PARENT}")),
        ("child.toml", "extends = \"parent.toml\"\n"),
    ]);
    for (name, claims) in [("parent.toml", 1), ("child.toml", 0)] {
        assert_eq!(
            files.load(name, &[]).unwrap().claims.len(),
            claims,
            "{name}"
        );
    }
}

#[test]
fn what_is_wrong_with_a_claim_is_said() {
    let right = "about = \"x\"\nagainst = \"../parent.toml\"\nnode = \"tune\"\nexpect = [{ metric = \"m\", is = \"lower\" }]\n";
    assert!(child(&format!("[[claim]]\n{right}")).is_ok());
    for (old, new, said) in [
        ("about", "abuot", "did you mean `about`?"),
        ("about = \"x\"", "", "the claim lacks `about`"),
        ("../parent.toml", "parent.toml", "no recipe `parent.toml`"),
        ("\"tune\"", "\"tun\"", "did you mean `tune`?"),
        ("node = \"tune\"", "", "the condition says of no node"),
        ("\"lower\"", "\"lowr\"", "did you mean `lower`?"),
        ("\"lower\"", "\"within\"", "`within` needs `by`"),
        (
            "\"lower\"",
            "\"lower\", by = -1",
            "`by` is a size, at least 0",
        ),
        (
            "\"lower\"",
            "\"lower\", by = \"a\"",
            "`by` expects a number, got a string",
        ),
        ("metric = \"m\", ", "", "the condition lacks `metric`"),
        (
            "[{ metric = \"m\", is = \"lower\" }]",
            "[]",
            "a claim without conditions",
        ),
        ("node", "at = { row = 1 }\nnode", "did you mean `rows`?"),
        (
            "metric = \"m\"",
            "mean = [\"m\"]",
            "`mean` is of two metrics or more",
        ),
        (
            "metric = \"m\"",
            "mean = [\"m\", \"m\"]",
            "`m` is named twice",
        ),
        (
            "metric = \"m\"",
            "mean = \"m\"",
            "`mean` expects an array of metrics, got a string",
        ),
        (
            "metric = \"m\"",
            "metric = \"m\", mean = [\"m\", \"n\"]",
            "a condition has `metric` or `mean`",
        ),
        (
            "metric = \"m\"",
            "both = [\"m\", \"n\"]",
            "`both` goes with `dominates`, not with `lower`",
        ),
        ("\"lower\"", "\"dominates\"", "`dominates` needs `both`"),
    ] {
        let claim = format!("[[claim]]\n{}", right.replacen(old, new, 1));
        let shown = child(&claim).err().unwrap_or_default();
        assert!(shown.contains(said), "{claim}\n{shown}");
        assert!(shown.contains("--> below/child.toml:"), "{claim}\n{shown}");
    }
}

/// A number that is none is reported where it is read, and not once more as another type.
#[test]
fn what_is_no_value_is_reported_once() {
    let right = "[[claim]]\nabout = \"x\"\nagainst = \"../parent.toml\"\nat = { rows = 1 }\nnode = \"tune\"\n\
                 expect = [{ mean = [\"m\", \"n\"], is = \"lower\", by = 0.1 }]\n";
    assert!(child(right).is_ok());
    for (old, new) in [
        ("by = 0.1", "by = nan"),
        ("at = { rows = 1 }", "at = inf"),
        ("[\"m\", \"n\"]", "[nan, \"n\"]"),
        ("[\"m\", \"n\"]", "nan"),
        ("[{ mean", "[nan, { mean"),
        ("about = \"x\"", "about = nan"),
    ] {
        let text = right.replace(old, new);
        assert_ne!(text, right);
        let told = child(&text).err().expect("it is refused");
        assert_eq!(told.matches("error: ").count(), 1, "{new}: {told}");
        assert!(told.contains("is not a finite number"), "{told}");
    }
}

/// One wrong condition hides no other.
#[test]
fn all_conditions_of_a_claim_are_read() {
    let claim = "[[claim]]\nabout = \"x\"\nagainst = \"../parent.toml\"\nnode = \"tune\"\nexpect = [\n\
                 { metric = \"m\", is = \"lowr\" },\n{ metric = \"m\", is = \"higher\", by = -1 },\n{ is = \"lower\" }]\n";
    let told = child(claim).err().expect("it is refused");
    for said in [
        "got `lowr`",
        "`by` is a size, at least 0",
        "the condition lacks `metric`",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
}
