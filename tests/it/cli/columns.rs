//! What every verb prints, at 80 and at 140 columns: golden files (`golden/columns/`), over a small store that is made once. `PIPE_BLESS=1`
//! writes them anew. What differs from run to run has one width here, or is replaced by one function.

use super::{Said, Space};
use pipe::base::text::width;
use pipe::engine::events::journal;
use pipe::engine::store::Store;
use std::collections::BTreeMap;
use std::path::Path;

/// Three models that never learned anything, judged on the same prompts, and one of them on others.
const STUDY: &str = r#"
name = "study"
[vars]
seed = 0
[node.prompts]
kind = "world-prompts"
sft = 4
rl = 4
validation = 4
eval = 8
[node.base]
kind = "world-model"
hidden_size = 16
layers = 1
heads = 2
intermediate_size = 16
seed = "${seed}"
[node.sft]
kind = "world-model"
hidden_size = 32
layers = 1
heads = 2
intermediate_size = 16
seed = "${seed}"
[node.base-answers]
kind = "generate"
in = { model = "base", prompts = "prompts.eval" }
max_new_tokens = 1
[node.sft-answers]
kind = "generate"
in = { model = "sft", prompts = "prompts.eval" }
max_new_tokens = 1
[node.sft-deeper-answers]
kind = "generate"
in = { model = "sft", prompts = "prompts.deeper" }
max_new_tokens = 1
[node.base-eval]
kind = "evaluate"
in = { completions = "base-answers" }
[node.sft-eval]
kind = "evaluate"
in = { completions = "sft-answers" }
[node.sft-deeper-eval]
kind = "evaluate"
in = { completions = "sft-deeper-answers" }
"#;

const WIDER: &str = r#"
extends = "study.toml"
name = "wider"
[[claim]]
about = "an untrained model that is wider defends no better, whatever its prompts are"
against = "study.toml"
node = "sft-eval"
expect = [{ metric = "defense", is = "within", by = 1.0 }]
[node.sft]
hidden_size = 48
"#;

const BAD: &str = "[node.fine]\nkind = \"toy-write\"\ntext = \"fine\"\n[node.bad]\nkind = \"toy-fail\"\n\
                   [node.below]\nkind = \"toy-join\"\nin = { a = \"fine\", b = \"bad\" }\n\
                   [node.lower]\nkind = \"toy-join\"\nin = { a = \"below\" }\n";

/// What is typed after `pipe`, in this order, and how it ends.
const TYPED: &[(&str, i32)] = &[
    ("check study.toml wider.toml", 0),
    ("plan study.toml", 0),
    ("plan wider.toml --set sft.layers=2", 0),
    ("show study.toml", 0),
    ("show study.toml sft-eval", 0),
    ("show study.toml prompts.eval -n 1", 0),
    ("show study.toml sft", 0),
    ("why study.toml sft-eval", 0),
    ("why study.toml sft --set sft.layers=2", 0),
    ("diff study.toml wider.toml", 1),
    ("table study.toml wider.toml", 0),
    ("table study.toml --matrix seed=0,1,2", 0),
    ("claims wider.toml", 0),
    ("claims wider.toml --matrix seed=0,1,2", 0),
    ("report study.toml -o page.html", 0),
    ("report study.toml --matrix seed=0,1", 0),
    ("ls", 0),
    ("ls --runs", 0),
    ("calls", 0),
    ("kinds lengths", 0),
    ("kinds --scorers", 0),
    ("status", 0),
    ("status last", 0),
    ("logs sft-eval", 0),
    ("stop last", 0),
    ("pin study.toml --name paper", 0),
    ("unpin paper", 0),
    ("gc --cap none", 0),
    ("verify --all", 0),
    ("export study.toml sft-eval out", 0),
    ("accept study.toml sft-eval --reason none", 2),
    ("adopt study.toml sft-eval out --reason none", 2),
    ("import none -o none.toml", 3),
    ("run study.toml", 0),
    ("run study.toml wider.toml", 0),
    ("run study.toml -q", 0),
    ("run bad.toml -q --jobs 1", 1),
    ("run bad.toml --jobs 1 --fresh fine", 1),
];

/// The beginning of the ids of the runs that are there: as long as ids are.
const RUN: &str = "20260101-000000-001-0001-";

