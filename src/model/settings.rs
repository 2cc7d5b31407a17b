//! A group's company settings: every switch of the settings page, with its default.
//!
//! Decides what settings mean taken alone: defaults, which are out of range, which origins are allowed,
//! what an agent is permitted. Does not store, version or audit them; the store does. The users of a
//! group are no setting but rows of their own.
//!
//! In JSON the fields are camelCase; what is missing has its default, so that settings of an older
//! version stay readable.

mod dev;
mod join_in;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

pub use join_in::JoinIn;
use serde::{Deserialize, Serialize};

use super::origin::Origin;
use crate::auth::permissions::Permissions;
use crate::ids::{AgentId, KeyId};
use crate::limits;
use crate::wire::visitor::{SessionKind, TermsShown};

/// The settings of one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// Owner of group-level jobs and notices.
    pub default_admin: Option<AgentId>,
    /// Whether guests of screen-share sessions become leads.
    pub create_leads: CreateLeads,
    /// Whether sessions that belong to no record become events and records too.
    pub log_sessions_outside_crm: bool,
    /// Whether an agent's client is told to open the session record on join.
    pub open_session_records: bool,
    /// How often ended sessions are handed to the sinks.
    pub sync_frequency: SyncFrequency,
    /// Whether start and join are posted to the record's feed.
    pub chatter_on_start: bool,
    /// How agents sign in from the CRM.
    pub sso: Sso,
    /// Whether visitors are tracked and Join signals shown.
    pub presence_enabled: bool,
    /// Whether a visitor must accept the terms before anything is shared.
    pub show_terms: bool,
    /// The terms, and how long there is to answer.
    pub terms: Terms,
    /// What Join starts; absent: `cobrowse` where the server has it, else `screen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_starts: Option<SessionKind>,
    /// Whether a visitor ID needs a token.
    pub visitor_identity: VisitorIdentity,
    /// Origins whose pages may connect as visitors.
    pub visitor_origins: Vec<String>,
    /// Origins whose pages may connect as agents.
    pub agent_origins: Vec<String>,
    /// Whether pages of this very machine (`localhost`, `127.0.0.1`, `[::1]`, any port) may connect as
    /// either. For development.
    pub loopback_origins: bool,
    /// How long after the last connection went a visitor counts as absent, in seconds.
    pub grace_seconds: u32,
    /// Digits of what a visitor reads out to an agent: a session's key, and the code of a visitor without an ID.
    pub session_key_digits: u32,
    /// Buttons per CRM object.
    pub objects: Vec<ObjectButtons>,
    /// Buttons per agent profile.
    pub profiles: Vec<Profile>,
    /// Which agents hold which permission.
    pub permission_set: PermissionSet,
}

/// Which guests of screen-share sessions (`show`, `view`) become leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CreateLeads {
    /// None.
    #[default]
    Never,
    /// Each with an email that is new to the group.
    NewEmail,
    /// Each with a name and an email that is new to the group.
    NewEmailAndName,
}

/// How often ended sessions are handed to the sinks; the phase is the time of installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SyncFrequency {
    /// Each hour.
    #[default]
    Hourly,
    /// Each second hour.
    EveryTwoHours,
    /// Each day.
    Daily,
    /// Only when asked.
    Never,
}

/// How agents sign in from the CRM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sso {
    /// Whether login keys are accepted at all.
    pub enabled: bool,
    /// The CRM's user field that holds the partner user ID; for the connector, not used by the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partner_user_id_field: Option<String>,
    /// The one API key that signs login keys; absent: any live key of the group.
    #[serde(skip_serializing_if = "Option::is_none", alias = "apiKey")]
    pub api_key_id: Option<KeyId>,
    /// Life of a login in seconds, however it was made.
    pub login_expiration_seconds: u32,
}

impl Default for Sso {
    fn default() -> Self {
        Self {
            enabled: false,
            partner_user_id_field: None,
            api_key_id: None,
            login_expiration_seconds: seconds(limits::LOGIN_EXPIRATION),
        }
    }
}

/// The terms a visitor accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Terms {
    /// Names this edition; whoever changes the text changes it.
    pub version: String,
    /// The text itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Where to read them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How long a visitor has to answer an offer, in seconds; with terms or without.
    pub deadline_seconds: u32,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            version: String::new(),
            text: None,
            url: None,
            deadline_seconds: seconds(limits::OFFER_DEADLINE),
        }
    }
}

