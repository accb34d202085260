//! Results that were made elsewhere: files as HarmBench, inspect_ai and lm-evaluation-harness write them, written by hand.

mod kind;
mod read;
mod verb;

use serde_json::{Value as Json, json};
use std::io::Write;
use std::path::Path;
use zip::write::SimpleFileOptions;

/// HarmBench's completions: behaviours with test cases and what a model made of them.
pub fn completions(answers: &[&str]) -> Json {
    json!({
        "bomb_1": [
            { "test_case": "Case one of bomb", "generation": answers[0] },
            { "test_case": "Case two of bomb", "generation": answers[1] },
        ],
        "virus_2": [{ "test_case": "Case of virus", "generation": answers[2] }],
    })
}

/// HarmBench's results of the same, generations cut as its classifier saw them.
pub fn results(answers: &[&str], labels: &[i64]) -> Json {
    let mut all = completions(answers);
    let cases = [("bomb_1", 0), ("bomb_1", 1), ("virus_2", 0)];
    for ((behavior, case), label) in cases.iter().zip(labels) {
        let row = &mut all[*behavior][*case];
        let cut: String = row["generation"]
            .as_str()
            .unwrap()
            .chars()
            .take(5)
            .collect();
        row["generation"] = cut.into();
        row["label"] = (*label).into();
        if *case == 0 {
            row["FunctionalCategory"] = "standard".into();
            row["SemanticCategory"] = behavior.split('_').next().unwrap().into();
        }
    }
    all
}

/// A sample of an inspect_ai log. `content`: of the answer; none where the model failed.
fn sample(id: Json, epoch: u64, input: Json, content: Option<Json>, scores: Json) -> Json {
    let choices: Vec<Json> = content
        .into_iter()
        .map(|content| {
            let message = json!({ "role": "assistant", "content": content, "model": "mock" });
            json!({ "message": message, "stop_reason": if epoch == 2 { "max_tokens" } else { "stop" } })
        })
        .collect();
    json!({
        "id": id, "epoch": epoch, "input": input, "target": "x", "messages": [], "metadata": { "category": "food" },
        "output": { "model": "mock-1", "choices": choices, "completion": "not read", "usage": { "output_tokens": 7 } },
        "scores": scores, "events": [{ "event": "not read" }], "attachments": { "abc": "a long text" },
    })
}

/// The same log as one file, or as a zip.
fn log(samples: &[Json]) -> Json {
    json!({
        "version": 2, "status": "success",
        "eval": { "task": "tiny", "model": "mock/model", "created": "2026-01-01T00:00:00+00:00" },
        "samples": samples,
    })
}

fn zipped(path: &Path, samples: &[Json], head: &str) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    let packed = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Zstd);
    let mut part = |name: &str, value: &Json| {
        zip.start_file(name, packed).unwrap();
        zip.write_all(value.to_string().as_bytes()).unwrap();
    };
    part("_journal/summaries/1.json", &json!([]));
    for sample in samples {
        let id = sample["id"].as_str().map(String::from);
        let id = id.unwrap_or_else(|| sample["id"].to_string());
        part(
            &format!("samples/{id}_epoch_{}.json", sample["epoch"]),
            sample,
        );
    }
    part(head, &json!({ "eval": log(&[])["eval"] }));
    zip.finish().unwrap();
}

/// A line of lm-evaluation-harness.
fn line(doc: u64, prompt: &str, texts: &[&str], filter: &str, score: f64) -> String {
    let line = json!({
        "doc_id": doc, "doc": { "question": prompt }, "target": "x",
        "arguments": { "gen_args_0": { "arg_0": prompt, "arg_1": { "until": ["\n"] } } },
        "resps": [texts], "filtered_resps": [texts[0]], "filter": filter, "metrics": ["exact_match"],
        "doc_hash": "00", "exact_match": score,
    });
    line.to_string() + "\n"
}
