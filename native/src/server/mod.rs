//! Sockets and connections: what comes is handed to the gRPC services.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
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
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::authority::Tolerant;
use crate::gather::Gathering;
use crate::grpc::{Reader, Stop, UNIMPLEMENTED, Writer, admit, within};
use crate::hub::Lane;
use crate::server_name::Nameless;

mod link;
mod pulse;
mod services;
mod session;
#[cfg(test)]
mod tests;

use link::UNREAD_BYTES;
pub use link::{Link, SHARE};
use pulse::{Finding, Pulse};
use services::{access_log, check, watch_health};
use session::Session;

const PROCESS: &str = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";
const ACCESS_LOG: &str = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";
const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const HANDSHAKE: Duration = Duration::from_secs(10);
/// What a peer may send on a stream that is not read.
const STREAM_WINDOW: u32 = 256 << 10;
/// The largest there is: streams that are not read never use up what the others need. What lies here is counted in
/// `link`.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// Bytes of one call's headers; Envoy's are some hundred.
const HEADER_BYTES: u32 = 64 << 10;
/// Streams that were reset here and for which something may still be on its way, and how long they are remembered.
const RESETS: usize = 4096;
const RESET_MEMORY: Duration = Duration::from_secs(10);
/// `h2` ends a connection on which small frames lie unread; a stream takes its frames out of `h2` at once, so that
/// only a burst between two looks counts: this many times 256 bytes.
const SMALL_FRAMES: usize = 1 << 30;
const TABLE_BYTES: u32 = 4096;
/// TCP asks a silent peer after this time, so often, and gives up what it does not acknowledge.
const TCP_IDLE: Duration = Duration::from_secs(10);
const TCP_PROBES: Duration = Duration::from_secs(5);
const TCP_RETRIES: u32 = 3;
const TCP_UNACKNOWLEDGED: Duration = Duration::from_secs(25);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;
/// Bytes of a stream's answers that were written and not sent.
const UNSENT_BYTES: usize = 256 << 10;

/// Certificates for new connections; None: plain text.
pub type Tls = Arc<RwLock<Option<Arc<rustls::ServerConfig>>>>;

#[derive(Clone, Copy)]
pub struct Limits {
    pub connections: usize,
    /// Streams of one connection.
    pub streams: u32,
    pub message_bytes: usize,
    /// After this silence a peer is pinged; twice as long after that without a word, it is gone.
    pub ping: Duration,
    /// So long a connection may have no stream.
    pub idle: Duration,
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
    Tcp(std::net::TcpStream, IpAddr),
    Unix(std::os::unix::net::UnixStream),
}

