//! What all three conversations have in common: the first message, refusals, and the end.

use std::sync::Arc;

use super::link::{Event, Link, Meter, Over};
use super::socket::Received;
use crate::hub::Hub;
use crate::hub::registry::Connection;
use crate::limits::{self, Rate};
use crate::telemetry::SocketKind;
use crate::tls::Stream;
use crate::wire::close::{Close, CloseCode};
use crate::wire::error::{ErrorCode, Refusal};
use crate::wire::message::{Incoming, Read, Text, Unread, read};

/// Waits for the first message, which must be text and come in time. It may be refused only by ending the
/// connection.
pub(super) async fn first<M: Incoming>(hub: &Hub, link: &mut Link<Stream>) -> Result<Read<M>, End> {
    let event = tokio::time::timeout(hub.limits().first_message, link.next()).await;
    let received = match event {
        Err(_) => return Err(End::Close(Close::new(CloseCode::Timeout, "no first message"))),
        Ok(Event::Over(over)) => return Err(End::Over(over)),
        Ok(Event::Received(received)) => received,
        Ok(Event::Lost(_)) => return Err(End::Close(out_of_order())),
    };
    // On a session socket a binary message is a frame, and never text.
    let frame = link.connection().kind == SocketKind::Session && matches!(received, Received::Binary(_));
    let text = text_of(received).filter(|_| !frame).ok_or_else(|| End::Close(out_of_order()))?;
    let first = read::<M>(&text);
    match first.message {
        Err(Unread::NotAMessage(refusal) | Unread::Refused(refusal)) => {
            Err(End::Close(Close::told(CloseCode::BadMessage, refusal.message.into_owned())))
        }
        Ok(_) => Ok(first),
    }
}

/// A first message that should have been another one.
pub(super) const fn out_of_order() -> Close {
    Close::new(CloseCode::BadMessage, "the first message is another one on this socket")
}

/// Text of a message; also where it came in a binary one.
pub(super) fn text_of(received: Received) -> Option<String> {
    match received {
        Received::Text(text) => Some(text.as_str().to_owned()),
        Received::Binary(bytes) => String::from_utf8(bytes.into()).ok(),
        Received::Life | Received::Closed => None,
    }
}

/// How a conversation ends.
#[derive(Debug)]
pub(super) enum End {
    /// It is over already.
    Over(Over),
    /// It is to be closed.
    Close(Close),
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

/// Ends a conversation: closes it where it is still open, and counts how it ended.
pub(super) async fn end(hub: &Arc<Hub>, link: Link<Stream>, end: End) {
    let over = match end {
        End::Over(over @ Over::ByPeer) => over,
        End::Over(over @ Over::ByUs(_)) => {
            link.linger().await;
            over
        }
        End::Close(close) => link.finish(close).await,
    };
    if let Over::ByUs(close) = &over {
        hub.meters().close(close.code.name());
        tracing::debug!(code = close.code.name(), reason = %close.reason, "closed a connection");
    }
}

/// Watches over what one peer sends: how fast, and how much of it is nonsense.
#[derive(Debug)]
pub(super) struct Patience {
    rate: Rate,
    /// Made with the second message, which most connections send late or never.
    meter: Option<Box<Meter>>,
    /// Messages in a row that came too fast.
    refused: u32,
}

impl Patience {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, meter: None, refused: 0 }
    }

    /// Reads a message. `Ok(None)`: it was refused, and the peer was told. A peer that does not speak the
    /// protocol, or does not slow down, is closed.
    pub(super) fn read<M: Incoming>(
        &mut self,
        hub: &Hub,
        connection: &Connection,
        text: &str,
    ) -> Result<Option<(Option<u64>, M)>, Close> {
        let read = read::<M>(text);
        let refusal = match read.message {
            Err(Unread::NotAMessage(refusal)) => {
                return Err(Close::told(CloseCode::BadMessage, refusal.message.into_owned()));
            }
            message if !self.allows() => {
                self.refused += 1;
                hub.meters().refusal("message_rate");
                if self.refused > limits::TOO_FAST {
                    return Err(Close::new(CloseCode::RateLimited, "too many messages"));
                }
                drop(message);
                Refusal::new(ErrorCode::RateLimited, "too many messages; this one was not acted on")
            }
            Ok(message) => {
                self.refused = 0;
                return Ok(Some((read.id, message)));
            }
            Err(Unread::Refused(refusal)) => refusal,
        };
        connection.outbox.push(Text::refusal(read.id, &refusal));
        Ok(None)
    }

    fn allows(&mut self) -> bool {
        let rate = self.rate;
        self.meter.get_or_insert_with(|| Box::new(Meter::new(rate))).allows()
    }
}
