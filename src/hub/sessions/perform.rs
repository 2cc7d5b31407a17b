//! Performing what a session says, in its order.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{LiveSession, REMEMBERED};
use crate::hub::Hub;
use crate::hub::driver::Flow;
use crate::hub::guests::GuestTicket;
use crate::hub::timers::Due;
use crate::ids::{AgentKey, ConnectionId};
use crate::model::presence;
use crate::model::session::{Output, Session};
use crate::wire::agent::{RequestState, ToAgent};
use crate::wire::frame::Source;
use crate::wire::message::Text;
use crate::wire::session::Role;
use crate::wire::visitor::{AgentName, SessionKind, ToVisitor};

impl LiveSession {
    /// What its publisher's frames are.
    pub(in crate::hub) fn shows(&self) -> SessionKind {
        match self.kind {
            SessionKind::Cobrowse => self.driver.read(Session::shown_kind),
            stays => stays,
        }
    }
}

impl Hub {
    pub(super) fn perform_session(self: &Arc<Self>, session: &Arc<LiveSession>, output: Output) -> Flow {
        if session.barred.load(Ordering::Relaxed)
            && let Output::VisitorReady { .. }
            | Output::AgentReady { .. }
            | Output::GuestReady { .. }
            | Output::Request { .. } = output
        {
            return Flow::On;
        }
        if session.is_foreign() {
            return Flow::On;
        }
        if let Output::VisitorReady { .. } | Output::AgentReady { .. } | Output::GuestReady { .. } = output
            && let Some(known) = self.becomes_known(session)
        {
            let (hub, session) = (Arc::clone(self), Arc::clone(session));
            self.runtime.spawn(async move {
                known.await;
                hub.deliver(&session, output);
                hub.resume(&session);
            });
            return Flow::Hold;
        }
        self.deliver(session, output)
    }

    /// Does what a session says, with nothing left to wait for before.
    fn deliver(self: &Arc<Self>, session: &Arc<LiveSession>, output: Output) -> Flow {
        match output {
            Output::Offer { to, agent, expires_at } => {
                // Where nobody is asked there is no offer either.
                if let Some(terms) = &session.terms {
                    self.send(to, || {
                        Text::of(&ToVisitor::Offer {
                            request_id: session.request,
                            session_id: session.id,
                            kind: session.kind,
                            control: session.control,
                            agent: AgentName { name: agent },
                            terms,
                            expires_at,
                        })
                    });
                }
            }
            Output::OfferEnded { to, outcome } => {
                self.send(to, || Text::of(&ToVisitor::OfferEnded { request_id: session.request, outcome }))
            }
            Output::VisitorReady { to, ticket, expires_at } => self.send(to, || {
                Text::of(&ToVisitor::Ready {
                    request_id: Some(session.request),
                    session_id: session.id,
                    role: Role::Publisher,
                    ticket: Some(ticket.into()),
                    ticket_expires_at: Some(expires_at),
                    kind: session.kind,
                    session_key: None,
                    session_key_expires_at: None,
                })
            }),
            Output::VisitorEnded { to, reason } => self.send(to, || {
                Text::of(&ToVisitor::SessionEnded { session_id: session.id, reason: reason.as_str() })
            }),
            Output::Request { to, state } => {
                let text = self.request_text(session, state, None, None);
                to.into_iter().for_each(|to| self.send(to, || text.clone()));
            }
            Output::AgentReady { to, agent, ticket, expires_at } => self.send(to, || {
                Text::of(&ToAgent::Ready {
                    request_id: Some(session.request),
                    session_id: session.id,
                    role: Role::Viewer,
                    ticket: &ticket,
                    ticket_expires_at: expires_at,
                    kind: session.kind,
                    visitor_id: session.visitor.clone(),
                    session_key: None,
                    link: None,
                    join_in: Some(self.join_in(&AgentKey { group: session.group.clone(), agent })),
                    open_record: self.opens_record(session),
                })
            }),
            Output::GuestReady { call, participant, role, ticket, expires_at } => {
                session.hand_over(call, GuestTicket { participant, role, ticket, expires_at });
            }
            Output::AgentEnded { to, reason } => {
                let text = Text::of(&ToAgent::SessionEnded {
                    session_id: session.id,
                    visitor_id: session.visitor.clone(),
                    reason: reason.as_str(),
                });
                to.into_iter().for_each(|to| self.send(to, || text.clone()));
            }
            Output::Tell { to, message } => {
                let text = Text::of(&message);
                to.into_iter().for_each(|to| self.send(to, || text.clone()));
            }
            Output::Close { connection, close } => {
                if let Some(connection) = self.registry.get(connection) {
                    connection.outbox.close(close);
                }
            }
            Output::Paused(paused) => self.stage_paused(session, paused),
            Output::Publisher(connection) => {
                self.stage_publisher(session, Source::Screen, Some(connection));
            }
            Output::Camera(connection) => self.stage_publisher(session, Source::Camera, connection),
            Output::Happened(happened) => return self.note(session, happened),
            Output::Device(device) => self.devices.keep(&session.group, device),
            Output::Moved => self.moved(session),
            Output::Departs => session.saving.departs.notify_one(),
        }
        Flow::On
    }

    /// Where a request stands, as an agent is told; `asks` is the one that this answers.
    pub(in crate::hub) fn request_text(
        &self,
        session: &LiveSession,
        state: RequestState,
        id: Option<u64>,
        asks: Option<&AgentKey>,
    ) -> Text {
        let request = ToAgent::Request {
            request_id: session.request,
            session_id: session.id,
            visitor_id: session.visitor.clone(),
            state,
            steps: &session.view().steps,
            reason: None,
            join_in: asks.map(|agent| self.join_in(agent)),
        };
        Text::answer(id, &request)
    }

    fn send(&self, to: ConnectionId, text: impl FnOnce() -> Text) {
        if let Some(connection) = self.registry.get(to) {
            connection.outbox.push(text());
        }
    }

    /// The session is somewhere else: the visitor's presence shows it, and with it every button.
    fn moved(self: &Arc<Self>, session: &Arc<LiveSession>) {
        let view = session.view();
        let shown = match view.state {
            RequestState::Accepted | RequestState::Connecting | RequestState::Active => Some(session.id),
            _ => None,
        };
        if let Some(key) = session.visitor_key() {
            self.presence(&key, presence::Input::Session { session: shown });
        }
        if view.ended.is_some()
            && let Some(key) = session.visitor_key()
            && self.sessions.of_visitor(&key).is_some_and(|listed| listed.id == session.id)
        {
            // While the session is still listed, so that none that the visitor opens next loses its key.
            self.end_key(&key);
        }
        if view.ended.is_some() && self.sessions.close(session) {
            // A home that was kept for the session alone is given up with it.
            if let Some(key) = session.visitor_key().filter(|key| !self.is_home_of(key)) {
                self.directory.release(self.node, &key);
            }
            self.free_key(session.id);
            self.timers.at(self.clock.tick().after(REMEMBERED), Due::Forget(session.id));
        }
        self.meters.sessions_active.set(self.sessions.len() as f64);
    }
}
