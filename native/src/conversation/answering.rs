//! One answer on its way to the client: what it says of itself, and what is sent back for it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::Said;
use super::messages::{common, empty, streamed};
use crate::accesslog::Ending;
use crate::answers::Answers;
use crate::first_token::TokenReader;
use crate::proto::{BodyMutation, CommonResponse, Mutation, PhaseResponse, Response};
use crate::rewrite::Restorer;
use crate::stored::IdReader;
use crate::usage::{Usage, UsageReader};

const EVENT_LINES: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Bytes of a piece that tell whether an answer is an event stream.
const LONGEST_BEGINNING: usize = 64;

/// Whether an answer that begins so is an event stream; None: more of it must be seen.
///
/// A byte order mark and empty lines may come first.
fn begins_events(beginning: &[u8]) -> Option<bool> {
    let line = match beginning.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) => rest,
        None if BYTE_ORDER_MARK.starts_with(beginning) => return None,
        None => beginning,
    };
    let blank = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let line = &line[line.iter().take_while(|byte| blank(byte)).count()..];
    if EVENT_LINES.iter().any(|each| line.starts_with(each)) {
        return Some(true);
    }
    let may = EVENT_LINES.iter().any(|each| each.starts_with(line));
    (!may).then_some(false)
}

/// What is looked for in the bytes of one answer.
#[derive(Default)]
struct Look {
    /// The id under which it is kept.
    id: Option<IdReader>,
    /// Its first token.
    token: Option<TokenReader>,
}

impl Look {
    /// For both, of an event stream that may be read.
    fn new(answers: &Arc<Answers>, events: bool, readable: bool) -> Look {
        Look {
            id: answers.stored.then(|| IdReader::new(&answers.within)),
            token: events.then(|| TokenReader::new(answers.clone(), readable)),
        }
    }

    /// Nothing more can be found.
    fn done(&self) -> bool {
        self.id.is_none() && self.token.is_none()
    }

    fn feed(&mut self, piece: &[u8], served: Option<&String>, said: &mut Vec<Said>) {
        if let Some(reader) = &mut self.id {
            let found = reader.feed(piece);
            if reader.done {
                self.id = None;
            }
            let served = served.cloned();
            said.extend(found.map(|id| Said::Stored { id, served }));
        }
        if self.token.as_mut().is_some_and(|token| token.feed(piece)) {
            self.token = None;
            said.push(Said::FirstToken);
        }
    }
}

/// An answer whose headers came; or one of which our own Envoy sends the body alone, as it needs no change.
pub(super) struct Answering {
    /// It comes from our own Envoy, whose access log tells the end.
    lean: bool,
    /// Every byte must be sent back.
    duplex: bool,
    /// Of an answer without headers, until it is known what it is.
    beginning: Option<Vec<u8>>,
    look: Look,
    restorer: Option<Restorer>,
    usage: Option<UsageReader>,
    pub status: Option<u64>,
    pub served: Option<String>,
    /// The stream may be closed.
    pub leaving: bool,
}

/// What the headers of an answer say.
pub(super) struct Head {
    pub status: u64,
    pub served: Option<String>,
    /// It is an event stream.
    pub events: bool,
    /// It is not compressed.
    pub readable: bool,
    pub restorer: Option<Restorer>,
}

impl Answering {
    pub fn new(answers: &Arc<Answers>, head: Head, lean: bool, duplex: bool) -> Answering {
        let look = if head.status < 400 {
            Look::new(answers, head.events, head.readable)
        } else {
            Look::default()
        };
        Answering {
            lean,
            duplex,
            beginning: None,
            leaving: lean && head.restorer.is_none() && look.done(),
            look,
            restorer: head.restorer,
            usage: (!lean).then(|| UsageReader::new(answers.clone())),
            status: Some(head.status),
            served: head.served,
        }
    }

    pub fn headerless(answers: &Arc<Answers>, duplex: bool) -> Answering {
        Answering {
            lean: true,
            duplex,
            beginning: Some(Vec::new()),
            look: Look::new(answers, true, true),
            restorer: None,
            usage: None,
            status: None,
            served: None,
            leaving: false,
        }
    }

