//! What comes out is the same however it comes in, and only `:authority` differs.

use std::collections::VecDeque;
use std::future::poll_fn;

use http::{HeaderMap, HeaderValue, Request, Response};
use proptest::prelude::*;
use tokio::net::{TcpListener, TcpStream};

use super::*;

const ISTIO: &[u8] = b"outbound|9002||epp.default.svc.cluster.local";

/// A stream that gives its bytes in pieces; one of them is waited for now and then.
struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    waited: bool,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.waited = !self.waited;
        if self.waited {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(mut piece) = self.pieces.pop_front() {
            let rest = piece.split_off(piece.len().min(buffer.remaining()));
            buffer.put_slice(&piece);
            if !rest.is_empty() {
                self.pieces.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// What comes out of `bytes` that come in pieces of these lengths, in turn, where the reader takes `room` at a time.
fn out(bytes: &[u8], lengths: &[usize], room: usize) -> Vec<u8> {
    let mut pieces = VecDeque::new();
    let (mut rest, mut lengths) = (bytes, lengths.iter().cycle());
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(rest.len().min(*lengths.next().unwrap()));
        pieces.push_back(piece.to_vec());
        rest = behind;
    }
    let waited = false;
    let mut stream = Tolerant::new(Pieces { pieces, waited });
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(async {
        let mut all = Vec::new();
        let mut space = vec![0; room];
        loop {
            let read = poll_fn(|context| {
                let mut buffer = ReadBuf::new(&mut space);
                let polled = Pin::new(&mut stream).poll_read(context, &mut buffer);
                let filled = buffer.filled();
                assert!(polled.is_ready() || filled.is_empty(), "lost");
                all.extend_from_slice(filled);
                polled.map_ok(|()| filled.len())
            });
            if read.await.unwrap() == 0 {
                return all;
            }
            assert!(stream.held.len() <= HEAD + LARGEST);
        }
    })
}

fn at_once(bytes: &[u8]) -> Vec<u8> {
    out(bytes, &[usize::MAX], 1 << 20)
}

fn preface() -> Vec<u8> {
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn integer(first: u8, prefix: u32, value: usize) -> Vec<u8> {
    let most = (1 << prefix) - 1;
    if value < most {
        return vec![first | value as u8];
    }
    let (mut bytes, mut rest) = (vec![first | most as u8], value - most);
    while rest > 0x7f {
        bytes.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

fn string(huffman: bool, bytes: &[u8]) -> Vec<u8> {
    let length = integer(if huffman { 0x80 } else { 0 }, 7, bytes.len());
    [&length, bytes].concat()
}

fn literal(first: u8, prefix: u32, index: usize, value: Vec<u8>) -> Vec<u8> {
    [integer(first, prefix, index), value].concat()
}

/// As Envoy sends it the first time: `:method` POST, `:authority`, `:path`, and a name of its own.
fn fields(authority: &[u8]) -> Vec<u8> {
    [
        vec![0x83],
        literal(0x40, 6, 1, authority.to_vec()),
        literal(0x00, 4, 4, string(false, b"/a/B")),
        literal(0x40, 6, 0, string(true, b"\x25\xa8")),
        string(false, b"p"),
    ]
    .concat()
}

/// A connection of every kind of frame, whose authorities are these.
fn recorded(plain: &[u8], huffman: &[u8], long: &[u8]) -> Vec<Vec<u8>> {
    let all = END_HEADERS | PADDED | PRIORITY;
    let surrounded = [&[3, 0, 0, 0, 0, 16], &fields(huffman)[..], &[0, 0, 0]].concat();
    let inner = frame(HEADERS, END_HEADERS, 1, &fields(&string(false, ISTIO)));
    vec![
        preface(),
        frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]),
        frame(HEADERS, END_HEADERS, 1, &fields(plain)),
        frame(0, 0, 1, &inner),
        frame(HEADERS, END_HEADERS, 3, b"\x83\xc0\xbf\xbe"),
        frame(0, 1, 3, b""),
        frame(HEADERS, all, 5, &surrounded),
        frame(HEADERS, END_HEADERS, 7, &literal(0x10, 4, 1, long.to_vec())),
        frame(8, 0, 0, &[0, 0, 1, 0]),
        frame(
            HEADERS,
            END_HEADERS,
            9,
            &literal(0x00, 4, 1, plain.to_vec()),
        ),
    ]
}

fn before() -> Vec<Vec<u8>> {
    let long = string(false, &[b'|'; 300]);
    let huffman = string(true, b"\xff\xf9\xff\x9f");
    recorded(&string(false, ISTIO), &huffman, &long)
}

fn after() -> Vec<Vec<u8>> {
    recorded(ACCEPTABLE, ACCEPTABLE, ACCEPTABLE)
}

#[test]
fn it_is_the_same_wherever_the_bytes_are_split() {
    let (before, after) = (before().concat(), after().concat());
    assert_eq!(at_once(&before), after);
    for split in 1..before.len() {
        assert_eq!(
            out(&before, &[split, usize::MAX], 1 << 20),
            after,
            "{split}"
        );
        assert_eq!(out(&before, &[split, 3], 50), after, "{split}");
    }
    for length in 1..60 {
        assert_eq!(out(&before, &[length], 1 << 20), after, "{length}");
        assert_eq!(out(&before, &[usize::MAX], length), after, "{length}");
    }
}

#[test]
fn a_frame_that_is_cut_off_by_the_end_passes() {
    let (mut whole_before, mut whole_after) = (Vec::new(), Vec::new());
    for (before, after) in before().into_iter().zip(after()) {
        for cut in 0..before.len() {
            let sent = [&whole_before, &before[..cut]].concat();
            let expected = [&whole_after, &before[..cut]].concat();
            assert_eq!(at_once(&sent), expected);
            assert_eq!(out(&sent, &[7], 5), expected);
        }
        whole_before.extend(before);
        whole_after.extend(after);
    }
}

#[test]
fn what_is_not_to_be_edited_passes() {
    let value = string(false, ISTIO);
    let whole = fields(&value);
    let padded = |padding: u8| [&[padding], &whole[..]].concat();
    let most = [0x41, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x01];
    for frame in [
        // The rest of the fields is in a CONTINUATION.
        frame(HEADERS, 0, 1, &whole),
        frame(9, END_HEADERS, 1, &whole),
        frame(5, END_HEADERS, 1, &whole),
        frame(
            HEADERS,
            END_HEADERS,
            1,
            &[whole.clone(), vec![0x83; LARGEST]].concat(),
        ),
        frame(HEADERS, END_HEADERS, 1, b""),
        frame(HEADERS, END_HEADERS | PADDED, 1, &padded(255)),
        frame(HEADERS, END_HEADERS | PADDED | PRIORITY, 1, &[1]),
        frame(HEADERS, END_HEADERS | PRIORITY, 1, &[1, 2]),
        // Twice, empty, cut off, and a length that no string has.
        frame(
            HEADERS,
            END_HEADERS,
            1,
            &[whole.clone(), whole.clone()].concat(),
        ),
        frame(HEADERS, END_HEADERS, 1, &fields(&string(false, b""))),
        frame(HEADERS, END_HEADERS, 1, &whole[..whole.len() - 1]),
        frame(HEADERS, END_HEADERS, 1, &[&whole[..], &most].concat()),
    ] {
        let bytes = [preface(), frame].concat();
        assert_eq!(at_once(&bytes), bytes);
        assert_eq!(out(&bytes, &[11], 100), bytes);
    }
}

/// One instruction of a header block; at most one authority, which stands for itself.
#[derive(Clone, Debug)]
enum Field {
    Indexed(usize),
    Resize(usize),
    Named(u8, Vec<u8>, Vec<u8>, bool),
    Literal(u8, usize, Vec<u8>, bool),
}

const KINDS: [(u8, u32); 3] = [(0x40, 6), (0x00, 4), (0x10, 4)];

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(any::<u8>(), 100..400),
    ]
}

fn field() -> impl Strategy<Value = Field> {
    prop_oneof![
        (1usize..300).prop_map(Field::Indexed),
        (0usize..5000).prop_map(Field::Resize),
        (0u8..3, text(), text(), any::<bool>()).prop_map(|(a, b, c, d)| Field::Named(a, b, c, d)),
        (0u8..3, 2usize..300, text(), any::<bool>())
            .prop_map(|(a, b, c, d)| Field::Literal(a, b, c, d)),
    ]
}

fn encoded(field: &Field) -> Vec<u8> {
    match field {
        Field::Indexed(index) => integer(0x80, 7, *index),
        Field::Resize(size) => integer(0x20, 5, *size),
        Field::Named(kind, name, value, huffman) => {
            let (first, prefix) = KINDS[usize::from(*kind)];
            let name = string(*huffman, name);
            [literal(first, prefix, 0, name), string(!huffman, value)].concat()
        }
        Field::Literal(kind, index, value, huffman) => {
            let (first, prefix) = KINDS[usize::from(*kind)];
            literal(first, prefix, *index, string(*huffman, value))
        }
    }
}

/// A frame as it comes in, and as it is to come out.
fn some_frame() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let authority = prop::option::of((0u8..3, text(), any::<bool>(), 0usize..6));
    let headers = (
        prop::collection::vec(field(), 0..6),
        authority,
        prop::option::of(any::<u8>()),
        prop::option::of(any::<[u8; 5]>()),
        any::<bool>(),
    )
        .prop_map(|(fields, authority, padding, priority, ends)| {
            let build = |edited: bool| {
                let mut parts: Vec<_> = fields.iter().map(encoded).collect();
                if let Some((kind, value, huffman, at)) = &authority {
                    let (first, prefix) = KINDS[usize::from(*kind)];
                    let value = match edited && ends && !value.is_empty() {
                        true => ACCEPTABLE.to_vec(),
                        false => string(*huffman, value),
                    };
                    parts.insert(
                        (*at).min(parts.len()),
                        literal(first, prefix, AUTHORITY, value),
                    );
                }
                let mut flags = if ends { END_HEADERS } else { 0 };
                let mut payload = Vec::new();
                if let Some(padding) = padding {
                    flags |= PADDED;
                    payload.push(padding);
                }
                if let Some(priority) = priority {
                    flags |= PRIORITY;
                    payload.extend(priority);
                }
                payload.extend(parts.concat());
                payload.extend(vec![0; usize::from(padding.unwrap_or(0))]);
                frame(HEADERS, flags, 1, &payload)
            };
            (build(false), build(true))
        });
    let other = (any::<u8>(), any::<u8>(), text()).prop_map(|(kind, flags, payload)| {
        let kind = if kind == HEADERS { 0 } else { kind };
        let bytes = frame(kind, flags, 1, &payload);
        (bytes.clone(), bytes)
    });
    prop_oneof![2 => headers, 1 => other]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn all_but_the_authority_is_unchanged(
        frames in prop::collection::vec(some_frame(), 1..8),
        lengths in prop::collection::vec(1usize..300, 1..5),
        room in 1usize..500,
    ) {
        let (mut before, mut after) = (preface(), preface());
        for (sent, expected) in frames {
            before.extend(sent);
            after.extend(expected);
        }
        prop_assert_eq!(&at_once(&before), &after);
        prop_assert_eq!(&out(&before, &lengths, room), &after);
    }

    #[test]
    fn nonsense_is_the_same_nonsense_in_any_pieces(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        rest in prop::collection::vec(any::<u8>(), 0..300),
        lengths in prop::collection::vec(1usize..300, 1..5),
        room in 1usize..500,
    ) {
        let mut bytes = before().concat();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.extend(rest);
        let heard = at_once(&bytes);
        prop_assert!(heard.len() <= bytes.len());
        prop_assert_eq!(out(&bytes, &lengths, room), heard);
    }
}

