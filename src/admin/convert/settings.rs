//! A group's settings, both ways.
//!
//! Each side is taken apart field by field, so that one which is added to either does not compile until it
//! is here. A message left out has its defaults, an enumeration left out its first choice; a choice that we
//! do not know is refused, because it is not what we would do.

use std::collections::BTreeSet;

use crate::ids::{AgentId, BadId, KeyId};
use crate::limits;
use crate::model::settings::{
    CreateLeads, JoinIn, ObjectButtons, PermissionSet, Profile, Settings, Sso, SyncFrequency, Terms,
    Violation, VisitorIdentity,
};
use crate::pb::v1;
use crate::wire::visitor::SessionKind;

/// A field's path in the proto file, from its path in the model: `profiles[2].joinIn` is
/// `profiles[2].join_in`.
pub(in super::super) fn proto_path(path: &str) -> String {
    let mut told = String::with_capacity(path.len() + 4);
    for character in path.chars() {
        if character.is_ascii_uppercase() {
            told.push('_');
        }
        told.push(character.to_ascii_lowercase());
    }
    told
}

/// Settings as a message, every field told.
pub(in super::super) fn settings_message(settings: &Settings) -> v1::Settings {
    let Settings {
        default_admin,
        create_leads,
        log_sessions_outside_crm,
        open_session_records,
        sync_frequency,
        chatter_on_start,
        sso,
        presence_enabled,
        show_terms,
        terms,
        join_starts,
        visitor_identity,
        visitor_origins,
        agent_origins,
        loopback_origins,
        grace_seconds,
        session_key_digits,
        objects,
        profiles,
        permission_set,
    } = settings;
    v1::Settings {
        default_admin: default_admin.as_ref().map(ToString::to_string).unwrap_or_default(),
        create_leads: v1::CreateLeads::from(*create_leads).into(),
        log_sessions_outside_crm: *log_sessions_outside_crm,
        open_session_records: *open_session_records,
        sync_frequency: v1::SyncFrequency::from(*sync_frequency).into(),
        chatter_on_start: *chatter_on_start,
        sso: Some(sso_message(sso)),
        presence_enabled: *presence_enabled,
        show_terms: *show_terms,
        terms: Some(terms_message(terms)),
        join_starts: join_starts.map_or(v1::SessionKind::Unspecified, Into::into).into(),
        visitor_identity: v1::VisitorIdentity::from(*visitor_identity).into(),
        visitor_origins: visitor_origins.clone(),
        agent_origins: agent_origins.clone(),
        loopback_origins: *loopback_origins,
        grace_seconds: *grace_seconds,
        session_key_digits: *session_key_digits,
        objects: objects.iter().map(object_message).collect(),
        profiles: profiles.iter().map(profile_message).collect(),
        permission_set: Some(permission_set_message(permission_set)),
    }
}

/// Settings from a message, or every field that has no meaning here. Whether the values are in range is the
/// model's to say.
pub(in super::super) fn settings_of(message: v1::Settings) -> Result<Settings, Vec<Violation>> {
    let v1::Settings {
        default_admin,
        create_leads,
        log_sessions_outside_crm,
        open_session_records,
        sync_frequency,
        chatter_on_start,
        sso,
        presence_enabled,
        show_terms,
        terms,
        join_starts,
        visitor_identity,
        visitor_origins,
        agent_origins,
        loopback_origins,
        grace_seconds,
        session_key_digits,
        objects,
        profiles,
        permission_set,
    } = message;
    let mut found = Findings::default();
    let settings = Settings {
        default_admin: found.name("default_admin", &default_admin, AgentId::new),
        create_leads: found.choice("create_leads", create_leads, v1::CreateLeads::into_model),
        log_sessions_outside_crm,
        open_session_records,
        sync_frequency: found.choice("sync_frequency", sync_frequency, v1::SyncFrequency::into_model),
        chatter_on_start,
        sso: sso.map_or_else(Sso::default, |sso| sso_of(sso, &mut found)),
        presence_enabled,
        show_terms,
        terms: terms.map_or_else(Terms::default, terms_of),
        join_starts: found.choice("join_starts", join_starts, v1::SessionKind::into_model),
        visitor_identity: found.choice("visitor_identity", visitor_identity, v1::VisitorIdentity::into_model),
        visitor_origins,
        agent_origins,
        loopback_origins,
        grace_seconds,
        // A client that does not know of it leaves it out.
        session_key_digits: if session_key_digits == 0 { limits::CODE_DIGITS } else { session_key_digits },
        objects: objects.into_iter().map(object_of).collect(),
        profiles: profiles
            .into_iter()
            .enumerate()
            .map(|(at, profile)| profile_of(at, profile, &mut found))
            .collect(),
        permission_set: permission_set
            .map_or_else(PermissionSet::default, |set| permission_set_of(set, &mut found)),
    };
    if found.0.is_empty() { Ok(settings) } else { Err(found.0) }
}

