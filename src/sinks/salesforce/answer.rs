//! What an org's refusals mean: which are for good, and what is told of them.
//!
//! Decides by the code of the error. For good is what is wrong with the very record or post; whatever an
//! administrator mends for all of them, such as a missing field, is tried again, as is what passes by itself.

use super::Trouble;
use super::login::Reply;
use crate::limits;

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// A whole request: nothing in particular.
    All,
    /// An upsert.
    Record,
    /// A post, or a look at the feed for it.
    Post,
}

/// Codes that are about the values of what was sent. They are as bad tomorrow.
const VALUES: &[&str] = &[
    "CANNOT_UPDATE_CONVERTED_LEAD",
    "DUPLICATES_DETECTED",
    "DUPLICATE_EXTERNAL_ID",
    "DUPLICATE_VALUE",
    "ENTITY_IS_ARCHIVED",
    "ENTITY_IS_DELETED",
    "FIELD_CUSTOM_VALIDATION_EXCEPTION",
    "FIELD_FILTER_VALIDATION_EXCEPTION",
    "FIELD_INTEGRITY_EXCEPTION",
    "INVALID_CROSS_REFERENCE_KEY",
    "INVALID_EMAIL_ADDRESS",
    "INVALID_ID_FIELD",
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
    "MALFORMED_ID",
    "NUMBER_OUTSIDE_VALID_RANGE",
    "STRING_TOO_LONG",
];

/// Codes that are about the record of a post: it is not there, or not for the user's eyes. Of an upsert they
/// would be about the object.
const RECORDS: &[&str] = &[
    "INSUFFICIENT_ACCESS",
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
    "INSUFFICIENT_ACCESS_OR_READONLY",
    "NOT_FOUND",
];

/// The code of the first error.
pub(super) fn code(reply: &Reply) -> Option<&str> {
    let error = reply.body.as_ref()?;
    error.get(0).unwrap_or(error).get("errorCode")?.as_str()
}

/// What becomes of what was refused.
pub(super) fn refusal(reply: &Reply, subject: Subject) -> Trouble {
    let code = code(reply);
    let error = reply.body.as_ref().map(|body| body.get(0).unwrap_or(body));
    let message = error.and_then(|error| error.get("message")?.as_str());
    let mut why = format!("answered {}", reply.status.as_u16());
    if let Some(code) = code {
        why.push(' ');
        why.push_str(&words(code));
    }
    if let Some(message) = message {
        why.push_str(": ");
        why.push_str(&words(message));
    }
    let refused = reply.status.is_client_error() || reply.status.is_redirection();
    let for_good = |codes: &[&str]| refused && code.is_some_and(|code| codes.contains(&code));
    let for_good = match subject {
        Subject::All => false,
        // 300: the id is of more than one record.
        Subject::Record => for_good(VALUES) || reply.status.as_u16() == 300,
        Subject::Post => for_good(VALUES) || for_good(RECORDS),
    };
    if for_good { Trouble::Never(why) } else { Trouble::Later(why, reply.wait) }
}

/// Somebody else's words, fit for the history: short, in one line, and without words so long that they may
/// be tokens.
pub(super) fn words(text: &str) -> String {
    let (most, longest) = limits::SALESFORCE_WORDS;
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let words = words.map(|word| if word.chars().count() > longest { "…" } else { word });
    let text = words.collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::StatusCode;
    use serde_json::{Value, json};

    fn reply(status: u16, body: Value) -> Reply {
        Reply { status: StatusCode::from_u16(status).unwrap(), wait: None, body: Some(body) }
    }

    fn error(status: u16, code: &str) -> Reply {
        reply(status, json!([{"message": "Words.", "errorCode": code, "fields": []}]))
    }

    #[test]
    fn what_is_wrong_with_one_letter_is_for_good() {
        use Subject::{All, Post, Record};
        let never = [
            (400, "MALFORMED_ID", vec![Record, Post]),
            (400, "STRING_TOO_LONG", vec![Record, Post]),
            (404, "ENTITY_IS_DELETED", vec![Record, Post]),
            (400, "FIELD_CUSTOM_VALIDATION_EXCEPTION", vec![Record, Post]),
            (404, "NOT_FOUND", vec![Post]),
            (403, "INSUFFICIENT_ACCESS", vec![Post]),
            (403, "REQUEST_LIMIT_EXCEEDED", vec![]),
            (400, "UNABLE_TO_LOCK_ROW", vec![]),
            (400, "INVALID_FIELD", vec![]),
            (401, "INVALID_SESSION_ID", vec![]),
            (503, "SERVER_UNAVAILABLE", vec![]),
            (500, "STRING_TOO_LONG", vec![]),
            (400, "SOMETHING_NEW", vec![]),
        ];
        for (status, code, subjects) in never {
            for subject in [All, Record, Post] {
                let refused = refusal(&error(status, code), subject);
                assert_eq!(
                    matches!(refused, Trouble::Never(_)),
                    subjects.contains(&subject),
                    "{code} {subject:?}"
                );
                assert_eq!(refused.to_string(), format!("answered {status} {code}: Words."));
            }
        }
        let many = reply(300, json!(["/services/data/v62.0/sobjects/Lead/00Q1"]));
        assert_eq!(refusal(&many, Record), Trouble::Never("answered 300".to_owned()));
        assert!(matches!(refusal(&reply(502, Value::Null), Record), Trouble::Later(..)));
    }

    #[test]
    fn words_are_short_and_no_tokens() {
        assert_eq!(words("No such\ncolumn 'X'  on\u{7} Lead."), "No such column 'X' on Lead.");
        assert_eq!(words(&format!("token {} is over", "00Dx!".repeat(20))), "token … is over");
        let long = words(&"word ".repeat(100));
        assert!(long.ends_with('…') && long.chars().count() == 201, "{long}");
    }
}
