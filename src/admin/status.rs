//! The one place where errors become gRPC statuses.

use std::borrow::Cow;
use std::collections::HashMap;

use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};

use crate::limits;
use crate::model::settings::Violation;

/// Declares the reasons with their codes and meanings.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $code:ident;)*) => {
        /// Why a call was refused, for programs to branch on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The reason on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The canonical code that it comes with.
            pub const fn code(self) -> Code {
                match self {
                    $(Self::$name => Code::$code,)*
                }
            }
        }
    };
}

reasons! {
    /// The credential is missing, malformed, unknown, expired or revoked.
    Unauthorized = "UNAUTHORIZED", Unauthenticated;
    /// The credential is good, but not for this.
    Forbidden = "FORBIDDEN", PermissionDenied;
    /// No such thing, or out of reach: the same answer.
    NotFound = "NOT_FOUND", NotFound;
    /// Fields that can't be taken.
    BadField = "BAD_FIELD", InvalidArgument;
    /// Somebody else changed it first.
    Conflict = "CONFLICT", Aborted;
    /// A name that must be unique belongs to another.
    AlreadyExists = "ALREADY_EXISTS", AlreadyExists;
    /// The request ID stands for another call.
    RequestIdReused = "REQUEST_ID_REUSED", AlreadyExists;
    /// The same call has not come to its end.
    RequestRunning = "REQUEST_RUNNING", Aborted;
    /// More of something than a group may have.
    TooMany = "TOO_MANY", ResourceExhausted;
    /// The visitor has no live connection and is not within grace.
    VisitorNotPresent = "VISITOR_NOT_PRESENT", FailedPrecondition;
    /// Presence is switched off for the group.
    PresenceDisabled = "PRESENCE_DISABLED", FailedPrecondition;
    /// The node can't do it now.
    Overload = "OVERLOAD", Unavailable;
    /// The node failed.
    Internal = "INTERNAL", Internal;
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The key is missing, malformed, unknown or revoked: one answer for all.
    #[error("a valid admin key is needed")]
    Unauthorized,
    /// The credential is good, but not for this call: it wants an operator's key, or the permission `admin`.
    #[error("this credential does not hold the permission for this call")]
    Forbidden,
    /// The group or the thing in it does not exist, or is out of the key's reach: one answer for all.
    #[error("no such group, agent, key, visitor or session within reach of this key")]
    NotFound,
    /// A field of the request can't be used.
    #[error("{field} {problem}")]
    BadField {
        /// The field as named in the proto file.
        field: Cow<'static, str>,
        /// What is wrong with it.
        problem: String,
    },
    /// Values that can't be taken.
    #[error("{}", told(.0))]
    Invalid(Vec<Violation>),
    /// The settings were changed by somebody else in the meantime.
    #[error("the settings are at version {version}, read them again")]
    Conflict {
        /// Where they are now.
        version: u64,
    },
    /// The name belongs to another.
    #[error("{field} is taken")]
    AlreadyExists {
        /// The field as named in the proto file.
        field: &'static str,
    },
    /// The request ID was used for another call.
    #[error("the request ID was used for another call within the last day")]
    RequestIdReused,
    /// The same call is running.
    #[error("the same call is still running, try again to learn its answer")]
    RequestRunning,
    /// More than a group may have.
    #[error("the group has {most} {what}, and no more can be made")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// The visitor can't be reached.
    #[error("the visitor has no live connection")]
    VisitorNotPresent,
    /// The group has no presence.
    #[error("presence is switched off for the group")]
    PresenceDisabled,
    /// The node can't do it now; the call may be repeated.
    #[error("the node can't do this now")]
    Unavailable,
    /// The node failed; its log has the cause.
    #[error("the node could not do this")]
    Internal,
}

/// What is wrong, as one sentence.
fn told(found: &[Violation]) -> String {
    let one = |found: &Violation| format!("{} {}", found.field, found.message);
    let mut told: Vec<_> = found.iter().take(limits::VIOLATIONS).map(one).collect();
    if let Some(more) = found.len().checked_sub(limits::VIOLATIONS).filter(|more| *more > 0) {
        told.push(format!("and {more} more"));
    }
    told.join("; ")
}

