//! Parquet: files of the crate's own writer, and small ones that pyarrow wrote (the seeds of the fuzz tests).

use super::{cells, records};
use crate::study::Study;
use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use pipe::base::memory;
use pipe::data::read::How;
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// A column of a file that is to be written.
pub enum Column {
    Text(Vec<Option<String>>),
    Number(Vec<f64>),
    Truth(Vec<bool>),
    /// Arrays of {role, content}; a content may be null.
    Messages(Vec<Vec<(&'static str, Option<String>)>>),
}

pub fn texts(all: &[&str]) -> Column {
    Column::Text(all.iter().map(|t| Some(t.to_string())).collect())
}

/// Writes the columns, so many rows a group.
pub fn write(path: &Path, columns: &[(&str, Column)], group: usize, compression: Compression) {
    let declared = columns.iter().map(|(name, column)| match column {
        Column::Text(_) => format!("optional binary {name} (UTF8);"),
        Column::Number(_) => format!("required double {name};"),
        Column::Truth(_) => format!("required boolean {name};"),
        Column::Messages(_) => format!(
            "optional group {name} (LIST) {{ repeated group list {{ optional group element {{ optional binary role (UTF8); \
             optional binary content (UTF8); }} }} }}"
        ),
    });
    let schema = format!("message rows {{ {} }}", declared.collect::<String>());
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let settings = WriterProperties::builder().set_compression(compression);
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(settings.build())).unwrap();
    let rows = match &columns[0].1 {
        Column::Text(all) => all.len(),
        Column::Number(all) => all.len(),
        Column::Truth(all) => all.len(),
        Column::Messages(all) => all.len(),
    };
    for start in (0..rows).step_by(group) {
        let range = start..rows.min(start + group);
        let mut rows = writer.next_row_group().unwrap();
        let mut strings = |values: &[Option<&str>], def: &[i16], rep: Option<&[i16]>| {
            let values: Vec<ByteArray> = values
                .iter()
                .flatten()
                .map(|v| ByteArray::from(*v))
                .collect();
            let mut column = rows.next_column().unwrap().unwrap();
            let typed = column.typed::<ByteArrayType>();
            typed.write_batch(&values, Some(def), rep).unwrap();
            column.close().unwrap();
        };
        for (_, column) in columns {
            match column {
                Column::Text(all) => {
                    let values: Vec<_> = all[range.clone()].iter().map(|v| v.as_deref()).collect();
                    let def: Vec<i16> = values.iter().map(|v| i16::from(v.is_some())).collect();
                    strings(&values, &def, None);
                }
                Column::Messages(all) => {
                    for field in 0..2 {
                        let (mut values, mut def, mut rep) = (vec![], vec![], vec![]);
                        for messages in &all[range.clone()] {
                            if messages.is_empty() {
                                (def.push(1), rep.push(0)).1
                            }
                            for (at, (role, content)) in messages.iter().enumerate() {
                                let value = if field == 0 {
                                    Some(*role)
                                } else {
                                    content.as_deref()
                                };
                                def.push(if value.is_some() { 4 } else { 3 });
                                rep.push(i16::from(at > 0));
                                values.push(value);
                            }
                        }
                        strings(&values, &def, Some(&rep));
                    }
                }
                _ => {}
            }
        }
        // Numbers come last in every test: a column writer is borrowed from its group.
        for (_, column) in columns {
            match column {
                Column::Number(all) => {
                    let mut column = rows.next_column().unwrap().unwrap();
                    let typed = column.typed::<DoubleType>();
                    typed.write_batch(&all[range.clone()], None, None).unwrap();
                    column.close().unwrap();
                }
                Column::Truth(all) => {
                    let mut column = rows.next_column().unwrap().unwrap();
                    let typed = column.typed::<BoolType>();
                    typed.write_batch(&all[range.clone()], None, None).unwrap();
                    column.close().unwrap();
                }
                _ => {}
            }
        }
        rows.close().unwrap();
    }
    writer.close().unwrap();
}

fn read(path: &Path) -> Result<Vec<Value>, String> {
    records(path, How::default()).map(|records| cells(&records))
}

#[test]
fn rows_come_back_whatever_the_compression_and_the_groups() {
    let study = Study::new();
    let message = |role, text: &str| (role, Some(text.to_string()));
    let columns = [
        (
            "prompt",
            Column::Text(vec![
                Some("a \"b\"\n".into()),
                None,
                Some("größer 数".into()),
            ]),
        ),
        (
            "messages",
            Column::Messages(vec![
                vec![message("user", "hi"), ("assistant", None)],
                vec![],
                vec![
                    message("user", "x"),
                    message("assistant", "y"),
                    message("user", "z"),
                ],
            ]),
        ),
        ("score", Column::Number(vec![1.5, f64::NAN, -3.0])),
        ("toxic", Column::Truth(vec![true, false, true])),
    ];
    let expected = [
        json!({"prompt": "a \"b\"\n", "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": null}], "score": 1.5, "toxic": true}),
        json!({"prompt": null, "messages": [], "score": null, "toxic": false}),
        json!({"prompt": "größer 数", "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}, {"role": "user", "content": "z"}], "score": -3.0, "toxic": true}),
    ];
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::ZSTD(Default::default()),
    ] {
        for group in [1, 2, 100] {
            let path = study.dir.path().join("a.parquet");
            write(&path, &columns, group, compression);
            assert_eq!(
                read(&path).unwrap(),
                expected,
                "{compression:?}, {group} rows a group"
            );
        }
    }
}

