//! One pass over a JSON body, in chunks as they arrive, without building a tree.
//!
//! The scanner executes a [`Program`]. It accepts only what it reads beyond doubt: strict JSON in UTF-8 whose fields
//! have the forms that the shape names. Everything else (broken or exotic bodies) makes it `unsure`, and the
//! caller then asks the format's own reader in Python, so that answers and errors cannot differ.

use std::sync::Arc;

use crate::program::{Node, Program};
use crate::text::{Media, Text, chain};

mod fields;
#[cfg(test)]
mod tests;

/// Containers within containers that are followed.
const DEPTH: usize = 64;
const LONGEST_KEY: usize = 256;
const LONGEST_MODEL: usize = 64 * 1024;
/// Digits that surely fit a signed 64-bit number.
const LONGEST_NUMBER: usize = 18;

/// What a shape found in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub model: String,
    pub stream: bool,
    pub limit: Option<i64>,
    pub prompt_bytes: usize,
    /// See [`chain`].
    pub blocks: Vec<u8>,
    /// Where the values of top-level model fields stand, quotes included.
    pub spans: Vec<(usize, usize)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Before a value; `close`: the list may end here instead.
    Value {
        close: bool,
    },
    /// Before a key; `close`: the object may end here instead.
    Key {
        close: bool,
    },
    Colon,
    /// Behind a value within a container.
    After,
    String,
    Number,
    Word,
    /// Behind the whole text.
    End,
}

/// Where a string's bytes go.
enum Sink {
    Nowhere,
    Key,
    Text { text: Text, keep: usize },
    Media(Media, usize),
}

enum Frame {
    /// A value nobody asked for.
    Skip {
        object: bool,
    },
    Object {
        rule: usize,
        slots: Vec<Option<Text>>,
        slot: Option<usize>,
    },
    List {
        rule: usize,
        out: Text,
    },
    Part {
        rule: usize,
        text: Option<Text>,
        kind: Option<Vec<u8>>,
        members: Vec<(Vec<u8>, Option<Media>)>,
        key: Vec<u8>,
    },
    /// An object that is a member of a part.
    Member {
        rule: usize,
        url: Option<Media>,
        is_url: bool,
    },
    Prompts {
        rule: usize,
        out: Text,
        first: bool,
        ids: bool,
    },
    Ids {
        out: Text,
    },
}

/// The scanner met something it will not judge.
struct Unsure;

type Step<T> = Result<T, Unsure>;

/// Reads one body.
pub struct Scanner {
    program: Arc<Program>,
    state: State,
    unsure: bool,
    stack: Vec<Frame>,
    /// The node for the next value.
    node: usize,
    sink: Sink,
    key: Vec<u8>,
    /// A backslash came; then `u` and this many hexadecimal digits.
    escape: Option<Option<(u8, u32)>>,
    /// A high surrogate that waits for its low one.
    high: Option<u32>,
    word: Vec<u8>,
    number: Vec<u8>,
    /// Depth of the container whose end ends the raw value, with its bytes; None: no raw value is open.
    raw: Option<(usize, Text)>,
    /// The last bytes of a chunk that may be the start of a UTF-8 character.
    partial: Vec<u8>,
    /// Bytes of earlier chunks.
    base: usize,
    model: Option<Vec<u8>>,
    stream: bool,
    limits: Vec<Option<i64>>,
    start: usize,
    spans: Vec<(usize, usize)>,
    prompt: Option<Text>,
}

fn blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// How many bytes at the start of a string's rest are plain text.
fn plain(bytes: &[u8]) -> usize {
    let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    let mut at = 0;
    // Whole groups first: this loop has no exit inside and becomes vector code.
    for group in bytes.chunks_exact(32) {
        if group
            .iter()
            .fold(false, |found, byte| found | special(byte))
        {
            break;
        }
        at += 32;
    }
    at + bytes[at..]
        .iter()
        .position(special)
        .unwrap_or(bytes.len() - at)
}

