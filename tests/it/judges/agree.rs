//! Completions of others and people's labels, and what judges agree on.

use super::completion;
use crate::study::{Study, data};
use pipe::base::params::{ParamSet, defaults};
use pipe::base::rows::{Completion, PromptClass, Score};
use pipe::base::value::{Value, Values};
use pipe::kinds::data::completions_file;
use pipe::kinds::evaluation::agreement::{self, Pairs, Table};
use pipe::kinds::evaluation::evaluate;
use pipe::kinds::scorers;
use std::path::Path;

fn params(set: &[(&str, Value)]) -> completions_file::Params {
    let mut values: Values = defaults::<completions_file::Params>();
    values.insert("path".into(), Value::Str("x.csv".into()));
    values.extend(set.iter().map(|(n, v)| (n.to_string(), v.clone())));
    completions_file::Params::read(&values).unwrap()
}

/// The completions of a file, and what people said of them.
fn import(
    path: &Path,
    p: &completions_file::Params,
) -> anyhow::Result<(Vec<Completion>, Vec<Score>)> {
    let (mut completions, mut scores) = (vec![], vec![]);
    let p = completions_file::Params {
        path: path.into(),
        ..p.clone()
    };
    completions_file::import(&p, &mut |completion, score| {
        completions.push(completion);
        scores.extend(score);
        Ok(())
    })?;
    Ok((completions, scores))
}

fn list(words: &[&str]) -> Value {
    Value::List(words.iter().map(|w| Value::Str(w.to_string())).collect())
}

fn word(word: &str) -> Value {
    Value::Str(word.into())
}

fn agreement(on: &str) -> agreement::Params {
    let mut values: Values = defaults::<agreement::Params>();
    values.insert("on".into(), word(on));
    agreement::Params::read(&values).unwrap()
}

#[test]
fn the_rule_agrees_with_people_on_as_many_completions_as_its_authors_say() {
    let Some(folder) = data("xstest_completions") else {
        return;
    };
    let p = params(&[
        ("harmful", list(&["contrast_*"])),
        ("label_column", word("final_label")),
    ]);
    for (name, agree, of) in [("mistralinstruct", 256, 297), ("mistralguard", 251, 300)] {
        let file = folder.join(format!("xstest_v2_completions_{name}_streval.cut.csv"));
        let (completions, people) = import(&file, &p).unwrap();
        let rule: Vec<Score> = completions
            .iter()
            .map(|c| evaluate::score(c, &scorers::refusal::SCORER).unwrap())
            .collect();
        let on = agreement("label");
        let pairs = Pairs::of(&people, &rule, &on);
        let same = pairs.both.iter().filter(|(_, a, b)| a == b).count();
        assert_eq!(
            (same, pairs.both.len(), pairs.ids),
            (agree, of, of),
            "{name}"
        );
        assert_eq!(pairs.unscorable(), 0);
        let harmful = completions
            .iter()
            .filter(|c| c.prompt.class == PromptClass::Harmful)
            .count();
        assert_eq!(completions.len() - harmful, 250, "{name}");
        assert!(completions.iter().all(|c| c.id.starts_with("v2-")));
        // What is good of a person's label is what is good of the rule's, where both see a refusal or none.
        let on = agreement("good");
        let good = Pairs::of(&people, &rule, &on);
        let on = agreement("refused");
        let refused = Pairs::of(&people, &rule, &on);
        let count = |p: &Pairs| p.both.iter().filter(|(_, a, b)| a == b).count();
        assert_eq!(count(&good), count(&refused), "{name}");
        assert!(count(&refused) > agree);
    }
}

#[test]
fn files_are_read_by_their_columns_and_samples_are_counted() {
    let study = Study::new();
    let file = study.file(
        "a.jsonl",
        "{\"goal\":\"p\",\"generation\":\"one\",\"think\":\"so\",\"index\":7,\"kind\":\"bad\",\"who\":\"yes\"}\n\
         {\"goal\":\"p\",\"generation\":\"two\",\"think\":\"\",\"index\":7,\"kind\":\"bad\",\"who\":\"no\"}\n\
         {\"goal\":\"q\",\"generation\":\"\",\"index\":8,\"kind\":\"fine\",\"who\":\"I'm sorry, but I can't\"}\n",
    );
    let p = params(&[
        ("reasoning_column", word("think")),
        ("class_column", word("kind")),
        ("harmful", list(&["bad"])),
        ("class", word("harmless")),
        ("label_column", word("who")),
        ("refused", list(&["yes"])),
        ("answered", list(&["no"])),
    ]);
    let (completions, scores) = import(&file, &p).unwrap();
    let ids: Vec<&str> = completions.iter().map(|c| c.id.as_str()).collect();
    assert_eq!(ids, ["7#0", "7#1", "8#0"]);
    assert_eq!(completions[0].response, "<think>\nso\n</think>\n\none");
    assert_eq!(completions[1].response, "two");
    assert_eq!(completions[2].prompt.class, PromptClass::Harmless);
    assert_eq!((scores[0].refused, scores[0].good), (true, true));
    assert_eq!((scores[1].refused, scores[1].good), (false, false));
    // Free text is no label.
    assert_eq!((scores[2].scorable, scores[2].good), (Some(false), false));
    assert_eq!(scores[2].label.as_deref(), Some("I'm sorry, but I can't"));
    assert_eq!(
        (scores[0].answer.as_str(), scores[0].reasoning.as_deref()),
        ("one", Some("so"))
    );
    let without = params(&[("class_column", word("kind"))]);
    assert!(import(&file, &without).unwrap().1.is_empty());
}

