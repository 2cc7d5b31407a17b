//! One connection's only select: what it sends and what it hears, in stated order.
//!
//! First what is half written; then the control lane, pings and news of the outbox; then frames of a seat;
//! then the close, once all that is said; and last reading. Reading is never starved: writing stops where
//! the socket has no room, and each turn reads at most one message.

use std::future::poll_fn;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use governor::clock::DefaultClock;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep};

use super::socket::{QUEUE_BYTES, ReadError, Received, Socket};
use crate::clock::Clock;
use crate::hub::outbox::Item;
use crate::hub::registry::{Admitted, Connection};
use crate::hub::relay::Watching;
use crate::limits::{self, Rate};
use crate::wire::close::{Close, CloseCode};

/// What a connection's task wakes up for.
#[derive(Debug)]
pub(super) enum Event {
    /// The peer said something.
    Received(Received),
    /// This viewer has lost frames of these streams and waits for key frames.
    Lost(SmallVec<[u32; 1]>),
    /// The connection is over. With a close of ours, it has been sent.
    Over(Over),
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum Over {
    /// The peer closed, or its stream ended.
    ByPeer,
    /// We closed.
    ByUs(Close),
}

/// Meters what a peer may send.
#[derive(Debug)]
pub(super) struct Meter(RateLimiter<NotKeyed, InMemoryState, DefaultClock>);

impl Meter {
    /// So many a second, and so many at once.
    pub(super) fn new(rate: Rate) -> Self {
        let at_least_one = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(rate.per_second)).allow_burst(at_least_one(rate.burst));
        Self(RateLimiter::direct(quota))
    }

    /// Counts one; false when it is one too many.
    pub(super) fn allows(&self) -> bool {
        self.0.check().is_ok()
    }
}

/// A socket with its outbox.
#[derive(Debug)]
pub(super) struct Link<S> {
    socket: Socket<S>,
    connection: Admitted,
    clock: Clock,
    closing: Option<Close>,
    /// When a connection that is to close is dropped; made when it is to close, which an idle one is not.
    patience: Option<Pin<Box<Sleep>>>,
    /// Signs of life a peer may send; made when it sends the first.
    life: Option<Box<Meter>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// Ties a socket to its place in the registry.
    pub(super) fn new(socket: Socket<S>, connection: Admitted, clock: Clock) -> Self {
        Self { socket, connection, clock, closing: None, patience: None, life: None }
    }

    /// The connection as everybody else sees it.
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Lets larger messages in: the peer has shown who it is.
    pub(super) fn allow(&mut self, message: usize) {
        self.socket.allow(message);
    }

    /// Whether frames or messages wait for the socket, and how many bytes it has taken so far: what
    /// waits without progress is stuck.
    pub(super) fn writing(&self) -> (bool, u64) {
        (self.socket.is_writing(), self.socket.progress())
    }

    /// Waits for the next event. Cancel-safe.
    pub(super) async fn next(&mut self) -> Event {
        poll_fn(|cx| self.poll_next(cx, None)).await
    }

    /// The same for a viewer, which also takes frames from its seat.
    pub(super) async fn next_with(&mut self, seat: &mut Watching) -> Event {
        poll_fn(|cx| self.poll_next(cx, Some(seat))).await
    }

    /// Sends what waits and the close, then gives the peer a moment to answer.
    pub(super) async fn finish(mut self, close: Close) -> Over {
        self.connection.outbox.close(close);
        loop {
            if let Event::Over(over) = self.next().await {
                return over;
            }
        }
    }

