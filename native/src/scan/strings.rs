//! Strings of a body: keys and values, escapes, half surrogates; where their bytes go.

use super::*;

impl Scanner {
    /// Goes on within a string; returns where it stopped.
    pub(super) fn string(&mut self, chunk: &[u8], mut at: usize) -> Step<usize> {
        while at < chunk.len() {
            if self.escape.is_some() {
                self.escape_byte(chunk[at])?;
                at += 1;
                continue;
            }
            self.steps += 1;
            let length = plain(&chunk[at..]);
            if length > 0 {
                self.half()?;
                self.put(&chunk[at..at + length]);
                at += length;
                continue;
            }
            match chunk[at] {
                b'"' => {
                    self.half()?;
                    self.string_end(self.base + at + 1);
                    return Ok(at + 1);
                }
                b'\\' => self.escape = Some(None),
                _ => return Err(Unsure),
            }
            at += 1;
        }
        Ok(at)
    }

    /// A high surrogate whose low one did not come is replaced; not in raw values, which keep their bytes.
    pub(super) fn half(&mut self) -> Step<()> {
        if self.high.take().is_none() {
            return Ok(());
        }
        self.replaced()
    }

    pub(super) fn replaced(&mut self) -> Step<()> {
        if self.raw.is_some() {
            return Err(Unsure);
        }
        self.put("\u{fffd}".as_bytes());
        Ok(())
    }

    pub(super) fn put(&mut self, piece: &[u8]) {
        self.steps += piece.len() as u64;
        match &mut self.sink {
            Sink::Nowhere => {}
            Sink::Key => {
                let room = LONGEST_KEY.saturating_sub(self.key.len());
                self.key.extend_from_slice(&piece[..piece.len().min(room)]);
            }
            Sink::Text(text) => text.push(piece, self.program.keep()),
            Sink::Media(digest) => digest.push(piece),
            Sink::Name(name) | Sink::Prior(name) => {
                let most = self.program.measures.longest_model;
                match name {
                    Some(known) if known.len() + piece.len() <= most => {
                        known.extend_from_slice(piece);
                    }
                    _ => *name = None,
                }
            }
            Sink::Salt(hash) => hash.update(piece),
            Sink::Session(hash, empty) => {
                hash.update(piece);
                *empty &= piece.is_empty();
            }
        }
    }

    pub(super) fn escape_byte(&mut self, byte: u8) -> Step<()> {
        let Some(progress) = self.escape else {
            return Err(Unsure);
        };
        let Some((digits, code)) = progress else {
            if byte == b'u' {
                self.escape = Some(Some((0, 0)));
                return Ok(());
            }
            let plain = match byte {
                b'"' | b'\\' | b'/' => byte,
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                _ => return Err(Unsure),
            };
            self.half()?;
            self.escape = None;
            self.put(&[plain]);
            return Ok(());
        };
        let value = char::from(byte).to_digit(16).ok_or(Unsure)?;
        let code = code * 16 + value;
        if digits < 3 {
            self.escape = Some(Some((digits + 1, code)));
            return Ok(());
        }
        self.escape = None;
        let low = matches!(code, 0xDC00..=0xDFFF);
        if !low {
            self.half()?;
        }
        let code = match (self.high.take(), code) {
            (None, 0xD800..=0xDBFF) => {
                self.high = Some(code);
                return Ok(());
            }
            (Some(high), _) => 0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00),
            (None, _) if low => return self.replaced(),
            (None, code) => code,
        };
        let mut buffer = [0; 4];
        let character = char::from_u32(code).ok_or(Unsure)?;
        let encoded = character.encode_utf8(&mut buffer).len();
        self.put(&buffer[..encoded]);
        Ok(())
    }
}
