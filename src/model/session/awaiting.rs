//! A guest shows its screen to the agents that wait for it: by the session's key or a link, and again after it had to
//! start its browser or its app anew.
//!
//! Each coming answers the question anew and so makes an [`Admission`] of its own: what somebody accepted before is no
//! yes of whoever comes now. But it is one seat in the session, and whoever is in it keeps it. That the key or the
//! link was good was checked before.

#![allow(clippy::result_large_err, reason = "a request that was not answered is handed back whole")]

use std::sync::Arc;

use super::{Answer, Device, Gate, Happened, Output, Phase, Session, SessionError};
use crate::clock::{Now, Tick};
use crate::ids::{ParticipantId, RequestId};
use crate::model::request::{Admission, NotTaken, Question, Request, SavedRequest, Sharer};
use crate::model::ticket::Chance;
use crate::wire::agent::RequestState;
use crate::wire::session::Role;
use crate::wire::visitor::{TermsAnswer, TermsShown};

/// A guest on its way in, by a key or an invite that was good.
#[derive(Debug, Clone)]
pub struct Entrant {
    /// Tells its call from others that wait for their tickets.
    pub call: u64,
    /// Name for people.
    pub name: Arc<str>,
    /// Its answer to the terms, where it shows its own screen.
    pub terms: Option<TermsAnswer>,
    /// What it tells of its device.
    pub device: Option<Device>,
}

/// What a guest has to accept before it may show its screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asks {
    /// The question, which the answer names.
    pub request: RequestId,
    /// The terms.
    pub terms: TermsShown,
    /// Who asks, for people.
    pub asked_by: Arc<str>,
    /// Whether control may be asked for.
    pub control: bool,
}

/// Where a guest comes in who shows its screen.
#[derive(Debug)]
pub(super) struct Door {
    /// What each coming is asked.
    question: Question,
    /// Who it is in the session, however often it comes.
    seat: ParticipantId,
}

impl Door {
    /// Opens it for a session.
    pub(super) fn new(question: Question, chance: &mut dyn Chance) -> Self {
        Self { question, seat: chance.participant() }
    }

    /// What is saved of it: the question as it would be put at this moment.
    pub(super) fn save(&self, now: Now) -> (ParticipantId, SavedRequest) {
        (self.seat, Request::new(self.question.clone(), now).save())
    }

    /// As it was saved.
    pub(super) fn restored(seat: ParticipantId, asked: &Request) -> Self {
        Self { question: asked.question().clone(), seat }
    }

    /// Who sits there.
    pub(super) fn seat(&self) -> ParticipantId {
        self.seat
    }
}

impl Session {
    /// A guest wants to show its screen.
    pub(super) fn sharer(
        &mut self,
        now: Now,
        entrant: Entrant,
        chance: &mut dyn Chance,
        out: &mut Vec<Output>,
    ) -> Result<Answer, SessionError> {
        let Entrant { call, name, terms, device } = entrant;
        let Some(door) = &self.door else {
            return Err(SessionError::Forbidden("guests are not let into this session"));
        };
        if self.publisher().is_some_and(|publisher| publisher.connection.is_some()) {
            return Err(SessionError::Taken);
        }
        let (seat, question) = (door.seat, door.question.clone());
        self.knocks(device, out);
        match &terms {
            None if question.terms.required => return Ok(self.asks(now, question, out)),
            Some(answer) if !answer.accepted => return self.declines(now, answer, out),
            _ => {}
        }
        let first = matches!(self.phase, Phase::Asking(_));
        let admission = self.answer_of(now, question, terms.as_ref())?;
        if first {
            self.open(now, admission, Some(Arc::clone(&name)), chance, out);
        } else {
            self.admit(admission, Some(Arc::clone(&name)), out);
        }
        let Phase::Open(Gate::Met(admission)) = &self.phase else {
            return Err(SessionError::RequestOver);
        };
        let sharer = Sharer { name, requester: None, seat: Some(seat) };
        let (token, ticket) = admission.publisher(now.after(self.limits.ticket_life), sharer, chance);
        // Of two who come at once one gets in: who accepted last.
        self.tickets.retain(|ticket| ticket.holder.role != Role::Publisher);
        self.hand(call, &token, ticket, out);
        Ok(Answer::Done)
    }

    /// The guest's page gets the terms, to show them.
    fn asks(&mut self, now: Now, question: Question, out: &mut Vec<Output>) -> Answer {
        if let Phase::Asking(asked) = &mut self.phase
            && asked.show(now)
        {
            out.push(Output::Happened(Happened::Displayed));
            self.move_to(RequestState::Displayed, out);
        }
        Answer::Asks(Asks {
            request: question.request,
            terms: question.terms,
            asked_by: Arc::clone(&self.asked_by),
            control: self.allows_control(),
        })
    }

    /// The yes of whoever comes now, to the question that stands or, later, to the same one put anew.
    fn answer_of(
        &mut self,
        now: Now,
        question: Question,
        terms: Option<&TermsAnswer>,
    ) -> Result<Admission, SessionError> {
        let terms = terms.filter(|_| question.terms.required);
        let yes = |request: Request| match terms {
            Some(answer) => request.accept(now, answer.request_id, answer.terms_version.as_deref(), None),
            None => request.waive(now).map_err(|request| (NotTaken::OtherTerms, request)),
        };
        let answered = if matches!(self.phase, Phase::Asking(_)) {
            self.consume(yes)
        } else {
            yes(Request::new(question, now)).map_err(|(why, _)| Some(why))
        };
        answered.map_err(|why| match why {
            Some(NotTaken::OtherTerms) => SessionError::TermsChanged,
            _ => SessionError::RequestOver,
        })
    }

    /// A no ends what nobody has accepted yet; later it is only that of whoever came now.
    fn declines(
        &mut self,
        now: Now,
        answer: &TermsAnswer,
        out: &mut Vec<Output>,
    ) -> Result<Answer, SessionError> {
        if let Phase::Asking(asked) = &self.phase {
            asked.check(now, answer.request_id).map_err(|_| SessionError::RequestOver)?;
            self.declined(None, out);
        }
        Ok(Answer::Done)
    }

    /// Until when somebody who lost its connection is waited for: whoever can come by the key again, for as long as
    /// it was waited for at first.
    pub(super) fn waits_for(&self, role: Role, now: Now) -> Tick {
        match (&self.door, role) {
            (Some(_), Role::Publisher) => self.wait_from(now),
            _ => now.tick.after(self.limits.resume_window),
        }
    }
}