    /// Lets a peer that was closed for what it sent read why: reads on for a moment, because a socket that
    /// is dropped with unread bytes takes the close frame with it.
    pub(super) async fn linger(mut self) {
        let drained = poll_fn(|cx| self.socket.poll_drain(cx));
        if tokio::time::timeout(limits::CLOSE_HANDSHAKE, drained).await.is_err() {
            tracing::debug!("a peer that was closed keeps sending");
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, seat: Option<&mut Watching>) -> Poll<Event> {
        self.connection.outbox.register(cx.waker());
        if self.connection.outbox.is_cut() {
            return Poll::Ready(Event::Over(Over::ByPeer));
        }
        // Whoever closes it, a peer that neither takes nor answers the close does not keep its place.
        if self.connection.outbox.is_closing() {
            let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(limits::CLOSE_HANDSHAKE)));
            if patience.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Over(self.over()));
            }
        }
        match self.poll_write(cx, seat) {
            Ok(Some(lost)) => return Poll::Ready(Event::Lost(lost)),
            Ok(None) => {}
            Err(error) => return Poll::Ready(Event::Over(self.failed(&error))),
        }
        loop {
            let received = match self.socket.poll_read(cx) {
                Poll::Ready(Ok(received)) => received,
                Poll::Ready(Err(error)) => return Poll::Ready(Event::Over(self.refuse(cx, error))),
                Poll::Pending => return Poll::Pending,
            };
            self.connection.heard(self.clock.tick());
            match received {
                Received::Closed => {
                    // The answer to the peer's close, as far as the socket takes it.
                    let _answered = self.socket.poll_flush(cx);
                    return Poll::Ready(Event::Over(self.over()));
                }
                Received::Life => {
                    let life =
                        self.life.get_or_insert_with(|| Box::new(Meter::new(limits::PING_RATE.into())));
                    if !life.allows() {
                        self.connection.outbox.close(Close::new(CloseCode::RateLimited, "too many pings"));
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
                // After our close only the peer's close counts.
                _ if self.closing.is_some() => {}
                received => return Poll::Ready(Event::Received(received)),
            }
        }
    }

    /// Writes as long as there is something to write and room for it.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        mut seat: Option<&mut Watching>,
    ) -> Result<Option<SmallVec<[u32; 1]>>, ReadError> {
        loop {
            match self.socket.poll_flush(cx) {
                Poll::Ready(result) => result?,
                Poll::Pending => return Ok(None),
            }
            if self.closing.is_some() {
                return Ok(None);
            }
            let mut queued = false;
            while self.socket.has_room() {
                match self.connection.outbox.pop() {
                    Some(Item::Text(text)) => {
                        self.socket.queue_text(text.bytes().clone());
                        queued = true;
                    }
                    Some(Item::Ping) => {
                        if queued {
                            // The ping goes through tungstenite, and so behind what is queued.
                            self.connection.outbox.ping();
                        } else {
                            self.socket.ping(cx)?;
                        }
                        queued = true;
                        break;
                    }
                    Some(Item::Close(close)) => {
                        if queued {
                            break;
                        }
                        self.socket.close(cx, &close)?;
                        self.closing = Some(close);
                        queued = true;
                        break;
                    }
                    None => break,
                }
            }
            if !queued && let Some(seat) = seat.as_deref_mut() {
                let look = seat.look(self.clock.tick(), QUEUE_BYTES);
                for frame in &look.frames {
                    self.socket.queue_binary(frame.bytes.clone());
                    queued = true;
                }
                if !look.lost.is_empty() {
                    return Ok(Some(look.lost));
                }
            }
            if !queued {
                return Ok(None);
            }
        }
    }

    /// A peer that breaks the protocol is told so, as far as it still listens.
    fn refuse(&mut self, cx: &mut Context<'_>, error: ReadError) -> Over {
        let close = match error {
            ReadError::Lost(_) => return self.over(),
            ReadError::TooLarge(limit) => {
                Close::told(CloseCode::BadMessage, format!("message exceeds {limit} bytes"))
            }
            ReadError::Protocol(what) => Close::told(CloseCode::BadMessage, what),
        };
        if self.closing.is_some() {
            return self.over();
        }
        // What came so far cannot be understood, so nothing more is read: say why, and go.
        let told = self.socket.close(cx, &close);
        let sent = told.is_ok() && matches!(self.socket.poll_flush(cx), Poll::Ready(Ok(())));
        tracing::debug!(kind = self.connection.kind.name(), sent, "closed a peer that broke the protocol");
        Over::ByUs(close)
    }

    fn failed(&mut self, error: &ReadError) -> Over {
        tracing::trace!(%error, "write failed");
        self.over()
    }

    fn over(&mut self) -> Over {
        self.closing.take().map_or(Over::ByPeer, Over::ByUs)
    }
}