/// An integer without sign, fraction, exponent and leading zero.
fn integer(number: &[u8]) -> Option<i64> {
    let simple = number.len() <= LONGEST_NUMBER
        && number.iter().all(u8::is_ascii_digit)
        && (number.len() == 1 || number.first() != Some(&b'0'));
    if !simple {
        return None;
    }
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// A number that every JSON reader takes in the same way.
fn harmless(number: &[u8]) -> bool {
    let number = number.strip_prefix(b"-").unwrap_or(number);
    let mut halves = number.splitn(2, |byte| *byte == b'.');
    let whole = halves.next().unwrap_or_default();
    let fraction = halves.next();
    integer(whole).is_some()
        && fraction.is_none_or(|digits| {
            !digits.is_empty()
                && digits.len() <= LONGEST_NUMBER
                && digits.iter().all(u8::is_ascii_digit)
        })
}

impl Scanner {
    pub fn new(program: Arc<Program>) -> Scanner {
        let (root, limits) = (program.root, program.limits);
        Scanner {
            program,
            state: State::Value { close: false },
            unsure: false,
            stack: Vec::with_capacity(8),
            node: root,
            sink: Sink::Nowhere,
            key: Vec::new(),
            escape: None,
            high: None,
            word: Vec::new(),
            number: Vec::new(),
            raw: None,
            partial: Vec::new(),
            base: 0,
            model: None,
            stream: false,
            limits: vec![None; limits],
            start: 0,
            spans: Vec::new(),
            prompt: None,
        }
    }

    /// Takes the next bytes of the body.
    pub fn feed(&mut self, chunk: &[u8]) {
        if !self.unsure && (self.characters(chunk).is_err() || self.walk(chunk).is_err()) {
            self.unsure = true;
        }
        self.base += chunk.len();
    }

    /// What was read, once the body is whole; None: ask the format's own reader.
    pub fn finish(self) -> Option<Reading> {
        if self.unsure || self.state != State::End || !self.partial.is_empty() {
            return None;
        }
        let model = String::from_utf8(self.model?)
            .ok()
            .filter(|name| !name.is_empty())?;
        let prompt = self.prompt?;
        Some(Reading {
            stream: self.stream,
            limit: self.limits.into_iter().flatten().next(),
            prompt_bytes: prompt.total,
            blocks: chain(
                prompt.pieces(),
                model.as_bytes(),
                self.program.block_bytes,
                self.program.horizon,
            ),
            spans: self.spans,
            model,
        })
    }

    /// Checks that the chunks together are UTF-8.
    fn characters(&mut self, chunk: &[u8]) -> Step<()> {
        let mut rest = chunk;
        while !self.partial.is_empty() && !rest.is_empty() {
            self.partial.push(rest[0]);
            rest = &rest[1..];
            match std::str::from_utf8(&self.partial) {
                Ok(_) => self.partial.clear(),
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(Unsure),
            }
        }
        match std::str::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_none() => {
                self.partial.extend_from_slice(&rest[error.valid_up_to()..]);
                Ok(())
            }
            Err(_) => Err(Unsure),
        }
    }

    fn walk(&mut self, chunk: &[u8]) -> Step<()> {
        let mut at = 0;
        // Bytes of the open raw value that are not copied yet start here.
        let mut from = 0;
        while at < chunk.len() {
            let byte = chunk[at];
            match self.state {
                State::String => {
                    at = self.string(chunk, at)?;
                    if self.state != State::String {
                        self.raw_end(chunk, &mut from, at)?;
                    }
                }
                State::Number => {
                    if byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E') {
                        if self.number.len() > 2 * LONGEST_NUMBER {
                            return Err(Unsure);
                        }
                        self.number.push(byte);
                        at += 1;
                    } else {
                        self.number_end()?;
                        self.raw_end(chunk, &mut from, at)?;
                    }
                }
                State::Word => {
                    self.word.push(byte);
                    at += 1;
                    self.word_byte()?;
                    if self.state != State::Word {
                        self.raw_end(chunk, &mut from, at)?;
                    }
                }
                _ if blank(byte) => at += 1,
                State::Value { close } => {
                    if close && byte == b']' {
                        at += 1;
                        self.close(false)?;
                        self.raw_end(chunk, &mut from, at)?;
                    } else {
                        if let (Node::Raw(_), None) = (&self.program.nodes[self.node], &self.raw) {
                            self.raw = Some((self.stack.len(), Text::default()));
                            from = at;
                        }
                        self.start = self.base + at;
                        at += 1;
                        self.value(byte)?;
                    }
                }
                State::Key { close } => {
                    at += 1;
                    if close && byte == b'}' {
                        self.close(true)?;
                        self.raw_end(chunk, &mut from, at)?;
                    } else if byte == b'"' {
                        self.key.clear();
                        self.sink = Sink::Key;
                        self.state = State::String;
                    } else {
                        return Err(Unsure);
                    }
                }
                State::Colon => {
                    if byte != b':' {
                        return Err(Unsure);
                    }
                    at += 1;
                    self.state = State::Value { close: false };
                }
                State::After => {
                    at += 1;
                    let object = self.in_object();
                    match byte {
                        b',' if object => self.state = State::Key { close: false },
                        b',' => {
                            self.next_item()?;
                            self.state = State::Value { close: false };
                        }
                        b'}' if object => self.close(true)?,
                        b']' if !object => self.close(false)?,
                        _ => return Err(Unsure),
                    }
                    if byte != b',' {
                        self.raw_end(chunk, &mut from, at)?;
                    }
                }
                State::End => return Err(Unsure),
            }
        }
        let keep = self.program.keep();
        if let Some((_, text)) = &mut self.raw {
            text.push(&chunk[from..], keep);
        }
        Ok(())
    }

    fn in_object(&self) -> bool {
        match self.stack.last() {
            Some(Frame::Skip { object }) => *object,
            Some(Frame::Object { .. } | Frame::Part { .. } | Frame::Member { .. }) => true,
            Some(Frame::List { .. } | Frame::Prompts { .. } | Frame::Ids { .. }) | None => false,
        }
    }

    /// The node of the next item of the list on top.
    fn next_item(&mut self) -> Step<()> {
        self.node = match self.stack.last() {
            Some(Frame::List { rule, .. }) => match &self.program.nodes[*rule] {
                Node::List(item) => *item,
                _ => return Err(Unsure),
            },
            _ => 0,
        };
        Ok(())
    }

    /// The first byte of a value.
    fn value(&mut self, byte: u8) -> Step<()> {
        match byte {
            b'"' => self.string_start(),
            b'{' => self.open(true),
            b'[' => self.open(false),
            b't' | b'f' | b'n' => {
                self.word.clear();
                self.word.push(byte);
                self.state = State::Word;
                Ok(())
            }
            b'-' | b'0'..=b'9' => {
                self.number.clear();
                self.number.push(byte);
                self.state = State::Number;
                Ok(())
            }
            _ => Err(Unsure),
        }
    }

    /// Goes on within a string; returns where it stopped.
    fn string(&mut self, chunk: &[u8], mut at: usize) -> Step<usize> {
        while at < chunk.len() {
            if self.escape.is_some() {
                self.escape_byte(chunk[at])?;
                at += 1;
                continue;
            }
            let length = plain(&chunk[at..]);
            if length > 0 {
                if self.high.is_some() {
                    return Err(Unsure);
                }
                self.put(&chunk[at..at + length])?;
                at += length;
                continue;
            }
            match chunk[at] {
                b'"' if self.high.is_none() => {
                    self.string_end(self.base + at + 1)?;
                    return Ok(at + 1);
                }
                // A key with escapes is left to the format's own reader.
                b'\\' if !matches!(self.sink, Sink::Key) => self.escape = Some(None),
                _ => return Err(Unsure),
            }
            at += 1;
        }
        Ok(at)
    }

    fn put(&mut self, piece: &[u8]) -> Step<()> {
        match &mut self.sink {
            Sink::Nowhere => {}
            Sink::Key if self.key.len() + piece.len() > LONGEST_KEY => return Err(Unsure),
            Sink::Key => self.key.extend_from_slice(piece),
            Sink::Text { text, keep } => text.push(piece, *keep),
            Sink::Media(media, longest) => media.push(piece, *longest),
        }
        Ok(())
    }

    fn escape_byte(&mut self, byte: u8) -> Step<()> {
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
            if self.high.is_some() {
                return Err(Unsure);
            }
            self.escape = None;
            return self.put(&[plain]);
        };
        let value = char::from(byte).to_digit(16).ok_or(Unsure)?;
        let code = code * 16 + value;
        if digits < 3 {
            self.escape = Some(Some((digits + 1, code)));
            return Ok(());
        }
        self.escape = None;
        let code = match (self.high.take(), code) {
            (None, 0xD800..=0xDBFF) => {
                self.high = Some(code);
                return Ok(());
            }
            (Some(high), 0xDC00..=0xDFFF) => 0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00),
            (Some(_), _) => return Err(Unsure),
            (None, code) => code,
        };
        let mut buffer = [0; 4];
        let character = char::from_u32(code).ok_or(Unsure)?;
        let encoded = character.encode_utf8(&mut buffer).len();
        self.put(&buffer[..encoded])
    }

    fn number_end(&mut self) -> Step<()> {
        if !harmless(&self.number) {
            return Err(Unsure);
        }
        if self.number == b"-0" {
            return Err(Unsure);
        }
        let value = integer(&self.number);
        self.scalar(value, None)
    }

    fn word_byte(&mut self) -> Step<()> {
        for (word, value) in [
            (b"true".as_slice(), Some(true)),
            (b"false", Some(false)),
            (b"null", None),
        ] {
            if self.word == word {
                return match value {
                    None => self.null(),
                    Some(value) => self.scalar(None, Some(value)),
                };
            }
            if word.starts_with(&self.word) {
                return Ok(());
            }
        }
        Err(Unsure)
    }
}
