//! One ext_proc stream: its messages go to the conversation, its answers come from Python.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::accesslog::Ending;
use crate::conversation::{Conversation, Said};
use crate::grpc::{INVALID_ARGUMENT, Reader, Stop, UNAVAILABLE, Writer, within};
use crate::hub::{Answer, Event, Lane};
use crate::usage::Usage;

use super::link::Link;

/// One ext_proc stream. However its task ends, Python is told that the request is over.
pub struct Session {
    lane: Lane,
    link: Arc<Link>,
    number: u64,
    pool: Arc<str>,
    /// The call's metadata named the pool; else the first message's attributes may.
    named: bool,
    /// Our own Envoy asks.
    lean: bool,
    /// Boxed: it is large, and the task that holds it is moved about when it starts.
    talk: Box<Conversation>,
    /// Python knows of the stream.
    known: bool,
    /// Python has been told of the end, or caused it.
    ended: bool,
}

impl Session {
    pub fn new(
        lane: Lane,
        link: Arc<Link>,
        pool: Option<Arc<str>>,
        lean: bool,
        fallbacks: bool,
    ) -> Session {
        let number = lane.next_number();
        let hub = &lane.hub;
        let named = pool.is_some();
        let pool = pool.unwrap_or_else(|| {
            let pools = hub.pools.read().unwrap_or_else(PoisonError::into_inner);
            pools.unnamed.clone().unwrap_or_else(|| Arc::from(""))
        });
        hub.counters.streams.fetch_add(1, Ordering::Relaxed);
        Session {
            talk: Box::new(Conversation::new(
                hub.settings.clone(),
                number,
                lean,
                fallbacks,
            )),
            lane,
            link,
            number,
            pool,
            named,
            lean,
            known: false,
            ended: false,
        }
    }

    pub async fn run(mut self, mut reader: Reader, mut writer: Writer, deadline: Option<Instant>) {
        let stopped = within(deadline, self.converse(&mut reader, &mut writer)).await;
        if let Err(Stop::Refused(status, text)) = &stopped
            && *status != UNAVAILABLE
        {
            self.lane
                .tell(Event::Warning(format!("ext_proc stream failed: {text}")));
        }
        writer.stop(stopped);
    }

    /// Until the conversation leaves the stream (Ok) or the stream stops.
    async fn converse(&mut self, reader: &mut Reader, writer: &mut Writer) -> Result<(), Stop> {
        let mut waiting: Option<oneshot::Receiver<Answer>> = None;
        let mut first = true;
        let mut queued = false;
        while !self.talk.leaving {
            let message = match &mut waiting {
                None => reader.next().await,
                Some(answer) => tokio::select! {
                    biased;
                    answer = &mut *answer => {
                        waiting = self.answered(answer)?;
                        queued = waiting.is_some();
                        self.flush(reader, writer).await?;
                        continue;
                    }
                    message = reader.next() => match message {
                        // The peer has said all it will say. It gets the answer that is under way; a request that
                        // waits for its turn is given up, since Envoy ends a stream so when its client has gone.
                        Err(Stop::Closed) if !queued => {
                            let answer = tokio::select! {
                                answer = answer => answer,
                                () = writer.gone() => return Err(Stop::Cancelled),
                            };
                            waiting = self.answered(answer)?;
                            self.flush(reader, writer).await?;
                            let answered = waiting.is_none() || self.talk.routed();
                            return answered.then_some(()).ok_or(Stop::Closed);
                        }
                        message => message,
                    },
                },
            };
            let message = message?;
            reader.hold(self.lane.wait_for_room()).await?;
            if let Some(answer) = self.take(message, std::mem::take(&mut first)).await? {
                waiting = Some(answer);
            }
            self.flush(reader, writer).await?;
        }
        Ok(())
    }

    fn find_pool(&mut self) {
        let pools = self.lane.hub.pools.read();
        let pools = pools.unwrap_or_else(PoisonError::into_inner);
        let names = &self.talk.pool_names;
        let meant = names
            .iter()
            .find_map(|name| pools.served.get(name.as_str()));
        if let Some(pool) = meant.cloned() {
            self.pool = pool;
        }
    }

    fn unknown(&self) -> String {
        if self.pool.is_empty() {
            return "no pool was named".to_owned();
        }
        format!("pool {} is not known to this picker", self.pool)
    }

    fn served(&self) -> bool {
        let pools = self.lane.hub.pools.read();
        pools
            .unwrap_or_else(PoisonError::into_inner)
            .served
            .contains(&self.pool)
    }

