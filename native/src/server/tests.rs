//! The server over real sockets: faults, limits and waiting stay within their stream or connection.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::Request;
use prost::Message;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::conversation::{Names, Said, Settings, framed};
use crate::hub::{Answer, Event, Hub, Lane};
use crate::proto::{HeaderMap, HeaderValue, HttpHeaders, ProcessingRequest, Request as Kind};
use crate::server::{Limits, Services, Tls, Worker, accept, bind};
use crate::threads::{Address, Threads};

const PROCESS: &str = "http://picker/envoy.service.ext_proc.v3.ExternalProcessor/Process";

struct Running {
    hub: Arc<Hub>,
    address: SocketAddr,
    drain: watch::Sender<bool>,
}

fn settings() -> Settings {
    Settings {
        names: Names {
            pool: "pool".into(),
            lean: "lean".into(),
            fallbacks: "fallbacks".into(),
            pools: "pools".into(),
            ..Names::default()
        },
        formats: Vec::new(),
        nonce: "n".into(),
        secret: Vec::new(),
        body_limit: 1000,
        odd_body_limit: 500,
        media_tokens: 10,
        most_media: 3,
        longest_id: 256,
        longest_path: 1024,
        longest_endpoint: 64,
        most_subset: 100,
        subset_filter: true,
        evicted_status: 429,
        sessions: RwLock::default(),
    }
}

async fn start(limits: Limits, backlog: usize) -> Running {
    let hub = Arc::new(Hub::new(settings(), backlog, 1).unwrap());
    {
        let mut pools = hub.pools.write().unwrap();
        pools.served.insert(Arc::from("p"));
        pools.unnamed = Some(Arc::from("p"));
    }
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], listener.port().unwrap()));
    let drain = watch::Sender::new(false);
    let mut workers = Vec::new();
    for lane in Lane::all(&hub) {
        tokio::spawn(lane.clone().attend());
        let handle = Handle::current();
        workers.push(Worker { lane, handle });
    }
    tokio::spawn(accept(
        listener,
        workers,
        Services::All,
        limits,
        Tls::default(),
        drain.subscribe(),
    ));
    Running {
        hub,
        address,
        drain,
    }
}

const LIMITS: Limits = Limits {
    connections: 10,
    streams: 100,
    message_bytes: 10_000,
    ping: Duration::from_secs(10),
    idle: Duration::from_secs(300),
};

async fn connect(address: SocketAddr) -> Result<SendRequest<Bytes>, h2::Error> {
    let socket = TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await?;
    tokio::spawn(connection);
    client.ready().await
}

type Stream = (h2::client::ResponseFuture, SendStream<Bytes>);

fn open(client: &mut SendRequest<Bytes>, path: &str) -> Stream {
    let request = Request::post(path).header("content-type", "application/grpc");
    let request = request.body(()).unwrap();
    client.send_request(request, false).unwrap()
}

fn get() -> Bytes {
    let header = |key: &'static str, value: &'static str| HeaderValue {
        key: key.into(),
        value: value.into(),
        raw_value: Bytes::new(),
    };
    let headers = HttpHeaders {
        headers: Some(HeaderMap {
            headers: vec![header(":method", "GET"), header(":path", "/x")],
        }),
        end_of_stream: true,
    };
    let message = ProcessingRequest {
        request: Some(Kind::RequestHeaders(headers)),
        ..ProcessingRequest::default()
    };
    framed(&message.encode_to_vec())
}

