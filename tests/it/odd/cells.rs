//! What stands in the cells of somebody else's file: each shape with the right value, or an error that says what stands there and what
//! to write. Files are read through the one way in, `Rows`.

use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use pipe::base::response::Withheld;
use pipe::data::read::{How, Rows};
use pipe::data::record::Record;
use serde_json::Value;
use std::fs::File;
use std::path::Path;

/// What becomes of every row of a file, or what is wrong with it, by its name and its bytes.
fn each<T>(
    name: &str,
    bytes: impl AsRef<[u8]>,
    read: impl Fn(&Record) -> anyhow::Result<T>,
) -> Result<Vec<T>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    rows(&path, read)
}

fn rows<T>(path: &Path, read: impl Fn(&Record) -> anyhow::Result<T>) -> Result<Vec<T>, String> {
    let rows = Rows::of(path, None, None, How::default()).map_err(|e| format!("{e:#}"))?;
    let mut all = vec![];
    for record in rows {
        let record = record.map_err(|e| format!("{e:#}"))?;
        let one = read(&record).map_err(|e| format!("row {}: {e:#}", record.row))?;
        all.push(one);
    }
    Ok(all)
}

fn prompts(name: &str, bytes: impl AsRef<[u8]>) -> Result<Vec<String>, String> {
    each(name, bytes, |record| record.prompt(&["prompt"]))
}

/// One row of JSON lines with this cell.
fn prompt(cell: &str) -> Result<String, String> {
    let line = format!("{{\"id\": 1, \"prompt\": {cell}}}\n");
    prompts("p.jsonl", line).map(|mut all| all.remove(0))
}

/// The texts of the samples of this cell.
fn responses(cell: &str) -> Result<Vec<(String, Option<Withheld>)>, String> {
    let line = format!("{{\"response\": {cell}}}\n");
    let mut all = each("r.jsonl", line, |record| record.responses(&["response"]))?;
    let said = all.remove(0).into_iter();
    Ok(said.map(|said| (said.text, said.withheld)).collect())
}

fn texts(cell: &str) -> Vec<String> {
    let all = responses(cell).unwrap_or_else(|e| panic!("{cell}: {e}"));
    all.into_iter().map(|(text, _)| text).collect()
}

#[test]
fn a_prompt_is_a_text_or_the_one_message_of_a_user() {
    let same = [
        r#""Ask""#,
        r#"["Ask"]"#,
        r#"[{"role": "user", "content": "Ask"}]"#,
        r#"{"role": "user", "content": "Ask"}"#,
        r#"[{"from": "human", "value": "Ask"}]"#,
        r#"[{"content": [{"type": "text", "text": "As"}, {"type": "text", "text": "k"}], "role": "user"}]"#,
        // A system message without a word says nothing.
        r#"[{"role": "system", "content": ""}, {"role": "User", "content": "Ask", "name": null}]"#,
        r#"[[{"role": "user", "content": "Ask"}]]"#,
        // JSON in a text.
        r#""[{\"role\": \"user\", \"content\": \"Ask\"}]""#,
    ];
    for cell in same {
        assert_eq!(prompt(cell).as_deref(), Ok("Ask"), "{cell}");
    }
    // JSON that is no message is what the user says.
    for text in [
        r#"["a", "b"]"#,
        r#"{"from": "alice", "value": 3}"#,
        r#"[{"role": "x"}]"#,
        "[1]",
        "{",
        "array of role and content",
    ] {
        let cell = Value::from(text).to_string();
        assert_eq!(prompt(&cell).as_deref(), Ok(text));
    }
}

