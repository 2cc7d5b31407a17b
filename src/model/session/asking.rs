//! The first half of a session: putting the question, hearing the answer, opening the gate.

#![expect(clippy::result_large_err, reason = "a request that was not answered is handed back whole")]

use std::sync::Arc;

use super::{Accepted, Answer, Asker, EndReason, Gate, Happened, Output, Phase, Session, SessionError};
use crate::clock::Now;
use crate::ids::{ConnectionId, RequestId};
use crate::model::request::{Admission, NotTaken, Outcome, Request, Sharer, Ticket, Watcher};
use crate::model::ticket::Chance;
use crate::wire::agent::RequestState;
use crate::wire::session::Role;
use crate::wire::visitor::OfferOutcome;

impl Session {
    /// Sends the offer to where the visitor is, if it is anywhere, and goes on at once where nothing
    /// must be accepted.
    pub(super) fn ask(&mut self, now: Now, chance: &mut dyn Chance, out: &mut Vec<Output>) {
        let Some(to) = self.focus else { return };
        let Phase::Asking(request) = &self.phase else { return };
        if self.offered_to != Some(to) {
            if let Some(old) = self.offered_to.replace(to) {
                out.push(Output::OfferEnded { to: old, outcome: OfferOutcome::Taken });
            }
            if let Some(first) = self.askers.first() {
                self.asked_by = Arc::clone(&first.name);
            }
            let agent = Arc::clone(&self.asked_by);
            out.push(Output::Offer { to, agent, expires_at: request.expires_at() });
        }
        if !request.terms().required
            && let Ok(admission) = self.consume(|request| request.waive(now).map_err(|request| ((), request)))
        {
            self.open(now, admission, None, chance, out);
        }
    }

    /// Consumes the request; puts it back where it was not answered.
    pub(super) fn consume<E>(
        &mut self,
        answer: impl FnOnce(Request) -> Result<Admission, (E, Request)>,
    ) -> Result<Admission, Option<E>> {
        match std::mem::replace(&mut self.phase, Phase::Moving) {
            Phase::Asking(request) => answer(request).map_err(|(why, request)| {
                self.phase = Phase::Asking(request);
                Some(why)
            }),
            other => {
                self.phase = other;
                Err(None)
            }
        }
    }

    /// The gate opens: tickets for the visitor and for every agent that asked. `guest` is how a guest who accepted
    /// calls itself.
    pub(super) fn open(
        &mut self,
        now: Now,
        admission: Admission,
        guest: Option<Arc<str>>,
        chance: &mut dyn Chance,
        out: &mut Vec<Output>,
    ) {
        self.admit(admission, guest, out);
        self.waiting = Some(self.wait_from(now));
        self.abandoned = None;
        self.move_to(RequestState::Accepted, out);
        self.ready_visitor(now, chance, out);
        for asker in self.askers.clone() {
            self.ready_agent(now, &asker, chance, out);
        }
        self.move_to(RequestState::Connecting, out);
    }

    /// The terms were met: from here on the session is open by this admission, and by none before it.
    pub(super) fn admit(&mut self, admission: Admission, guest: Option<Arc<str>>, out: &mut Vec<Output>) {
        let (version, displayed, by) = match admission.outcome() {
            Outcome::Accepted { version, displayed, by } => (Some(Arc::clone(version)), *displayed, *by),
            Outcome::NotRequired => (None, None, None),
        };
        let at = admission.at();
        self.accepted = Some((at, version.clone()));
        let agents = self.asking_agents();
        let asked_by = Arc::clone(&self.asked_by);
        let accepted = Accepted { version, displayed, by, guest, at, asked_by, agents };
        out.push(Output::Happened(Happened::Accepted(accepted)));
        self.phase = Phase::Open(Gate::Met(admission));
    }

    /// Gives the publisher's ticket to where the visitor is. The former one, if any, is void.
    pub(super) fn ready_visitor(&mut self, now: Now, chance: &mut dyn Chance, out: &mut Vec<Output>) {
        let (Phase::Open(Gate::Met(admission)), Some(to), Some(visitor)) =
            (&self.phase, self.focus, &self.visitor)
        else {
            return;
        };
        self.tickets.retain(|ticket| ticket.holder.role != Role::Publisher);
        self.offered_to = Some(to);
        let sharer = Sharer { name: Arc::from(visitor.as_str()), requester: Some(to), seat: None };
        let (token, ticket) = admission.publisher(now.after(self.limits.ticket_life), sharer, chance);
        out.push(Output::VisitorReady { to, ticket: token.text(), expires_at: ticket.expires_at });
        self.tickets.push(ticket);
    }

