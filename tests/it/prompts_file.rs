//! Prompts from files of somebody else's: what is read, and how a bad file is named.

use crate::study::{Study, data};
use pipe::base::params::{Default as ParamDefault, ParamSet};
use pipe::base::rows::{Prompt, PromptClass};
use pipe::base::value::{Value, Values};
use pipe::kinds::data::prompts_file::{self, Params};
use std::path::Path;

#[test]
fn the_prompts_of_xstest_are_read_whole() {
    let Some(path) = data("xstest/xstest_prompts.csv") else {
        return;
    };
    let mut reader = csv::Reader::from_path(&path).unwrap();
    let headers = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let cell = |i: usize, name: &str| {
        let column = headers.iter().position(|h| h == name).unwrap();
        rows[i][column].to_string()
    };
    let unsafe_rows = (0..rows.len())
        .filter(|i| cell(*i, "label") == "unsafe")
        .count();
    assert!(unsafe_rows > 0 && unsafe_rows < rows.len());

    let prompts = import(&path, &params(&[("harmful", list(&["unsafe"]))])).unwrap();
    assert_eq!(prompts.len(), rows.len());
    assert_eq!(of(&prompts, PromptClass::Harmful), unsafe_rows);
    assert_eq!(
        of(&prompts, PromptClass::Ambiguous),
        rows.len() - unsafe_rows
    );
    for (i, prompt) in prompts.iter().enumerate() {
        assert_eq!(prompt.prompt, cell(i, "prompt"));
        assert_eq!(prompt.id, cell(i, "id"));
        assert_eq!(prompt.category, cell(i, "type"));
        assert_eq!(prompt.source, "xstest_prompts");
    }
    let few = import(&path, &params(&[("limit", Value::Int(7))])).unwrap();
    assert_eq!(few.len(), 7);
}

#[test]
fn public_sets_are_read_without_a_word_about_their_columns() {
    let all = params(&[]);
    if let Some(harmbench) = data("harmbench/harmbench_behaviors_text_val.csv") {
        let prompts = import(&harmbench, &all).unwrap();
        let mut reader = csv::Reader::from_path(&harmbench).unwrap();
        assert_eq!(prompts.len(), reader.records().count());
        assert!(prompts.iter().all(|p| !p.category.is_empty()));
        assert!(
            prompts
                .iter()
                .all(|p| !p.id.chars().all(|c| c.is_ascii_digit()))
        );
    }
    if let Some(bench) = data("harmless_mt_bench/mt_bench_question.jsonl") {
        let text = std::fs::read_to_string(&bench).unwrap();
        let prompts = import(&bench, &all).unwrap();
        assert_eq!(prompts.len(), text.lines().count());
        for (line, prompt) in text.lines().zip(&prompts) {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(row["turns"][0].as_str(), Some(prompt.prompt.as_str()));
            assert_eq!(row["question_id"].to_string(), prompt.id);
        }
    }
}

#[test]
fn line_ends_marks_quotes_and_tabs_are_the_file_s_own_business() {
    let expected = [
        ("a", "How, do \"I\"?"),
        ("b", "Two\nlines"),
        ("c", "größer 数"),
    ];
    let csv = "id,prompt,more\na,\"How, do \"\"I\"\"?\",x\nb,\"Two\nlines\",\nc,größer 数,z\n";
    let files: [(&str, String); 6] = [
        ("plain.csv", csv.into()),
        ("crlf.csv", csv.replace(",x\n", ",x\r\n").replace(",\nc", ",\r\nc").replace("more\n", "more\r\n")),
        ("bom.csv", format!("\u{feff}{csv}")),
        ("end.csv", csv.trim_end().into()),
        ("tabs.tsv", "id\tprompt\na\t\"How, do \"\"I\"\"?\"\nb\t\"Two\nlines\"\nc\tgrößer 数\n".into()),
        (
            "lines.jsonl",
            "{\"id\":\"a\",\"prompt\":\"How, do \\\"I\\\"?\"}\n\n{\"id\":\"b\",\"prompt\":\"Two\\nlines\"}\n\
             {\"prompt\":\"größer 数\",\"id\":\"c\",\"late\":null}"
                .into(),
        ),
    ];
    for (name, text) in files {
        let prompts = read(name, &text, &[]).unwrap();
        let found: Vec<(&str, &str)> = prompts
            .iter()
            .map(|p| (p.id.as_str(), p.prompt.as_str()))
            .collect();
        assert_eq!(found, expected, "{name}");
        assert!(prompts.iter().all(|p| p.class == PromptClass::Ambiguous));
    }
}