impl AdminError {
    /// The reason for programs.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unauthorized => Reason::Unauthorized,
            Self::Forbidden => Reason::Forbidden,
            Self::NotFound => Reason::NotFound,
            Self::BadField { .. } | Self::Invalid(_) => Reason::BadField,
            Self::Conflict { .. } => Reason::Conflict,
            Self::AlreadyExists { .. } => Reason::AlreadyExists,
            Self::RequestIdReused => Reason::RequestIdReused,
            Self::RequestRunning => Reason::RequestRunning,
            Self::TooMany { .. } => Reason::TooMany,
            Self::VisitorNotPresent => Reason::VisitorNotPresent,
            Self::PresenceDisabled => Reason::PresenceDisabled,
            Self::Unavailable => Reason::Overload,
            Self::Internal => Reason::Internal,
        }
    }

    /// What belongs to the reason.
    fn metadata(&self) -> HashMap<String, String> {
        let one = match self {
            Self::BadField { field, .. } => ("field", field.to_string()),
            Self::AlreadyExists { field } => ("field", (*field).to_owned()),
            Self::Conflict { version } => ("version", version.to_string()),
            _ => return HashMap::new(),
        };
        HashMap::from([(one.0.to_owned(), one.1)])
    }

    /// The fields that can't be taken.
    fn violations(&self) -> Vec<FieldViolation> {
        let one = |field: &str, problem: &str| FieldViolation {
            field: field.to_owned(),
            description: problem.to_owned(),
        };
        match self {
            Self::BadField { field, problem } => vec![one(field, problem)],
            Self::Invalid(found) => {
                found.iter().take(limits::VIOLATIONS).map(|found| one(&found.field, &found.message)).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// `google.rpc.Status`, as far as it is used.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(map = "string, string", tag = "3")]
    metadata: HashMap<String, String>,
}

/// The type URL of [`ErrorInfo`].
const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";

/// Whose reasons these are.
const DOMAIN: &str = "porchlight";

impl From<AdminError> for Status {
    fn from(error: AdminError) -> Self {
        let (code, message) = (error.reason().code(), error.to_string());
        let info = ErrorInfo {
            reason: error.reason().as_str().to_owned(),
            domain: DOMAIN.to_owned(),
            metadata: error.metadata(),
        };
        let mut details = vec![Any { type_url: ERROR_INFO.to_owned(), value: info.encode_to_vec() }];
        let field_violations = error.violations();
        if !field_violations.is_empty() {
            let value = BadRequest { field_violations }.encode_to_vec();
            details.push(Any { type_url: BAD_REQUEST.to_owned(), value });
        }
        let details = RpcStatus { code: code as i32, message: message.clone(), details };
        Self::with_details(code, message, details.encode_to_vec().into())
    }
}

/// `google.rpc.BadRequest`.
#[derive(Clone, PartialEq, Message)]
struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    field_violations: Vec<FieldViolation>,
}

/// `google.rpc.BadRequest.FieldViolation`.
#[derive(Clone, PartialEq, Message)]
struct FieldViolation {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(string, tag = "2")]
    description: String,
}

/// The type URL of [`BadRequest`].
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

/// What a status of ours says beside code and message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// For programs to branch on.
    pub reason: String,
    /// What belongs to the reason.
    pub metadata: HashMap<String, String>,
    /// Fields that can't be taken, each with what is wrong with it.
    pub violations: Vec<(String, String)>,
}

/// The details of a status of ours; none of any other.
pub fn details_of(status: &Status) -> Option<Details> {
    let told = RpcStatus::decode(status.details()).ok()?.details;
    let find = |kind: &str| told.iter().find(|detail| detail.type_url == kind);
    let info = ErrorInfo::decode(find(ERROR_INFO)?.value.as_slice()).ok()?;
    let bad = find(BAD_REQUEST).and_then(|detail| BadRequest::decode(detail.value.as_slice()).ok());
    let violations = bad.unwrap_or_default().field_violations;
    Some(Details {
        reason: info.reason,
        metadata: info.metadata,
        violations: violations.into_iter().map(|one| (one.field, one.description)).collect(),
    })
}

/// The reason in a status of ours.
pub fn reason_of(status: &Status) -> Option<String> {
    Some(details_of(status)?.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violation(field: &str, message: &str) -> Violation {
        Violation { field: field.to_owned(), message: message.to_owned() }
    }

    #[test]
    fn codes_and_reasons_are_pinned() {
        let bad = AdminError::BadField { field: "group".into(), problem: "is missing".to_owned() };
        let invalid = AdminError::Invalid(vec![violation("settings.a", "is odd")]);
        let table = [
            (AdminError::Unauthorized, Code::Unauthenticated, "UNAUTHORIZED"),
            (AdminError::Forbidden, Code::PermissionDenied, "FORBIDDEN"),
            (AdminError::NotFound, Code::NotFound, "NOT_FOUND"),
            (bad, Code::InvalidArgument, "BAD_FIELD"),
            (invalid, Code::InvalidArgument, "BAD_FIELD"),
            (AdminError::Conflict { version: 7 }, Code::Aborted, "CONFLICT"),
            (AdminError::AlreadyExists { field: "group" }, Code::AlreadyExists, "ALREADY_EXISTS"),
            (AdminError::RequestIdReused, Code::AlreadyExists, "REQUEST_ID_REUSED"),
            (AdminError::RequestRunning, Code::Aborted, "REQUEST_RUNNING"),
            (AdminError::TooMany { what: "keys", most: 9 }, Code::ResourceExhausted, "TOO_MANY"),
            (AdminError::VisitorNotPresent, Code::FailedPrecondition, "VISITOR_NOT_PRESENT"),
            (AdminError::PresenceDisabled, Code::FailedPrecondition, "PRESENCE_DISABLED"),
            (AdminError::Unavailable, Code::Unavailable, "OVERLOAD"),
            (AdminError::Internal, Code::Internal, "INTERNAL"),
        ];
        for (error, code, reason) in table {
            let status = Status::from(error.clone());
            assert_eq!(status.code(), code);
            assert_eq!(status.message(), error.to_string());
            assert_eq!(reason_of(&status).as_deref(), Some(reason));
        }
    }

    #[test]
    fn details_name_what_is_wrong() {
        let told = |error: AdminError| details_of(&error.into()).unwrap();
        let metadata = |error| told(error).metadata.into_iter().collect::<Vec<_>>();
        assert_eq!(metadata(AdminError::Conflict { version: 7 }), [("version".into(), "7".into())]);
        let taken = AdminError::AlreadyExists { field: "agent.address" };
        assert_eq!(metadata(taken), [("field".into(), "agent.address".into())]);
        let found = vec![violation("settings.a", "is odd"), violation("settings.b[2].c", "is even")];
        let wanted = [("settings.a".into(), "is odd".into()), ("settings.b[2].c".into(), "is even".into())];
        assert_eq!(told(AdminError::Invalid(found)).violations, wanted);
        let bad = AdminError::BadField { field: "group".into(), problem: "is missing".to_owned() };
        assert_eq!(told(bad).violations, [("group".into(), "is missing".into())]);
    }
}