#[test]
fn a_prompt_of_another_shape_is_an_error_with_its_row_and_column() {
    let system =
        r#"[{"role": "system", "content": "Be careful."}, {"role": "user", "content": "Ask"}]"#;
    let table = [
        (
            system,
            "`prompt` is a list of messages with a system message (`Be careful.`)",
        ),
        (
            r#"[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]"#,
            "with 2 turns of the user",
        ),
        (
            r#"[{"role": "user", "content": "a"}, {"role": "assistant", "content": "Sure, here"}]"#,
            "with one of the assistant",
        ),
        (
            r#"["a", "b", "c"]"#,
            "`prompt` is a list of 3 texts; a prompt is one text",
        ),
        ("[]", "`prompt` is an empty list"),
        ("7", "`prompt` is the number 7"),
        ("true", "`prompt` is the truth value true"),
        (
            r#"{"text": "a"}"#,
            "`prompt` is an object with the keys `text`",
        ),
        (
            r#"[{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]"#,
            "a part of the type `image_url`",
        ),
        (
            r#"[{"role": "pirate", "content": "a"}]"#,
            "its role is `pirate`",
        ),
        (
            r#"[{"role": "user", "content": 7}]"#,
            "its content is the number 7",
        ),
        (
            r#""[{'role': 'user', 'content': \"it's\"}]""#,
            "as Python prints it",
        ),
        (
            r#""array([{'content': 'a', 'role': 'user'}], dtype=object)""#,
            "as Python prints it",
        ),
    ];
    for (cell, message) in table {
        let error = prompt(cell).unwrap_err();
        assert!(error.starts_with("row 1: "), "{cell}: {error}");
        assert!(error.contains(message), "{cell}: {error}");
    }
    // A table of texts holds the same things as JSON.
    let quoted = |cell: &str| format!("prompt\n\"{}\"\n", cell.replace('"', "\"\""));
    let one = quoted(r#"[{"role": "user", "content": "Ask"}]"#);
    assert_eq!(prompts("p.csv", one).unwrap(), ["Ask"]);
    let error = prompts("p.csv", quoted(system)).unwrap_err();
    assert!(error.contains("with a system message"), "{error}");
    assert_eq!(prompt("null").as_deref(), Ok(""));
}

#[test]
fn a_response_is_a_text_messages_or_a_list_of_samples() {
    assert_eq!(texts(r#""No.""#), ["No."]);
    assert_eq!(texts("null"), [""]);
    assert_eq!(
        texts(r#"[{"role": "assistant", "content": "No."}]"#),
        ["No."]
    );
    assert_eq!(texts(r#"["a", "b", null]"#), ["a", "b", ""]);
    let lists = r#"[[{"from": "gpt", "value": "a"}], [{"from": "gpt", "value": "b"}], "c"]"#;
    assert_eq!(texts(lists), ["a", "b", "c"]);
    let text = Value::from(r#"[{"role": "assistant", "content": "No."}]"#).to_string();
    assert_eq!(texts(&text), ["No."]);
    let thinks = r#"[{"role": "assistant", "content": "No.", "reasoning_content": "Hm."}]"#;
    assert_eq!(texts(thinks), ["<think>\nHm.\n</think>\n\nNo."]);
    let parts = r#"[{"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "No."}]}]"#;
    assert_eq!(texts(parts), ["<think>\nHm.\n</think>\n\nNo."]);
    let called = r#"[{"role": "assistant", "content": null, "tool_calls": [{"id": "1"}]}]"#;
    assert_eq!(
        responses(called).unwrap(),
        [(String::new(), Some(Withheld::ToolCall))]
    );
    let refused = r#"{"role": "assistant", "content": null, "refusal": "I won't."}"#;
    assert_eq!(
        responses(refused).unwrap(),
        [("I won't.".to_string(), Some(Withheld::Refused))]
    );
    for (cell, message) in [
        ("[]", "`response` is an empty list"),
        ("7", "`response` is the number 7"),
        (
            r#"["a", 7]"#,
            "a list whose item 2 cannot be read: the number 7",
        ),
        (
            r#"[{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}]"#,
            "several turns",
        ),
        (
            r#"[{"role": "user", "content": "a"}]"#,
            "does not end with one of the assistant",
        ),
        (
            r#"[{"message": {"content": "a"}}]"#,
            "an object with the keys `message`",
        ),
        (
            r#"["a", ["b", "c"]]"#,
            "item 2 cannot be read: a list of 2 texts",
        ),
    ] {
        let error = responses(cell).unwrap_err();
        assert!(error.contains(message), "{cell}: {error}");
    }
}

#[test]
fn ids_and_classes_are_texts_numbers_and_truth_values() {
    let label = |cell: &str| {
        let line = format!("{{\"id\": {cell}}}\n");
        let all = each("l.jsonl", line, |r| Ok(r.text(&["id"])?.into_owned()));
        all.map(|mut all| all.remove(0))
    };
    for (cell, text) in [
        (r#""a""#, "a"),
        ("7", "7"),
        ("true", "true"),
        ("null", ""),
        ("NaN", ""),
        (r#"["a"]"#, "a"),
        // An id that no number of 64 bits holds.
        ("123456789012345678901234", "123456789012345678901234"),
    ] {
        assert_eq!(label(cell).as_deref(), Ok(text));
    }
    for (cell, message) in [
        (r#"["a", "b"]"#, "`id` is a list of 2 texts"),
        (r#"{"a": 1}"#, "`id` is an object"),
    ] {
        assert!(label(cell).unwrap_err().contains(message), "{cell}");
    }
}

#[test]
fn a_quote_that_is_not_closed_or_is_followed_is_an_error_with_its_row_and_line() {
    let table = [
        (
            "id,prompt\n1,a\n2,\"b\nc\"\n3,\"open\n4,d\n5,e\n",
            "row 3: a quote is opened and never closed (line 5, `prompt`)",
        ),
        // The next quote closes it, and something follows.
        (
            "id,prompt\n1,\"open\n2,b\n3,\"How, do I?\"\n",
            "row 1: something follows a closing quote, beginning with `H` (line 4; the quote was opened in line 2, `prompt`)",
        ),
        (
            "id,prompt\n1,\"Say \\\"bake\\\" slowly\"\n",
            "row 1: something follows a closing quote, beginning with `b`",
        ),
        (
            "id,prompt\n1,\"bake\\\"\"\n2,c\n",
            "row 1: a quote is opened and never closed (line 2",
        ),
        ("id,prompt\n1,\"a\" \n", "something follows a closing quote"),
        (
            "id,prompt\n1,Say \\\"bake\\\"\n",
            "row 1: a quote with a backslash before it (line 2",
        ),
        (
            "id,prompt\n1, \"a\"\n",
            "row 1: a blank stands before a quote",
        ),
        (
            "\"id,prompt\n1,a\n",
            "the header row: a quote is opened and never closed (line 1",
        ),
        (
            "id,prompt\n1,a,b\n",
            "row 1: 3 fields where the header has 2 (line 2",
        ),
        (
            "id,prompt\n1\n",
            "row 1: 1 fields where the header has 2 (line 2",
        ),
        ("id,prompt\n1,a\0b\n", "is NUL"),
    ];
    for (text, message) in table {
        let error = prompts("p.csv", text).unwrap_err();
        assert!(error.contains(message), "{text:?}: {error}");
        let error = prompts("p.tsv", text.replace(',', "\t")).unwrap_err();
        let start = message.split([',', '`']).next().unwrap();
        assert!(error.contains(start), "{text:?}: {error}");
    }
    // What is right stays right.
    let text = "id,prompt\n1,\"two\nlines, \"\"quoted\"\"\"\n2,5\" pipe and \"q\"\n3,\"\"\n\n4,\"print(\\\"\"x\\\"\")\"\r5,\"\"\"\"";
    let right = [
        "two\nlines, \"quoted\"",
        "5\" pipe and \"q\"",
        "",
        "print(\\\"x\\\")",
        "\"",
    ];
    assert_eq!(prompts("p.csv", text).unwrap(), right);
    assert_eq!(prompts("P.CSV", "\u{feff}\"prompt\"\na\n").unwrap(), ["a"]);
}

#[test]
fn a_quote_that_another_row_closes_swallows_no_rows() {
    let csv = "id,prompt\n1,a\n2,\"open\n3,c\n4,screen of 12\"\n5,e\n";
    let error = prompts("p.csv", csv).unwrap_err();
    assert!(
        error.contains("row 2: `prompt` holds the rows that follow"),
        "{error}"
    );
    assert!(error.contains("line 3"), "{error}");
    let tsv = "id\tprompt\na-09\t\"open\na-10\tb\"\n";
    assert!(prompts("p.tsv", tsv).is_err());
    let lines = "id,prompt\n1,\"List:\n1,a\n2,b\"\n2,\"Two\nlines, 3 things\"\n";
    assert_eq!(prompts("p.csv", lines).map(|all| all.len()), Ok(2));
}

#[test]
fn two_columns_of_one_name_are_an_error_where_the_name_is_asked_for() {
    let table = [
        ("p.csv", "id,prompt,prompt\n1,a,b\n"),
        (
            "p.jsonl",
            "{\"id\": 1, \"prompt\": \"a\", \"prompt\": \"b\"}\n",
        ),
        (
            "p.json",
            "[{\"id\": 1, \"prompt\": \"a\", \"prompt\": \"b\"}]",
        ),
    ];
    for (name, text) in table {
        let error = prompts(name, text).unwrap_err();
        assert!(
            error.contains("row 1: several columns are called `prompt`"),
            "{name}: {error}"
        );
        let ids = each(name, text, |r| Ok(r.text(&["id"])?.into_owned()));
        assert_eq!(ids.unwrap(), ["1"], "{name}");
    }
    assert_eq!(prompts("p.csv", "prompt,,\na,b,c\n").unwrap(), ["a"]);
}

#[test]
fn json_as_python_writes_it_is_read_and_the_rest_is_told() {
    let cell = |text: &str| prompt(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    assert_eq!(cell(r#""bake 🍞 \ud83c\udf5e""#), "bake 🍞 🍞");
    assert_eq!(cell(r#""cut \ud83c""#), "cut \u{fffd}");
    assert_eq!(cell(r#""\udf5e then \ud83cx""#), "\u{fffd} then \u{fffd}x");
    assert_eq!(cell(r#""a", "score": [NaN, -Infinity, 0.5]"#), "a");
    assert_eq!(cell("NaN"), "");

    let lines = [
        ("[{\"prompt\": \"a\"},\n{\"prompt\": \"b\"}]\n", "rename it"),
        ("[{\"prompt\": \"a\"}]\n", "rename it"),
        ("{\n  \"prompt\": \"a\"\n}\n", "does not end in its line"),
        ("{\"prompt\": \"cut\n", "does not end in its line"),
        (
            "{\"prompt\": \"a\"},\n",
            "(column 16): a comma follows the object",
        ),
        (
            "{\"prompt\": \"a\"} {\"prompt\": \"b\"}\n",
            "another object follows",
        ),
        (
            "{\"prompt\": \"a\"} x\n",
            "something follows the end of the value: `x`",
        ),
        ("{'prompt': 'a'}\n", "a single quote"),
        ("{\"prompt\": \"a\", \"b\": True}\n", "is Python, not JSON"),
        (
            "{\"prompt\": \"a\",}\n",
            "a comma stands before the closing bracket",
        ),
        (
            "{prompt: \"a\"}\n",
            "where a key in double quotes was expected",
        ),
        ("{\"prompt\": \"a\\x41\"}\n", "`\\x` is no escape"),
        ("{\"prompt\": \"a\tb\"}\n", "the control character U+0009"),
        ("{\"prompt\": \"a\\ud8\"}\n", "four hexadecimal digits"),
        (
            "{\"prompt\": 01}\n",
            "`01}` stands where a value was expected",
        ),
    ];
    for (text, message) in lines {
        let error = prompts("p.jsonl", text).unwrap_err();
        assert!(error.contains("row 1: "), "{text:?}: {error}");
        assert!(error.contains(message), "{text:?}: {error}");
    }
    let error = prompts("p.json", "[{\"prompt\": \"a\"}, {'prompt': 1}]").unwrap_err();
    assert!(
        error.contains("row 2") && error.contains("a single quote"),
        "{error}"
    );
    let error = prompts("p.json", "[{\"prompt\": \"a\"},]").unwrap_err();
    assert!(error.contains("nothing stands behind a comma"), "{error}");
    let marks = "\u{feff}{\"prompt\": \"a\"}\n\u{feff}{\"prompt\": \"b\"}\n";
    let error = prompts("p.jsonl", marks).unwrap_err();
    assert!(error.contains("a byte order mark"), "{error}");
    let array = "[{\"prompt\": \"a\", \"n\": NaN}, {\"prompt\": \"\\ud800\"}]";
    assert_eq!(prompts("p.json", array).unwrap(), ["a", "\u{fffd}"]);
}

#[test]
fn json_nests_no_deeper_than_a_bound() {
    let nested = |n: usize| format!("\"a\", \"x\": {}1{}", "[".repeat(n), "]".repeat(n));
    assert_eq!(prompt(&nested(127)).as_deref(), Ok("a"));
    for n in [128, 200_000] {
        let error = prompt(&nested(n)).unwrap_err();
        assert!(error.contains("brackets nest deeper than 128"), "{error}");
        let array = format!("[{{\"prompt\": {}}}]", nested(n));
        let error = prompts("p.json", array).unwrap_err();
        assert!(error.contains("brackets nest deeper than 128"), "{error}");
    }
}

#[test]
fn binary_columns_of_parquet_are_the_text_that_they_are_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.PARQUET");
    let schema = "message rows { required binary prompt; required binary image; }";
    let schema = parse_message_type(schema).unwrap();
    let file = File::create(&path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema.into(), Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let columns: [[&[u8]; 2]; 2] = [
        ["Wie groß?".as_bytes(), b"Why?"],
        [b"\xff\xd8\xff", b"a\0b\0"],
    ];
    for values in columns {
        let values = values.map(|v| ByteArray::from(v.to_vec()));
        let mut column = group.next_column().unwrap().unwrap();
        let typed = column.typed::<ByteArrayType>();
        typed.write_batch(&values, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    assert_eq!(
        rows(&path, |record| record.prompt(&["prompt"])).unwrap(),
        ["Wie groß?", "Why?"]
    );
    let error = rows(&path, |record| record.prompt(&["image"])).unwrap_err();
    assert!(
        error.contains("row 1: `image` is binary data that is no text (3 bytes)"),
        "{error}"
    );
}

#[test]
fn files_that_are_not_what_their_names_say_are_told() {
    let utf16: Vec<u8> = "\u{feff}prompt\nWarum?\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let table: [(&str, &[u8], &str); 9] = [
        ("p.csv", &utf16, "the file is UTF-16"),
        ("p.jsonl", &utf16[2..], "the file is UTF-16"),
        ("p.csv", b"\x1f\x8b\x08\0", "has to end in .gz"),
        ("p.json", b"PAR1\x15\x04", "has to end in .parquet"),
        (
            "p.csv",
            b"version https://git-lfs.github.com/spec/v1\noid x\n",
            "git lfs pull",
        ),
        ("p.arrow", b"ARROW1", "`to_parquet` or `to_json`"),
        ("p.xlsx", b"PK", "save its sheet as CSV"),
        ("p.csv", b"prompt\ngr\xfc\xdf\n", "byte 9 is not UTF-8"),
        ("p.txt", b"a", "ends neither in .csv"),
    ];
    for (name, bytes, message) in table {
        let error = prompts(name, bytes).unwrap_err();
        assert!(error.contains(message), "{name}: {error}");
    }
    for name in ["P.JSONL", "p.Json", "p.NDJSON"] {
        assert_eq!(
            prompts(name, "{\"prompt\": \"a\"}\n{\"prompt\": \"b\"}\n")
                .unwrap()
                .len(),
            2
        );
    }
}

#[test]
fn a_folder_of_save_to_disk_is_told_how_to_be_one_that_is_read() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "train/state.json",
        "train/dataset_info.json",
        "dataset_dict.json",
    ] {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "{}").unwrap();
    }
    std::fs::write(
        folder.path().join("train/data-00000-of-00001.arrow"),
        "ARROW1",
    )
    .unwrap();
    let error = rows(folder.path(), |record| record.prompt(&["prompt"])).unwrap_err();
    assert!(
        error.contains("`train/data-00000-of-00001.arrow`"),
        "{error}"
    );
    assert!(
        error.contains("`load_from_disk` and then `to_parquet` or `to_json`"),
        "{error}"
    );
}
