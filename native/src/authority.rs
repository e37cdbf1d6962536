//! Lets requests in whose `:authority` is none: Envoy sends the picker's cluster's name, such as `outbound|9002||epp`.
//!
//! `h2` refuses such requests and nothing here reads the field, so its value becomes `x` before `h2` sees it. Only a
//! literal with the static table's name is looked for; once indexed it comes as a number, which stands for the `x` then.
//!
//! No string is decoded, and `h2`'s table of header fields may hold a smaller entry than the peer's. That keeps every
//! index right: both insert the same entries in the same order, count indices from the newest one and drop the oldest
//! when room is short (RFC 7541, sections 2.3.3 and 4.4). With entries no larger than the peer's, `h2` still has all that
//! the peer has, and what it keeps longer comes after them. So a value must never grow: an empty one stays.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const PREFACE: usize = 24;
/// Length of a frame's header: 24 bits of length, type, flags, stream.
const HEAD: usize = 9;
const HEADERS: u8 = 1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// The frame size we announce, by saying nothing; `h2` refuses larger ones.
const LARGEST: usize = 16_384;
/// `:authority` in HPACK's static table.
const AUTHORITY: usize = 1;
/// A string of one plain byte.
const ACCEPTABLE: &[u8] = b"\x01x";

/// A stream whose incoming HEADERS frames have an acceptable `:authority`.
pub struct Tolerant<S> {
    stream: S,
    /// Bytes to come that are handed out as they are.
    passing: usize,
    /// The beginning of a frame that is not handed out before it is whole.
    held: BytesMut,
    /// What is held is to be handed out.
    ready: bool,
}

impl<S> Tolerant<S> {
    pub fn new(stream: S) -> Tolerant<S> {
        Tolerant {
            stream,
            passing: PREFACE,
            held: BytesMut::new(),
            ready: false,
        }
    }

    /// Edits what was read, in place; how many bytes of it to hand out now.
    fn walk(&mut self, read: &mut [u8]) -> usize {
        let (mut from, mut to) = (0, 0);
        loop {
            let count = self.passing.min(read.len() - from);
            self.passing -= count;
            shift(read, from..from + count, to);
            from += count;
            to += count;
            let rest = &mut read[from..];
            let Some(head) = rest.first_chunk() else {
                break;
            };
            let size = size(head);
            if !is_read(head) {
                self.passing = size;
                continue;
            }
            let Some(frame) = rest.get_mut(..size) else {
                break;
            };
            let kept = rewrite(frame);
            shift(read, from..from + kept, to);
            from += size;
            to += kept;
        }
        self.held.extend_from_slice(&read[from..]);
        to
    }
}

impl<S: AsyncRead + Unpin> Tolerant<S> {
    /// Reads what is missing of the frame that is held, and no more.
    fn poll_held(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let had = self.held.len();
        let size = self.held.first_chunk().map_or(HEAD, size);
        self.held.resize(size, 0);
        let mut missing = ReadBuf::new(&mut self.held[had..]);
        let polled = Pin::new(&mut self.stream).poll_read(context, &mut missing);
        let read = missing.filled().len();
        self.held.truncate(had + read);
        ready!(polled)?;
        if read == 0 {
            // Cut off by the end.
            self.ready = true;
        } else if let Some(head) = self.held.first_chunk() {
            if !is_read(head) {
                self.passing = self::size(head) - HEAD;
                self.ready = true;
            } else if self.held.len() == self::size(head) {
                let kept = rewrite(&mut self.held);
                self.held.truncate(kept);
                self.ready = true;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tolerant<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.ready {
                let count = this.held.len().min(buffer.remaining());
                buffer.put_slice(&this.held[..count]);
                this.held.advance(count);
                if this.held.is_empty() {
                    this.held = BytesMut::new();
                    this.ready = false;
                }
                return Poll::Ready(Ok(()));
            }
            if !this.held.is_empty() {
                ready!(this.poll_held(context))?;
                continue;
            }
            let start = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
            let read = &mut buffer.filled_mut()[start..];
            let kept = this.walk(read);
            buffer.set_filled(start + kept);
            // Nothing handed out would mean the end.
            if kept > 0 || this.held.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tolerant<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Moves bytes to the front, where something before them became shorter.
fn shift(bytes: &mut [u8], from: Range<usize>, to: usize) {
    if from.start != to {
        bytes.copy_within(from, to);
    }
}

/// Of the whole frame.
fn size(head: &[u8; HEAD]) -> usize {
    HEAD + u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize
}

/// Whether this frame alone carries all fields of a request, and is not to be refused anyway.
fn is_read(head: &[u8; HEAD]) -> bool {
    head[3] == HEADERS
        && head[4] & END_HEADERS != 0
        && (HEAD + 1..=HEAD + LARGEST).contains(&size(head))
}

/// Gives a whole frame an acceptable authority, where it says one and is well formed; its new size.
fn rewrite(frame: &mut [u8]) -> usize {
    let Some(value) = authority(frame) else {
        return frame.len();
    };
    let end = value.start + ACCEPTABLE.len();
    let kept = frame.len() - (value.end - end);
    frame[value.start..end].copy_from_slice(ACCEPTABLE);
    shift(frame, value.end..frame.len(), end);
    frame[..3].copy_from_slice(&((kept - HEAD) as u32).to_be_bytes()[1..]);
    kept
}

/// Where the only value of `:authority` stands, its length included, if it is not empty.
fn authority(frame: &[u8]) -> Option<Range<usize>> {
    let flags = frame[4];
    let (mut start, mut end) = (HEAD, frame.len());
    if flags & PADDED != 0 {
        end = end.checked_sub(usize::from(*frame.get(start)?))?;
        start += 1;
    }
    if flags & PRIORITY != 0 {
        start += 5;
    }
    let mut fields = Fields {
        bytes: frame.get(..end)?,
        at: start,
    };
    let mut found = None;
    // RFC 7541, section 6: the first bits tell what it is, then an integer follows.
    while let Some(first) = fields.bytes.get(fields.at) {
        let prefix = match first {
            0x80.. => 7,
            0x40.. => 6,
            0x20.. => 5,
            _ => 4,
        };
        let index = fields.integer(prefix)?;
        // An indexed field, or a new size of the table.
        if matches!(prefix, 7 | 5) {
            continue;
        }
        if index == 0 {
            fields.string()?;
        }
        let value = fields.string()?;
        if index == AUTHORITY && (value.len() < ACCEPTABLE.len() || found.replace(value).is_some())
        {
            return None;
        }
    }
    found
}

/// A walk over a header block (RFC 7541, section 5).
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// An integer that begins in the last `prefix` bits of a byte.
    fn integer(&mut self, prefix: u32) -> Option<usize> {
        let most = (1 << prefix) - 1;
        let mut value = usize::from(self.byte()?) & most;
        if value < most {
            return Some(value);
        }
        // `h2` reads no longer ones either.
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Where a string stands, its length included.
    fn string(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        let length = self.integer(7)?;
        self.at += length;
        (self.at <= self.bytes.len()).then_some(start..self.at)
    }
}

#[cfg(test)]
mod tests;