fn sso_message(sso: &Sso) -> v1::Sso {
    let Sso { enabled, partner_user_id_field, api_key_id, login_expiration_seconds } = sso;
    v1::Sso {
        enabled: *enabled,
        partner_user_id_field: partner_user_id_field.clone().unwrap_or_default(),
        api_key_id: api_key_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        login_expiration_seconds: *login_expiration_seconds,
    }
}

fn sso_of(message: v1::Sso, found: &mut Findings) -> Sso {
    let v1::Sso { enabled, partner_user_id_field, api_key_id, login_expiration_seconds } = message;
    Sso {
        enabled,
        partner_user_id_field: told(partner_user_id_field),
        api_key_id: found.name("sso.api_key_id", &api_key_id, KeyId::new),
        login_expiration_seconds,
    }
}

fn terms_message(terms: &Terms) -> v1::Terms {
    let Terms { version, text, url, deadline_seconds } = terms;
    v1::Terms {
        version: version.clone(),
        text: text.clone().unwrap_or_default(),
        url: url.clone().unwrap_or_default(),
        deadline_seconds: *deadline_seconds,
    }
}

fn terms_of(message: v1::Terms) -> Terms {
    let v1::Terms { version, text, url, deadline_seconds } = message;
    Terms { version, text: told(text), url: told(url), deadline_seconds }
}

fn object_message(object: &ObjectButtons) -> v1::ObjectButtons {
    let ObjectButtons { object, show, join, view, visitor_id_object, visitor_id_field, auto_join } = object;
    v1::ObjectButtons {
        object: object.clone(),
        show: *show,
        join: *join,
        view: *view,
        visitor_id_object: visitor_id_object.clone().unwrap_or_default(),
        visitor_id_field: visitor_id_field.clone().unwrap_or_default(),
        auto_join: *auto_join,
    }
}

fn object_of(message: v1::ObjectButtons) -> ObjectButtons {
    let v1::ObjectButtons { object, show, join, view, visitor_id_object, visitor_id_field, auto_join } =
        message;
    ObjectButtons {
        object,
        show,
        join,
        view,
        visitor_id_object: told(visitor_id_object),
        visitor_id_field: told(visitor_id_field),
        auto_join,
    }
}

fn profile_message(profile: &Profile) -> v1::Profile {
    let Profile { name, show, view, join, join_in, start_agent_video } = profile;
    v1::Profile {
        name: name.clone(),
        show: *show,
        view: *view,
        join: *join,
        join_in: v1::JoinIn::from(*join_in).into(),
        start_agent_video: *start_agent_video,
    }
}

fn profile_of(at: usize, message: v1::Profile, found: &mut Findings) -> Profile {
    let v1::Profile { name, show, view, join, join_in, start_agent_video } = message;
    let join_in = found.choice(&format!("profiles[{at}].join_in"), join_in, v1::JoinIn::into_model);
    Profile { name, show, view, join, join_in, start_agent_video }
}

fn permission_set_message(set: &PermissionSet) -> v1::PermissionSet {
    let PermissionSet { user, admin, agent_video } = set;
    let names = |agents: &BTreeSet<AgentId>| agents.iter().map(ToString::to_string).collect();
    v1::PermissionSet { user: names(user), admin: names(admin), agent_video: names(agent_video) }
}

