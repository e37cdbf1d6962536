//! multipart/form-data in pieces: where the values of named fields stand.
//!
//! The twin of `headgate/wire/multipart.py`, where the rules are told. Contents are searched for the boundary, not
//! walked through; nothing but the headers of one part is kept.

use std::sync::Arc;

use bytes::Bytes;
use memchr::memmem::Finder;
use memchr::memrchr;
use xxhash_rust::xxh3::xxh3_128;

use crate::scan::{Reading, integer};
use crate::shape::{Rule, Shape};

pub const MEDIA_TYPE: &str = "multipart/form-data";
const END_OF_HEADERS: &[u8] = b"\r\n\r\n";

/// Bounds and words; they come from `headgate.wire.multipart`.
#[derive(Debug, Default, Clone)]
pub struct Measures {
    pub longest_boundary: usize,
    pub most_parts: usize,
    pub longest_headers: usize,
    /// Bytes of a model's name; a longer one is left to Python.
    pub longest_model: usize,
    /// Small letters.
    pub true_words: Vec<Vec<u8>>,
}

/// What a field of the form says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Model,
    Stream,
    Limit(usize),
    Session(usize),
}

/// A format's fields.
#[derive(Debug)]
pub struct Fields {
    named: Vec<(Vec<u8>, Meaning)>,
    limits: usize,
    /// Fields that may name the session.
    sessions: Vec<Arc<str>>,
    measures: Measures,
}

impl Fields {
    pub fn new(shape: &Shape, measures: Measures) -> Fields {
        let meaning = |rule: &Rule| match rule {
            Rule::Model => Some(Meaning::Model),
            Rule::Stream => Some(Meaning::Stream),
            Rule::Limit(index) => Some(Meaning::Limit(*index)),
            Rule::Session(index) => Some(Meaning::Session(*index)),
            _ => None,
        };
        let fields = shape.root.fields.iter();
        Fields {
            named: fields
                .filter_map(|(name, rule)| Some((name.clone(), meaning(rule)?)))
                .collect(),
            limits: shape.limits,
            sessions: shape.sessions.clone(),
            measures,
        }
    }

    fn meaning(&self, name: &[u8]) -> Option<Meaning> {
        let found = self.named.iter().find(|(known, _)| known == name);
        found.map(|(_, meaning)| *meaning)
    }
}

fn unindented(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
    &text[blanks.count()..]
}

fn trim(text: &[u8]) -> &[u8] {
    let text = unindented(text);
    let blanks = text
        .iter()
        .rev()
        .take_while(|byte| matches!(byte, b' ' | b'\t'));
    &text[..text.len() - blanks.count()]
}

/// A quoted text behind its first quote: what it says, and what stands behind it without blanks.
fn quoted(mut text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut said = Vec::new();
    loop {
        match text {
            [b'"', rest @ ..] => return Some((said, unindented(rest))),
            [b'\\'] | [] => return None,
            [b'\\', byte, rest @ ..] | [byte, rest @ ..] => {
                said.push(*byte);
                text = rest;
            }
        }
    }
}

/// What stands behind the first `;` of a header's value, names in small letters; None: it is not well-formed.
fn parameters(value: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut rest = match memchr::memchr(b';', value) {
        Some(at) => &value[at..],
        None => &[],
    };
    while let [b';', after @ ..] = rest {
        let end = after.iter().position(|byte| matches!(byte, b'=' | b';'));
        let (name, behind) = after.split_at(end.unwrap_or(after.len()));
        let key = trim(name).to_ascii_lowercase();
        let mut given = Vec::new();
        rest = behind;
        if let [b'=', text @ ..] = behind {
            let text = unindented(text);
            if let [b'"', inside @ ..] = text {
                (given, rest) = quoted(inside)?;
            } else {
                let end = memchr::memchr(b';', text).unwrap_or(text.len());
                given = trim(&text[..end]).to_vec();
                rest = &text[end..];
            }
        }
        if !matches!(rest, [] | [b';', ..]) || found.iter().any(|(known, _)| *known == key) {
            return None;
        }
        if !key.is_empty() {
            found.push((key, given));
        }
    }
    Some(found)
}

/// The boundary that a multipart content type names; None: none that can be used.
fn boundary(content_type: &[u8], longest: usize) -> Option<Vec<u8>> {
    let named = parameters(content_type)?;
    let (_, found) = named.into_iter().find(|(name, _)| name == b"boundary")?;
    let usable = !found.is_empty()
        && found.len() <= longest
        && found.iter().all(|byte| (0x20..0x7f).contains(byte))
        && !found.ends_with(b" ");
    usable.then_some(found)
}

