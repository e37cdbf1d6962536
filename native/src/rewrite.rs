//! The top-level `model` value in request and response bodies; every other byte stays as it is.

use std::sync::Arc;

use crate::answers::Answers;

/// An answer is held back at most this long while its model is looked for; then it passes unchanged.
pub const HOLD_BYTES: usize = 1024 * 1024;

fn blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The name as a JSON string.
pub fn quoted(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 2);
    out.push(b'"');
    for byte in name.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
    out
}

/// A key's text, when every escape in it is that of a small letter; None: it is no key that counts.
fn unescaped(key: &[u8]) -> Option<Vec<u8>> {
    if key.len() > LONGEST_KEY {
        return None;
    }
    let (mut rest, mut read) = (key, Vec::with_capacity(key.len()));
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            read.push(byte);
            continue;
        }
        let digits = rest.strip_prefix(b"u")?.get(..4)?;
        let digits = std::str::from_utf8(digits).ok()?.strip_prefix("00")?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let code = u8::from_str_radix(digits, 16).ok()?;
        if !code.is_ascii_lowercase() {
            return None;
        }
        read.push(code);
        rest = &rest[5..];
    }
    Some(read)
}

/// What a key says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Plain,
    Model,
    /// The model is within its object.
    Nest,
}

/// Where a walk stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    /// Within a string that starts there; `value` of which key, unless it may be a key itself.
    String {
        start: usize,
        value: Option<Key>,
        escaped: bool,
    },
    /// Behind a string that may be a key.
    AfterString,
    AfterColon(Key),
}

/// Bytes of a key that are kept; escaped, the longest of those that count has 54.
const LONGEST_KEY: usize = 64;

/// Walks one JSON text that comes in pieces; no byte is looked at twice.
pub struct ModelScan {
    /// Keys under which an object has the model, too.
    answers: Arc<Answers>,
    depth: i64,
    /// Within the object at one of these keys.
    inside: bool,
    state: State,
    key: Vec<u8>,
}

impl ModelScan {
    pub fn new(answers: Arc<Answers>) -> ModelScan {
        ModelScan {
            answers,
            depth: 0,
            inside: false,
            state: State::Between,
            key: Vec::new(),
        }
    }

    /// A line of an event ended: no string goes on behind it.
    fn line_end(&mut self) {
        if matches!(self.state, State::String { .. }) {
            self.state = State::Between;
        }
    }

    fn what(&self) -> Key {
        match unescaped(&self.key).as_deref() {
            Some(b"model") => Key::Model,
            Some(key) if self.depth == 1 && self.nests(key) => Key::Nest,
            _ => Key::Plain,
        }
    }

    fn nests(&self, key: &[u8]) -> bool {
        self.answers.within.iter().any(|each| each == key)
    }

    fn string(&mut self, start: usize, value: Option<Key>) {
        self.key.clear();
        self.state = State::String {
            start,
            value,
            escaped: false,
        };
    }

    /// The next span (quotes included) of a string value of a model key; goes on at `at`, and leaves it at the end.
    pub fn next(&mut self, text: &[u8], at: &mut usize) -> Option<(usize, usize)> {
        while *at < text.len() {
            let byte = text[*at];
            match self.state {
                State::String {
                    start,
                    value,
                    escaped,
                } => {
                    *at += 1;
                    if byte == b'"' && !escaped {
                        self.state = match value {
                            Some(_) => State::Between,
                            None => State::AfterString,
                        };
                        if value == Some(Key::Model) {
                            return Some((start, *at));
                        }
                        continue;
                    }
                    if value.is_none() && self.key.len() <= LONGEST_KEY {
                        self.key.push(byte);
                    }
                    let escaped = byte == b'\\' && !escaped;
                    self.state = State::String {
                        start,
                        value,
                        escaped,
                    };
                }
                State::AfterString | State::AfterColon(_) if blank(byte) => *at += 1,
                State::AfterString if byte == b':' => {
                    *at += 1;
                    self.state = State::AfterColon(self.what());
                }
                State::AfterString => self.state = State::Between,
                State::AfterColon(key) => {
                    self.state = State::Between;
                    if byte == b'"' {
                        self.string(*at, Some(key));
                        *at += 1;
                    } else if byte == b'{' && key == Key::Nest {
                        self.depth += 1;
                        self.inside = true;
                        *at += 1;
                    }
                }
                State::Between => {
                    let rest = &text[*at..];
                    let Some(found) = rest
                        .iter()
                        .position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'))
                    else {
                        *at = text.len();
                        return None;
                    };
                    let start = *at + found;
                    *at = start + 1;
                    match text[start] {
                        b'"' => {
                            let keyed = self.depth == 1 || self.inside && self.depth == 2;
                            self.string(start, if keyed { None } else { Some(Key::Plain) });
                        }
                        b'{' | b'[' => self.depth += 1,
                        _ => {
                            self.depth -= 1;
                            self.inside &= self.depth > 1;
                        }
                    }
                }
            }
        }
        None
    }
}

