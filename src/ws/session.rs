//! A participant's conversation: ticket, then frames one way and words both ways.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::conversation::{End, Patience, end, first, out_of_order};
use super::link::{Event, Link};
use super::socket::Received;
use crate::clock::Tick;
use crate::hub::Hub;
use crate::hub::relay::Watching;
use crate::hub::rooms::Participant;
use crate::ids::ConnectionId;
use crate::limits;
use crate::tls::Stream;
use crate::wire::close::{Close, CloseCode};
use crate::wire::frame::Source;
use crate::wire::message::Text;
use crate::wire::session::{FromParticipant, Role, Side, ToParticipant};

/// How often a participant's connection looks at the time: to tell a publisher what viewers can take, and
/// to find a viewer stuck.
const LOOK: Duration = limits::FEEDBACK;

/// Runs one session connection to its end.
pub(super) async fn run(hub: &Arc<Hub>, mut link: Link<Stream>) {
    let ended = match hello(hub, &mut link).await {
        Ok((participant, seat)) => {
            let feedback = Source::ALL.map(Feedback::of);
            Talk { hub, participant, seat, feedback, stuck: Stuck::default() }.run(&mut link).await
        }
        Err(ended) => ended,
    };
    end(hub, link, ended).await;
}

async fn hello(hub: &Arc<Hub>, link: &mut Link<Stream>) -> Result<(Participant, Option<Watching>), End> {
    let first = first::<FromParticipant>(hub, link).await?;
    match first.message {
        Ok(FromParticipant::Attach(attach)) => {
            let (participant, seat) = hub.attach(link.connection(), attach, first.id).await?;
            if participant.role() == Role::Publisher {
                link.allow(hub.limits().frame);
            } else if participant.side() == Side::Agent {
                link.allow(limits::CAMERA_FRAME);
            }
            Ok((participant, seat))
        }
        _ => Err(out_of_order().into()),
    }
}

struct Talk<'a> {
    hub: &'a Arc<Hub>,
    participant: Participant,
    seat: Option<Watching>,
    feedback: [Feedback; 2],
    stuck: Stuck,
}

impl Talk<'_> {
    async fn run(mut self, link: &mut Link<Stream>) -> End {
        let mut patience = Patience::new(self.hub.limits().session_rate);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                biased;
                // First, because a publisher that never pauses would leave no other moment.
                _ = look.tick() => {
                    if let Err(close) = self.look(link) {
                        return End::Close(close);
                    }
                    continue;
                }
                event = next(link, self.seat.as_mut()) => event,
            };
            let taken = match event {
                Event::Over(over) => return End::Over(over),
                Event::Lost(streams) => {
                    if let Some(seat) = &mut self.seat {
                        self.participant.lost(seat, &streams);
                    }
                    Ok(())
                }
                Event::Received(Received::Binary(frame)) => self.participant.publish(frame),
                Event::Received(Received::Text(text)) => self.take(link, &mut patience, text.as_str()),
                Event::Received(Received::Life | Received::Closed) => Ok(()),
            };
            if let Err(close) = taken {
                return End::Close(close);
            }
        }
    }

    fn take(&mut self, link: &Link<Stream>, patience: &mut Patience, text: &str) -> Result<(), Close> {
        let limit = self.hub.limits().session_text;
        if text.len() > limit {
            let bytes = text.len();
            let reason = format!("text message of {bytes} bytes exceeds {limit}");
            return Err(Close::told(CloseCode::BadMessage, reason));
        }
        let connection = link.connection();
        let Some((id, message)) = patience.read::<FromParticipant>(self.hub, connection, text)? else {
            return Ok(());
        };
        if !self.participant.passes_on(&message, text) {
            self.participant.hear(connection, message, id, self.seat.as_mut());
        }
        Ok(())
    }

    /// Once a second.
    fn look(&mut self, link: &Link<Stream>) -> Result<(), Close> {
        let now = self.hub.clock().tick();
        if let Some(seat) = &mut self.seat {
            let (writing, written) = link.writing();
            let blocked = self.stuck.look(now, writing, written);
            let stalled = seat.stalled_since().map(|since| now.since(since)).unwrap_or_default();
            let worst = blocked.max(stalled);
            if worst >= self.hub.limits().stuck {
                return Err(Close::new(CloseCode::TooSlow, "frames were not taken for too long"));
            }
            if worst >= self.hub.limits().outbox_age {
                self.participant.lagging(seat, 0);
            } else if seat.catches_up(0, !writing) {
                self.participant.caught_up(0);
            }
        }
        self.participant.figures();
        for feedback in &mut self.feedback {
            if self.participant.publishes(feedback.source) {
                let viewers = self.participant.relay_of(feedback.source).viewers();
                if let Some(news) = feedback.look(now, &viewers) {
                    link.connection().outbox.push(Text::of(&news));
                }
            }
        }
        Ok(())
    }
}

