//! CSV, TSV, JSONL and JSON: what the outside does to them, and how a bad file is named.

use super::{cells, records};
use crate::study::Study;
use pipe::base::memory;
use pipe::data::format::format;
use pipe::data::json::Layout;
use pipe::data::read::How;
use pipe::data::seen::Seen;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;

const PLAIN: How = How {
    layout: Layout::Rows,
    loose: false,
};
const LOOSE: How = How {
    loose: true,
    ..PLAIN
};

fn read(name: &str, bytes: impl AsRef<[u8]>, how: How) -> Result<Vec<Value>, String> {
    let study = Study::new();
    let path = study.file(name, bytes);
    records(&path, how).map(|records| cells(&records))
}

fn lay(layout: Layout) -> How {
    How { layout, ..PLAIN }
}

#[test]
fn the_same_rows_come_out_of_every_format() {
    let rows = [
        json!({"id": "a", "text": "How, do \"I\"?\r\nthen", "more": ""}),
        json!({"id": "b", "text": "Two\n\nlines\t", "more": "x"}),
        json!({"id": "c", "text": "größer 数 \u{1f600}", "more": " y "}),
    ];
    let separated = |by: &str, end: &str| {
        let line = |cells: [&str; 3]| {
            let quoted = cells.map(|c| match c.contains(['"', '\n', ',', '\t']) {
                true => format!("\"{}\"", c.replace('"', "\"\"")),
                false => c.to_string(),
            });
            quoted.join(by) + end
        };
        let body = rows
            .iter()
            .map(|r| line(["id", "text", "more"].map(|c| r[c].as_str().unwrap())));
        line(["id", "text", "more"]) + &body.collect::<String>()
    };
    let lines: Vec<String> = rows.iter().map(|r| r.to_string()).collect();
    let files = [
        ("a.csv", separated(",", "\n"), PLAIN),
        ("crlf.csv", separated(",", "\r\n"), PLAIN),
        (
            "bom.csv",
            format!("\u{feff}{}", separated(",", "\n")),
            PLAIN,
        ),
        (
            "end.csv",
            separated(",", "\n").trim_end_matches('\n').to_string(),
            PLAIN,
        ),
        ("a.tsv", separated("\t", "\n"), PLAIN),
        ("a.tsv", separated("\t", "\n"), LOOSE),
        ("crlf.tsv", separated("\t", "\r\n"), LOOSE),
        (
            "bom.tsv",
            format!("\u{feff}{}", separated("\t", "\n").trim_end_matches('\n')),
            LOOSE,
        ),
        ("a.jsonl", lines.join("\n"), PLAIN),
        (
            "blank.jsonl",
            format!("\u{feff}\n{}\r\n \n", lines.join("\r\n\r\n")),
            PLAIN,
        ),
        ("lines.json", lines.join("\n"), PLAIN),
        ("one.json", format!("[{}]", lines.join(",")), PLAIN),
        (
            "pretty.json",
            serde_json::to_string_pretty(&rows).unwrap(),
            PLAIN,
        ),
        (
            "inside.json",
            format!(
                "{{\"about\": {{\"x\": [1, \"]\"]}}, \"none\": [], \"rows\": [{}], \"n\": 3}}",
                lines.join(" , ")
            ),
            PLAIN,
        ),
    ];
    for (name, text, how) in files {
        assert_eq!(read(name, &text, how).unwrap(), rows, "{name}");
        if !name.ends_with(".json") {
            continue;
        }
        let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        assert_eq!(
            read(&format!("{name}.gz"), packed.finish().unwrap(), how).unwrap(),
            rows
        );
        let packed = zstd::encode_all(text.as_bytes(), 1).unwrap();
        assert_eq!(read(&format!("{name}.zst"), packed, how).unwrap(), rows);
    }
}