/// With all times and sizes of memory as if they were the same everywhere.
fn made() -> Space {
    let space = Space::new();
    space.file("study.toml", STUDY);
    space.file("wider.toml", WIDER);
    space.file("bad.toml", BAD);
    let all = [
        "run",
        "study.toml",
        "wider.toml",
        "-q",
        "--jobs",
        "1",
        "--threads",
        "1",
    ];
    space.pipe(&all).ok();
    space.pipe(&["run", "study.toml", "-q"]).ok();
    let store = Store::open(&space.path("cache")).unwrap();
    for mut record in store.records().unwrap() {
        let cost = &mut record.cost;
        cost.seconds = 1.5 + record.provenance.node.len() as f64;
        (cost.cpu_seconds, cost.peak_bytes, cost.flop) = (1.25, 123_456_789, 0.0);
        cost.started_ms -= 3 * 86_400_000;
        record.provenance.run = format!("{RUN}0");
        let key = record.key.to_string();
        std::fs::remove_file(
            space.path(&format!("cache/actions/{}/{key}.json", record.key.shard())),
        )
        .unwrap();
        store.add_record(&record).unwrap();
    }
    let _ = std::fs::remove_dir_all(space.path("cache/memo/index"));
    let runs = journal::runs(&store).unwrap();
    for (at, id) in runs.iter().enumerate() {
        let named = store.runs().join(format!("{RUN}{at}"));
        std::fs::rename(store.runs().join(id), &named).unwrap();
        let path = named.join("run.json");
        let mut info: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        info["id"] = format!("{RUN}{at}").into();
        info["started_ms"] = (info["started_ms"].as_u64().unwrap() - 3 * 86_400_000).into();
        std::fs::write(&path, info.to_string()).unwrap();
    }
    space
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Keys and digests become as many marks as they have letters, ids of new runs `RUN`, times `T`.
fn lasting(text: &str, space: &Space) -> String {
    let text = text.replace(&space.dir.path().display().to_string(), "DIR");
    let lines = text.lines().map(|line| {
        let words = line.split(' ').map(plain);
        let line = clockless(&words.collect::<Vec<_>>().join(" "));
        let line = timed(&line, " in all");
        let line = timed(&line, "hit, saved ");
        timed(&line, "done in ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The time of day that a line begins with.
fn clockless(line: &str) -> String {
    let clock = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == ':');
    match line.split_at_checked(8) {
        Some((begin, rest)) if clock(begin) && rest.starts_with("  ") => format!("TT:TT:TT{rest}"),
        _ => line.into(),
    }
}

/// A word without what no two runs share.
fn plain(word: &str) -> String {
    let end = word.trim_end_matches([',', ':', ';', '.']);
    if end.len() > 20 && end.len() < 32 && end.contains('-') && !end.starts_with(RUN) {
        let run = end.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        return if run {
            "RUN".to_string() + &word[end.len()..]
        } else {
            word.into()
        };
    }
    let id = |c: char| c.is_ascii_hexdigit() || c == '-';
    let digits = end.chars().filter(char::is_ascii_digit).count();
    match end.len() >= 8 && digits >= 2 && end.chars().all(id) {
        true => "#".repeat(end.len()) + &word[end.len()..],
        false => word.into(),
    }
}

/// The duration before or behind these words becomes `T`.
fn timed(line: &str, words: &str) -> String {
    let Some(at) = line.find(words) else {
        return line.into();
    };
    match words.starts_with(' ') {
        true => {
            let from = line[..at].rfind("; ").map_or(0, |i| i + 2);
            format!("{}T{}", &line[..from], &line[at..])
        }
        false => format!("{}T", &line[..at + words.len()]),
    }
}

fn typed(space: &Space, columns: usize, words: &str) -> Said {
    let args: Vec<&str> = words.split(' ').collect();
    let output = space
        .command(&args)
        .env("COLUMNS", columns.to_string())
        .output();
    Said::new(output.unwrap())
}

#[test]
fn every_verb_at_80_and_140_columns() {
    let made = made();
    let mut wrong = vec![];
    for columns in [80, 140] {
        let space = Space::new();
        copy(made.dir.path(), space.dir.path());
        let mut all = String::new();
        for (words, code) in TYPED {
            let said = typed(&space, columns, words).ends(*code);
            // A command that is advised stands on a line of its own, as long as it is.
            let pasted = |line: &&str| line.contains("pipe ");
            for line in said.out.lines().filter(|line| !pasted(line)) {
                assert!(width(line) <= columns, "pipe {words}: {line}\n{}", said.out);
            }
            all += &format!("$ pipe {words}\n{}", lasting(&said.out, &space));
            if !said.err.is_empty() {
                all += &format!("\n--- stderr\n{}", lasting(&said.err, &space));
            }
            all += "\n\n";
        }
        let name = format!("columns/{columns}.txt");
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/it/golden")
            .join(&name);
        if std::env::var_os("PIPE_BLESS").is_some() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, &all).unwrap();
            continue;
        }
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        wrong.extend(parted(&kept, &all).map(|told| format!("{name}: {told}")));
    }
    assert!(
        wrong.is_empty(),
        "{}\nPIPE_BLESS=1 cargo test --release cli::columns writes them anew",
        wrong.join("\n")
    );
}

/// The first lines that differ, by command.
fn parted(kept: &str, now: &str) -> Option<String> {
    let by_command = |text: &str| -> BTreeMap<String, String> {
        let parts = text.split("$ pipe ").skip(1);
        let parts = parts.filter_map(|part| part.split_once('\n'));
        parts
            .map(|(words, said)| (words.into(), said.into()))
            .collect()
    };
    let (kept, now) = (by_command(kept), by_command(now));
    let differ = now
        .iter()
        .filter(|(words, said)| kept.get(*words) != Some(said));
    let told = differ.map(|(words, said)| {
        let was = kept.get(words).map_or("", String::as_str);
        let lines = was.lines().chain(std::iter::repeat("")).zip(said.lines());
        let first = lines.into_iter().find(|(was, is)| was != is);
        let (was, is) = first.unwrap_or(("more lines", ""));
        format!("pipe {words}\n  was: {was}\n  is:  {is}")
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join("\n"))
}

/// Lists that grow with every kind are as narrow as they are asked to be; so is all help. Examples and paths are no prose.
#[test]
fn lists_and_help_fit_as_well() {
    let space = Space::shipped();
    let overview = typed(&space, 80, "--help").ok().out;
    let verbs = overview
        .lines()
        .filter(|l| l.starts_with("  ") && !l.starts_with("   "));
    let verbs: Vec<&str> = verbs.filter_map(|l| l.split_whitespace().next()).collect();
    let verbs = verbs.iter().filter(|v| !v.starts_with('-'));
    let help = verbs.map(|verb| format!("{verb} --help"));
    let lists = ["kinds", "kinds grpo", "kinds --datasets"].map(String::from);
    for words in help.chain(lists) {
        let said = typed(&space, 80, &words).ok().out;
        let said = said.split("\nExample").next().unwrap();
        for line in said.lines() {
            let broken = width(line) > 80 && line.trim().contains(' ');
            assert!(!broken, "pipe {words}: {line}");
        }
    }
}
