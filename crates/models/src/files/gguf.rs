//! Reads the header of a GGUF file far enough to know that it is whole.
//!
//! The walk is bounded and allocates nothing that the file asks for. It finds
//! a wrong magic, an unknown version, nonsense counts, and a file that ends
//! before its last tensor begins. That tensors have the size they claim is left
//! to llama.cpp, which checks it and refuses.
//!
//! SOURCE: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>

use std::fs::File;
use std::io::{self, BufReader, Read};

const MAGIC: &[u8; 4] = b"GGUF";
/// Versions whose counts are 64 bits wide, as llama.cpp reads them.
const VERSIONS: std::ops::RangeInclusive<u32> = 2..=3;
/// Metadata keys or tensors; real files have some hundreds.
const COUNT_MAX: u64 = 1 << 16;
/// Elements of one array; vocabularies have some hundred thousand.
const ARRAY_MAX: u64 = 1 << 24;
/// Bytes of one string; chat templates have some thousand.
const STRING_BYTES_MAX: u64 = 1 << 20;
/// Dimensions of a tensor.
const DIMENSIONS_MAX: u32 = 4;
/// Where tensor data begins unless the file says otherwise.
const ALIGNMENT_DEFAULT: u64 = 32;
const ALIGNMENT_KEY: &[u8; 17] = b"general.alignment";

/// Why a file is not a usable GGUF file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Flaw {
    #[error("it is not a GGUF file")]
    Magic,
    #[error("its GGUF version {0} is not supported")]
    Version(u32),
    #[error("its header is broken")]
    Header,
    #[error("it ends too early")]
    Truncated,
    #[error("it cannot be read: {0}")]
    Io(io::Error),
}

impl From<io::Error> for Flaw {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Io(error) }
    }
}

/// Walks the header.
pub(super) fn check(file: File) -> Result<(), Flaw> {
    let size = file.metadata()?.len();
    Walk { reader: BufReader::new(file), at: 0, size }.header()
}

struct Walk {
    reader: BufReader<File>,
    /// Bytes read or skipped; asking the reader would cost a system call each time.
    at: u64,
    size: u64,
}

impl Walk {
    fn header(&mut self) -> Result<(), Flaw> {
        let magic = self.bytes::<4>().map_err(|_| Flaw::Magic)?;
        if &magic != MAGIC {
            return Err(Flaw::Magic);
        }
        let version = self.u32()?;
        if !VERSIONS.contains(&version) {
            return Err(Flaw::Version(version));
        }
        let tensors = self.count(COUNT_MAX)?;
        let keys = self.count(COUNT_MAX)?;
        let mut alignment = ALIGNMENT_DEFAULT;
        for _ in 0..keys {
            if let Some(declared) = self.key_value()? {
                alignment = declared;
            }
        }
        let mut last_offset = 0;
        for _ in 0..tensors {
            last_offset = last_offset.max(self.tensor()?);
        }
        let data = self.at.checked_next_multiple_of(alignment).ok_or(Flaw::Header)?;
        let last = data.checked_add(last_offset).ok_or(Flaw::Header)?;
        if tensors == 0 {
            return Err(Flaw::Header);
        }
        if last >= self.size { Err(Flaw::Truncated) } else { Ok(()) }
    }

    /// Skips one key and its value; the value when it is the alignment.
    fn key_value(&mut self) -> Result<Option<u64>, Flaw> {
        let length = self.count(STRING_BYTES_MAX)?;
        let is_alignment = if length == ALIGNMENT_KEY.len() as u64 {
            self.bytes::<{ ALIGNMENT_KEY.len() }>()? == *ALIGNMENT_KEY
        } else {
            self.skip(length)?;
            false
        };
        let kind = self.u32()?;
        if is_alignment {
            // The format wants a u32 and a power of two here.
            let alignment = u64::from(self.u32()?);
            return if kind == 4 && alignment.is_power_of_two() { Ok(Some(alignment)) } else { Err(Flaw::Header) };
        }
        self.value(kind)?;
        Ok(None)
    }

    fn value(&mut self, kind: u32) -> Result<(), Flaw> {
        match kind {
            8 => self.string(),
            9 => {
                let element = self.u32()?;
                let count = self.count(ARRAY_MAX)?;
                match width(element) {
                    Some(width) => self.skip(count * width),
                    None if element == 8 => (0..count).try_for_each(|_| self.string()),
                    // Arrays of arrays exist in the format, not in models.
                    None => Err(Flaw::Header),
                }
            }
            scalar => self.skip(width(scalar).ok_or(Flaw::Header)?),
        }
    }

    /// Skips one tensor's description; its offset.
    fn tensor(&mut self) -> Result<u64, Flaw> {
        self.string()?;
        let dimensions = self.u32()?;
        if dimensions > DIMENSIONS_MAX {
            return Err(Flaw::Header);
        }
        self.skip(u64::from(dimensions) * 8 + 4)?;
        self.u64()
    }

    fn string(&mut self) -> Result<(), Flaw> {
        let length = self.count(STRING_BYTES_MAX)?;
        self.skip(length)
    }

    fn count(&mut self, max: u64) -> Result<u64, Flaw> {
        let count = self.u64()?;
        if count > max { Err(Flaw::Header) } else { Ok(count) }
    }

    fn skip(&mut self, bytes: u64) -> Result<(), Flaw> {
        // Seeking past the end succeeds, so the end is compared, not hit.
        let end = self.at.checked_add(bytes).ok_or(Flaw::Header)?;
        if end > self.size {
            return Err(Flaw::Truncated);
        }
        self.at = end;
        let bytes = i64::try_from(bytes).map_err(|_| Flaw::Header)?;
        Ok(self.reader.seek_relative(bytes)?)
    }

    fn u32(&mut self) -> Result<u32, Flaw> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    fn u64(&mut self) -> Result<u64, Flaw> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }
}

/// Bytes of one scalar of a metadata type.
const fn width(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
