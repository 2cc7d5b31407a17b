//! Which buttons an agent sees on a record, and why one is off.
//!
//! Decides `visible`, `enabled`, the light and the reason of Show, View and Join, and which visitor a
//! record leads to. Pure: settings, permissions, profile, record and the visitor's state come in. Does not
//! enforce anything by itself; the hub asks the same question again when a button is pressed.
//!
//! The checks run in this order, and the first that fails is the reason: presence (Join alone needs it),
//! permission, profile, object, and for Join that the visitor is not absent.

use serde::{Serialize, Serializer};

use super::settings::{ObjectButtons, Profile, Settings};
use crate::auth::permissions::Permissions;
use crate::ids::VisitorId;
use crate::wire::agent::{OpenRecord, PresenceState};

/// The three buttons of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Buttons {
    /// Shows the agent's own screen.
    pub show: Button,
    /// Joins the visitor's.
    pub join: Button,
    /// Views a guest's.
    pub view: Button,
    /// Why there are no buttons at all: the answer's own `reason`, beside the buttons.
    #[serde(skip)]
    pub reason: Option<Reason>,
    /// Whether opening the record joins the visitor's running session: the answer's own `autoJoin`.
    #[serde(skip)]
    pub auto_join: bool,
}

/// One button, as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Button {
    /// Whether it is drawn.
    pub visible: bool,
    /// Whether it can be pressed.
    pub enabled: bool,
    /// What Join's lamp shows, when the record leads to a visitor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub light: Option<Light>,
    /// Why it is off; on an enabled Join that asks for a key, why it has no visitor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The reason as a sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<&'static str>,
    /// Whether pressing it asks for a session key.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub asks_for_key: bool,
}

/// The Join signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Light {
    /// The visitor is present.
    Lit,
    /// The visitor is hidden, or nobody can tell.
    Dim,
    /// The visitor is absent.
    Dark,
    /// A session of the visitor is running.
    InSession,
}

impl Light {
    /// The light for a visitor in this state.
    pub fn of(state: PresenceState, in_session: bool) -> Self {
        match state {
            _ if in_session => Self::InSession,
            PresenceState::Present => Self::Lit,
            PresenceState::Hidden | PresenceState::Unknown => Self::Dim,
            PresenceState::Absent => Self::Dark,
        }
    }
}

/// Declares the reasons: name on the wire and sentence for people.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $message:literal;)*) => {
        /// Why a button is off, or what it lacks.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// A sentence for people.
            pub const fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)* }
            }
        }
    };
}

reasons! {
    /// Presence is off for the group.
    PresenceDisabled = "presence_disabled",
        "Presence is switched off in your company's settings.";
    /// The agent is not in the permission set.
    NoPermission = "no_permission",
        "You do not hold the user permission. Ask your administrator to add you to the permission set.";
    /// The agent has no profile, or it has no entry.
    NoProfile = "no_profile",
        "Your profile has no buttons configured. Ask your administrator to add it to the settings.";
    /// The button is off in the profile's entry.
    OffForProfile = "off_for_profile", "This button is switched off for your profile.";
    /// The object has no entry.
    NoObject = "no_object", "No buttons are configured for records of this kind.";
    /// The button is off in the object's entry.
    OffForObject = "off_for_object", "This button is switched off for records of this kind.";
    /// The visitor is absent.
    VisitorAbsent = "visitor_absent", "The visitor is not on the website now.";
    /// No field is configured, or it is empty.
    NoVisitorId = "no_visitor_id", "This record has no visitor ID. Ask the visitor for the session key.";
    /// What the field holds cannot be a visitor ID.
    BadVisitorId = "bad_visitor_id",
        "This record's visitor ID is not valid. Ask the visitor for the session key.";
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What is known of the visitor that a record leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// Its presence.
    pub state: PresenceState,
    /// Whether a session of it is running.
    pub in_session: bool,
}

