//! One ext_proc stream, one HTTP request: protocol messages in, what they say and protocol answers out.
//!
//! The twin of `headgate.wire.extproc.Conversation`: same phases, same answers. Two ways of carrying the body are
//! told apart by the first message's `protocol_config`: full duplex (every byte is sent back, answers in order) and
//! buffered (headers are answered at once, the pick is in the answer to the one body message). Where the body will
//! not be seen, the pick is made on the headers. Errors and model lists are written in Python: they come as bytes.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use prost::Message;
use ring::digest;
use xxhash_rust::xxh3::xxh3_64;

use crate::accesslog::Ending;
use crate::format::{Format, Reader};
use crate::proto::{HttpBody, ProcessingRequest, Request, body_mode};
use crate::scan::Reading;
use crate::sessions::Sources;
use crate::usage::Usage;

mod answering;
mod messages;
mod request;
mod response;
#[cfg(test)]
mod tests;

use answering::Answering;
pub use messages::{Headers, PREFIX_BYTES, framed, text};
use messages::{cut, find, not_a_request};
use response::is_local;

const SEAL_BYTES: usize = 8;
const HEX: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
];

/// Header and metadata names; they come from `headgate.model.headers`.
#[derive(Debug, Default)]
pub struct Names {
    /// gRPC metadata: the pool that is asked for.
    pub pool: String,
    /// Request attributes that may name the pool, the likeliest first.
    pub pool_attributes: Vec<String>,
    /// gRPC metadata: `1` from our own Envoy.
    pub lean: String,
    /// gRPC metadata: `1` from a data plane that walks lists of endpoints.
    pub fallbacks: String,
    pub destination: String,
    pub subset: String,
    pub served: String,
    pub lb_namespace: String,
    pub subset_namespace: String,
    pub request_id: String,
    pub own_namespace: String,
    /// Key in `own_namespace`: who the client is.
    pub client: String,
    pub usage_namespace: String,
    pub attempts_namespace: String,
    pub decision: String,
    pub endpoint: String,
    pub objective: Vec<String>,
    pub fairness_id: Vec<String>,
    pub slo_ttft_ms: Vec<String>,
    pub slo_tpot_ms: Vec<String>,
    /// Request header of our own Envoy: further pools whose models a list is to hold.
    pub pools: String,
    /// Request header of our own Envoy: the policy of the route or listener.
    pub flow: String,
    /// Request headers that go no further, in order.
    pub stripped: Vec<String>,
    pub models_suffix: String,
    /// Characters of what is kept of Envoy's words for an end.
    pub longest_details: usize,
}

/// How this process talks on every stream.
pub struct Settings {
    pub names: Names,
    pub formats: Vec<Format>,
    pub nonce: String,
    /// What seals the streams' keys; never leaves the process.
    pub secret: Vec<u8>,
    pub body_limit: usize,
    /// A larger body that the scanner does not accept is routed without being understood.
    pub odd_body_limit: usize,
    /// Prompt tokens that an image, a sound or a file counts for.
    pub media_tokens: usize,
    /// How many of them are counted.
    pub most_media: usize,
    /// Bytes of ids and names in headers that are kept.
    pub longest_id: usize,
    pub longest_path: usize,
    pub longest_endpoint: usize,
    /// Entries of a subset hint that are looked at.
    pub most_subset: usize,
    /// Of an answer to a request that is ended for a more important one.
    pub evicted_status: u64,
    pub subset_filter: bool,
    /// What may name a request's session; Python may change it.
    pub sessions: RwLock<Arc<Sources>>,
}

impl Settings {
    /// From now on this may name a request's session.
    pub fn read_sessions(&self, sources: Sources) {
        *self
            .sessions
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(sources);
    }

