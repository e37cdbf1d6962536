//! One ext_proc stream, one HTTP request: protocol messages in, what they say and protocol answers out.
//!
//! The twin of `headgate.wire.extproc.Conversation`: same phases, same answers. Two ways of carrying the body are
//! told apart by the first message's `protocol_config`: full duplex (every byte is sent back, answers in order) and
//! buffered (headers are answered at once, the pick is in the answer to the one body message). Where the body will
//! not be seen, the pick is made on the headers. Errors and model lists are written in Python: they come as bytes.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use crate::accesslog::Ending;
use crate::program::Program;
use crate::proto::{
    BodyMutation, CommonResponse, HeaderMutation, HttpBody, HttpHeaders, Kind, Metadata, Mutation,
    PhaseResponse, ProcessingRequest, ProcessingResponse, ProtocolConfiguration, Request, Response,
    StreamedBodyResponse, Struct, TrailersResponse, Value, body_mode,
};
use crate::rewrite::{Restorer, replace_model, replace_spans};
use crate::scan::{Reading, Scanner};
use crate::usage::{Usage, UsageReader};

/// Largest body chunk of a full-duplex answer.
const CHUNK_BYTES: usize = 62_000;
const VIA_UPSTREAM: &str = "via_upstream";
const SSE_BEGINNINGS: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];
const LONGEST_ID: usize = 256;

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
    pub usage_namespace: String,
    pub decision: String,
    pub endpoint: String,
    pub objective: Vec<String>,
    pub fairness_id: Vec<String>,
    pub slo_ttft_ms: Vec<String>,
    pub slo_tpot_ms: Vec<String>,
    pub session: Vec<String>,
    /// Request headers that go no further.
    pub stripped: HashSet<String>,
    pub models_suffix: String,
}

/// An API whose requests are understood.
pub struct Format {
    pub api: String,
    pub suffixes: Vec<String>,
    /// None: its bodies are read in Python.
    pub program: Option<Arc<Program>>,
}

/// How this process talks on every stream.
pub struct Settings {
    pub names: Names,
    pub formats: Vec<Format>,
    pub nonce: String,
    pub body_limit: usize,
    pub subset_filter: bool,
}

/// The peer broke the protocol: its stream is closed, others are not concerned.
#[derive(Debug, PartialEq, Eq)]
pub struct WireError(pub String);

/// A request whose body, as far as there is one, is complete.
#[derive(Debug, Default, PartialEq)]
pub struct Arrival {
    pub id: String,
    pub api: String,
    pub path: String,
    pub reading: Option<Reading>,
    pub subset: Option<Vec<String>>,
    pub objective: Option<String>,
    pub fairness_id: Option<String>,
    pub slo_ttft_ms: Option<String>,
    pub slo_tpot_ms: Option<String>,
    pub session: Option<String>,
    pub body_bytes: usize,
    /// Nothing of the answer will be told but its end.
    pub unseen: bool,
}

/// What a stream says.
#[derive(Debug, PartialEq)]
pub enum Said {
    Arrived(Box<Arrival>),
    /// A body that the format's reader in Python must judge.
    Unread {
        headers: Vec<(String, String)>,
        body: Vec<u8>,
        subset: Option<Vec<String>>,
        unseen: bool,
    },
    /// The body is larger than allowed: the answer is written in Python.
    TooLarge {
        request_id: String,
    },
    Started {
        status: u64,
        served: Option<String>,
        local: bool,
        /// The answer is no event stream.
        plain: bool,
    },
    FirstBytes,
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
    headers: Vec<(String, String)>,
    headers_only: bool,
    subset: Option<Vec<String>>,
    body: Vec<Bytes>,
    body_size: usize,
    scanner: Option<Scanner>,
    format: Option<usize>,
    spans: Option<Vec<(usize, usize)>>,
    trailers: bool,
    request_id: String,
    asked_model: Option<String>,
    streaming: bool,
    target: Option<String>,
    chosen: String,
    decision: String,
    status: Option<u64>,
    served: Option<String>,
    sse: bool,
    response_seen: bool,
    restorer: Option<Restorer>,
    usage: Option<UsageReader>,
}

