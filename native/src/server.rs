//! Sockets, connections and the gRPC services: ext_proc, access log, health.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::Request;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio_rustls::TlsAcceptor;

use crate::accesslog::{Ending, read_entries};
use crate::conversation::{Conversation, Said, framed};
use crate::grpc::{
    INVALID_ARGUMENT, NOT_FOUND, OK, Reader, Stop, UNAVAILABLE, UNIMPLEMENTED, Writer,
};
use crate::hub::{Answer, Event, Hub};
use crate::proto::{HealthCheckRequest, HealthCheckResponse, health};
use crate::usage::Usage;

const PROCESS: &str = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";
const ACCESS_LOG: &str = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";
const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
/// Services whose health is told; `liveness` says that the process runs, the others that requests should come.
const HEALTH_NAMES: [&str; 5] = [
    "",
    "liveness",
    "readiness",
    "inference-extension",
    "envoy.service.ext_proc.v3.ExternalProcessor",
];

const HANDSHAKE: Duration = Duration::from_secs(10);
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
const UNSENT_BYTES: usize = 1 << 20;

/// Certificates for new connections; None: plain text.
pub type Tls = Arc<RwLock<Option<Arc<rustls::ServerConfig>>>>;

#[derive(Clone, Copy)]
pub struct Limits {
    pub connections: usize,
    /// Streams of one connection.
    pub streams: u32,
    pub message_bytes: usize,
}

/// What a listening socket serves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Services {
    All,
    Health,
}

/// Accepts connections until `drain` turns true; then existing ones may finish their streams.
pub async fn accept(
    listener: TcpListener,
    hub: Arc<Hub>,
    services: Services,
    limits: Limits,
    tls: Tls,
    mut drain: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(limits.connections));
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(_) => {
                    // Out of file descriptors, or the peer has gone already.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
            () = drained(&mut drain) => return,
        };
        let Ok(permit) = room.clone().try_acquire_owned() else {
            hub.counters
                .refused_connections
                .fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let _ = socket.set_nodelay(true);
        let (hub, drain) = (hub.clone(), drain.clone());
        let config = tls.read().unwrap_or_else(PoisonError::into_inner).clone();
        tokio::spawn(async move {
            hub.counters.connections.fetch_add(1, Ordering::Relaxed);
            connection(socket, config, hub.clone(), services, limits, drain).await;
            hub.counters.connections.fetch_sub(1, Ordering::Relaxed);
            drop(permit);
        });
    }
}

async fn drained(drain: &mut watch::Receiver<bool>) {
    let _ = drain.wait_for(|now| *now).await;
}

async fn connection(
    socket: TcpStream,
    config: Option<Arc<rustls::ServerConfig>>,
    hub: Arc<Hub>,
    services: Services,
    limits: Limits,
    drain: watch::Receiver<bool>,
) {
    match config {
        None => serve(socket, hub, services, limits, drain).await,
        Some(config) => {
            let accepted = TlsAcceptor::from(config).accept(socket);
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, accepted).await {
                serve(stream, hub, services, limits, drain).await;
            }
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    hub: Arc<Hub>,
    services: Services,
    limits: Limits,
    mut drain: watch::Receiver<bool>,
) {
    let handshake = h2::server::Builder::new()
        .max_concurrent_streams(limits.streams)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(UNSENT_BYTES)
        // Neither a burst of clients that go away nor what was on its way to a stream we left ends the connection
        // that all streams share.
        .max_pending_accept_reset_streams(limits.streams as usize)
        .max_local_error_reset_streams(None)
        .handshake::<_, Bytes>(socket);
    let Ok(Ok(mut connection)) = tokio::time::timeout(HANDSHAKE, handshake).await else {
        return;
    };
    let mut draining = false;
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    tokio::spawn(dispatch(hub.clone(), services, limits, request, respond));
                }
                Some(Err(_)) | None => return,
            },
            () = drained(&mut drain), if !draining => {
                draining = true;
                connection.graceful_shutdown();
            }
        }
    }
}

async fn dispatch(
    hub: Arc<Hub>,
    services: Services,
    limits: Limits,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let (head, body) = request.into_parts();
    let reader = Reader::new(body, limits.message_bytes);
    let writer = Writer::new(respond);
    let path = head.uri.path();
    match path {
        CHECK => check(&hub, reader, writer).await,
        WATCH => watch_health(&hub, reader, writer).await,
        PROCESS if services == Services::All => {
            let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
            let names = &hub.settings.names;
            let pool = text(&names.pool).map(Arc::from);
            let lean = text(&names.lean) == Some("1");
            let fallbacks = text(&names.fallbacks) == Some("1");
            let session = Session::new(hub.clone(), pool, lean, fallbacks);
            if lean && !session.served() {
                // Our own Envoy heard of the pool first: its failure mode decides, as if no picker were there.
                let text = format!("pool {} is not known to this picker", session.pool);
                return writer.finish(UNAVAILABLE, &text);
            }
            session.run(reader, writer).await;
        }
        ACCESS_LOG if services == Services::All => {
            hub.tell(Event::LogOpened);
            let open = LogStream { hub: &hub };
            access_log(&hub, reader, writer).await;
            drop(open);
        }
        _ => writer.finish(UNIMPLEMENTED, "no such method"),
    }
}