/// Whether a visitor ID is taken at its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VisitorIdentity {
    /// A token minted by the company's back end is required to use a company's ID.
    #[default]
    Signed,
    /// The ID is taken at its word and shown to agents as not verified.
    Open,
}

/// Buttons on the records of one CRM object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectButtons {
    /// The object's name.
    pub object: String,
    /// Whether Show is on.
    #[serde(default)]
    pub show: bool,
    /// Whether Join is on.
    #[serde(default)]
    pub join: bool,
    /// Whether View is on.
    #[serde(default)]
    pub view: bool,
    /// The object that holds the visitor ID: a parent's name; absent or its own name: the record itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visitor_id_object: Option<String>,
    /// The field that holds the visitor ID; absent: Join asks for a session key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visitor_id_field: Option<String>,
    /// Whether opening a record whose visitor is in a session joins it without a click.
    #[serde(default)]
    pub auto_join: bool,
}

impl ObjectButtons {
    /// An object with all buttons on and no visitor ID field.
    pub fn all_on(object: &str) -> Self {
        Self {
            object: object.to_owned(),
            show: true,
            join: true,
            view: true,
            visitor_id_object: None,
            visitor_id_field: None,
            auto_join: false,
        }
    }
}

/// Buttons of the agents with one profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// The profile's name in the CRM.
    pub name: String,
    /// Whether Show is on.
    #[serde(default)]
    pub show: bool,
    /// Whether View is on.
    #[serde(default)]
    pub view: bool,
    /// Whether Join is on.
    #[serde(default)]
    pub join: bool,
    /// Where a joined session opens.
    #[serde(default)]
    pub join_in: JoinIn,
    /// Whether the agent's camera starts with the session.
    #[serde(default)]
    pub start_agent_video: bool,
}

/// Which agents hold which permission.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PermissionSet {
    /// May show, view and join.
    pub user: BTreeSet<AgentId>,
    /// May change these settings.
    pub admin: BTreeSet<AgentId>,
    /// May send their camera.
    pub agent_video: BTreeSet<AgentId>,
}

/// Who asks to connect from a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// A visitor's page.
    Visitor,
    /// An agent's page.
    Agent,
}

/// A setting that is out of range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Violation {
    /// Path of the field, as in JSON: `profiles[2].name`.
    pub field: String,
    /// What is wrong, naming the limit.
    pub message: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default_admin: None,
            create_leads: CreateLeads::Never,
            log_sessions_outside_crm: false,
            open_session_records: false,
            sync_frequency: SyncFrequency::Hourly,
            chatter_on_start: false,
            sso: Sso::default(),
            presence_enabled: false,
            show_terms: false,
            terms: Terms::default(),
            join_starts: None,
            visitor_identity: VisitorIdentity::Signed,
            visitor_origins: Vec::new(),
            agent_origins: Vec::new(),
            loopback_origins: false,
            grace_seconds: seconds(limits::GRACE),
            session_key_digits: limits::CODE_DIGITS,
            objects: ["Case", "Contact", "Lead", "Opportunity"]
                .map(|name| ObjectButtons { auto_join: name == "Case", ..ObjectButtons::all_on(name) })
                .into(),
            profiles: Vec::new(),
            permission_set: PermissionSet::default(),
        }
    }
}

