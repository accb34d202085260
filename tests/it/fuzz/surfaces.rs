//! Every place where the program reads what somebody else wrote, as a function of bytes. Whatever the bytes are, it returns: what is
//! wrong with them is an error that it keeps to itself. Used by the tests and by `bench/fuzz`.

use crate::toys::REGISTRY;
use pipe::base::bounded::is_inner;
use pipe::base::rows::{self, Completion, Conversation, Measured, Pair, Prompt};
use pipe::data::format::Format;
use pipe::data::json::Layout as Shape;
use pipe::data::parquet::Parquet;
use pipe::data::read::{How, reader};
use pipe::data::reader::Reader;
use pipe::data::synonyms as words;
use pipe::data::targets as texts;
use pipe::data::text::Text;
use pipe::engine::events::journal;
use pipe::engine::kind::Type;
use pipe::engine::kind::attempt;
use pipe::engine::kind::attempt::Attempt;
use pipe::engine::kind::checkpoint as resume;
use pipe::engine::store::record::Record;
use pipe::kinds::attacks::augment::{self, Draws, Stage};
use pipe::kinds::attacks::letters;
use pipe::kinds::attacks::pair::reading::proposal;
use pipe::kinds::attacks::quotes;
use pipe::kinds::attacks::rainbow::archive::Archive;
use pipe::kinds::attacks::ratings::rating;
use pipe::kinds::data::import::found;
use pipe::learn::checkpoint::{self, State};
use pipe::learn::config::Config;
use pipe::learn::peft;
use pipe::learn::template::{Dialogue, Template};
use pipe::learn::tensors::{self, TensorFile, Tensors};
use pipe::learn::tokenizer::Tokenizer;
use pipe::learn::weights::Layout;
use pipe::recipe::{Overrides, from_text};
use pipe::remote::settings::Table;
use pipe::remote::{self, Pack};
use pipe::services::journal::{Journal, shared};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub struct Surface {
    pub name: &'static str,
    pub run: fn(&[u8]),
}

/// A surface is called as its function.
macro_rules! surfaces {
    ($($name:ident),+ $(,)?) => {
        pub const ALL: &[Surface] = &[$(Surface { name: stringify!($name), run: $name }),+];
    };
}

surfaces!(
    recipe, arguments, tensors, config, index, adapter, tokenizer, template, table, made, parquet,
    rows, record, journal, attempt, checkpoint, targets, synonyms, reply, archive, copies, pack,
    answers, remotes,
);

thread_local! {
    /// For what is read from a folder.
    static FOLDER: TempDir = tempfile::tempdir().expect("a temporary folder can be made");
}

/// The path of a file with these bytes, in a folder that is used again.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    FOLDER.with(|folder| {
        let path = folder.path().join(name);
        let parent = path.parent().expect("a file has a folder");
        fs::create_dir_all(parent).expect("a folder can be made");
        fs::write(&path, bytes).expect("a file can be written");
        path
    })
}

fn folder(name: &str) -> PathBuf {
    FOLDER.with(|folder| folder.path().join(name))
}

pub fn recipe(data: &[u8]) {
    load(&String::from_utf8_lossy(data), &[], &[]);
}

/// Lines that begin with `m` are of `--matrix`, all others of `--set`.
pub fn arguments(data: &[u8]) {
    const RECIPE: &str = "[vars]\na = 1\nb = \"${a}x\"\n[matrix]\na = [1, 2]\n[node.w]\nkind = \"prompts-file\"\npath = \"${b}\"\n\
                          [node.j]\nkind = \"mix\"\nin = { prompts = \"w\" }\ntotal = 1\n";
    let text = String::from_utf8_lossy(data);
    let (mut sets, mut matrix) = (vec![], vec![]);
    for line in text.split('\n') {
        match line.strip_prefix('m') {
            Some(axis) => matrix.push(axis.to_string()),
            None => sets.push(line.to_string()),
        }
    }
    load(RECIPE, &sets, &matrix);
}

