//! Sockets and connections: what comes is handed to the gRPC services.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::authority::Tolerant;
use crate::gather::Gathering;
use crate::grpc::{Reader, UNAVAILABLE, UNIMPLEMENTED, Writer};
use crate::hub::Lane;

mod services;
mod session;
#[cfg(test)]
mod tests;

use services::{access_log, check, watch_health};
use session::Session;

const PROCESS: &str = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";
const ACCESS_LOG: &str = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";
const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const HANDSHAKE: Duration = Duration::from_secs(10);
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;
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

/// A listening socket.
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection that no event loop watches yet.
enum Accepted {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Listener {
    async fn accept(&self) -> std::io::Result<Accepted> {
        match self {
            Listener::Tcp(listener) => {
                let (socket, _) = listener.accept().await?;
                let _ = socket.set_nodelay(true);
                socket.into_std().map(Accepted::Tcp)
            }
            Listener::Unix(listener) => {
                let (socket, _) = listener.accept().await?;
                socket.into_std().map(Accepted::Unix)
            }
        }
    }

    /// The bound port; 0 for a path.
    pub fn port(&self) -> std::io::Result<u16> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(|address| address.port()),
            Listener::Unix(_) => Ok(0),
        }
    }
}

/// A transport thread: its side of the hub, and where its tasks are started.
#[derive(Clone)]
pub struct Worker {
    pub lane: Lane,
    pub handle: Handle,
}

/// Accepts connections until `drain` turns true; then existing ones may finish their streams.
/// The workers take turns.
pub async fn accept(
    listener: Listener,
    workers: Vec<Worker>,
    services: Services,
    limits: Limits,
    tls: Tls,
    mut drain: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(limits.connections));
    for worker in workers.iter().cycle() {
        let hub = &worker.lane.hub;
        let socket = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(socket) => socket,
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
        let (lane, drain) = (worker.lane.clone(), drain.clone());
        let config = tls.read().unwrap_or_else(PoisonError::into_inner).clone();
        worker.handle.spawn(async move {
            let connections = &lane.hub.counters.connections;
            connections.fetch_add(1, Ordering::Relaxed);
            // From here on the event loop of this thread watches the socket.
            match socket {
                Accepted::Tcp(socket) => {
                    if let Ok(socket) = TcpStream::from_std(socket) {
                        connection(socket, config, &lane, services, limits, drain).await;
                    }
                }
                Accepted::Unix(socket) => {
                    if let Ok(socket) = UnixStream::from_std(socket) {
                        connection(socket, config, &lane, services, limits, drain).await;
                    }
                }
            }
            connections.fetch_sub(1, Ordering::Relaxed);
            drop(permit);
        });
    }
}

async fn drained(drain: &mut watch::Receiver<bool>) {
    let _ = drain.wait_for(|now| *now).await;
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    config: Option<Arc<rustls::ServerConfig>>,
    lane: &Lane,
    services: Services,
    limits: Limits,
    drain: watch::Receiver<bool>,
) {
    match config {
        None => serve(socket, lane, services, limits, drain).await,
        Some(config) => {
            let accepted = TlsAcceptor::from(config).accept(socket);
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, accepted).await {
                serve(stream, lane, services, limits, drain).await;
            }
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    lane: &Lane,
    services: Services,
    limits: Limits,
    mut drain: watch::Receiver<bool>,
) {
    let socket = Gathering::new(Tolerant::new(socket));
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(limits.streams)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(UNSENT_BYTES)
        // Neither a burst of clients that go away nor what was on its way to a stream we left ends the connection
        // that all streams share.
        .max_pending_accept_reset_streams(limits.streams as usize)
        .max_local_error_reset_streams(None);
    let mut handshake = pin!(builder.handshake::<_, Bytes>(socket.clone()));
    let shaken = poll_fn(|context| {
        let shaken = handshake.as_mut().poll(context);
        // A socket that takes nothing wakes this task when it does.
        match socket.poll_send(context) {
            Poll::Ready(Err(_)) => Poll::Ready(None),
            _ => shaken.map(Result::ok),
        }
    });
    let Ok(Some(mut connection)) = tokio::time::timeout(HANDSHAKE, shaken).await else {
        return;
    };
    let mut stopping = pin!(drained(&mut drain));
    let mut draining = false;
    poll_fn(|context| {
        if !draining && stopping.as_mut().poll(context).is_ready() {
            draining = true;
            connection.graceful_shutdown();
        }
        while let Poll::Ready(accepted) = connection.poll_accept(context) {
            let Some(Ok((request, respond))) = accepted else {
                return Poll::Ready(());
            };
            tokio::spawn(dispatch(lane.clone(), services, limits, request, respond));
        }
        match socket.poll_send(context) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
}

async fn dispatch(
    lane: Lane,
    services: Services,
    limits: Limits,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let (head, body) = request.into_parts();
    let reader = Reader::new(body, limits.message_bytes);
    let writer = Writer::new(respond);
    let hub = &lane.hub;
    match head.uri.path() {
        PROCESS if services == Services::All => {
            let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
            let names = &hub.settings.names;
            let pool = text(&names.pool).map(Arc::from);
            let lean = text(&names.lean) == Some("1");
            let fallbacks = text(&names.fallbacks) == Some("1");
            // What is held while the stream lasts is part of its task, and moved when that starts.
            drop(head);
            let session = Session::new(lane, pool, lean, fallbacks);
            if lean && !session.served() {
                // Our own Envoy heard of the pool first: its failure mode decides, as if no picker were there.
                let text = format!("pool {} is not known to this picker", session.pool);
                return writer.finish(UNAVAILABLE, &text);
            }
            session.run(reader, writer).await;
        }
        ACCESS_LOG if services == Services::All => access_log(&lane, reader, writer).await,
        CHECK => check(hub, reader, writer).await,
        WATCH => watch_health(hub, reader, writer).await,
        _ => writer.finish(UNIMPLEMENTED, "no such method"),
    }
}

/// Binds a listening socket; port 0 means any free one. To be called within a runtime.
pub fn bind(address: SocketAddr) -> std::io::Result<Listener> {
    let socket = if address.is_ipv4() {
        tokio::net::TcpSocket::new_v4()?
    } else {
        tokio::net::TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG).map(Listener::Tcp)
}

/// Binds a path. To be called within a runtime.
pub fn bind_unix(path: &Path) -> std::io::Result<Listener> {
    UnixListener::bind(path).map(Listener::Unix)
}
