//! An agent shows its own screen: a session that is open from the start, and guests who come to watch.
//!
//! Nobody is asked anything: the screen is the agent's own, and [`OwnScreen`] lets nobody else publish. What a
//! guest had to show to come this far, a key or an invite, was checked before.

use std::sync::Arc;

use super::device::Guided;
use super::{Answer, Gate, Happened, Host, Output, Phase, Session, SessionError, Showing, Ticket};
use crate::clock::{Now, Wall};
use crate::model::control::Control;
use crate::model::request::{OwnScreen, Watcher};
use crate::model::session::Entrant;
use crate::model::ticket::{Chance, Token};
use crate::wire::agent::RequestState;
use crate::wire::session::Codec;
use crate::wire::visitor::SessionKind;

/// What the agent that shows attaches with.
#[derive(Debug)]
pub struct HostTicket {
    /// Its text.
    pub text: String,
    /// When it ends.
    pub expires_at: Wall,
}

impl Session {
    /// Opens a session for an agent's own screen. Its host has the life of a ticket to attach; from then on
    /// it waits for somebody to show to.
    pub fn show(
        setup: Showing,
        now: Now,
        chance: &mut dyn Chance,
        out: &mut Vec<Output>,
    ) -> (Self, HostTicket) {
        let Showing { session, request, host, limits } = setup;
        let own = OwnScreen::of(session, host.agent.clone(), Arc::clone(&host.name));
        let end = now.after(limits.ticket_life);
        let (token, ticket) = own.publisher(end, host.connection, chance);
        let handed = HostTicket { text: token.text(), expires_at: ticket.expires_at };
        let opened = Self {
            id: session,
            request,
            kind: SessionKind::Show,
            shows: SessionKind::Show,
            visitor: None,
            host: Some(Host { agent: host.agent, connection: Some(host.connection) }),
            door: None,
            phase: Phase::Open(Gate::Own(own)),
            state: RequestState::Connecting,
            accepted: None,
            started: None,
            created: now.wall,
            askers: Vec::new(),
            asked_by: host.name,
            missing: Vec::new(),
            abandoned: None,
            alone: None,
            revision: 0,
            departing: false,
            focus: None,
            offered_to: None,
            tickets: vec![ticket],
            participants: Vec::new(),
            // What an agent shows nobody else may touch.
            control: Control::new(false),
            camera: None,
            guided: Guided::default(),
            paused: false,
            waiting: Some(end.tick),
            ends: now.tick.after(limits.session_length),
            codecs: Codec::ALL.to_vec(),
            limits,
        };
        out.push(Output::Happened(Happened::Opened));
        out.push(Output::Moved);
        (opened, handed)
    }

    /// A guest wants its ticket: to watch what an agent shows, or to show its own screen.
    pub(super) fn guest(
        &mut self,
        now: Now,
        entrant: Entrant,
        chance: &mut dyn Chance,
        out: &mut Vec<Output>,
    ) -> Result<Answer, SessionError> {
        if self.door.is_some() {
            return self.sharer(now, entrant, chance, out);
        }
        let full = self.viewers_but_for(None) >= self.limits.viewers;
        let Phase::Open(Gate::Own(own)) = &self.phase else {
            return Err(SessionError::Forbidden("guests are not let into this session"));
        };
        if full {
            return Err(SessionError::Full(self.limits.viewers));
        }
        let watcher = Watcher { name: entrant.name, agent: None, requester: None };
        let (token, ticket) = own.viewer(now.after(self.limits.ticket_life), watcher, chance);
        self.hand(entrant.call, &token, ticket, out);
        Ok(Answer::Done)
    }

    /// A guest's call gets its ticket.
    pub(super) fn hand(&mut self, call: u64, token: &Token, ticket: Ticket, out: &mut Vec<Output>) {
        out.push(Output::GuestReady {
            call,
            participant: ticket.participant,
            role: ticket.holder.role,
            ticket: token.text(),
            expires_at: ticket.expires_at,
        });
        self.tickets.push(ticket);
    }
}