impl Listener {
    async fn accept(&self) -> std::io::Result<Accepted> {
        match self {
            Listener::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                let _ = socket.set_nodelay(true);
                let ip = peer.ip().to_canonical();
                socket.into_std().map(|socket| Accepted::Tcp(socket, ip))
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
                Accepted::Tcp(socket, ip) => {
                    if let Ok(socket) = TcpStream::from_std(socket) {
                        let link = Link::new(&lane, ip.to_string());
                        connection(socket, config, &lane, link, services, limits, drain).await;
                    }
                }
                Accepted::Unix(socket) => {
                    if let Ok(socket) = UnixStream::from_std(socket) {
                        let link = Link::new(&lane, String::new());
                        connection(socket, config, &lane, link, services, limits, drain).await;
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
    link: Arc<Link>,
    services: Services,
    limits: Limits,
    drain: watch::Receiver<bool>,
) {
    match config {
        None => serve(socket, lane, link, services, limits, drain).await,
        Some(config) => {
            let accepted = TlsAcceptor::from(config).accept(Nameless::new(socket));
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, accepted).await {
                serve(stream, lane, link, services, limits, drain).await;
            }
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    lane: &Lane,
    link: Arc<Link>,
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
        .max_header_list_size(HEADER_BYTES)
        .header_table_size(TABLE_BYTES)
        .max_concurrent_reset_streams(RESETS)
        .reset_stream_duration(RESET_MEMORY)
        .data_frame_budget(SMALL_FRAMES)
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
    let mut pulse = Pulse::new(limits.ping, limits.idle, connection.ping_pong());
    let (mut draining, mut spoke, mut wide) = (false, false, true);
    poll_fn(|context| {
        let heard = || socket.heard();
        // One by which requests were left to the access log is kept: its end would be theirs.
        let used = || connection.has_streams() || link.matters();
        let idle = match pulse.poll(context, heard, used, spoke) {
            Some(Finding::Dead) => return Poll::Ready(()),
            Some(Finding::Idle) => true,
            None => false,
        };
        if !draining && (idle || stopping.as_mut().poll(context).is_ready()) {
            draining = true;
            connection.graceful_shutdown();
        }
        while let Poll::Ready(accepted) = connection.poll_accept(context) {
            let Some(Ok((request, respond))) = accepted else {
                return Poll::Ready(());
            };
            spoke = true;
            tokio::spawn(dispatch(
                lane.clone(),
                link.clone(),
                services,
                limits,
                request,
                respond,
            ));
        }
        // Much lies unread: streams get less room, until half of that has been read.
        let most = if wide {
            UNREAD_BYTES / 2
        } else {
            UNREAD_BYTES / 4
        };
        if (link.unread() <= most) != wide {
            let window = if wide { SHARE } else { STREAM_WINDOW };
            // Not while the peer has yet to hear of the change before.
            if connection.set_initial_window_size(window).is_ok() {
                wide = !wide;
                // What that wrote is sent when the connection is asked again.
                context.waker().wake_by_ref();
            }
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
    link: Arc<Link>,
    services: Services,
    limits: Limits,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let (head, body) = request.into_parts();
    let mut reader = Reader::new(body, limits.message_bytes, link.clone());
    let mut writer = Writer::new(respond);
    let deadline = match admit(&head) {
        Ok(deadline) => deadline,
        Err(unfit) => return writer.refuse(&unfit),
    };
    let hub = &lane.hub;
    let stopped = match head.uri.path() {
        PROCESS if services == Services::All => {
            let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
            let names = &hub.settings.names;
            let pool = text(&names.pool).map(Arc::from);
            let lean = text(&names.lean) == Some("1");
            let fallbacks = text(&names.fallbacks) == Some("1");
            // What is held while the stream lasts is part of its task, and moved when that starts.
            drop(head);
            let session = Session::new(lane, link, pool, lean, fallbacks);
            return session.run(reader, writer, deadline).await;
        }
        ACCESS_LOG if services == Services::All => {
            let log = access_log(&lane, &link, &mut reader, &mut writer);
            within(deadline, log).await
        }
        CHECK => within(deadline, check(hub, &mut reader, &mut writer)).await,
        WATCH => within(deadline, watch_health(hub, &mut reader, &mut writer)).await,
        _ => Err(Stop::Refused(UNIMPLEMENTED, "no such method".to_owned())),
    };
    writer.stop(stopped);
}

/// Binds a listening socket; port 0 means any free one. To be called within a runtime.
pub fn bind(address: SocketAddr) -> std::io::Result<Listener> {
    let socket = if address.is_ipv4() {
        tokio::net::TcpSocket::new_v4()?
    } else {
        tokio::net::TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    // Connections have these from the socket they come by.
    let options = SockRef::from(&socket);
    let keepalive = TcpKeepalive::new()
        .with_time(TCP_IDLE)
        .with_interval(TCP_PROBES)
        .with_retries(TCP_RETRIES);
    options.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    options.set_tcp_user_timeout(Some(TCP_UNACKNOWLEDGED))?;
    socket.bind(address)?;
    socket.listen(BACKLOG).map(Listener::Tcp)
}

/// Binds a path. To be called within a runtime.
pub fn bind_unix(path: &Path) -> std::io::Result<Listener> {
    UnixListener::bind(path).map(Listener::Unix)
}