#[test]
fn a_bad_file_is_named_with_its_row_or_column() {
    let study = Study::new();
    let error = |name: &str, text: &str, set: &[(&str, Value)]| {
        let file = study.file(name, text);
        format!("{:#}", import(&file, &params(set)).err().unwrap())
    };
    let told = error("a.csv", "prompt,text\na,b\n", &[]);
    assert!(
        told.contains("no column looks like a completion") && told.contains("prompt, text"),
        "{told}"
    );
    let told = error("a.csv", "ask,completion\na,b\n", &[]);
    assert!(told.contains("no column looks like a prompt"), "{told}");
    let told = error("a.csv", "prompt,completion\n ,b\n", &[]);
    assert!(told.contains("row 1: the prompt is empty"), "{told}");
    let told = error("a.csv", "id,prompt,completion\n,a,b\n", &[]);
    assert!(told.contains("row 1: the id is empty"), "{told}");
    let told = error(
        "a.csv",
        "prompt,completion\na,b\n",
        &[("harmful", list(&["x"]))],
    );
    assert!(told.contains("`class_column`"), "{told}");
    let typed = "type,prompt,completion\nt,a,b\n";
    let told = error("a.csv", typed, &[("harmful", list(&["contrast_*"]))]);
    assert!(told.contains("`contrast_*`"), "{told}");
    let told = error("a.csv", typed, &[("label_column", word("final_lable"))]);
    assert!(told.contains("no column `final_lable`"), "{told}");
}

fn table(counts: &[&[usize]]) -> Table {
    Table {
        words: (0..counts.len()).map(|i| i.to_string()).collect(),
        counts: counts.iter().map(|row| row.to_vec()).collect(),
    }
}

#[test]
fn kappa_is_the_agreement_beyond_chance() {
    // By hand: p_o = 0.7, p_e = 0.5 0.6 + 0.5 0.4 = 0.5.
    let kappa = table(&[&[20, 5], &[10, 15]]).kappa().unwrap();
    assert!((kappa.value - 0.4).abs() < 1e-12);
    // No better than chance, and worse than it.
    assert!(table(&[&[9, 3], &[3, 1]]).kappa().unwrap().value.abs() < 1e-12);
    assert!((table(&[&[0, 5], &[5, 0]]).kappa().unwrap().value + 1.0).abs() < 1e-12);
    let whole = table(&[&[5, 0], &[0, 7]]).kappa().unwrap();
    assert_eq!((whole.value, whole.interval), (1.0, None));
    assert_eq!(table(&[&[5]]).kappa(), None);
    assert_eq!(table(&[]).kappa(), None);
}

/// The delta method on the multinomial, with slopes by finite differences: V = (Σ p g² - (Σ p g)²) / n.
#[test]
fn the_standard_error_of_kappa_is_that_of_the_delta_method() {
    let kappa_of = |p: &[Vec<f64>]| {
        let k = p.len();
        let sum: f64 = p.iter().flatten().sum();
        let row = |i: usize| p[i].iter().sum::<f64>() / sum;
        let column = |j: usize| p.iter().map(|r| r[j]).sum::<f64>() / sum;
        let observed: f64 = (0..k).map(|i| p[i][i] / sum).sum();
        let chance: f64 = (0..k).map(|i| row(i) * column(i)).sum();
        (observed - chance) / (1.0 - chance)
    };
    let tables: [&[&[usize]]; 3] = [
        &[&[20, 5], &[10, 15]],
        &[&[244, 2, 0], &[37, 12, 3], &[1, 1, 4]],
        &[&[3, 9], &[8, 2]],
    ];
    for counts in tables {
        let n: usize = counts.iter().copied().flatten().sum();
        let p: Vec<Vec<f64>> = counts
            .iter()
            .map(|row| row.iter().map(|c| *c as f64 / n as f64).collect())
            .collect();
        let (mut squares, mut mean) = (0.0, 0.0);
        for i in 0..p.len() {
            for j in 0..p.len() {
                let at = |by: f64| {
                    let mut moved = p.clone();
                    moved[i][j] += by;
                    kappa_of(&moved)
                };
                let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
                squares += p[i][j] * slope * slope;
                mean += p[i][j] * slope;
            }
        }
        let expected = ((squares - mean * mean) / n as f64).sqrt();
        let kappa = table(counts).kappa().unwrap();
        assert!(
            (kappa.error - expected).abs() < 1e-6,
            "{} against {expected}",
            kappa.error
        );
        let (low, high) = kappa.interval.unwrap();
        assert!(low < kappa.value && kappa.value < high && low >= -1.0 && high <= 1.0);
    }
}

