//! What the streams of one connection share: the bytes that lie here for them, and who the peer is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::hub::{Event, Lane};

/// Bytes that may lie unread for all streams of a connection. Half of it, and windows shrink; all of it, and streams
/// that hold more than [`SHARE`] end.
pub const UNREAD_BYTES: usize = 128 << 20;
/// Bytes that any stream may have unread, whatever the others hold.
pub const SHARE: u32 = 16 << 10;

/// One connection, while it or one of its streams lives.
pub struct Link {
    lane: Lane,
    /// The connection's number; none is used twice.
    pub number: u64,
    /// Where it comes from: an IP address, or nothing for a Unix socket.
    pub host: String,
    unread: AtomicUsize,
    /// The access log is to tell of requests of this connection, or has told of some: its end means something.
    told: AtomicBool,
}

impl Link {
    pub fn new(lane: &Lane, host: String) -> Arc<Link> {
        Arc::new(Link {
            lane: lane.clone(),
            number: lane.hub.counters.links.fetch_add(1, Ordering::Relaxed) + 1,
            host,
            unread: AtomicUsize::new(0),
            told: AtomicBool::new(false),
        })
    }

    /// Bytes that lie unread for all streams.
    pub fn unread(&self) -> usize {
        self.unread.load(Ordering::Relaxed)
    }

    /// Bytes of a stream were not read on; `false`: more than may lie here.
    pub fn hold(&self, bytes: usize) -> bool {
        self.unread.fetch_add(bytes, Ordering::Relaxed) + bytes <= UNREAD_BYTES
    }

    pub fn release(&self, bytes: usize) {
        self.unread.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether requests may still run that came by this connection, though it has no stream.
    pub fn matters(&self) -> bool {
        self.told.load(Ordering::Relaxed)
    }

    /// Python is to hear of the connection's end.
    pub fn told(&self) {
        self.told.store(true, Ordering::Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if *self.told.get_mut() {
            self.lane.tell(Event::LinkClosed { link: self.number });
        }
    }
}