fn encode(response: Response, dynamic_metadata: Option<Struct>) -> Bytes {
    let message = ProcessingResponse {
        response: Some(response),
        dynamic_metadata,
    };
    let length = message.encoded_len();
    let mut buffer = BytesMut::with_capacity(PREFIX_BYTES + length);
    put_prefix(&mut buffer, length);
    // The buffer grows as needed, so encoding cannot fail.
    let _ = message.encode(&mut buffer);
    buffer.freeze()
}

/// Bytes before each message of a gRPC stream: not compressed, its length.
pub const PREFIX_BYTES: usize = 5;

fn put_prefix(buffer: &mut BytesMut, length: usize) {
    buffer.put_u8(0);
    buffer.put_u32(length as u32);
}

/// A serialised message with its gRPC prefix.
pub fn framed(message: &[u8]) -> Bytes {
    let mut buffer = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    put_prefix(&mut buffer, message.len());
    buffer.extend_from_slice(message);
    buffer.freeze()
}

fn common(response: CommonResponse) -> PhaseResponse {
    PhaseResponse {
        response: Some(response),
    }
}

fn empty(response: Response) -> Bytes {
    encode(response, None)
}

fn streamed(body: &Bytes, end: bool, wrap: fn(PhaseResponse) -> Response) -> Vec<Bytes> {
    let last = body.len().saturating_sub(1) / CHUNK_BYTES;
    (0..=last)
        .map(|index| {
            let from = index * CHUNK_BYTES;
            let chunk = StreamedBodyResponse {
                body: body.slice(from..body.len().min(from + CHUNK_BYTES)),
                end_of_stream: end && index == last,
            };
            let mutation = BodyMutation {
                mutation: Some(Mutation::Streamed(chunk)),
            };
            encode(
                wrap(common(CommonResponse {
                    body_mutation: Some(mutation),
                    ..CommonResponse::default()
                })),
                None,
            )
        })
        .collect()
}

fn read_headers(message: HttpHeaders) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for header in message.headers.unwrap_or_default().headers {
        let value = if header.raw_value.is_empty() {
            header.value
        } else {
            match String::from_utf8(header.raw_value.to_vec()) {
                Ok(text) => text,
                Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
            }
        };
        let key = if header.key.bytes().any(|byte| byte.is_ascii_uppercase()) {
            header.key.to_lowercase()
        } else {
            header.key
        };
        // A header that comes twice counts as its last value.
        match found.iter_mut().find(|(known, _)| *known == key) {
            Some((_, slot)) => *slot = value,
            None => found.push((key, value)),
        }
    }
    found
}

