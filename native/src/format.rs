//! An API's bodies of either kind, behind one interface.

use std::sync::Arc;

use bytes::Bytes;

use crate::answers::Answers;
use crate::multipart::{self, Fields};
use crate::program::Program;
use crate::rewrite;
use crate::scan::{Reading, Scanner};

/// An API whose requests are understood.
pub struct Format {
    pub api: Arc<str>,
    /// Ends of paths; none: all that no other format of this kind claims.
    pub suffixes: Vec<String>,
    pub reads: Reads,
    /// What its answers hold.
    pub answers: Arc<Answers>,
}

/// How a format reads its bodies.
pub enum Reads {
    Json(Arc<Program>),
    Multipart(Arc<Fields>),
}

/// How the bytes of a body are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    Json,
    Multipart,
}

impl BodyKind {
    /// As a content type says, as JSON where it says nothing; None: not at all.
    pub fn of(content_type: &str) -> Option<BodyKind> {
        let kind = rewrite::media_type(content_type);
        if kind.is_empty() || kind == "application/json" || kind.ends_with("+json") {
            return Some(BodyKind::Json);
        }
        (kind == multipart::MEDIA_TYPE).then_some(BodyKind::Multipart)
    }
}

impl Format {
    pub fn kind(&self) -> BodyKind {
        match self.reads {
            Reads::Json(_) => BodyKind::Json,
            Reads::Multipart(_) => BodyKind::Multipart,
        }
    }

    /// A body that cannot be read is refused.
    pub fn strict(&self) -> bool {
        match &self.reads {
            Reads::Json(program) => program.strict(),
            Reads::Multipart(_) => false,
        }
    }

    /// What reads one body; None: its content type tells too little.
    pub fn reader(&self, content_type: &str) -> Option<Reader> {
        match &self.reads {
            Reads::Json(program) => Some(Reader::Json(Scanner::new(program.clone()))),
            Reads::Multipart(fields) => {
                let scanner = multipart::Scanner::new(fields, content_type)?;
                Some(Reader::Multipart(Box::new(scanner)))
            }
        }
    }

    /// `body` with `name` as its model, at `spans` where they are known; None: nothing changes.
    pub fn rename(
        &self,
        content_type: &str,
        body: &[u8],
        spans: Option<&[(usize, usize)]>,
        name: &str,
    ) -> Option<Vec<u8>> {
        match (&self.reads, spans) {
            (Reads::Json(_), Some(spans)) => {
                rewrite::replace_spans(body, spans, &rewrite::quoted(name))
            }
            (Reads::Json(_), None) => rewrite::replace_model(body, name),
            (Reads::Multipart(_), Some(spans)) => {
                rewrite::replace_spans(body, spans, name.as_bytes())
            }
            (Reads::Multipart(fields), None) => {
                multipart::replace_model(fields, content_type, body, name)
            }
        }
    }
}

/// Reads one body in pieces.
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is nearly every body's"
)]
pub enum Reader {
    Json(Scanner),
    /// On the heap: what it searches with is aligned to 32 bytes, and Python, which holds a conversation in the
    /// tests, aligns its objects to 16.
    Multipart(Box<multipart::Scanner>),
}

impl Reader {
    /// Takes the next bytes of the body.
    pub fn feed(&mut self, chunk: &[u8]) {
        match self {
            Reader::Json(scanner) => scanner.feed(chunk),
            Reader::Multipart(scanner) => scanner.feed(chunk),
        }
    }

    /// How much work it was so far.
    pub fn steps(&self) -> u64 {
        match self {
            Reader::Json(scanner) => scanner.steps,
            Reader::Multipart(scanner) => scanner.steps,
        }
    }

    /// What was read of the whole body, whose chunks these are; None: ask the format's own reader.
    pub fn finish(self, body: &[Bytes]) -> Option<Reading> {
        match self {
            Reader::Json(scanner) => scanner.finish(),
            Reader::Multipart(scanner) => scanner.finish(body),
        }
    }
}