async fn next(link: &mut Link<Stream>, seat: Option<&mut Watching>) -> Event {
    match seat {
        Some(seat) => link.next_with(seat).await,
        None => link.next().await,
    }
}

/// Finds a socket that takes nothing though something waits.
#[derive(Debug, Default)]
struct Stuck {
    since: Option<Tick>,
    written: u64,
}

impl Stuck {
    /// For how long nothing was taken.
    fn look(&mut self, now: Tick, writing: bool, written: u64) -> Duration {
        if !writing || written != self.written {
            self.since = None;
        }
        self.written = written;
        if writing { now.since(*self.since.get_or_insert(now)) } else { Duration::ZERO }
    }
}

/// What a publisher is told of its viewers.
#[derive(Debug)]
struct Feedback {
    source: Source,
    last: Option<Tick>,
    sent: HashMap<ConnectionId, u64>,
    told: Option<(usize, usize)>,
}

impl Feedback {
    fn of(source: Source) -> Self {
        Self { source, last: None, sent: HashMap::new(), told: None }
    }

    /// The message, when there is something new: the numbers changed, or somebody is held back.
    fn look(&mut self, now: Tick, viewers: &[(ConnectionId, u64, bool)]) -> Option<ToParticipant> {
        let elapsed = now.since(self.last.replace(now)?).as_millis().max(1);
        let rate = |(id, sent, lagging): &(ConnectionId, u64, bool)| {
            let before = self.sent.get(id).copied().unwrap_or_default();
            let bits = u128::from(sent.saturating_sub(before)) * 8;
            (u64::try_from(bits / elapsed).unwrap_or(u64::MAX), *lagging)
        };
        let mut rates: Vec<(u64, bool)> = viewers.iter().map(rate).collect();
        self.sent = viewers.iter().map(|(id, sent, _)| (*id, *sent)).collect();
        rates.sort_unstable();
        let lagging = rates.iter().filter(|(_, lagging)| *lagging).count();
        let kbps = rates.iter().find(|(_, lagging)| *lagging).map_or(0, |(kbps, _)| *kbps);
        let median_kbps = rates.get(rates.len() / 2).map_or(0, |(kbps, _)| *kbps);
        let news = (lagging, rates.len());
        if lagging == 0 && self.told == Some(news) {
            return None;
        }
        self.told = Some(news);
        let stream = self.source.stream();
        Some(ToParticipant::Feedback { stream, kbps, median_kbps, lagging, viewers: rates.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_stuck_only_while_it_takes_nothing() {
        let mut stuck = Stuck::default();
        assert_eq!(stuck.look(Tick(0), true, 10), Duration::ZERO);
        assert_eq!(stuck.look(Tick(5_000), true, 10), Duration::from_secs(5));
        assert_eq!(stuck.look(Tick(6_000), true, 11), Duration::ZERO);
        assert_eq!(stuck.look(Tick(9_000), false, 11), Duration::ZERO);
        assert_eq!(stuck.look(Tick(30_000), true, 11), Duration::ZERO);
    }

    #[test]
    fn feedback_is_told_when_something_changed_or_somebody_is_held_back() {
        let mut feedback = Feedback::of(Source::Screen);
        let (a, b) = (ConnectionId(1), ConnectionId(2));
        assert!(feedback.look(Tick(0), &[(a, 0, false)]).is_none(), "nothing to compare with");
        let Some(ToParticipant::Feedback { viewers, lagging, kbps, .. }) =
            feedback.look(Tick(1_000), &[(a, 125_000, false)])
        else {
            panic!("the number of viewers is news");
        };
        assert_eq!((viewers, lagging, kbps), (1, 0, 0));
        assert!(feedback.look(Tick(2_000), &[(a, 250_000, false)]).is_none());
        let Some(ToParticipant::Feedback { kbps, median_kbps, lagging, .. }) =
            feedback.look(Tick(3_000), &[(a, 375_000, false), (b, 12_500, true)])
        else {
            panic!("somebody is held back");
        };
        assert_eq!((kbps, median_kbps, lagging), (100, 1_000, 1));
        assert!(feedback.look(Tick(4_000), &[(a, 500_000, false), (b, 25_000, true)]).is_some());
    }
}
