//! Lets TLS clients in that ask for a server by what is no host's name: Envoy with `auto_sni` asks for the picker's
//! cluster, which Istio calls `outbound|9002||epp.NAMESPACE.svc.cluster.local`.
//!
//! `rustls` refuses such a ClientHello (RFC 6066, section 3), and nothing here reads the name: there is one certificate.
//! So the extension's number becomes one of private use before `rustls` sees it, which passes over what it does not know.
//! A handshake is secured by a hash of what both sides saw. [`provider`] therefore has hash functions that put the number
//! back: what is hashed is what the client sent. A ClientHello whose name is one, or which has none, stays as it is.
//!
//! One case stays refused: in TLS 1.2 a client's certificate signs the messages themselves, which `rustls` keeps as it
//! saw them.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rustls::crypto::hash::{self, Hash, HashAlgorithm};
use rustls::crypto::{CipherSuiteCommon, CryptoProvider};
use rustls::{SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite};
use rustls_pki_types::DnsName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Of a record: type, version, 16 bits of length.
const HEAD: usize = 5;
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
/// The longest plain record, see RFC 8446, section 5.1.
const LARGEST: usize = 1 << 14;
const CLIENT_HELLO: u8 = 1;
/// Of a handshake message: type, 24 bits of length.
const MESSAGE_HEAD: usize = 4;
const SERVER_NAME: [u8; 2] = [0, 0];
/// In place of it, where the name is none; of those for private use.
const PASSED_OVER: [u8; 2] = [0xff, 0x5a];

/// A stream before TLS, in whose ClientHellos there is no server name that is none.
pub struct Nameless<S> {
    stream: S,
    /// A record, or its beginning, that is not handed out before it is whole.
    held: BytesMut,
    /// What is held is to be handed out.
    ready: bool,
    /// No ClientHello comes any more: all passes as it is.
    over: bool,
}

impl<S> Nameless<S> {
    pub fn new(stream: S) -> Nameless<S> {
        Nameless {
            stream,
            held: BytesMut::new(),
            ready: false,
            over: false,
        }
    }
}

