//! Who may move the visitor's pointer: `off → requested → granted | rejected`, `revoked` at any time.
//!
//! An agent can only ask; the publisher's side decides. Each grant, and each end of a grant, raises the
//! epoch, and input counts only under the epoch of the live grant: a late event of an old grant is dead.

use crate::ids::ParticipantId;
use crate::wire::session::{ControlState, ControlView};

/// Why a control message is not acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The session is view-only.
    #[error("this session is view-only")]
    ViewOnly,
    /// Another agent asks or has it.
    #[error("another agent has asked for control or has it")]
    Busy,
    /// That participant has not asked.
    #[error("that participant has not asked for control")]
    NotAsked,
    /// There is no grant to end.
    #[error("control is not granted")]
    NotGranted,
}

/// By how much the epoch grows when a session is restored: more than the grants and ends of grants that a
/// session has in its whole life, and little enough that scripts count a milliard restores exactly.
const LEAP: u64 = 1 << 20;

/// The state of control in one session.
#[derive(Debug, Clone)]
pub struct Control {
    allowed: bool,
    state: ControlState,
    holder: Option<ParticipantId>,
    epoch: u64,
}

impl Control {
    /// Off; `allowed` is false for a view-only session.
    pub fn new(allowed: bool) -> Self {
        Self { allowed, state: ControlState::Off, holder: None, epoch: 0 }
    }

    /// Of a session that was saved: off, whoever had it, under an epoch that no grant had before. Grants since
    /// it was saved are behind it too.
    pub fn restored(allowed: bool, epoch: u64) -> Self {
        Self { allowed, state: ControlState::Off, holder: None, epoch: epoch.saturating_add(LEAP) }
    }

    /// Whether control may be asked for at all.
    pub fn allowed(&self) -> bool {
        self.allowed
    }

    /// As participants see it.
    pub fn view(&self) -> ControlView {
        ControlView { state: self.state, participant_id: self.holder, epoch: self.epoch }
    }

    /// Whether somebody is in control.
    pub fn is_granted(&self) -> bool {
        self.state == ControlState::Granted
    }

    /// An agent asks. Asking again changes nothing.
    pub fn request(&mut self, by: ParticipantId) -> Result<bool, ControlError> {
        if !self.allowed {
            return Err(ControlError::ViewOnly);
        }
        match (self.state, self.holder) {
            (ControlState::Requested | ControlState::Granted, Some(holder)) if holder == by => Ok(false),
            (ControlState::Requested | ControlState::Granted, _) => Err(ControlError::Busy),
            _ => {
                self.state = ControlState::Requested;
                self.holder = Some(by);
                Ok(true)
            }
        }
    }

    /// The publisher's side says yes.
    pub fn grant(&mut self, to: ParticipantId) -> Result<(), ControlError> {
        self.asked_by(to)?;
        self.state = ControlState::Granted;
        self.epoch += 1;
        Ok(())
    }

    /// The publisher's side says no.
    pub fn reject(&mut self, to: ParticipantId) -> Result<(), ControlError> {
        self.asked_by(to)?;
        self.state = ControlState::Rejected;
        Ok(())
    }

    /// The publisher's side takes a grant back.
    pub fn revoke(&mut self) -> Result<(), ControlError> {
        if self.state != ControlState::Granted {
            return Err(ControlError::NotGranted);
        }
        self.state = ControlState::Revoked;
        self.epoch += 1;
        Ok(())
    }

    /// The agent gives it back, or takes its question back.
    pub fn release(&mut self, by: ParticipantId) -> Result<(), ControlError> {
        if !self.concerns(by) {
            return Err(ControlError::NotGranted);
        }
        self.end();
        Ok(())
    }

    /// A participant is away: a grant never survives a lost connection. True when something ended.
    pub fn away(&mut self, who: ParticipantId) -> bool {
        let concerned = self.concerns(who);
        if concerned {
            self.end();
        }
        concerned
    }

    /// The publisher is away or pauses: nobody is in control. True when something ended.
    pub fn suspend(&mut self) -> bool {
        let live = matches!(self.state, ControlState::Granted | ControlState::Requested);
        if live {
            self.end();
        }
        live
    }

    /// Whether input of this participant, made under this epoch, may reach the publisher.
    pub fn permits(&self, by: ParticipantId, epoch: u64) -> bool {
        self.state == ControlState::Granted && self.holder == Some(by) && self.epoch == epoch
    }

    fn concerns(&self, who: ParticipantId) -> bool {
        matches!(self.state, ControlState::Granted | ControlState::Requested) && self.holder == Some(who)
    }

    fn asked_by(&self, who: ParticipantId) -> Result<(), ControlError> {
        if !self.allowed {
            return Err(ControlError::ViewOnly);
        }
        if self.state == ControlState::Requested && self.holder == Some(who) {
            Ok(())
        } else {
            Err(ControlError::NotAsked)
        }
    }

    fn end(&mut self) {
        if self.state == ControlState::Granted {
            self.epoch += 1;
        }
        self.state = ControlState::Off;
        self.holder = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: ParticipantId = ParticipantId::from_u128(1);
    const B: ParticipantId = ParticipantId::from_u128(2);

    #[test]
    fn an_agent_can_only_ask() {
        let mut control = Control::new(true);
        assert!(!control.permits(A, 0));
        assert_eq!(control.request(A), Ok(true));
        assert_eq!(control.request(A), Ok(false));
        assert_eq!(control.request(B), Err(ControlError::Busy));
        assert!(!control.permits(A, 0));
        control.grant(A).unwrap();
        assert!(control.permits(A, 1));
        assert!(!control.permits(B, 1));
        assert!(!control.permits(A, 0));
        control.revoke().unwrap();
        assert!(!control.permits(A, 1) && !control.permits(A, 2));
    }

    #[test]
    fn view_only_never_grants() {
        let mut control = Control::new(false);
        assert_eq!(control.request(A), Err(ControlError::ViewOnly));
        assert_eq!(control.grant(A), Err(ControlError::ViewOnly));
    }

    #[test]
    fn losing_the_connection_ends_a_grant() {
        let mut control = Control::new(true);
        control.request(A).unwrap();
        control.grant(A).unwrap();
        assert!(!control.away(B));
        assert!(control.away(A));
        assert_eq!(control.view().state, ControlState::Off);
        assert!(!control.permits(A, 1));
    }

    proptest! {
        /// Law 4: input passes only for the holder of the newest grant, under its epoch, and an epoch
        /// never comes back.
        #[test]
        fn input_passes_only_under_the_live_grant(steps in proptest::collection::vec((0u8..7, any::<bool>()), 0..60)) {
            let mut control = Control::new(true);
            let mut granted: Option<(ParticipantId, u64)> = None;
            let mut last = 0;
            for (step, first) in steps {
                let who = if first { A } else { B };
                match step {
                    0 => { let _ = control.request(who); }
                    1 => if control.grant(who).is_ok() {
                        granted = Some((who, control.view().epoch));
                        prop_assert!(control.view().epoch > last);
                        last = control.view().epoch;
                    },
                    2 => { let _ = control.reject(who); }
                    3 => if control.revoke().is_ok() { granted = None; },
                    4 => if control.release(who).is_ok() { granted = granted.filter(|g| g.0 != who); },
                    5 => if control.away(who) { granted = granted.filter(|g| g.0 != who); },
                    _ => if control.suspend() { granted = None; },
                }
                for who in [A, B] {
                    for epoch in 0..=control.view().epoch + 1 {
                        prop_assert_eq!(control.permits(who, epoch), granted == Some((who, epoch)));
                    }
                }
            }
        }
    }
}