#[test]
fn files_of_pyarrow_are_read() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fuzz/seeds/parquet");
    for name in ["none", "snappy", "zstd", "gzip"] {
        let rows = read(&seeds.join(format!("{name}.parquet"))).unwrap();
        assert_eq!(rows.len(), 4, "{name}");
        for (i, row) in rows.iter().enumerate() {
            let messages = match i {
                0 => Value::Null,
                _ => {
                    json!([{"role": "user", "content": "hé"}, {"role": "assistant", "content": null}])
                }
            };
            assert_eq!(row["prompt"], "a \"b\"\nc");
            assert_eq!(row["id"], i);
            assert_eq!(row["ok"], i % 2 == 0);
            assert!((row["score"].as_f64().unwrap() - i as f64 / 3.0).abs() < 1e-12);
            assert_eq!(row["messages"], messages, "{name}");
            assert_eq!(row["info"], json!({"split": "train", "index": i}));
        }
    }
}

#[test]
fn a_damaged_file_is_an_error_that_names_it() {
    let study = Study::new();
    let path = study.dir.path().join("a.parquet");
    write(
        &path,
        &[("prompt", texts(&["one", "two", "three"]))],
        2,
        Compression::SNAPPY,
    );
    let whole = std::fs::read(&path).unwrap();
    for (what, bytes) in [
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("empty", vec![]),
        ("text", b"prompt\nhello\n".to_vec()),
        ("zeros", {
            let mut bytes = whole.clone();
            bytes[4..40].fill(0);
            bytes
        }),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = read(&path).unwrap_err();
        assert!(
            error.contains("failed to read") && error.contains("a.parquet"),
            "{what}: {error}"
        );
    }
}

#[test]
fn memory_does_not_grow_with_a_file_and_reading_may_stop() {
    let study = Study::new();
    let path = study.dir.path().join("a.parquet");
    let text = |i: usize| Some(format!("{i} {}", "word ".repeat(400 + i % 7)));
    let rows = Column::Text((0..8000).map(text).collect());
    write(&path, &[("prompt", rows)], 1000, Compression::UNCOMPRESSED);
    let (count, peak) = memory::peak(|| {
        let rows = pipe::data::read::Rows::new(vec![path.clone()], How::default());
        rows.fold(0, |n, row| n + row.map(|_| 1).unwrap())
    });
    assert_eq!(count, 8000);
    assert!(peak < 4 << 20, "{peak} bytes on this side of 16 MB");
    let mut rows = pipe::data::read::Rows::new(vec![path], How::default());
    let first = rows.next().unwrap().unwrap();
    assert!(first.prompt(&["prompt"]).unwrap().starts_with("0 word"));
}