fn permission_set_of(message: v1::PermissionSet, found: &mut Findings) -> PermissionSet {
    let v1::PermissionSet { user, admin, agent_video } = message;
    let mut agents = |field: &str, names: Vec<String>| {
        let mut set = BTreeSet::new();
        for (at, name) in names.iter().enumerate() {
            set.extend(found.must(&format!("permission_set.{field}[{at}]"), AgentId::new(name)));
        }
        set
    };
    PermissionSet {
        user: agents("user", user),
        admin: agents("admin", admin),
        agent_video: agents("agent_video", agent_video),
    }
}

/// A text, unless it is empty.
fn told(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

#[derive(Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, path: &str, message: String) {
        self.0.push(Violation { field: format!("settings.{path}"), message });
    }

    fn must<T>(&mut self, path: &str, name: Result<T, BadId>) -> Option<T> {
        name.map_err(|error| self.add(path, error.to_string())).ok()
    }

    fn name<T>(&mut self, path: &str, text: &str, read: fn(&str) -> Result<T, BadId>) -> Option<T> {
        if text.is_empty() { None } else { self.must(path, read(text)) }
    }

    fn choice<M: TryFrom<i32>, T: Default>(&mut self, path: &str, number: i32, read: fn(M) -> T) -> T {
        match M::try_from(number) {
            Ok(choice) => read(choice),
            Err(_) => {
                self.add(path, format!("{number} is no choice that this server knows"));
                T::default()
            }
        }
    }
}

/// Declares both ways of an enumeration; the message's unspecified is the model's default.
macro_rules! choices {
    ($($name:ident: $($choice:ident)*;)*) => {
        $(
            impl From<$name> for v1::$name {
                fn from(choice: $name) -> Self {
                    match choice {
                        $($name::$choice => Self::$choice,)*
                    }
                }
            }

            impl v1::$name {
                fn into_model(self) -> $name {
                    match self {
                        Self::Unspecified => $name::default(),
                        $(Self::$choice => $name::$choice,)*
                    }
                }
            }
        )*
    };
}

choices! {
    CreateLeads: Never NewEmail NewEmailAndName;
    SyncFrequency: Hourly EveryTwoHours Daily Never;
    VisitorIdentity: Signed Open;
    JoinIn: BrowserTab Client Page;
}