#[test]
fn columns_are_found_or_named() {
    let of = |text: &str, set: &[(&str, Value)]| read("f.csv", text, set).unwrap().remove(0);
    let found = of("goal,target\nmake,sure\n", &[]);
    assert_eq!((found.prompt.as_str(), found.id.as_str()), ("make", "1"));
    let found = of("BehaviorID,Behavior,SemanticCategory\nx_1,do,c\n", &[]);
    assert_eq!((found.id.as_str(), found.category.as_str()), ("x_1", "c"));
    let named = [
        ("column", Value::Str("ask".into())),
        ("id_column", Value::Str("n".into())),
        ("category_column", Value::Str("kind".into())),
        ("class", Value::Str("harmless".into())),
    ];
    let found = of("n,ask,kind,prompt,id\n7,really,k,not,no\n", &named);
    assert_eq!((found.prompt.as_str(), found.id.as_str()), ("really", "7"));
    assert_eq!(
        (found.category.as_str(), found.class),
        ("k", PromptClass::Harmless)
    );
    let turns = read(
        "t.jsonl",
        "{\"turns\":[\"first\",\"second\"],\"question_id\":81}\n",
        &[],
    );
    let turns = turns.unwrap().remove(0);
    assert_eq!((turns.prompt.as_str(), turns.id.as_str()), ("first", "81"));
}

#[test]
fn labels_decide_the_class() {
    let text = "prompt,label,risk\na,safe,low\nb,unsafe,high\nc,bad,high\n";
    let classes = |set: &[(&str, Value)]| -> Vec<PromptClass> {
        read("f.csv", text, set)
            .unwrap()
            .iter()
            .map(|p| p.class)
            .collect()
    };
    use PromptClass::{Ambiguous, Harmful, Harmless};
    let class = ("class", Value::Str("harmless".into()));
    let labels = ("harmful", list(&["unsafe", "bad"]));
    assert_eq!(classes(&[labels, class]), [Harmless, Harmful, Harmful]);
    let risk = ("label_column", Value::Str("risk".into()));
    assert_eq!(
        classes(&[("harmful", list(&["high"])), risk]),
        [Ambiguous, Harmful, Harmful]
    );
}

