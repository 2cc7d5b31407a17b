//! Sessions that outlive their node: saving those of this node.
//!
//! A session that changed is queued, once however often it changed, and one task saves what it is by then; no
//! session waits for that but where a ticket is handed out: so a ticket leads into a session that another node can
//! find. A vault that does not answer is asked again later, and nobody waits for it meanwhile. A consent whose
//! receipt is not written is not saved: another node would ask the visitor again.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::LiveSession;
use crate::auth::random;
use crate::clock::Tick;
use crate::cluster::vault::{Put, SavedSession, Seen, Vault, VaultError};
use crate::hub::Hub;
use crate::ids::SessionId;
use crate::limits;
use crate::model::session::Session;
use crate::wire::close::{Close, CloseCode};
use crate::wire::message::Text;
use crate::wire::visitor::ToVisitor;

/// The way to the vault.
pub(in crate::hub) struct Saves {
    pub(in crate::hub) vault: Arc<dyn Vault>,
    /// This node's term, by which the vault tells its words of now from those of before.
    fence: AtomicU64,
    waiting: Mutex<VecDeque<Arc<LiveSession>>>,
    wake: Notify,
    /// The vault did not answer when it was last asked: nobody waits for it.
    away: AtomicBool,
    /// Who comes back at the same time finds the session adopted, rather than adopting it twice.
    pub(super) adopting: [tokio::sync::Mutex<()>; 16],
    /// Sessions whose node is gone, since when this node knows.
    pub(super) lost: Mutex<HashMap<SessionId, Tick>>,
}

/// How far a session is saved.
#[derive(Debug)]
pub(super) struct Saving {
    /// What the machine counted when it was marked last.
    revision: AtomicU64,
    /// How often it was marked.
    marks: AtomicU64,
    /// The mark up to which the vault was asked, whatever it answered.
    asked: watch::Sender<u64>,
    /// Whether it waits to be saved, or is being saved.
    queued: AtomicBool,
    /// The mark up to which the vault has it.
    kept: AtomicU64,
    /// Everything was done that the session said before it departs.
    pub(super) departs: Notify,
    /// The vault has it.
    pub(super) known: AtomicBool,
    /// The receipt of its consent is written.
    pub(super) proven: AtomicBool,
    /// It lives on another node now; nothing that is said here counts.
    foreign: AtomicBool,
}

impl Default for Saving {
    fn default() -> Self {
        Self {
            revision: AtomicU64::new(u64::MAX),
            marks: AtomicU64::new(0),
            asked: watch::Sender::new(0),
            queued: AtomicBool::new(false),
            kept: AtomicU64::new(0),
            departs: Notify::new(),
            known: AtomicBool::new(false),
            proven: AtomicBool::new(false),
            foreign: AtomicBool::new(false),
        }
    }
}

/// What is to be told to the vault.
enum Word {
    Saved(Box<SavedSession>),
    /// It must not be saved as it is.
    Unproven,
    Over(Box<Seen>),
}

impl Saves {
    /// The way to a vault, with nothing to save yet.
    pub(in crate::hub) fn new(vault: Arc<dyn Vault>) -> Arc<Self> {
        Arc::new(Self {
            vault,
            fence: AtomicU64::new(1),
            waiting: Mutex::default(),
            wake: Notify::new(),
            away: AtomicBool::new(false),
            adopting: std::array::from_fn(|_| tokio::sync::Mutex::default()),
            lost: Mutex::default(),
        })
    }

    /// A session is another than the vault knows.
    fn mark(&self, session: &Arc<LiveSession>) {
        session.saving.marks.fetch_add(1, Ordering::SeqCst);
        if !session.saving.queued.swap(true, Ordering::SeqCst) {
            self.queue(session);
        }
    }

    fn queue(&self, session: &Arc<LiveSession>) {
        self.waiting.lock().push_back(Arc::clone(session));
        self.wake.notify_one();
    }

    /// A session took a step: if that changed what is saved, it is saved again.
    pub(super) fn stepped(&self, session: &Arc<LiveSession>, machine: &Session) {
        let revision = machine.revision();
        if session.saving.revision.swap(revision, Ordering::Relaxed) != revision {
            self.mark(session);
        }
    }
}

/// Saves what is queued, some at a time, until the hub is gone.
async fn save_all(hub: Weak<Hub>, saves: Arc<Saves>) {
    let mut running = JoinSet::new();
    loop {
        while running.len() < limits::SAVES_AT_ONCE {
            let Some(session) = saves.waiting.lock().pop_front() else { break };
            let Some(hub) = hub.upgrade() else { return };
            running.spawn(async move { hub.save(&session).await });
        }
        tokio::select! {
            () = saves.wake.notified() => {}
            Some(_) = running.join_next() => {}
        }
    }
}