impl v1::SessionKind {
    fn into_model(self) -> Option<SessionKind> {
        match self {
            Self::Unspecified => None,
            Self::Cobrowse => Some(SessionKind::Cobrowse),
            Self::Screen => Some(SessionKind::Screen),
            Self::View => Some(SessionKind::View),
            Self::Show => Some(SessionKind::Show),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use proptest::collection::{btree_set, vec};
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::select;
    use prost::Message as _;

    fn text() -> impl Strategy<Value = String> {
        "[ -~é]{1,12}"
    }

    fn agent() -> impl Strategy<Value = AgentId> {
        "[A-Za-z0-9._~@-]{1,12}".prop_map(|name| AgentId::new(&name).unwrap())
    }

    prop_compose! {
        fn sso()(
            enabled: bool,
            partner_user_id_field in option::of(text()),
            api_key_id in option::of("[a-z0-9]{1,9}"),
            login_expiration_seconds: u32,
        ) -> Sso {
            let api_key_id = api_key_id.map(|id| KeyId::new(&id).unwrap());
            Sso { enabled, partner_user_id_field, api_key_id, login_expiration_seconds }
        }
    }

    prop_compose! {
        fn terms()(
            version in "[ -~]{0,9}",
            text in option::of(text()),
            url in option::of(text()),
            deadline_seconds: u32,
        ) -> Terms {
            Terms { version, text, url, deadline_seconds }
        }
    }

    prop_compose! {
        fn object()(
            object in text(),
            (show, join, view, auto_join) in any::<(bool, bool, bool, bool)>(),
            visitor_id_object in option::of(text()),
            visitor_id_field in option::of(text()),
        ) -> ObjectButtons {
            ObjectButtons { object, show, join, view, visitor_id_object, visitor_id_field, auto_join }
        }
    }

    prop_compose! {
        fn profile()(
            name in text(),
            (show, view, join, start_agent_video) in any::<(bool, bool, bool, bool)>(),
            join_in in select(vec![JoinIn::BrowserTab, JoinIn::Client, JoinIn::Page]),
        ) -> Profile {
            Profile { name, show, view, join, join_in, start_agent_video }
        }
    }

    prop_compose! {
        fn permission_set()(
            user in btree_set(agent(), 0..4),
            admin in btree_set(agent(), 0..4),
            agent_video in btree_set(agent(), 0..4),
        ) -> PermissionSet {
            PermissionSet { user, admin, agent_video }
        }
    }

    const LEADS: [CreateLeads; 3] = [CreateLeads::Never, CreateLeads::NewEmail, CreateLeads::NewEmailAndName];
    const SYNCS: [SyncFrequency; 4] =
        [SyncFrequency::Hourly, SyncFrequency::EveryTwoHours, SyncFrequency::Daily, SyncFrequency::Never];
    const KINDS: [SessionKind; 4] =
        [SessionKind::Cobrowse, SessionKind::Screen, SessionKind::View, SessionKind::Show];

    prop_compose! {
        fn settings()(
            default_admin in option::of(agent()),
            (create_leads, sync_frequency) in (select(&LEADS[..]), select(&SYNCS[..])),
            switches: [bool; 6],
            (sso, terms) in (sso(), terms()),
            join_starts in option::of(select(&KINDS[..])),
            visitor_identity in select(vec![VisitorIdentity::Signed, VisitorIdentity::Open]),
            (visitor_origins, agent_origins) in (vec(text(), 0..3), vec(text(), 0..3)),
            (grace_seconds, session_key_digits) in (proptest::num::u32::ANY, 1u32..),
            (objects, profiles) in (vec(object(), 0..3), vec(profile(), 0..3)),
            permission_set in permission_set(),
        ) -> Settings {
            let [log_sessions_outside_crm, open_session_records, chatter_on_start, presence_enabled,
                 show_terms, loopback_origins] = switches;
            Settings {
                default_admin, create_leads, log_sessions_outside_crm, open_session_records, sync_frequency,
                chatter_on_start, sso, presence_enabled, show_terms, terms, join_starts, visitor_identity,
                visitor_origins, agent_origins, loopback_origins, grace_seconds, session_key_digits, objects,
                profiles, permission_set,
            }
        }
    }

    proptest! {
        #[test]
        fn settings_survive_the_way_there_and_back(settings in settings()) {
            let bytes = settings_message(&settings).encode_to_vec();
            let message = v1::Settings::decode(bytes.as_slice()).unwrap();
            let read = settings_of(message.clone()).unwrap();
            prop_assert_eq!(&read, &settings);
            prop_assert_eq!(settings_message(&read), message);
        }
    }

    #[test]
    fn an_empty_message_is_mostly_the_default() {
        let read = settings_of(v1::Settings::default()).unwrap();
        // Numbers and lists have no way to be left out.
        let wanted = Settings { grace_seconds: 0, objects: Vec::new(), ..Settings::default() };
        assert_eq!(read, wanted);
    }

    #[test]
    fn what_is_unknown_is_named() {
        let message = v1::Settings {
            create_leads: 9,
            sync_frequency: -1,
            visitor_identity: 3,
            join_starts: 99,
            default_admin: "not an agent".into(),
            sso: Some(v1::Sso { api_key_id: "a b".into(), ..Default::default() }),
            profiles: vec![v1::Profile::default(), v1::Profile { join_in: 7, ..Default::default() }],
            permission_set: Some(v1::PermissionSet {
                admin: vec!["alice".into(), String::new()],
                ..Default::default()
            }),
            ..Default::default()
        };
        let found = settings_of(message).unwrap_err();
        let mut fields: Vec<_> = found.iter().map(|one| one.field.as_str()).collect();
        fields.sort_unstable();
        assert_eq!(
            fields,
            [
                "settings.create_leads",
                "settings.default_admin",
                "settings.join_starts",
                "settings.permission_set.admin[1]",
                "settings.profiles[1].join_in",
                "settings.sso.api_key_id",
                "settings.sync_frequency",
                "settings.visitor_identity",
            ]
        );
    }

    fn leaves(at: &str, json: &serde_json::Value, found: &mut Vec<String>) {
        match json {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                    leaves(&path, value, found);
                }
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| leaves(at, item, found)),
            _ => found.push(at.to_owned()),
        }
    }

