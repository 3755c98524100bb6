//! The classifier's weights: one signed byte for each feature.
//!
//! The file: `AREFW001`; five little-endian `f32` (bias, scale of structure,
//! scale of words, threshold for users, threshold for tools); then
//! [`BUCKETS`] signed bytes. Structure and words of a window are each divided
//! by the root of their number, so a window's length does not count. A text
//! is flagged where its worst window is above the channel's threshold.
//! `scripts/firewall/train.py` makes such files.

use std::borrow::Cow;

use super::Channel;
use super::features::{BUCKETS, Window};

/// What a file of weights begins with.
const MAGIC: &[u8; 8] = b"AREFW001";
const HEADER_BYTES: usize = MAGIC.len() + 5 * 4;
/// Largest threshold, bias or scale that is no mistake.
const NUMBER_MAX: f32 = 1_000.0;

/// Bytes of every file of weights.
pub const MODEL_BYTES: usize = HEADER_BYTES + BUCKETS;

/// Why bytes are no weights.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadModel {
    /// Another file.
    #[error("it does not begin with `AREFW001`")]
    Magic,
    /// Cut off, or for another number of features.
    #[error("it has {0} bytes instead of {MODEL_BYTES}")]
    Length(usize),
    /// A number in its head is none.
    #[error("a number in its head is not finite or beyond {NUMBER_MAX}")]
    Number,
}

/// A linear model.
pub(super) struct Linear {
    bias: f32,
    structure_scale: f32,
    words_scale: f32,
    thresholds: [f32; 2],
    /// The whole file; what is part of the program is not copied.
    file: Cow<'static, [u8]>,
}

impl Linear {
    /// Reads a file of weights.
    pub(super) fn read(file: Cow<'static, [u8]>) -> Result<Self, BadModel> {
        if !file.starts_with(MAGIC) {
            return Err(BadModel::Magic);
        }
        if file.len() != MODEL_BYTES {
            return Err(BadModel::Length(file.len()));
        }
        let head = &file[MAGIC.len()..HEADER_BYTES];
        let mut numbers = [0.0; 5];
        for (number, bytes) in numbers.iter_mut().zip(head.chunks_exact(4)) {
            *number = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            if !number.is_finite() || number.abs() > NUMBER_MAX {
                return Err(BadModel::Number);
            }
        }
        let [bias, structure_scale, words_scale, user, tool] = numbers;
        Ok(Self { bias, structure_scale, words_scale, thresholds: [user, tool], file })
    }

    /// The bytes that it was read from.
    pub(super) fn file(&self) -> &[u8] {
        &self.file
    }

    /// How far the worst window of a text is above the channel's threshold.
    pub(super) fn weigh(&self, windows: &[Window], channel: Channel) -> f32 {
        let threshold = match channel {
            Channel::User => self.thresholds[0],
            Channel::Tool => self.thresholds[1],
        };
        let worst = windows.iter().map(|window| self.weigh_window(window)).fold(f32::NEG_INFINITY, f32::max);
        worst.max(-NUMBER_MAX) - threshold
    }

    fn weigh_window(&self, window: &Window) -> f32 {
        let weights = &self.file[HEADER_BYTES..];
        let block = |features: &[u32], scale: f32| {
            let sum: i32 = features.iter().map(|at| i32::from(weights[*at as usize].cast_signed())).sum();
            // Both are far below 2^24, so nothing is lost.
            sum as f32 * scale / (features.len().max(1) as f32).sqrt()
        };
        self.bias + block(&window.structure, self.structure_scale) + block(&window.words, self.words_scale)
    }
}
