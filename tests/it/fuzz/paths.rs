//! No name that was stored or sent leads out of the store or the folder it belongs to.

use pipe::base::bounded::{is_inner, is_name};
use pipe::base::hash::{Digest, Key};
use pipe::engine::events::{journal, life};
use pipe::engine::kind::Type;
use pipe::engine::kind::attempt::{Attempt, Spec};
use pipe::engine::store::record::{Artifact, Record};
use pipe::engine::store::{Lookup, Store};
use pipe::engine::system::files::{Blob, tree_digest, walk};
use pipe::learn::checkpoint;
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Names that lead elsewhere, or are no file's on some system.
const STRANGE: [&str; 22] = [
    "",
    ".",
    "..",
    "...",
    "../x",
    "../../x",
    "/etc/passwd",
    "a/../../b",
    "a//b",
    "a/",
    "./a",
    "a\\..\\b",
    "C:x",
    "CON",
    "con.json",
    "a/Nul .txt",
    "LPT1",
    "a\nb",
    "a\0b",
    "a\tb",
    "a.",
    "what?",
];

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

fn key() -> Key {
    Key::parse(&"ab".repeat(32)).expect("it is a key")
}

fn digest() -> Digest {
    Digest::new(blake3::hash(b"x"))
}

fn blob(path: &str) -> Blob {
    Blob {
        path: path.into(),
        size: 1,
        exec: false,
        digest: digest(),
    }
}

/// A store with one object, `x`.
fn store(at: &Path) -> Store {
    let store = Store::open(at).expect("a store can be made");
    store.prepare().expect("it can be written to");
    let file = at.join("tmp/x");
    fs::write(&file, "x").expect("a file can be written");
    let taken = store.objects().take(&file, "x").expect("it can be stored");
    assert_eq!(taken.digest, digest());
    store
}

#[test]
fn strange_names_are_known() {
    for path in STRANGE {
        assert!(!is_inner(path), "{path:?}");
    }
    assert!(!is_inner(&"a/".repeat(600)));
    for path in [
        "a",
        "a/b.json",
        ".gitignore",
        "a b",
        "日本.txt",
        "console.log",
        "com",
        "COM10",
        "nul-1",
        "events.out.tfevents.1",
    ] {
        assert!(is_inner(path), "{path}");
    }
    assert!(is_name("a") && !is_name("a/b"));
}

#[test]
fn a_record_that_names_a_strange_path_is_damaged() {
    let at = folder();
    let store = store(at.path());
    let files = vec![blob("model/x.bin")];
    let record = Record {
        key: key(),
        kind: "toy-write".into(),
        manifest: "kind = toy-write\n".into(),
        outputs: [(
            "out".to_string(),
            Artifact {
                ty: Type::Prompts,
                digest: tree_digest(&files),
                files,
            },
        )]
        .into(),
        cost: Default::default(),
        provenance: Default::default(),
        accepted: None,
        adopted: None,
        logs: vec![],
    };
    assert!(store.add_record(&record).expect("it can be written"));
    assert!(matches!(store.lookup(&key()), Lookup::Whole(_)));
    let place = at.path().join("actions/ab").join(format!("{}.json", key()));
    let text = fs::read_to_string(&place).expect("there is a record");
    // Without its seal, as whoever changes it on purpose would leave it.
    let (text, _) = text
        .rsplit_once(",\n  \"seal\"")
        .expect("a record is sealed");
    let text = format!("{text}\n}}");
    fs::write(&place, &text).expect("a record can be changed");
    assert!(matches!(store.lookup(&key()), Lookup::Whole(_)));
    let stored = digest().to_string();
    let changes = STRANGE.iter().map(|path| {
        (
            "\"model/x.bin\"",
            serde_json::to_string(path).expect("it is a text"),
        )
    });
    let hashes = [
        "../../../x",
        "/etc/passwd",
        "",
        &stored[1..],
        &stored.to_uppercase(),
    ]
    .map(|hash| format!("{hash:?}"));
    let quoted = format!("\"{stored}\"");
    for (old, new) in changes.chain(hashes.map(|hash| (quoted.as_str(), hash))) {
        fs::write(&place, text.replacen(old, &new, 1)).expect("a record can be changed");
        let Lookup::Damaged(what) = store.lookup(&key()) else {
            panic!("{new} was taken");
        };
        assert!(what[0].contains("record abababababab"), "{what:?}");
        assert!(store.record(&key()).is_err());
    }
    store
        .quarantine_damage(&key())
        .expect("it can be put aside");
    assert!(matches!(store.lookup(&key()), Lookup::Absent));
}