/// Takes events until one is picked out.
async fn until<T>(hub: &Hub, mut pick: impl FnMut(Event) -> Option<T>) -> T {
    let wait = async {
        loop {
            for event in hub.take() {
                if let Some(found) = pick(event) {
                    return found;
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait)
        .await
        .expect("the event comes")
}

async fn arrival(hub: &Hub) -> u64 {
    until(hub, |event| match event {
        Event::Said {
            stream,
            said: Said::Arrived(_),
            ..
        } => Some(stream),
        _ => None,
    })
    .await
}

fn route(stream: u64) -> Vec<(u64, Answer)> {
    let answer = Answer::Route {
        endpoints: "1.1.1.1:1".into(),
        target: None,
        decision: "why".into(),
        read: None,
        headers: Vec::new(),
        stays: false,
        next: None,
    };
    vec![(stream, answer)]
}

async fn status_of(body: &mut RecvStream) -> String {
    while let Some(Ok(_)) = body.data().await {}
    let trailers = body.trailers().await.unwrap().unwrap();
    trailers["grpc-status"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_panic_fails_one_stream_and_its_request_is_told_to_be_over() {
    let running = start(LIMITS, 100).await;
    let mut client = connect(running.address).await.unwrap();
    let (bad, mut to_bad) = open(&mut client, PROCESS);
    to_bad.send_data(get(), false).unwrap();
    let bad_stream = arrival(&running.hub).await;
    let (good, mut to_good) = open(&mut client, PROCESS);
    to_good.send_data(get(), false).unwrap();
    let good_stream = arrival(&running.hub).await;

    to_bad.send_data(framed(b"panic"), false).unwrap();
    let over = until(&running.hub, |event| match event {
        Event::Said {
            stream,
            said: Said::Over { .. },
            ..
        } => Some(stream),
        _ => None,
    })
    .await;
    assert_eq!(over, bad_stream);
    assert!(bad.await.is_err());
    assert_eq!(running.hub.counters.panics.load(Ordering::Relaxed), 1);

    running.hub.answer(route(good_stream));
    let mut body = good.await.unwrap().into_body();
    assert!(body.data().await.unwrap().is_ok());
    to_good.send_data(Bytes::new(), true).unwrap();
    assert_eq!(status_of(&mut body).await, "0");
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused() {
    let running = start(LIMITS, 100).await;
    let mut client = connect(running.address).await.unwrap();
    let (response, mut stream) = open(&mut client, PROCESS);
    stream.send_data(framed(&[0; 10_001]), true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "8");
}

#[tokio::test]
async fn nonsense_ends_its_stream_with_a_status() {
    let running = start(LIMITS, 100).await;
    let mut client = connect(running.address).await.unwrap();
    for (path, sent, status) in [
        (PROCESS, framed(b"\xff\xff"), "3"),
        (PROCESS, Bytes::from_static(b"\x01\0\0\0\0"), "13"),
        (PROCESS, Bytes::from_static(b"\0\0\0\0\x05ab"), "3"),
        ("http://picker/no.such/Method", framed(b""), "12"),
        (
            "http://picker/grpc.health.v1.Health/Check",
            framed(b"\x0a\x03abc"),
            "5",
        ),
    ] {
        let (response, mut stream) = open(&mut client, path);
        stream.send_data(sent, true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.headers()["grpc-status"], status, "{path}");
    }
}

/// Whether a health check on the connection is answered.
async fn lives(client: &mut SendRequest<Bytes>) -> bool {
    let request = Request::post("http://picker/grpc.health.v1.Health/Check")
        .body(())
        .unwrap();
    let Ok((response, mut stream)) = client.send_request(request, false) else {
        return false;
    };
    stream.send_data(framed(b""), true).is_ok() && response.await.is_ok()
}

async fn answers(address: SocketAddr) -> bool {
    match connect(address).await {
        Ok(mut client) => lives(&mut client).await,
        Err(_) => false,
    }
}

#[tokio::test]
async fn a_cluster_s_name_as_authority_is_no_reason_to_refuse() {
    const NAME: &[u8] = b"outbound|9002||epp.default.svc.cluster.local";
    const CHECK: &[u8] = b"/grpc.health.v1.Health/Check";
    let running = start(LIMITS, 100).await;
    // POST, http, and literals of :authority and :path.
    let mut fields = vec![0x83, 0x86, 0x41, NAME.len() as u8];
    fields.extend(NAME);
    fields.extend([0x44, CHECK.len() as u8]);
    fields.extend(CHECK);
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    sent.extend([0, 0, fields.len() as u8, 1, 4, 0, 0, 0, 1]);
    sent.extend(fields);
    sent.extend(b"\0\0\x05\0\x01\0\0\0\x01\0\0\0\0\0");
    let kind = tokio::task::spawn_blocking(move || {
        let mut socket = std::net::TcpStream::connect(running.address).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        socket.write_all(&sent).unwrap();
        loop {
            let mut head = [0; 9];
            socket.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            socket.read_exact(&mut vec![0; length]).unwrap();
            if head[5..] == [0, 0, 0, 1] {
                return head[3];
            }
        }
    });
    assert_eq!(kind.await.unwrap(), 1, "headers, where a reset would be 3");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_room_comes_back() {
    let limits = Limits {
        connections: 1,
        ..LIMITS
    };
    let running = start(limits, 100).await;
    let mut first = connect(running.address).await.unwrap();
    assert!(lives(&mut first).await);
    assert!(!answers(running.address).await);
    drop(first);
    for _ in 0..1000 {
        if answers(running.address).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("the place of a closed connection is never given again");
}

#[tokio::test]
async fn messages_wait_in_their_streams_while_python_takes_nothing() {
    let running = start(LIMITS, 2).await;
    let mut client = connect(running.address).await.unwrap();
    let mut open_streams = Vec::new();
    for _ in 0..5 {
        let (response, mut stream) = open(&mut client, PROCESS);
        stream.send_data(get(), false).unwrap();
        open_streams.push((response, stream));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut seen = Vec::new();
    seen.push(running.hub.take().len());
    while seen.iter().sum::<usize>() < 5 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        seen.push(running.hub.take().len());
    }
    assert_eq!(seen[0], 2, "{seen:?}");
    assert!(seen.iter().all(|count| *count <= 2), "{seen:?}");
}

#[tokio::test]
async fn draining_lets_open_streams_end_and_takes_no_connection() {
    let running = start(LIMITS, 100).await;
    let mut client = connect(running.address).await.unwrap();
    let (response, mut stream) = open(&mut client, PROCESS);
    stream.send_data(get(), false).unwrap();
    let number = arrival(&running.hub).await;
    running.drain.send_replace(true);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(TcpStream::connect(running.address).await.is_err());
    running.hub.answer(route(number));
    let mut body = response.await.unwrap().into_body();
    assert!(body.data().await.unwrap().is_ok());
    stream.send_data(Bytes::new(), true).unwrap();
    assert_eq!(status_of(&mut body).await, "0");
}

#[tokio::test]
async fn every_thread_serves_and_a_stream_is_told_in_order() {
    const THREADS: usize = 3;
    let hub = Arc::new(Hub::new(settings(), 1000, THREADS).unwrap());
    hub.pools.write().unwrap().unnamed = Some(Arc::from("p"));
    hub.pools.write().unwrap().served.insert(Arc::from("p"));
    let threads = Threads::start(&hub).unwrap();
    let drain = watch::Sender::new(false);
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let port = threads
        .listen(
            &Address::Tcp(local(0)),
            Services::All,
            LIMITS,
            Tls::default(),
            &drain,
        )
        .unwrap();

    let mut calls = Vec::new();
    for _ in 0..2 * THREADS {
        let mut client = connect(local(port)).await.unwrap();
        for _ in 0..20 {
            let (response, mut stream) = open(&mut client, PROCESS);
            stream.send_data(get(), false).unwrap();
            calls.push((client.clone(), response, stream));
        }
    }
    let total = calls.len();
    let python = tokio::spawn(async move {
        let mut told = HashMap::<u64, Vec<&str>>::new();
        while told.values().filter(|said| said.contains(&"over")).count() < total {
            tokio::time::sleep(Duration::from_millis(1)).await;
            for event in hub.take() {
                if let Event::Said { stream, said, .. } = event {
                    let over = matches!(said, Said::Over { .. });
                    let word = if over { "over" } else { "arrived" };
                    told.entry(stream).or_default().push(word);
                    hub.answer(route(stream));
                }
            }
        }
        told
    });
    let talk = async move {
        for (_, response, mut stream) in calls {
            let mut body = response.await.unwrap().into_body();
            assert!(body.data().await.unwrap().is_ok());
            stream.send_data(Bytes::new(), true).unwrap();
            assert_eq!(status_of(&mut body).await, "0");
        }
        python.await.unwrap()
    };
    let told = tokio::time::timeout(Duration::from_secs(10), talk).await;
    let told = told.expect("every answer finds its stream");
    assert!(told.values().all(|said| said == &["arrived", "over"]));
    let lanes: HashSet<_> = told.keys().map(|stream| stream % THREADS as u64).collect();
    assert_eq!(lanes.len(), THREADS);
    threads.stop(Duration::from_secs(10));
    assert!(TcpStream::connect(local(port)).await.is_err());
}
