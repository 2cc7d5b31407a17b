//! The settings of the demo group: everything on, for this machine's own pages only.

use std::collections::BTreeSet;

use super::{JoinIn, PermissionSet, Profile, Settings, Terms, VisitorIdentity};
use crate::ids::AgentId;

impl Settings {
    /// Settings of the demo group, in which these agents hold `user` and the first of them the rest too.
    ///
    /// Records carry the visitor ID in their field `visitorId`; a Case takes it from its parent `Contact`.
    pub fn dev(agents: &[AgentId]) -> Self {
        let first: BTreeSet<AgentId> = agents.first().cloned().into_iter().collect();
        let mut settings = Self {
            default_admin: agents.first().cloned(),
            chatter_on_start: true,
            log_sessions_outside_crm: true,
            presence_enabled: true,
            show_terms: true,
            terms: Terms {
                version: "2026-1".to_owned(),
                text: Some(
                    "With your consent, our support agent sees what you choose to share, live, until you or \
                     the agent end the session. Nothing else is shown, and nothing is recorded. You can stop \
                     at any time."
                        .to_owned(),
                ),
                ..Terms::default()
            },
            visitor_identity: VisitorIdentity::Open,
            loopback_origins: true,
            profiles: vec![Profile {
                name: "Support".to_owned(),
                show: true,
                view: true,
                join: true,
                join_in: JoinIn::Page,
                start_agent_video: false,
            }],
            permission_set: PermissionSet {
                user: agents.iter().cloned().collect(),
                admin: first.clone(),
                agent_video: first,
            },
            ..Self::default()
        };
        settings.sso.enabled = true;
        for object in &mut settings.objects {
            object.visitor_id_field = Some("visitorId".to_owned());
            object.visitor_id_object = (object.object == "Case").then(|| "Contact".to_owned());
        }
        settings
    }
}
