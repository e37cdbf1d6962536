//! Between the transport's threads and the one thread of Python: events wait here until they are taken in a batch,
//! and answers find their stream.
//!
//! The first event after a quiet spell wakes Python at once; while Python works, later ones gather and are taken
//! together. So a single request is not delayed, and a burst pays for one wake-up.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use tokio::sync::{Semaphore, oneshot, watch};

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
        request_id: String,
    },
    /// The stream was left early: the access log will tell the end.
    Left {
        stream: u64,
        pool: Arc<str>,
    },
    /// The stream is gone and said all it had to say.
    Closed {
        stream: u64,
    },
    Logged(Entry),
    LogOpened,
    LogClosed,
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
    },
    /// A serialised message that ends the stream.
    Last(Bytes),
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

#[derive(Default)]
pub struct Counters {
    pub connections: AtomicUsize,
    pub refused_connections: AtomicU64,
    pub streams: AtomicUsize,
    pub events: AtomicU64,
    pub batches: AtomicU64,
    pub panics: AtomicU64,
}

pub struct Hub {
    pub settings: Arc<Settings>,
    pub pools: RwLock<Pools>,
    pub counters: Counters,
    pub ready: watch::Sender<bool>,
    /// Room for messages whose events Python has not taken: streams wait for it before they read on.
    room: Semaphore,
    borrowed: AtomicUsize,
    events: Mutex<Vec<Event>>,
    told: AtomicBool,
    bell: UnixStream,
    ear: UnixStream,
    answers: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    number: AtomicU64,
}

/// A panic elsewhere does not make plain collections unusable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    pub fn new(settings: Settings, backlog: usize) -> std::io::Result<Hub> {
        let (bell, ear) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        Ok(Hub {
            settings: Arc::new(settings),
            pools: RwLock::default(),
            counters: Counters::default(),
            ready: watch::Sender::new(false),
            room: Semaphore::new(backlog),
            borrowed: AtomicUsize::new(0),
            events: Mutex::default(),
            told: AtomicBool::new(false),
            bell,
            ear,
            answers: Mutex::default(),
            number: AtomicU64::new(0),
        })
    }

    /// Readable when events wait.
    pub fn ear(&self) -> &UnixStream {
        &self.ear
    }

    pub fn next_number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Hands an event to Python.
    pub fn tell(&self, event: Event) {
        lock(&self.events).push(event);
        self.ring();
    }

    /// Has Python take what there is.
    fn ring(&self) {
        if !self.told.swap(true, Ordering::AcqRel) {
            // A full socket is readable already.
            let _ = (&self.bell).write(&[1]);
        }
    }

    /// Waits until Python has taken enough of what lies here; to be called before more is read.
    pub async fn wait_for_room(&self) {
        if let Ok(permit) = self.room.acquire().await {
            permit.forget();
            self.borrowed.fetch_add(1, Ordering::Relaxed);
            if self.room.available_permits() == 0 {
                // Messages without events fill the room too, and only Python clears it.
                self.ring();
            }
        }
    }

    /// All events so far.
    pub fn take(&self) -> Vec<Event> {
        let mut sink = [0; 64];
        while matches!((&self.ear).read(&mut sink), Ok(count) if count == sink.len()) {}
        self.told.store(false, Ordering::Release);
        let events = std::mem::take(&mut *lock(&self.events));
        self.room
            .add_permits(self.borrowed.swap(0, Ordering::Relaxed));
        if !events.is_empty() {
            self.counters
                .events
                .fetch_add(events.len() as u64, Ordering::Relaxed);
            self.counters.batches.fetch_add(1, Ordering::Relaxed);
        }
        events
    }

    /// The place where the answer to a stream will come.
    pub fn expect(&self, stream: u64) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.answers).insert(stream, sender);
        receiver
    }

    pub fn forget(&self, stream: u64) {
        lock(&self.answers).remove(&stream);
    }

    /// Answers whose stream has gone are dropped.
    pub fn answer(&self, all: Vec<(u64, Answer)>) {
        let mut found = Vec::with_capacity(all.len());
        {
            let mut answers = lock(&self.answers);
            for (stream, answer) in all {
                if let Some(sender) = answers.remove(&stream) {
                    found.push((sender, answer));
                }
            }
        }
        for (sender, answer) in found {
            // A sender that is dropped tells its stream that nothing will come.
            if !matches!(answer, Answer::Fail) {
                let _ = sender.send(answer);
            }
        }
    }
}
