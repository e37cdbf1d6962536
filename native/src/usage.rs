//! Token usage from an answer's bytes, plain JSON or server-sent events, in any chunking, with bounded memory.
//!
//! The beginning and a tail of the bytes are kept and read once, when the answer ends. A usage object of an unusual
//! form is not judged here: what was kept goes to the reader in Python.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::answers::{Answers, Way};

/// Bytes kept: several times the longest usage object and what follows it.
pub const TAIL_BYTES: usize = 16 * 1024;
/// Bytes kept of the beginning: Anthropic's streams say there what the prompt was.
pub const HEAD_BYTES: usize = 4 * 1024;
/// Usage objects that are looked at, from the last one on.
const MOST_OBJECTS: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Usage {
    None,
    Counts {
        prompt: i64,
        completion: i64,
        cached: Option<i64>,
    },
    /// To be read in Python, by the format of this number.
    Tail(usize, Vec<u8>),
}

/// Takes an answer's chunks as they pass.
pub struct UsageReader {
    answers: Arc<Answers>,
    head: Vec<u8>,
    /// Bytes that passed.
    total: usize,
    chunks: VecDeque<Bytes>,
    size: usize,
}

impl UsageReader {
    /// `answers` are those of the format of the request.
    pub fn new(answers: Arc<Answers>) -> UsageReader {
        UsageReader {
            answers,
            head: Vec::new(),
            total: 0,
            chunks: VecDeque::new(),
            size: 0,
        }
    }

    /// Remembers the first `HEAD_BYTES`, the last `TAIL_BYTES` and at most one chunk more.
    pub fn feed(&mut self, chunk: &Bytes) {
        let room = HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(&chunk[..chunk.len().min(room)]);
        self.total += chunk.len();
        let mut chunk = chunk.clone();
        if chunk.len() > TAIL_BYTES {
            // A copy, so that the whole chunk is not kept alive by its end.
            chunk = Bytes::copy_from_slice(&chunk[chunk.len() - TAIL_BYTES..]);
        }
        self.size += chunk.len();
        self.chunks.push_back(chunk);
        while let Some(first) = self.chunks.front() {
            if self.size - first.len() < TAIL_BYTES {
                break;
            }
            self.size -= first.len();
            self.chunks.pop_front();
        }
    }

    pub fn usage(&self) -> Usage {
        let mut tail = Vec::with_capacity(self.size);
        for chunk in &self.chunks {
            tail.extend_from_slice(chunk);
        }
        let tail = &tail[tail.len().saturating_sub(TAIL_BYTES)..];
        if self.total <= TAIL_BYTES {
            find_usage(&self.answers, tail)
        } else {
            find_usage(
                &self.answers,
                &[&self.head, b"\n".as_slice(), tail].concat(),
            )
        }
    }
}

fn regex_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Where the last of the keys begins and ends.
fn last_key(keys: &[Vec<u8>], text: &[u8]) -> Option<(usize, usize)> {
    let last = |key: &Vec<u8>| {
        text.windows(key.len())
            .rposition(|window| window == key)
            .map(|at| (at, at + key.len()))
    };
    keys.iter().filter_map(last).max()
}

/// What the complete usage objects in the bytes say, the later ones first.
pub fn find_usage(answers: &Answers, text: &[u8]) -> Usage {
    let (mut completion, mut cached) = (None, None);
    let (mut end, mut seen) = (text.len(), 0);
    while let Some((at, behind)) = last_key(&answers.keys, &text[..end]) {
        end = behind - 1;
        // A key, not a piece of text: within a JSON string the quotes would be escaped.
        if at > 0 && text[at - 1] == b'\\' {
            continue;
        }
        let Some(brace) = open_brace(text, behind) else {
            continue;
        };
        seen += 1;
        if seen > MOST_OBJECTS {
            break;
        }
        let Some(object) = object_at(text, brace) else {
            continue;
        };
        let Some(counts) = read_object(answers, object) else {
            return Usage::Tail(answers.number, text.to_vec());
        };
        let first = |which: fn(&Way) -> Option<usize>| {
            let places = answers.ways.iter().filter_map(which);
            places.filter_map(|place| counts[place]).next()
        };
        completion = completion.or_else(|| first(|way| way.completion));
        cached = cached.or_else(|| first(|way| way.cached));
        let said = answers.ways.iter().find_map(|way| {
            let prompt = counts[way.prompt?]?;
            let beside = way.beside.iter().filter_map(|place| counts[*place]);
            Some(prompt + beside.sum::<i64>())
        });
        if let Some(prompt) = said {
            return Usage::Counts {
                prompt,
                completion: completion.unwrap_or(0),
                cached,
            };
        }
    }
    Usage::None
}

