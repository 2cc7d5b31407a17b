//! The visitor's conversation: hello, then presence for hours.
//!
//! Hundreds of thousands of these are idle at a time: what the idle future holds is counted in bytes, and
//! a test says how many.

use std::sync::Arc;

use super::conversation::{End, Patience, end, first, out_of_order, text_of};
use super::link::{Event, Link};
use crate::hub::Hub;
use crate::hub::visitors::{Caller, VisitorSeat};
use crate::tls::Stream;
use crate::wire::close::{Close, CloseCode};
use crate::wire::visitor::FromVisitor;

/// Runs one visitor connection to its end.
pub(super) async fn run(hub: &Arc<Hub>, mut link: Link<Stream>, caller: Box<Caller>) {
    let ended = match Box::pin(hello(hub, &mut link, caller)).await {
        Ok(seat) => talk(hub, &mut link, &seat).await,
        Err(ended) => ended,
    };
    Box::pin(end(hub, link, ended)).await;
}

async fn hello(hub: &Arc<Hub>, link: &mut Link<Stream>, caller: Box<Caller>) -> Result<VisitorSeat, End> {
    match first::<FromVisitor>(hub, link).await?.message {
        Ok(FromVisitor::Connect(hello)) => Ok(hub.arrive(link.connection(), &caller, hello).await?),
        _ => Err(out_of_order().into()),
    }
}

async fn talk(hub: &Arc<Hub>, link: &mut Link<Stream>, seat: &VisitorSeat) -> End {
    let mut patience = Patience::new(hub.limits().visitor_rate);
    loop {
        let received = match link.next().await {
            Event::Over(over) => return End::Over(over),
            Event::Received(received) => received,
            Event::Lost(_) => continue,
        };
        if let Err(close) = take(hub, link, seat, &mut patience, received) {
            return End::Close(close);
        }
    }
}

fn take(
    hub: &Hub,
    link: &Link<Stream>,
    seat: &VisitorSeat,
    patience: &mut Patience,
    received: super::socket::Received,
) -> Result<(), Close> {
    let text = text_of(received).ok_or(Close::new(CloseCode::BadMessage, "a message is JSON text"))?;
    let connection = link.connection();
    let Some((id, message)) = patience.read::<FromVisitor>(hub, connection, &text)? else { return Ok(()) };
    if !seat.passes_on(&text) {
        seat.hear(connection, message, id);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<F>(_: impl Fn(&'static Arc<Hub>, Link<Stream>, Box<Caller>) -> F) -> usize {
        size_of::<F>()
    }

    /// What an idle visitor's task holds, beside its share of the kernel and the presence entry. A future
    /// that grows by 100 bytes costs 100 MB at a million visitors.
    #[test]
    fn the_idle_conversation_stays_small() {
        let size = size_of_future(run);
        assert!(size <= 1_152, "{size} bytes");
    }
}