fn load(text: &str, sets: &[String], matrix: &[String]) {
    let overrides = |sets: &[String], matrix: &[String]| Overrides {
        sets: sets.to_vec(),
        matrix: matrix.to_vec(),
        cwd: PathBuf::from("/nowhere"),
    };
    match from_text("r.toml", text, &overrides(sets, matrix), &REGISTRY) {
        Err(diags) => {
            assert!(!diags.is_empty(), "who is refused is told why");
            diags.render(true);
            diags.json();
        }
        Ok(variants) => {
            for variant in variants {
                let resolved = variant.resolved_text();
                let again = from_text("r.toml", &resolved, &overrides(&[], &[]), &REGISTRY);
                let again = again.unwrap_or_else(|diags| panic!("{resolved}\n{diags}"));
                assert_eq!(again[0].resolved_text(), resolved);
            }
        }
    }
}

pub fn tensors(data: &[u8]) {
    let path = file("x.safetensors", data);
    if let Ok(mut file) = TensorFile::open(&path) {
        for name in file.names() {
            let _ = file.array(&name);
        }
        let _ = file.note("state");
    }
    let _ = State::load(&path);
}

pub fn config(data: &[u8]) {
    let Ok(value) = serde_json::from_slice(data) else {
        return;
    };
    let Ok(config) = Config::from_json(&value) else {
        return;
    };
    let again = Config::from_json(&config.to_json()).expect("what we write we read");
    assert_eq!(again, config);
    if config.parameters() < 1 << 16 && config.layers < 100 {
        assert!(Layout::new(&config).len() as u128 >= config.parameters());
    }
}

/// The config of a model of a few numbers.
const TINY: &str = r#"{
    "architectures": ["Qwen2ForCausalLM"], "hidden_act": "silu", "hidden_size": 4, "intermediate_size": 4,
    "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 4, "vocab_size": 5,
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "max_position_embeddings": 16, "tie_word_embeddings": true
}"#;

fn tiny() -> Config {
    let value = serde_json::from_str(TINY).expect("it is JSON");
    Config::from_json(&value).expect("it is a config")
}

/// A file with all tensors of the tiny model.
fn weights(path: &Path) {
    let layout = Layout::new(&tiny());
    let numbers = vec![0.5; layout.len()];
    let all: Tensors = layout
        .params
        .iter()
        .map(|p| {
            (
                p.name.as_str(),
                (p.shape.as_slice(), &numbers[p.range.clone()]),
            )
        })
        .collect();
    tensors::write(path, &all, ("format", "pt")).expect("it can be written");
}

pub fn index(data: &[u8]) {
    let path = file("sharded/model.safetensors.index.json", data);
    let shard = path.with_file_name("a.safetensors");
    if !shard.exists() {
        file("sharded/config.json", TINY.as_bytes());
        weights(&shard);
    }
    let _ = checkpoint::load(&folder("sharded"));
}

pub fn adapter(data: &[u8]) {
    let path = file("adapter/adapter_config.json", data);
    let numbers = path.with_file_name("adapter_model.safetensors");
    if !numbers.exists() {
        let site = "base_model.model.model.layers.0.self_attn.q_proj";
        let (a, b) = (
            format!("{site}.lora_A.weight"),
            format!("{site}.lora_B.weight"),
        );
        let data = [0.5; 8];
        let all: Tensors = [
            (a.as_str(), (&[2, 4][..], &data[..])),
            (b.as_str(), (&[4, 2][..], &data[..])),
        ]
        .into();
        tensors::write(&numbers, &all, ("format", "pt")).expect("it can be written");
    }
    let _ = peft::load(&folder("adapter"), &tiny());
}

pub fn targets(data: &[u8]) {
    let _ = texts::parse(data);
    let _ = texts::read(&file("targets.json", data));
}

pub fn synonyms(data: &[u8]) {
    let _ = words::parse(data);
    let _ = words::read(&file("synonyms.json", data));
}

/// What an attacker or a judge wrote: a proposal, a rating, a text in quotes.
pub fn reply(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(read) = proposal(&text) {
        assert!(!read.prompt.trim().is_empty());
        let again = proposal(&read.json());
        assert_eq!(
            again,
            Some(read),
            "what an attacker is kept it could have written"
        );
    }
    assert!(rating(&text).is_none_or(|n| (1..=10).contains(&n)));
    let bare = quotes::stripped(&text);
    assert!(text.contains(bare) && bare.len() <= text.len());
}