#[test]
fn blobs_are_laid_out_below_the_folder_only() {
    let at = folder();
    let store = store(&at.path().join("store"));
    let objects = store.objects();
    let into = at.path().join("into");
    for path in STRANGE {
        assert!(objects.link(&[blob(path)], &into).is_err(), "{path:?}");
        assert!(objects.copy(&[blob(path)], &into).is_err(), "{path:?}");
    }
    let outside = at.path().join("outside");
    fs::create_dir(&outside).expect("a folder can be made");
    fs::write(outside.join("x"), "mine").expect("a file can be written");
    symlink(&outside, into.join("sub")).expect("a link can be made");
    symlink(outside.join("x"), into.join("x")).expect("a link can be made");
    for path in ["sub/x", "sub/new", "sub/deep/new", "x"] {
        let error = objects.copy(&[blob(path)], &into).expect_err(path);
        assert!(format!("{error:#}").contains("is a link"), "{error:#}");
    }
    let there: Vec<PathBuf> = walk(&outside, false)
        .expect("it can be read")
        .into_iter()
        .map(|(_, p)| p)
        .collect();
    assert_eq!(there, [outside.join("x")]);
    assert_eq!(
        fs::read_to_string(outside.join("x")).expect("it is there"),
        "mine"
    );
    objects
        .copy(&[blob("deep/er/x")], &into)
        .expect("an honest path is fine");
    assert_eq!(
        fs::read_to_string(into.join("deep/er/x")).expect("it is there"),
        "x"
    );
}

#[test]
fn what_a_worker_leaves_is_not_followed_out_of_its_folder() {
    let at = folder();
    let outside = at.path().join("outside");
    fs::create_dir(&outside).expect("a folder can be made");
    fs::write(outside.join("secret"), "mine").expect("a file can be written");
    let out = at.path().join("out");
    symlink(&outside, &out).expect("a link can be made");
    let error = walk(&out, false).expect_err("the whole output is a link");
    assert!(format!("{error:#}").contains("is a link"), "{error:#}");
    fs::remove_file(&out).expect("a link can be removed");
    for link in [outside.join("secret"), outside.clone()] {
        fs::create_dir_all(&out).expect("a folder can be made");
        symlink(link, out.join("a")).expect("a link can be made");
        let error = walk(&out, false).expect_err("a link is in it");
        assert!(
            format!("{error:#}").contains("neither a file nor a folder"),
            "{error:#}"
        );
        fs::remove_dir_all(&out).expect("a folder can be removed");
    }
    for name in ["a\nb", "CON", "a:b", "tail."] {
        fs::create_dir_all(&out).expect("a folder can be made");
        fs::write(out.join(name), "x").expect("a file can be written");
        let error = walk(&out, false).expect_err(name);
        assert!(
            format!("{error:#}").contains("cannot be the name of a stored file"),
            "{error:#}"
        );
        walk(&out, true).expect("somebody's own folder may have any names");
        fs::remove_dir_all(&out).expect("a folder can be removed");
    }
}

