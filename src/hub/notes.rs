//! What a session's words become: metrics, log lines, events, and the receipt of a consent.
//!
//! A consent's receipt is on the disk before any ticket is handed out. It costs the flush of one commit,
//! shared with whoever else writes at the time (some milliseconds beside the seconds in which a person
//! reads), and keeps one promise simple: what was shared was consented to, and there is proof. While the
//! receipt is written the session's outputs are held, no thread waits, and no lock is kept. A receipt that
//! cannot be written fails the session.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::Hub;
use super::driver::Flow;
use super::sessions::LiveSession;
use crate::ids::{EventId, ReceiptId};
use crate::limits;
use crate::model::event::told::{self, Around, Subject};
use crate::model::event::{Actor, Event, ReceiptRef, What};
use crate::model::feed::Draft;
use crate::model::receipt::{Consent, ConsentingGuest, Link, terms_hash};
use crate::model::session::{Accepted, EndReason, Happened};
use crate::store::receipts::Seal;

impl Hub {
    /// Writes down what happened. A consent holds what follows until its receipt is written.
    pub(super) fn note(self: &Arc<Self>, session: &Arc<LiveSession>, happened: Happened) -> Flow {
        match &happened {
            Happened::Offered => self.meters.offer("offered"),
            Happened::Accepted(_) => self.meters.offer("accepted"),
            Happened::Refused(state, _) => self.meters.offer(state.as_str()),
            Happened::Ended(reason) => self.meters.session_ended(reason.as_str()),
            Happened::InputRefused => {
                // Nothing else: an agent's client may send many in a second.
                self.meters.refusal("control_grant");
                return Flow::On;
            }
            _ => {}
        }
        session.course.lock().heard(&happened);
        match happened {
            Happened::Accepted(accepted) if accepted.version.is_some() => {
                let (hub, session) = (Arc::clone(self), Arc::clone(session));
                self.runtime.spawn(async move { hub.receipt(&session, accepted).await });
                Flow::Hold
            }
            happened => {
                self.write_down(session, &happened, None);
                Flow::On
            }
        }
    }

    /// Makes the receipt of a consent, then lets the session go on; without it, to its end.
    async fn receipt(self: &Arc<Self>, session: &Arc<LiveSession>, accepted: Accepted) {
        let group = &session.group;
        let guest = session.guest.zip(accepted.guest.clone());
        let guest = guest.map(|(participant, name)| ConsentingGuest { participant, name });
        // Without anybody who accepted there is nothing that could be proven.
        let (true, Some(terms)) = (session.visitor.is_some() || guest.is_some(), &session.terms) else {
            return self.unproven(session, "nobody was there to consent");
        };
        let consent = Consent {
            id: ReceiptId::fresh(),
            group: group.clone(),
            session: session.id,
            request: session.request,
            visitor: session.visitor.clone(),
            guest,
            connection: accepted.by.map(|by| by.to_string()).unwrap_or_default(),
            asked_by: Arc::clone(&accepted.asked_by),
            agents: accepted.agents.clone(),
            kind: session.kind,
            control: session.control,
            terms_version: Arc::clone(&terms.version),
            terms_hash: terms_hash(terms),
            displayed_at: accepted.displayed,
            accepted_at: accepted.at,
        };
        let key = self.accounts.receipt_key(group);
        let seal: Seal = Arc::new(move |link: &Link| consent.seal(link, &key));
        let asked = self.clock.tick();
        let sealing = tokio::time::timeout(limits::RECEIPT_WAIT, self.receipts.append_receipt(group, seal));
        let why = match sealing.await {
            Ok(Ok(sealed)) => {
                self.meters.receipt("ok");
                session.course.lock().proven();
                self.meters.receipt_seconds.record(self.clock.tick().since(asked).as_secs_f64());
                let receipt = ReceiptRef { id: sealed.id, number: sealed.number };
                self.write_down(session, &Happened::Accepted(accepted), Some(receipt));
                self.proven(session);
                if let Some(saved) = self.being_saved(session) {
                    saved.await;
                }
                self.resume(session);
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it took longer than {:?}", limits::RECEIPT_WAIT),
        };
        self.unproven(session, &why);
    }

    /// A consent that cannot be proven ends its session.
    fn unproven(self: &Arc<Self>, session: &Arc<LiveSession>, why: &str) {
        self.meters.receipt("failed");
        session.course.lock().unproven();
        tracing::error!(session = %session.id, why, "a consent receipt cannot be written, the session ends");
        session.barred.store(true, Ordering::Relaxed);
        self.end_session(session, EndReason::Failed);
        self.resume(session);
    }

    /// What a session's word posts to the feed of its record.
    fn posts(&self, session: &LiveSession, happened: &Happened) -> SmallVec<[Draft; 1]> {
        if session.record.is_none() {
            return SmallVec::new();
        }
        let group = self.accounts.group(&session.group);
        let on = group.is_some_and(|group| group.settings.chatter_on_start);
        session.chatter.lock().handle(happened, on)
    }

    /// Writes the events of a session's word with the posts that they make, and a line to the log. Ids only
    /// in the line: no name, no page, no secret.
    fn write_down(&self, session: &LiveSession, happened: &Happened, receipt: Option<ReceiptRef>) {
        let agents = session.view().agents;
        tracing::info!(
            target: "porchlight::session",
            group = %session.group,
            session = %session.id,
            request = %session.request,
            ?agents,
            happened = happened.name(),
        );
        if !session.logged {
            return;
        }
        let at = match happened {
            Happened::Accepted(accepted) => accepted.at,
            _ => self.clock.now().wall,
        };
        let subject = Subject {
            kind: session.kind,
            visitor: session.visitor.as_ref(),
            guest: session.guest,
            asker: &session.asker,
            terms: session.terms.as_ref(),
            control: session.control,
        };
        let around = Around { agents, receipt, relayed: session.relay.relayed() };
        let event = |id, actor, what| Event {
            id,
            group: session.group.clone(),
            at,
            session: Some(session.id),
            request: Some(session.request),
            actor,
            record: session.record.clone(),
            what,
        };
        let words = told::events(happened, &subject, around);
        let posts = self.posts(session, happened).into_iter().map(|draft| {
            let (id, agent) = (EventId::fresh(), draft.agent.clone());
            event(id, Actor::Agent(agent), What::FeedPosted(draft.post(id)))
        });
        let words = words.into_iter().map(|(actor, what)| event(EventId::fresh(), actor, what));
        self.events.write_together(words.chain(posts).collect());
    }
}
