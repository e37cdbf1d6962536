//! gRPC over one HTTP/2 stream: length-prefixed messages in and out, trailers at the end.

use bytes::{Buf, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Response};

use crate::conversation::PREFIX_BYTES;

pub const OK: u8 = 0;
pub const INVALID_ARGUMENT: u8 = 3;
pub const NOT_FOUND: u8 = 5;
pub const RESOURCE_EXHAUSTED: u8 = 8;
pub const UNIMPLEMENTED: u8 = 12;
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
}

/// Reads messages.
pub struct Reader {
    stream: RecvStream,
    limit: usize,
    buffer: BytesMut,
}

impl Reader {
    pub fn new(stream: RecvStream, limit: usize) -> Reader {
        Reader {
            stream,
            limit,
            buffer: BytesMut::new(),
        }
    }

    /// The next message without its prefix. May be dropped while it waits: nothing is lost.
    pub async fn next(&mut self) -> Result<Bytes, Stop> {
        loop {
            if let Some(message) = self.whole()? {
                return Ok(message);
            }
            match self.stream.data().await {
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
                UNIMPLEMENTED,
                "compressed messages are not served".to_owned(),
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

    /// Ends the stream at once.
    pub fn reset(mut self) {
        match &mut self.stream {
            Some(stream) => stream.send_reset(Reason::INTERNAL_ERROR),
            None => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }
}
