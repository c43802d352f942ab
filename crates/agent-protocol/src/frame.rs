//! Envelopes of streaming calls: one byte of flags, the payload's length as a big-endian `u32`, the payload.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;

/// Largest payload either end accepts, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 4 * 1024 * 1024;

/// Bytes before each payload.
pub const HEADER_BYTES: usize = 5;

const COMPRESSED: u8 = 0x01;
const END_OF_STREAM: u8 = 0x02;

/// One envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Whether this is the stream's last frame.
    pub end_of_stream: bool,
    /// The message, as JSON.
    pub payload: Bytes,
}

/// Why bytes are not a frame. The stream cannot be continued after one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header announces more than is accepted.
    #[error("message of {announced} bytes is larger than the limit of {limit} bytes")]
    TooLarge {
        /// What the header says, in bytes.
        announced: usize,
        /// What is accepted, in bytes.
        limit: usize,
    },
    /// The payload is compressed, and no compression was agreed.
    #[error("compressed messages are not supported")]
    Compressed,
    /// Flags nobody has defined.
    #[error("unknown envelope flags {0:#04x}")]
    UnknownFlags(u8),
    /// The stream ended within a frame.
    #[error("the stream ended within a message")]
    Truncated,
}

/// Encodes `message` as a frame.
///
/// # Errors
///
/// The message has no JSON form, or is longer than 4 GiB.
pub fn encode<T: Serialize>(message: &T) -> Result<Bytes, serde_json::Error> {
    encode_with_flags(0, message)
}

/// Encodes `message` as a stream's last frame.
///
/// # Errors
///
/// As of [`encode`].
pub fn encode_end<T: Serialize>(message: &T) -> Result<Bytes, serde_json::Error> {
    encode_with_flags(END_OF_STREAM, message)
}

fn encode_with_flags<T: Serialize>(flags: u8, message: &T) -> Result<Bytes, serde_json::Error> {
    let mut buffer = BytesMut::with_capacity(128);
    buffer.put_u8(flags);
    buffer.put_u32(0);
    let mut writer = buffer.writer();
    serde_json::to_writer(&mut writer, message)?;
    let mut buffer = writer.into_inner();
    let length = u32::try_from(buffer.len() - HEADER_BYTES)
        .map_err(|_| serde::ser::Error::custom("the message does not fit an envelope"))?;
    buffer[1..HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(buffer.freeze())
}

/// Takes bytes as they arrive and gives frames. Never holds more than one payload and one chunk.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: BytesMut,
    limit: usize,
}

impl Default for FrameDecoder {
    fn default() -> Self {
        Self::with_limit(MAX_PAYLOAD_BYTES)
    }
}

impl FrameDecoder {
    /// A decoder that refuses payloads above `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), limit }
    }

    /// Adds bytes; call [`Self::next`] until it has none left before adding more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete frame, if there is one.
    ///
    /// # Errors
    ///
    /// The bytes are no frame, or one above the limit. The stream cannot be read on after one.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot be fed between two items")]
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(header) = self.buffer.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [flags, length @ ..] = *header;
        if flags & COMPRESSED != 0 {
            return Err(FrameError::Compressed);
        }
        if flags & !END_OF_STREAM != 0 {
            return Err(FrameError::UnknownFlags(flags));
        }
        let announced = u32::from_be_bytes(length) as usize;
        if announced > self.limit {
            return Err(FrameError::TooLarge { announced, limit: self.limit });
        }
        if self.buffer.len() - HEADER_BYTES < announced {
            return Ok(None);
        }
        self.buffer.advance(HEADER_BYTES);
        let payload = self.buffer.split_to(announced).freeze();
        Ok(Some(Frame { end_of_stream: flags & END_OF_STREAM != 0, payload }))
    }

    /// To be called when no more bytes will come: an error if a frame was begun and not finished.
    ///
    /// # Errors
    ///
    /// A frame has begun and not ended.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.buffer.is_empty() { Ok(()) } else { Err(FrameError::Truncated) }
    }
}
