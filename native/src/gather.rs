//! A socket whose writes gather until the task that drives its connection has nothing left to do.
//!
//! `h2` writes a frame of more than a few hundred bytes by a system call of its own, and flushes after each; a burst
//! of answers is one call here.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that gather at most before the socket must take some.
const ENOUGH: usize = 64 * 1024;

struct Inner<S> {
    socket: S,
    unsent: BytesMut,
    /// Something came since it was asked last.
    heard: bool,
}

impl<S: AsyncWrite + Unpin> Inner<S> {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let sent = ready!(Pin::new(&mut self.socket).poll_write(context, &self.unsent))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(sent);
        }
        Pin::new(&mut self.socket).poll_flush(context)
    }
}

/// One handle for the connection, one for the task that drives it and calls [`Gathering::poll_send`].
pub struct Gathering<S>(Arc<Mutex<Inner<S>>>);

impl<S> Clone for Gathering<S> {
    fn clone(&self) -> Self {
        Gathering(self.0.clone())
    }
}

impl<S: AsyncWrite + Unpin> Gathering<S> {
    pub fn new(socket: S) -> Gathering<S> {
        Gathering(Arc::new(Mutex::new(Inner {
            socket,
            unsent: BytesMut::new(),
            heard: false,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything came since this was asked last.
    pub fn heard(&self) -> bool {
        std::mem::take(&mut self.inner().heard)
    }

    /// Writes what has gathered.
    pub fn poll_send(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_send(context)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathering<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        let had = buffer.filled().len();
        let polled = Pin::new(&mut inner.socket).poll_read(context, buffer);
        inner.heard |= buffer.filled().len() > had;
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathering<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.inner();
        if inner.unsent.len() >= ENOUGH {
            ready!(inner.poll_send(context))?;
        }
        for slice in slices {
            inner.unsent.extend_from_slice(slice);
        }
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        ready!(inner.poll_send(context))?;
        Pin::new(&mut inner.socket).poll_shutdown(context)
    }
}
