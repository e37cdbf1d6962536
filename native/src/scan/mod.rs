//! One pass over a JSON body, in chunks as they arrive, without building a tree.
//!
//! The scanner executes a [`Program`]. It accepts only what it reads beyond doubt: strict JSON in UTF-8 with what the
//! shape needs. Everything else (broken or exotic bodies) makes it `unsure`, and the caller then asks the format's
//! own reader in Python, so that answers and errors cannot differ. Its work is proportional to the bytes: nothing is
//! looked at twice, and of keys only those are kept that the shape names.

use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use crate::program::{ID, Node, PROMPT, Program, SKIP};
use crate::text::{Digest, Text};
pub(crate) use numbers::integer;
use numbers::{Digits, LONGEST_NUMBER};
pub use reading::Reading;

mod fields;
mod numbers;
mod reading;
mod strings;
#[cfg(test)]
mod tests;

/// Containers within containers that are followed.
const DEPTH: usize = 256;
/// Bytes of a key that are kept: no shape names a longer one.
const LONGEST_KEY: usize = 64;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

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
    Number(Digits),
    Word,
    /// Behind the whole text.
    End,
}

/// Where a string's bytes go.
enum Sink {
    Nowhere,
    Key,
    Text(Text),
    Media(Digest),
    /// A model's name; longer than allowed: None.
    Name(Option<Vec<u8>>),
    Salt(Box<Xxh3>),
    /// An id; longer than a model's name may be: None.
    Prior(Option<Vec<u8>>),
    /// What may name the session, and whether it is empty.
    Session(Box<Xxh3>, bool),
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
        first: bool,
    },
    /// An object that refers to media.
    Media {
        rule: usize,
        found: Vec<Option<Digest>>,
        key: Option<usize>,
    },
    Prompts {
        rule: usize,
        out: Text,
        first: bool,
    },
    Ids {
        out: Text,
    },
}

/// What stands in fields that a request is told apart by.
struct Told {
    limits: Vec<Option<i64>>,
    /// Those that were met, by their numbers; longer than allowed: None.
    priors: Vec<(usize, Option<Vec<u8>>)>,
    /// The same of those that may name the session, with digests.
    sessions: Vec<(usize, u128)>,
}

impl Told {
    /// A value begins at this node: what an earlier one said there, or in it, is forgotten.
    fn forget(&mut self, nodes: &[Node], node: usize) {
        match &nodes[node] {
            Node::Limit(index) => self.limits[*index] = None,
            Node::Prior(index) => self.priors.retain(|(known, _)| known != index),
            Node::Session(index) => self.sessions.retain(|(known, _)| known != index),
            Node::Object { fields, .. } => {
                for (_, inner) in fields {
                    self.forget(nodes, *inner);
                }
            }
            Node::Choice { string, object, .. } => {
                for inner in [string, object].into_iter().flatten() {
                    self.forget(nodes, *inner);
                }
            }
            _ => {}
        }
    }

    /// The first id that is usable.
    fn prior(&self) -> Option<String> {
        let usable = self.priors.iter().filter_map(|(index, id)| {
            let id = std::str::from_utf8(id.as_deref()?).ok()?;
            (!id.is_empty()).then_some((index, id))
        });
        let first = usable.min_by_key(|(index, _)| **index);
        first.map(|(_, id)| id.to_owned())
    }
}

