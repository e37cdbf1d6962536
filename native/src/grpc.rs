//! gRPC over one HTTP/2 stream: length-prefixed messages in and out, trailers at the end.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use tokio::time::{Instant, timeout_at};

use crate::conversation::PREFIX_BYTES;
use crate::server::{Link, SHARE};

pub const OK: u8 = 0;
pub const INVALID_ARGUMENT: u8 = 3;
pub const DEADLINE_EXCEEDED: u8 = 4;
pub const NOT_FOUND: u8 = 5;
pub const RESOURCE_EXHAUSTED: u8 = 8;
pub const UNIMPLEMENTED: u8 = 12;
pub const INTERNAL: u8 = 13;
pub const UNAVAILABLE: u8 = 14;

/// Bytes of a message for which there is room before they come.
const MESSAGE_AHEAD: usize = 256 * 1024;

/// Why no further message comes.
#[derive(Debug)]
pub enum Stop {
    /// The peer said all it wanted to.
    Closed,
    /// The stream or its connection is gone.
    Cancelled,
    /// The peer broke the protocol, or a limit: gRPC status and text.
    Refused(u8, String),
    /// The time that the peer gave the call is over.
    Late,
}

/// A call that is none of gRPC's, or cannot be served as it is.
pub struct Unfit {
    http: StatusCode,
    code: u8,
    text: String,
}

/// Checks a call's head (gRPC over HTTP/2, "Requests"); when it must be over.
pub fn admit(head: &Parts) -> Result<Option<Instant>, Unfit> {
    let unfit = |http, code, text| Err(Unfit { http, code, text });
    if head.method != Method::POST {
        let text = format!("{} is not served; gRPC calls are POST", head.method);
        return unfit(StatusCode::METHOD_NOT_ALLOWED, INTERNAL, text);
    }
    let kind = head.headers.get(http::header::CONTENT_TYPE);
    let rest = kind.and_then(|kind| kind.as_bytes().strip_prefix(b"application/grpc"));
    if !matches!(rest, Some([] | [b'+' | b';', ..])) {
        let text = "the content-type is not application/grpc".to_owned();
        return unfit(StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID_ARGUMENT, text);
    }
    if let Some(encoding) = head.headers.get("grpc-encoding")
        && encoding != "identity"
    {
        let named = String::from_utf8_lossy(encoding.as_bytes());
        let text = format!("compression {named:.40} is not served, only identity");
        return unfit(StatusCode::OK, UNIMPLEMENTED, text);
    }
    match head.headers.get("grpc-timeout") {
        None => Ok(None),
        Some(value) => match timeout(value.as_bytes()) {
            // One that no clock can count to is none.
            Some(time) => Ok(Instant::now().checked_add(time)),
            None => unfit(
                StatusCode::OK,
                INTERNAL,
                "grpc-timeout cannot be read".to_owned(),
            ),
        },
    }
}

/// At most eight digits and a unit.
fn timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(count * 3600)),
        b'M' => Some(Duration::from_secs(count * 60)),
        b'S' => Some(Duration::from_secs(count)),
        b'm' => Some(Duration::from_millis(count)),
        b'u' => Some(Duration::from_micros(count)),
        b'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// A call's work, as long as it has time.
pub async fn within(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<(), Stop>>,
) -> Result<(), Stop> {
    match deadline {
        None => work.await,
        Some(at) => timeout_at(at, work).await.unwrap_or(Err(Stop::Late)),
    }
}

/// Reads messages.
pub struct Reader {
    stream: RecvStream,
    limit: usize,
    buffer: BytesMut,
    link: Arc<Link>,
    /// Bytes of the buffer that came while nobody read: their room in the window is not the peer's again.
    held: usize,
    /// The stream has ended behind what is held.
    ended: Option<Ended>,
}

enum Ended {
    Closed,
    Cancelled,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.link.release(self.held);
    }
}

impl Reader {
    pub fn new(stream: RecvStream, limit: usize, link: Arc<Link>) -> Reader {
        Reader {
            stream,
            limit,
            buffer: BytesMut::new(),
            link,
            held: 0,
            ended: None,
        }
    }

