//! The top-level `model` value in request and response bodies; every other byte stays as it is.

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

/// Whether a key, quotes included, reads `model`; escapes are followed.
fn is_model(key: &[u8]) -> bool {
    if key == b"\"model\"" {
        return true;
    }
    if !key.contains(&b'\\') {
        return false;
    }
    let (mut rest, mut read) = (&key[1..key.len() - 1], Vec::new());
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            read.push(byte);
            continue;
        }
        // Of all escapes only a code point can spell one of these letters.
        let code = rest
            .strip_prefix(b"u")
            .and_then(|digits| digits.get(..4))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits.strip_prefix("00")?, 16).ok());
        match code {
            Some(code) if code.is_ascii_lowercase() => read.push(code),
            _ => return false,
        }
        rest = &rest[5..];
    }
    read == b"model"
}

/// Walks one JSON text that may still grow; remembers where it stood.
#[derive(Default)]
pub struct ModelScan {
    position: usize,
    depth: i64,
}

impl ModelScan {
    /// The next span (quotes included) of a string value of a top-level `model` key.
    ///
    /// None before a token that `text` does not hold whole; a later call with a longer text goes on there.
    pub fn next(&mut self, text: &[u8]) -> Option<(usize, usize)> {
        loop {
            let found = text[self.position.min(text.len())..]
                .iter()
                .position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'))?;
            let start = self.position + found;
            if text[start] != b'"' {
                self.depth += if matches!(text[start], b'{' | b'[') {
                    1
                } else {
                    -1
                };
                self.position = start + 1;
                continue;
            }
            let Some(end) = crate::usage::string_end(text, start) else {
                self.position = start;
                return None;
            };
            if self.depth != 1 {
                self.position = end;
                continue;
            }
            let skip = |mut at: usize| {
                while at < text.len() && blank(text[at]) {
                    at += 1;
                }
                at
            };
            let colon = skip(end);
            let value = if text.get(colon) == Some(&b':') {
                skip(colon + 1)
            } else {
                colon
            };
            if value == text.len() {
                self.position = start;
                return None;
            }
            self.position = value;
            if value == colon || text[value] != b'"' || !is_model(&text[start..end]) {
                continue;
            }
            let Some(end) = crate::usage::string_end(text, value) else {
                self.position = start;
                return None;
            };
            self.position = end;
            return Some((value, end));
        }
    }
}

/// `body` with `name` as the value of every top-level `model` key that holds a string; None: there is none.
pub fn replace_model(body: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut scan = ModelScan::default();
    let spans: Vec<_> = std::iter::from_fn(|| scan.next(body)).collect();
    replace_spans(body, &spans, name)
}

/// `body` with `name` in the given places; None: there are none.
pub fn replace_spans(body: &[u8], spans: &[(usize, usize)], name: &str) -> Option<Vec<u8>> {
    if spans.is_empty() {
        return None;
    }
    let value = quoted(name);
    let mut out = Vec::with_capacity(body.len() + spans.len() * value.len());
    let mut done = 0;
    for (start, end) in spans {
        out.extend_from_slice(&body[done..*start]);
        out.extend_from_slice(&value);
        done = *end;
    }
    out.extend_from_slice(&body[done..]);
    Some(out)
}

/// Puts the asked name back into an answer that comes in chunks.
pub enum Restorer {
    /// A plain JSON answer: nothing passes until the model is found, then everything.
    Json {
        name: String,
        held: Vec<u8>,
        scan: ModelScan,
        passing: bool,
    },
    /// An event stream: every `data:` line.
    Sse {
        name: String,
        held: Vec<u8>,
        overlong: bool,
    },
}

fn json_kind(kind: &str) -> bool {
    kind == "application/json" || kind.ends_with("+json")
}

impl Restorer {
    /// How to restore `name` in an answer of this kind; None when its bytes cannot be read.
    pub fn of(content_type: &str, content_encoding: &str, name: &str) -> Option<Restorer> {
        let encoding = content_encoding.to_lowercase();
        if !encoding.is_empty() && encoding != "identity" {
            return None;
        }
        let kind = content_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_lowercase();
        let name = name.to_owned();
        if kind == "text/event-stream" {
            return Some(Restorer::Sse {
                name,
                held: Vec::new(),
                overlong: false,
            });
        }
        json_kind(&kind).then(|| Restorer::Json {
            name,
            held: Vec::new(),
            scan: ModelScan::default(),
            passing: false,
        })
    }

    /// What may be sent on now.
    pub fn feed(&mut self, chunk: &[u8]) -> Vec<u8> {
        match self {
            Restorer::Json { passing: true, .. } => chunk.to_vec(),
            Restorer::Json {
                name,
                held,
                scan,
                passing,
            } => {
                held.extend_from_slice(chunk);
                if let Some(span) = scan.next(held) {
                    *passing = true;
                    let held = std::mem::take(held);
                    return replace_spans(&held, &[span], name).unwrap_or(held);
                }
                if held.len() > HOLD_BYTES {
                    *passing = true;
                    return std::mem::take(held);
                }
                Vec::new()
            }
            Restorer::Sse {
                name,
                held,
                overlong,
            } => {
                // Only the new bytes can hold a line's end.
                let Some(last) = chunk.iter().rposition(|byte| *byte == b'\n') else {
                    held.extend_from_slice(chunk);
                    if held.len() > HOLD_BYTES {
                        *overlong = true;
                        return std::mem::take(held);
                    }
                    return Vec::new();
                };
                let mut text = std::mem::take(held);
                text.extend_from_slice(&chunk[..=last]);
                *held = chunk[last + 1..].to_vec();
                let mut out = Vec::with_capacity(text.len() + 64);
                for line in text.split_inclusive(|byte| *byte == b'\n') {
                    sse_line(line, name, overlong, &mut out);
                }
                if held.len() > HOLD_BYTES {
                    *overlong = true;
                    out.append(held);
                }
                out
            }
        }
    }

    /// What was held when the answer ended.
    pub fn finish(&mut self) -> Vec<u8> {
        match self {
            Restorer::Json { held, .. } => std::mem::take(held),
            Restorer::Sse {
                name,
                held,
                overlong,
            } => {
                let mut out = Vec::new();
                let line = std::mem::take(held);
                sse_line(&line, name, overlong, &mut out);
                out
            }
        }
    }
}

fn sse_line(line: &[u8], name: &str, overlong: &mut bool, out: &mut Vec<u8>) {
    let continued = std::mem::take(overlong);
    let rewritten = if !continued && line.starts_with(b"data:") {
        replace_model(line, name)
    } else {
        None
    };
    out.extend_from_slice(rewritten.as_deref().unwrap_or(line));
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

    fn run(kind: &str, body: &[u8], size: usize) -> Vec<u8> {
        let mut restorer = Restorer::of(kind, "", "asked").unwrap();
        let mut out = Vec::new();
        for chunk in body.chunks(size) {
            out.extend(restorer.feed(chunk));
        }
        out.extend(restorer.finish());
        out
    }
}
