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
    /// Everything that was pushed, the part beyond the horizon too.
    pub total: usize,
}

impl Text {
    pub fn push(&mut self, piece: &[u8], horizon: usize) {
        self.total += piece.len();
        let piece = &piece[..piece.len().min(horizon.saturating_sub(self.kept))];
        if self.last.len() >= LONG && self.last.capacity() - self.last.len() < piece.len() {
            self.before.push(std::mem::take(&mut self.last));
        }
        self.last.extend_from_slice(piece);
        self.kept += piece.len();
    }

    pub fn append(&mut self, other: Text, horizon: usize) {
        let total = self.total + other.total;
        if self.total == 0 {
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
        self.total = total;
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

/// A media reference: literally when short, else as the hexadecimal xxh3 128-bit digest of all of it.
#[derive(Default, Clone)]
pub struct Media {
    head: Vec<u8>,
    digest: Option<Box<Xxh3>>,
}

impl Media {
    pub fn push(&mut self, piece: &[u8], longest: usize) {
        if let Some(digest) = &mut self.digest {
            digest.update(piece);
        } else if self.head.len() + piece.len() <= longest {
            self.head.extend_from_slice(piece);
        } else {
            let mut digest = Box::new(Xxh3::new());
            digest.update(&self.head);
            digest.update(piece);
            self.digest = Some(digest);
        }
    }

    pub fn finish(self) -> Vec<u8> {
        match self.digest {
            Some(digest) => format!("{:032x}", digest.digest128()).into_bytes(),
            None => self.head,
        }
    }
}

/// `h[i] = xxh3_64(block[i], seed = h[i-1])`, `h[-1] = xxh3_64(model)`; whole blocks only, at most `horizon` blocks;
/// packed, little-endian.
pub fn chain<'a>(
    prompt: impl IntoIterator<Item = &'a [u8]>,
    model: &[u8],
    block_bytes: usize,
    horizon: usize,
) -> Vec<u8> {
    let mut link = xxh3_64(model);
    let mut packed = Vec::new();
    // A block that began in the piece before.
    let mut begun: Vec<u8> = Vec::new();
    for mut piece in prompt {
        let room = horizon - packed.len() / size_of::<u64>();
        packed.reserve(((begun.len() + piece.len()) / block_bytes).min(room) * size_of::<u64>());
        let mut hash = |block: &[u8]| {
            if packed.len() < horizon * size_of::<u64>() {
                link = xxh3_64_with_seed(block, link);
                packed.extend_from_slice(&link.to_le_bytes());
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
            let whole = chain([plain.as_slice()], b"m", 128, 4096);
            assert_eq!(chain(joined.pieces(), b"m", 128, 4096), whole);
            assert_eq!(joined.into_bytes(), plain);
        }
    }

    #[test]
    fn a_longer_prompt_extends_the_chain_of_the_shorter() {
        let long = chain([[7; 1000].as_slice()], b"m", 128, 4096);
        assert_eq!(long.len(), 7 * 8);
        assert_eq!(chain([[7; 512].as_slice()], b"m", 128, 4096), long[..4 * 8]);
        assert_ne!(
            chain([[7; 512].as_slice()], b"other", 128, 4096),
            long[..4 * 8]
        );
        assert_eq!(chain([[7; 1000].as_slice()], b"m", 128, 2).len(), 2 * 8);
    }

    #[test]
    fn media_is_the_same_in_any_pieces() {
        let url = vec![b'x'; 700];
        let mut whole = Media::default();
        whole.push(&url, 256);
        let mut parts = Media::default();
        for piece in url.chunks(100) {
            parts.push(piece, 256);
        }
        let digest = whole.finish();
        assert_eq!(digest.len(), 32);
        assert_eq!(parts.finish(), digest);
    }
}
