//! One session: how it is opened as people open it, played, and counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::cli::load::comeback::Comebacks;
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
    pub(super) comebacks: &'a Arc<Comebacks>,
    pub(super) args: &'a RelayArgs,
}

/// An open session in which nothing was sent yet.
#[derive(Debug)]
pub(super) struct Stage {
    start: oneshot::Sender<Pace>,
    publisher: JoinHandle<Published>,
    viewers: Vec<(Arc<Seen>, JoinHandle<()>)>,
    flow: Arc<Flow>,
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
    /// Whether the session ended, for one of its participants, before its publisher ended it.
    pub(super) lost: bool,
    /// Whether a participant came back to it, so that frames may be missing up to a key frame.
    interrupted: bool,
    pub(super) seen: Vec<Arc<Seen>>,
}

impl Casting<'_> {
    /// Opens the nth session up to the point where everybody is attached.
    pub(super) async fn open(self, n: usize) -> Result<Stage, Fault> {
        let Self { desk, errors, comebacks, args, .. } = self;
        let visitor_id = visitor_id(n);
        let mut visitor = patiently(visit(self.target, n, &visitor_id)).await?;
        let flow = Arc::new(Flow::new(args.viewers));
        let (start, started) = oneshot::channel();
        // The first agent's request is answered only once the visitor has consented and perhaps attached,
        // so both sides go on at the same time.
        let sharing = async {
            let ticket = patiently(consent(&mut visitor)).await?;
            let seat = Seat {
                target: self.target.clone(),
                audience: Audience::Publisher,
                n,
                comebacks: Arc::clone(comebacks),
            };
            let attached = patiently(seat.attach(&messages::attach(&ticket))).await?;
            Ok(tokio::spawn(publish(seat, attached, args.frame_bytes, started, Arc::clone(&flow))))
        };
        let (publisher, first) = tokio::try_join!(sharing, desk.join(0, &visitor_id))?;
        let visitor =
            tokio::spawn(remain(visitor, self.target.clone(), n, Arc::clone(comebacks), Arc::clone(errors)));

        let mut first = Some(first);
        let (mut viewers, mut stalled) = (Vec::new(), Vec::new());
        for viewer in 0..args.viewers + args.stalled {
            let ticket = match first.take() {
                Some(ticket) => ticket,
                None => desk.join(viewer, &visitor_id).await?,
            };
            let seat = Seat {
                target: self.agents.clone(),
                audience: Audience::Viewer,
                n,
                comebacks: Arc::clone(comebacks),
            };
            let attached = patiently(seat.attach(&messages::attach(&ticket))).await?;
            if viewer >= args.viewers {
                stalled.push(attached.socket);
                continue;
            }
            let seen = Arc::new(Seen { session: n, viewer, ..Seen::default() });
            let viewing = view(
                seat,
                attached,
                Arc::clone(&seen),
                Arc::clone(&flow),
                args.ack_every,
                Arc::clone(errors),
            );
            viewers.push((seen, tokio::spawn(viewing)));
        }
        Ok(Stage { start, publisher, viewers, flow, stalled, visitor, errors: Arc::clone(errors) })
    }
}

async fn visit(target: &Target, n: usize, visitor_id: &str) -> Result<Socket, Fault> {
    let mut socket = open(target, Audience::Visitor, n).await?;
    let presence = Presence::sized(n, PRESENCE_BYTES);
    say(&mut socket, messages::visitor_connect(&target.group, visitor_id, &presence)).await?;
    connected(&mut socket).await?;
    Ok(socket)
}

/// A participant's place in a session, which it finds again when its connection ends.
#[derive(Debug)]
pub(super) struct Seat {
    target: Target,
    audience: Audience,
    n: usize,
    comebacks: Arc<Comebacks>,
}

/// A connection that takes part.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) socket: Socket,
    /// Good for the next connection, once.
    resume: Option<String>,
    /// The delay that the server told before it ends this connection.
    pub(super) told: Option<Duration>,
}

impl Seat {
    /// Opens a connection and takes part with a ticket or a resume token.
    async fn attach(&self, first: &str) -> Result<Attached, Fault> {
        let mut socket = open(&self.target, self.audience, self.n).await?;
        say(&mut socket, first.to_owned()).await?;
        loop {
            match hear_text(&mut socket).await? {
                SessionHears::Attached { resume_token } => {
                    return Ok(Attached { socket, resume: resume_token, told: None });
                }
                SessionHears::Error { code, message } => return Err(Fault::Told { code, message }),
                SessionHears::Ended { reason } => return Err(Fault::Unexpected(reason)),
                _ => {}
            }
        }
    }

    /// Takes part again by the resume token of a connection that ended.
    pub(super) async fn back(&self, ended: &Attached, fault: Fault) -> Result<Attached, Fault> {
        let Some(token) = &ended.resume else { return Err(fault) };
        let who = if self.audience == Audience::Publisher { "publisher" } else { "viewer" };
        let first = messages::resume(token);
        self.comebacks.back(who, fault, ended.told, || self.attach(&first)).await
    }
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
            VisitorHears::Connected {} | VisitorHears::Reconnect { .. } | VisitorHears::Other => {}
        }
    }
}

/// Stays present, on one connection after the other; what is heard hardly matters, but pings must be answered.
async fn remain(
    mut visitor: Socket,
    target: Target,
    n: usize,
    comebacks: Arc<Comebacks>,
    errors: Arc<Tally>,
) {
    let mut told = None;
    loop {
        match hear_text::<VisitorHears>(&mut visitor).await {
            Ok(VisitorHears::Reconnect { after_ms }) => told = Some(Duration::from_millis(after_ms)),
            Ok(_) => {}
            Err(fault) => {
                let visitor_id = visitor_id(n);
                match comebacks.back("visitor", fault, told.take(), || visit(&target, n, &visitor_id)).await {
                    Ok(back) => visitor = back,
                    Err(fault) => return errors.add(format!("visitor: {}", fault.cause())),
                }
            }
        }
    }
}

fn visitor_id(n: usize) -> String {
    format!("relay-{n:06}")
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
            lost: self.flow.lost.load(Ordering::Acquire),
            interrupted: self.flow.interrupted.load(Ordering::Acquire),
            seen,
        }
    }
}

impl Played {
    /// What each reading viewer got.
    pub(super) fn reports(&self) -> impl Iterator<Item = ViewerReport> {
        self.seen.iter().map(|seen| {
            let broken = seen.broken.load(Ordering::Acquire);
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
                gaps: seen.gaps.load(Ordering::Acquire),
                broken,
                complete: disordered == 0
                    && broken == 0
                    && seen.next.load(Ordering::Acquire) == self.sent
                    && (frames == self.sent || self.interrupted),
                latency: seen.latency.percentiles(),
            }
        })
    }
}