/// What the request with this number says: fields that come once, a few that come always, some that come back just
/// before or after the encoder's table of 4096 bytes has dropped them.
fn said(number: usize) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut say = |name: &'static str, value: String| {
        headers.insert(name, HeaderValue::from_str(&value).unwrap());
    };
    say("content-type", "application/grpc".to_owned());
    say(
        "x-request-id",
        format!("{number}-{}", "i".repeat(number % 70)),
    );
    say("x-recent", format!("recent-{}", number / 3));
    say("x-back", format!("back-{}", number % (5 + number / 100)));
    if number % 7 == 0 {
        say("x-large", "l".repeat(number % 5000));
    }
    headers
}

#[tokio::test]
async fn fields_arrive_right_while_the_peer_drops_old_ones_from_its_table() {
    const REQUESTS: usize = 4000;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).await;
    let (mut client, connection) = h2::client::handshake(socket.unwrap()).await.unwrap();
    tokio::spawn(connection);
    let (socket, _) = listener.accept().await.unwrap();
    let server = tokio::spawn(async move {
        let mut connection = h2::server::handshake(Tolerant::new(socket)).await.unwrap();
        for number in 0..REQUESTS {
            let (request, mut respond) = connection.accept().await.unwrap().unwrap();
            assert_eq!(request.uri().authority().unwrap(), "x", "{number}");
            assert_eq!(request.uri().path(), format!("/{number}"));
            assert_eq!(*request.headers(), said(number), "{number}");
            respond.send_response(Response::new(()), true).unwrap();
        }
        poll_fn(|context| connection.poll_closed(context)).await
    });
    for number in 0..REQUESTS {
        let names = 2 + number / 500;
        let name = format!(
            "cluster-{}.{}",
            number % names,
            "n".repeat(number % names * 20)
        );
        let mut request = Request::new(());
        *request.uri_mut() = format!("http://{name}/{number}").parse().unwrap();
        *request.headers_mut() = said(number);
        let (response, _) = client.send_request(request, true).unwrap();
        response.await.unwrap();
        client = client.ready().await.unwrap();
    }
    drop(client);
    server.await.unwrap().unwrap();
}
