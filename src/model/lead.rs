//! Which guests become leads.
//!
//! Decides by the group's policy, the kind of session and what the guest told. Does not decide whether the
//! email is a lead already: the store does, which sees them all.

use super::event::Lead;
use super::settings::CreateLeads;
use serde::{Deserialize, Serialize};

use crate::ids::EventId;
use crate::limits;
use crate::wire::visitor::SessionKind;

/// What a guest told of itself on the way into a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// Its name.
    pub name: Option<String>,
    /// Its email.
    pub email: Option<String>,
}

/// The lead that a guest is, if the policy makes it one; `id` is that of its event.
pub fn lead(policy: CreateLeads, kind: SessionKind, guest: &Guest, id: EventId) -> Option<Lead> {
    if !matches!(kind, SessionKind::Show | SessionKind::View) {
        return None;
    }
    let given = |text: &Option<String>| {
        let text = text.as_deref().map(str::trim).filter(|text| !text.is_empty());
        text.map(str::to_owned)
    };
    let (email, name) = (given(&guest.email).filter(|email| is_email(email))?, given(&guest.name));
    match policy {
        CreateLeads::Never => return None,
        CreateLeads::NewEmailAndName if name.is_none() => return None,
        CreateLeads::NewEmail | CreateLeads::NewEmailAndName => {}
    }
    Some(Lead { lead: id.to_string(), email, name })
}

/// An email in the form in which two are compared.
pub fn folded(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Whether mail could be sent there at all; more only sending can tell.
pub fn is_email(text: &str) -> bool {
    let plain =
        text.len() <= limits::EMAIL_BYTES && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    plain && matches!(text.rsplit_once('@'), Some((name, host)) if !name.is_empty() && !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use CreateLeads::{Never, NewEmail, NewEmailAndName};

    fn is_lead(policy: CreateLeads, kind: SessionKind, email: &str, name: &str) -> bool {
        let given = |text: &str| Some(text.to_owned());
        let guest = Guest { name: given(name), email: given(email) };
        lead(policy, kind, &guest, EventId::from_u128(1)).is_some()
    }

    #[test]
    fn the_policy_decides() {
        for (policy, email, name, wanted) in [
            (Never, "a@b.c", "Ann", false),
            (NewEmail, "a@b.c", "Ann", true),
            (NewEmail, "a@b.c", "", true),
            (NewEmail, "", "Ann", false),
            (NewEmailAndName, "a@b.c", "Ann", true),
            (NewEmailAndName, "a@b.c", " ", false),
            (NewEmailAndName, "", "Ann", false),
            (NewEmail, "nobody", "Ann", false),
            (NewEmail, "@b.c", "Ann", false),
            (NewEmail, "a@", "Ann", false),
            (NewEmail, "a b@c.d", "Ann", false),
        ] {
            for kind in [SessionKind::Show, SessionKind::View] {
                assert_eq!(
                    is_lead(policy, kind, email, name),
                    wanted,
                    "{policy:?} {kind:?} {email:?} {name:?}"
                );
            }
        }
    }

    #[test]
    fn only_guests_of_screen_shares_become_leads() {
        for kind in [SessionKind::Cobrowse, SessionKind::Screen] {
            for policy in [Never, NewEmail, NewEmailAndName] {
                assert!(!is_lead(policy, kind, "a@b.c", "Ann"), "{kind:?} {policy:?}");
            }
        }
    }

    #[test]
    fn what_was_given_is_kept_without_its_margins() {
        let guest = Guest { name: Some(" Ann ".into()), email: Some(" Ann@Example.COM ".into()) };
        let made = lead(NewEmail, SessionKind::Show, &guest, EventId::from_u128(1)).unwrap();
        assert_eq!((made.email.as_str(), made.name.as_deref()), ("Ann@Example.COM", Some("Ann")));
    }

    #[test]
    fn case_does_not_make_another_email() {
        assert_eq!(folded(" Ann@Example.COM "), folded("ann@example.com"));
        assert_eq!(folded("ÄNN@x.y"), folded("änn@x.y"));
    }
}