/// The visitor that a record leads to, by the object's configured field; the error is
/// [`Reason::NoVisitorId`] or [`Reason::BadVisitorId`].
///
/// The configured object is the record itself or one of its parents. Numbers are read as their digits,
/// because CRMs keep customer numbers as numbers.
pub fn visitor_of(settings: &Settings, open: &OpenRecord) -> Result<VisitorId, Reason> {
    let own = &*open.record.object;
    let object = settings.object(own).ok_or(Reason::NoVisitorId)?;
    let field = object.visitor_id_field.as_deref().ok_or(Reason::NoVisitorId)?;
    let fields = match object.visitor_id_object.as_deref() {
        Some(parent) if parent != own => open.parents.get(parent),
        _ => Some(&open.fields),
    };
    let text = match fields.and_then(|fields| fields.get(field)) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(serde_json::Value::Number(number)) => number.to_string(),
        None | Some(serde_json::Value::Null) => return Err(Reason::NoVisitorId),
        Some(_) => return Err(Reason::BadVisitorId),
    };
    if text.is_empty() {
        return Err(Reason::NoVisitorId);
    }
    VisitorId::new(&text).map_err(|_| Reason::BadVisitorId)
}

/// The buttons of a record of this object for an agent with this profile and these permissions.
///
/// `visitor` is what [`visitor_of`] said, with what is known of that visitor in place of its name.
pub fn buttons(
    settings: &Settings,
    permissions: Permissions,
    profile: Option<&str>,
    object: &str,
    visitor: Result<Sight, Reason>,
) -> Buttons {
    let gate = Gate {
        permitted: permissions.user,
        profile: profile.and_then(|name| settings.profile(name)),
        object: settings.object(object),
    };
    let join = join(settings, &gate, visitor);
    let wanted = gate.object.is_some_and(|object| object.auto_join);
    Buttons {
        show: gate.button(|profile| profile.show, |object| object.show),
        join,
        view: gate.button(|profile| profile.view, |object| object.view),
        reason: gate.closed(),
        auto_join: wanted && join.enabled && join.light == Some(Light::InSession),
    }
}

fn join(settings: &Settings, gate: &Gate<'_>, visitor: Result<Sight, Reason>) -> Button {
    let mut button = gate.button(|profile| profile.join, |object| object.join);
    if !settings.presence_enabled {
        // The first check of all: its reason stands before the others'. The button stays where it was.
        return Button { enabled: false, ..button.because(Reason::PresenceDisabled) };
    }
    if !button.enabled {
        return button;
    }
    match visitor {
        Ok(sight) => {
            let light = Light::of(sight.state, sight.in_session);
            button.light = Some(light);
            if light == Light::Dark {
                button.enabled = false;
                button = button.because(Reason::VisitorAbsent);
            }
        }
        Err(reason) => {
            button.asks_for_key = true;
            button = button.because(reason);
        }
    }
    button
}

/// The checks that all buttons share.
struct Gate<'a> {
    permitted: bool,
    profile: Option<&'a Profile>,
    object: Option<&'a ObjectButtons>,
}

impl Gate<'_> {
    /// Why every button is off, if so.
    fn closed(&self) -> Option<Reason> {
        match (self.permitted, self.profile, self.object) {
            (false, _, _) => Some(Reason::NoPermission),
            (_, None, _) => Some(Reason::NoProfile),
            (_, _, None) => Some(Reason::NoObject),
            _ => None,
        }
    }

    fn button(&self, by_profile: fn(&Profile) -> bool, by_object: fn(&ObjectButtons) -> bool) -> Button {
        if let Some(reason) = self.closed() {
            return Button::default().because(reason);
        }
        if !self.profile.is_some_and(by_profile) {
            return Button::default().because(Reason::OffForProfile);
        }
        if !self.object.is_some_and(by_object) {
            return Button::default().because(Reason::OffForObject);
        }
        Button { visible: true, enabled: true, ..Button::default() }
    }
}