    fn ready_agent(&mut self, now: Now, asker: &Asker, chance: &mut dyn Chance, out: &mut Vec<Output>) {
        let Phase::Open(gate) = &self.phase else { return };
        let watcher = Watcher {
            name: Arc::clone(&asker.name),
            agent: Some(asker.agent.clone()),
            requester: Some(asker.connection),
        };
        let (token, ticket) = gate.viewer(now.after(self.limits.ticket_life), watcher, chance);
        out.push(Output::AgentReady {
            to: asker.connection,
            agent: asker.agent.clone(),
            ticket: token.text(),
            expires_at: ticket.expires_at,
        });
        // One unused ticket per asking connection: asking again replaces it.
        let replaced =
            |old: &Ticket| old.holder.role == Role::Viewer && old.holder.requester == Some(asker.connection);
        self.tickets.retain(|old| !replaced(old));
        self.tickets.push(ticket);
    }

    /// An agent wants in. It never makes the visitor be asked twice.
    pub(super) fn join(
        &mut self,
        now: Now,
        asker: Asker,
        chance: &mut dyn Chance,
        out: &mut Vec<Output>,
    ) -> Result<Answer, SessionError> {
        if self.viewers_but_for(Some(asker.connection)) >= self.limits.viewers {
            return Err(SessionError::Full(self.limits.viewers));
        }
        let known = self.askers.iter().any(|old| old.connection == asker.connection);
        if !known {
            self.askers.push(asker.clone());
        }
        self.missing.retain(|agent| *agent != asker.agent);
        self.abandoned = None;
        let state = self.state;
        if matches!(self.phase, Phase::Open(_)) {
            self.ready_agent(now, &asker, chance, out);
        }
        if !known {
            out.push(Output::Moved);
        }
        Ok(Answer::Request(state))
    }

    /// An agent's page is where the session is by now. It is told nothing and gets no ticket: it has its place, or
    /// the token that leads there.
    pub(super) fn follows(&mut self, asker: Asker, out: &mut Vec<Output>) -> Answer {
        let of_agent =
            |p: &&mut super::Participant| p.requester.is_none() && p.agent.as_ref() == Some(&asker.agent);
        for participant in self.participants.iter_mut().filter(of_agent) {
            participant.requester = Some(asker.connection);
        }
        self.missing.retain(|agent| *agent != asker.agent);
        if !self.askers.iter().any(|old| old.connection == asker.connection) {
            self.askers.push(asker);
            out.push(Output::Moved);
        }
        Answer::Request(self.state)
    }

    /// Viewers there are or may be, without the one that a ticket for this connection would let in: its
    /// unused ticket is replaced, but those who came in from it before have their places.
    pub(super) fn viewers_but_for(&self, connection: Option<ConnectionId>) -> usize {
        if matches!(self.phase, Phase::Asking(_)) {
            return self.askers.iter().filter(|asker| Some(asker.connection) != connection).count();
        }
        let its = |ticket: &Ticket| connection.is_some() && ticket.holder.requester == connection;
        let open = |ticket: &&Ticket| ticket.holder.role == Role::Viewer && !its(ticket);
        let viewers = self.participants.iter().filter(|p| p.role == Role::Viewer).count();
        self.tickets.iter().filter(open).count() + viewers
    }

    pub(super) fn agent_lost(
        &mut self,
        now: Now,
        connection: ConnectionId,
        out: &mut Vec<Output>,
    ) -> Result<Answer, SessionError> {
        if let Some(host) = self.host.as_mut().filter(|host| host.connection == Some(connection)) {
            host.connection = None;
        }
        let before = self.askers.len();
        self.askers.retain(|asker| asker.connection != connection);
        if self.askers.len() == before {
            return Ok(Answer::Done);
        }
        out.push(Output::Moved);
        // Who reads a code out may load its page anew meanwhile.
        if self.askers.is_empty() && self.door.is_none() && matches!(self.phase, Phase::Asking(_)) {
            self.abandoned = Some(now.tick.after(Self::ABANDONED));
        }
        Ok(Answer::Done)
    }

    /// The visitor is somewhere else: the question, or the ticket it was not yet used for, follows it.
    pub(super) fn refocus(
        &mut self,
        now: Now,
        focus: Option<ConnectionId>,
        chance: &mut dyn Chance,
        out: &mut Vec<Output>,
    ) -> Result<Answer, SessionError> {
        if self.focus == focus {
            return Ok(Answer::Done);
        }
        self.focus = focus;
        match &self.phase {
            Phase::Asking(_) => self.ask(now, chance, out),
            Phase::Open(_) if focus.is_some() && self.publisher().is_none() => {
                self.ready_visitor(now, chance, out);
            }
            _ => {}
        }
        Ok(Answer::Done)
    }