impl<S: AsyncRead + Unpin> Nameless<S> {
    /// Reads what is missing of the record that is held, and no more.
    fn poll_held(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let had = self.held.len();
        let size = self.held.first_chunk().map_or(HEAD, size);
        self.held.resize(size, 0);
        let mut missing = ReadBuf::new(&mut self.held[had..]);
        let polled = Pin::new(&mut self.stream).poll_read(context, &mut missing);
        let read = missing.filled().len();
        self.held.truncate(had + read);
        ready!(polled)?;
        let Some(head) = self.held.first_chunk::<HEAD>() else {
            (self.over, self.ready) = (read == 0, read == 0);
            return Poll::Ready(Ok(()));
        };
        let whole = self.held.len() == self::size(head);
        let hello =
            head[0] == HANDSHAKE && self.held.get(HEAD).is_none_or(|&is| is == CLIENT_HELLO);
        let awaited = hello || head[0] == CHANGE_CIPHER_SPEC;
        self.over = read == 0 || !awaited || self::size(head) > HEAD + LARGEST;
        self.ready = self.over || whole;
        if self.ready && hello && whole {
            hide(&mut self.held[HEAD..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Nameless<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while !this.ready {
            if this.over {
                return Pin::new(&mut this.stream).poll_read(context, buffer);
            }
            ready!(this.poll_held(context))?;
        }
        let count = this.held.len().min(buffer.remaining());
        buffer.put_slice(&this.held[..count]);
        this.held.advance(count);
        if this.held.is_empty() {
            this.held = BytesMut::new();
            this.ready = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Nameless<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Of the whole record.
fn size(head: &[u8; HEAD]) -> usize {
    HEAD + usize::from(u16::from_be_bytes([head[3], head[4]]))
}

/// Hides the server name of a ClientHello that fills its record, where it is none.
fn hide(message: &mut [u8]) {
    let Some((&[CLIENT_HELLO, a, b, c], body)) = message.split_first_chunk::<MESSAGE_HEAD>() else {
        return;
    };
    if u32::from_be_bytes([0, a, b, c]) as usize != body.len()
        || extension(message, PASSED_OVER).is_some()
    {
        return;
    }
    if let Some(at) = extension(message, SERVER_NAME)
        && name(&message[at + 2..]).is_some_and(|name| !is_name(name))
    {
        message[at..at + 2].copy_from_slice(&PASSED_OVER);
    }
}

/// Where the number of an extension stands in a ClientHello, whose end may be missing.
fn extension(hello: &[u8], number: [u8; 2]) -> Option<usize> {
    let mut at = MESSAGE_HEAD + 2 + 32; // the version and a random number
    at += 1 + usize::from(*hello.get(at)?); // the session
    at += 2 + pair(hello, at)?; // cipher suites
    at += 1 + usize::from(*hello.get(at)?); // compression
    at += 2; // the length of all extensions
    loop {
        let found = hello.get(at..at + 2)?;
        let length = pair(hello, at + 2)?;
        if found == number {
            return Some(at);
        }
        at += 4 + length;
    }
}

fn pair(bytes: &[u8], at: usize) -> Option<usize> {
    let found = bytes.get(at..)?.first_chunk()?;
    Some(usize::from(u16::from_be_bytes(*found)))
}

/// The only host's name in the extension, whose length comes first.
fn name(extension: &[u8]) -> Option<&[u8]> {
    let list = extension.get(2..2 + pair(extension, 0)?)?;
    let length = pair(list, 3)?;
    let alone = pair(list, 0)? == list.len() - 2 && list[2] == 0 && list.len() == 5 + length;
    if alone { list.get(5..) } else { None }
}

/// Whether `rustls` takes it. An address is no name, but is passed over there.
fn is_name(name: &[u8]) -> bool {
    let text = std::str::from_utf8(name).ok();
    DnsName::try_from(name).is_ok() || text.is_some_and(|text| text.parse::<IpAddr>().is_ok())
}

/// The algorithms of `ring`, with hash functions that see a ClientHello as the client sent it.
pub fn provider() -> CryptoProvider {
    static SUITES: OnceLock<Vec<SupportedCipherSuite>> = OnceLock::new();
    let ring = rustls::crypto::ring::default_provider();
    let suites = SUITES.get_or_init(|| ring.cipher_suites.iter().map(restoring).collect());
    CryptoProvider {
        cipher_suites: suites.clone(),
        ..ring
    }
}

/// Made once and never given back: a suite is for as long as the process.
fn restoring(suite: &SupportedCipherSuite) -> SupportedCipherSuite {
    let common = |common: &CipherSuiteCommon| CipherSuiteCommon {
        hash_provider: Box::leak(Box::new(Restoring(common.hash_provider))),
        ..*common
    };
    match *suite {
        SupportedCipherSuite::Tls12(suite) => {
            SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
                common: common(&suite.common),
                ..*suite
            })))
        }
        SupportedCipherSuite::Tls13(suite) => {
            SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
                common: common(&suite.common),
                ..*suite
            })))
        }
    }
}

struct Restoring(&'static dyn Hash);

impl Hash for Restoring {
    fn start(&self) -> Box<dyn hash::Context> {
        Box::new(Restored(self.0.start()))
    }

    fn hash(&self, data: &[u8]) -> hash::Output {
        self.0.hash(data)
    }

    fn output_len(&self) -> usize {
        self.0.output_len()
    }

    fn algorithm(&self) -> HashAlgorithm {
        self.0.algorithm()
    }
}

/// `rustls` gives it each message of the handshake at once, from its beginning.
struct Restored(Box<dyn hash::Context>);

impl hash::Context for Restored {
    fn fork_finish(&self) -> hash::Output {
        self.0.fork_finish()
    }

    fn fork(&self) -> Box<dyn hash::Context> {
        Box::new(Restored(self.0.fork()))
    }

    fn finish(self: Box<Self>) -> hash::Output {
        self.0.finish()
    }

    fn update(&mut self, data: &[u8]) {
        let hidden = (data.first() == Some(&CLIENT_HELLO)).then(|| extension(data, PASSED_OVER));
        match hidden.flatten() {
            None => self.0.update(data),
            Some(at) => {
                self.0.update(&data[..at]);
                self.0.update(&SERVER_NAME);
                self.0.update(&data[at + 2..]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