/// `body` with `name` as the value of every top-level `model` key that holds a string; None: there is none.
pub fn replace_model(body: &[u8], name: &str) -> Option<Vec<u8>> {
    let (mut scan, mut at) = (ModelScan::new(Arc::default()), 0);
    let spans: Vec<_> = std::iter::from_fn(|| scan.next(body, &mut at)).collect();
    replace_spans(body, &spans, &quoted(name))
}

/// `body` with `value` in the given places; None: there are none.
pub fn replace_spans(body: &[u8], spans: &[(usize, usize)], value: &[u8]) -> Option<Vec<u8>> {
    if spans.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(body.len() + spans.len() * value.len());
    let mut done = 0;
    for (start, end) in spans {
        out.extend_from_slice(&body[done..*start]);
        out.extend_from_slice(value);
        done = *end;
    }
    out.extend_from_slice(&body[done..]);
    Some(out)
}

/// Puts the asked name back into an answer that comes in chunks.
pub enum Restorer {
    Json(Json),
    Sse(Sse),
}

/// A plain JSON answer: nothing passes until the model is found, then everything.
pub struct Json {
    name: String,
    held: Vec<u8>,
    at: usize,
    scan: ModelScan,
    passing: bool,
}

/// An event stream: the data of every event, on however many lines.
pub struct Sse {
    name: String,
    answers: Arc<Answers>,
    /// A line without its end so far.
    held: Vec<u8>,
    /// The line got too long to be held: it passes as it is.
    overlong: bool,
    /// The last byte was a carriage return, which ended a line.
    returned: bool,
    /// No line has ended.
    first: bool,
    scan: ModelScan,
}

/// The type that a header's value names, without parameters, in small letters.
pub fn media_type(content_type: &str) -> String {
    let (kind, _) = content_type.split_once(';').unwrap_or((content_type, ""));
    kind.trim_matches([' ', '\t']).to_lowercase()
}

/// A body with this content encoding is not compressed.
pub fn readable(content_encoding: &str) -> bool {
    content_encoding.is_empty() || content_encoding.eq_ignore_ascii_case("identity")
}

fn json_kind(kind: &str) -> bool {
    kind == "application/json" || kind.ends_with("+json")
}

impl Restorer {
    /// How to restore `name` in an answer of this kind; None when its bytes cannot be read.
    pub fn of(
        content_type: &str,
        content_encoding: &str,
        name: &str,
        answers: Arc<Answers>,
    ) -> Option<Restorer> {
        if !readable(content_encoding) {
            return None;
        }
        let kind = media_type(content_type);
        let name = name.to_owned();
        if kind == "text/event-stream" {
            return Some(Restorer::Sse(Sse {
                name,
                held: Vec::new(),
                overlong: false,
                returned: false,
                first: true,
                scan: ModelScan::new(answers.clone()),
                answers,
            }));
        }
        json_kind(&kind).then(|| {
            Restorer::Json(Json {
                name,
                held: Vec::new(),
                at: 0,
                scan: ModelScan::new(Arc::default()),
                passing: false,
            })
        })
    }

    /// What may be sent on now.
    pub fn feed(&mut self, chunk: &[u8]) -> Vec<u8> {
        match self {
            Restorer::Json(json) => json.feed(chunk),
            Restorer::Sse(sse) => sse.feed(chunk),
        }
    }

    /// What was held when the answer ended.
    pub fn finish(&mut self) -> Vec<u8> {
        match self {
            Restorer::Json(json) => std::mem::take(&mut json.held),
            Restorer::Sse(sse) => {
                let mut out = Vec::new();
                let line = std::mem::take(&mut sse.held);
                sse.line(&line, &mut out);
                out
            }
        }
    }
}

