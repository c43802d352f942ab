//! `multipart/form-data`, as it arrives: bytes go in in any pieces, parts come out in pieces.

use bytes::{Buf, Bytes, BytesMut};

/// Head of one part, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// A boundary is at most this long by the standard.
const MAX_BOUNDARY_BYTES: usize = 70;

/// What comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A part begins.
    Part {
        /// The form field.
        name: Option<String>,
        /// The file's name.
        filename: Option<String>,
    },
    /// Some of its contents.
    Data(Bytes),
    /// It is complete.
    PartEnd,
    /// There are no more parts.
    End,
}

/// Why bytes are not a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// The content type names none, or a senseless one.
    #[error("the multipart body has no boundary")]
    NoBoundary,
    /// Between two boundaries there is no head of a part.
    #[error("the head of a part is malformed or larger than {MAX_HEAD_BYTES} bytes")]
    Head,
    /// Before the last boundary.
    #[error("the multipart body ended early")]
    Truncated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first boundary: what is there is ignored.
    Preamble,
    /// After a boundary: `--` or a line end.
    Boundary,
    Head,
    Data,
    /// After the last boundary: what is there is ignored.
    End,
}

/// Takes bytes as they arrive and gives parts in pieces. Holds one head and one chunk at most.
#[derive(Debug)]
pub struct Multipart {
    /// Line end, two dashes, boundary.
    delimiter: Vec<u8>,
    buffer: BytesMut,
    state: State,
}

impl Multipart {
    /// For the boundary that the content type names.
    ///
    /// # Errors
    ///
    /// The content type names no boundary of 1 to 70 bytes.
    pub fn new(content_type: &str) -> Result<Self, MultipartError> {
        let boundary = parameter(content_type, "boundary").ok_or(MultipartError::NoBoundary)?;
        if boundary.is_empty() || boundary.len() > MAX_BOUNDARY_BYTES {
            return Err(MultipartError::NoBoundary);
        }
        // The first boundary may be at the very beginning: give it the line end that the others have.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        Ok(Self { delimiter: format!("\r\n--{boundary}").into_bytes(), buffer, state: State::Preamble })
    }

    /// Adds bytes; call [`Self::next`] until it has nothing more before adding more.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.state != State::End {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// To be called when no more bytes will come.
    ///
    /// # Errors
    ///
    /// The form has not ended.
    pub fn finish(&self) -> Result<(), MultipartError> {
        if self.state == State::End { Ok(()) } else { Err(MultipartError::Truncated) }
    }

    /// What comes next; `None` until more bytes are added.
    ///
    /// # Errors
    ///
    /// The bytes are no form, or a head in it is too large. The form cannot be read on after one.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot be fed between two items")]
    pub fn next(&mut self) -> Result<Option<Event>, MultipartError> {
        loop {
            match self.state {
                State::Preamble => match find(&self.buffer, &self.delimiter) {
                    Some(at) => {
                        self.buffer.advance(at + self.delimiter.len());
                        self.state = State::Boundary;
                    }
                    None => {
                        let undecided = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
                        self.buffer.advance(undecided);
                        return Ok(None);
                    }
                },
                State::Boundary => {
                    if self.buffer.starts_with(b"--") {
                        self.buffer.clear();
                        self.state = State::End;
                        return Ok(Some(Event::End));
                    }
                    // Spaces may follow a boundary and the end of its line.
                    let Some(at) = find(&self.buffer, b"\r\n") else {
                        return if self.buffer.len() > MAX_HEAD_BYTES {
                            Err(MultipartError::Head)
                        } else {
                            Ok(None)
                        };
                    };
                    if !self.buffer[..at].iter().all(|byte| matches!(byte, b' ' | b'\t')) {
                        return Err(MultipartError::Head);
                    }
                    // The line end stays: a head without any line then still ends with two of them.
                    self.buffer.advance(at);
                    self.state = State::Head;
                }
                State::Head => {
                    let Some(at) = find(&self.buffer, b"\r\n\r\n") else {
                        return if self.buffer.len() > MAX_HEAD_BYTES {
                            Err(MultipartError::Head)
                        } else {
                            Ok(None)
                        };
                    };
                    if at > MAX_HEAD_BYTES {
                        return Err(MultipartError::Head);
                    }
                    let event = head(&self.buffer[..at]);
                    self.buffer.advance(at + 4);
                    self.state = State::Data;
                    return Ok(Some(event));
                }
                State::Data => return Ok(self.data()),
                State::End => return Ok(None),
            }
        }
    }
}

impl Multipart {
    fn data(&mut self) -> Option<Event> {
        match find(&self.buffer, &self.delimiter) {
            Some(0) => {
                self.buffer.advance(self.delimiter.len());
                self.state = State::Boundary;
                Some(Event::PartEnd)
            }
            Some(at) => Some(Event::Data(self.buffer.split_to(at).freeze())),
            None => {
                // The last bytes may be the beginning of a delimiter.
                let sure = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
                (sure > 0).then(|| Event::Data(self.buffer.split_to(sure).freeze()))
            }
        }
    }
}

/// Every needle begins with a carriage return, which is rare enough to look for first.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = memchr::memchr(b'\r', &haystack[from..]) {
        if haystack[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

fn head(bytes: &[u8]) -> Event {
    let text = String::from_utf8_lossy(bytes);
    let disposition = text.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    let of = |name| disposition.and_then(|disposition| parameter(disposition, name));
    Event::Part { name: of("name"), filename: of("filename") }
}

/// The parameter `name` of a header like `form-data; name="file"; filename="a \"b\".txt"`.
fn parameter(header: &str, name: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (key, after) = rest.split_once('=')?;
        let (value, after) = value(after.trim_start());
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = after.split_once(';')?.1;
    }
}

/// A value, quoted or not, and what follows it. Browsers write a quote within as `%22`, others as `\"`.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        return (text[..end].trim().to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value.replace("%22", "\""), &quoted[at + 1..]),
            '\\' if quoted[at + 1..].starts_with(['"', '\\']) => {
                value.extend(chars.next().map(|(_, next)| next));
            }
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
#[path = "multipart_tests.rs"]
mod tests;
