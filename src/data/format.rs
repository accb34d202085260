//! What a file's name says of its format.

use crate::text::Packing;
use anyhow::{Result, bail};
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Format {
    Csv,
    Tsv,
    Jsonl,
    Json,
    Parquet,
}

/// Names that are nearly names of tables, and what to do about them.
const CURES: [(&str, &str); 5] = [
    (
        "arrow",
        "it is an Arrow file, as `save_to_disk` and the cache of `datasets` hold them: save the table with its `to_parquet` or `to_json`",
    ),
    ("xlsx", "it is a workbook: save its sheet as CSV (UTF-8)"),
    ("xls", "it is a workbook: save its sheet as CSV (UTF-8)"),
    ("zip", "it is an archive: unpack it first"),
    (
        "bz2",
        "it is packed with bzip2: unpack it, or pack it with gzip or zstd",
    ),
];

/// What a file's name says of its format, and of how it is packed, in letters of any case.
pub fn format(path: &Path) -> Result<(Format, Packing)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_lowercase();
    let packed = [(".gz", Packing::Gzip), (".zst", Packing::Zstd)];
    let packed = packed
        .into_iter()
        .find_map(|(end, packing)| Some((name.strip_suffix(end)?, packing)));
    let (name, packing) = packed.unwrap_or((&name, Packing::Plain));
    let end = name.rsplit_once('.').map(|(_, end)| end);
    if let Some((_, cure)) = CURES.iter().find(|(known, _)| end == Some(known)) {
        bail!("{cure}");
    }
    let format = match end {
        Some("csv") => Format::Csv,
        Some("tsv") => Format::Tsv,
        Some("jsonl" | "ndjson") => Format::Jsonl,
        Some("json") => Format::Json,
        Some("parquet") if packing == Packing::Plain => Format::Parquet,
        _ => bail!(
            "the file's name ends neither in .csv nor in .tsv nor in .jsonl nor in .json nor in .parquet (the first four may be \
             followed by .gz or .zst)"
        ),
    };
    Ok((format, packing))
}
