//! Ends a connection whose client does not read what it is sent: an answer that nobody takes would lie in memory, and an
//! export would hold its place, for as long as the client likes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::{Sleep, sleep};

/// Bytes to a client that must take some of them at least this often.
pub(crate) struct Patient<W> {
    inner: W,
    silence_max: Duration,
    /// Runs while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<W> Patient<W> {
    /// For so long without a byte taken.
    pub(crate) fn new(inner: W, silence_max: Duration) -> Self {
        Self { inner, silence_max, waiting: None }
    }

    /// What a write came to, or that it has waited for too long.
    fn told<T>(&mut self, context: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.waiting = None;
            return done;
        }
        let silence_max = self.silence_max;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(silence_max)));
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Patient<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.told(context, done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.inner).poll_flush(context);
        self.told(context, done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.inner).poll_shutdown(context);
        self.told(context, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.inner).poll_write_vectored(context, parts);
        self.told(context, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    const SILENCE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_given_up_and_a_slow_one_is_not() {
        let (mut client, server) = duplex(4);
        let mut server = Patient::new(server, SILENCE);
        let slow = async {
            let mut got = [0; 4];
            for _ in 0..5 {
                sleep(SILENCE * 9 / 10).await;
                client.read_exact(&mut got).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(server.write_all(&[7; 20]), slow);
        written.unwrap();
        server.write_all(&[7; 4]).await.unwrap();
        let begun = Instant::now();
        let error = server.write_all(&[7; 4]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= SILENCE);
    }
}
