//! `pipe report`: what it writes, what it says of what is missing, and that it runs nothing.

use super::{GREETING, Space};

#[test]
fn a_page_and_figures_are_written_where_they_are_asked_for() {
    let space = Space::with(GREETING);
    space.pipe(&["run", "r.toml"]).ok();
    let said = space
        .pipe(&[
            "report",
            "r.toml",
            "-o",
            "page.html",
            "--figures",
            "out/figures",
        ])
        .ok();
    assert_eq!(said.out, "wrote out/figures/graph.svg\nwrote page.html\n");
    assert_eq!(said.err, "");
    let page = std::fs::read_to_string(space.path("page.html")).unwrap();
    assert!(page.contains("<title>Study greeting</title>") && page.contains("data-node=\"2\""));
    assert!(
        !page.contains("benchmark"),
        "there is no built-in world in it"
    );
    space.pipe(&["report", "r.toml", "-o", "again.html"]).ok();
    assert_eq!(
        std::fs::read_to_string(space.path("again.html")).unwrap(),
        page
    );
    let figures = ["report", "r.toml", "--figures", "alone"];
    let said = space.pipe(&figures).ok();
    assert_eq!(said.out, "wrote alone/graph.svg\n");
    let told = "figures only: `-o report.html` writes the page as well\n";
    assert_eq!(said.err, told);
    assert!(!space.path("report.html").exists());
    space.pipe(&["report", "r.toml"]).ok();
    assert!(
        space.path("report.html").exists(),
        "where nothing else is asked for"
    );
}

#[test]
fn the_data_behind_the_page_is_json() {
    let space = Space::with(GREETING);
    space.pipe(&["run", "r.toml"]).ok();
    let data = space.pipe(&["report", "r.toml", "--json"]).ok().json();
    let groups = data["report"]["groups"].as_array().unwrap();
    let names: Vec<&str> = groups.iter().map(|g| g["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["hello", "who", "both"]);
    assert_eq!(
        data["report"]["head"]["missing"].as_array().unwrap().len(),
        0
    );
    assert!(
        !space.path("report.html").exists(),
        "a page was not asked for"
    );
}

#[test]
fn what_lacks_an_artifact_is_said_and_is_no_failure() {
    let space = Space::with(GREETING);
    space.pipe(&["run", "r.toml", "--only", "hello"]).ok();
    let said = space.pipe(&["report", "r.toml"]).ok();
    assert_eq!(
        said.err,
        "greeting lacks who, both; `pipe run r.toml` makes it\n"
    );
    let page = std::fs::read_to_string(space.path("report.html")).unwrap();
    assert!(page.contains("greeting lacks who, both"));
    let elsewhere = ["--set", "vars.who=you", "--store", "an other"];
    space
        .pipe(&[&["run", "r.toml", "--only", "hello"], &elsewhere[..]].concat())
        .ok();
    let said = space
        .pipe(&[&["report", "r.toml"], &elsewhere[..]].concat())
        .ok();
    let command = "pipe run r.toml --set vars.who=you --store 'an other'";
    assert_eq!(
        said.err,
        format!("greeting lacks who, both; `{command}` makes it\n")
    );
    let page = std::fs::read_to_string(space.path("report.html")).unwrap();
    assert!(page.contains("pipe run r.toml --set vars.who=you --store "));
}

#[test]
fn without_any_artifact_the_command_that_makes_them_is_named() {
    let space = Space::with(GREETING);
    let said = space.pipe(&["report", "r.toml"]).ends(3);
    assert!(
        said.err.contains("`pipe run RECIPE` makes one") && said.err.contains("no store"),
        "{}",
        said.err
    );
    assert!(!space.path("cache").exists(), "looking makes no store");
    space.pipe(&["run", "r.toml", "--only", "who"]).ok();
    let other = "name = \"other\"\n[node.a]\nkind = \"toy-write\"\ntext = \"else\"\n";
    space.file("other.toml", other);
    let said = space.pipe(&["report", "other.toml"]).ends(2);
    assert!(
        said.err.contains("`pipe run other.toml` makes it"),
        "{}",
        said.err
    );
    assert!(!space.path("report.html").exists());
}
