//! Text collected up to a horizon, its full length counted; and the chained block hashes over it.

use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_64_with_seed};

/// A piece this long is not copied, nor grown: the text goes on in a new one.
const LONG: usize = 4096;

/// Bytes kept of what is pushed; the rest is only counted. Long texts become part of longer ones without a copy.
#[derive(Debug, Default, Clone)]
pub struct Text {
    before: Vec<Vec<u8>>,
    last: Vec<u8>,
    /// Bytes in all pieces.
    pub kept: usize,
    /// All text that was pushed, the part beyond the horizon too; bytes that stand for media are not counted.
    pub total: usize,
    /// Images, sounds and files.
    pub media: usize,
}

impl Text {
    pub fn push(&mut self, piece: &[u8], horizon: usize) {
        self.total += piece.len();
        self.keep(piece, horizon);
    }

    fn keep(&mut self, piece: &[u8], horizon: usize) {
        let piece = &piece[..piece.len().min(horizon.saturating_sub(self.kept))];
        if self.last.len() >= LONG && self.last.capacity() - self.last.len() < piece.len() {
            self.before.push(std::mem::take(&mut self.last));
        }
        self.last.extend_from_slice(piece);
        self.kept += piece.len();
    }

    /// Adds an image, a sound or a file; `digest` is repeated to `length` bytes.
    pub fn show(&mut self, digest: &[u8], length: usize, horizon: usize) {
        self.media += 1;
        if self.kept < horizon {
            self.keep(
                &digest.repeat(length.div_ceil(digest.len().max(1))),
                horizon,
            );
        }
    }

    pub fn starts_with(&self, beginning: &[u8]) -> bool {
        let bytes = self.pieces().flatten().take(beginning.len());
        self.kept >= beginning.len() && bytes.eq(beginning)
    }

    pub fn append(&mut self, other: Text, horizon: usize) {
        let (total, media) = (self.total + other.total, self.media + other.media);
        if self.kept == 0 {
            *self = other;
        } else if other.kept < LONG || self.kept + other.kept > horizon {
            for piece in other.pieces() {
                self.push(piece, horizon);
            }
        } else {
            self.before.push(std::mem::take(&mut self.last));
            self.before.extend(other.before);
            self.last = other.last;
            self.kept += other.kept;
        }
        (self.total, self.media) = (total, media);
    }

    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.before.iter().chain([&self.last]).map(Vec::as_slice)
    }

    /// What was kept, in one piece.
    pub fn into_bytes(self) -> Vec<u8> {
        if self.before.is_empty() {
            return self.last;
        }
        self.pieces().collect::<Vec<_>>().concat()
    }
}

/// The first characters of `text` that fit `longest` bytes.
pub fn beginning(text: &str, longest: usize) -> &str {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The hexadecimal xxh3 128-bit digest of a media reference: of its data alone, when it is a data URL.
pub struct Digest {
    hash: Box<Xxh3>,
    /// Bytes so far, while they may be the beginning of a data URL; None: they are not, or it is over.
    data_url: Option<usize>,
    pub empty: bool,
}

const DATA_URL: &[u8] = b"data:";

impl Default for Digest {
    fn default() -> Digest {
        Digest {
            hash: Box::new(Xxh3::new()),
            data_url: Some(0),
            empty: true,
        }
    }
}

impl Digest {
    pub fn push(&mut self, mut piece: &[u8]) {
        self.empty &= piece.is_empty();
        if let Some(seen) = self.data_url {
            let (head, rest) = piece.split_at(piece.len().min(DATA_URL.len().saturating_sub(seen)));
            if !DATA_URL[seen.min(DATA_URL.len())..].starts_with(head) {
                self.data_url = None;
            } else if let Some(comma) = rest.iter().position(|byte| *byte == b',') {
                self.data_url = None;
                *self.hash = Xxh3::new();
                piece = &rest[comma + 1..];
            } else {
                self.data_url = Some(seen + piece.len());
            }
        }
        self.hash.update(piece);
    }

    pub fn finish(&self) -> Vec<u8> {
        format!("{:032x}", self.hash.digest128()).into_bytes()
    }
}

/// Sets a model's blocks apart; no model: 0.
pub fn model_mask(model: Option<&str>) -> u64 {
    model.map_or(0, |name| xxh3_64(name.as_bytes()))
}

/// `h[i] = xxh3_64(block[i], seed = h[i-1])`, `h[-1] = salt`, each `^ mask`; whole blocks only, at most `horizon`
/// blocks; packed, little-endian.
pub fn chain<'a>(
    prompt: impl IntoIterator<Item = &'a [u8]>,
    salt: u64,
    mask: u64,
    block_bytes: usize,
    horizon: usize,
) -> Vec<u8> {
    let mut link = salt;
    let mut packed = Vec::new();
    // A block that began in the piece before.
    let mut begun: Vec<u8> = Vec::new();
    for mut piece in prompt {
        let room = horizon - packed.len() / size_of::<u64>();
        if room == 0 {
            break;
        }
        packed.reserve(((begun.len() + piece.len()) / block_bytes).min(room) * size_of::<u64>());
        let mut hash = |block: &[u8]| {
            if packed.len() < horizon * size_of::<u64>() {
                link = xxh3_64_with_seed(block, link);
                packed.extend_from_slice(&(link ^ mask).to_le_bytes());
            }
        };
        if !begun.is_empty() {
            let (head, rest) = piece.split_at(piece.len().min(block_bytes - begun.len()));
            begun.extend_from_slice(head);
            if begun.len() < block_bytes {
                continue;
            }
            hash(&begun);
            begun.clear();
            piece = rest;
        }
        let blocks = piece.chunks_exact(block_bytes);
        begun.extend_from_slice(blocks.remainder());
        blocks.for_each(hash);
    }
    packed
}

