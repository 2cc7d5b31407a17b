//! One session: how it is opened as people open it, played, and counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::cli::load::messages::{self, Presence, SessionHears, VisitorHears};
use crate::cli::load::report::Tally;
use crate::cli::load::socket::{Audience, Fault, Socket, hear_text, open, patiently, say};
use crate::cli::load::target::Target;
use crate::cli::load::visitors::connected;

use super::agents::Desk;
use super::publisher::{Pace, Published, publish};
use super::viewer::{Flow, Seen, view};
use super::{RelayArgs, ViewerReport};

/// Presence of a visitor who shares: as much as `load visitors` sends.
const PRESENCE_BYTES: usize = 200;

/// Who and what is needed to open sessions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Casting<'a> {
    pub(super) target: &'a Target,
    /// Where viewers attach.
    pub(super) agents: &'a Target,
    pub(super) desk: &'a Desk,
    pub(super) errors: &'a Arc<Tally>,
    pub(super) args: &'a RelayArgs,
}

/// An open session in which nothing was sent yet.
#[derive(Debug)]
pub(super) struct Stage {
    start: oneshot::Sender<Pace>,
    publisher: JoinHandle<Published>,
    viewers: Vec<(Arc<Seen>, JoinHandle<()>)>,
    /// Attached, and never read from.
    stalled: Vec<Socket>,
    /// The visitor's presence.
    visitor: JoinHandle<()>,
    errors: Arc<Tally>,
}

/// A session that is over.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) sent: u64,
    pub(super) key_frame_requests: u64,
    pub(super) settled: Instant,
    pub(super) seen: Vec<Arc<Seen>>,
}

impl Casting<'_> {
    /// Opens the nth session up to the point where everybody is attached.
    pub(super) async fn open(self, n: usize) -> Result<Stage, Fault> {
        let Self { desk, errors, args, .. } = self;
        let visitor_id = format!("relay-{n:06}");
        let mut visitor = patiently(self.visit(n, &visitor_id)).await?;
        let flow = Arc::new(Flow::new(args.viewers));
        let (start, started) = oneshot::channel();
        // The first agent's request is answered only once the visitor has consented and perhaps attached,
        // so both sides go on at the same time.
        let sharing = async {
            let ticket = patiently(consent(&mut visitor)).await?;
            let socket = attach(self.target, Audience::Publisher, n, &ticket).await?;
            Ok(tokio::spawn(publish(socket, args.frame_bytes, started, Arc::clone(&flow))))
        };
        let (publisher, first) = tokio::try_join!(sharing, desk.join(0, &visitor_id))?;
        let visitor = tokio::spawn(remain(visitor));

        let mut first = Some(first);
        let (mut viewers, mut stalled) = (Vec::new(), Vec::new());
        for viewer in 0..args.viewers + args.stalled {
            let ticket = match first.take() {
                Some(ticket) => ticket,
                None => desk.join(viewer, &visitor_id).await?,
            };
            let socket = attach(self.agents, Audience::Viewer, n, &ticket).await?;
            if viewer >= args.viewers {
                stalled.push(socket);
                continue;
            }
            let seen = Arc::new(Seen { session: n, viewer, ..Seen::default() });
            let viewing =
                view(socket, Arc::clone(&seen), Arc::clone(&flow), args.ack_every, Arc::clone(errors));
            viewers.push((seen, tokio::spawn(viewing)));
        }
        Ok(Stage { start, publisher, viewers, stalled, visitor, errors: Arc::clone(errors) })
    }

    async fn visit(self, n: usize, visitor_id: &str) -> Result<Socket, Fault> {
        let mut socket = open(self.target, Audience::Visitor, n).await?;
        let presence = Presence::sized(n, PRESENCE_BYTES);
        say(&mut socket, messages::visitor_connect(&self.target.group, visitor_id, &presence)).await?;
        connected(&mut socket).await?;
        Ok(socket)
    }
}

async fn attach(target: &Target, audience: Audience, n: usize, ticket: &str) -> Result<Socket, Fault> {
    patiently(async {
        let mut socket = open(target, audience, n).await?;
        say(&mut socket, messages::attach(ticket)).await?;
        loop {
            match hear_text(&mut socket).await? {
                SessionHears::Attached {} => return Ok(socket),
                SessionHears::Error { code, message } => return Err(Fault::Told { code, message }),
                SessionHears::Ended { reason } => return Err(Fault::Unexpected(reason)),
                _ => {}
            }
        }
    })
    .await
}

/// The visitor's side of the request: shows the offer, accepts the terms, gets the ticket.
async fn consent(visitor: &mut Socket) -> Result<String, Fault> {
    loop {
        match hear_text(visitor).await? {
            VisitorHears::Offer { request_id, terms } => {
                say(visitor, messages::offer_displayed(&request_id)).await?;
                if terms.required {
                    say(visitor, messages::accept_terms(&request_id, &terms.version)).await?;
                }
            }
            VisitorHears::Ready { ticket } => return Ok(ticket),
            VisitorHears::OfferEnded { outcome } => return Err(Fault::Offer(outcome)),
            VisitorHears::Error { code, message } => return Err(Fault::Told { code, message }),
            VisitorHears::Connected {} | VisitorHears::Other => {}
        }
    }
}

/// Stays present until the socket ends; what is heard does not matter, but pings must be answered.
async fn remain(mut visitor: Socket) {
    while hear_text::<VisitorHears>(&mut visitor).await.is_ok() {}
}

impl Stage {
    /// The counts of its reading viewers.
    pub(super) fn seen(&self) -> impl Iterator<Item = Arc<Seen>> {
        self.viewers.iter().map(|(seen, _)| Arc::clone(seen))
    }

    /// Publishes at the pace to the end of the session.
    pub(super) async fn play(self, pace: Pace) -> Played {
        let begun = Instant::now();
        // A publisher that has already ended tells why below.
        let _ = self.start.send(pace);
        let published = self.publisher.await.unwrap_or_else(|panic| Published {
            sent: 0,
            key_frame_requests: 0,
            settled: begun,
            fault: Some(Fault::Unexpected(format!("publisher's task: {panic}"))),
        });
        if let Some(fault) = &published.fault {
            self.errors.add(format!("publisher: {}", fault.cause()));
        }
        drop(self.stalled);
        let mut seen = Vec::new();
        for (viewer, viewing) in self.viewers {
            // The session is over: who has not heard so by now is cut off, its counts stay.
            viewing.abort();
            seen.push(viewer);
        }
        self.visitor.abort();
        Played {
            sent: published.sent,
            key_frame_requests: published.key_frame_requests,
            settled: published.settled,
            seen,
        }
    }
}

impl Played {
    /// What each reading viewer got.
    pub(super) fn reports(&self) -> impl Iterator<Item = ViewerReport> {
        self.seen.iter().map(|seen| {
            let (frames, disordered) =
                (seen.frames.load(Ordering::Acquire), seen.disordered.load(Ordering::Acquire));
            ViewerReport {
                session: seen.session,
                viewer: seen.viewer,
                frames,
                bytes: seen.bytes.load(Ordering::Acquire),
                missing: self.sent.saturating_sub(frames),
                disordered,
                lagging: seen.lagging.load(Ordering::Acquire),
                complete: frames == self.sent && disordered == 0,
                latency: seen.latency.percentiles(),
            }
        })
    }
}