    #[test]
    fn paths_of_the_model_are_paths_of_the_proto_file() {
        let full = Settings {
            join_starts: Some(SessionKind::Screen),
            sso: Sso {
                api_key_id: Some(KeyId::new("k").unwrap()),
                partner_user_id_field: Some("f".into()),
                ..Sso::default()
            },
            terms: Terms { text: Some("t".into()), url: Some("u".into()), ..Terms::default() },
            objects: vec![ObjectButtons {
                visitor_id_object: Some("o".into()),
                visitor_id_field: Some("f".into()),
                ..ObjectButtons::all_on("Case")
            }],
            ..Settings::dev(&[AgentId::new("a").unwrap()])
        };
        let mut paths = Vec::new();
        leaves("", &serde_json::to_value(&full).unwrap(), &mut paths);
        assert!(paths.len() > 30, "{paths:?}");
        for path in paths.iter().map(|path| proto_path(path)) {
            let mut kind = crate::pb::descriptors().get_message_by_name("porchlight.v1.Settings").unwrap();
            for part in path.split('.') {
                let field = kind.get_field_by_name(part).unwrap_or_else(|| panic!("{path}"));
                if let prost_reflect::Kind::Message(inner) = field.kind() {
                    kind = inner;
                }
            }
        }
    }

    #[test]
    fn the_largest_settings_fit_a_message() {
        let name = |at: usize, length: usize| format!("{at:0length$}");
        let agents: BTreeSet<AgentId> =
            (0..limits::PERMISSION_LIST).map(|at| AgentId::new(&name(at, 128)).unwrap()).collect();
        let (long, list) = (limits::SETTINGS_NAME_BYTES, limits::SETTINGS_LIST);
        let origins: Vec<_> =
            (0..list).map(|at| format!("https://{}", name(at, limits::ORIGIN_BYTES - 8))).collect();
        let object = |at| ObjectButtons {
            visitor_id_object: Some(name(0, long)),
            visitor_id_field: Some(name(0, long)),
            auto_join: true,
            ..ObjectButtons::all_on(&name(at, long))
        };
        let profile = |at| Profile {
            name: name(at, long),
            show: true,
            view: true,
            join: true,
            join_in: JoinIn::Client,
            start_agent_video: true,
        };
        let settings = Settings {
            default_admin: agents.first().cloned(),
            join_starts: Some(SessionKind::Screen),
            show_terms: true,
            sso: Sso {
                api_key_id: Some(KeyId::new(&name(0, 64)).unwrap()),
                partner_user_id_field: Some(name(0, long)),
                ..Sso::default()
            },
            terms: Terms {
                version: name(0, long),
                text: Some(name(0, limits::TERMS_TEXT_BYTES)),
                url: Some(format!("https://{}", name(0, limits::PAGE_URL_BYTES - 8))),
                ..Terms::default()
            },
            visitor_origins: origins.clone(),
            agent_origins: origins,
            objects: (0..list).map(object).collect(),
            profiles: (0..list).map(profile).collect(),
            permission_set: PermissionSet {
                user: agents.clone(),
                admin: agents.clone(),
                agent_video: agents,
            },
            ..Settings::dev(&[])
        };
        assert_eq!(settings.check(), []);
        let request = v1::UpdateSettingsRequest {
            group: name(0, 64),
            settings: Some(settings_message(&settings)),
            update_mask: Some(prost_types::FieldMask { paths: vec!["*".into()] }),
            expected_version: u64::MAX,
            request_id: name(0, limits::REQUEST_ID_BYTES),
        };
        let bytes = request.encoded_len();
        assert!(bytes <= limits::ADMIN_MESSAGE, "{bytes}");
    }
}