/// The salt of a cache's key, none being the empty one.
pub fn no_salt() -> u64 {
    xxh3_64(b"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_beyond_the_horizon_is_counted_not_kept() {
        let mut text = Text::default();
        text.push(b"abcdef", 8);
        text.push(b"ghijkl", 8);
        let mut whole = Text::default();
        whole.push(b"x", 20);
        whole.append(text.clone(), 20);
        assert_eq!((text.kept, text.total), (8, 12));
        assert_eq!(text.into_bytes(), b"abcdefgh");
        assert_eq!((whole.kept, whole.total), (9, 13));
        assert_eq!(whole.into_bytes(), b"xabcdefgh");
    }

    #[test]
    fn long_and_short_texts_join_in_order() {
        for horizon in [100, 5000, 9000, 20_000] {
            let mut joined = Text::default();
            let mut plain = Vec::new();
            for (byte, length) in [
                (b'a', 10),
                (b'b', 5000),
                (b'c', 1),
                (b'd', 6000),
                (b'e', 200),
            ] {
                let mut one = Text::default();
                one.push(&vec![byte; length], horizon);
                joined.append(one, horizon);
                joined.push(b",", horizon);
                plain.extend(vec![byte; length]);
                plain.push(b',');
            }
            assert_eq!(joined.total, plain.len());
            plain.truncate(horizon);
            assert_eq!(joined.kept, plain.len());
            let whole = chain([plain.as_slice()], 1, 0, 128, 4096);
            assert_eq!(chain(joined.pieces(), 1, 0, 128, 4096), whole);
            assert_eq!(joined.into_bytes(), plain);
        }
    }

    #[test]
    fn a_longer_prompt_extends_the_chain_of_the_shorter() {
        let long = chain([[7; 1000].as_slice()], 1, 0, 128, 4096);
        assert_eq!(long.len(), 7 * 8);
        assert_eq!(chain([[7; 512].as_slice()], 1, 0, 128, 4096), long[..4 * 8]);
        assert_ne!(chain([[7; 512].as_slice()], 1, 9, 128, 4096), long[..4 * 8]);
        assert_ne!(chain([[7; 512].as_slice()], 2, 0, 128, 4096), long[..4 * 8]);
        assert_eq!(chain([[7; 1000].as_slice()], 1, 0, 128, 2).len(), 2 * 8);
    }

    #[test]
    fn media_is_its_data_in_any_pieces() {
        let of = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let mut digest = Digest::default();
            pieces.for_each(|piece| digest.push(piece));
            digest.finish()
        };
        let data = of(&mut [b"AAAA".as_slice()].into_iter());
        let url = b"data:image/png;base64,AAAA";
        for size in 1..=url.len() {
            assert_eq!(of(&mut url.chunks(size)), data);
            assert_eq!(
                of(&mut b"data:x".chunks(size)),
                of(&mut [b"data:x".as_slice()].into_iter())
            );
            assert_ne!(of(&mut b"date:x,AAAA".chunks(size)), data);
        }
        assert!(Digest::default().empty);
    }

    #[test]
    fn media_takes_room_and_counts_as_no_text() {
        let mut text = Text::default();
        text.push(b"ab", 1000);
        text.show(b"0123", 128, 1000);
        let mut all = Text::default();
        all.append(text, 1000);
        assert_eq!((all.total, all.kept, all.media), (2, 130, 1));
        assert!(all.starts_with(b"ab0123"));
        assert!(!all.starts_with(b"b"));
    }
}