fn open_brace(tail: &[u8], from: usize) -> Option<usize> {
    let skip = |mut at: usize| {
        while at < tail.len() && regex_blank(tail[at]) {
            at += 1;
        }
        at
    };
    let colon = skip(from);
    if tail.get(colon) != Some(&b':') {
        return None;
    }
    let brace = skip(colon + 1);
    (tail.get(brace) == Some(&b'{')).then_some(brace)
}

/// The end of the string whose opening quote stands at `at`: the position behind its closing quote.
fn string_end(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    while at < text.len() {
        match text[at] {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

fn object_at(text: &[u8], start: usize) -> Option<&[u8]> {
    let (mut at, mut depth) = (start, 0usize);
    while at < text.len() {
        match text[at] {
            b'"' => {
                at = string_end(text, at)?;
                continue;
            }
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(&text[start..=at]);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Reads an object of plain counts, by path; None for anything that is not of the usual form.
fn read_object(answers: &Answers, text: &[u8]) -> Option<Vec<Option<i64>>> {
    let mut found = vec![None; answers.paths.len()];
    members(text, &mut |key, value| {
        let mut nested = false;
        for (path, place) in answers.paths.iter().zip(&mut found) {
            if path[0] == key {
                *place = None;
                match path.len() {
                    1 => *place = count(value)?,
                    _ => nested = true,
                }
            }
        }
        if nested && value != b"null" {
            members(value, &mut |inner, value| {
                for (path, place) in answers.paths.iter().zip(&mut found) {
                    if path.len() == 2 && path[0] == key && path[1] == inner {
                        *place = count(value)?;
                    }
                }
                Some(())
            })?;
        }
        Some(())
    })?;
    Some(found)
}

/// A count or null; None for other values.
fn count(value: &[u8]) -> Option<Option<i64>> {
    if value == b"null" {
        Some(None)
    } else {
        whole(value)
            .filter(|_| value.len() <= LONGEST_COUNT)
            .map(Some)
    }
}

/// Digits of a count; Python judges longer ones.
const LONGEST_COUNT: usize = 12;

fn whole(value: &[u8]) -> Option<i64> {
    let plain = value.len() <= 18
        && value.iter().all(u8::is_ascii_digit)
        && (value.len() == 1 || value.first() != Some(&b'0'));
    if !plain {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn json_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

type Each<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Option<()>;

/// Calls `each` with every member of a flat enough object: values are counts, words, or objects of such.
fn members(text: &[u8], each: Each<'_>) -> Option<()> {
    let mut at = 0;
    let skip = |at: &mut usize| {
        while text.get(*at).is_some_and(json_blank) {
            *at += 1;
        }
    };
    if text.first() != Some(&b'{') {
        return None;
    }
    at += 1;
    skip(&mut at);
    if text.get(at) == Some(&b'}') {
        return (at + 1 == text.len()).then_some(());
    }
    loop {
        skip(&mut at);
        if text.get(at) != Some(&b'"') {
            return None;
        }
        let end = string_end(text, at)?;
        let key = &text[at + 1..end - 1];
        let simple = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if !key.iter().all(simple) {
            return None;
        }
        at = end;
        skip(&mut at);
        if text.get(at) != Some(&b':') {
            return None;
        }
        at += 1;
        skip(&mut at);
        let end = match text.get(at)? {
            b'{' => at + object_at(text, at)?.len(),
            b'0'..=b'9' | b't' | b'f' | b'n' => {
                let length = text[at..]
                    .iter()
                    .position(|byte| !byte.is_ascii_alphanumeric())?;
                at + length
            }
            _ => return None,
        };
        let value = &text[at..end];
        match value[0] {
            b'{' => members(value, &mut |_, _| Some(()))?,
            b'0'..=b'9' => {
                whole(value)?;
            }
            _ if matches!(value, b"true" | b"false" | b"null") => {}
            _ => return None,
        }
        each(key, value)?;
        at = end;
        skip(&mut at);
        match text.get(at)? {
            b',' => at += 1,
            b'}' => return (at + 1 == text.len()).then_some(()),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> Vec<Vec<u8>> {
        name.split('.')
            .map(|part| part.as_bytes().to_vec())
            .collect()
    }

    /// OpenAI's counts, then Anthropic's.
    fn answers() -> Arc<Answers> {
        let names = "prompt_tokens completion_tokens prompt_tokens_details.cached_tokens \
            input_tokens output_tokens cache_read_input_tokens";
        Arc::new(Answers {
            number: 3,
            keys: vec![b"\"usage\"".to_vec(), b"\"meta\"".to_vec()],
            paths: names.split_ascii_whitespace().map(path).collect(),
            ways: vec![
                Way {
                    prompt: Some(0),
                    completion: Some(1),
                    cached: Some(2),
                    beside: Vec::new(),
                },
                Way {
                    prompt: Some(3),
                    completion: Some(4),
                    cached: Some(5),
                    beside: vec![5],
                },
            ],
            ..Answers::default()
        })
    }

    const LAST: &[u8] = b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"total_tokens\":15,\"completion_tokens\":8,\
        \"prompt_tokens_details\":{\"cached_tokens\":4}}}\r\n\r\ndata: [DONE]\r\n\r\n";

    #[test]
    fn usage_is_found_however_the_bytes_are_cut() {
        let found = Usage::Counts {
            prompt: 7,
            completion: 8,
            cached: Some(4),
        };
        for cut in 0..LAST.len() {
            let mut reader = UsageReader::new(answers());
            reader.feed(&Bytes::from(vec![b'x'; 40_000]));
            reader.feed(&Bytes::copy_from_slice(&LAST[..cut]));
            reader.feed(&Bytes::copy_from_slice(&LAST[cut..]));
            assert_eq!(reader.usage(), found);
            assert!(reader.size <= 2 * TAIL_BYTES);
        }
    }

    #[test]
    fn text_that_speaks_of_usage_is_no_usage() {
        assert_eq!(
            find_usage(
                &answers(),
                br#"{"text":"\"usage\": {\"prompt_tokens\":1}"}"#
            ),
            Usage::None
        );
        assert_eq!(find_usage(&answers(), br#"{"usage":null}"#), Usage::None);
        assert_eq!(
            find_usage(&answers(), br#"{"usage":{"prompt_tokens":1"#),
            Usage::None
        );
    }

    #[test]
    fn what_the_beginning_said_of_the_prompt_is_remembered() {
        let mut reader = UsageReader::new(answers());
        reader.feed(&Bytes::from_static(
            b"data: {\"message\":{\"usage\":{\"input_tokens\":5,\"cache_read_input_tokens\":20,\"output_tokens\":1}}}\n\n",
        ));
        for _ in 0..40 {
            reader.feed(&Bytes::from(vec![b'x'; 1000]));
        }
        reader.feed(&Bytes::from_static(
            b"data: {\"usage\":{\"output_tokens\":9}}\n\n",
        ));
        let found = Usage::Counts {
            prompt: 25,
            completion: 9,
            cached: Some(20),
        };
        assert_eq!(reader.usage(), found);
    }

    #[test]
    fn the_last_object_of_any_name_counts() {
        let found = find_usage(
            &answers(),
            br#"{"usage":{"prompt_tokens":1},"meta":{"prompt_tokens":2},"x":{"usage":null}}"#,
        );
        let wanted = Usage::Counts {
            prompt: 2,
            completion: 0,
            cached: None,
        };
        assert_eq!(found, wanted);
    }

    #[test]
    fn an_unusual_object_goes_to_python() {
        let odd = br#"{"usage":{"prompt_tokens":1.0}}"#;
        assert_eq!(find_usage(&answers(), odd), Usage::Tail(3, odd.to_vec()));
    }
}
