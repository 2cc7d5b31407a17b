//! What a refusal says: the sentence, the reason for programs, and each field that can't be taken.

use std::fmt;

use tonic::Status;

use super::rows::plain;
use crate::admin::{Details, Reason, details_of};

/// A call that was refused.
#[derive(Debug)]
pub(super) struct Refusal {
    message: String,
    /// Its reason is empty when the refusal is not the service's own.
    details: Details,
}

impl Refusal {
    pub(super) fn of(status: &Status) -> Self {
        let message = match status.message() {
            "" => status.code().description(),
            message => message,
        };
        Self { message: plain(message), details: details_of(status).unwrap_or_default() }
    }

    /// Whether it is a refusal of the service itself, and not of what lies between.
    pub(super) fn is_ours(&self) -> bool {
        !self.details.reason.is_empty()
    }

    fn is(&self, reason: Reason) -> bool {
        self.details.reason == reason.as_str()
    }

    /// Whether it was refused because somebody else changed the thing first.
    pub(super) fn is_conflict(&self) -> bool {
        self.is(Reason::Conflict)
    }

    /// What to do about it, where that is not plain from the sentence.
    fn advice(&self) -> Option<&'static str> {
        if self.is_conflict() {
            Some("somebody changed the settings since they were read; look at them and try again")
        } else if self.is(Reason::RequestRunning) {
            Some("ask again in a moment with the same --request-id")
        } else {
            None
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.is_ours() {
            write!(f, " ({})", plain(&self.details.reason))?;
        }
        for (field, problem) in &self.details.violations {
            write!(f, "\n  {}: {}", plain(field), plain(problem))?;
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
    use crate::admin::AdminError;
    use crate::model::settings::Violation;
    use tonic::Code;

    #[test]
    fn each_field_is_told() {
        let violation =
            |field: &str| Violation { field: field.to_owned(), message: "is odd\u{7}".to_owned() };
        let found = ["settings.terms.version", "settings.grace_seconds"].map(violation).into();
        let refusal = Refusal::of(&AdminError::Invalid(found).into()).to_string();
        let (sentence, fields) = refusal.split_once('\n').unwrap();
        assert!(sentence.ends_with(" (BAD_FIELD)"), "{sentence}");
        assert_eq!(
            fields,
            "  settings.terms.version: is odd\u{fffd}\n  settings.grace_seconds: is odd\u{fffd}"
        );
    }

    #[test]
    fn a_conflict_is_explained() {
        let refusal = Refusal::of(&AdminError::Conflict { version: 7 }.into());
        assert!(refusal.is_conflict());
        assert_eq!(
            refusal.to_string(),
            "the settings are at version 7, read them again (CONFLICT)\n  somebody changed the settings since \
             they were read; look at them and try again"
        );
    }

    #[test]
    fn what_is_not_ours_has_no_reason() {
        let foreign = Refusal::of(&Status::unavailable("tcp\u{1b}[2J connect error"));
        assert!(!foreign.is_ours());
        assert_eq!(foreign.to_string(), "tcp\u{fffd}[2J connect error");
        let junk = Refusal::of(&Status::with_details(Code::Aborted, "", vec![0xff, 0xff].into()));
        assert_eq!(junk.to_string(), Code::Aborted.description());
    }
}