/// Says that an access-log stream has ended, however it did.
struct LogStream<'a> {
    hub: &'a Hub,
}

impl Drop for LogStream<'_> {
    fn drop(&mut self) {
        self.hub.tell(Event::LogClosed);
    }
}

async fn access_log(hub: &Hub, mut reader: Reader, mut writer: Writer) {
    loop {
        let data = match reader.next().await {
            Ok(data) => data,
            Err(Stop::Closed) => {
                // The service's one answer is an empty message.
                if writer.send(framed(b"")).await.is_ok() {
                    writer.finish(OK, "");
                }
                return;
            }
            Err(Stop::Cancelled) => return,
            Err(Stop::Refused(code, text)) => return writer.finish(code, &text),
        };
        hub.wait_for_room().await;
        match read_entries(&data, &hub.settings.names) {
            Ok(entries) => {
                for entry in entries {
                    hub.tell(Event::Logged(entry));
                }
            }
            Err(_) => {
                return writer.finish(INVALID_ARGUMENT, "not a StreamAccessLogsMessage");
            }
        }
    }
}

fn health_of(service: &str, ready: bool) -> i32 {
    if !HEALTH_NAMES.contains(&service) {
        health::SERVICE_UNKNOWN
    } else if ready || service == "liveness" {
        health::SERVING
    } else {
        health::NOT_SERVING
    }
}

/// The name asked for; None: the stream has been ended.
async fn health_name(reader: &mut Reader, writer: Writer) -> Option<(String, Writer)> {
    let data = match reader.next().await {
        Ok(data) => data,
        Err(Stop::Refused(code, text)) => {
            writer.finish(code, &text);
            return None;
        }
        Err(Stop::Closed | Stop::Cancelled) => return None,
    };
    match HealthCheckRequest::decode(data) {
        Ok(request) => Some((request.service, writer)),
        Err(_) => {
            writer.finish(INVALID_ARGUMENT, "not a HealthCheckRequest");
            None
        }
    }
}

async fn check(hub: &Hub, mut reader: Reader, writer: Writer) {
    let Some((name, mut writer)) = health_name(&mut reader, writer).await else {
        return;
    };
    let status = health_of(&name, *hub.ready.borrow());
    if status == health::SERVICE_UNKNOWN {
        return writer.finish(NOT_FOUND, "unknown service");
    }
    let answer = HealthCheckResponse { status }.encode_to_vec();
    if writer.send(framed(&answer)).await.is_ok() {
        writer.finish(OK, "");
    }
}

async fn watch_health(hub: &Hub, mut reader: Reader, writer: Writer) {
    let Some((name, mut writer)) = health_name(&mut reader, writer).await else {
        return;
    };
    let mut ready = hub.ready.subscribe();
    let mut said = None;
    loop {
        let status = health_of(&name, *ready.borrow_and_update());
        if said != Some(status) {
            said = Some(status);
            let answer = HealthCheckResponse { status }.encode_to_vec();
            if writer.send(framed(&answer)).await.is_err() {
                return;
            }
        }
        tokio::select! {
            changed = ready.changed() => if changed.is_err() { return },
            () = writer.gone() => return,
        }
    }
}

/// One ext_proc stream. However its task ends, Python is told that the request is over.
struct Session {
    hub: Arc<Hub>,
    number: u64,
    pool: Arc<str>,
    /// The call's metadata named the pool; else the first message's attributes may.
    named: bool,
    talk: Conversation,
    /// Python knows of the stream.
    known: bool,
    /// Python has been told of the end, or caused it.
    ended: bool,
}

impl Session {
    fn new(hub: Arc<Hub>, pool: Option<Arc<str>>, lean: bool, fallbacks: bool) -> Session {
        let number = hub.next_number();
        let named = pool.is_some();
        let pool = pool.unwrap_or_else(|| {
            let pools = hub.pools.read().unwrap_or_else(PoisonError::into_inner);
            pools.unnamed.clone().unwrap_or_else(|| Arc::from(""))
        });
        hub.counters.streams.fetch_add(1, Ordering::Relaxed);
        Session {
            talk: Conversation::new(hub.settings.clone(), number, lean, fallbacks),
            hub,
            number,
            pool,
            named,
            known: false,
            ended: false,
        }
    }