#[test]
fn quotes_of_a_loose_tsv_are_quotes_where_they_make_a_row() {
    let text = "a\tb\n\
                \"Hello\" she said\tx\n\
                plain \"quote\" inside\t\"\n\
                \"Whole, \"\"quoted\"\"\ttab\nand line\"\ty\n\
                \"never closed\tz\n\
                \"\"\t\"w\"\n\
                \"opens\tand \"closes\" later\n";
    let rows = read("w.tsv", text, LOOSE).unwrap();
    let pairs: Vec<(&str, &str)> = rows
        .iter()
        .map(|r| (r["a"].as_str().unwrap(), r["b"].as_str().unwrap()))
        .collect();
    assert_eq!(
        pairs,
        [
            ("\"Hello\" she said", "x"),
            ("plain \"quote\" inside", "\""),
            ("Whole, \"quoted\"\ttab\nand line", "y"),
            ("\"never closed", "z"),
            ("", "w"),
            ("\"opens", "and \"closes\" later"),
        ]
    );
    let error = read("w.tsv", "a\tb\nx\ty\nonly\n", LOOSE).unwrap_err();
    assert!(
        error.contains("w.tsv: row 2: 1 fields where the header has 2"),
        "{error}"
    );
}

#[test]
fn a_grid_and_a_table_by_key_are_rows_too() {
    let cells = "[[{\"prompt\":\"a\",\"score\":0.5},null],[{\"prompt\":\"b\"}]]";
    assert_eq!(
        read("g.json", cells, lay(Layout::Cells)).unwrap(),
        [
            json!({"prompt": "a", "score": 0.5, "row": 0, "column": 0}),
            json!({"row": 0, "column": 1}),
            json!({"prompt": "b", "row": 1, "column": 0}),
        ]
    );
    let keyed = "{\"one\": [\"p\", \"q\"], \"none\": [], \"two\": [{\"generation\": \"r\"}]}";
    assert_eq!(
        read("k.json", keyed, lay(Layout::Keyed)).unwrap(),
        [
            json!({"value": "p", "key": "one", "index": 0}),
            json!({"value": "q", "key": "one", "index": 1}),
            json!({"generation": "r", "key": "two", "index": 0}),
        ]
    );
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_row() {
    let cells = lay(Layout::Cells);
    let keyed = lay(Layout::Keyed);
    let table: &[(&str, &str, How, &str)] = &[
        ("a.json", "", PLAIN, "a.json: row 1: the file is empty"),
        ("a.json", "[{\"a\":1},", PLAIN, "row 2"),
        (
            "a.json",
            "[{\"a\":1} {\"a\":2}]",
            PLAIN,
            "row 2: a comma is missing",
        ),
        ("a.json", "[{\"a\":1},2]", PLAIN, "row 2: not a JSON object"),
        ("a.json", "[{\"a\":1}] x", PLAIN, "row 2: something follows"),
        (
            "a.json",
            "{\"a\":{\"b\":1},\"c\":[1]}",
            PLAIN,
            "without an array of objects; its keys are a, c",
        ),
        (
            "a.json",
            "{\"a\":[{}],\"b\":[{}]}",
            PLAIN,
            "`b` is a second array of objects",
        ),
        ("a.json", "7", PLAIN, "neither an array nor an object"),
        (
            "a.json",
            "[[{\"a\":1}],{\"b\":2}]",
            cells,
            "row 2: item 2 is no array",
        ),
        (
            "a.json",
            "[[\"x\"]]",
            keyed,
            "an array where an object was expected",
        ),
        (
            "a.json",
            "{\"k\": \"text\"}",
            keyed,
            "what `k` has is no array",
        ),
        (
            "a.jsonl",
            "{\"a\":1}\n{\"a\"",
            PLAIN,
            "a.jsonl: row 2: not a JSON object (column 5): it does not end in its line",
        ),
        (
            "a.csv",
            "a,b\n1,2\n3\n",
            PLAIN,
            "a.csv: row 2: 1 fields where the header has 2 (line 3;",
        ),
        ("a.csv", " \n", PLAIN, "the file is empty"),
        ("a.tsv", "", LOOSE, "the file is empty"),
        ("a.txt", "x", PLAIN, "ends neither in .csv"),
        ("a.parquet", "x", PLAIN, "failed to read"),
    ];
    for (name, text, how, message) in table {
        let error = read(name, text, *how).unwrap_err();
        assert!(error.contains(message), "{text:?}: {error}");
    }
    for name in ["l.csv", "l.tsv", "l.jsonl", "l.json"] {
        let error = read(name, b"[\"g\xfc\"]\n", PLAIN).unwrap_err();
        assert!(error.contains("byte 3 is not UTF-8"), "{name}: {error}");
        // A letter that the file ends in the middle of.
        let error = read(name, b"[\xe6\x95", PLAIN).unwrap_err();
        assert!(error.contains("byte 1 is not UTF-8"), "{name}: {error}");
    }
}

#[test]
fn a_letter_across_two_reads_is_one_letter() {
    // The buffer has 64 KiB: at one of these lengths any of its bytes is the last.
    for length in (1 << 16) - 8..(1 << 16) + 4 {
        let text = format!("{{\"a\":\"{}数€é\"}}\n", "x".repeat(length - 6));
        let rows = read("long.jsonl", &text, PLAIN).unwrap();
        assert!(
            rows[0]["a"].as_str().unwrap().ends_with("x数€é"),
            "{length}"
        );
    }
}

#[test]
fn names_say_the_format() {
    for (name, right) in [
        ("a.csv", true),
        ("a.b.jsonl.gz", true),
        ("a.ndjson", true),
        ("a.tsv.zst", true),
        ("a.parquet", true),
        ("a.parquet.gz", false),
        ("csv", false),
        ("a.xlsx", false),
        ("a.gz", false),
    ] {
        assert_eq!(format(Path::new(name)).is_ok(), right, "{name}");
    }
}

#[test]
fn a_file_is_never_held_whole() {
    let study = Study::new();
    let long = "x".repeat(2000);
    let row = |i: usize| format!("{{\"id\":{i},\"text\":\"{long}\"}}");
    let rows: Vec<String> = (0..10_000).map(row).collect();
    let lines = rows.join("\n");
    let files = [
        ("a.jsonl", lines.clone()),
        ("a.json", format!("[{}]", rows.join(","))),
        (
            "inside.json",
            format!("{{\"n\":1,\"data\":[{}]}}", rows.join(",")),
        ),
        (
            "a.csv",
            format!(
                "id,text\n{}",
                (0..10_000)
                    .map(|i| format!("{i},{long}\n"))
                    .collect::<String>()
            ),
        ),
        (
            "a.tsv",
            format!(
                "id\ttext\n{}",
                (0..10_000)
                    .map(|i| format!("{i}\t\"{long}\"\n"))
                    .collect::<String>()
            ),
        ),
    ];
    for (name, text) in files {
        let path = study.file(name, &text);
        drop(text);
        let (count, peak) = memory::peak(|| {
            let rows = pipe::data::read::Rows::new(vec![path], LOOSE);
            rows.fold(0, |n, row| n + row.map(|_| 1).unwrap())
        });
        assert_eq!(count, 10_000, "{name}");
        // `inside.json` is read to 16 MiB to see whether another object follows.
        let most = if name == "inside.json" {
            40 << 20
        } else {
            1 << 20
        };
        assert!(peak < most, "{name}: {peak} bytes of 20 MB");
    }
}

#[test]
fn a_quote_that_nothing_ends_is_no_reason_to_take_all_memory() {
    let text = format!("a,b\n1,\"{}", "x,y\n".repeat(20 << 20));
    let study = Study::new();
    let path = study.file("open.csv", &text);
    drop(text);
    let (error, peak) = memory::peak(|| records(&path, PLAIN).err().unwrap());
    assert!(
        error.contains("row 1: the record is larger than 67.1 MB"),
        "{error}"
    );
    assert!(peak < 300 << 20, "{peak}");
}

#[test]
fn ids_that_were_seen_take_little_memory() {
    let ids = || (0..300_000).map(|i| format!("an id that is rather long {i}"));
    let (mut seen, peak) = memory::peak(|| {
        let mut seen = Seen::default();
        assert!(ids().all(|id| seen.insert(&id)));
        seen
    });
    assert!(ids().all(|id| !seen.insert(&id)));
    assert!(seen.insert("another one"));
    assert!(peak < 4 << 20, "{peak} bytes for 300,000");
}
