//! Sessions that an agent opens to show its own screen.

use std::sync::Arc;

use super::{About, Begun, LiveSession};
use crate::auth::random;
use crate::cluster::vault::{Held, VaultError};
use crate::hub::{Hub, SystemChance};
use crate::ids::{AgentKey, GroupId, RequestId, SessionId};
use crate::limits;
use crate::model::lead::Guest;
use crate::model::session::{Asker, HostTicket, Session, Showing};
use crate::model::session_key;
use crate::telemetry::Parent;
use crate::wire::agent::Record;
use crate::wire::error::{ErrorCode, Refusal};
use crate::wire::visitor::SessionKind;

/// What an agent shows of its own.
#[derive(Debug)]
pub(in crate::hub) struct Showcase {
    /// Where.
    pub(in crate::hub) group: GroupId,
    /// The CRM record that it is shown for.
    pub(in crate::hub) record: Option<Record>,
    /// Whether the session is to become events and a record.
    pub(in crate::hub) logged: bool,
    /// What guests read above it.
    pub(in crate::hub) title: Option<Arc<str>>,
    /// The agent's span that this belongs to.
    pub(in crate::hub) trace: Option<Parent>,
}

/// A session of an agent's own screen, and what leads into it.
#[derive(Debug)]
pub(in crate::hub) struct Shown {
    /// The session.
    pub(in crate::hub) session: Arc<LiveSession>,
    /// What its host attaches with.
    pub(in crate::hub) ticket: HostTicket,
    /// What guests type; none while nobody can say which keys other nodes gave out.
    pub(in crate::hub) key: Option<String>,
    /// What stands in the link for guests.
    pub(in crate::hub) invite: String,
}

/// A key for a session that is about to begin. Dropped before it has, it is given back.
pub(in crate::hub) struct DrawnKey {
    hub: Arc<Hub>,
    pub(super) session: SessionId,
    pub(super) key: Option<String>,
    pub(super) begun: bool,
}

impl Drop for DrawnKey {
    fn drop(&mut self) {
        if !self.begun {
            self.hub.free_key(self.session);
        }
    }
}

impl Hub {
    /// Draws the key of a session to be, which no session of any node has: the agent's fixed one, if it has one and
    /// no session has that, or a random one. A vault that does not answer gives none out: guests come by links.
    pub(in crate::hub) async fn draw_key(self: &Arc<Self>, agent: &AgentKey) -> Result<DrawnKey, Refusal> {
        let full = || Refusal::new(ErrorCode::TooMany, "there is no session key left");
        let session = SessionId::fresh();
        let mut drawn = DrawnKey { hub: Arc::clone(self), session, key: None, begun: false };
        let digits = self.limits.guest_key_digits;
        let fixed = self.accounts.fixed_key(agent).map(|secret| session_key::of_secret(&secret, digits));
        let mut fixed = fixed.into_iter().flat_map(|key| std::iter::repeat_n(key, limits::FIXED_KEY_TRIES));
        loop {
            let (key, digest, own) = {
                let mut keys = self.session_keys.lock();
                let claimed = fixed.next().and_then(|key| Some((keys.claim(session, &key, digits)?, key)));
                match claimed {
                    Some((digest, key)) => (key, digest, true),
                    None => {
                        let key = keys.issue(session, digits, random::digits).ok_or_else(full)?;
                        let digest = keys.digest_of(&key);
                        (key, digest, false)
                    }
                }
            };
            let held = self.saves.vault.hold_key(&digest, session, session_key::most(digits));
            match tokio::time::timeout(limits::KEY_WAIT, held).await {
                Ok(Ok(Held::Held)) => {
                    drawn.key = Some(key);
                    return Ok(drawn);
                }
                Ok(Ok(Held::Taken)) => {
                    self.session_keys.lock().free(session);
                    if own {
                        tokio::time::sleep(limits::FIXED_KEY_PAUSE).await;
                    }
                }
                Ok(Ok(Held::Full)) => {
                    self.session_keys.lock().free(session);
                    return Err(full());
                }
                failed => {
                    tracing::warn!(error = ?failed.err(), "a screen is shown without a session key");
                    self.free_key(session);
                    return Ok(drawn);
                }
            }
        }
    }

    /// The key of a session is held for as long as the session is saved, and again if it was forgotten.
    pub(super) async fn keep_key(&self, session: SessionId) -> Result<(), VaultError> {
        let digest = self.session_keys.lock().of(session);
        if let Some(digest) = digest {
            let most = session_key::most(self.limits.guest_key_digits);
            let held = self.saves.vault.hold_key(&digest, session, most).await?;
            if held != Held::Held {
                tracing::warn!(%session, ?held, "a session key leads here only from this node");
            }
        }
        Ok(())
    }

    /// A session gives its key back.
    pub(super) fn free_key(self: &Arc<Self>, session: SessionId) {
        let freed = self.session_keys.lock().free(session);
        let Some(digest) = freed else { return };
        let hub = Arc::clone(self);
        self.runtime.spawn(async move {
            // One that is not given back is let go of in its time, and leads nowhere meanwhile.
            if let Err(error) = hub.saves.vault.free_key(&digest, session).await {
                tracing::debug!(%session, %error, "a session key is not given back");
            }
        });
    }

    /// An agent shows its own screen: its session is open at once.
    pub(in crate::hub) fn show(
        self: &Arc<Self>,
        show: Showcase,
        host: Asker,
        key: DrawnKey,
    ) -> Result<Shown, Refusal> {
        self.has_room()?;
        let (id, request) = (key.session, RequestId::fresh());
        let Showcase { group, record, logged, title, trace } = show;
        let asker = (host.agent.clone(), Arc::clone(&host.name));
        let showing = Showing { session: id, request, host, limits: Arc::clone(&self.limits) };
        let mut out = Vec::new();
        let (machine, ticket) = Session::show(showing, self.clock.now(), &mut SystemChance, &mut out);
        let about = About {
            id,
            request,
            group,
            visitor: None,
            kind: SessionKind::Show,
            terms: None,
            control: false,
            record,
            asker,
            logged,
            title,
            trace: Begun::ByAgent(trace),
        };
        let session = self.live(about, machine, out);
        let (invite, key) = self.opened(&session, key);
        Ok(Shown { session, ticket, key, invite })
    }

    /// A session that an agent opened for guests begins: what leads into it are a link's invite, and its key if one
    /// was drawn.
    pub(super) fn opened(
        self: &Arc<Self>,
        session: &Arc<LiveSession>,
        mut key: DrawnKey,
    ) -> (String, Option<String>) {
        let invite = session.invites.lock().make(session.id, Guest::default()).expect("there is none yet");
        self.sessions.list_open(session);
        key.begun = true;
        self.drive_with(session, |_, _| ());
        self.operators.tell_session(session);
        (invite, key.key.take())
    }
}