    /// Does something during which nothing is read. What comes meanwhile is held, as much as the stream's window lets
    /// through, and counts against the connection's budget.
    pub async fn hold<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stop> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                held = self.more(), if self.ended.is_none() => held?,
            }
        }
    }

    /// Takes what comes into the buffer, without making room for more.
    async fn more(&mut self) -> Result<(), Stop> {
        match self.stream.data().await {
            Some(Ok(data)) => {
                self.held += data.len();
                let room = self.link.hold(data.len());
                self.buffer.extend_from_slice(&data);
                if !room && self.held > SHARE as usize {
                    let text = format!(
                        "{} bytes lie unread, and more on the connection than may",
                        self.held
                    );
                    return Err(Stop::Refused(RESOURCE_EXHAUSTED, text));
                }
            }
            Some(Err(_)) => self.ended = Some(Ended::Cancelled),
            None => self.ended = Some(Ended::Closed),
        }
        Ok(())
    }

    /// The peer may send as much again as was held.
    fn resume(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.link.release(held);
        let _ = self.stream.flow_control().release_capacity(held);
    }

    /// The next message without its prefix. May be dropped while it waits: nothing is lost.
    pub async fn next(&mut self) -> Result<Bytes, Stop> {
        if self.held > 0 {
            self.resume();
        }
        loop {
            if let Some(message) = self.whole()? {
                return Ok(message);
            }
            let data = match self.ended {
                None => self.stream.data().await,
                Some(Ended::Closed) => None,
                Some(Ended::Cancelled) => return Err(Stop::Cancelled),
            };
            match data {
                Some(Ok(mut data)) => {
                    // What was read is ours: its room in the window goes back to the peer.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    if self.buffer.is_empty()
                        && let Some(message) = self.alone(&mut data)
                    {
                        return Ok(message);
                    }
                    self.buffer.extend_from_slice(&data);
                    self.make_room();
                }
                None if self.buffer.is_empty() => return Err(Stop::Closed),
                None => {
                    return Err(Stop::Refused(INVALID_ARGUMENT, "half a message".to_owned()));
                }
                Some(Err(_)) => return Err(Stop::Cancelled),
            }
        }
    }

    /// Room for the rest of a large message at once, so that it is not copied as it grows.
    fn make_room(&mut self) {
        if let Some(prefix) = self.buffer.first_chunk::<PREFIX_BYTES>() {
            let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
            let missing = (PREFIX_BYTES + length).saturating_sub(self.buffer.len());
            // The peer's word for it does not take much memory.
            self.buffer.reserve(missing.min(MESSAGE_AHEAD));
        }
    }

    /// A frame that is exactly one message needs no copy.
    fn alone(&self, data: &mut Bytes) -> Option<Bytes> {
        let prefix = data.first_chunk::<PREFIX_BYTES>()?;
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        if prefix[0] != 0 || length > self.limit || data.len() != PREFIX_BYTES + length {
            return None;
        }
        data.advance(PREFIX_BYTES);
        Some(data.clone())
    }

    fn whole(&mut self) -> Result<Option<Bytes>, Stop> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        if prefix[0] != 0 {
            return Err(Stop::Refused(
                INTERNAL,
                "a message is compressed, and no compression was agreed on".to_owned(),
            ));
        }
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        if length > self.limit {
            let text = format!("a message of {length} bytes; {} are allowed", self.limit);
            return Err(Stop::Refused(RESOURCE_EXHAUSTED, text));
        }
        if self.buffer.len() < PREFIX_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX_BYTES);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

/// Writes messages and the end of the stream.
pub struct Writer {
    respond: SendResponse<Bytes>,
    stream: Option<SendStream<Bytes>>,
}

fn response() -> Response<()> {
    let mut response = Response::new(());
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    response
}

fn status(headers: &mut HeaderMap, code: u8, text: &str) {
    headers.insert("grpc-status", HeaderValue::from(u16::from(code)));
    if !text.is_empty() {
        // gRPC wants percent encoding of everything beyond printable ASCII.
        let text: String = text
            .bytes()
            .map(|byte| match byte {
                b' '..=b'~' if byte != b'%' => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            })
            .collect();
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert("grpc-message", value);
        }
    }
}

impl Writer {
    pub fn new(respond: SendResponse<Bytes>) -> Writer {
        Writer {
            respond,
            stream: None,
        }
    }

    fn started(&mut self) -> Result<&mut SendStream<Bytes>, Stop> {
        if self.stream.is_none() {
            let stream = self
                .respond
                .send_response(response(), false)
                .map_err(|_| Stop::Cancelled)?;
            self.stream = Some(stream);
        }
        self.stream.as_mut().ok_or(Stop::Cancelled)
    }

    /// Sends one framed message; waits while the peer does not read.
    pub async fn send(&mut self, mut framed: Bytes) -> Result<(), Stop> {
        let stream = self.started()?;
        while !framed.is_empty() {
            stream.reserve_capacity(framed.len());
            while stream.capacity() == 0 {
                match std::future::poll_fn(|context| stream.poll_capacity(context)).await {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Err(Stop::Cancelled),
                }
            }
            let piece = framed.split_to(stream.capacity().min(framed.len()));
            stream
                .send_data(piece, false)
                .map_err(|_| Stop::Cancelled)?;
        }
        Ok(())
    }

    /// Waits until the peer gives the stream up.
    pub async fn gone(&mut self) {
        let _ = match &mut self.stream {
            Some(stream) => std::future::poll_fn(|context| stream.poll_reset(context)).await,
            None => std::future::poll_fn(|context| self.respond.poll_reset(context)).await,
        };
    }

    /// Ends the stream in order.
    pub fn finish(mut self, code: u8, text: &str) {
        let mut trailers = HeaderMap::new();
        match &mut self.stream {
            Some(stream) => {
                status(&mut trailers, code, text);
                let _ = stream.send_trailers(trailers);
            }
            None => {
                let mut response = response();
                status(response.headers_mut(), code, text);
                let _ = self.respond.send_response(response, true);
            }
        }
    }

    /// Refuses the call, with everything it needs to know.
    pub fn refuse(mut self, unfit: &Unfit) {
        let mut response = response();
        *response.status_mut() = unfit.http;
        let headers = response.headers_mut();
        headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
        if unfit.http == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(http::header::ALLOW, HeaderValue::from_static("POST"));
        }
        status(headers, unfit.code, &unfit.text);
        let _ = self.respond.send_response(response, true);
    }

    /// Ends the stream as its work has stopped.
    pub fn stop(self, stopped: Result<(), Stop>) {
        match stopped {
            Ok(()) | Err(Stop::Closed) => self.finish(OK, ""),
            Err(Stop::Cancelled) => self.reset(),
            Err(Stop::Refused(code, text)) => self.finish(code, &text),
            Err(Stop::Late) => self.finish(DEADLINE_EXCEEDED, "Deadline Exceeded"),
        }
    }

    /// Ends the stream at once.
    pub fn reset(mut self) {
        match &mut self.stream {
            Some(stream) => stream.send_reset(Reason::INTERNAL_ERROR),
            None => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }
}
