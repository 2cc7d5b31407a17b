//! What the guest whose screen it is has to do on its device, as everybody in the session is told.
//!
//! The steps are [`crate::model::permission`]'s; here it is decided what they follow from in a session, and that a
//! change is told once.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Output, Session};
use crate::ids::ParticipantId;
use crate::model::permission::{Input, Permissions};
use crate::wire::permission::{Facts, PermissionFact, Step};
use crate::wire::session::{ControlState, Role, ToParticipant};

/// A guest's device, and what it allows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its name, if it has one: what is known of it is kept under that.
    pub id: Option<Arc<str>>,
    /// What it allows.
    pub facts: Facts,
}

/// The guest on its way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Guided {
    device: Option<Arc<str>>,
    permissions: Permissions,
    /// Whether it told anything.
    knows: bool,
    /// What was told to everybody.
    #[serde(skip)]
    told: (Vec<Step>, Facts),
}

impl Guided {
    pub(super) fn steps(&self) -> Vec<Step> {
        self.permissions.steps()
    }

    /// What its device allows, where it told.
    pub(super) fn facts(&self) -> Option<Facts> {
        self.knows.then(|| self.permissions.facts())
    }

    /// Whether there is nothing to save of it.
    pub(super) fn is_plain(&self) -> bool {
        !self.knows
    }
}

impl Session {
    /// The guest whose screen it is comes, and tells what its device allows.
    pub(super) fn knocks(&mut self, device: Option<Device>, out: &mut Vec<Output>) {
        if device.is_none() && self.guided.is_plain() {
            return;
        }
        let known = device.is_some();
        let Device { id, facts } = device.unwrap_or_default();
        self.guided.device = id;
        self.guided.knows = known;
        self.guided.permissions.handle(Input::Knocks(facts));
        if known {
            self.remember(out);
        }
    }

    /// The publisher tells how something stands on its device.
    pub(super) fn permits(&mut self, PermissionFact { name, state }: PermissionFact, out: &mut Vec<Output>) {
        self.guided.knows = true;
        self.guided.permissions.handle(Input::Tells(name, state));
        self.remember(out);
    }

    fn remember(&self, out: &mut Vec<Output>) {
        if let Some(id) = &self.guided.device {
            let facts = self.guided.permissions.facts();
            out.push(Output::Device(Device { id: Some(Arc::clone(id)), facts }));
        }
    }

    /// The guest came to its seat, or its seat is empty.
    pub(super) fn guest_is_here(&mut self, role: Role, here: bool) {
        if role == Role::Publisher {
            self.guided.permissions.handle(if here { Input::Enters } else { Input::Goes });
        }
    }

    /// Tells everybody of the steps that are left, if they are others by now: who is in the session, and the agents
    /// that wait for it.
    pub(super) fn tell_steps(&mut self, out: &mut Vec<Output>) {
        if self.guided.is_plain() || self.is_ended() {
            return;
        }
        let wanted = matches!(self.control.view().state, ControlState::Requested | ControlState::Granted);
        self.guided.permissions.handle(Input::Control(wanted));
        let now = (self.guided.steps(), self.guided.permissions.facts());
        if self.guided.told == now {
            return;
        }
        let others = self.guided.told.0 != now.0;
        self.guided.told.clone_from(&now);
        let (steps, permissions) = now;
        let to: Vec<_> = self.askers.iter().map(|asker| asker.connection).collect();
        if others && !to.is_empty() {
            out.push(Output::Request { to, state: self.state });
        }
        let to = self.connections(|_| true);
        if let Some(participant_id) = self.shows().filter(|_| !to.is_empty()) {
            out.push(Output::Tell {
                to,
                message: ToParticipant::Steps { participant_id, steps, permissions },
            });
        }
    }

    fn shows(&self) -> Option<ParticipantId> {
        self.guest_seat().or_else(|| self.publisher().map(|publisher| publisher.id))
    }
}