    async fn run(mut self, mut reader: Reader, mut writer: Writer) {
        match self.converse(&mut reader, &mut writer).await {
            Ok(()) | Err(Stop::Closed) => {
                writer.finish(OK, "");
            }
            Err(Stop::Cancelled) => writer.reset(),
            Err(Stop::Refused(code, text)) => {
                self.hub
                    .tell(Event::Warning(format!("ext_proc stream failed: {text}")));
                writer.finish(code, &text);
            }
        }
    }

    /// Until the conversation leaves the stream (Ok) or the stream stops.
    async fn converse(&mut self, reader: &mut Reader, writer: &mut Writer) -> Result<(), Stop> {
        let mut waiting: Option<oneshot::Receiver<Answer>> = None;
        let mut first = true;
        while !self.talk.leaving {
            let message = match &mut waiting {
                None => reader.next().await,
                Some(answer) => tokio::select! {
                    biased;
                    answer = &mut *answer => {
                        waiting = None;
                        self.answered(answer)?;
                        self.flush(writer).await?;
                        continue;
                    }
                    message = reader.next() => match message {
                        // The peer has said all it will say, and still waits for this answer.
                        Err(Stop::Closed) => {
                            let answer = tokio::select! {
                                answer = answer => answer,
                                () = writer.gone() => return Err(Stop::Cancelled),
                            };
                            self.answered(answer)?;
                            return self.flush(writer).await;
                        }
                        message => message,
                    },
                },
            };
            let message = message?;
            self.hub.wait_for_room().await;
            if let Some(answer) = self.take(message, std::mem::take(&mut first))? {
                waiting = Some(answer);
            }
            self.flush(writer).await?;
        }
        Ok(())
    }

    fn find_pool(&mut self) {
        let pools = self.hub.pools.read();
        let pools = pools.unwrap_or_else(PoisonError::into_inner);
        let names = &self.talk.pool_names;
        let meant = names
            .iter()
            .find_map(|name| pools.served.get(name.as_str()));
        if let Some(pool) = meant.cloned() {
            self.pool = pool;
        }
    }

    fn served(&self) -> bool {
        let pools = self.hub.pools.read();
        pools
            .unwrap_or_else(PoisonError::into_inner)
            .served
            .contains(&self.pool)
    }

    /// Hears one message; where the answer to it will come, when it asks for one.
    fn take(
        &mut self,
        message: Bytes,
        first: bool,
    ) -> Result<Option<oneshot::Receiver<Answer>>, Stop> {
        // A test of what a fault of ours does to the streams around it.
        assert!(!(cfg!(test) && message.ends_with(b"panic")), "asked for");
        let all = self
            .talk
            .receive(message)
            .map_err(|error| Stop::Refused(INVALID_ARGUMENT, error.0))?;
        if first && !self.named {
            self.find_pool();
        }
        let arrives = |said: &Said| matches!(said, Said::Arrived(_) | Said::Unread { .. });
        if (first || all.iter().any(arrives)) && !self.served() {
            let request_id = self.talk.refuse_all();
            let answer = self.hub.expect(self.number);
            self.hub.tell(Event::UnknownPool {
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
                    waiting = Some(self.hub.expect(self.number));
                }
                Said::Over { .. } => self.ended = true,
                Said::Started { .. } | Said::FirstBytes => {}
            }
            self.hub.tell(Event::Said {
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
            self.hub.tell(Event::Left {
                stream: self.number,
                pool: self.pool.clone(),
            });
        }
    }

    fn answered(&mut self, answer: Result<Answer, oneshot::error::RecvError>) -> Result<(), Stop> {
        // One that will never come: Python failed, or the server is being stopped.
        match answer.map_err(|_| Stop::Cancelled)? {
            Answer::Route {
                endpoints,
                target,
                decision,
                read,
            } => {
                self.talk.route(&endpoints, target, &decision, read);
                if self.talk.leaving {
                    self.leave();
                }
            }
            Answer::Last(message) => {
                self.ended = true;
                self.talk.answer(&message);
            }
            Answer::Fail => return Err(Stop::Cancelled),
        }
        Ok(())
    }

    async fn flush(&mut self, writer: &mut Writer) -> Result<(), Stop> {
        while let Some(message) = self.talk.outbox.pop_front() {
            writer.send(message).await?;
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.hub.forget(self.number);
        self.hub.counters.streams.fetch_sub(1, Ordering::Relaxed);
        if !std::thread::panicking() {
            self.leave();
        }
        let hub = &self.hub;
        let over = if std::thread::panicking() {
            hub.counters.panics.fetch_add(1, Ordering::Relaxed);
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
            Some(said) => hub.tell(Event::Said { stream, pool, said }),
            None if self.known && !self.ended => hub.tell(Event::Closed { stream }),
            None => {}
        }
    }
}

/// Binds a listening socket; port 0 means any free one.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        tokio::net::TcpSocket::new_v4()?
    } else {
        tokio::net::TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4096)
}
