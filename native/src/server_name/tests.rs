//! A name that is none is passed over, what is hashed is what was sent, and all else stays as it comes.

use std::collections::VecDeque;
use std::sync::Arc;

use proptest::prelude::*;
use rustls::server::Acceptor;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::AsyncReadExt;

use super::*;

const NAME: &str = "outbound-9002--epp.default.svc.cluster.local";
const ISTIO: &[u8] = b"outbound|9002||epp.default.svc.cluster.local";

/// A client's first record, which asks for a server of this name; `NAME` is as long.
fn record(name: &[u8]) -> Vec<u8> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), NAME.try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    let at = bytes
        .windows(NAME.len())
        .position(|part| part == NAME.as_bytes());
    let at = at.unwrap();
    bytes[at..at + name.len()].copy_from_slice(name);
    bytes
}

/// Gives its bytes in pieces, with a pause before each.
struct Pieces(VecDeque<Vec<u8>>, bool);

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.1 = !self.1;
        if self.1 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(mut piece) = self.0.pop_front() {
            let rest = piece.split_off(piece.len().min(buffer.remaining()));
            buffer.put_slice(&piece);
            if !rest.is_empty() {
                self.0.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// What comes out of bytes that come in pieces of this length.
fn out(bytes: &[u8], length: usize) -> Vec<u8> {
    let pieces = bytes.chunks(length).map(<[u8]>::to_vec).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(async {
        let mut all = Vec::new();
        let mut stream = Nameless::new(Pieces(pieces, false));
        stream.read_to_end(&mut all).await.unwrap();
        all
    })
}

/// Whether `rustls` goes on after this record.
fn is_taken(record: &[u8]) -> bool {
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut &*record).unwrap();
    acceptor.accept().is_ok_and(|found| found.is_some())
}

#[test]
fn a_name_that_is_none_is_passed_over() {
    let sent = record(ISTIO);
    assert!(!is_taken(&sent));
    for length in [1, 2, 7, sent.len()] {
        let seen = out(&sent, length);
        assert!(is_taken(&seen));
        let changed = (0..sent.len()).filter(|&at| sent[at] != seen[at]);
        assert_eq!((changed.count(), seen.len()), (2, sent.len()));
    }
}

#[test]
fn names_and_addresses_stay() {
    for name in [NAME.as_bytes(), b"a.b"] {
        let sent = record(name);
        assert_eq!(out(&sent, 5), sent);
    }
    assert!(is_name(b"10.0.0.1") && is_name(b"::1") && is_name(b"epp"));
    assert!(!is_name(b"a|b") && !is_name(b"") && !is_name(&[b'a'; 64]) && !is_name(b"\xff"));
}

#[test]
fn the_hash_is_that_of_what_was_sent() {
    let sent = record(ISTIO);
    let seen = out(&sent, 100);
    for (ours, ring) in provider()
        .cipher_suites
        .iter()
        .zip(rustls::crypto::ring::default_provider().cipher_suites)
    {
        let hashed = |suite: &SupportedCipherSuite, parts: [&[u8]; 2]| {
            let common = match suite {
                SupportedCipherSuite::Tls12(suite) => &suite.common,
                SupportedCipherSuite::Tls13(suite) => &suite.common,
            };
            let mut context = common.hash_provider.start();
            context.update(parts[0]);
            let mut context = context.fork();
            context.update(parts[1]);
            context.finish().as_ref().to_vec()
        };
        let (later, cut) = (b"\x0e\0\0\0".as_slice(), sent.len() - 20);
        for end in [sent.len(), cut] {
            let expected = hashed(&ring, [&sent[HEAD..end], later]);
            assert_eq!(hashed(ours, [&seen[HEAD..end], later]), expected);
            assert_ne!(hashed(&ring, [&seen[HEAD..end], later]), expected);
        }
    }
}

#[test]
fn the_second_hello_of_a_client_is_looked_at_and_nothing_behind() {
    let hello = record(ISTIO);
    let change = [CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1];
    let other = [23, 3, 3, 0, 1, 9];
    let sent = [&hello[..], &change, &hello, &other, &hello].concat();
    let shown = out(&hello, 9);
    let expected = [&shown[..], &change, &shown, &other, &hello].concat();
    assert_eq!(out(&sent, 11), expected);
}

proptest! {
    #[test]
    fn whatever_comes_leaves_as_long_as_it_was(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        at in 0..200usize,
        length in 1..40usize,
    ) {
        let mut sent = record(ISTIO);
        let end = sent.len().min(at + bytes.len());
        sent[at..end].copy_from_slice(&bytes[..end - at]);
        let seen = out(&sent, length);
        prop_assert_eq!(seen.len(), sent.len());
        prop_assert!((0..sent.len()).filter(|&at| sent[at] != seen[at]).count() <= 2);
        prop_assert_eq!(out(&bytes, length), bytes);
    }
}