/// Looks for sessions whose node is gone, until the hub is gone. Nodes look at different moments.
async fn reap_all(hub: Weak<Hub>) {
    loop {
        let jitter = (random::u128() % 256) as u32;
        tokio::time::sleep(limits::REAP * (896 + jitter) / 1024).await;
        let Some(hub) = hub.upgrade() else { return };
        hub.reap().await;
    }
}

impl Hub {
    /// Begins to save sessions and to look for lost ones; both end with what is returned.
    pub(in crate::hub) fn keep_sessions(self: &Arc<Self>) -> [AbortOnDropHandle<()>; 2] {
        let saving = self.runtime.spawn(save_all(Arc::downgrade(self), Arc::clone(&self.saves)));
        let reaping = self.runtime.spawn(reap_all(Arc::downgrade(self)));
        [saving, reaping].map(AbortOnDropHandle::new)
    }

    /// This node begins a new term: what it said to the vault in earlier ones and is still under way is not
    /// taken any more.
    pub(in crate::hub) fn begin_term(&self, epoch: u64) {
        self.saves.fence.fetch_max(epoch, Ordering::Relaxed);
    }

    /// A session changed beside its machine.
    pub(in crate::hub) fn changed(&self, session: &Arc<LiveSession>) {
        self.saves.mark(session);
    }

    /// The consent of a session is proven: from here on it is saved with it.
    pub(in crate::hub) fn proven(&self, session: &Arc<LiveSession>) {
        session.saving.proven.store(true, Ordering::SeqCst);
        self.saves.mark(session);
    }

    /// Waits until the vault was asked to keep the session as it is; none where there is nothing to wait for.
    pub(in crate::hub) fn being_saved(
        &self,
        session: &LiveSession,
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        let mark = session.saving.marks.load(Ordering::SeqCst);
        let mut asked = session.saving.asked.subscribe();
        if self.saves.away.load(Ordering::Relaxed) || *asked.borrow() >= mark {
            return None;
        }
        let (saves, id) = (Arc::clone(&self.saves), session.id);
        Some(async move {
            let waited = tokio::time::timeout(limits::SAVE_WAIT, asked.wait_for(|asked| *asked >= mark));
            if waited.await.is_err() {
                tracing::warn!(session = %id, "the vault of sessions does not answer, sessions go on unsaved");
                saves.away.store(true, Ordering::Relaxed);
            }
        })
    }

    /// Waits until the vault was asked to keep all of these as they are.
    pub async fn saved(&self, sessions: &[Arc<LiveSession>]) {
        for session in sessions {
            if let Some(saved) = self.being_saved(session) {
                saved.await;
            }
        }
    }

    /// The same for a ticket: once the vault knows the session, whoever is handed one is let in anywhere.
    pub(super) fn becomes_known(
        &self,
        session: &LiveSession,
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        if session.saving.known.load(Ordering::SeqCst) { None } else { self.being_saved(session) }
    }

    async fn save(self: &Arc<Self>, session: &Arc<LiveSession>) {
        let saving = &session.saving;
        let mark = saving.marks.load(Ordering::SeqCst);
        let told =
            if saving.foreign.load(Ordering::Relaxed) { Ok(false) } else { self.tell_vault(session).await };
        let again = matches!(told, Err(VaultError::Away(_)));
        if self.saves.away.swap(again, Ordering::Relaxed) != again {
            match &told {
                Err(error) => tracing::warn!(%error, "sessions cannot be saved"),
                Ok(_) => tracing::info!("sessions are saved again"),
            }
        }
        if let (false, Err(error)) = (again, &told) {
            tracing::error!(session = %session.id, %error, "a session cannot be saved");
        }
        if let Ok(true) = told {
            saving.kept.fetch_max(mark, Ordering::SeqCst);
        }
        saving.asked.send_replace(mark);
        if again {
            let (saves, session) = (Arc::clone(&self.saves), Arc::clone(session));
            self.runtime.spawn(async move {
                tokio::time::sleep(limits::SAVE_RETRY).await;
                saves.queue(&session);
            });
            return;
        }
        saving.queued.store(false, Ordering::SeqCst);
        if saving.marks.load(Ordering::SeqCst) > mark && !saving.queued.swap(true, Ordering::SeqCst) {
            self.saves.queue(session);
        }
    }

    /// True where the vault has the session now as it is.
    async fn tell_vault(self: &Arc<Self>, session: &Arc<LiveSession>) -> Result<bool, VaultError> {
        let (vault, node) = (&self.saves.vault, self.node);
        match self.word_of(session) {
            Word::Unproven => {}
            Word::Over(last) => {
                vault.end(&session.group, session.id, node, Some(&*last)).await?;
                self.tell_saved(session).await?;
            }
            Word::Saved(saved) => {
                match vault.put(&saved, node, self.saves.fence.load(Ordering::Relaxed)).await? {
                    Put::Kept => {
                        session.saving.known.store(true, Ordering::SeqCst);
                        self.keep_key(session.id).await?;
                        self.tell_saved(session).await?;
                        return Ok(true);
                    }
                    other => self.disown(session, other),
                }
            }
        }
        Ok(false)
    }