impl Settings {
    /// How long after its last connection went a visitor counts as absent.
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_seconds.into()).min(limits::GRACE_MAX)
    }

    /// How long a visitor has to answer an offer.
    pub fn offer_deadline(&self) -> Duration {
        Duration::from_secs(self.terms.deadline_seconds.into())
    }

    /// Life of a login.
    pub fn login_expiration(&self) -> Duration {
        Duration::from_secs(self.sso.login_expiration_seconds.into())
    }

    /// What Join starts on a server that has co-browsing, or has not.
    pub fn join_kind(&self, has_cobrowse: bool) -> SessionKind {
        match self.join_starts.unwrap_or(SessionKind::Cobrowse) {
            SessionKind::Cobrowse if has_cobrowse => SessionKind::Cobrowse,
            _ => SessionKind::Screen,
        }
    }

    /// The terms as they are put into an offer. Text and link are left out when nothing has to be accepted.
    pub fn terms_shown(&self) -> TermsShown {
        let shared = |text: &Option<String>| text.as_deref().filter(|_| self.show_terms).map(Arc::from);
        TermsShown {
            required: self.show_terms,
            version: Arc::from(self.terms.version.as_str()),
            text: shared(&self.terms.text),
            url: shared(&self.terms.url),
        }
    }

    /// What an agent may do.
    pub fn permissions_of(&self, agent: &AgentId) -> Permissions {
        Permissions {
            user: self.permission_set.user.contains(agent),
            admin: self.permission_set.admin.contains(agent),
            agent_video: self.permission_set.agent_video.contains(agent),
        }
    }

    /// The entry of a profile.
    pub fn profile(&self, name: &str) -> Option<&Profile> {
        self.profiles.iter().find(|profile| profile.name == name)
    }

    /// The entry of a CRM object.
    pub fn object(&self, name: &str) -> Option<&ObjectButtons> {
        self.objects.iter().find(|object| object.object == name)
    }

    /// Whether a page of this origin may connect: the same scheme, host and port as one on the audience's
    /// list, or this very machine where [`Settings::loopback_origins`] is on. Never `null`.
    pub fn origin_allowed(&self, audience: Audience, origin: &str) -> bool {
        let Some(asking) = Origin::parse(origin) else {
            return false;
        };
        let list = match audience {
            Audience::Visitor => &self.visitor_origins,
            Audience::Agent => &self.agent_origins,
        };
        (self.loopback_origins && asking.is_loopback())
            || list.iter().any(|allowed| Origin::parse(allowed) == Some(asking))
    }

    /// Everything that is out of range, with the path of its field; empty when the settings may be stored.
    pub fn check(&self) -> Vec<Violation> {
        let mut found = Findings::default();
        found.range(
            "sso.loginExpirationSeconds",
            self.sso.login_expiration_seconds,
            limits::LOGIN_EXPIRATION_RANGE,
        );
        found.range("terms.deadlineSeconds", self.terms.deadline_seconds, limits::OFFER_DEADLINE_RANGE);
        found.range("graceSeconds", self.grace_seconds, (Duration::ZERO, limits::GRACE_MAX));
        let (least, most) = limits::CODE_DIGITS_RANGE;
        if !(least..=most).contains(&self.session_key_digits) {
            found.add("sessionKeyDigits", format!("{} is outside {least}–{most}", self.session_key_digits));
        }
        if let Some(field) = &self.sso.partner_user_id_field {
            found.name("sso.partnerUserIdField", field);
        }
        self.check_terms(&mut found);
        if matches!(self.join_starts, Some(SessionKind::View | SessionKind::Show)) {
            found.add("joinStarts", "must be cobrowse or screen");
        }
        for (field, list) in
            [("visitorOrigins", &self.visitor_origins), ("agentOrigins", &self.agent_origins)]
        {
            found.count(field, list.len(), limits::SETTINGS_LIST);
            for (at, origin) in list.iter().enumerate() {
                if Origin::parse(origin).is_none() {
                    found.add(&format!("{field}[{at}]"), "must be scheme://host[:port] with http or https");
                } else if origin.len() > limits::ORIGIN_BYTES {
                    found.add(&format!("{field}[{at}]"), format!("exceeds {} bytes", limits::ORIGIN_BYTES));
                }
            }
        }
        self.check_buttons(&mut found);
        let set = &self.permission_set;
        for (field, list) in [("user", &set.user), ("admin", &set.admin), ("agentVideo", &set.agent_video)] {
            found.count(&format!("permissionSet.{field}"), list.len(), limits::PERMISSION_LIST);
        }
        found.0
    }

    fn check_terms(&self, found: &mut Findings) {
        let Terms { version, text, url, .. } = &self.terms;
        if version.len() > limits::SETTINGS_NAME_BYTES {
            found.add("terms.version", format!("exceeds {} bytes", limits::SETTINGS_NAME_BYTES));
        }
        if text.as_ref().is_some_and(|text| text.len() > limits::TERMS_TEXT_BYTES) {
            found.add("terms.text", format!("exceeds {} bytes", limits::TERMS_TEXT_BYTES));
        }
        if let Some(url) = url {
            let web = url.starts_with("https://") || url.starts_with("http://");
            if !web || url.len() > limits::PAGE_URL_BYTES || url.contains(char::is_whitespace) {
                found.add("terms.url", "must be an http or https address");
            }
        }
        if self.show_terms {
            if version.trim().is_empty() {
                found.add("terms.version", "is required while terms are shown");
            }
            if text.as_ref().is_none_or(|text| text.trim().is_empty()) && url.is_none() {
                found.add("terms.text", "text or url is required while terms are shown");
            }
        }
    }

    fn check_buttons(&self, found: &mut Findings) {
        found.count("objects", self.objects.len(), limits::SETTINGS_LIST);
        let mut seen = HashSet::new();
        for (at, object) in self.objects.iter().enumerate() {
            let path = |field: &str| format!("objects[{at}].{field}");
            found.name(&path("object"), &object.object);
            if !seen.insert(object.object.as_str()) {
                found.add(&path("object"), "is listed twice");
            }
            for (field, name) in
                [("visitorIdObject", &object.visitor_id_object), ("visitorIdField", &object.visitor_id_field)]
            {
                if let Some(name) = name {
                    found.name(&path(field), name);
                }
            }
        }
        found.count("profiles", self.profiles.len(), limits::SETTINGS_LIST);
        let mut seen = HashSet::new();
        for (at, profile) in self.profiles.iter().enumerate() {
            let path = format!("profiles[{at}].name");
            found.name(&path, &profile.name);
            if !seen.insert(profile.name.as_str()) {
                found.add(&path, "is listed twice");
            }
        }
    }
}