impl Button {
    fn because(self, reason: Reason) -> Self {
        Self { reason: Some(reason), message: Some(reason.message()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const USER: Permissions = Permissions { user: true, admin: false, agent_video: false };
    const PRESENT: Result<Sight, Reason> = Ok(Sight { state: PresenceState::Present, in_session: false });

    fn settings() -> Settings {
        Settings::dev(&[])
    }

    fn open(value: serde_json::Value) -> OpenRecord {
        serde_json::from_value(value).unwrap()
    }

    /// `visible enabled reason`, short for a table.
    fn short(button: &Button) -> (bool, bool, Option<Reason>) {
        (button.visible, button.enabled, button.reason)
    }

    #[test]
    fn every_combination_of_the_checks() {
        // For each button: what the contract says, written down without looking at the code's order.
        for bits in 0..128u32 {
            let on = |bit: u32| bits & (1 << bit) != 0;
            let (presence, permitted, has_profile, has_object) = (on(0), on(1), on(2), on(3));
            let (in_profile, in_object, here) = (on(4), on(5), on(6));
            let mut settings = settings();
            settings.presence_enabled = presence;
            for profile in &mut settings.profiles {
                (profile.show, profile.view, profile.join) = (in_profile, in_profile, in_profile);
            }
            for object in &mut settings.objects {
                (object.show, object.view, object.join) = (in_object, in_object, in_object);
            }
            let state = if here { PresenceState::Present } else { PresenceState::Absent };
            let got = buttons(
                &settings,
                Permissions { user: permitted, ..USER },
                has_profile.then_some("Support"),
                if has_object { "Case" } else { "Invoice" },
                Ok(Sight { state, in_session: false }),
            );

            let shown = permitted && has_profile && has_object && in_profile && in_object;
            let base = [
                (!permitted, Reason::NoPermission),
                (!has_profile, Reason::NoProfile),
                (!has_object, Reason::NoObject),
                (!in_profile, Reason::OffForProfile),
                (!in_object, Reason::OffForObject),
            ];
            let first = |rows: &[(bool, Reason)]| rows.iter().find(|row| row.0).map(|row| row.1);
            let reason = first(&base);
            assert_eq!(short(&got.show), (shown, shown, reason), "show {bits:07b}");
            assert_eq!(short(&got.view), (shown, shown, reason), "view {bits:07b}");
            let join = if !presence {
                Some(Reason::PresenceDisabled)
            } else {
                reason.or((!here).then_some(Reason::VisitorAbsent))
            };
            assert_eq!(short(&got.join), (shown, shown && presence && here, join), "join {bits:07b}");
            assert_eq!(got.reason, first(&base[..3]), "all {bits:07b}");
            for button in [got.show, got.view, got.join] {
                assert_eq!(button.message.is_some(), button.reason.is_some());
                assert!(button.visible || !button.enabled);
                assert!(button.enabled || button.reason.is_some(), "an off button says why");
            }
        }
    }

    #[test]
    fn switches_are_per_button() {
        let mut settings = settings();
        settings.profiles[0].show = false;
        settings.objects[0].view = false;
        let got = buttons(&settings, USER, Some("Support"), "Case", PRESENT);
        assert_eq!(short(&got.show), (false, false, Some(Reason::OffForProfile)));
        assert_eq!(short(&got.view), (false, false, Some(Reason::OffForObject)));
        assert_eq!(short(&got.join), (true, true, None));
        assert_eq!(got.reason, None);
    }

    #[test]
    fn lights() {
        use PresenceState::{Absent, Hidden, Present, Unknown};
        for (state, in_session, light, enabled) in [
            (Present, false, Light::Lit, true),
            (Hidden, false, Light::Dim, true),
            (Unknown, false, Light::Dim, true),
            (Absent, false, Light::Dark, false),
            (Present, true, Light::InSession, true),
            (Hidden, true, Light::InSession, true),
            (Unknown, true, Light::InSession, true),
            (Absent, true, Light::InSession, true),
        ] {
            let got = buttons(&settings(), USER, Some("Support"), "Case", Ok(Sight { state, in_session }));
            assert_eq!((got.join.light, got.join.enabled), (Some(light), enabled), "{state:?} {in_session}");
        }
    }

    #[test]
    fn a_running_session_is_joined_where_the_object_wants_it_and_join_is_on() {
        let sight = |in_session| Ok(Sight { state: PresenceState::Present, in_session });
        let auto = |settings: &Settings, permissions, visitor| {
            buttons(settings, permissions, Some("Support"), "Case", visitor).auto_join
        };
        let mut settings = settings();
        settings.objects[0].auto_join = true;
        assert!(auto(&settings, USER, sight(true)));
        assert!(!auto(&settings, USER, sight(false)), "no session");
        assert!(!auto(&settings, USER, Err(Reason::NoVisitorId)), "no visitor");
        assert!(!auto(&settings, Permissions { user: false, ..USER }, sight(true)), "no permission");
        for off in [
            |settings: &mut Settings| settings.objects[0].auto_join = false,
            |settings: &mut Settings| settings.objects[0].join = false,
            |settings: &mut Settings| settings.profiles[0].join = false,
            |settings: &mut Settings| settings.presence_enabled = false,
        ] {
            let mut settings = settings.clone();
            off(&mut settings);
            assert!(!auto(&settings, USER, sight(true)), "{settings:?}");
        }
    }

    #[test]
    fn without_a_visitor_join_asks_for_the_key() {
        for reason in [Reason::NoVisitorId, Reason::BadVisitorId] {
            let join = buttons(&settings(), USER, Some("Support"), "Case", Err(reason)).join;
            assert!(join.visible && join.enabled && join.asks_for_key && join.light.is_none());
            assert_eq!(join.reason, Some(reason));
        }
        let off = Settings { presence_enabled: false, ..settings() };
        let join = buttons(&off, USER, Some("Support"), "Case", Err(Reason::NoVisitorId)).join;
        assert!(!join.enabled && !join.asks_for_key, "presence comes first");
    }

    #[test]
    fn the_visitor_of_a_record() {
        let rows = [
            // The record itself.
            (json!({"record":{"object":"Contact","id":"1"},"fields":{"visitorId":"C-1"}}), Ok("C-1")),
            (json!({"record":{"object":"Contact","id":"1"},"fields":{"visitorId":1001}}), Ok("1001")),
            (
                json!({"record":{"object":"Contact","id":"1"},"fields":{"visitorId":""}}),
                Err(Reason::NoVisitorId),
            ),
            (
                json!({"record":{"object":"Contact","id":"1"},"fields":{"visitorId":null}}),
                Err(Reason::NoVisitorId),
            ),
            (json!({"record":{"object":"Contact","id":"1"}}), Err(Reason::NoVisitorId)),
            (
                json!({"record":{"object":"Contact","id":"1"},"fields":{"visitorId":"a b"}}),
                Err(Reason::BadVisitorId),
            ),
            (
                json!({"record":{"object":"Contact","id":"1"},"fields":{"visitorId":[]}}),
                Err(Reason::BadVisitorId),
            ),
            (json!({"record":{"object":"Contact","id":"1"},"fields":{"visitorId":1.5}}), Ok("1.5")),
            // The parent, and not the record's own field of that name.
            (
                json!({"record":{"object":"Case","id":"1"},"fields":{"visitorId":"X"},
                       "parents":{"Contact":{"visitorId":"C-2"}}}),
                Ok("C-2"),
            ),
            (
                json!({"record":{"object":"Case","id":"1"},"fields":{"visitorId":"X"}}),
                Err(Reason::NoVisitorId),
            ),
            // An object without configuration.
            (
                json!({"record":{"object":"Invoice","id":"1"},"fields":{"visitorId":"X"}}),
                Err(Reason::NoVisitorId),
            ),
        ];
        for (record, wanted) in rows {
            let got = visitor_of(&settings(), &open(record.clone()));
            assert_eq!(got.as_ref().map(VisitorId::as_str).map_err(|r| *r), wanted, "{record}");
        }
        let named = open(json!({"record":{"object":"Contact","id":"1"},"fields":{"visitorId":"C-1"}}));
        let mut own = settings();
        own.objects[1].visitor_id_object = Some("Contact".to_owned());
        assert!(visitor_of(&own, &named).is_ok(), "its own name means the record itself");
        assert_eq!(visitor_of(&Settings::default(), &named), Err(Reason::NoVisitorId), "no field configured");
    }

    #[test]
    fn the_wire_form() {
        let got = buttons(&settings(), USER, Some("Support"), "Case", PRESENT);
        assert_eq!(
            serde_json::to_value(&got).unwrap(),
            json!({
                "show": {"visible": true, "enabled": true},
                "join": {"visible": true, "enabled": true, "light": "lit"},
                "view": {"visible": true, "enabled": true}
            })
        );
        let key = buttons(&settings(), USER, Some("Support"), "Case", Err(Reason::NoVisitorId)).join;
        let written = serde_json::to_value(key).unwrap();
        assert_eq!(written["asksForKey"], json!(true));
        assert_eq!(written["reason"], json!("no_visitor_id"));
        assert_eq!(serde_json::to_value(Light::InSession).unwrap(), json!("in_session"));
    }
}