    /// The other nodes' operators may want to know; again if they could not be told.
    async fn tell_saved(&self, session: &LiveSession) -> Result<(), VaultError> {
        let told = self.directory.tell_session(self.node, &session.group, session.id).await;
        told.map_err(|error| VaultError::Away(Box::new(error)))
    }

    /// What is to be saved of a session now.
    fn word_of(&self, session: &LiveSession) -> Word {
        let (now, proven) = (self.clock.now(), session.saving.proven.load(Ordering::SeqCst));
        let machine = session.driver.read(|machine| match machine.save(now) {
            None => {
                let step = session.steps.load(Ordering::Relaxed);
                Err(Word::Over(Box::new(Seen { view: machine.view(), step })))
            }
            Some(_) if machine.needs_proof() && !proven => Err(Word::Unproven),
            // Counted under the lock: a step more would make what comes after it look old.
            Some(saved) => Ok((saved, machine.view(), session.steps.load(Ordering::Relaxed))),
        });
        let (machine, view, steps) = match machine {
            Ok(machine) => machine,
            Err(word) => return word,
        };
        Word::Saved(Box::new(SavedSession {
            group: session.group.clone(),
            machine,
            kind: session.kind,
            terms: session.terms.clone(),
            control: session.control,
            record: session.record.clone(),
            asker: session.asker.clone(),
            logged: session.logged,
            title: session.title.clone(),
            chatter: session.chatter.lock().clone(),
            invites: session.invites.lock().save(),
            relayed: session.relay.relayed(),
            steps,
            view: Some(view),
            key: self.session_keys.lock().of(session.id),
            trace: session.course.lock().root().map(|root| root.to_string().into()),
        }))
    }

    /// A session went on elsewhere, because this node was thought to be gone. What is said of it here no longer
    /// counts: whoever is in it is sent where it is now, and nothing more is written down.
    fn disown(self: &Arc<Self>, session: &Arc<LiveSession>, why: Put) {
        if !self.let_go(session) {
            return;
        }
        tracing::warn!(session = %session.id, ?why, "a session is no longer this node's");
        if let Some(key) = session.visitor_key() {
            self.presence(&key, crate::model::presence::Input::Session { session: None });
        }
    }

    /// Forgets a session that lives on, and sends whoever is in it after it. False if that was done before.
    fn let_go(&self, session: &Arc<LiveSession>) -> bool {
        if session.saving.foreign.swap(true, Ordering::Relaxed) {
            return false;
        }
        self.sessions.close(session);
        self.sessions.forget(session.id);
        self.session_keys.lock().free(session.id);
        session.course.lock().leave();
        let reconnect = ToVisitor::Reconnect { after_ms: 0, reason: CloseCode::Drain.name() };
        for connection in session.seats().into_iter().filter_map(|seat| self.registry.get(seat)) {
            connection.outbox.push(Text::of(&reconnect));
            connection.outbox.close(Close::new(CloseCode::Drain, "the session lives on another node"));
        }
        self.meters.sessions_active.set(self.sessions.len() as f64);
        true
    }

    /// Gives a session up for another node to go on with; false where it has ended instead. The vault has it as it
    /// is before anybody is sent away, so that whoever comes to another node finds it.
    pub(in crate::hub) async fn hand_over(self: &Arc<Self>, session: &Arc<LiveSession>) -> bool {
        if !self.drive_with(session, Session::depart) {
            return false;
        }
        // Tickets on their way, and the consent's receipt, come first.
        let said = tokio::time::timeout(limits::HANDOVER_WAIT, session.saving.departs.notified()).await;
        let is_kept = said.is_ok() && self.keeps(session).await;
        if session.is_foreign() {
            return true;
        }
        if !is_kept {
            tracing::warn!(session = %session.id, "a session cannot be handed over and ends");
            self.drive_with(session, |machine, out| machine.strand(out));
            return false;
        }
        // What is not given up now is adopted once this node is gone.
        if let Err(error) = self.saves.vault.release(session.id, self.node).await {
            tracing::warn!(session = %session.id, %error, "a session is left for others to find");
        }
        tracing::info!(
            target: "porchlight::session",
            group = %session.group, session = %session.id, request = %session.request, happened = "handed over"
        );
        self.let_go(session);
        true
    }

    /// Whether the vault has the session as it is now.
    async fn keeps(&self, session: &Arc<LiveSession>) -> bool {
        self.saves.mark(session);
        let mark = session.saving.marks.load(Ordering::SeqCst);
        if let Some(saved) = self.being_saved(session) {
            saved.await;
        }
        session.saving.kept.load(Ordering::SeqCst) >= mark
    }
}

impl LiveSession {
    /// Whether it lives on another node by now.
    pub(in crate::hub) fn is_foreign(&self) -> bool {
        self.saving.foreign.load(Ordering::Relaxed)
    }
}
