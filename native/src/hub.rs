//! Between the transport's threads and the one thread of Python: events wait here until they are taken in a batch,
//! and answers find their stream.
//!
//! The first event after a quiet spell wakes Python as soon as the streams that are ready on its thread have been
//! heard; while Python works, later ones gather and are taken together. So a single request is not delayed, and a
//! burst pays for one wake-up. Each transport thread is a [`Lane`]: answers to its streams are posted there together
//! and handed out on that thread.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot, watch};

use crate::accesslog::Entry;
use crate::conversation::{Said, Settings};

/// What Python is told.
pub enum Event {
    Said {
        stream: u64,
        pool: Arc<str>,
        said: Said,
    },
    /// The stream asks for a pool that is not served here.
    UnknownPool {
        stream: u64,
        pool: Arc<str>,
        request_id: Bytes,
    },
    /// The stream was left early: the access log will tell the end.
    Left {
        stream: u64,
        pool: Arc<str>,
        link: u64,
    },
    /// The stream is gone and said all it had to say.
    Closed {
        stream: u64,
    },
    Logged(Entry),
    LogOpened {
        link: u64,
    },
    /// An access log says which Envoy writes it: the node's id and, after an `@`, where it is.
    LogNode {
        link: u64,
        node: String,
    },
    LogClosed {
        link: u64,
    },
    /// A connection is gone of which `Left` or the access log told.
    LinkClosed {
        link: u64,
    },
    Warning(String),
}

/// What Python answers.
pub enum Answer {
    Route {
        endpoints: String,
        target: Option<String>,
        decision: String,
        /// Model and streaming of a body that was read in Python.
        read: Option<(Option<String>, bool)>,
        /// Request headers for the server that answers.
        headers: Vec<(String, String)>,
        /// The request may be asked for back by a `Last`; where that comes, the lane adds.
        stays: bool,
        next: Option<oneshot::Receiver<Answer>>,
    },
    /// A serialised message that ends the stream.
    Last(Bytes),
    /// A serialised message, and the answer is still to come; where, the lane adds.
    Wait(Bytes, Option<oneshot::Receiver<Answer>>),
    /// There is no answer: the stream is reset.
    Fail,
}

/// The pools that are served.
#[derive(Default)]
pub struct Pools {
    pub served: HashSet<Arc<str>>,
    /// The pool of streams that name none.
    pub unnamed: Option<Arc<str>>,
}

impl Event {
    /// Bytes of the peer's that it holds, about; small ones are not counted.
    fn bytes(&self) -> usize {
        match self {
            Event::Said {
                said: Said::Unread { body, .. },
                ..
            } => body.len(),
            Event::Said {
                said: Said::Arrived(arrival),
                ..
            } => arrival.reading.as_ref().map_or(0, |reading| {
                reading.blocks.len() + reading.tools_first.len()
            }),
            _ => 0,
        }
    }
}

#[derive(Default)]
pub struct Counters {
    /// Connections so far that came to speak HTTP/2.
    pub links: AtomicU64,
    pub connections: AtomicUsize,
    pub refused_connections: AtomicU64,
    pub streams: AtomicUsize,
    pub events: AtomicU64,
    pub batches: AtomicU64,
    pub panics: AtomicU64,
}

/// What a transport thread shares with Python's.
#[derive(Default)]
struct Desk {
    /// Answers that the thread has not handed out.
    posted: Mutex<Vec<(u64, Answer)>>,
    /// Where the answers will come that its streams wait for.
    expected: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    /// Python is to be woken, once the streams that are ready have been heard.
    ring: AtomicBool,
    /// Streams opened so far.
    streams: AtomicU64,
    work: Notify,
}

pub struct Hub {
    pub settings: Arc<Settings>,
    pub pools: RwLock<Pools>,
    pub counters: Counters,
    pub ready: watch::Sender<bool>,
    /// Events that may lie here: beyond, streams wait before they read on.
    backlog: usize,
    lying: AtomicUsize,
    /// Bytes of what lies here.
    bytes: AtomicUsize,
    taken: Notify,
    events: Mutex<Vec<Event>>,
    rung: AtomicBool,
    bell: UnixStream,
    ear: UnixStream,
    desks: Vec<Desk>,
}

/// Bytes that may lie here: beyond, streams wait before they read on.
const LYING_BYTES: usize = 64 << 20;
/// Events that gather at most before Python is woken while more streams are ready.
const BURST: usize = 16;

