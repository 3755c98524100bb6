//! Server-sent events, from bytes that may be split anywhere.
//!
//! Lines end with LF, CRLF or CR; the values of several `data` lines are joined
//! by LF; comments and unknown fields are skipped. A line, and the data of one
//! event, have at most [`LINE_BYTES_MAX`] bytes: nothing else bounds what a
//! provider can make a reader keep.
//!
//! SOURCE: HTML Living Standard, 9.2.6 "Interpreting an event stream".

/// Bytes of one line, and of one event's data; a token's is some two hundred.
pub(crate) const LINE_BYTES_MAX: usize = 1 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    /// True when the event is named `error`.
    pub(crate) is_error: bool,
    /// Its data; not yet known to be UTF-8.
    pub(crate) data: &'a [u8],
}

/// Why reading stopped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop<E> {
    /// A line or an event is too long.
    TooLong,
    /// The sink refused an event.
    Refused(E),
}

/// Turns bytes into events.
#[derive(Default)]
pub(crate) struct Decoder {
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// Data of the event whose end has not come.
    data: Vec<u8>,
    has_data: bool,
    is_error: bool,
    is_after_cr: bool,
    is_past_first_line: bool,
}

impl Decoder {
    /// Hands every event that `bytes` complete to `sink`, which stops it by an error.
    pub(crate) fn feed<E>(
        &mut self,
        mut bytes: &[u8],
        sink: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), Stop<E>> {
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.is_after_cr) && first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                return self.keep(bytes);
            };
            self.is_after_cr = bytes[end] == b'\r';
            if self.line.is_empty() {
                self.line(&bytes[..end], sink)?;
            } else {
                self.keep(&bytes[..end])?;
                let line = std::mem::take(&mut self.line);
                self.line(&line, sink)?;
                self.line = line;
                self.line.clear();
            }
            bytes = &bytes[end + 1..];
        }
        Ok(())
    }

    /// The bytes are over. Unlike the standard it hands out an event without
    /// its empty line, because some providers leave out the last one.
    pub(crate) fn end<E>(&mut self, sink: &mut impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), Stop<E>> {
        let line = std::mem::take(&mut self.line);
        self.line(&line, sink)?;
        self.dispatch(sink)
    }

    fn keep<E>(&mut self, bytes: &[u8]) -> Result<(), Stop<E>> {
        if self.line.len() + bytes.len() > LINE_BYTES_MAX {
            return Err(Stop::TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn line<E>(&mut self, line: &[u8], sink: &mut impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), Stop<E>> {
        let line = match line.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) if !self.is_past_first_line => rest,
            _ => line,
        };
        self.is_past_first_line = true;
        if line.is_empty() {
            return self.dispatch(sink);
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(Stop::TooLong);
        }
        let (name, value) = match line.iter().position(|&byte| byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => self.data(value),
            b"event" => {
                self.is_error = value == b"error";
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn data<E>(&mut self, value: &[u8]) -> Result<(), Stop<E>> {
        if self.data.len() + value.len() + 1 > LINE_BYTES_MAX {
            return Err(Stop::TooLong);
        }
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.data.extend_from_slice(value);
        Ok(())
    }

    fn dispatch<E>(&mut self, sink: &mut impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), Stop<E>> {
        let is_error = std::mem::take(&mut self.is_error);
        if std::mem::take(&mut self.has_data) {
            let event = Event { is_error, data: &self.data };
            sink(event).map_err(Stop::Refused)?;
            self.data.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
