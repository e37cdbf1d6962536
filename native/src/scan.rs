//! One pass over a JSON body, in chunks as they arrive, without building a tree.
//!
//! The scanner executes a [`Program`]. It accepts only what it reads beyond doubt: strict JSON in UTF-8 whose fields
//! have the forms that the shape names. Everything else (broken or exotic bodies) makes it `unsure`, and the
//! caller then asks the format's own reader in Python, so that answers and errors cannot differ.

use std::sync::Arc;

use crate::program::{Node, Program};
use crate::shape::{PartRule, Piece};
use crate::text::{Media, Text, chain};

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
        text: Option<Vec<u8>>,
        text_total: usize,
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
                &prompt.bytes,
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

    fn string_start(&mut self) -> Step<()> {
        let keep = self.program.keep();
        let text = |keep| Sink::Text {
            text: Text::default(),
            keep,
        };
        self.sink = match self.stack.last() {
            Some(Frame::Part { rule, key, .. }) => {
                let rule = self.part(*rule)?;
                if *key == rule.text {
                    text(keep)
                } else if *key == rule.kind {
                    text(LONGEST_KEY)
                } else {
                    Sink::Media(Media::default(), rule.longest)
                }
            }
            Some(Frame::Member { rule, is_url, .. }) if *is_url => {
                Sink::Media(Media::default(), self.part(*rule)?.longest)
            }
            Some(Frame::Member { .. }) => Sink::Nowhere,
            Some(Frame::Prompts { ids, first, .. }) if *first || !*ids => text(keep),
            Some(Frame::Prompts { .. } | Frame::Ids { .. }) => return Err(Unsure),
            _ => match &self.program.nodes[self.node] {
                Node::Skip | Node::Stream | Node::Limit(_) | Node::Raw(_) => Sink::Nowhere,
                Node::Model => text(LONGEST_MODEL),
                Node::Text { .. } => text(keep),
                Node::Choice {
                    string: Some(rule), ..
                } => {
                    self.node = *rule;
                    text(keep)
                }
                _ => return Err(Unsure),
            },
        };
        self.state = State::String;
        Ok(())
    }

    fn part(&self, rule: usize) -> Step<&PartRule> {
        match &self.program.nodes[rule] {
            Node::Part(rule) => Ok(rule),
            _ => Err(Unsure),
        }
    }

    fn open(&mut self, object: bool) -> Step<()> {
        if self.stack.len() >= DEPTH {
            return Err(Unsure);
        }
        let skip = Frame::Skip { object };
        let frame = match self.stack.last() {
            Some(Frame::Part { rule, key, .. }) => {
                let known = self.part(*rule)?;
                // A text that is no string is skipped by the format; a kind that is none is not for us.
                if *key == known.kind {
                    return Err(Unsure);
                } else if object && *key != known.text {
                    Frame::Member {
                        rule: *rule,
                        url: None,
                        is_url: false,
                    }
                } else {
                    skip
                }
            }
            Some(Frame::Prompts { first, ids, .. }) if !object && (*first || !*ids) => Frame::Ids {
                out: Text::default(),
            },
            Some(Frame::Prompts { .. } | Frame::Ids { .. }) => return Err(Unsure),
            Some(Frame::Skip { .. } | Frame::Member { .. }) => skip,
            Some(Frame::Object { .. } | Frame::List { .. }) | None => {
                let mut node = self.node;
                if let Node::Choice {
                    list, object: map, ..
                } = &self.program.nodes[node]
                {
                    node = if object { *map } else { *list }.ok_or(Unsure)?;
                }
                self.node = node;
                match (&self.program.nodes[node], object) {
                    (Node::Skip | Node::Stream | Node::Limit(_) | Node::Raw(_), _) => skip,
                    (Node::Object { fields, .. }, true) => Frame::Object {
                        rule: node,
                        slots: vec![None; fields.len()],
                        slot: None,
                    },
                    (Node::List(_), false) => Frame::List {
                        rule: node,
                        out: Text::default(),
                    },
                    (Node::Part(_), true) => Frame::Part {
                        rule: node,
                        text: None,
                        text_total: 0,
                        kind: None,
                        members: Vec::new(),
                        key: Vec::new(),
                    },
                    (Node::Prompts(_), false) => Frame::Prompts {
                        rule: node,
                        out: Text::default(),
                        first: true,
                        ids: false,
                    },
                    _ => return Err(Unsure),
                }
            }
        };
        self.stack.push(frame);
        if object {
            self.state = State::Key { close: true };
        } else {
            self.state = State::Value { close: true };
            self.next_item()?;
        }
        Ok(())
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

    /// The closing quote came; `end` is the position behind it.
    fn string_end(&mut self, end: usize) -> Step<()> {
        match std::mem::replace(&mut self.sink, Sink::Nowhere) {
            Sink::Key => self.key_end(),
            Sink::Nowhere => {
                self.forget();
                self.done(None)
            }
            Sink::Media(media, _) => {
                match self.stack.last_mut() {
                    Some(Frame::Part { members, key, .. }) => {
                        set_member(members, key, Some(media));
                    }
                    Some(Frame::Member { url, .. }) => *url = Some(media),
                    _ => return Err(Unsure),
                }
                self.done(None)
            }
            Sink::Text { text, .. } => {
                if let Some(Frame::Part {
                    rule,
                    text: slot,
                    text_total,
                    kind,
                    key,
                    ..
                }) = self.stack.last_mut()
                {
                    let Node::Part(rule) = &self.program.nodes[*rule] else {
                        return Err(Unsure);
                    };
                    if *key == rule.kind {
                        if text.total > text.bytes.len() {
                            return Err(Unsure);
                        }
                        *kind = Some(text.bytes);
                    } else {
                        *text_total = text.total;
                        *slot = Some(text.bytes);
                    }
                    return self.done(None);
                }
                if matches!(self.program.nodes[self.node], Node::Model)
                    && !matches!(self.stack.last(), Some(Frame::Prompts { .. }))
                {
                    if text.total > text.bytes.len() {
                        return Err(Unsure);
                    }
                    self.model = Some(text.bytes);
                    self.spans.push((self.start, end));
                    return self.done(None);
                }
                self.done(Some(text))
            }
        }
    }

    fn key_end(&mut self) -> Step<()> {
        self.state = State::Colon;
        self.node = 0;
        match self.stack.last_mut() {
            Some(Frame::Object { rule, slot, .. }) => {
                let Node::Object { fields, .. } = &self.program.nodes[*rule] else {
                    return Err(Unsure);
                };
                *slot = fields.iter().position(|(name, _)| *name == self.key);
                self.node = slot.map_or(0, |index| fields[index].1);
            }
            Some(Frame::Part { key, .. }) => key.clone_from(&self.key),
            Some(Frame::Member { rule, is_url, .. }) => {
                let Node::Part(part) = &self.program.nodes[*rule] else {
                    return Err(Unsure);
                };
                *is_url = self.key == part.url;
            }
            _ => {}
        }
        Ok(())
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

    fn null(&mut self) -> Step<()> {
        let allowed = match self.stack.last() {
            Some(Frame::Object { .. } | Frame::List { .. }) => {
                match &self.program.nodes[self.node] {
                    Node::Skip
                    | Node::Stream
                    | Node::Limit(_)
                    | Node::Raw(_)
                    | Node::Text { null: true }
                    | Node::Choice { null: true, .. } => true,
                    _ => return Err(Unsure),
                }
            }
            _ => false,
        };
        if allowed {
            if let Node::Stream = self.program.nodes[self.node] {
                self.stream = false;
            }
            if let Node::Limit(index) = self.program.nodes[self.node] {
                self.limits[index] = None;
            }
            return self.done(None);
        }
        self.scalar(None, None)
    }

    /// A number (its value, when it is a plain count) or a truth value.
    fn scalar(&mut self, count: Option<i64>, truth: Option<bool>) -> Step<()> {
        match self.stack.last_mut() {
            Some(Frame::Skip { .. }) => {}
            Some(Frame::Part {
                rule,
                key,
                members,
                text,
                ..
            }) => {
                let Node::Part(rule) = &self.program.nodes[*rule] else {
                    return Err(Unsure);
                };
                if *key == rule.kind {
                    return Err(Unsure);
                }
                if *key == rule.text {
                    *text = None;
                }
                set_member(members, key, None);
            }
            Some(Frame::Member { url, is_url, .. }) => {
                if *is_url {
                    *url = None;
                }
            }
            Some(Frame::Ids { out }) => push_id(out, count, self.program.keep())?,
            Some(Frame::Prompts {
                out, first, ids, ..
            }) => {
                if !*first && !*ids {
                    return Err(Unsure);
                }
                (*first, *ids) = (false, true);
                push_id(out, count, self.program.keep())?;
            }
            Some(Frame::Object { .. } | Frame::List { .. }) => {
                match &self.program.nodes[self.node] {
                    Node::Skip | Node::Raw(_) => {}
                    Node::Stream => self.stream = truth == Some(true),
                    Node::Limit(index) => self.limits[*index] = count,
                    _ => return Err(Unsure),
                }
            }
            None => return Err(Unsure),
        }
        self.done(None)
    }

    /// A container ended.
    fn close(&mut self, object: bool) -> Step<()> {
        if self.in_object() != object {
            return Err(Unsure);
        }
        let keep = self.program.keep();
        match self.stack.pop().ok_or(Unsure)? {
            Frame::Skip { .. } => {
                self.forget();
                self.done(None)
            }
            Frame::List { out, .. } | Frame::Prompts { out, .. } | Frame::Ids { out } => {
                self.done(Some(out))
            }
            Frame::Object { rule, slots, .. } => {
                let program = self.program.clone();
                let Node::Object { layout, .. } = &program.nodes[rule] else {
                    return Err(Unsure);
                };
                if self.stack.is_empty() && slots[program.need].is_none() {
                    return Err(Unsure);
                }
                self.done(Some(lay_out(layout, slots, keep)))
            }
            Frame::Member { url, .. } => {
                if let Some(Frame::Part { members, key, .. }) = self.stack.last_mut() {
                    set_member(members, key, url);
                }
                self.done(None)
            }
            Frame::Part {
                rule,
                text,
                text_total,
                kind,
                members,
                ..
            } => {
                if let Some(bytes) = text {
                    return self.done(Some(Text {
                        bytes,
                        total: text_total,
                    }));
                }
                let kind = kind.ok_or(Unsure)?;
                let media = members
                    .into_iter()
                    .find(|(key, _)| *key == kind)
                    .and_then(|(_, media)| media)
                    .ok_or(Unsure)?;
                let mark = &self.part(rule)?.mark;
                let mut out = Text::default();
                for piece in [mark.as_slice(), &kind, mark, &media.finish()] {
                    out.push(piece, keep);
                }
                self.done(Some(out))
            }
        }
    }

    /// A value that nobody reads stands one was read before: the last one counts.
    fn forget(&mut self) {
        match self.stack.last_mut() {
            Some(Frame::Object {
                rule,
                slot: Some(slot),
                ..
            }) => {
                let Node::Object { fields, .. } = &self.program.nodes[*rule] else {
                    return;
                };
                match self.program.nodes[fields[*slot].1] {
                    Node::Stream => self.stream = false,
                    Node::Limit(index) => self.limits[index] = None,
                    _ => {}
                }
            }
            Some(Frame::Part {
                rule,
                key,
                text,
                members,
                ..
            }) => {
                if let Node::Part(rule) = &self.program.nodes[*rule]
                    && *key == rule.text
                {
                    *text = None;
                }
                set_member(members, key, None);
            }
            Some(Frame::Member { url, is_url, .. }) if *is_url => *url = None,
            _ => {}
        }
    }

    /// A value ended; what it gave goes to the container around it.
    fn done(&mut self, given: Option<Text>) -> Step<()> {
        let keep = self.program.keep();
        self.state = State::After;
        match self.stack.last_mut() {
            None => {
                self.prompt = given;
                self.state = State::End;
            }
            Some(Frame::Object { slots, slot, .. }) => {
                if let Some(index) = slot {
                    slots[*index] = given;
                }
            }
            Some(Frame::List { out, .. }) => {
                if let Some(text) = given {
                    out.append(text, keep);
                }
            }
            Some(Frame::Prompts {
                rule,
                out,
                first,
                ids,
            }) => {
                if let Some(text) = given {
                    let Node::Prompts(separator) = &self.program.nodes[*rule] else {
                        return Err(Unsure);
                    };
                    if !*first {
                        out.push(separator, keep);
                    }
                    (*first, *ids) = (false, false);
                    out.append(text, keep);
                }
            }
            Some(
                Frame::Skip { .. } | Frame::Part { .. } | Frame::Member { .. } | Frame::Ids { .. },
            ) => {}
        }
        Ok(())
    }

    /// When the open raw value has just ended, at `at`, its bytes become its field's text.
    fn raw_end(&mut self, chunk: &[u8], from: &mut usize, at: usize) -> Step<()> {
        let open = self.raw.as_ref().map(|(depth, _)| *depth);
        if open != Some(self.stack.len()) || !matches!(self.state, State::After) {
            return Ok(());
        }
        let Some((_, mut text)) = self.raw.take() else {
            return Err(Unsure);
        };
        text.push(&chunk[*from..at], self.program.keep());
        *from = at;
        if let Some(Frame::Object {
            rule,
            slots,
            slot: Some(slot),
        }) = self.stack.last_mut()
        {
            let Node::Object { fields, .. } = &self.program.nodes[*rule] else {
                return Err(Unsure);
            };
            let Node::Raw(skipped) = &self.program.nodes[fields[*slot].1] else {
                return Err(Unsure);
            };
            slots[*slot] = (!skipped.contains(&text.bytes)).then_some(text);
        }
        Ok(())
    }
}

fn push_id(out: &mut Text, count: Option<i64>, keep: usize) -> Step<()> {
    let id = count.ok_or(Unsure)?;
    // Four bytes of each token id: its low ones, in the byte order of the machine.
    out.push(&((id & 0xFFFF_FFFF) as u32).to_ne_bytes(), keep);
    Ok(())
}

fn set_member(members: &mut Vec<(Vec<u8>, Option<Media>)>, key: &[u8], media: Option<Media>) {
    match members.iter_mut().find(|(known, _)| known == key) {
        Some((_, slot)) => *slot = media,
        None => members.push((key.to_vec(), media)),
    }
}

fn lay_out(layout: &[Piece], mut slots: Vec<Option<Text>>, keep: usize) -> Text {
    let mut out = Text::default();
    for piece in layout {
        match piece {
            Piece::Literal(bytes) => out.push(bytes, keep),
            Piece::Field { slot, suffix } => {
                if let Some(text) = slots[*slot].take() {
                    out.append(text, keep);
                    out.push(suffix, keep);
                }
            }
        }
    }
    out
}
