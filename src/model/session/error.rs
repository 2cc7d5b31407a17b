//! Why a session refuses what it is told, and what the sender hears of it.
//!
//! Only names and codes; who refuses what is decided beside this file.

use super::EndReason;
use crate::wire::error::{ErrorCode, Refusal};

/// Why an input is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The request was answered, taken back or has expired, or is another one.
    #[error("the request is over")]
    RequestOver,
    /// The accepted terms are not the ones that were asked.
    #[error("the accepted terms are not the ones that were asked")]
    TermsChanged,
    /// No ticket or resume token like this: wrong, used and expired look the same.
    #[error("ticket or token is wrong, used or expired")]
    NoSuchTicket,
    /// The session is over.
    #[error("the session has ended: {}", .0.as_str())]
    Ended(EndReason),
    /// The role does not allow it.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The state does not allow it.
    #[error("{0}")]
    WrongState(String),
    /// Input without a live grant.
    #[error("control is not granted to this participant under this epoch")]
    ControlNotGranted,
    /// Another node goes on with it.
    #[error("the session moves to another node")]
    Moved,
    /// More viewers than a session may have.
    #[error("session has its {0} viewers")]
    Full(usize),
    /// Another guest shows its screen in it.
    #[error("somebody shows their screen in this session already")]
    Taken,
}

impl From<SessionError> for Refusal {
    fn from(error: SessionError) -> Self {
        let code = match &error {
            SessionError::RequestOver => ErrorCode::RequestOver,
            SessionError::TermsChanged => ErrorCode::TermsChanged,
            SessionError::NoSuchTicket => ErrorCode::Unauthorized,
            SessionError::Ended(_) => ErrorCode::NotFound,
            SessionError::Forbidden(_) => ErrorCode::Forbidden,
            SessionError::WrongState(_) => ErrorCode::WrongState,
            SessionError::ControlNotGranted => ErrorCode::ControlNotGranted,
            SessionError::Moved => ErrorCode::Unavailable,
            SessionError::Full(_) | SessionError::Taken => ErrorCode::TooMany,
        };
        Self::new(code, error.to_string())
    }
}