/// The field whose value a part with these headers holds; empty: it is a file, or no field of a form. None: the headers
/// are not well-formed.
fn field_name(block: &[u8]) -> Option<Vec<u8>> {
    let mut disposition = None;
    let mut rest = block;
    while !rest.is_empty() {
        let end = memchr::memmem::find(rest, b"\r\n");
        let line = &rest[..end.unwrap_or(rest.len())];
        rest = end.map_or(&[], |end| &rest[end + 2..]);
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.is_empty()
            || matches!(name[0], b' ' | b'\t')
            || line.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'))
        {
            return None;
        }
        if name.eq_ignore_ascii_case(b"content-disposition") && disposition.replace(value).is_some()
        {
            return None;
        }
    }
    let Some(disposition) = disposition else {
        return Some(Vec::new());
    };
    let named = parameters(disposition)?;
    let kind = disposition
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default();
    let is_file = named
        .iter()
        .any(|(name, _)| matches!(name.as_slice(), b"filename" | b"filename*"));
    if is_file || !trim(kind).eq_ignore_ascii_case(b"form-data") {
        return Some(Vec::new());
    }
    let name = named.into_iter().find(|(name, _)| name == b"name");
    Some(name.map_or_else(Vec::new, |(_, value)| value))
}

/// What a delimiter's line went on with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    Nothing,
    Blank,
    Dash,
    Return,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first part, or in a part's content; so many bytes of a delimiter came last.
    Content {
        matched: usize,
    },
    Delimiter(Behind),
    Headers,
    /// Behind the last delimiter.
    Closed,
    /// The body is not understood.
    Broken,
}

/// Reads one body.
pub struct Scanner {
    fields: Arc<Fields>,
    finder: Finder<'static>,
    state: State,
    /// Bytes of earlier chunks.
    base: usize,
    headers: Vec<u8>,
    parts: usize,
    /// The field whose content is open, and where that begins.
    open: Option<(Meaning, usize)>,
    /// Where the last delimiter begins, with its line break.
    delimiter: usize,
    /// Values of the fields that have a meaning.
    found: Vec<(Meaning, usize, usize)>,
    /// Steps so far: bytes looked at or moved.
    pub steps: u64,
}

impl Scanner {
    /// None: the content type names no usable boundary.
    pub fn new(fields: &Arc<Fields>, content_type: &str) -> Option<Scanner> {
        let boundary = boundary(content_type.as_bytes(), fields.measures.longest_boundary)?;
        let delimiter = [b"\r\n--", boundary.as_slice()].concat();
        Some(Scanner {
            fields: fields.clone(),
            finder: Finder::new(&delimiter).into_owned(),
            // The first delimiter may stand at the very beginning.
            state: State::Content { matched: 2 },
            base: 0,
            headers: Vec::new(),
            parts: 0,
            open: None,
            delimiter: 0,
            found: Vec::new(),
            steps: 0,
        })
    }

    /// Takes the next bytes of the body.
    pub fn feed(&mut self, chunk: &[u8]) {
        let mut at = 0;
        while at < chunk.len() {
            match self.state {
                State::Content { matched } => at = self.content(chunk, at, matched),
                State::Delimiter(behind) => at = self.behind(chunk, at, behind),
                State::Headers => {
                    self.steps += 1;
                    self.headers.push(chunk[at]);
                    at += 1;
                    self.header_byte(self.base + at);
                }
                State::Closed | State::Broken => break,
            }
        }
        self.base += chunk.len();
    }

    fn content(&mut self, chunk: &[u8], at: usize, matched: usize) -> usize {
        let needle = self.finder.needle();
        let rest = &chunk[at..];
        if matched > 0 {
            self.steps += 1;
            if rest[0] != needle[matched] {
                // A line break stands nowhere else in a delimiter: none began in between.
                self.state = State::Content { matched: 0 };
                return at;
            }
            if matched + 1 < needle.len() {
                self.state = State::Content {
                    matched: matched + 1,
                };
            } else {
                self.delimited(self.base + at + 1);
            }
            return at + 1;
        }
        if let Some(found) = self.finder.find(rest) {
            let end = at + found + needle.len();
            self.steps += (end - at) as u64;
            self.delimited(self.base + end);
            return end;
        }
        self.steps += rest.len() as u64;
        let tail = &rest[rest.len().saturating_sub(needle.len() - 1)..];
        let begun = memrchr(b'\r', tail).map_or(0, |from| {
            let last = &tail[from..];
            if needle.starts_with(last) {
                last.len()
            } else {
                0
            }
        });
        self.state = State::Content { matched: begun };
        chunk.len()
    }

    /// A delimiter's boundary ends here.
    fn delimited(&mut self, end: usize) {
        self.delimiter = end.saturating_sub(self.finder.needle().len());
        self.state = State::Delimiter(Behind::Nothing);
    }

