//! Whether a connection lives: it says something or answers pings, and has a stream now and then.

use std::task::Context;
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Interval, MissedTickBehavior, interval_at};

/// Silent looks after which the peer counts as gone: the first one sends a ping.
const SILENT: u32 = 3;
/// Looks at most without a stream, for a connection that never had one.
const MUTE: u32 = 3;

/// What is to be done with the connection.
pub enum Finding {
    Dead,
    Idle,
}

pub struct Pulse {
    looks: Interval,
    pings: Option<PingPong>,
    silent: u32,
    without_streams: u32,
    idle: u32,
}

impl Pulse {
    /// Looks every `every`; a connection is idle when it has had no stream for `idle`.
    pub fn new(every: Duration, idle: Duration, pings: Option<PingPong>) -> Pulse {
        let mut looks = interval_at(tokio::time::Instant::now() + every, every);
        // A thread that was held up must not take a peer for dead that it did not listen to.
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let count = idle.as_secs_f64() / every.as_secs_f64();
        Pulse {
            looks,
            pings,
            silent: 0,
            without_streams: 0,
            idle: (count.ceil() as u32).max(1),
        }
    }

    /// `heard`: whether anything came since that was asked last; `streams`: whether there is one now; `spoke`: whether
    /// there ever was one.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        mut heard: impl FnMut() -> bool,
        mut streams: impl FnMut() -> bool,
        spoke: bool,
    ) -> Option<Finding> {
        if let Some(pings) = &mut self.pings {
            let _ = pings.poll_pong(context);
        }
        while self.looks.poll_tick(context).is_ready() {
            self.silent = if heard() { 0 } else { self.silent + 1 };
            if self.silent >= SILENT {
                return Some(Finding::Dead);
            }
            if self.silent > 0
                && let Some(pings) = &mut self.pings
            {
                // One that is under way already is as good.
                let _ = pings.send_ping(Ping::opaque());
            }
            self.without_streams = if streams() {
                0
            } else {
                self.without_streams + 1
            };
            let most = if spoke {
                self.idle
            } else {
                self.idle.min(MUTE)
            };
            if self.without_streams >= most {
                return Some(Finding::Idle);
            }
        }
        None
    }
}
