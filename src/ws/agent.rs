//! The agent's conversation: token, then wishes and pushes until the token ends that was shown last.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::conversation::{End, Patience, end, first, out_of_order, text_of};
use super::link::{Event, Link};
use crate::clock::Wall;
use crate::hub::Hub;
use crate::hub::agents::AgentSeat;
use crate::hub::visitors::Caller;
use crate::tls::Stream;
use crate::wire::agent::FromAgent;
use crate::wire::close::{Close, CloseCode};
use crate::wire::message::Text;

/// Runs one agent connection to its end.
pub(super) async fn run(hub: &Arc<Hub>, mut link: Link<Stream>, caller: Caller) {
    let ended = match hello(hub, &mut link, &caller).await {
        Ok(mut seat) => talk(hub, &mut link, &mut seat).await,
        Err(ended) => ended,
    };
    end(hub, link, ended).await;
}

async fn hello(hub: &Arc<Hub>, link: &mut Link<Stream>, caller: &Caller) -> Result<AgentSeat, End> {
    let first = first::<FromAgent>(hub, link).await?;
    match first.message {
        Ok(FromAgent::Connect(hello)) => {
            let seat = hub.agent_arrives(link.connection(), caller, &hello, first.id)?;
            seat.follow_again().await;
            Ok(seat)
        }
        _ => Err(out_of_order().into()),
    }
}

async fn talk(hub: &Arc<Hub>, link: &mut Link<Stream>, seat: &mut AgentSeat) -> End {
    let mut patience = Patience::new(hub.limits().agent_rate);
    let mut expires_at = seat.identity().expires_at;
    let expiry = tokio::time::sleep(left(hub, expires_at));
    tokio::pin!(expiry);
    loop {
        let event = tokio::select! {
            biased;
            () = &mut expiry => {
                return End::Close(Close::new(CloseCode::Unauthorized, "the token has expired"));
            }
            event = link.next() => event,
        };
        let received = match event {
            Event::Over(over) => return End::Over(over),
            Event::Received(received) => received,
            Event::Lost(_) => continue,
        };
        let Some(text) = text_of(received) else {
            return End::Close(Close::new(CloseCode::BadMessage, "a message is JSON text"));
        };
        let (id, message) = match patience.read::<FromAgent>(hub, link.connection(), &text) {
            Ok(Some(read)) => read,
            Ok(None) => continue,
            Err(close) => return End::Close(close),
        };
        let answer = match seat.take(message, id, &text).await {
            Ok(answer) => answer,
            Err(refusal) => Some(Text::refusal(id, &refusal)),
        };
        // Where another node is asked, the answer comes by itself.
        if let Some(answer) = answer {
            link.connection().outbox.push(answer);
        }
        if seat.identity().expires_at != expires_at {
            expires_at = seat.identity().expires_at;
            expiry.as_mut().reset(Instant::now() + left(hub, expires_at));
        }
    }
}

/// How long a token still holds.
fn left(hub: &Hub, expires_at: Wall) -> Duration {
    Duration::from_millis(expires_at.0.saturating_sub(hub.clock().now().wall.0))
}
