//! Text collected up to a horizon, its full length counted; and the chained block hashes over it.

use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_64_with_seed};

/// Bytes kept of what is pushed; the rest is only counted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Text {
    pub bytes: Vec<u8>,
    /// Everything that was pushed, the part beyond the horizon too.
    pub total: usize,
}

impl Text {
    pub fn push(&mut self, piece: &[u8], horizon: usize) {
        self.total += piece.len();
        let room = horizon.saturating_sub(self.bytes.len());
        self.bytes
            .extend_from_slice(&piece[..room.min(piece.len())]);
    }

    /// Appends another text; an empty one takes it over without a copy.
    pub fn append(&mut self, other: Text, horizon: usize) {
        if self.total == 0 {
            *self = other;
            return;
        }
        let hidden = other.total - other.bytes.len();
        self.push(&other.bytes, horizon);
        self.total += hidden;
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
pub fn chain(prompt: &[u8], model: &[u8], block_bytes: usize, horizon: usize) -> Vec<u8> {
    let mut link = xxh3_64(model);
    let count = horizon.min(prompt.len() / block_bytes);
    let mut packed = Vec::with_capacity(count * size_of::<u64>());
    for block in prompt.chunks_exact(block_bytes).take(count) {
        link = xxh3_64_with_seed(block, link);
        packed.extend_from_slice(&link.to_le_bytes());
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
        assert_eq!(
            (text.bytes.as_slice(), text.total),
            (b"abcdefgh".as_slice(), 12)
        );
        let mut whole = Text::default();
        whole.push(b"x", 20);
        whole.append(text, 20);
        assert_eq!(
            (whole.bytes.as_slice(), whole.total),
            (b"xabcdefgh".as_slice(), 13)
        );
    }

    #[test]
    fn a_longer_prompt_extends_the_chain_of_the_shorter() {
        let long = chain(&[7; 1000], b"m", 128, 4096);
        assert_eq!(long.len(), 7 * 8);
        assert_eq!(chain(&[7; 512], b"m", 128, 4096), long[..4 * 8]);
        assert_ne!(chain(&[7; 512], b"other", 128, 4096), long[..4 * 8]);
        assert_eq!(chain(&[7; 1000], b"m", 128, 2).len(), 2 * 8);
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