pub fn archive(data: &[u8]) {
    let path = file("archive.json", data);
    if let Ok(archive) = Archive::read(&path, 2, 3) {
        assert_eq!(archive.cells.len(), 6);
        let again = file("again.json", archive.json().as_bytes());
        let again = Archive::read(&again, 2, 3).expect("what we write we read");
        assert_eq!(again, archive);
    }
}

/// A prompt of which copies are made: what changes hangs on the text, as draws on a seed do.
pub fn copies(data: &[u8]) {
    struct Taken<'d>(std::iter::Cycle<std::slice::Iter<'d, u8>>);
    impl Taken<'_> {
        fn byte(&mut self) -> u8 {
            self.0.next().copied().unwrap_or(7)
        }
    }
    impl Draws for Taken<'_> {
        fn unit(&mut self, _: Stage) -> f64 {
            f64::from(self.byte()) / 256.0
        }

        fn order(&mut self, n: usize) -> Vec<usize> {
            let by = usize::from(self.byte());
            (0..n).map(|i| (i + by) % n).collect()
        }

        fn up(&mut self) -> bool {
            self.byte() > 127
        }
    }
    let text = String::from_utf8_lossy(data);
    let p = augment::Params {
        n: 1,
        sigma: 0.4,
        scramble: true,
        capitals: true,
        noise: true,
        drop_other_letters: false,
        seed: 0,
    };
    let copy = augment::augment(&text, &p, &mut Taken(data.iter().cycle()));
    let sorted = |text: &str| -> Vec<char> {
        let mut all: Vec<char> = text.chars().filter(|c| !letters::is_space(*c)).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(
        sorted(&copy.scrambled),
        sorted(&text),
        "letters change places"
    );
    let (n, m) = (copy.scrambled.chars().count(), copy.result.chars().count());
    assert_eq!(n, m, "no letter is lost");
}

pub fn tokenizer(data: &[u8]) {
    file("tokenizer/tokenizer.json", data);
    file(
        "tokenizer/generation_config.json",
        br#"{ "eos_token_id": 0 }"#,
    );
    if let Ok(tokenizer) = Tokenizer::load(&folder("tokenizer")) {
        let text = "Hello <think>b\u{e9} 日本</think>\n\n 12";
        for ids in [tokenizer.encode(text), tokenizer.encode_with_special(text)] {
            let _ = tokenizer.decode(&ids.unwrap_or_default(), false);
        }
        let _ = tokenizer.decode(&[0, 1, u32::MAX], true);
        tokenizer.stop_texts();
    }
}

pub fn template(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else {
        return;
    };
    let tokens = [("bos_token", "<s>"), ("eos_token", "</s>")];
    let tokens = tokens.map(|(name, text)| (name.to_string(), text.to_string()));
    let Ok(template) = Template::new(source, tokens.into()) else {
        return;
    };
    let messages = [
        json!({ "role": "system", "content": "Be brief." }),
        json!({ "role": "user", "content": "2 + 2?" }),
        json!({ "role": "assistant", "content": "<think>\nadd\n</think>\n\n4", "tool_calls": [{ "name": "f", "arguments": { "x": 1.5 } }] }),
    ];
    let _ = template.render(Dialogue {
        messages: &messages,
        tools: Some(&json!([{ "type": "function", "function": { "name": "f" } }])),
        add_generation_prompt: true,
    });
}

pub fn table(data: &[u8]) {
    let plain = How::default();
    let loose = How {
        loose: true,
        ..plain
    };
    let layout = |layout| How { layout, ..plain };
    for (format, how) in [
        (Format::Csv, plain),
        (Format::Tsv, plain),
        (Format::Tsv, loose),
        (Format::Jsonl, plain),
        (Format::Json, layout(Shape::Rows)),
        (Format::Json, layout(Shape::Cells)),
        (Format::Json, layout(Shape::Keyed)),
    ] {
        let text = Text::new(Box::new(std::io::Cursor::new(data.to_vec())));
        drain(reader(format, text, how));
    }
}

/// Its columns, then its rows to their end or to an error, and each cell as all that it may be.
fn drain(reader: anyhow::Result<Box<dyn Reader>>) {
    if let Ok(mut reader) = reader {
        reader.columns();
        while let Ok(Some(record)) = reader.next() {
            for name in record.names() {
                let _ = record.text(&[name]);
                let _ = record.first_turn(&[name]);
                let _ = record.responses(&[name]);
                let _ = record.messages(&[name]);
            }
        }
    }
}

