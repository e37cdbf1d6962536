//! The id under which a server keeps what it answers: the twin of `headgate.wire.stored`.

use crate::outline::Outline;

/// Bytes of an answer that are looked at.
const HEAD_BYTES: usize = 4096;
/// Bytes of an id that is believed.
const LONGEST_ID: usize = 512;

/// What the beginning of an answer says.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Found(String),
    /// More of it must be seen.
    More,
    Never,
}

/// Takes an answer's first pieces: JSON, or the first event of a stream.
pub struct IdReader {
    within: Vec<Vec<u8>>,
    head: Vec<u8>,
    pub done: bool,
}

impl IdReader {
    pub fn new(within: &[Vec<u8>]) -> IdReader {
        IdReader {
            within: within.to_vec(),
            head: Vec::new(),
            done: false,
        }
    }

    /// The id, once it was seen.
    pub fn feed(&mut self, piece: &[u8]) -> Option<String> {
        if self.done || piece.is_empty() {
            return None;
        }
        let room = HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(&piece[..piece.len().min(room)]);
        let look = look(&self.head, &self.within);
        self.done = look != Look::More || self.head.len() == HEAD_BYTES;
        match look {
            Look::Found(id) => Some(id),
            _ => None,
        }
    }
}

/// Looks for the first object's `id`, or that of an object in it at a key of `within`.
fn look(head: &[u8], within: &[Vec<u8>]) -> Look {
    let mut outline = Outline::new(head, within);
    let id = outline
        .by_ref()
        .find_map(|(key, value)| value.filter(|_| key == b"id"));
    match id {
        Some(id) => believed(id),
        None if outline.closed => Look::Never,
        None => Look::More,
    }
}

fn believed(text: &[u8]) -> Look {
    let fits = !text.is_empty() && text.len() <= LONGEST_ID;
    match std::str::from_utf8(text) {
        Ok(id) if fits && !id.contains('\\') => Look::Found(id.to_owned()),
        _ => Look::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::{HEAD_BYTES, IdReader};

    fn read(pieces: &[&[u8]]) -> (Option<String>, bool) {
        let mut reader = IdReader::new(&[b"response".to_vec()]);
        let found = pieces.iter().find_map(|piece| reader.feed(piece));
        (found, reader.done)
    }

    #[test]
    fn the_id_is_read_in_any_pieces() {
        let event = b"event: response.created\ndata: {\"type\": \"x\", \"response\": {\"id\": \"resp_1\", \"a\": 1}}";
        for at in 0..event.len() {
            let (first, second) = event.split_at(at);
            assert_eq!(read(&[first, second]).0.as_deref(), Some("resp_1"), "{at}");
        }
        assert_eq!(read(&[br#"{"id":"r","x":1}"#]).0.as_deref(), Some("r"));
    }

    #[test]
    fn other_ids_are_none() {
        for text in [
            r#"{"output":[{"id":"msg_1"}]}"#,
            r#"{"error":{"id":"e"}}"#,
            r#"{"id":5}"#,
            r#"{"x":"id","y":"z"}"#,
            r#"{"id":"a\nb"}"#,
            r#"{"id":""}"#,
        ] {
            assert_eq!(read(&[text.as_bytes()]), (None, true), "{text}");
        }
        assert_eq!(read(&[b"}{", b"}"]), (None, true));
        assert_eq!(read(&[&[b' '; HEAD_BYTES + 1]]), (None, true));
    }
}