/// What stands at the model's field.
enum Model {
    Missing,
    Name(Vec<u8>),
    TooLong,
    /// No string.
    Other,
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
    /// The first digits of the open number.
    number: Vec<u8>,
    /// Depth of the container whose end ends the raw value, with its bytes; None: no raw value is open.
    raw: Option<(usize, Text)>,
    /// The last bytes of a chunk that may be the start of a UTF-8 character.
    partial: Vec<u8>,
    /// Bytes of a byte order mark so far.
    mark: usize,
    /// Bytes of earlier chunks.
    base: usize,
    /// Steps so far: bytes looked at or moved, tokens and comparisons of keys.
    pub steps: u64,
    model: Model,
    stream: bool,
    salt: Option<u64>,
    told: Told,
    /// For each need, whether the body has it.
    met: Vec<bool>,
    start: usize,
    spans: Vec<(usize, usize)>,
    lead: Option<Text>,
    /// What the top-level fields gave.
    given: Option<Vec<Option<Text>>>,
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

impl Scanner {
    pub fn new(program: Arc<Program>) -> Scanner {
        let (root, limits, needs) = (program.root, program.limits, program.need.len());
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
            mark: 0,
            base: 0,
            steps: 0,
            model: Model::Missing,
            stream: false,
            salt: None,
            told: Told {
                limits: vec![None; limits],
                priors: Vec::new(),
                sessions: Vec::new(),
            },
            met: vec![false; needs],
            start: 0,
            spans: Vec::new(),
            lead: None,
            given: None,
        }
    }

    /// Takes the next bytes of the body.
    pub fn feed(&mut self, chunk: &[u8]) {
        if !self.unsure && (self.characters(chunk).is_err() || self.walk(chunk).is_err()) {
            self.unsure = true;
        }
        self.base += chunk.len();
    }

    /// Checks that the chunks together are UTF-8.
    fn characters(&mut self, chunk: &[u8]) -> Step<()> {
        self.steps += chunk.len() as u64;
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
            self.steps += 1;
            match self.state {
                State::String => {
                    at = self.string(chunk, at)?;
                    if self.state != State::String {
                        self.raw_end(chunk, &mut from, at)?;
                    }
                }
                State::Number(digits) => {
                    if let Some(digits) = digits.next(byte) {
                        if self.number.len() <= LONGEST_NUMBER {
                            self.number.push(byte);
                        }
                        self.state = State::Number(digits);
                        at += 1;
                    } else if digits.whole() {
                        self.number_end();
                        self.raw_end(chunk, &mut from, at)?;
                    } else {
                        return Err(Unsure);
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
                State::Value { .. }
                    if BYTE_ORDER_MARK.get(self.base + at) == Some(&byte)
                        && self.mark == self.base + at =>
                {
                    self.mark += 1;
                    at += 1;
                }
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
                            self.next_item();
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
        let keep = self.raw_keep();
        if let Some((_, text)) = &mut self.raw {
            self.steps += (chunk.len() - from) as u64;
            text.push(&chunk[from..], keep);
        }
        Ok(())
    }

    fn in_object(&self) -> bool {
        match self.stack.last() {
            Some(Frame::Skip { object }) => *object,
            Some(Frame::Object { .. } | Frame::Media { .. }) => true,
            Some(Frame::List { .. } | Frame::Prompts { .. } | Frame::Ids { .. }) | None => false,
        }
    }

    /// The node of the next item of the list on top.
    fn next_item(&mut self) {
        self.node = match self.stack.last() {
            Some(Frame::List { rule, .. }) => match &self.program.nodes[*rule] {
                Node::List { item, .. } => *item,
                _ => SKIP,
            },
            Some(Frame::Prompts { .. }) => PROMPT,
            Some(Frame::Ids { .. }) => ID,
            _ => SKIP,
        };
    }

    /// The first byte of a value.
    fn value(&mut self, byte: u8) -> Step<()> {
        if matches!(self.mark, 1 | 2) {
            return Err(Unsure);
        }
        self.begin(byte);
        match byte {
            b'"' => {
                self.string_start();
                Ok(())
            }
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
                self.state = State::Number(Digits::first(byte));
                Ok(())
            }
            _ => Err(Unsure),
        }
    }

    fn number_end(&mut self) {
        let value = integer(&self.number);
        self.scalar(value, None);
    }

    fn word_byte(&mut self) -> Step<()> {
        for (word, value) in [
            (b"true".as_slice(), Some(true)),
            (b"false", Some(false)),
            (b"null", None),
        ] {
            if self.word == word {
                self.scalar(None, value);
                return Ok(());
            }
            if word.starts_with(&self.word) {
                return Ok(());
            }
        }
        Err(Unsure)
    }
}