#[test]
fn a_bad_file_is_an_error_that_names_the_row_or_the_column() {
    let column = |name: &str| vec![("column", Value::Str(name.into()))];
    let harmful = |label: &str| vec![("harmful", list(&[label]))];
    type Case = (
        &'static str,
        &'static str,
        Vec<(&'static str, Value)>,
        &'static str,
    );
    let table: Vec<Case> = vec![
        ("a.csv", "", vec![], "the file is empty"),
        ("a.jsonl", " \n", vec![], "the file is empty"),
        ("a.csv", "id,prompt\n", vec![], "has no rows"),
        (
            "a.csv",
            "id,prompt\n1,a\n2,b,c\n",
            vec![],
            "row 2: 3 fields where the header has 2",
        ),
        (
            "a.csv",
            "id,prompt\n1,\"x\ny\"\n2\n",
            vec![],
            "row 2: 1 fields where the header has 2",
        ),
        (
            "a.csv",
            "id,prompt\n1,a\n1,b\n",
            vec![],
            "row 2: the id `1` occurs twice",
        ),
        (
            "a.csv",
            "id,prompt\n1,a\n,b\n",
            vec![],
            "row 2: the id is empty",
        ),
        (
            "a.csv",
            "id,prompt\n1,a\n2,  \n",
            vec![],
            "row 2: the prompt is empty",
        ),
        (
            "a.csv",
            "id,prompt\n1,a\n",
            column("promt"),
            "no column `promt`, did you mean `prompt`? The columns are id, prompt",
        ),
        (
            "a.csv",
            "id,prompt\n1,a\n",
            column("zzzzz"),
            "no column `zzzzz`. The columns are id, prompt",
        ),
        (
            "a.csv",
            "id,text\n1,a\n",
            vec![],
            "no column looks like a prompt; name it with `column`. The columns are id, text",
        ),
        (
            "a.csv",
            "id,prompt\n1,a\n",
            harmful("unsafe"),
            "no column `label`",
        ),
        (
            "a.csv",
            "prompt,label\na,safe\nb,unsafe\n",
            harmful("unsave"),
            "no row has the label `unsave` that `harmful` names; the labels are \"safe\" (1), \"unsafe\" (1)",
        ),
        (
            "a.jsonl",
            "{\"prompt\":\"a\"}\n\n{\"prompt\"\n",
            vec![],
            "row 2",
        ),
        ("a.jsonl", "[1]\n", vec![], "row 1"),
        (
            "a.jsonl",
            "{\"prompt\":\"a\"}\n{\"other\":\"b\"}\n",
            vec![],
            "row 2: the prompt is empty",
        ),
        (
            "a.txt",
            "a\n",
            vec![],
            "neither in .csv nor in .tsv nor in .jsonl",
        ),
    ];
    for (name, text, set, message) in table {
        let error = format!("{:#}", read(name, text, &set).unwrap_err());
        assert!(error.contains(message), "{text:?}: {error}");
        assert!(error.contains(name) || error.starts_with("no "), "{error}");
    }
}

#[test]
fn a_file_that_is_not_text_or_not_there_is_named() {
    let study = Study::new();
    let path = study.file("latin.csv", b"prompt\ngr\xfc\xdfe\n");
    let error = format!("{:#}", import(&path, &params(&[])).unwrap_err());
    assert!(
        error.contains("latin.csv") && error.contains("byte 9 is not UTF-8"),
        "{error}"
    );
    let missing = study.dir.path().join("missing.csv");
    let error = format!("{:#}", import(&missing, &params(&[])).unwrap_err());
    assert!(
        error.contains("missing.csv") && error.contains("No such file"),
        "{error}"
    );
}

#[test]
fn as_a_node_the_file_s_content_is_what_counts() {
    let study = Study::new();
    study.file("one.csv", "prompt\nhello\n");
    study.file("deep/two.csv", "prompt\nhello\n");
    let recipe = |path: &str| {
        format!("[node.p]\nkind = \"prompts-file\"\npath = \"{path}\"\nclass = \"harmless\"\n")
    };
    let first = study.run(&recipe("one.csv"));
    let prompts: Vec<Prompt> = first.rows("p", "prompts");
    assert_eq!(prompts.len(), 1);
    assert_eq!(
        (prompts[0].source.as_str(), prompts[0].class),
        ("one", PromptClass::Harmless)
    );
    study.file("one.csv", "prompt\nbye\n");
    let prompts: Vec<Prompt> = study.run(&recipe("one.csv")).rows("p", "prompts");
    assert_eq!(prompts[0].prompt, "bye");
    let failure = {
        study.file("bad.csv", "prompt\nx,y\n");
        study.try_run(&recipe("bad.csv")).failure("p")
    };
    assert!(failure.contains("bad.csv: row 1: 2 fields"), "{failure}");
}

/// All prompts of a file.
fn import(path: &Path, p: &Params) -> anyhow::Result<Vec<Prompt>> {
    let mut prompts = vec![];
    let p = Params {
        path: path.into(),
        ..p.clone()
    };
    prompts_file::import(&p, &mut |prompt| {
        prompts.push(prompt);
        Ok(())
    })?;
    Ok(prompts)
}

fn list(items: &[&str]) -> Value {
    Value::List(items.iter().map(|i| Value::Str(i.to_string())).collect())
}

fn of(prompts: &[Prompt], class: PromptClass) -> usize {
    prompts.iter().filter(|p| p.class == class).count()
}

/// The kind's defaults with some parameters set.
fn params(set: &[(&str, Value)]) -> Params {
    let mut values = Values::from([("path".to_string(), Value::Str("unused".into()))]);
    for spec in Params::specs() {
        if let ParamDefault::Value(value) = spec.default {
            values.insert(spec.name.into(), value);
        }
    }
    for (name, value) in set {
        values.insert(name.to_string(), value.clone());
    }
    Params::read(&values).unwrap()
}

fn read(name: &str, text: &str, set: &[(&str, Value)]) -> anyhow::Result<Vec<Prompt>> {
    let study = Study::new();
    let path: &Path = &study.file(name, text);
    import(path, &params(set))
}