#[test]
fn a_worker_is_sent_nowhere_else() {
    let at = folder();
    let dir = at.path().join("attempts/abababababab-2");
    fs::create_dir_all(&dir).expect("a folder can be made");
    let spec = Spec {
        key: key(),
        kind: "toy-write".into(),
        revision: 1,
        node: "n".into(),
        params: String::new(),
        exec: String::new(),
        inputs: [("a".to_string(), Type::Prompts)].into(),
        outputs: vec!["out".into()],
        threads: 1,
        earlier: vec![at.path().join("attempts/abababababab-1")],
        engine: None,
        calls: Default::default(),
        run: String::new(),
        started_ms: 0,
    };
    let attempt = Attempt { dir: dir.clone() };
    let read = |value: &serde_json::Value| {
        fs::write(dir.join("attempt.json"), value.to_string()).expect("a file can be written");
        attempt.spec().map(drop).map_err(|e| format!("{e:#}"))
    };
    let whole = serde_json::to_value(&spec).expect("it has a JSON form");
    assert_eq!(read(&whole), Ok(()));
    let elsewhere = ["/etc", "abababababab-1", "..", ""];
    let beside = at.path().join("attempts/../outside").display().to_string();
    for path in elsewhere.iter().copied().chain([beside.as_str()]) {
        let mut spec = whole.clone();
        spec["earlier"] = json!([path]);
        assert!(
            read(&spec).is_err_and(|e| e.contains("no attempt beside")),
            "{path}"
        );
    }
    for name in STRANGE {
        let mut spec = whole.clone();
        spec["outputs"] = json!([name]);
        assert!(
            read(&spec).is_err_and(|e| e.contains("no name of a folder")),
            "{name}"
        );
        let mut spec = whole.clone();
        spec["inputs"] = json!({ name: "prompts" });
        assert!(
            read(&spec).is_err_and(|e| e.contains("no name of a folder")),
            "{name}"
        );
    }
}

#[test]
fn a_run_is_named_by_its_id() {
    let at = folder();
    let store = store(&at.path().join("store"));
    fs::write(at.path().join("run.json"), "{}").expect("a file can be written");
    for id in STRANGE {
        let Err(error) = journal::read(&store, id) else {
            panic!("{id:?} was read");
        };
        assert!(format!("{error:#}").contains("is no run"), "{error:#}");
        assert!(!life::alive(&store, id));
    }
}

#[test]
fn a_shard_lies_beside_its_index() {
    let at = folder();
    let config = r#"{
        "architectures": ["Qwen2ForCausalLM"], "hidden_act": "silu", "hidden_size": 4, "intermediate_size": 4,
        "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 4, "vocab_size": 5,
        "rms_norm_eps": 1e-6, "rope_theta": 1e4, "max_position_embeddings": 16, "tie_word_embeddings": true
    }"#;
    fs::write(at.path().join("config.json"), config).expect("a file can be written");
    for shard in STRANGE {
        let index = json!({ "weight_map": { "model.norm.weight": shard } });
        fs::write(
            at.path().join("model.safetensors.index.json"),
            index.to_string(),
        )
        .expect("a file can be written");
        let error = checkpoint::load(at.path()).expect_err(shard);
        assert!(
            format!("{error:#}").contains("is not a plain file name"),
            "{error:#}"
        );
    }
    let huge = config.replace("\"vocab_size\": 5", "\"vocab_size\": 16777216");
    fs::write(
        at.path().join("config.json"),
        huge.replace("\"hidden_size\": 4", "\"hidden_size\": 1048576"),
    )
    .expect("a file can be written");
    let index = json!({ "weight_map": { "model.norm.weight": "a" } });
    fs::write(
        at.path().join("model.safetensors.index.json"),
        index.to_string(),
    )
    .expect("a file can be written");
    fs::write(at.path().join("a"), "").expect("a file can be written");
    let error = checkpoint::load(at.path()).expect_err("no such folder is whole");
    assert!(
        format!("{error:#}").contains("the config asks for"),
        "{error:#}"
    );
}
