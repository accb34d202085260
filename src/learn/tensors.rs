//! Safetensors files, read and written piece by piece: a model of gigabytes is never in memory twice.
//!
//! Numbers come out as f32 whatever they are stored as (f32, bf16, f16) and go in as f32. Equal arrays give equal bytes.
//! Errors name the file and the tensor. Knows no model.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use crate::folders;

/// Numbers that are converted together.
const PIECE: usize = 1 << 18;
/// A header of more bytes is no header.
pub const MAX_HEADER: u64 = 32 << 20;

/// An open file whose header was read and fits the file's length.
pub struct TensorFile {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// Where the numbers begin.
    base: u64,
}

impl TensorFile {
    pub fn open(path: &Path) -> Result<TensorFile> {
        let unreadable = || format!("cannot read {}", path.display());
        if let Some(problem) = folders::pointer(path) {
            bail!("{problem}");
        }
        let broken = || {
            format!(
                "{} is no whole safetensors file; was it copied or downloaded to its end?",
                path.display()
            )
        };
        let mut file = File::open(path).with_context(unreadable)?;
        let length = file.metadata().with_context(unreadable)?.len();
        let mut size = [0; 8];
        file.read_exact(&mut size).with_context(broken)?;
        let size = u64::from_le_bytes(size);
        if size > length.saturating_sub(8) {
            bail!("{}", broken());
        }
        ensure!(
            size <= MAX_HEADER,
            "{}: a header of {size} bytes, more than {MAX_HEADER}",
            path.display()
        );
        let mut header = vec![0; size as usize];
        file.read_exact(&mut header).with_context(broken)?;
        let metadata: Metadata = serde_json::from_slice(&header).with_context(broken)?;
        let base = 8 + size;
        if base + metadata.data_len() as u64 != length {
            bail!("{}", broken());
        }
        Ok(TensorFile {
            path: path.to_path_buf(),
            file,
            metadata,
            base,
        })
    }

    /// In the order of the file.
    pub fn names(&self) -> Vec<String> {
        self.metadata.offset_keys()
    }

    /// The shape of a tensor that the file has.
    pub fn shape(&self, name: &str) -> &[usize] {
        &self.info(name).shape
    }

    /// An entry of the header's free text.
    pub fn note(&self, key: &str) -> Option<&str> {
        self.metadata
            .metadata()
            .as_ref()?
            .get(key)
            .map(String::as_str)
    }

    /// Fills `out` with a tensor of as many numbers.
    pub fn read(&mut self, name: &str, out: &mut [f32]) -> Result<()> {
        let place = format!("{}: tensor {name}", self.path.display());
        let info = self.info(name);
        let (dtype, size) = match info.dtype {
            Dtype::F32 => (DType::F32, 4),
            Dtype::BF16 => (DType::BF16, 2),
            Dtype::F16 => (DType::F16, 2),
            other => bail!("{place}: type {other:?} is not supported: only F32, BF16 and F16"),
        };
        let count: usize = info.shape.iter().product();
        ensure!(
            count == out.len(),
            "{place} has {count} numbers, not {}",
            out.len()
        );
        let start = self.base + info.data_offsets.0 as u64;
        self.file
            .seek(SeekFrom::Start(start))
            .with_context(|| place.clone())?;
        let mut bytes = vec![0; PIECE.min(count) * size];
        for piece in out.chunks_mut(PIECE) {
            let bytes = &mut bytes[..piece.len() * size];
            self.file.read_exact(bytes).with_context(|| place.clone())?;
            convert(bytes, dtype, piece).with_context(|| place.clone())?;
        }
        Ok(())
    }

    /// A tensor of any shape.
    pub fn array(&mut self, name: &str) -> Result<Vec<f32>> {
        let mut out = vec![0.0; self.shape(name).iter().product()];
        self.read(name, &mut out)?;
        Ok(out)
    }

    fn info(&self, name: &str) -> &TensorInfo {
        self.metadata
            .info(name)
            .expect("a tensor is asked for by a name that the file has")
    }
}

/// Errors where a number of a tensor is NaN or infinite: nothing that such a model says means anything.
pub(crate) fn expect_finite(file: &Path, name: &str, numbers: &[f32]) -> Result<()> {
    let broken = |part: &[f32]| part.iter().fold(false, |any, x| any | !x.is_finite());
    let Some(piece) = numbers.chunks(PIECE).position(broken) else {
        return Ok(());
    };
    let first = piece * PIECE;
    let at = numbers[first..].iter().position(|x| !x.is_finite());
    let at = first + at.expect("a piece with a number that is not finite has one");
    let all = numbers.iter().filter(|x| !x.is_finite()).count();
    bail!(
        "{}: tensor {name} holds {all} numbers that are not finite, the first of them {} at place {at} of {}: the file is \
         damaged, or the model's training diverged; take another download, or a checkpoint from before",
        file.display(),
        numbers[at],
        numbers.len()
    );
}

/// Candle knows the half types.
fn convert(bytes: &[u8], dtype: DType, out: &mut [f32]) -> Result<()> {
    if dtype == DType::F32 {
        for (x, bytes) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *x = f32::from_le_bytes(*bytes);
        }
        return Ok(());
    }
    let floats = Tensor::from_raw_buffer(bytes, dtype, &[out.len()], &Device::Cpu)
        .and_then(|t| t.to_dtype(DType::F32)?.to_vec1::<f32>())?;
    out.copy_from_slice(&floats);
    Ok(())
}

/// Shape and numbers by name.
pub type Tensors<'a> = BTreeMap<&'a str, (&'a [usize], &'a [f32])>;

/// Writes one file, tensors sorted by name, with one entry of free text.
pub fn write(path: &Path, tensors: &Tensors, (key, value): (&str, &str)) -> Result<()> {
    let mut infos = Vec::with_capacity(tensors.len());
    let mut end = 0;
    for (name, (shape, data)) in tensors {
        let start = end;
        end += 4 * data.len();
        let info = TensorInfo {
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            data_offsets: (start, end),
        };
        infos.push((name.to_string(), info));
    }
    // One entry only, so the order of the map cannot show in the bytes.
    let note = [(key.to_owned(), value.to_owned())].into_iter().collect();
    let metadata = Metadata::new(Some(note), infos)
        .with_context(|| format!("cannot lay out {}", path.display()))?;
    let mut header = serde_json::to_vec(&metadata).context("a header to JSON")?;
    header.resize(header.len().next_multiple_of(8), b' ');
    let put = || -> std::io::Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for (_, data) in tensors.values() {
            for x in *data {
                file.write_all(&x.to_le_bytes())?;
            }
        }
        file.flush()
    };
    put().with_context(|| format!("cannot write {}", path.display()))
}