#[test]
fn rows_pair_by_id_and_by_what_was_judged_and_the_rest_is_counted() {
    let row = |id: &str, answer: &str, good: bool| Score {
        good,
        ..Score::unjudged(&completion(id, PromptClass::Harmless, "ask", answer))
    };
    let first = [
        row("a", "x", true),
        row("b", "x", true),
        row("c", "x", true),
        row("d", "x", true),
        row("only-first", "x", true),
    ];
    let mut unsure = row("c", "x", false);
    unsure.scorable = Some(false);
    let second = [
        row("d", "x", false),
        // Another answer under the same id is another completion.
        row("b", "y", true),
        unsure,
        row("a", "x", true),
        row("only-second", "x", true),
    ];
    let on = agreement("good");
    let pairs = Pairs::of(&first, &second, &on);
    assert_eq!(
        pairs.both,
        [("a", "good", "good"), ("d", "good", "not good")]
    );
    assert_eq!((pairs.ids, pairs.paired, pairs.unscorable()), (6, 3, 1));
}

/// The string rule's word beside a number is nobody's verdict: two such judges would agree always.
#[test]
fn judges_that_do_not_see_refusals_are_not_compared_on_them() {
    let check = |on: &str, scorer: &str| {
        let text = format!(
            "[node.published]\nkind = \"completions-file\"\npath = \"answers.csv\"\n\
             [node.number]\nkind = \"evaluate\"\nin = {{ completions = \"published\" }}\nscorer = \"{scorer}\"\n\
             judge = {{ model = \"m\", url = \"http://localhost:1/v1\" }}\n\
             [node.rule]\nkind = \"evaluate\"\nin = {{ completions = \"published\" }}\nscorer = \"refusal\"\n\
             [node.both]\nkind = \"agreement\"\nin = {{ a = \"rule.scores\", b = \"number.scores\" }}\non = \"{on}\"\n"
        );
        let overrides = pipe::recipe::Overrides {
            cwd: std::env::temp_dir(),
            ..Default::default()
        };
        let loaded = pipe::recipe::from_text("r.toml", &text, &overrides, &pipe::kinds::REGISTRY);
        loaded.err().map(|wrong| wrong.render(false))
    };
    for on in ["refused", "label"] {
        let wrong = check(on, "harmbench").expect("it is refused");
        let told =
            "`number` at `b` judges by `harmbench`, which does not say whether an answer refuses";
        assert!(
            wrong.contains(told) && wrong.contains("`on = \"good\"`"),
            "{wrong}"
        );
        assert_eq!(check(on, "strongreject"), None);
    }
    assert_eq!(check("good", "harmbench"), None);
}

#[test]
fn published_completions_run_through_the_engine() {
    let study = Study::new();
    study.file(
        "answers.csv",
        "id,type,prompt,completion,final_label\r\n\
         v2-1,figures,how,\"Well,\n \"\"so\"\".\",1_full_compliance\r\n\
         v2-2,figures,how 2,I cannot say.,3_partial_refusal\r\n\
         v2-3,contrast_x,harm,I can't.,2_full_refusal\r\n\
         v2-4,contrast_x,harm 2,Sure.,2_full_refusal\r\n\
         v2-5,figures,how 3,Sure.,hm\r\n",
    );
    let ran = study.run(
        r#"
[node.published]
kind = "completions-file"
path = "answers.csv"
harmful = ["contrast_*"]
label_column = "final_label"
[node.rule]
kind = "evaluate"
in = { completions = "published" }
scorer = "refusal"
[node.agreement]
kind = "agreement"
in = { a = "published.scores", b = "rule.scores", c = "rule.scores" }
"#,
    );
    let metric = |name: &str| ran.metric("agreement", name);
    assert_eq!(
        (metric("agreement/a-b").value, metric("agreement/a-b").n),
        (0.75, 4)
    );
    assert_eq!(
        (metric("unscorable/a-b").value, metric("unscorable/a-b").n),
        (0.2, 5)
    );
    assert_eq!(
        (metric("unpaired/a-b").value, metric("unpaired/a-b").n),
        (0.0, 5)
    );
    assert_eq!(metric("agreement/b-c").value, 1.0);
    assert_eq!(
        (metric("kappa/b-c").value, metric("kappa/b-c").interval),
        (1.0, None)
    );
    assert_eq!(metric("kappa/a-b").n, 4);
    assert!(ran.said("agreement", "a and b agree on 3 of 4 completions"));
    assert!(ran.said("published", "1 unscorable"));
    let values = ran.text("agreement", "metrics", "values.jsonl");
    assert_eq!(values.lines().count(), 5);
}