    fn behind(&mut self, chunk: &[u8], at: usize, behind: Behind) -> usize {
        self.steps += 1;
        self.state = match (behind, chunk[at]) {
            (Behind::Nothing | Behind::Blank, b' ' | b'\t') => State::Delimiter(Behind::Blank),
            (Behind::Nothing, b'-') => State::Delimiter(Behind::Dash),
            (Behind::Nothing | Behind::Blank, b'\r') => State::Delimiter(Behind::Return),
            (Behind::Dash, b'-') => {
                self.close();
                State::Closed
            }
            (Behind::Return, b'\n') => {
                self.close();
                self.parts += 1;
                if self.parts > self.fields.measures.most_parts {
                    State::Broken
                } else {
                    State::Headers
                }
            }
            _ => {
                self.state = State::Content { matched: 0 };
                return at;
            }
        };
        at + 1
    }

    /// The open content ended with the last delimiter.
    fn close(&mut self) {
        if let Some((meaning, start)) = self.open.take() {
            self.found.push((meaning, start, self.delimiter));
        }
    }

    /// The headers have one byte more; `at` is behind it.
    fn header_byte(&mut self, at: usize) {
        let longest = self.fields.measures.longest_headers;
        let end = if self.headers == b"\r\n" {
            Some(0)
        } else if self.headers.ends_with(END_OF_HEADERS) {
            Some(self.headers.len() - END_OF_HEADERS.len())
        } else {
            None
        };
        let Some(end) = end else {
            if self.headers.len() >= longest + END_OF_HEADERS.len() {
                self.state = State::Broken;
            }
            return;
        };
        self.steps += end as u64;
        self.state = match field_name(&self.headers[..end]) {
            Some(name) => {
                self.open = self.fields.meaning(&name).map(|meaning| (meaning, at));
                State::Content { matched: 0 }
            }
            None => State::Broken,
        };
        self.headers.clear();
    }

    /// Where the values of model fields stand; None: the body is not understood.
    pub fn spans(&self) -> Option<Vec<(usize, usize)>> {
        let models = self.found.iter().filter(|found| found.0 == Meaning::Model);
        (self.state != State::Broken).then(|| models.map(|found| (found.1, found.2)).collect())
    }

    /// What was read of the whole body, whose chunks these are; None: Python must judge it.
    pub fn finish(self, body: &[Bytes]) -> Option<Reading> {
        let spans = self.spans()?;
        let last = |meaning: Meaning| {
            let place = self.found.iter().rev().find(|found| found.0 == meaning)?;
            Some(cut_out(
                body,
                place.1,
                place
                    .2
                    .min(place.1 + self.fields.measures.longest_model + 1),
            ))
        };
        let name = last(Meaning::Model).unwrap_or_default();
        if name.len() > self.fields.measures.longest_model {
            return None;
        }
        let stream = last(Meaning::Stream)
            .unwrap_or_default()
            .to_ascii_lowercase();
        let sessions = self.fields.sessions.iter().enumerate();
        let sessions = sessions.filter_map(|(index, name)| {
            let text = last(Meaning::Session(index))?;
            let fits = (1..=self.fields.measures.longest_model).contains(&text.len());
            let names_one = fits && std::str::from_utf8(&text).is_ok();
            names_one.then(|| (name.clone(), xxh3_128(&text)))
        });
        let limits = (0..self.fields.limits).filter_map(|index| last(Meaning::Limit(index)));
        Some(Reading {
            model: String::from_utf8(name).ok().filter(|name| !name.is_empty()),
            stream: self.fields.measures.true_words.contains(&stream),
            limit: limits.filter_map(|text| whole(&text)).next(),
            prompt_bytes: 0,
            media: 0,
            blocks: Vec::new(),
            tools_first: Vec::new(),
            spans,
            prior: None,
            sessions: sessions.collect(),
        })
    }
}

/// A number as in JSON, without sign, fraction and exponent.
fn whole(text: &[u8]) -> Option<i64> {
    if text.len() > 1 && text.starts_with(b"0") {
        return None;
    }
    integer(text)
}

/// Bytes of a body from one place to another.
fn cut_out(body: &[Bytes], start: usize, end: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(end - start);
    let mut base = 0;
    for chunk in body {
        let (from, to) = (start.max(base), end.min(base + chunk.len()));
        if from < to {
            out.extend_from_slice(&chunk[from - base..to - base]);
        }
        base += chunk.len();
        if base >= end {
            break;
        }
    }
    out
}

/// `body` with `name` as the value of every model field; None: there is none, or the body is not understood.
pub fn replace_model(
    fields: &Arc<Fields>,
    content_type: &str,
    body: &[u8],
    name: &str,
) -> Option<Vec<u8>> {
    let mut scanner = Scanner::new(fields, content_type)?;
    scanner.feed(body);
    crate::rewrite::replace_spans(body, &scanner.spans()?, name.as_bytes())
}

#[cfg(test)]
mod tests;
