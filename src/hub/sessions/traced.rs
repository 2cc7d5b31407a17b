//! The trace of a session: what an agent waited for, from its request until the session is over.
//!
//! Decides which spans there are and what they tell: ids of the session and of its request, its kind, how it went. No
//! visitor, no name, no address and no secret. A trace goes on from the span that the agent's page named, and on
//! another node from the span that was saved with the session.

use std::sync::Arc;

use super::{About, LiveSession};
use crate::hub::Hub;
use crate::model::session::{EndReason, Happened};
use crate::telemetry::{Parent, Span, Traces};
use crate::wire::agent::RequestState;

/// Where a session comes from, as its trace tells it.
pub(super) enum Begun {
    /// An agent asked for it, in this span of its page.
    ByAgent(Option<Parent>),
    /// Another node began it, in this span.
    OnNode(Option<Parent>),
}

/// The spans of a session that are open.
#[derive(Debug, Default)]
pub(in crate::hub) struct Course {
    /// What the others are parts of.
    root: Option<Parent>,
    /// From the agent's request to its answer.
    request: Option<Span>,
    /// The question, until it is answered or taken back.
    offer: Option<Span>,
    /// The terms on the visitor's screen.
    terms: Option<Span>,
    /// The proof of the consent, until it is kept.
    receipt: Option<Span>,
    /// From the consent to the end.
    session: Option<Span>,
}

impl Course {
    pub(super) fn begin(traces: Option<&Traces>, about: &About) -> Self {
        let Some(traces) = traces else { return Self::default() };
        let (name, parent) = match about.trace {
            Begun::ByAgent(parent) => ("request", parent),
            Begun::OnNode(parent) => ("session", parent),
        };
        let mut span = traces.begin(name, parent);
        span.tell("porchlight.session", about.id);
        span.tell("porchlight.request", about.request);
        span.tell("porchlight.kind", about.kind.as_str());
        let root = span.parent();
        match about.trace {
            Begun::ByAgent(_) => Self { root, request: Some(span), ..Self::default() },
            Begun::OnNode(_) => {
                span.note("adopted");
                Self { root, session: Some(span), ..Self::default() }
            }
        }
    }

    /// What the spans of the session on other nodes are parts of.
    pub(super) fn root(&self) -> Option<Parent> {
        self.root
    }

    /// Something happened to the session.
    pub(in crate::hub) fn heard(&mut self, happened: &Happened) {
        match happened {
            Happened::Offered => self.offer = self.part("offer"),
            Happened::Displayed => self.terms = self.offer.as_ref().map(|offer| offer.child("terms")),
            Happened::Opened => self.starts("opened"),
            Happened::Accepted(accepted) => {
                self.answered("accepted");
                if accepted.version.is_some() {
                    self.receipt = self.part("receipt");
                } else {
                    self.starts("accepted");
                }
            }
            Happened::Refused(state, _) => self.refused(*state),
            Happened::Ended(reason) => self.ended(*reason),
            other => {
                if let Some(session) = &mut self.session {
                    session.note(other.name());
                }
            }
        }
    }

    /// A call does something to the session, in this span of a trace of its own.
    fn called(&mut self, call: Parent) {
        if let Some(open) = self.session.as_mut().or(self.request.as_mut()) {
            open.link(call);
        }
    }

    /// The consent's receipt is kept.
    pub(in crate::hub) fn proven(&mut self) {
        self.receipt = None;
        self.starts("accepted");
    }

    /// It cannot be kept.
    pub(in crate::hub) fn unproven(&mut self) {
        if let Some(mut receipt) = self.receipt.take() {
            receipt.fail("the receipt cannot be kept");
        }
    }

    /// The node goes away or the session does; whatever becomes of it is told by others.
    pub(super) fn leave(&mut self) {
        if let Some(open) = self.session.as_mut().or(self.request.as_mut()) {
            open.note("left");
        }
        *self = Self { root: self.root, ..Self::default() };
    }

    fn part(&self, name: &'static str) -> Option<Span> {
        self.request.as_ref().or(self.session.as_ref()).map(|span| span.child(name))
    }

    fn answered(&mut self, outcome: &'static str) {
        self.terms = None;
        if let Some(mut offer) = self.offer.take() {
            offer.tell("porchlight.outcome", outcome);
        }
    }

    /// The request is over with a session, which is a part of it and outlives it.
    fn starts(&mut self, outcome: &'static str) {
        if let Some(mut request) = self.request.take() {
            request.tell("porchlight.outcome", outcome);
            self.session = Some(request.child("session"));
        }
    }

    fn refused(&mut self, state: RequestState) {
        self.answered(state.as_str());
        if let Some(mut request) = self.request.take() {
            request.tell("porchlight.outcome", state.as_str());
            if state == RequestState::Failed {
                request.fail("the request failed");
            }
        }
    }

    fn ended(&mut self, reason: EndReason) {
        self.answered(reason.as_str());
        self.receipt = None;
        for mut open in [self.request.take(), self.session.take()].into_iter().flatten() {
            open.tell("porchlight.end", reason.as_str());
            if let EndReason::Failed | EndReason::NodeLost = reason {
                open.fail("the session failed");
            }
        }
    }
}

impl LiveSession {
    /// An operator does something to it; the trace of the session leads to the call.
    pub(in crate::hub) fn called(&self, call: Option<Parent>) {
        if let Some(call) = call {
            self.course.lock().called(call);
        }
    }
}

impl Hub {
    /// An agent came into a session that others asked for: a trace of its own, which leads to that of the session.
    pub(super) fn came_into(&self, session: Arc<LiveSession>, trace: Option<Parent>) -> Arc<LiveSession> {
        let (Some(traces), Some(parent)) = (self.traces.get(), trace) else { return session };
        let mut join = traces.begin("join", Some(parent));
        join.tell("porchlight.session", session.id);
        if let Some(root) = session.course.lock().root() {
            join.link(root);
        }
        session
    }

    /// What is open is told as far as it came: the node goes away.
    pub fn leave_traces(&self) {
        for session in self.sessions.all() {
            session.course.lock().leave();
        }
    }
}