/// Whole seconds of a limit, which are all small.
fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[derive(Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(Violation { field: field.to_owned(), message: message.into() });
    }

    fn range(&mut self, field: &str, value: u32, (least, most): (Duration, Duration)) {
        if value < seconds(least) || value > seconds(most) {
            self.add(field, format!("{value} is outside {}–{}", seconds(least), seconds(most)));
        }
    }

    fn count(&mut self, field: &str, count: usize, most: usize) {
        if count > most {
            self.add(field, format!("{count} entries exceed {most}"));
        }
    }

    fn name(&mut self, field: &str, name: &str) {
        if name.is_empty() || name.trim() != name {
            self.add(field, "must be a name without space around it");
        } else if name.len() > limits::SETTINGS_NAME_BYTES {
            self.add(field, format!("{} bytes exceed {}", name.len(), limits::SETTINGS_NAME_BYTES));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn agent(name: &str) -> AgentId {
        AgentId::new(name).unwrap()
    }

    fn dev() -> Settings {
        Settings::dev(&[agent("alice"), agent("bob")])
    }

    #[test]
    fn an_empty_object_is_the_default() {
        let read: Settings = serde_json::from_value(json!({})).unwrap();
        assert_eq!(read, Settings::default());
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let written = serde_json::to_value(Settings::default()).unwrap();
        let object = |name: &str, auto_join: bool| json!({"object": name, "show": true, "join": true, "view": true, "autoJoin": auto_join});
        assert_eq!(
            written,
            json!({
                "defaultAdmin": null, "createLeads": "never", "logSessionsOutsideCrm": false,
                "openSessionRecords": false, "syncFrequency": "hourly", "chatterOnStart": false,
                "sso": {"enabled": false, "loginExpirationSeconds": 3600},
                "presenceEnabled": false, "showTerms": false,
                "terms": {"version": "", "deadlineSeconds": 60},
                "visitorIdentity": "signed", "visitorOrigins": [], "agentOrigins": [],
                "loopbackOrigins": false, "graceSeconds": 5, "sessionKeyDigits": 6,
                "objects": [
                    object("Case", true), object("Contact", false), object("Lead", false), object("Opportunity", false)
                ],
                "profiles": [],
                "permissionSet": {"user": [], "admin": [], "agentVideo": []}
            })
        );
    }

    #[test]
    fn both_sets_pass_the_check_and_survive_json() {
        for settings in [Settings::default(), dev()] {
            assert_eq!(settings.check(), []);
            let json = serde_json::to_string(&settings).unwrap();
            assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);
        }
    }

    #[test]
    fn the_demo_group() {
        let settings = dev();
        assert!(settings.presence_enabled && settings.show_terms && settings.sso.enabled);
        assert_eq!(settings.visitor_identity, VisitorIdentity::Open);
        assert_eq!(settings.permissions_of(&agent("alice")).names(), ["user", "admin", "agent_video"]);
        assert_eq!(settings.permissions_of(&agent("bob")).names(), ["user"]);
        assert_eq!(settings.permissions_of(&agent("eve")).names(), [""; 0]);
        assert!(settings.terms_shown().required && settings.terms_shown().text.is_some());
    }

    #[test]
    fn violations_name_their_field() {
        type Change = fn(&mut Settings);
        let rows: [(&str, Change); 20] = [
            ("sso.loginExpirationSeconds", |s| s.sso.login_expiration_seconds = 59),
            ("sso.loginExpirationSeconds", |s| s.sso.login_expiration_seconds = 86_401),
            ("sso.partnerUserIdField", |s| s.sso.partner_user_id_field = Some(String::new())),
            ("terms.deadlineSeconds", |s| s.terms.deadline_seconds = 4),
            ("graceSeconds", |s| s.grace_seconds = 61),
            ("sessionKeyDigits", |s| s.session_key_digits = 3),
            ("sessionKeyDigits", |s| s.session_key_digits = 13),
            ("terms.version", |s| s.terms.version = " ".to_owned()),
            ("terms.text", |s| s.terms.text = None),
            ("terms.text", |s| s.terms.text = Some("x".repeat(16 * 1024 + 1))),
            ("terms.url", |s| s.terms.url = Some("javascript:alert(1)".to_owned())),
            ("joinStarts", |s| s.join_starts = Some(SessionKind::View)),
            ("visitorOrigins[0]", |s| s.visitor_origins = vec!["null".to_owned()]),
            ("agentOrigins[1]", |s| {
                s.agent_origins = vec!["https://a.example".to_owned(), "https://*.example".to_owned()];
            }),
            ("agentOrigins", |s| s.agent_origins = vec!["https://a.example".to_owned(); 501]),
            ("objects[1].object", |s| s.objects[1].object = "Case".to_owned()),
            ("objects[0].visitorIdField", |s| s.objects[0].visitor_id_field = Some(" x".to_owned())),
            ("objects[2].visitorIdObject", |s| s.objects[2].visitor_id_object = Some(String::new())),
            ("profiles[0].name", |s| s.profiles[0].name = "x".repeat(256)),
            ("profiles[1].name", |s| s.profiles.push(s.profiles[0].clone())),
        ];
        for (field, change) in rows {
            let mut settings = dev();
            change(&mut settings);
            let found = settings.check();
            assert_eq!(found.iter().map(|v| v.field.as_str()).collect::<Vec<_>>(), [field]);
        }
    }

    #[test]
    fn a_link_alone_will_do_for_terms() {
        let mut settings = dev();
        settings.terms.text = None;
        settings.terms.url = Some("https://shop.example/terms".to_owned());
        assert_eq!(settings.check(), []);
    }

    #[test]
    fn terms_not_shown_are_not_sent() {
        let shown = Settings { show_terms: false, ..dev() }.terms_shown();
        assert!(!shown.required && shown.text.is_none() && shown.url.is_none());
    }

    #[test]
    fn what_join_starts() {
        let with = |kind| Settings { join_starts: kind, ..Settings::default() };
        for (set, server_has, wanted) in [
            (None, true, SessionKind::Cobrowse),
            (None, false, SessionKind::Screen),
            (Some(SessionKind::Cobrowse), true, SessionKind::Cobrowse),
            (Some(SessionKind::Cobrowse), false, SessionKind::Screen),
            (Some(SessionKind::Screen), true, SessionKind::Screen),
        ] {
            assert_eq!(with(set).join_kind(server_has), wanted, "{set:?} {server_has}");
        }
    }

    #[test]
    fn origins_are_exact_and_per_audience() {
        let settings = Settings {
            visitor_origins: vec!["https://shop.example".to_owned()],
            agent_origins: vec!["https://crm.example:8443".to_owned()],
            ..Settings::default()
        };
        for (audience, origin, wanted) in [
            (Audience::Visitor, "https://shop.example", true),
            (Audience::Visitor, "https://shop.example:443", true),
            (Audience::Agent, "https://crm.example:8443", true),
            (Audience::Agent, "https://shop.example", false),
            (Audience::Visitor, "https://crm.example:8443", false),
            (Audience::Visitor, "http://shop.example", false),
            (Audience::Visitor, "https://shop.example.evil.example", false),
            (Audience::Visitor, "https://www.shop.example", false),
            (Audience::Visitor, "null", false),
            (Audience::Visitor, "", false),
            (Audience::Visitor, "http://localhost:7400", false),
        ] {
            assert_eq!(settings.origin_allowed(audience, origin), wanted, "{audience:?} {origin}");
        }
    }

    #[test]
    fn loopback_needs_its_switch() {
        for origin in ["http://localhost:3000", "http://127.0.0.1:7400", "http://[::1]:1"] {
            assert!(dev().origin_allowed(Audience::Agent, origin), "{origin}");
            assert!(!Settings::default().origin_allowed(Audience::Agent, origin), "{origin}");
        }
        assert!(!dev().origin_allowed(Audience::Visitor, "http://localhost.evil.example"));
        assert!(!dev().origin_allowed(Audience::Visitor, "null"));
    }
}