pub fn parquet(data: &[u8]) {
    let path = file("x.parquet", data);
    drain(Parquet::open(&path).map(|p| Box::new(p) as Box<dyn Reader>));
}

pub fn made(data: &[u8]) {
    for name in ["x.json", "samples_x.jsonl", "x.eval"] {
        let _ = found::look(&file(name, data), None);
    }
}

pub fn rows(data: &[u8]) {
    let path = file("rows/rows.jsonl", data);
    let _ = rows::read_lines::<Prompt>(&path);
    let _ = rows::read_lines::<Conversation>(&path);
    let _ = rows::read_lines::<Completion>(&path);
    let _ = rows::read_lines::<Pair>(&path);
    let _ = rows::read_lines::<Measured>(&path);
    file("rows/metrics.json", data);
    let _ = Type::Metrics.check(&folder("rows"));
}

pub fn record(data: &[u8]) {
    let Ok(record) = Record::from_text(&String::from_utf8_lossy(data)) else {
        return;
    };
    let hex = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(hex(record.key.as_str()));
    let files = record.outputs.values().flat_map(|a| &a.files);
    for blob in files.chain(&record.logs) {
        assert!(is_inner(&blob.path), "{:?}", blob.path);
        assert!(hex(blob.digest.as_str()));
    }
    let text = record.to_text().expect("a record has a text");
    let again = Record::from_text(&text).expect("what we write we read");
    assert_eq!(again, record);
}

pub fn journal(data: &[u8]) {
    let _ = journal::parse(data);
}

/// `attempt.json`, and what is TOML in it.
pub fn attempt(data: &[u8]) {
    let path = file("attempts/a-1/attempt.json", data);
    let dir = path.parent().expect("it has a folder").to_path_buf();
    if let Ok(spec) = (Attempt { dir }).spec() {
        let _ = attempt::read_values(&spec.params);
        for earlier in spec.earlier {
            assert_eq!(earlier.parent(), Some(folder("attempts").as_path()));
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = attempt::read_values(text);
    }
}

pub fn checkpoint(data: &[u8]) {
    file("resume/step-1/checkpoint.json", data);
    for found in resume::found(&[folder("resume")], "step") {
        let _ = found.progress.fraction();
    }
}

/// A part of a remote's index: as it lies there, and what is packed in it.
pub fn pack(data: &[u8]) {
    let _ = Pack::read(&remote::name(data), data);
    let (name, object) = remote::sealed(data).expect("bytes can be packed");
    let Ok(pack) = Pack::read(&name, &object) else {
        return;
    };
    assert!(Pack::read("another.pack", &object).is_err());
    let all: BTreeMap<_, _> = pack.all().collect();
    for row in 0..pack.len() {
        let _ = (pack.key(row), pack.entry(row));
    }
    let (name, object) = remote::pack(&all).expect("records can be packed");
    let again = Pack::read(&name, &object).expect("what we write we read");
    assert_eq!(again.all().collect::<BTreeMap<_, _>>(), all);
}

/// Answers of services as somebody shares them.
pub fn answers(data: &[u8]) {
    let dir = folder("calls");
    let _ = fs::remove_dir_all(&dir);
    assert!(shared::take(&dir, "another.calls", data).is_err());
    let Ok(answers) = shared::take(&dir, &shared::name(data), data) else {
        assert!(!dir.exists(), "nothing of it is laid down");
        return;
    };
    let mut keys = BTreeSet::new();
    let mut journal = Journal::open(&dir).expect("a folder of answers can be opened");
    let each = journal.each(&mut |key, _| {
        keys.insert(key.hex());
        true
    });
    each.expect("what was looked at is read");
    assert!(keys.len() <= answers);
    assert_eq!(keys.is_empty(), answers == 0);
}

/// `[remote]` of a file of settings.
pub fn remotes(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for alone in [true, false] {
        if let Err(diags) = Table::read("settings.toml", &text, alone) {
            assert!(!diags.is_empty(), "who is refused is told why");
            diags.render(true);
            diags.json();
        }
    }
}
