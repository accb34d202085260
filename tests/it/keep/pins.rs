//! Pins as files: their names, and that none is lost or overwritten.

use super::Space;
use pipe::base::hash::Key;
use pipe::engine::gc::pins::{self, Pinned};

fn pin(name: &str, note: &str) -> pins::Pin {
    let key = Key::new(blake3::hash(name.as_bytes()));
    let node = Pinned {
        node: "n".into(),
        key,
    };
    pins::new(name, "r.toml", note, vec![node])
}

#[test]
fn a_pin_is_read_back_and_never_overwritten() {
    let space = Space::new();
    assert!(pins::add(&space.store, &pin("a", "first")).unwrap());
    assert!(!pins::add(&space.store, &pin("a", "second")).unwrap());
    assert!(pins::add(&space.store, &pin("b", "")).unwrap());
    assert_eq!(pins::read(&space.store, "a").unwrap().note, "first");
    let names: Vec<String> = pins::all(&space.store)
        .unwrap()
        .into_iter()
        .map(|(n, _)| n)
        .collect();
    assert_eq!(names, ["a", "b"]);
    assert!(pins::remove(&space.store, "a").unwrap());
    assert!(!pins::remove(&space.store, "a").unwrap());
}

#[test]
fn a_name_that_leads_elsewhere_is_refused() {
    let space = Space::new();
    space.file("format.json", "x");
    for name in [
        "",
        "../format",
        "a/b",
        "/a",
        ".hidden",
        "-x",
        "a\nb",
        "ü",
        &"x".repeat(101),
    ] {
        assert!(pins::problem(name).is_some(), "{name:?}");
        assert!(pins::add(&space.store, &pin(name, "")).is_err(), "{name:?}");
        assert!(!pins::remove(&space.store, name).unwrap(), "{name:?}");
        assert_eq!(pins::problem(&pins::plain(name)), None, "{name:?}");
    }
    assert!(space.store.root().join("format.json").exists());
    assert!(pins::all(&space.store).unwrap().is_empty());
    for name in [
        "paper",
        "tars-rl@lambda=0.3",
        "20260131-235959-001-1f-0",
        "v1.2+x",
    ] {
        assert_eq!(pins::problem(name), None, "{name:?}");
        assert_eq!(pins::plain(name), name);
    }
    assert_eq!(pins::plain("a recipe/node"), "a-recipe-node");
}
