//! Where the first token is in an event stream: the twin of `headgate.wire.first_token`.

use std::sync::Arc;

use crate::answers::Answers;
use crate::outline::Outline;

/// Bytes of an event's data, and of a line, that are looked at: a token comes in less.
const LONGEST_EVENT: usize = 16 * 1024;
/// Lines that are looked at; a stream that has shown no token by then counts as begun.
const MOST_LINES: usize = 10_000;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const DONE: &[u8] = b"[DONE]";

/// Takes a stream's pieces until an event has come that carries a token.
pub struct TokenReader {
    answers: Arc<Answers>,
    /// Else compressed, so that any bytes count as a token.
    readable: bool,
    /// No line has ended.
    first: bool,
    /// A line without its end so far, and no more of it than is looked at.
    line: Vec<u8>,
    lines: usize,
    /// The last byte was a carriage return, which ended a line.
    returned: bool,
    name: Vec<u8>,
    /// Of the event so far.
    data: Option<Vec<u8>>,
    /// There is more of it.
    cut: bool,
    done: bool,
}

fn trimmed(mut text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n');
    while let [first, rest @ ..] = text
        && blank(first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && blank(last)
    {
        text = rest;
    }
    text
}

impl TokenReader {
    /// `answers` are those of the format of the request.
    pub fn new(answers: Arc<Answers>, readable: bool) -> TokenReader {
        TokenReader {
            answers,
            readable,
            first: true,
            line: Vec::new(),
            lines: 0,
            returned: false,
            name: Vec::new(),
            data: None,
            cut: false,
            done: false,
        }
    }

    /// Whether the first token is in this piece: true once.
    pub fn feed(&mut self, mut piece: &[u8]) -> bool {
        if self.done || piece.is_empty() {
            return false;
        }
        if !self.readable {
            self.done = true;
            return true;
        }
        if self.returned
            && let Some(rest) = piece.strip_prefix(b"\n")
        {
            piece = rest;
        }
        self.returned = piece.last() == Some(&b'\r');
        while let Some(end) = memchr::memchr2(b'\n', b'\r', piece) {
            self.hold(&piece[..end]);
            let ends = if piece[end..].starts_with(b"\r\n") {
                2
            } else {
                1
            };
            piece = &piece[end + ends..];
            self.lines += 1;
            if self.end_line() || self.lines == MOST_LINES {
                self.done = true;
                return true;
            }
        }
        self.hold(piece);
        false
    }

    fn hold(&mut self, part: &[u8]) {
        let room = LONGEST_EVENT - self.line.len();
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }

    /// Takes the line that is held. Whether it shows that its event carries a token.
    fn end_line(&mut self) -> bool {
        let held = std::mem::take(&mut self.line);
        let mut line = held.as_slice();
        let cut = line.len() == LONGEST_EVENT;
        if std::mem::take(&mut self.first) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            let carries = self.data.take().is_some_and(|data| self.carries(&data));
            self.name.clear();
            self.cut = false;
            return carries;
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, b"".as_slice()),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if field == b"event" {
            self.name = value.to_vec();
        }
        if field != b"data" {
            return false;
        }
        if let Some(data) = &mut self.data {
            data.push(b'\n');
            data.extend_from_slice(value);
            data.truncate(LONGEST_EVENT);
            self.cut = cut || data.len() == LONGEST_EVENT;
            return false;
        }
        let mut outline = Outline::new(value, &[]);
        let tokenless = self.says_none(&mut outline);
        self.cut = cut;
        if !outline.closed {
            self.data = Some(value.to_vec());
            return false;
        }
        !tokenless && self.may_carry()
    }

    fn carries(&self, data: &[u8]) -> bool {
        let data = trimmed(data);
        let says_none = || self.says_none(&mut Outline::new(data, &[]));
        !data.is_empty() && data != DONE && self.may_carry() && !says_none()
    }

    /// Whether the event's own name lets it carry a token.
    fn may_carry(&self) -> bool {
        !(self.tokenless(&self.name) || self.cut && self.name.is_empty())
    }

    fn tokenless(&self, name: &[u8]) -> bool {
        self.answers.tokenless.iter().any(|each| each == name)
    }

    /// Walks to the end, so that `closed` is known.
    fn says_none(&self, outline: &mut Outline<'_>) -> bool {
        let none = |key: &[u8], value: Option<&[u8]>| {
            self.tokenless(key)
                || key == b"type" && value.is_some_and(|value| self.tokenless(value))
        };
        outline.fold(false, |found, (key, value)| found | none(key, value))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{LONGEST_EVENT, MOST_LINES, TokenReader};
    use crate::answers::Answers;

    fn reader() -> TokenReader {
        let tokenless = [b"error".to_vec(), b"response.created".to_vec()].to_vec();
        let answers = Answers {
            tokenless,
            ..Answers::default()
        };
        TokenReader::new(Arc::new(answers), true)
    }

    fn told(pieces: &[&[u8]]) -> bool {
        let mut reader = reader();
        pieces.iter().any(|piece| reader.feed(piece))
    }

    #[test]
    fn the_first_token_does_not_depend_on_pieces() {
        let before = b"\xef\xbb\xbf: wait\r\n\r\nevent: response.created\r\ndata: {\"a\":1}\r\n\r\n\
            data: {\"response\":{\"type\":\"x\"},\r\ndata: \"type\":\"response.created\"}\r\n\r\ndata:\r\n\r\n";
        let token = b"data: {\"type\":\"response.output_text.delta\"}\r\n";
        let all = [before.as_slice(), token].concat();
        for size in 1..all.len() {
            let mut reader = reader();
            let mut seen = 0;
            for piece in all.chunks(size) {
                seen += piece.len();
                if reader.feed(piece) {
                    assert!(seen >= all.len() - 1, "pieces of {size}");
                    seen = usize::MAX;
                    break;
                }
            }
            assert_eq!(seen, usize::MAX, "pieces of {size}");
        }
    }

    #[test]
    fn what_carries_no_token() {
        for text in [
            "data: {\"error\":{\"code\":1}}\n\n",
            "event: error\ndata: no\n\n",
            "data: [DONE]\n\n",
            ": wait\n\n",
            "id: 7\nretry: 5\n\n",
            "data\n\n",
            "data: {\"a\":\n\n",
        ] {
            assert_eq!(told(&[text.as_bytes()]), text.contains("\"a\""), "{text}");
        }
        assert!(told(&[b"data: {\"error\":null}\n"]));
        assert!(told(&[b"data: word\n\n"]));
    }

    #[test]
    fn no_more_than_a_part_is_looked_at() {
        let long = [
            b"data: {\"x\":\"".as_slice(),
            &[b'x'; 2 * LONGEST_EVENT],
            b"\"}\n\n",
        ]
        .concat();
        let mut reader = reader();
        assert!(!reader.feed(&long));
        assert!(reader.line.capacity() <= 2 * LONGEST_EVENT);
        assert!(told(&[b"event: delta\n", &long]));
        assert!(told(&[&vec![b'\n'; MOST_LINES]]));
        assert!(!told(&[&vec![b'\n'; MOST_LINES - 1]]));
    }
}