    pub(super) fn visitor_gone(&mut self, out: &mut Vec<Output>) -> Result<Answer, SessionError> {
        self.focus = None;
        match &self.phase {
            Phase::Asking(_) => {
                self.offered_to = None;
                self.close_request(
                    RequestState::VisitorGone,
                    OfferOutcome::Failed,
                    EndReason::VisitorGone,
                    out,
                );
            }
            // A publisher that is attached or may still resume has its own deadline.
            Phase::Open(_) if self.publisher().is_none() => self.end(EndReason::GuestLeft, out),
            _ => {}
        }
        Ok(Answer::Done)
    }

    pub(super) fn displayed(
        &mut self,
        now: Now,
        request: RequestId,
        by: ConnectionId,
        out: &mut Vec<Output>,
    ) -> Result<Answer, SessionError> {
        let Phase::Asking(asked) = &mut self.phase else { return Err(SessionError::RequestOver) };
        if self.offered_to != Some(by) || asked.check(now, request).is_err() {
            return Err(SessionError::RequestOver);
        }
        if asked.show(now) {
            out.push(Output::Happened(Happened::Displayed));
            self.move_to(RequestState::Displayed, out);
        }
        Ok(Answer::Done)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one input")]
    pub(super) fn answered(
        &mut self,
        now: Now,
        request: RequestId,
        by: ConnectionId,
        accepted: bool,
        version: Option<&str>,
        chance: &mut dyn Chance,
        out: &mut Vec<Output>,
    ) -> Result<Answer, SessionError> {
        let Phase::Asking(asked) = &self.phase else { return Err(SessionError::RequestOver) };
        if self.offered_to != Some(by) || asked.check(now, request).is_err() {
            return Err(SessionError::RequestOver);
        }
        if !accepted {
            // The page that said no needs no word that the question is over.
            self.offered_to = None;
            self.declined(Some(by), out);
            return Ok(Answer::Done);
        }
        match self.consume(|asked| asked.accept(now, request, version, Some(by))) {
            Ok(admission) => {
                self.open(now, admission, None, chance, out);
                Ok(Answer::Done)
            }
            Err(Some(NotTaken::OtherTerms)) => Err(SessionError::TermsChanged),
            Err(_) => Err(SessionError::RequestOver),
        }
    }

    /// An agent takes the question back, on all its pages. With other agents still asking, only its own wish ends.
    pub(super) fn cancelled(
        &mut self,
        now: Now,
        request: RequestId,
        by: ConnectionId,
        out: &mut Vec<Output>,
    ) -> Result<Answer, SessionError> {
        let Phase::Asking(asked) = &self.phase else { return Err(SessionError::RequestOver) };
        let asker = self.askers.iter().find(|asker| asker.connection == by);
        let Some(agent) =
            asker.filter(|_| asked.check(now, request).is_ok()).map(|asker| asker.agent.clone())
        else {
            return Err(SessionError::RequestOver);
        };
        if self.askers.iter().any(|asker| asker.agent != agent) {
            let (its, others): (Vec<_>, Vec<_>) =
                self.askers.drain(..).partition(|asker| asker.agent == agent);
            self.askers = others;
            let its: Vec<Asker> = its;
            let to = its.iter().map(|asker| asker.connection).collect();
            out.push(Output::Request { to, state: RequestState::Cancelled });
            out.push(Output::Moved);
        } else {
            self.close_request(RequestState::Cancelled, OfferOutcome::Cancelled, EndReason::Cancelled, out);
        }
        Ok(Answer::Done)
    }

    /// Whoever was asked said no: a visitor from a connection, a guest at the door.
    pub(super) fn declined(&mut self, by: Option<ConnectionId>, out: &mut Vec<Output>) {
        self.refuse(RequestState::Declined, by, OfferOutcome::Failed, EndReason::Declined, out);
    }

    /// The request ends without a session and without an answer.
    pub(super) fn close_request(
        &mut self,
        state: RequestState,
        outcome: OfferOutcome,
        reason: EndReason,
        out: &mut Vec<Output>,
    ) {
        self.refuse(state, None, outcome, reason, out);
    }

    fn refuse(
        &mut self,
        state: RequestState,
        by: Option<ConnectionId>,
        outcome: OfferOutcome,
        reason: EndReason,
        out: &mut Vec<Output>,
    ) {
        if let Some(to) = self.offered_to.take() {
            out.push(Output::OfferEnded { to, outcome });
        }
        self.phase = Phase::Ended(reason);
        out.push(Output::Happened(Happened::Refused(state, by)));
        self.move_to(state, out);
    }

    /// Notes where the request stands and tells everybody who asked.
    pub(super) fn move_to(&mut self, state: RequestState, out: &mut Vec<Output>) {
        self.state = state;
        self.tell_request(out);
        out.push(Output::Moved);
    }

    pub(super) fn tell_request(&self, out: &mut Vec<Output>) {
        let to: Vec<_> = self.askers.iter().map(|asker| asker.connection).collect();
        if !to.is_empty() {
            out.push(Output::Request { to, state: self.state });
        }
    }
}
