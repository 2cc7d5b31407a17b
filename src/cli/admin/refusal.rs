//! What a refusal says: the sentence, the reason for programs, and each field that can't be taken.

use std::collections::HashMap;
use std::fmt;

use prost::Message;
use prost_types::Any;
use tonic::Status;

use super::rows::plain;

/// `google.rpc.Status`, as far as it is read.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(map = "string, string", tag = "3")]
    metadata: HashMap<String, String>,
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

/// A call that was refused.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    message: String,
    /// For programs; empty when the refusal is not the service's own.
    pub(super) reason: String,
    metadata: HashMap<String, String>,
    violations: Vec<(String, String)>,
}

impl Refusal {
    pub(super) fn of(status: &Status) -> Self {
        let mut refusal = Self { message: plain(status.message()), ..Self::default() };
        if refusal.message.is_empty() {
            refusal.message = status.code().description().to_owned();
        }
        let details = RpcStatus::decode(status.details()).unwrap_or_default().details;
        let find = |kind: &str| details.iter().find(|detail| detail.type_url.ends_with(kind));
        if let Some(info) = find("/google.rpc.ErrorInfo").and_then(|any| ErrorInfo::decode(&*any.value).ok())
        {
            refusal.reason = plain(&info.reason);
            refusal.metadata = info.metadata;
        }
        if let Some(bad) = find("/google.rpc.BadRequest").and_then(|any| BadRequest::decode(&*any.value).ok())
        {
            let told = bad.field_violations.iter().map(|one| (plain(&one.field), plain(&one.description)));
            refusal.violations = told.collect();
        }
        refusal
    }

    /// Whether it was refused because somebody else changed the thing first.
    pub(super) fn is_conflict(&self) -> bool {
        self.reason == "CONFLICT"
    }

    /// What to do about it, where that is not plain from the sentence.
    fn advice(&self) -> Option<String> {
        match self.reason.as_str() {
            "CONFLICT" => {
                let version = self.metadata.get("version").map(|version| plain(version));
                let at =
                    version.map_or_else(String::new, |version| format!(" and are at version {version} now"));
                Some(format!(
                    "the settings were changed since they were read{at}; look at them and try again"
                ))
            }
            "REQUEST_ID_REUSED" => {
                Some("this request ID was used for another call; choose another".to_owned())
            }
            "REQUEST_RUNNING" => {
                Some("the first call with this request ID is still at work; ask again in a moment".to_owned())
            }
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.reason.is_empty() {
            write!(f, " ({})", self.reason)?;
        }
        for (field, problem) in &self.violations {
            write!(f, "\n  {field}: {problem}")?;
        }
        match self.advice() {
            Some(advice) => write!(f, "\n  {advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    fn status(code: Code, message: &str, details: Vec<Any>) -> Status {
        Status::with_details(code, message, RpcStatus { details }.encode_to_vec().into())
    }

    fn info(reason: &str, metadata: &[(&str, &str)]) -> Any {
        let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let info = ErrorInfo { reason: reason.to_owned(), metadata };
        let type_url = "type.googleapis.com/google.rpc.ErrorInfo".to_owned();
        Any { type_url, value: info.encode_to_vec() }
    }

    #[test]
    fn each_field_is_told() {
        let bad = BadRequest {
            field_violations: vec![
                FieldViolation { field: "settings.terms.version".into(), description: "is missing".into() },
                FieldViolation { field: "settings.grace_seconds".into(), description: "is over 60".into() },
            ],
        };
        let type_url = "type.googleapis.com/google.rpc.BadRequest".to_owned();
        let bad = Any { type_url, value: bad.encode_to_vec() };
        let refusal = status(Code::InvalidArgument, "2 fields", vec![info("BAD_FIELD", &[]), bad]);
        assert_eq!(
            Refusal::of(&refusal).to_string(),
            "2 fields (BAD_FIELD)\n  settings.terms.version: is missing\n  settings.grace_seconds: is over 60"
        );
    }

    #[test]
    fn a_conflict_is_explained() {
        let refusal =
            status(Code::Aborted, "no longer at version 6", vec![info("CONFLICT", &[("version", "7")])]);
        let refusal = Refusal::of(&refusal);
        assert!(refusal.is_conflict());
        assert_eq!(
            refusal.to_string(),
            "no longer at version 6 (CONFLICT)\n  the settings were changed since they were read and are at \
             version 7 now; look at them and try again"
        );
    }

    #[test]
    fn what_is_not_ours_has_no_reason() {
        let foreign = Status::unavailable("tcp\u{1b}[2J connect error");
        assert_eq!(Refusal::of(&foreign).to_string(), "tcp\u{fffd}[2J connect error");
        let junk = Status::with_details(Code::Aborted, "", vec![0xff, 0xff].into());
        assert_eq!(Refusal::of(&junk).to_string(), Code::Aborted.description());
    }
}
