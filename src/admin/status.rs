//! The one place where errors become gRPC statuses.

use std::borrow::Cow;
use std::collections::HashMap;

use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The key is missing, malformed, unknown or revoked: one answer for all.
    #[error("a valid admin key is needed")]
    Unauthorized,
    /// The key is good, but only an operator's will do.
    #[error("an operator's key is needed")]
    Forbidden,
    /// The group or the thing in it does not exist, or is out of the key's reach: one answer for all.
    #[error("no such group, visitor or session within reach of this key")]
    NotFound,
    /// A field of the request can't be used.
    #[error("{field} {problem}")]
    BadField {
        /// The field as named in the proto file.
        field: Cow<'static, str>,
        /// What is wrong with it.
        problem: String,
    },
    /// The node can't do it now; the call may be repeated.
    #[error("the node can't do this now")]
    Unavailable,
    /// The node failed; its log has the cause.
    #[error("the node could not do this")]
    Internal,
}

impl AdminError {
    /// The canonical code.
    fn code(&self) -> Code {
        match self {
            Self::Unauthorized => Code::Unauthenticated,
            Self::Forbidden => Code::PermissionDenied,
            Self::NotFound => Code::NotFound,
            Self::BadField { .. } => Code::InvalidArgument,
            Self::Unavailable => Code::Unavailable,
            Self::Internal => Code::Internal,
        }
    }

    /// The reason for programs.
    fn reason(&self) -> &'static str {
        match self {
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::BadField { .. } => "BAD_FIELD",
            Self::Unavailable => "OVERLOAD",
            Self::Internal => "INTERNAL",
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
        let (code, message) = (error.code(), error.to_string());
        let mut metadata = HashMap::new();
        if let AdminError::BadField { field, .. } = &error {
            metadata.insert("field".to_owned(), field.to_string());
        }
        let info = ErrorInfo { reason: error.reason().to_owned(), domain: DOMAIN.to_owned(), metadata };
        let detail = Any { type_url: ERROR_INFO.to_owned(), value: info.encode_to_vec() };
        let details = RpcStatus { code: code as i32, message: message.clone(), details: vec![detail] };
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

    #[test]
    fn codes_and_reasons_are_pinned() {
        let bad = AdminError::BadField { field: "group".into(), problem: "is missing".to_owned() };
        let table = [
            (AdminError::Unauthorized, Code::Unauthenticated, "UNAUTHORIZED"),
            (AdminError::Forbidden, Code::PermissionDenied, "FORBIDDEN"),
            (AdminError::NotFound, Code::NotFound, "NOT_FOUND"),
            (bad, Code::InvalidArgument, "BAD_FIELD"),
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
}