fn read_subset(metadata: &Struct, key: &str) -> Option<Vec<String>> {
    let value = metadata.fields.get(key)?;
    let text = |value: &Value| match &value.kind {
        Some(Kind::String(text)) => text.clone(),
        _ => String::new(),
    };
    let found: Vec<String> = match &value.kind {
        Some(Kind::List(list)) => list.values.iter().map(text).collect(),
        Some(Kind::String(text)) => text.split(',').map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    Some(
        found
            .iter()
            .map(|entry| entry.trim().to_owned())
            .filter(|entry| !entry.is_empty())
            .collect(),
    )
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
            body: Vec::new(),
            body_size: 0,
            scanner: None,
            format: None,
            spans: None,
            trailers: false,
            request_id: String::new(),
            asked_model: None,
            streaming: false,
            target: None,
            chosen: String::new(),
            decision: String::new(),
            status: None,
            served: None,
            sse: false,
            response_seen: false,
            restorer: None,
            usage: None,
        }
    }

    /// The stream's name in Envoy's access log.
    pub fn key(&self) -> String {
        format!("{}-{}", self.settings.nonce, self.number)
    }

    /// The access log, not this stream, will tell how the request ended.
    pub fn awaits_log(&self) -> bool {
        self.lean && matches!(self.phase, Phase::Routed | Phase::Started)
    }

    /// Takes one serialised `ProcessingRequest`.
    pub fn receive(&mut self, data: Bytes) -> Result<Vec<Said>, WireError> {
        let message = ProcessingRequest::decode(data)
            .map_err(|_| WireError("not a ProcessingRequest".to_owned()))?;
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
            Some(Request::ResponseBody(body)) if self.lean && self.phase == Phase::Routed => {
                let served = self.served_endpoint(message.metadata_context);
                Ok(self.first_bytes(&body, served))
            }
            Some(Request::ResponseBody(body)) => self.response_body(body),
            Some(Request::ResponseTrailers(_)) => Ok(self.response_trailers()),
            None => Err(WireError("a message of no known kind: None".to_owned())),
        }
    }

    /// The request will be refused whatever it asks; its id.
    pub fn refuse_all(&mut self) -> String {
        self.outbox.clear();
        self.phase = Phase::Refusing;
        if self.request_id.is_empty() {
            self.request_id = self.key();
        }
        self.request_id.clone()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first of these headers that says anything.
    fn first(&self, names: &[String]) -> Option<String> {
        names
            .iter()
            .filter_map(|name| self.header(name))
            .find(|value| !value.is_empty())
            .map(str::to_owned)
    }

    fn request_headers(
        &mut self,
        message: HttpHeaders,
        metadata: std::collections::BTreeMap<String, Struct>,
        config: Option<ProtocolConfiguration>,
        attributes: &std::collections::BTreeMap<String, Struct>,
    ) -> Result<Vec<Said>, WireError> {
        if self.phase != Phase::Start {
            return Err(WireError("request headers came twice".to_owned()));
        }
        self.phase = Phase::Body;
        if let Some(config) = config {
            self.configure(config)?;
        }
        self.pool_names = self.pools_meant(attributes);
        let end = message.end_of_stream;
        self.headers = read_headers(message);
        let settings = self.settings.clone();
        self.request_id = match self.header(&settings.names.request_id) {
            Some(id) if !id.is_empty() => id.to_owned(),
            _ => self.key(),
        };
        if settings.subset_filter
            && let Some(hint) = metadata.get(&settings.names.subset_namespace)
        {
            self.subset = read_subset(hint, &settings.names.subset);
        }
        if end {
            self.headers_only = true;
            self.claim();
            return Ok(self.arrive(true));
        }
        if self.picks_on_headers {
            return Ok(self.arrive(false));
        }
        let length = whole_number(self.header("content-length").unwrap_or_default());
        if length.is_some_and(|length| length > settings.body_limit as u64) {
            return Ok(self.too_large());
        }
        self.claim();
        if !self.duplex {
            // A client may go while the pick is on its way to our own Envoy: its log has the name from here.
            let metadata = self.lean.then(|| {
                let named = Struct::of_texts([("stream", self.key().as_str())]);
                Struct {
                    fields: [(settings.names.own_namespace.clone(), named)].into(),
                }
            });
            let answer = Response::RequestHeaders(PhaseResponse::default());
            self.outbox.push_back(encode(answer, metadata));
        }
        Ok(Vec::new())
    }

    fn pools_meant(&self, attributes: &std::collections::BTreeMap<String, Struct>) -> Vec<String> {
        let mut found = Vec::new();
        for name in &self.settings.names.pool_attributes {
            for values in attributes.values() {
                if let Some(value) = values.fields.get(name) {
                    let text = match &value.kind {
                        Some(Kind::String(text)) => text.as_str(),
                        _ => "",
                    };
                    found.push(text.strip_prefix("pool/").unwrap_or(text).to_owned());
                }
            }
        }
        found
    }

    fn configure(&mut self, config: ProtocolConfiguration) -> Result<(), WireError> {
        self.mode = config.request_body_mode;
        if !(body_mode::NONE..=body_mode::FULL_DUPLEX_STREAMED).contains(&self.mode) {
            return Err(WireError(format!(
                "request body mode {} is not served",
                self.mode
            )));
        }
        self.duplex = self.mode == body_mode::FULL_DUPLEX_STREAMED;
        self.picks_on_headers = matches!(self.mode, body_mode::NONE | body_mode::STREAMED);
        self.response_duplex = config.response_body_mode == body_mode::FULL_DUPLEX_STREAMED;
        self.response_bodyless = config.response_body_mode == body_mode::NONE;
        Ok(())
    }

    /// Finds the format of the path and starts its scanner.
    fn claim(&mut self) {
        if self.header(":method") != Some("POST") || !self.is_json() {
            return;
        }
        let path = self.path();
        let formats = &self.settings.formats;
        self.format = formats
            .iter()
            .position(|format| format.suffixes.iter().any(|end| path.ends_with(end)));
        self.scanner = self
            .format
            .and_then(|index| formats[index].program.clone())
            .map(Scanner::new);
    }

    fn path(&self) -> &str {
        self.header(":path")
            .unwrap_or_default()
            .split('?')
            .next()
            .unwrap_or_default()
    }

    /// Whether the body may be read as JSON: said so, or nothing said; never when it is compressed.
    fn is_json(&self) -> bool {
        let kind = self.header("content-type").unwrap_or_default();
        let kind = kind
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_lowercase();
        let encoding = self
            .header("content-encoding")
            .unwrap_or_default()
            .to_lowercase();
        (encoding.is_empty() || encoding == "identity")
            && (kind.is_empty() || kind == "application/json" || kind.ends_with("+json"))
    }

    fn request_body(&mut self, message: HttpBody) -> Result<Vec<Said>, WireError> {
        if matches!(self.phase, Phase::Over | Phase::Refusing) {
            return Ok(Vec::new());
        }
        if self.picks_on_headers && self.phase != Phase::Start {
            self.outbox
                .push_back(empty(Response::RequestBody(PhaseResponse::default())));
            return Ok(Vec::new());
        }
        if self.phase != Phase::Body {
            return Err(WireError("a request body that nobody waits for".to_owned()));
        }
        self.body_size += message.body.len();
        if self.body_size > self.settings.body_limit {
            return Ok(self.too_large());
        }
        if let Some(scanner) = &mut self.scanner {
            scanner.feed(&message.body);
        }
        self.body.push(message.body);
        if self.mode == body_mode::BUFFERED_PARTIAL && !message.end_of_stream {
            return Ok(self.arrive(false));
        }
        if message.end_of_stream || !self.duplex {
            return Ok(self.arrive(true));
        }
        Ok(Vec::new())
    }

    fn request_trailers(&mut self) -> Result<Vec<Said>, WireError> {
        match self.phase {
            Phase::Over | Phase::Refusing => Ok(Vec::new()),
            Phase::Start => Err(WireError("trailers before headers".to_owned())),
            Phase::Body => {
                self.trailers = true;
                Ok(self.arrive(true))
            }
            _ => {
                self.outbox
                    .push_back(empty(Response::RequestTrailers(TrailersResponse {})));
                Ok(Vec::new())
            }
        }
    }

    /// Hands the request over; `seen`: the body was seen whole.
    fn arrive(&mut self, seen: bool) -> Vec<Said> {
        self.phase = Phase::Picking;
        let scanner = self.scanner.take();
        let format = if seen { self.format } else { None };
        let unseen = self.response_bodyless && !self.lean;
        let reading = match format {
            Some(_) => scanner.and_then(Scanner::finish),
            None => None,
        };
        // JSON on a path that no format claims may name a model, too: that is read in Python.
        let glanced = format.is_none() && seen && self.body_size > 0 && self.is_json();
        if glanced || (format.is_some() && reading.is_none()) {
            return vec![Said::Unread {
                headers: self.headers.clone(),
                body: self.whole_body().to_vec(),
                subset: self.subset.clone(),
                unseen,
            }];
        }
        let names = &self.settings.names;
        let path = self.path().to_owned();
        let api = match format {
            Some(index) => self.settings.formats[index].api.clone(),
            None if self.header(":method") == Some("GET")
                && path.ends_with(&names.models_suffix) =>
            {
                "models".to_owned()
            }
            None => "other".to_owned(),
        };
        let id = match self.header(&names.request_id) {
            Some(id) if !id.is_empty() => id.chars().take(LONGEST_ID).collect(),
            _ => self.key(),
        };
        let arrival = Arrival {
            id,
            api,
            path,
            subset: self.subset.clone(),
            objective: self.first(&names.objective),
            fairness_id: self.first(&names.fairness_id),
            slo_ttft_ms: self.first(&names.slo_ttft_ms),
            slo_tpot_ms: self.first(&names.slo_tpot_ms),
            session: self.first(&names.session),
            body_bytes: if seen { self.body_size } else { 0 },
            unseen,
            reading,
        };
        if let Some(reading) = &arrival.reading {
            self.asked_model = Some(reading.model.clone());
            self.spans = Some(reading.spans.clone());
            self.streaming = reading.stream;
        }
        vec![Said::Arrived(Box::new(arrival))]
    }

    fn whole_body(&mut self) -> Bytes {
        if self.body.len() != 1 {
            let mut whole = BytesMut::with_capacity(self.body_size);
            for chunk in &self.body {
                whole.extend_from_slice(chunk);
            }
            self.body = vec![whole.freeze()];
        }
        self.body[0].clone()
    }

    fn too_large(&mut self) -> Vec<Said> {
        self.phase = Phase::Refusing;
        self.body.clear();
        self.scanner = None;
        vec![Said::TooLarge {
            request_id: self.request_id.clone(),
        }]
    }

    fn response_headers(
        &mut self,
        message: HttpHeaders,
        served: Option<String>,
        local: bool,
    ) -> Result<Vec<Said>, WireError> {
        match self.phase {
            Phase::Start | Phase::Over | Phase::Body | Phase::Picking | Phase::Refusing => {
                // The data plane's own answer, or our refusal: it passes.
                let waited = self.phase == Phase::Picking;
                self.phase = Phase::Over;
                self.outbox
                    .push_back(empty(Response::ResponseHeaders(PhaseResponse::default())));
                return Ok(if waited {
                    vec![self.over(Ending::Aborted, None, Usage::None, None)]
                } else {
                    Vec::new()
                });
            }
            Phase::Started => return Err(WireError("response headers came twice".to_owned())),
            Phase::Routed => {}
        }
        self.phase = Phase::Started;
        // A stream that could have been left already is seen through.
        self.leaving = false;
        let end = message.end_of_stream;
        let headers = read_headers(message);
        let header = |name: &str| {
            headers
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
        };
        let status = whole_number(header(":status").unwrap_or_default()).unwrap_or(0);
        self.status = Some(status);
        self.served = served;
        let kind = header("content-type").unwrap_or_default();
        self.sse = kind.starts_with("text/event-stream");
        if let (Some(_), Some(asked), false) =
            (&self.target, &self.asked_model, self.response_bodyless)
        {
            let encoding = header("content-encoding").unwrap_or_default();
            self.restorer = Restorer::of(kind, encoding, asked);
        }
        let names = &self.settings.names;
        let mut mutation = HeaderMutation::default();
        if !self.lean {
            mutation.put(
                &names.endpoint,
                self.served.as_deref().unwrap_or(&self.chosen),
            );
            mutation.put(&names.decision, &self.decision);
            if header(&names.request_id).is_none() {
                mutation.put(&names.request_id, &self.request_id);
            }
        }
        if self.restorer.is_some() {
            mutation.remove_headers.push("content-length".to_owned());
        }
        let changes = !mutation.set_headers.is_empty() || !mutation.remove_headers.is_empty();
        let response = changes.then(|| CommonResponse {
            header_mutation: Some(mutation),
            ..CommonResponse::default()
        });
        self.outbox
            .push_back(empty(Response::ResponseHeaders(PhaseResponse { response })));
        let mut said = vec![Said::Started {
            status,
            served: self.served.clone(),
            local,
            plain: !self.sse,
        }];
        if end {
            said.extend(self.finish());
        } else if self.lean && !self.sse && self.restorer.is_none() {
            self.leaving = true;
        } else if !self.lean {
            self.usage = Some(UsageReader::default());
        }
        Ok(said)
    }

    /// Who answers, by the data plane's word; None when it says nothing.
    fn served_endpoint(&self, context: Option<Metadata>) -> Option<String> {
        context
            .unwrap_or_default()
            .filter_metadata
            .get(&self.settings.names.lb_namespace)
            .and_then(|lb| lb.text(&self.settings.names.served))
            .map(str::to_owned)
    }

    /// Our own Envoy, of an answer that needs no change, sends the body without the headers.
    fn first_bytes(&mut self, message: &HttpBody, served: Option<String>) -> Vec<Said> {
        self.pass(&message.body, message.end_of_stream);
        if message.body.is_empty() && !message.end_of_stream {
            return Vec::new();
        }
        self.phase = Phase::Started;
        self.leaving = true;
        if !SSE_BEGINNINGS
            .iter()
            .any(|beginning| message.body.starts_with(beginning))
        {
            return Vec::new(); // an error, most likely: the access log tells
        }
        vec![
            Said::Started {
                status: 200,
                served,
                local: false,
                plain: false,
            },
            Said::FirstBytes,
        ]
    }

    fn response_body(&mut self, message: HttpBody) -> Result<Vec<Said>, WireError> {
        if matches!(self.phase, Phase::Over | Phase::Refusing) {
            self.pass(&message.body, message.end_of_stream);
            return Ok(Vec::new());
        }
        if self.phase != Phase::Started {
            return Err(WireError(
                "a response body before response headers".to_owned(),
            ));
        }
        let mut said = Vec::new();
        if !message.body.is_empty() && !self.response_seen {
            self.response_seen = true;
            if self.sse {
                said.push(Said::FirstBytes);
            }
        }
        if let Some(usage) = &mut self.usage
            && !message.body.is_empty()
        {
            usage.feed(&message.body);
        }
        self.answer_body(&message.body, message.end_of_stream);
        if message.end_of_stream {
            said.extend(self.finish());
        } else if self.lean && self.restorer.is_none() && self.response_seen {
            self.leaving = true;
        }
        Ok(said)
    }

    fn answer_body(&mut self, body: &Bytes, end: bool) {
        let Some(restorer) = &mut self.restorer else {
            self.pass(body, end);
            return;
        };
        let mut restored = restorer.feed(body);
        if end {
            restored.extend(restorer.finish());
        }
        let restored = Bytes::from(restored);
        if self.response_duplex {
            self.outbox
                .extend(streamed(&restored, end, Response::ResponseBody));
            return;
        }
        let mutation = if restored.is_empty() {
            Mutation::ClearBody(true)
        } else {
            Mutation::Body(restored)
        };
        self.outbox
            .push_back(empty(Response::ResponseBody(common(CommonResponse {
                body_mutation: Some(BodyMutation {
                    mutation: Some(mutation),
                }),
                ..CommonResponse::default()
            }))));
    }

    fn pass(&mut self, body: &Bytes, end: bool) {
        if self.response_duplex {
            self.outbox
                .extend(streamed(body, end, Response::ResponseBody));
        } else {
            self.outbox
                .push_back(empty(Response::ResponseBody(PhaseResponse::default())));
        }
    }

    fn response_trailers(&mut self) -> Vec<Said> {
        let started = self.phase == Phase::Started;
        if let (true, true, Some(restorer)) = (started, self.response_duplex, &mut self.restorer) {
            let rest = Bytes::from(restorer.finish());
            self.outbox
                .extend(streamed(&rest, false, Response::ResponseBody));
        }
        self.outbox
            .push_back(empty(Response::ResponseTrailers(TrailersResponse {})));
        if started {
            self.finish().into_iter().collect()
        } else {
            Vec::new()
        }
    }

    /// The answer is whole. Our own Envoy's access log says so itself, with the usage.
    fn finish(&mut self) -> Option<Said> {
        self.leaving = true;
        if self.lean {
            return None;
        }
        self.phase = Phase::Over;
        let usage = self.usage.as_ref().map_or(Usage::None, UsageReader::usage);
        let (status, served) = (self.status, self.served.take());
        Some(self.over(Ending::Complete, status, usage, served))
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
        if phase == Phase::Routed {
            let ending = if self.response_bodyless {
                Ending::Lost
            } else {
                Ending::Aborted
            };
            return Some(self.over(ending, None, Usage::None, None));
        }
        let ending = if self.response_bodyless {
            Ending::Complete
        } else {
            Ending::Aborted
        };
        let usage = self.usage.as_ref().map_or(Usage::None, UsageReader::usage);
        let (status, served) = (self.status, self.served.take());
        Some(self.over(ending, status, usage, served))
    }

    /// Answers with a pick; nothing when the client has gone. `read`: model and streaming of a body read in Python.
    pub fn route(
        &mut self,
        endpoints: &str,
        target: Option<String>,
        decision: &str,
        read: Option<(Option<String>, bool)>,
    ) {
        if self.phase != Phase::Picking {
            return;
        }
        self.phase = Phase::Routed;
        self.chosen = endpoints.split(',').next().unwrap_or_default().to_owned();
        let told = if self.lists {
            endpoints.to_owned()
        } else {
            self.chosen.clone()
        };
        let endpoints = told.as_str();
        self.decision = decision.to_owned();
        if let Some((asked, streaming)) = read {
            (self.asked_model, self.streaming) = (asked, streaming);
        }
        let rewritten = match &target {
            Some(name) if !self.picks_on_headers => {
                let spans = self.spans.take();
                let body = self.whole_body();
                let new = match spans {
                    Some(spans) => replace_spans(&body, &spans, name),
                    None => replace_model(&body, name),
                };
                new.filter(|new| **new != *body)
            }
            _ => None,
        };
        let settings = self.settings.clone();
        let names = &settings.names;
        let mut mutation = HeaderMutation::default();
        mutation.put(&names.destination, endpoints);
        if !self.lean && self.header(&names.request_id).is_none() {
            mutation.put(&names.request_id, &self.request_id);
        }
        for (name, _) in &self.headers {
            if names.stripped.contains(name) && *name != names.destination {
                mutation.remove_headers.push(name.clone());
            }
        }
        if target.is_some() && self.header("accept-encoding").is_some() {
            mutation.remove_headers.push("accept-encoding".to_owned());
        }
        if let Some(new) = &rewritten
            && self.header("content-length").is_some()
        {
            mutation.put("content-length", &new.len().to_string());
        }
        self.target = target;
        let key = self.key();
        let metadata = Struct {
            fields: [
                (
                    names.lb_namespace.clone(),
                    Struct::of_texts([(names.destination.as_str(), endpoints)]),
                ),
                (
                    names.own_namespace.clone(),
                    Struct::of_texts([("stream", key.as_str()), ("decision", decision)]),
                ),
            ]
            .into(),
        };
        let mut answer = CommonResponse {
            header_mutation: Some(mutation),
            body_mutation: None,
            clear_route_cache: !self.lean,
        };
        if self.headers_only || self.picks_on_headers || self.duplex {
            self.outbox.push_back(encode(
                Response::RequestHeaders(common(answer)),
                Some(metadata),
            ));
            if self.duplex && !self.headers_only && !self.picks_on_headers {
                self.send_body_back(rewritten);
            }
        } else {
            answer.body_mutation = rewritten.map(|new| BodyMutation {
                mutation: Some(Mutation::Body(Bytes::from(new))),
            });
            self.outbox.push_back(encode(
                Response::RequestBody(common(answer)),
                Some(metadata),
            ));
        }
        if self.trailers {
            self.outbox
                .push_back(empty(Response::RequestTrailers(TrailersResponse {})));
        }
        self.body = Vec::new();
        self.headers = Vec::new();
        // A plain answer shows no first token, and one that is not rewritten needs nothing from here any more.
        self.leaving = self.lean && !self.streaming && self.target.is_none();
    }

    fn send_body_back(&mut self, rewritten: Option<Vec<u8>>) {
        let body = match rewritten {
            Some(new) => Bytes::from(new),
            None => self.whole_body(),
        };
        self.outbox
            .extend(streamed(&body, !self.trailers, Response::RequestBody));
    }

    /// Ends the stream with an answer written in Python; nothing when the client has gone.
    pub fn answer(&mut self, message: &[u8]) {
        if matches!(self.phase, Phase::Picking | Phase::Refusing) {
            self.end_with(message);
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

/// Whether the data plane answered by itself, when it forwards `response.code_details`.
fn is_local<'a>(attributes: impl Iterator<Item = &'a Struct>) -> bool {
    for values in attributes {
        if let Some(details) = values.fields.get("response.code_details") {
            return matches!(&details.kind, Some(Kind::String(text)) if !text.is_empty() && text != VIA_UPSTREAM);
        }
    }
    false
}
