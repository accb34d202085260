//! Which files a path stands for.

use crate::study::Study;
use pipe::data::files::find;

/// The names of the files that are found below a folder with these.
fn found(files: &[&str], split: Option<&str>, usual: Option<&str>) -> Result<Vec<String>, String> {
    let study = Study::new();
    for name in files {
        study.file(&format!("set/{name}"), "x");
    }
    let root = study.dir.path().join("set");
    let paths = find(&root, split, usual).map_err(|e| format!("{e:#}"))?;
    let names = paths
        .iter()
        .map(|p| p.strip_prefix(&root).unwrap().to_str().unwrap());
    Ok(names.map(String::from).collect())
}

const FEEDBACK: &[&str] = &[
    "README.md",
    ".gitattributes",
    "dataset_infos.json",
    "data/train_prefs-00001-of-00002.parquet",
    "data/train_prefs-00000-of-00002.parquet",
    "data/train_sft-00000-of-00001-abc.parquet",
    "data/test_prefs-00000-of-00001.parquet",
];

#[test]
fn a_folder_is_the_shards_of_a_split_in_name_order() {
    let shards = [
        "data/train_prefs-00000-of-00002.parquet",
        "data/train_prefs-00001-of-00002.parquet",
    ];
    assert_eq!(found(FEEDBACK, Some("train_prefs"), None).unwrap(), shards);
    assert_eq!(found(FEEDBACK, None, Some("train_prefs")).unwrap(), shards);
    assert_eq!(
        found(FEEDBACK, Some("train_sft"), Some("train_prefs")).unwrap(),
        ["data/train_sft-00000-of-00001-abc.parquet"]
    );
    let all = found(FEEDBACK, Some("data/*_prefs-*.parquet"), None).unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!(found(&["b.csv"], None, Some("train")).unwrap(), ["b.csv"]);
}

#[test]
fn a_split_is_a_file_a_folder_or_a_word_of_them() {
    let jailbreak = ["eval/eval.tsv", "train/train.tsv"];
    assert_eq!(
        found(&jailbreak, Some("eval"), None).unwrap(),
        ["eval/eval.tsv"]
    );
    let converted = [
        "80k/train/0000.parquet",
        "80k/train/0001.parquet",
        "toxic/train/0000.parquet",
    ];
    assert_eq!(
        found(&converted, Some("80k"), None).unwrap(),
        converted[..2]
    );
    let bench = [
        "or-bench-80k.csv",
        "or-bench-hard-1k.csv",
        "or-bench-toxic.csv",
    ];
    for (split, file) in [
        ("80k", bench[0]),
        ("hard-1k", bench[1]),
        ("or-bench-toxic", bench[2]),
    ] {
        assert_eq!(found(&bench, Some(split), None).unwrap(), [file]);
    }
    // The file of that name before one that only has the word.
    let aegis = ["refusals_train.json", "train.json", "test.json"];
    assert_eq!(found(&aegis, Some("train"), None).unwrap(), ["train.json"]);
    let edit = ["SafeEdit_test.json", "SafeEdit_train.json"];
    assert_eq!(
        found(&edit, Some("train"), None).unwrap(),
        ["SafeEdit_train.json"]
    );
}

#[test]
fn what_is_not_clear_is_an_error_that_lists_the_files() {
    let error = found(FEEDBACK, None, None).unwrap_err();
    assert!(
        error.contains("several tables") && error.contains("`split` says which"),
        "{error}"
    );
    assert!(
        error.contains("data/test_prefs-00000-of-00001.parquet"),
        "{error}"
    );
    let error = found(FEEDBACK, Some("train"), None).unwrap_err();
    assert!(
        error.contains("`data/train_prefs`, `data/train_sft`"),
        "{error}"
    );
    let error = found(FEEDBACK, Some("validation"), None).unwrap_err();
    assert!(
        error.contains("no file is of the split `validation`"),
        "{error}"
    );
    let error = found(&["README.md"], None, None).unwrap_err();
    assert!(error.contains("holds no data file"), "{error}");
    let missing = find(std::path::Path::new("nowhere.csv"), None, None).unwrap_err();
    assert!(format!("{missing:#}").contains("nowhere.csv: No such file"));
}

#[test]
fn links_of_a_hub_s_cache_are_files() {
    let study = Study::new();
    let blob = study.file("blobs/abc", "prompt\nhi\n");
    let folder = study.dir.path().join("snapshots/main");
    std::fs::create_dir_all(&folder).unwrap();
    std::os::unix::fs::symlink(blob, folder.join("a.csv")).unwrap();
    assert_eq!(find(&folder, None, None).unwrap(), [folder.join("a.csv")]);
}