    /// It has no headers, and it is not yet known what it is.
    pub fn undecided(&self) -> bool {
        self.beginning.is_some()
    }

    /// A piece of the body.
    pub fn chunk(&mut self, outbox: &mut VecDeque<Bytes>, body: &Bytes, end: bool) -> Vec<Said> {
        let mut said = Vec::new();
        if self.undecided() {
            self.begin(body, end, &mut said);
        }
        self.look.feed(body, self.served.as_ref(), &mut said);
        if let Some(usage) = &mut self.usage
            && !body.is_empty()
        {
            usage.feed(body);
        }
        self.send(outbox, body, end);
        if end {
            said.extend(self.finish());
        } else {
            let known = !self.undecided() && self.look.done();
            self.leaving = self.lean && self.restorer.is_none() && known;
        }
        said
    }

    /// Judges an answer without headers.
    fn begin(&mut self, body: &Bytes, end: bool, said: &mut Vec<Said>) {
        let mut beginning = self.beginning.take().unwrap_or_default();
        beginning.extend_from_slice(&body[..body.len().min(LONGEST_BEGINNING)]);
        match begins_events(&beginning) {
            Some(true) => said.push(Said::Started {
                status: 200,
                served: self.served.clone(),
                local: false,
                plain: false,
            }),
            None if !end => {
                if beginning.len() > LONGEST_BEGINNING {
                    // Empty lines, for the most part.
                    let blank = |byte: &&u8| {
                        BYTE_ORDER_MARK.contains(byte) || matches!(byte, b'\r' | b'\n')
                    };
                    let blanks = beginning.iter().take_while(blank).count();
                    beginning.drain(..blanks);
                }
                self.beginning = Some(beginning);
            }
            // Plain, or an error: the access log tells.
            Some(false) | None => self.look.token = None,
        }
    }

    fn send(&mut self, outbox: &mut VecDeque<Bytes>, body: &Bytes, end: bool) {
        let Some(restorer) = &mut self.restorer else {
            pass(outbox, body, end, self.duplex);
            return;
        };
        let mut restored = restorer.feed(body);
        if end {
            restored.extend(restorer.finish());
        }
        let restored = Bytes::from(restored);
        if self.duplex {
            outbox.extend(streamed(&restored, end, Response::ResponseBody));
            return;
        }
        let mutation = if restored.is_empty() {
            Mutation::ClearBody(true)
        } else {
            Mutation::Body(restored)
        };
        outbox.push_back(empty(Response::ResponseBody(common(CommonResponse {
            body_mutation: Some(BodyMutation {
                mutation: Some(mutation),
            }),
            ..CommonResponse::default()
        }))));
    }

    /// What is still held when trailers come. It can go before them only on a full-duplex stream.
    pub fn held(&mut self, outbox: &mut VecDeque<Bytes>) {
        if let (true, Some(restorer)) = (self.duplex, &mut self.restorer) {
            let rest = Bytes::from(restorer.finish());
            outbox.extend(streamed(&rest, false, Response::ResponseBody));
        }
    }

    /// The answer is whole. Our own Envoy's access log says so itself, with the usage.
    pub fn finish(&mut self) -> Option<Said> {
        self.leaving = true;
        (!self.lean).then(|| self.over(Ending::Complete))
    }

    /// The request is over, with what the answer said so far.
    pub fn over(&mut self, ending: Ending) -> Said {
        Said::Over {
            ending,
            status: self.status,
            usage: self.usage.as_ref().map_or(Usage::None, UsageReader::usage),
            served: self.served.take(),
        }
    }
}

/// Answers a response chunk so that it goes on as it is.
pub(super) fn pass(outbox: &mut VecDeque<Bytes>, body: &Bytes, end: bool, duplex: bool) {
    if duplex {
        outbox.extend(streamed(body, end, Response::ResponseBody));
    } else {
        outbox.push_back(empty(Response::ResponseBody(PhaseResponse::default())));
    }
}
