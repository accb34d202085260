//! `pipe keys`, in a folder of settings of the test's own.

use super::{Said, Space};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

impl Space {
    /// As somebody with these settings.
    fn keys(&self, who: &str, args: &[&str]) -> Said {
        let mut command = self.command(&["keys"]);
        command.args(args).env("PIPE_CONFIG", self.path(who));
        Said::new(command.output().unwrap())
    }

    /// A new key, and its line.
    fn key(&self, who: &str) -> String {
        self.keys(who, &["new", "--name", who]).ok();
        self.keys(who, &["show"]).ok().out.trim().to_string()
    }

    fn own(&self, who: &str) -> PathBuf {
        self.path(who).join("key")
    }
}

#[test]
fn a_key_is_made_once_is_its_owner_s_alone_and_shown_by_its_public_half() {
    let space = Space::new();
    let missing = space.keys("ada", &["show"]).ends(3);
    assert!(
        missing.err.contains("`pipe keys new` makes one"),
        "{}",
        missing.err
    );
    let line = space.key("ada");
    assert!(
        line.starts_with("ada=ed25519:") && line.len() == 12 + 43,
        "{line}"
    );
    let mode = std::fs::metadata(space.own("ada"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let folder = std::fs::metadata(space.path("ada"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(folder & 0o777, 0o700);
    let secret = std::fs::read_to_string(space.own("ada")).unwrap();
    assert!(secret.starts_with("ada=ed25519-secret:"));
    let again = space.keys("ada", &["new"]).ends(2);
    assert!(
        again.err.contains("`--replace` makes another"),
        "{}",
        again.err
    );
    let shown = space.keys("ada", &["show", "--json"]).ok().json();
    assert_eq!(shown["line"], line.as_str());
    assert_eq!(shown["name"], "ada");
    assert_eq!(std::fs::read_to_string(space.own("ada")).unwrap(), secret);
    assert_eq!(
        std::fs::read_dir(space.path("ada")).unwrap().count(),
        1,
        "no draft stays"
    );
}

#[test]
fn a_key_that_others_may_read_is_not_used() {
    let space = Space::new();
    space.key("ada");
    let open = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(space.own("ada"), open).unwrap();
    let refused = space.keys("ada", &["show"]).ends(3);
    assert!(
        refused.err.contains("others may read your private key"),
        "{}",
        refused.err
    );
    assert!(refused.err.contains("chmod 600"), "{}", refused.err);
}

#[test]
fn others_are_trusted_and_trusted_no_longer() {
    let space = Space::new();
    let (ada, bob) = (space.key("ada"), space.key("bob"));
    space.keys("ada", &["trust", &bob]).ok();
    let again = space.keys("ada", &["trust", &bob]).ok();
    assert_eq!(again.out, "`bob` is trusted already\n");
    let list = space.keys("ada", &["list", "--json"]).ok().json();
    let lines: Vec<_> = list["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|k| (k["line"].clone(), k["own"].clone()))
        .collect();
    assert_eq!(
        lines,
        [
            (ada.as_str().into(), true.into()),
            (bob.as_str().into(), false.into())
        ]
    );
    assert!(space.keys("ada", &["list"]).ok().out.contains("your own"));
    let impostor = format!("bob={}", space.key("eve").split_once('=').unwrap().1);
    let refused = space.keys("ada", &["trust", &impostor]).ends(2);
    assert!(
        refused.err.contains("`bob` is the name of another key"),
        "{}",
        refused.err
    );
    let near = space.keys("ada", &["untrust", "bop"]).ends(2);
    assert!(near.err.contains("did you mean `bob`?"), "{}", near.err);
    space.keys("ada", &["untrust", "bob"]).ok();
    let list = space.keys("ada", &["list", "--json"]).ok().json();
    assert_eq!(list["keys"].as_array().unwrap().len(), 1);
}

#[test]
fn what_somebody_wrote_into_the_list_stays() {
    let space = Space::new();
    let bob = space.key("bob");
    space.file("ada/trusted", "# the lab\n\n");
    space.keys("ada", &["trust", &bob]).ok();
    let text = std::fs::read_to_string(space.path("ada/trusted")).unwrap();
    assert_eq!(text, format!("# the lab\n\n{bob}\n"));
    space.keys("ada", &["untrust", "bob"]).ok();
    let text = std::fs::read_to_string(space.path("ada/trusted")).unwrap();
    assert_eq!(text, "# the lab\n\n");
}

/// It trusts nobody, hides nobody, is named, and goes when somebody wants that.
#[test]
fn a_line_that_is_no_key_trusts_nobody_and_is_in_nobody_s_way() {
    let space = Space::new();
    let bob = space.key("bob");
    let weak = format!("eve=ed25519:AQ{}", "A".repeat(41));
    let text = format!("# the lab\nbob=ed25519:short\n{weak}\nwhatever\n");
    space.file("ada/trusted", &text);
    let lines = |said: &Said| {
        let warned = |n: &usize| said.err.contains(&format!("ada/trusted:{n}: "));
        (1..=5).filter(warned).collect::<Vec<usize>>()
    };
    let list = || space.keys("ada", &["list", "--json"]).ok();
    let said = list();
    assert_eq!(lines(&said), [2, 3, 4], "{}", said.err);
    assert!(
        said.err.contains("nobody can sign as this public key"),
        "{}",
        said.err
    );
    let said = said.json();
    assert_eq!(said["keys"].as_array().unwrap().len(), 0);
    assert_eq!(said["unusable"].as_array().unwrap().len(), 3);
    crate::cli::json::hold(
        &crate::cli::json::documented()["keys list"],
        &said,
        "keys list",
    );
    // Of one name a key goes before a line that is none.
    space.keys("ada", &["trust", &bob]).ok();
    assert_eq!(list().json()["keys"][0]["name"], "bob");
    let gone = space.keys("ada", &["untrust", "bob"]).ok().out;
    assert!(gone.contains("are no longer taken"), "{gone}");
    for (line, left) in [("bob", vec![2, 3]), (&weak, vec![2]), ("whatever", vec![])] {
        let gone = space.keys("ada", &["untrust", line]).ok().out;
        assert!(gone.contains("it was no key, and trusted nobody"), "{gone}");
        assert_eq!(lines(&list()), left);
    }
    let text = std::fs::read_to_string(space.path("ada/trusted")).unwrap();
    assert_eq!(text, "# the lab\n");
}

#[test]
fn a_line_that_is_no_public_key_is_refused_in_words() {
    let space = Space::new();
    space.key("ada");
    let secret = std::fs::read_to_string(space.own("ada")).unwrap();
    let long = format!("{}=ed25519:{}", "a".repeat(65), "A".repeat(43));
    let odd = format!("a b=ed25519:{}", "A".repeat(43));
    for (line, told) in [
        ("ada", "as `pipe keys show` prints it"),
        ("ada=ed25519:AAAA", "as `pipe keys show` prints it"),
        ("ada=rsa:AAAA", "as `pipe keys show` prints it"),
        (secret.trim(), "this is a private key"),
        (&long, "has 1 to 64 characters"),
        (&odd, "not ' '"),
    ] {
        let refused = space.keys("bob", &["trust", line]).ends(2);
        assert!(refused.err.contains(told), "{line}: {}", refused.err);
        assert!(!refused.err.contains("ed25519-secret:"), "{}", refused.err);
    }
    assert!(!space.path("bob").exists(), "nothing is written");
}

#[test]
fn a_replaced_key_stays_trusted_and_is_kept() {
    let space = Space::new();
    let old = space.key("ada");
    space
        .keys("ada", &["new", "--replace", "--name", "ada"])
        .ok();
    let new = space.keys("ada", &["show"]).ok().out.trim().to_string();
    assert_ne!(old, new);
    let list = space.keys("ada", &["list", "--json"]).ok().json();
    let keys = list["keys"].as_array().unwrap();
    assert_eq!(keys[0]["line"], new.as_str());
    assert_eq!(keys[1]["name"], "ada-before-1");
    assert_eq!(
        keys[1]["key"].as_str(),
        old.split_once('=').map(|(_, key)| key)
    );
    let aside = std::fs::read_dir(space.path("ada")).unwrap();
    let aside = aside.map(|e| e.unwrap().file_name().into_string().unwrap());
    assert_eq!(aside.filter(|name| name.starts_with("key-")).count(), 1);
    // As quick as it goes: none is written over.
    for more in 2..4 {
        space
            .keys("ada", &["new", "--replace", "--name", "ada"])
            .ok();
        let aside = std::fs::read_dir(space.path("ada")).unwrap();
        let aside = aside.map(|e| e.unwrap().file_name().into_string().unwrap());
        assert_eq!(aside.filter(|name| name.starts_with("key-")).count(), more);
    }
}