    fn wanted(&self) -> Arc<Sources> {
        let known = self.sessions.read();
        known.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The peer broke the protocol: its stream is closed, others are not concerned.
#[derive(Debug, PartialEq, Eq)]
pub struct WireError(pub String);

/// A request whose body, as far as there is one, is complete. Bytes are text: see [`text`].
#[derive(Debug, PartialEq)]
pub struct Arrival {
    pub id: Bytes,
    pub api: Arc<str>,
    pub path: Bytes,
    pub reading: Option<Reading>,
    pub subset: Option<Vec<String>>,
    pub objective: Option<Bytes>,
    pub fairness_id: Option<Bytes>,
    pub slo_ttft_ms: Option<Bytes>,
    pub slo_tpot_ms: Option<Bytes>,
    /// What may name its session: sources and digests.
    pub sessions: Vec<(Arc<str>, String)>,
    /// Further pools whose models a list is to hold.
    pub pools: Option<Bytes>,
    /// Who the client is, as the data plane has verified.
    pub client: Option<String>,
    /// The policy of its route or listener, as our own Envoy says.
    pub flow: Option<Bytes>,
    pub body_bytes: usize,
    pub media_tokens: usize,
    /// Nothing of the answer will be told but its end.
    pub unseen: bool,
}

/// What a stream says.
#[derive(Debug, PartialEq)]
pub enum Said {
    Arrived(Box<Arrival>),
    /// A body that the format's reader in Python must judge.
    Unread {
        headers: Headers,
        body: Bytes,
        subset: Option<Vec<String>>,
        unseen: bool,
        client: Option<String>,
        /// It comes from our own Envoy.
        lean: bool,
    },
    /// The body is larger than allowed: the answer is written in Python.
    TooLarge {
        request_id: Bytes,
    },
    Started {
        status: u64,
        served: Option<String>,
        local: bool,
        /// The answer is no event stream.
        plain: bool,
    },
    /// The first token of an event stream came.
    FirstToken,
    /// The id under which the server keeps its answer.
    Stored {
        id: String,
        served: Option<String>,
    },
    Over {
        ending: Ending,
        status: Option<u64>,
        usage: Usage,
        served: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Start,
    /// Headers seen, body still coming.
    Body,
    /// The request has been handed over; its answer is awaited.
    Picking,
    /// Too large: Python writes the answer.
    Refusing,
    Routed,
    /// Response headers seen.
    Started,
    Over,
}

/// A stream's life. Messages to send gather in `outbox`, each with its gRPC prefix; `leaving`: the stream may be closed after them.
pub struct Conversation {
    settings: Arc<Settings>,
    number: u64,
    lean: bool,
    /// The peer walks lists of endpoints.
    lists: bool,
    pub outbox: VecDeque<Bytes>,
    pub leaving: bool,
    /// Pools that the request's attributes may mean, the likeliest first.
    pub pool_names: Vec<String>,
    phase: Phase,
    duplex: bool,
    picks_on_headers: bool,
    mode: i32,
    response_duplex: bool,
    response_bodyless: bool,
    headers: Headers,
    headers_only: bool,
    subset: Option<Vec<String>>,
    client: Option<String>,
    body: Vec<Bytes>,
    body_size: usize,
    scanner: Option<Reader>,
    /// What the scanner has not seen of the newest body message.
    unscanned: Bytes,
    /// What to do once it has seen all: hand the request over, its body seen whole or not.
    then: Option<bool>,
    /// The format of the path.
    claimed: Option<usize>,
    /// The same, where the body may be read.
    format: Option<usize>,
    spans: Option<Vec<(usize, usize)>>,
    trailers: bool,
    request_id: Bytes,
    asked_model: Option<String>,
    streaming: bool,
    /// The routed request may be asked for back, until its answer begins.
    stays: bool,
    target: Option<String>,
    chosen: String,
    decision: String,
    /// The answer, once it has begun.
    answering: Option<Answering>,
    request_end: Ended,
    response_end: Ended,
}

/// The last message of a body that is carried in full duplex: length and hash, until it came twice.
#[derive(Default)]
struct Ended(Option<(usize, u64)>);

impl Ended {
    /// Whether a body's last message comes a second time. Envoy 1.35 to 1.37 do that with bodies of more than a MB.
    fn repeats(&mut self, message: &HttpBody) -> bool {
        if !message.end_of_stream {
            return false;
        }
        let mark = (message.body.len(), xxh3_64(&message.body));
        match self.0 {
            None => self.0 = Some(mark),
            Some(ended) if ended == mark => {
                // Not a third time.
                self.0 = Some((usize::MAX, 0));
                return true;
            }
            Some(_) => {}
        }
        false
    }
}

impl Conversation {
    /// `number` is the stream's within this process; `lean`: our own Envoy; `fallbacks`: another one that walks
    /// lists of endpoints.
    pub fn new(settings: Arc<Settings>, number: u64, lean: bool, fallbacks: bool) -> Conversation {
        Conversation {
            settings,
            number,
            lean,
            lists: lean || fallbacks,
            outbox: VecDeque::new(),
            leaving: false,
            pool_names: Vec::new(),
            phase: Phase::Start,
            duplex: !lean,
            picks_on_headers: false,
            mode: if lean {
                body_mode::BUFFERED
            } else {
                body_mode::FULL_DUPLEX_STREAMED
            },
            response_duplex: !lean,
            response_bodyless: false,
            headers: Vec::new(),
            headers_only: false,
            subset: None,
            client: None,
            body: Vec::new(),
            body_size: 0,
            scanner: None,
            unscanned: Bytes::new(),
            then: None,
            claimed: None,
            format: None,
            spans: None,
            trailers: false,
            request_id: Bytes::new(),
            asked_model: None,
            streaming: false,
            stays: false,
            target: None,
            chosen: String::new(),
            decision: String::new(),
            answering: None,
            request_end: Ended::default(),
            response_end: Ended::default(),
        }
    }

    /// The stream for people: no secret, and believed by nobody.
    pub fn name(&self) -> String {
        format!("{}-{}", self.settings.nonce, self.number)
    }

    /// The stream's name in Envoy's access log, with a seal that other peers cannot guess: see
    /// `headgate.wire.stream_key`, which reads it.
    pub fn key(&self) -> String {
        let mut key = self.name();
        let mut digest = digest::Context::new(&digest::SHA256);
        digest.update(&self.settings.secret);
        digest.update(key.as_bytes());
        let seal = digest.finish();
        key.push('-');
        for byte in &seal.as_ref()[..SEAL_BYTES] {
            key.push(HEX[usize::from(byte >> 4)]);
            key.push(HEX[usize::from(byte & 15)]);
        }
        key
    }

    /// The access log, not this stream, will tell how the request ended.
    pub fn awaits_log(&self) -> bool {
        self.lean && matches!(self.phase, Phase::Routed | Phase::Started)
    }

    /// Takes one serialised `ProcessingRequest`.
    pub fn receive(&mut self, data: Bytes) -> Result<Vec<Said>, WireError> {
        let message = ProcessingRequest::decode(data).map_err(|_| not_a_request())?;
        match message.request {
            Some(Request::RequestHeaders(headers)) => self.request_headers(
                headers,
                message.metadata_context.unwrap_or_default().filter_metadata,
                message.protocol_config,
                &message.attributes,
            ),
            Some(Request::RequestBody(body)) => self.request_body(body),
            Some(Request::RequestTrailers(_)) => self.request_trailers(),
            Some(Request::ResponseHeaders(headers)) => {
                let local = is_local(message.attributes.values());
                let served = self.served_endpoint(message.metadata_context);
                self.response_headers(headers, served, local)
            }
            Some(Request::ResponseBody(body))
                if self.response_duplex && self.response_end.repeats(&body) =>
            {
                Ok(Vec::new())
            }
            Some(Request::ResponseBody(body)) => self.response_body(body, message.metadata_context),
            Some(Request::ResponseTrailers(_)) => Ok(self.response_trailers()),
            None => Err(WireError("a message of no known kind: None".to_owned())),
        }
    }

    /// The request will be refused whatever it asks; its id.
    pub fn refuse_all(&mut self) -> Bytes {
        self.outbox.clear();
        self.phase = Phase::Refusing;
        if self.request_id.is_empty() {
            self.request_id = self.name().into();
        }
        self.request_id.clone()
    }

    fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name).map(text)
    }

    /// The first of these headers that says anything.
    fn first(&self, names: &[String]) -> Option<Bytes> {
        names
            .iter()
            .filter_map(|name| find(&self.headers, name))
            .find(|value| !value.is_empty())
            .map(|value| cut(value, self.settings.longest_id))
    }

    fn over(
        &self,
        ending: Ending,
        status: Option<u64>,
        usage: Usage,
        served: Option<String>,
    ) -> Said {
        Said::Over {
            ending,
            status,
            usage,
            served,
        }
    }

    /// The stream is gone. Says how the request ended; `Lost` where no response phase was to come.
    pub fn closed(&mut self) -> Option<Said> {
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        if phase == Phase::Picking {
            return Some(self.over(Ending::Aborted, None, Usage::None, None));
        }
        if !matches!(phase, Phase::Routed | Phase::Started) || self.lean {
            return None;
        }
        let unseen = self.response_bodyless;
        Some(match &mut self.answering {
            None if unseen => self.over(Ending::Lost, None, Usage::None, None),
            None => self.over(Ending::Aborted, None, Usage::None, None),
            Some(answering) if unseen => answering.over(Ending::Complete),
            Some(answering) => answering.over(Ending::Aborted),
        })
    }

    /// The request was sent to an endpoint.
    pub fn routed(&self) -> bool {
        matches!(self.phase, Phase::Routed | Phase::Started)
    }

    /// Ends the stream with an answer written in Python; nothing when the client has gone. Of a request that was
    /// routed: unless its answer has begun, and it is over then.
    pub fn answer(&mut self, message: &[u8]) -> Option<Said> {
        match self.phase {
            Phase::Picking | Phase::Refusing => {
                self.end_with(message);
                None
            }
            Phase::Routed if self.stays => {
                self.end_with(message);
                Some(self.over(
                    Ending::Evicted,
                    Some(self.settings.evicted_status),
                    Usage::None,
                    None,
                ))
            }
            _ => None,
        }
    }

    /// Tells our own Envoy that the answer takes longer; others have long timeouts.
    pub fn wait(&mut self, message: &[u8]) {
        if self.phase == Phase::Picking && self.lean {
            self.outbox.push_back(framed(message));
        }
    }

    /// Answers the first message whatever the request is: nobody here can serve it.
    pub fn answer_first(&mut self, message: &[u8]) {
        self.outbox.clear();
        self.end_with(message);
    }

    fn end_with(&mut self, message: &[u8]) {
        self.phase = Phase::Over;
        self.leaving = true;
        self.body = Vec::new();
        self.outbox.push_back(framed(message));
    }
}

/// The number that ASCII digits stand for, when they are few enough for 64 bits; None for any other text.
pub fn whole_number(text: &str) -> Option<u64> {
    const LONGEST: usize = 18;
    let digits = !text.is_empty() && text.len() <= LONGEST;
    (digits && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}