    /// Hears one message; where the answer to it will come, when it asks for one.
    async fn take(
        &mut self,
        message: Bytes,
        first: bool,
    ) -> Result<Option<oneshot::Receiver<Answer>>, Stop> {
        // A test of what a fault of ours does to the streams around it.
        assert!(!(cfg!(test) && message.ends_with(b"panic")), "asked for");
        let mut all = self
            .talk
            .receive(message)
            .map_err(|error| Stop::Refused(INVALID_ARGUMENT, error.0))?;
        while self.talk.scanning() {
            tokio::task::yield_now().await;
            all.extend(self.talk.scan_on());
        }
        if first && !self.named {
            self.find_pool();
        }
        if first && self.lean && !self.served() {
            // Our own Envoy heard of the pool first: its failure mode decides, as if no picker were there.
            self.talk.refuse_all();
            return Err(Stop::Refused(UNAVAILABLE, self.unknown()));
        }
        let arrives = |said: &Said| matches!(said, Said::Arrived(_) | Said::Unread { .. });
        if (first || all.iter().any(arrives)) && !self.served() {
            let request_id = self.talk.refuse_all();
            let answer = self.lane.expect(self.number);
            self.lane.tell(Event::UnknownPool {
                stream: self.number,
                pool: self.pool.clone(),
                request_id,
            });
            return Ok(Some(answer));
        }
        let mut waiting = None;
        for said in all {
            match said {
                Said::Arrived(_) | Said::Unread { .. } | Said::TooLarge { .. } => {
                    self.known = true;
                    waiting = Some(self.lane.expect(self.number));
                }
                Said::Over { .. } => self.ended = true,
                Said::Started { .. } | Said::Stored { .. } | Said::FirstToken => {}
            }
            self.lane.tell(Event::Said {
                stream: self.number,
                pool: self.pool.clone(),
                said,
            });
        }
        if self.talk.leaving {
            self.leave();
        }
        Ok(waiting)
    }

    /// Says that the access log will tell the end, if it will and that was not said.
    fn leave(&mut self) {
        if self.talk.awaits_log() && !self.ended {
            self.ended = true;
            self.lane.tell(Event::Left {
                stream: self.number,
                pool: self.pool.clone(),
                link: self.link.number,
            });
            self.link.told();
        }
    }

    /// Where the next answer will come, when this was not the last one.
    fn answered(
        &mut self,
        answer: Result<Answer, oneshot::error::RecvError>,
    ) -> Result<Option<oneshot::Receiver<Answer>>, Stop> {
        // One that will never come: Python failed, or the server is being stopped.
        match answer.map_err(|_| Stop::Cancelled)? {
            Answer::Route {
                endpoints,
                target,
                decision,
                read,
                headers,
                stays,
                next,
            } => {
                self.talk
                    .route(&endpoints, target, &decision, read, &headers, stays);
                if self.talk.leaving {
                    self.leave();
                }
                return Ok(next);
            }
            Answer::Last(message) => {
                let routed = self.talk.routed();
                let over = self.talk.answer(&message);
                // A routed request whose answer has begun goes on.
                self.ended |= !routed || over.is_some();
                if let Some(said) = over {
                    let (stream, pool) = (self.number, self.pool.clone());
                    self.lane.tell(Event::Said { stream, pool, said });
                }
            }
            Answer::Wait(message, next) => {
                self.talk.wait(&message);
                return Ok(next);
            }
            Answer::Fail => return Err(Stop::Cancelled),
        }
        Ok(None)
    }

    async fn flush(&mut self, reader: &mut Reader, writer: &mut Writer) -> Result<(), Stop> {
        while let Some(message) = self.talk.outbox.pop_front() {
            reader.hold(writer.send(message)).await??;
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.lane.forget(self.number);
        self.lane
            .hub
            .counters
            .streams
            .fetch_sub(1, Ordering::Relaxed);
        if !std::thread::panicking() {
            self.leave();
        }
        let lane = &self.lane;
        let over = if std::thread::panicking() {
            lane.hub.counters.panics.fetch_add(1, Ordering::Relaxed);
            // The conversation is in no known state; the request has lost its picker.
            (self.known && !self.ended).then_some(Said::Over {
                ending: Ending::Aborted,
                status: None,
                usage: Usage::None,
                served: None,
            })
        } else {
            self.talk.closed()
        };
        let (stream, pool) = (self.number, self.pool.clone());
        match over {
            Some(said) => lane.tell(Event::Said { stream, pool, said }),
            None if self.known && !self.ended => lane.tell(Event::Closed { stream }),
            None => {}
        }
    }
}
