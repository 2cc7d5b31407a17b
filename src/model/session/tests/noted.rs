//! What a session writes down, as stories compare it.

use super::*;

/// What happened, with people by their ids alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Noted {
    Offered,
    Opened,
    Displayed,
    Accepted { version: Option<Arc<str>> },
    Refused(RequestState),
    Started,
    Joined(ParticipantId),
    Left(ParticipantId),
    Paused,
    Resumed,
    Shows(SessionKind),
    ControlGranted(ParticipantId),
    ControlRevoked,
    InputRefused,
    CameraStarted(ParticipantId),
    CameraStopped,
    Ended(EndReason),
}

impl From<Happened> for Noted {
    fn from(happened: Happened) -> Self {
        match happened {
            Happened::Offered => Self::Offered,
            Happened::Opened => Self::Opened,
            Happened::Displayed => Self::Displayed,
            Happened::Accepted(accepted) => Self::Accepted { version: accepted.version },
            Happened::Refused(state, _) => Self::Refused(state),
            Happened::Started => Self::Started,
            Happened::Joined(person) => Self::Joined(person.participant),
            Happened::Left(person) => Self::Left(person.participant),
            Happened::Paused => Self::Paused,
            Happened::Resumed => Self::Resumed,
            Happened::Shows(kind) => Self::Shows(kind),
            Happened::ControlGranted(person) => Self::ControlGranted(person.participant),
            Happened::ControlRevoked => Self::ControlRevoked,
            Happened::InputRefused => Self::InputRefused,
            Happened::CameraStarted(person) => Self::CameraStarted(person.participant),
            Happened::CameraStopped => Self::CameraStopped,
            Happened::Ended(reason) => Self::Ended(reason),
        }
    }
}