impl Json {
    fn feed(&mut self, chunk: &[u8]) -> Vec<u8> {
        if self.passing {
            return chunk.to_vec();
        }
        self.held.extend_from_slice(chunk);
        if let Some(span) = self.scan.next(&self.held, &mut self.at) {
            self.passing = true;
            let held = std::mem::take(&mut self.held);
            return replace_spans(&held, &[span], &quoted(&self.name)).unwrap_or(held);
        }
        if self.held.len() > HOLD_BYTES {
            self.passing = true;
            return std::mem::take(&mut self.held);
        }
        Vec::new()
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Sse {
    /// The whole lines so far; an unfinished line waits for its end, or passes when it gets too long.
    fn feed(&mut self, mut chunk: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(chunk.len() + 64);
        if let (true, [b'\n', rest @ ..]) = (self.returned, chunk) {
            out.push(b'\n');
            chunk = rest;
            self.returned = false;
        }
        self.returned &= chunk.is_empty();
        while let Some(end) = chunk.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            let (line, rest) = chunk.split_at(end);
            if self.overlong {
                out.extend_from_slice(line);
                self.overlong = false;
                self.scan = ModelScan::new(self.answers.clone());
            } else if self.held.is_empty() {
                self.line(line, &mut out);
            } else {
                let mut whole = std::mem::take(&mut self.held);
                whole.extend_from_slice(line);
                self.line(&whole, &mut out);
            }
            self.first = false;
            let ends = if rest.starts_with(b"\r\n") { 2 } else { 1 };
            self.returned = rest == b"\r";
            out.extend_from_slice(&rest[..ends]);
            chunk = &rest[ends..];
        }
        if self.overlong {
            out.extend_from_slice(chunk);
        } else {
            self.held.extend_from_slice(chunk);
            if self.held.len() > HOLD_BYTES {
                self.overlong = true;
                out.append(&mut self.held);
            }
        }
        out
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let mark = if self.first && line.starts_with(BYTE_ORDER_MARK) {
            BYTE_ORDER_MARK.len()
        } else {
            0
        };
        let text = &line[mark..];
        if text.is_empty() {
            self.scan = ModelScan::new(self.answers.clone());
        }
        let mut spans = Vec::new();
        if text.starts_with(b"data:") {
            let mut at = mark + b"data:".len();
            while let Some(span) = self.scan.next(line, &mut at) {
                spans.push(span);
            }
            self.scan.line_end();
        }
        match replace_spans(line, &spans, &quoted(&self.name)) {
            Some(new) => out.extend_from_slice(&new),
            None => out.extend_from_slice(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_top_level_model_strings_change() {
        let body = br#"{"a":{"model":"x"}, "model" : "old\"", "b":["model","y"], "mod\u0065l":"z", "model": 3}"#;
        let new = br#"{"a":{"model":"x"}, "model" : "n\"w", "b":["model","y"], "mod\u0065l":"n\"w", "model": 3}"#;
        assert_eq!(replace_model(body, "n\"w").unwrap(), new);
        assert_eq!(replace_model(b"{\"model\":", "n"), None);
        assert_eq!(replace_model(b"\"model\":\"x\"", "n"), None);
    }

    #[test]
    fn restored_answers_do_not_depend_on_chunks() {
        let json = br#"{"id":"1","model":"target","choices":[{"model":"target"}]}"#;
        let sse = b"data: {\"model\":\"target\",\"a\":1}\n\n: model\ndata: {\"model\":\"target\"}\r\n\ndata: [DONE]\n\ndata: {\"model\":\"target\"}";
        for (kind, body) in [
            ("application/json", json.as_slice()),
            ("text/event-stream; x", sse),
        ] {
            let whole = run(kind, body, body.len());
            assert!(
                String::from_utf8(whole.clone())
                    .unwrap()
                    .contains("\"model\":\"asked\"")
            );
            for size in 1..body.len() {
                assert_eq!(run(kind, body, size), whole, "{kind} in chunks of {size}");
            }
        }
    }

    #[test]
    fn the_model_is_found_where_events_have_it() {
        let sse = b"\xef\xbb\xbfdata: {\"type\":\"response.created\",\"response\":{\"model\":\"t\",\"x\":{\"model\":\"u\"}}}\r\r\
            data: {\"message\" : {\"model\":\"t\"},\"y\":{\"model\":\"u\"}}\n\n\
            data: {\"mod\ndata: el\":\"u\",\"id\":1,\ndata:\"model\":\ndata: \"t\"}\n\n";
        let whole = run("text/event-stream", sse, sse.len());
        let asked = String::from_utf8_lossy(sse).replace("\"t\"", "\"asked\"");
        assert_eq!(String::from_utf8_lossy(&whole), asked);
        for size in 1..sse.len() {
            assert_eq!(run("text/event-stream", sse, size), whole);
        }
    }

    fn run(kind: &str, body: &[u8], size: usize) -> Vec<u8> {
        let answers = Arc::new(Answers {
            within: vec![b"response".to_vec(), b"message".to_vec()],
            ..Answers::default()
        });
        let mut restorer = Restorer::of(kind, "", "asked", answers).unwrap();
        let mut out = Vec::new();
        for chunk in body.chunks(size) {
            out.extend(restorer.feed(chunk));
        }
        out.extend(restorer.finish());
        out
    }
}
