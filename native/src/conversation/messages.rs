//! Protocol messages as the conversation reads and writes them.

use std::collections::HashMap;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use super::WireError;
use crate::proto::{
    BodyMutation, CommonResponse, HttpHeaders, Kind, Mutation, PhaseResponse, ProcessingResponse,
    Response, StreamedBodyResponse, Struct, Value,
};
use crate::text::beginning;

/// Names and values, each text in a slice of the message it came in.
pub type Headers = Vec<(Bytes, Bytes)>;

/// Bytes that are known to be UTF-8.
pub fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// More headers than this have an index.
const MANY: usize = 64;

fn is_text(bytes: &[u8]) -> bool {
    bytes.is_ascii() || std::str::from_utf8(bytes).is_ok()
}

/// The first characters of a text that fit so many bytes; a copy, which keeps no message alive.
pub(super) fn cut(value: &Bytes, longest: usize) -> Bytes {
    Bytes::copy_from_slice(beginning(text(value), longest).as_bytes())
}

pub(super) fn find<'a>(headers: &'a Headers, name: &str) -> Option<&'a Bytes> {
    headers
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value)
}

pub(super) fn not_a_request() -> WireError {
    WireError("not a ProcessingRequest".to_owned())
}

/// The one header whose lines are one list (RFC 9113, 8.2.3).
const COOKIE: &str = "cookie";

pub(super) fn read_headers(message: HttpHeaders) -> Result<Headers, WireError> {
    let all = message.headers.unwrap_or_default().headers;
    let mut found: Headers = Vec::with_capacity(all.len());
    // Of a few names a walk is the quickest; of many it would cost their square.
    let mut places: Option<HashMap<Bytes, usize>> = (all.len() > MANY).then(HashMap::new);
    let mut cookies: Vec<Bytes> = Vec::new();
    for header in all {
        if !is_text(&header.key) || !is_text(&header.value) {
            return Err(not_a_request());
        }
        let value = if header.raw_value.is_empty() {
            header.value
        } else if is_text(&header.raw_value) {
            header.raw_value
        } else {
            Bytes::from(String::from_utf8_lossy(&header.raw_value).into_owned())
        };
        let key = if header.key.iter().any(u8::is_ascii_uppercase) {
            Bytes::from(text(&header.key).to_lowercase())
        } else {
            header.key
        };
        if key == COOKIE {
            cookies.push(value.clone());
        }
        // A header that comes twice counts as its last value.
        let place = match &mut places {
            Some(places) => places.insert(key.clone(), found.len()),
            None => found.iter().position(|(known, _)| *known == key),
        };
        match place {
            Some(place) => {
                found[place].1 = value;
                if let Some(places) = &mut places {
                    places.insert(key, place);
                }
            }
            None => found.push((key, value)),
        }
    }
    if cookies.len() > 1
        && let Some((_, value)) = found.iter_mut().find(|(key, _)| key == COOKIE)
    {
        *value = Bytes::from(cookies.join(&b"; "[..]));
    }
    Ok(found)
}

/// Who the client is: at most `longest` bytes of the text; nothing when there is none.
pub(super) fn read_client(metadata: &Struct, key: &str, longest: usize) -> Option<String> {
    match &metadata.fields.get(key)?.kind {
        Some(Kind::String(text)) if !text.is_empty() => Some(beginning(text, longest).to_owned()),
        _ => None,
    }
}

/// At most `most` entries, each of at most `longest` bytes: a longer one names no endpoint.
pub(super) fn read_subset(
    metadata: &Struct,
    key: &str,
    most: usize,
    longest: usize,
) -> Option<Vec<String>> {
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
            .take(most)
            .map(|entry| entry.trim_matches([' ', '\t']).to_owned())
            .filter(|entry| !entry.is_empty() && entry.len() <= longest)
            .collect(),
    )
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

pub(super) fn encode(response: Response, dynamic_metadata: Bytes) -> Bytes {
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

pub(super) fn empty(response: Response) -> Bytes {
    encode(response, Bytes::new())
}

pub(super) fn common(response: CommonResponse) -> PhaseResponse {
    PhaseResponse {
        response: Some(response),
    }
}

/// Largest body chunk of a full-duplex answer.
const CHUNK_BYTES: usize = 62_000;

pub(super) fn streamed(body: &Bytes, end: bool, wrap: fn(PhaseResponse) -> Response) -> Vec<Bytes> {
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
            empty(wrap(common(CommonResponse {
                body_mutation: Some(mutation),
                ..CommonResponse::default()
            })))
        })
        .collect()
}