/// A panic elsewhere does not make plain collections unusable.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// *threads* transport threads, each with a lane.
    pub fn new(settings: Settings, backlog: usize, threads: usize) -> std::io::Result<Hub> {
        let (bell, ear) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        Ok(Hub {
            settings: Arc::new(settings),
            pools: RwLock::default(),
            counters: Counters::default(),
            ready: watch::Sender::new(false),
            backlog,
            lying: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            taken: Notify::new(),
            events: Mutex::default(),
            rung: AtomicBool::new(false),
            bell,
            ear,
            desks: (0..threads).map(|_| Desk::default()).collect(),
        })
    }

    /// Readable when events wait.
    pub fn ear(&self) -> &UnixStream {
        &self.ear
    }

    /// Wakes Python, unless it has been woken and has not looked yet.
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // A full socket is readable already.
            let _ = (&self.bell).write(&[1]);
        }
    }

    /// All events so far.
    pub fn take(&self) -> Vec<Event> {
        let mut sink = [0; 64];
        while matches!((&self.ear).read(&mut sink), Ok(count) if count == sink.len()) {}
        self.rung.store(false, Ordering::Release);
        let events = {
            let mut events = lock(&self.events);
            self.lying.store(0, Ordering::Release);
            self.bytes.store(0, Ordering::Release);
            let room = Vec::with_capacity(events.len());
            std::mem::replace(&mut *events, room)
        };
        self.taken.notify_waiters();
        if !events.is_empty() {
            self.counters
                .events
                .fetch_add(events.len() as u64, Ordering::Relaxed);
            self.counters.batches.fetch_add(1, Ordering::Relaxed);
        }
        events
    }

    /// Hands answers to their streams; those whose stream has gone are dropped.
    pub fn answer(&self, all: Vec<(u64, Answer)>) {
        let mut sorted: Vec<Vec<(u64, Answer)>> = self.desks.iter().map(|_| Vec::new()).collect();
        for (stream, answer) in all {
            sorted[stream as usize % self.desks.len()].push((stream, answer));
        }
        for (desk, answers) in self.desks.iter().zip(sorted) {
            if !answers.is_empty() {
                lock(&desk.posted).extend(answers);
                desk.work.notify_one();
            }
        }
    }
}

/// The hub as one transport thread sees it.
#[derive(Clone)]
pub struct Lane {
    pub hub: Arc<Hub>,
    index: usize,
}

impl Lane {
    /// The lanes of all threads.
    pub fn all(hub: &Arc<Hub>) -> Vec<Lane> {
        let lane = |index| Lane {
            hub: hub.clone(),
            index,
        };
        (0..hub.desks.len()).map(lane).collect()
    }

    fn desk(&self) -> &Desk {
        &self.hub.desks[self.index]
    }

    /// A number for a new stream; it leads answers back here.
    pub fn next_number(&self) -> u64 {
        let desks = self.hub.desks.len() as u64;
        let count = self.desk().streams.fetch_add(1, Ordering::Relaxed) + 1;
        count * desks + self.index as u64
    }

    /// Hands an event to Python.
    pub fn tell(&self, event: Event) {
        let hub = &self.hub;
        let lying = {
            let mut events = lock(&hub.events);
            hub.bytes.fetch_add(event.bytes(), Ordering::Release);
            events.push(event);
            hub.lying.store(events.len(), Ordering::Release);
            events.len()
        };
        // Python clears the mark before it takes: it has yet to take whatever was told before that.
        if hub.rung.load(Ordering::Acquire) {
            return;
        }
        let desk = self.desk();
        if lying >= BURST {
            desk.ring.store(false, Ordering::Relaxed);
            hub.ring();
        } else if !desk.ring.swap(true, Ordering::Relaxed) {
            desk.work.notify_one();
        }
    }

    /// Waits until Python has taken enough of what lies here; to be called before more is read.
    pub async fn wait_for_room(&self) {
        let hub = &self.hub;
        let full = || {
            hub.lying.load(Ordering::Acquire) >= hub.backlog
                || hub.bytes.load(Ordering::Acquire) >= LYING_BYTES
        };
        while full() {
            let taken = hub.taken.notified();
            if full() {
                taken.await;
            }
        }
    }

    /// The place where the answer to a stream will come.
    pub fn expect(&self, stream: u64) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.desk().expected).insert(stream, sender);
        receiver
    }

    pub fn forget(&self, stream: u64) {
        lock(&self.desk().expected).remove(&stream);
    }

    /// The lane's own task, for ever. It is woken behind the streams that are ready, so that one ring tells of them all.
    pub async fn attend(self) {
        let desk = self.desk();
        loop {
            desk.work.notified().await;
            if desk.ring.swap(false, Ordering::Relaxed) {
                self.hub.ring();
            }
            let posted = std::mem::take(&mut *lock(&desk.posted));
            let mut expected = lock(&desk.expected);
            for (stream, answer) in posted {
                let Some(sender) = expected.remove(&stream) else {
                    continue;
                };
                let mut answer = answer;
                if let Answer::Route {
                    stays: true, next, ..
                } = &mut answer
                {
                    let (sender, receiver) = oneshot::channel();
                    expected.insert(stream, sender);
                    *next = Some(receiver);
                }
                let answer = match answer {
                    // A sender that is dropped tells its stream that nothing will come.
                    Answer::Fail => continue,
                    Answer::Wait(message, _) => {
                        let (next, receiver) = oneshot::channel();
                        expected.insert(stream, next);
                        Answer::Wait(message, Some(receiver))
                    }
                    answer => answer,
                };
                let _ = sender.send(answer);
            }
        }
    }
}
