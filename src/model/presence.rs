//! The presence of one visitor on one node: its leases, its focus, its grace, its facts.
//!
//! Decides who is present, hidden or absent, which connection has focus, what is published and when, and what
//! becomes of a signal. Does not decide whether a connection may use the visitor ID (the edge has checked
//! that), what other nodes hold (the cluster merges), or when `unknown` is said (the cluster). The hub's
//! tracker owns one machine per visitor, keyed by `VisitorKey`, and forgets it at [`Output::Gone`].
//!
//! Laws, each a property test:
//! - One focus while any lease is live, none otherwise: the most recently active lease. Activity is arriving
//!   visible, becoming visible, or saying so; what is handled later is more recent, so there are no ties. A
//!   tab that arrives hidden has not acted: it ranks below all that have, above others that have not.
//! - The same input twice changes nothing (a signal is not a fact: twice is two signals).
//! - A snapshot changes exactly when [`Output::Changed`] or [`Output::Gone`] names a new version; versions
//!   only grow. Gone is told once, after a Changed, and is the last output of its call.
//! - Within grace nothing published changes: state, connections and focused facts stay what they were. A page
//!   load that comes back with the same facts is therefore told to nobody.
//! - What is refused of the facts never costs presence: visibility, activity and the other parts are taken.
//!
//! Memory: the machine does not hold its key. One lease lies inline; its page and client facts are one encoded
//! text and `data` is another, so an idle visitor with one tab is two allocations beside this struct. What few
//! have (session, code, held signals) is boxed. See [`super::visitor`] for what is shown to others.

mod inout;

use std::mem;
use std::time::Duration;

use serde_json::Value;
use smallvec::SmallVec;

use super::codes::Code;
use super::facts::{self, Facts, FactsError};
use super::lease::{Lease, Refusal};
use super::signal::{Delivery, Signal};
use super::visitor::{Snapshot, State, VisitorView, next_version};
pub use inout::{Input, Output};

use crate::clock::{Now, Tick, Wall};
use crate::ids::{ConnectionId, SessionId, VisitorKey};
use crate::limits::{HELD_SIGNALS, Limits};
use crate::wire::visitor::{PresenceUpdate, Visibility};

/// What few visitors have.
#[derive(Debug, Default)]
struct Rare {
    session: Option<SessionId>,
    code: Option<Code>,
    held: Vec<Signal>,
}

impl Rare {
    fn is_empty(&self) -> bool {
        self.session.is_none() && self.code.is_none() && self.held.is_empty()
    }
}

/// The published facts that follow from the leases, to see whether an input changed them.
#[derive(PartialEq, Eq)]
struct Face {
    state: State,
    connections: usize,
    verified: bool,
}

/// One visitor on one node. See the module for its laws.
#[derive(Debug)]
pub struct Presence {
    /// By activity, the most recent last: that one has focus. Those that never acted come first. Within
    /// grace it holds the one lease that was lost last, so that its facts can still be shown.
    leases: SmallVec<[Lease; 1]>,
    data: Box<str>,
    rare: Option<Box<Rare>>,
    version: u64,
    since: Wall,
    /// Set while there is no live lease but the visitor is not absent.
    grace_until: Option<Tick>,
    focus_step: u32,
    state: State,
}

impl Presence {
    /// An absent visitor whose next version is above `last_version`: zero, or the last one that anybody may
    /// have seen, where it is known.
    pub fn new(last_version: u64) -> Self {
        Self {
            leases: SmallVec::new(),
            data: Box::default(),
            rare: None,
            version: last_version,
            since: Wall(0),
            grace_until: None,
            focus_step: 0,
            state: State::Absent,
        }
    }

    /// Present, hidden or absent. Within grace the state stays what it was.
    pub fn state(&self) -> State {
        self.state
    }

    /// The version of what is published now.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The connection that signals and offers go to; none within grace and while absent.
    pub fn focused(&self) -> Option<ConnectionId> {
        self.live().last().map(|lease| lease.connection)
    }

    /// The connections with a live lease, the least recently active first.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        self.live().iter().map(|lease| lease.connection)
    }

    /// What is published now, borrowed; `key` is the visitor that this machine is kept under.
    pub fn view<'a>(&'a self, key: &'a VisitorKey) -> VisitorView<'a> {
        let shown = self.leases.last();
        VisitorView {
            key,
            state: self.state,
            since: self.since,
            version: self.version,
            connections: u32::try_from(self.leases.len()).expect("leases are bounded"),
            page: shown.map_or("", Lease::page),
            client: shown.map_or("", Lease::client),
            data: &self.data,
            verified: shown.is_some_and(|lease| lease.verified),
            session: self.rare.as_ref().and_then(|rare| rare.session),
            code: self.rare.as_ref().and_then(|rare| rare.code),
        }
    }

    /// When [`Self::on_deadline`] is due: the end of grace.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.grace_until
    }

    /// Ends the grace if it is over.
    pub fn on_deadline(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.grace_until.is_some_and(|until| now.tick >= until) {
            self.go(now, out);
        }
    }

    /// Takes one input. A return after the end of grace but before [`Self::on_deadline`] is still a return:
    /// nobody was told of an absence.
    pub fn handle(&mut self, now: Now, limits: &Limits, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Arrived { connection, verified, visibility, facts } => {
                self.arrive(now, limits, Lease::new(connection, verified, visibility), facts, out);
            }
            Input::Inherited { shown, grace } => self.inherit(now, &shown, grace, out),
            Input::Updated { connection, update } => self.update(now, limits, connection, update, out),
            Input::Lost { connection, grace } => self.lose(now, connection, grace, out),
            Input::Left { connection } => {
                if self.position(connection).is_some() {
                    self.end(now, Some(connection), out);
                }
            }
            Input::Ended => self.end(now, None, out),
            Input::Raised { above } => {
                if self.state != State::Absent && self.version <= above {
                    self.version = next_version(above, now.wall);
                    out.push(Output::Changed { version: self.version });
                }
            }
            Input::ToldAs { version } => {
                if self.state != State::Absent {
                    self.version = self.version.max(version);
                }
            }
            Input::Signal { signal } => self.signal(now, signal, out),
            Input::Session { session } => {
                self.set_rare(now, |rare| mem::replace(&mut rare.session, session) != session, out)
            }
            Input::Coded { code } => {
                self.set_rare(now, |rare| mem::replace(&mut rare.code, code) != code, out)
            }
        }
    }

    fn arrive(&mut self, now: Now, limits: &Limits, mut lease: Lease, facts: Facts, out: &mut Vec<Output>) {
        let connection = lease.connection;
        if self.position(connection).is_some() {
            return;
        }
        let limit = limits.connections_per_visitor;
        if self.live().len() >= limit {
            out.push(Output::Refused { connection, reason: Refusal::TooManyConnections { limit } });
            return;
        }
        let before = self.face();
        let mut taken = |result: Result<bool, FactsError>| {
            result.unwrap_or_else(|error| {
                out.push(Output::Refused { connection, reason: error.into() });
                false
            })
        };
        if let Some(page) = &facts.page {
            taken(lease.set_page(page, &self.data, limits.presence_data));
        }
        if let Some(client) = &facts.client {
            taken(lease.set_client(client, &self.data, limits.presence_data));
        }
        let mut changed = false;
        if let Some(patch) = &facts.data {
            changed = taken(self.merge(patch, lease.facts_bytes(), limits));
        }
        let had_focus = self.focused();
        if self.grace_until.take().is_some() {
            changed |= self.leases.pop().is_none_or(|lost| !lost.same_facts(&lease));
        }
        self.insert(lease);
        self.tell_focus(had_focus, out);
        self.publish(now, &before, changed, out);
        self.deliver_held(out);
    }

    /// Shown as it was elsewhere, as if its last connection had been lost here just now.
    fn inherit(&mut self, now: Now, shown: &Snapshot, grace: Duration, out: &mut Vec<Output>) {
        let view = shown.view();
        let visibility = match view.state {
            State::Present => Visibility::Visible,
            State::Hidden => Visibility::Hidden,
            State::Absent | State::Unknown => return,
        };
        if self.state != State::Absent {
            return;
        }
        self.leases.push(Lease::shown(view.verified, visibility, view.page, view.client));
        self.data = view.data.into();
        if view.session.is_some() {
            self.rare.get_or_insert_default().session = view.session;
        }
        (self.state, self.since) = (view.state, view.since);
        self.grace_until = Some(now.tick.after(grace));
        self.version = next_version(self.version.max(view.version), now.wall);
        out.push(Output::Changed { version: self.version });
    }

    fn update(
        &mut self,
        now: Now,
        limits: &Limits,
        connection: ConnectionId,
        update: PresenceUpdate,
        out: &mut Vec<Output>,
    ) {
        let Some(mut at) = self.position(connection) else { return };
        let before = self.face();
        let mut changed = false;
        if let Some(page) = &update.page {
            let focused = at + 1 == self.leases.len();
            match self.leases[at].set_page(page, &self.data, limits.presence_data) {
                Ok(news) => changed |= focused && news,
                Err(error) => out.push(Output::Refused { connection, reason: error.into() }),
            }
        }
        if let Some(patch) = &update.data {
            let facts = self.leases[at].facts_bytes();
            match self.merge(patch, facts, limits) {
                Ok(news) => changed |= news,
                Err(error) => out.push(Output::Refused { connection, reason: error.into() }),
            }
        }
        let lease = &mut self.leases[at];
        let mut acted = update.active;
        if let Some(visibility) = update.visibility {
            let hidden = visibility == Visibility::Hidden;
            acted |= lease.hidden && !hidden;
            lease.hidden = hidden;
        }
        if acted {
            let had_focus = self.focused();
            let mut lease = self.leases.remove(at);
            lease.acted = true;
            at = self.leases.len();
            if had_focus != Some(connection) {
                changed |= !lease.same_facts(&self.leases[at - 1]);
            }
            self.leases.push(lease);
            self.tell_focus(had_focus, out);
        }
        self.publish(now, &before, changed, out);
    }

    fn lose(&mut self, now: Now, connection: ConnectionId, grace: Duration, out: &mut Vec<Output>) {
        let Some(at) = self.position(connection) else { return };
        if self.leases.len() == 1 {
            if grace.is_zero() {
                self.go(now, out);
            } else {
                self.grace_until = Some(now.tick.after(grace));
            }
            return;
        }
        let before = self.face();
        let had_focus = self.focused();
        self.leases.remove(at);
        if self.leases.len() == 1 {
            self.leases.shrink_to_fit();
        }
        if had_focus == Some(connection) {
            self.tell_focus(None, out);
        }
        // The number of connections changed, so there is always something to publish.
        self.publish(now, &before, false, out);
    }

    /// Absent at once. `but` is not dismissed: it said goodbye itself.
    fn end(&mut self, now: Now, but: Option<ConnectionId>, out: &mut Vec<Output>) {
        if self.state == State::Absent {
            return;
        }
        let dismissed = self.connections().filter(|connection| Some(*connection) != but);
        out.extend(dismissed.map(|connection| Output::Dismiss { connection }));
        self.go(now, out);
    }

    fn signal(&mut self, now: Now, signal: Signal, out: &mut Vec<Output>) {
        let delivery = if let Some(connection) = self.focused() {
            out.push(Output::Deliver { connection, signal });
            Delivery::Delivered
        } else if self.grace_until.is_some_and(|until| now.tick < until) {
            let held = &mut self.rare.get_or_insert_default().held;
            if held.len() < HELD_SIGNALS {
                held.push(signal);
                Delivery::Held
            } else {
                Delivery::HeldFull
            }
        } else {
            Delivery::NotPresent
        };
        out.push(Output::Signalled { delivery });
    }

    fn set_rare(&mut self, now: Now, set: impl FnOnce(&mut Rare) -> bool, out: &mut Vec<Output>) {
        if self.state == State::Absent {
            return;
        }
        let before = self.face();
        let changed = set(self.rare.get_or_insert_default());
        self.drop_empty_rare();
        self.publish(now, &before, changed, out);
    }

    /// Takes out the signals that wait for the visitor's return: another node holds them from now on.
    pub fn take_held(&mut self) -> Vec<Signal> {
        let held = self.rare.as_mut().map(|rare| mem::take(&mut rare.held)).unwrap_or_default();
        self.drop_empty_rare();
        held
    }

    fn deliver_held(&mut self, out: &mut Vec<Output>) {
        let Some(connection) = self.focused() else { return };
        if let Some(rare) = &mut self.rare {
            let held = mem::take(&mut rare.held);
            out.extend(held.into_iter().map(|signal| Output::Deliver { connection, signal }));
            self.drop_empty_rare();
        }
    }

    fn drop_empty_rare(&mut self) {
        self.rare.take_if(|rare| rare.is_empty());
    }

    /// Becomes absent and forgets every fact, so that nothing of this visit shows in the next.
    fn go(&mut self, now: Now, out: &mut Vec<Output>) {
        let undelivered = self.rare.take().map_or(0, |rare| rare.held.len());
        self.leases = SmallVec::new();
        self.data = Box::default();
        self.grace_until = None;
        self.state = State::Absent;
        self.since = now.wall;
        self.version = next_version(self.version, now.wall);
        out.push(Output::Gone { version: self.version, undelivered });
    }

    /// Whether the data changed. `facts` is the length of the telling connection's other facts.
    fn merge(&mut self, patch: &Value, facts: usize, limits: &Limits) -> Result<bool, FactsError> {
        let merged = facts::merge(&self.data, patch, facts, limits)?;
        let changed = merged != self.data;
        self.data = merged;
        Ok(changed)
    }

    fn live(&self) -> &[Lease] {
        if self.grace_until.is_some() { &[] } else { &self.leases }
    }

    fn position(&self, connection: ConnectionId) -> Option<usize> {
        self.live().iter().position(|lease| lease.connection == connection)
    }

    fn insert(&mut self, lease: Lease) {
        let at = if lease.acted {
            self.leases.len()
        } else {
            self.leases.iter().take_while(|other| !other.acted).count()
        };
        self.leases.insert(at, lease);
    }

    fn face(&self) -> Face {
        Face {
            state: self.state,
            connections: self.leases.len(),
            verified: self.leases.last().is_some_and(|lease| lease.verified),
        }
    }

    /// Derives the state from the live leases, and publishes if anything is new.
    fn publish(&mut self, now: Now, before: &Face, changed: bool, out: &mut Vec<Output>) {
        let live = self.live();
        if live.iter().any(|lease| !lease.hidden) {
            self.state = State::Present;
        } else if !live.is_empty() {
            self.state = State::Hidden;
        }
        if self.state != before.state {
            self.since = now.wall;
        }
        if changed || self.face() != *before {
            self.version = next_version(self.version, now.wall);
            out.push(Output::Changed { version: self.version });
        }
    }

    /// Tells the connections between which focus moved; `had` is the one to be told that it lost it.
    fn tell_focus(&mut self, had: Option<ConnectionId>, out: &mut Vec<Output>) {
        let has = self.focused();
        if has == had {
            return;
        }
        self.focus_step = self.focus_step.wrapping_add(1);
        let step = self.focus_step;
        for (connection, focused) in [(had, false), (has, true)] {
            out.extend(connection.map(|connection| Output::Focus { connection, focused, step }));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::ids::{GroupId, VisitorId};
    use crate::limits::{CONNECTIONS_PER_VISITOR, GRACE};
    use crate::wire::visitor::{Client, Page};

    fn key() -> VisitorKey {
        VisitorKey { group: GroupId::new("demo").unwrap(), visitor: VisitorId::new("C-1").unwrap() }
    }

    fn at(ms: u64) -> Now {
        Now { tick: Tick(ms), wall: Wall(1_893_456_000_000 + ms) }
    }

    fn page(url: &str) -> Page {
        Page { url: url.into(), ..Page::default() }
    }

    fn signal(name: &str) -> Signal {
        Signal { name: name.into(), data: "1".into(), agent: "Alice".into() }
    }

    fn arrived(connection: u64, visibility: Visibility, facts: Facts) -> Input {
        Input::Arrived { connection: ConnectionId(connection), verified: false, visibility, facts }
    }

    fn visible(connection: u64) -> Input {
        arrived(connection, Visibility::Visible, Facts::default())
    }

    fn hidden(connection: u64) -> Input {
        arrived(connection, Visibility::Hidden, Facts::default())
    }

    fn updated(connection: u64, update: PresenceUpdate) -> Input {
        Input::Updated { connection: ConnectionId(connection), update }
    }

    fn seen(connection: u64, visibility: Visibility) -> Input {
        updated(connection, PresenceUpdate { visibility: Some(visibility), ..PresenceUpdate::default() })
    }

    fn active(connection: u64) -> Input {
        updated(connection, PresenceUpdate { active: true, ..PresenceUpdate::default() })
    }

    fn lost(connection: u64) -> Input {
        Input::Lost { connection: ConnectionId(connection), grace: GRACE }
    }

    fn left(connection: u64) -> Input {
        Input::Left { connection: ConnectionId(connection) }
    }

    /// The outputs in short: `changed`, `gone`, `+1` and `-1` for focus, `x1` for a dismissal, `>1 name` for
    /// a delivery, and the names of outcomes and refusals.
    fn short(out: &[Output]) -> String {
        let short: Vec<String> = out
            .iter()
            .map(|output| match output {
                Output::Changed { .. } => "changed".into(),
                Output::Gone { undelivered: 0, .. } => "gone".into(),
                Output::Gone { undelivered, .. } => format!("gone/{undelivered}"),
                Output::Focus { connection, focused: true, .. } => format!("+{}", connection.0),
                Output::Focus { connection, focused: false, .. } => format!("-{}", connection.0),
                Output::Deliver { connection, signal } => format!(">{} {}", connection.0, signal.name),
                Output::Signalled { delivery } => delivery.name().into(),
                Output::Dismiss { connection } => format!("x{}", connection.0),
                Output::Refused { connection, reason } => {
                    format!("!{} {}", connection.0, reason.code().as_str())
                }
            })
            .collect();
        short.join(" ")
    }

    /// Plays inputs one second apart on a new visitor and checks outputs and state of each.
    fn play(steps: impl IntoIterator<Item = (Input, &'static str, State)>) -> Presence {
        let mut presence = Presence::new(0);
        for (i, (input, outputs, state)) in (0..).zip(steps) {
            let mut out = Vec::new();
            let told = format!("step {i}: {input:?}");
            presence.handle(at(i * 1_000), &Limits::default(), input, &mut out);
            assert_eq!((short(&out).as_str(), presence.state()), (outputs, state), "{told}");
        }
        presence
    }

    use State::{Absent, Hidden, Present};
    use Visibility::Visible;

    #[test]
    fn what_is_told_is_above_what_others_told() {
        let raised = |above| Input::Raised { above };
        let far = (1u64 << 52) + 5;
        let presence = play([
            (raised(far), "", Absent),
            (visible(1), "+1 changed", Present),
            (raised(1), "", Present),
            (raised(far), "changed", Present),
            (raised(far), "", Present),
        ]);
        assert_eq!(presence.version(), far + 1);
        // Others were told by another hand, and here nobody is told again.
        let told_as = |version| Input::ToldAs { version };
        let presence = play([
            (told_as(far), "", Absent),
            (visible(1), "+1 changed", Present),
            (told_as(far), "", Present),
            (told_as(1), "", Present),
        ]);
        assert_eq!(presence.version(), far);
    }

    #[test]
    fn states_follow_visibility() {
        play([
            (visible(1), "+1 changed", Present),
            (visible(1), "", Present),
            (seen(1, Visibility::Hidden), "changed", Hidden),
            (hidden(2), "changed", Hidden),
            (seen(2, Visible), "-1 +2 changed", Present),
            (lost(2), "+1 changed", Hidden),
            (lost(2), "", Hidden),
            (lost(1), "", Hidden),
            (hidden(3), "+3", Hidden),
            (left(9), "", Hidden),
            (left(3), "gone", Absent),
            (left(3), "", Absent),
            (visible(4), "+4 changed", Present),
        ]);
    }

    #[test]
    fn focus_goes_to_the_most_recently_active() {
        play([
            (hidden(1), "+1 changed", Hidden),
            (hidden(2), "-1 +2 changed", Hidden),
            (visible(3), "-2 +3 changed", Present),
            (hidden(4), "changed", Present),
            (active(1), "-3 +1", Present),
            (active(1), "", Present),
            (visible(5), "-1 +5 changed", Present),
            (lost(5), "+1 changed", Present),
            (lost(1), "+3 changed", Present),
            (lost(3), "+4 changed", Hidden),
            (lost(4), "+2 changed", Hidden),
        ]);
    }

    #[test]
    fn logout_ends_every_tab_at_once() {
        play([
            (visible(1), "+1 changed", Present),
            (visible(2), "-1 +2 changed", Present),
            (left(1), "x2 gone", Absent),
            (Input::Ended, "", Absent),
            (visible(3), "+3 changed", Present),
            (Input::Ended, "x3 gone", Absent),
            (visible(4), "+4 changed", Present),
            (lost(4), "", Present),
            (Input::Ended, "gone", Absent),
        ]);
    }

    #[test]
    fn who_is_inherited_is_shown_as_before_until_it_comes_or_its_grace_is_over() {
        let facts = Facts { page: Some(page("/a")), data: Some(json!({"n": 1})), ..Facts::default() };
        let before = play([(arrived(1, Visible, facts.clone()), "+1 changed", Present)]);
        let (key, session) = (key(), SessionId::from_u128(7));
        let shown = Arc::new(VisitorView { session: Some(session), ..before.view(&key) }.snapshot());
        let inherited = || Input::Inherited { shown: Arc::clone(&shown), grace: GRACE };
        let held = || Input::Signal { signal: signal("later") };
        let presence = play([
            (inherited(), "changed", Present),
            (inherited(), "", Present),
            (held(), "held", Present),
            (arrived(2, Visible, facts), "+2 >2 later", Present),
            (inherited(), "", Present),
        ]);
        let view = presence.view(&key);
        assert_eq!(
            (view.page, view.data, view.session),
            (before.view(&key).page, before.view(&key).data, Some(session))
        );
        assert_eq!((view.connections, view.since), (1, before.view(&key).since));
        assert!(view.version > before.version());

        let mut presence = play([(inherited(), "changed", Present)]);
        let mut out = Vec::new();
        presence.on_deadline(at(5_000), &mut out);
        assert_eq!((short(&out).as_str(), presence.state()), ("gone", Absent));
        let absent = Arc::new(VisitorView::absent(&key, Wall(1), 9).snapshot());
        play([(Input::Inherited { shown: absent, grace: GRACE }, "", Absent)]);
    }

    #[test]
    fn zero_grace_is_absent_at_once() {
        let now = Input::Lost { connection: ConnectionId(1), grace: Duration::ZERO };
        play([(visible(1), "+1 changed", Present), (now, "gone", Absent)]);
    }

    #[test]
    fn grace_ends_at_its_deadline_and_not_before() {
        let mut presence = play([(visible(1), "+1 changed", Present), (lost(1), "", Present)]);
        assert_eq!(presence.next_deadline(), Some(Tick(6_000)));
        let mut out = Vec::new();
        presence.on_deadline(at(5_999), &mut out);
        assert_eq!((short(&out).as_str(), presence.focused()), ("", None));
        presence.on_deadline(at(6_000), &mut out);
        assert_eq!((short(&out).as_str(), presence.state()), ("gone", Absent));
        presence.on_deadline(at(7_000), &mut out);
        assert_eq!((out.len(), presence.next_deadline()), (1, None));
    }

    #[test]
    fn a_page_load_with_the_same_facts_is_told_to_nobody() {
        let facts = |url: &str| Facts { page: Some(page(url)), ..Facts::default() };
        play([
            (arrived(1, Visible, facts("/a")), "+1 changed", Present),
            (lost(1), "", Present),
            (arrived(2, Visible, facts("/a")), "+2", Present),
            (lost(2), "", Present),
            (arrived(3, Visible, facts("/b")), "+3 changed", Present),
        ]);
    }

    #[test]
    fn signals_are_delivered_held_or_refused() {
        let send = |name| Input::Signal { signal: signal(name) };
        play([
            (send("a"), "visitor_not_present", Absent),
            (visible(1), "+1 changed", Present),
            (visible(2), "-1 +2 changed", Present),
            (send("b"), ">2 b delivered", Present),
            (lost(2), "+1 changed", Present),
            (lost(1), "", Present),
            (send("c"), "held", Present),
            (send("d"), "held", Present),
            (visible(3), "+3 >3 c >3 d", Present),
            (lost(3), "", Present),
            (send("e"), "held", Present),
            (Input::Ended, "gone/1", Absent),
            (visible(4), "+4 changed", Present),
        ]);
    }

    #[test]
    fn held_signals_are_bounded() {
        let mut presence = play([(visible(1), "+1 changed", Present), (lost(1), "", Present)]);
        let mut out = Vec::new();
        for _ in 0..=HELD_SIGNALS {
            presence.handle(at(2_000), &Limits::default(), Input::Signal { signal: signal("s") }, &mut out);
        }
        let held = out.iter().filter(|o| **o == Output::Signalled { delivery: Delivery::Held }).count();
        assert_eq!(held, HELD_SIGNALS);
        assert_eq!(out.pop(), Some(Output::Signalled { delivery: Delivery::HeldFull }));
        out.clear();
        // After its end, grace holds nothing even before the deadline is served; a return is still a return.
        presence.handle(at(6_000), &Limits::default(), Input::Signal { signal: signal("s") }, &mut out);
        assert_eq!(short(&out), "visitor_not_present");
        out.clear();
        presence.handle(at(6_001), &Limits::default(), visible(2), &mut out);
        assert_eq!(out.len(), 1 + HELD_SIGNALS);
        assert!(presence.rare.is_none());
    }

    #[test]
    fn connections_are_bounded() {
        let mut presence = Presence::new(0);
        let mut out = Vec::new();
        for connection in 0..=CONNECTIONS_PER_VISITOR as u64 {
            out.clear();
            presence.handle(at(0), &Limits::default(), visible(connection), &mut out);
        }
        assert_eq!(short(&out), "!20 too_many");
        assert_eq!(presence.connections().count(), CONNECTIONS_PER_VISITOR);
        assert!(!presence.connections().any(|connection| connection == ConnectionId(20)));
    }

    #[test]
    fn refused_facts_cost_no_presence() {
        let mut bad = Facts { page: Some(page("/a")), client: None, data: Some(json!([])) };
        let presence = play([
            (arrived(1, Visible, bad.clone()), "!1 bad_value +1 changed", Present),
            (
                updated(
                    1,
                    PresenceUpdate {
                        page: Some(page("/b")),
                        visibility: Some(Visibility::Hidden),
                        active: false,
                        data: Some(json!({"k": "x".repeat(513)})),
                    },
                ),
                "!1 data_too_large changed",
                Hidden,
            ),
        ]);
        assert_eq!((presence.view(&key()).page, presence.view(&key()).data), (r#"{"url":"/b"}"#, ""));

        // Data that fills the limit beside a short page leaves no room for a long one.
        let values: serde_json::Map<_, _> =
            (0..8).map(|i| (format!("k{i}"), json!("x".repeat(490)))).collect();
        bad = Facts { page: Some(page("/a")), client: None, data: Some(Value::Object(values)) };
        let long = PresenceUpdate { page: Some(page(&"u".repeat(1_000))), ..PresenceUpdate::default() };
        let presence = play([
            (arrived(1, Visible, bad), "+1 changed", Present),
            (updated(1, long), "!1 data_too_large", Present),
        ]);
        assert_eq!(presence.view(&key()).page, r#"{"url":"/a"}"#);
    }

    #[test]
    fn session_and_code_are_published_while_here() {
        let session = Some(SessionId::from_u128(1));
        let code = Code::parse("000123");
        let presence = play([
            (Input::Session { session }, "", Absent),
            (visible(1), "+1 changed", Present),
            (Input::Session { session }, "changed", Present),
            (Input::Session { session }, "", Present),
            (Input::Coded { code }, "changed", Present),
            (Input::Session { session: None }, "changed", Present),
        ]);
        assert_eq!((presence.view(&key()).session, presence.view(&key()).code), (None, code));
        let presence = play([
            (visible(1), "+1 changed", Present),
            (Input::Coded { code }, "changed", Present),
            (Input::Coded { code: None }, "changed", Present),
        ]);
        assert!(presence.rare.is_none());
    }

    #[test]
    fn verified_is_that_of_the_focused_lease() {
        let proved = Input::Arrived {
            connection: ConnectionId(2),
            verified: true,
            visibility: Visible,
            facts: Facts::default(),
        };
        let mut presence = play([(visible(1), "+1 changed", Present), (proved, "-1 +2 changed", Present)]);
        assert!(presence.view(&key()).verified);
        let mut out = Vec::new();
        presence.handle(at(9_000), &Limits::default(), active(1), &mut out);
        assert_eq!((short(&out).as_str(), presence.view(&key()).verified), ("-2 +1 changed", false));
    }

    /// What the goal of 1,024 bytes for each idle visitor leaves to its presence.
    #[test]
    fn an_idle_visitor_is_small() {
        assert!(size_of::<Presence>() <= 112, "Presence has {} bytes", size_of::<Presence>());
        assert!(size_of::<Lease>() <= 40, "Lease has {} bytes", size_of::<Lease>());
        let facts = Facts {
            page: Some(page("https://shop.example/product/1234")),
            client: Some(Client { language: Some("de-DE".into()), ..Client::default() }),
            data: Some(json!({"note": "x".repeat(180), "plan": 3})),
        };
        let presence = play([(arrived(1, Visible, facts), "+1 changed", Present)]);
        let lease = &presence.leases[0];
        // Two allocations, each as long as its text: the leases lie inline and nothing rare is there.
        assert!(!presence.leases.spilled() && presence.rare.is_none());
        assert_eq!(presence.data.len(), 200);
        let facts = (lease.page(), lease.client(), lease.facts_bytes());
        assert_eq!(facts, (r#"{"url":"https://shop.example/product/1234"}"#, r#"{"language":"de-DE"}"#, 63));
    }

    #[test]
    fn leases_return_inline_when_one_is_left() {
        let presence = play([
            (visible(1), "+1 changed", Present),
            (visible(2), "-1 +2 changed", Present),
            (lost(1), "changed", Present),
        ]);
        assert!(!presence.leases.spilled());
    }

    // ── Laws over random orders ────────────────────────────────────────────────────────────────

    #[derive(Debug, Clone)]
    enum Step {
        Do(Input),
        /// Lets time pass on the monotonic clock; the wall clock may step back.
        Wait(u64, i64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let connection = || 0u64..6;
        let sight = || prop_oneof![Just(Visible), Just(Visibility::Hidden)];
        let some_page = || prop::option::of(prop_oneof![Just("/a"), Just("/b")].prop_map(page));
        let data = || {
            prop::option::of(prop_oneof![
                Just(json!({"a": 1})),
                Just(json!({"a": 2, "b": "x"})),
                Just(json!({"a": null})),
                Just(json!({"a": []})),
            ])
        };
        let arrive = (connection(), any::<bool>(), sight(), some_page(), data()).prop_map(
            |(connection, verified, visibility, page, data)| Input::Arrived {
                connection: ConnectionId(connection),
                verified,
                visibility,
                facts: Facts { page, client: None, data },
            },
        );
        let update = (connection(), some_page(), prop::option::of(sight()), any::<bool>(), data()).prop_map(
            |(connection, page, visibility, active, data)| {
                updated(connection, PresenceUpdate { page, visibility, active, data })
            },
        );
        let lose = (connection(), prop_oneof![Just(Duration::ZERO), Just(GRACE), Just(GRACE)])
            .prop_map(|(connection, grace)| Input::Lost { connection: ConnectionId(connection), grace });
        let rare = prop_oneof![
            connection().prop_map(left),
            Just(Input::Ended),
            any::<bool>().prop_map(|on| Input::Session { session: on.then(|| SessionId::from_u128(1)) }),
            any::<bool>().prop_map(|on| Input::Coded { code: on.then(|| Code::parse("123456")).flatten() }),
        ];
        let send = Just(Input::Signal { signal: signal("s") });
        let step = prop_oneof![
            4 => arrive.prop_map(Step::Do),
            4 => update.prop_map(Step::Do),
            4 => lose.prop_map(Step::Do),
            1 => rare.prop_map(Step::Do),
            2 => send.prop_map(Step::Do),
            2 => (0u64..8_000, -20_000i64..20_000).prop_map(|(tick, wall)| Step::Wait(tick, wall)),
        ];
        prop::collection::vec(step, 1..60)
    }

    /// A second, slow opinion: leases with the number of the input that last acted in them.
    #[derive(Debug, Default)]
    struct Model {
        /// Connection, when it acted, when it arrived, hidden.
        leases: Vec<(u64, Option<usize>, usize, bool)>,
        until: Option<Tick>,
        state: Option<State>,
    }

    impl Model {
        fn take(&mut self, now: Now, step: usize, input: &Input) {
            match input {
                Input::Arrived { connection, visibility, .. } => {
                    if self.leases.iter().all(|lease| lease.0 != connection.0) {
                        let hidden = *visibility == Visibility::Hidden;
                        self.leases.push((connection.0, (!hidden).then_some(step), step, hidden));
                        self.until = None;
                    }
                }
                Input::Updated { connection, update } => {
                    for lease in self.leases.iter_mut().filter(|lease| lease.0 == connection.0) {
                        let appears = lease.3 && update.visibility == Some(Visible);
                        lease.3 = update.visibility.map_or(lease.3, |sight| sight == Visibility::Hidden);
                        lease.1 = if update.active || appears { Some(step) } else { lease.1 };
                    }
                }
                Input::Lost { connection, grace } => {
                    let before = self.leases.len();
                    self.leases.retain(|lease| lease.0 != connection.0);
                    if before == 1 && self.leases.is_empty() {
                        self.until = Some(now.tick.after(*grace));
                        self.pass(now);
                    }
                }
                Input::Left { connection } => {
                    if self.leases.iter().any(|lease| lease.0 == connection.0) {
                        *self = Self::default();
                    }
                }
                Input::Ended => *self = Self::default(),
                Input::Inherited { .. }
                | Input::Raised { .. }
                | Input::ToldAs { .. }
                | Input::Signal { .. }
                | Input::Session { .. }
                | Input::Coded { .. } => {}
            }
            self.derive();
        }

        fn pass(&mut self, now: Now) {
            if self.until.is_some_and(|until| now.tick >= until) {
                *self = Self::default();
            }
        }

        fn derive(&mut self) {
            if !self.leases.is_empty() {
                self.state = Some(if self.leases.iter().any(|lease| !lease.3) { Present } else { Hidden });
            }
        }

        fn focused(&self) -> Option<ConnectionId> {
            self.leases.iter().max_by_key(|lease| (lease.1, lease.2)).map(|lease| ConnectionId(lease.0))
        }
    }

    /// The published text without its version.
    fn published(presence: &Presence) -> String {
        let key = key();
        VisitorView { version: 0, ..presence.view(&key) }.encode_json()
    }

    proptest! {
        #[test]
        fn the_laws_hold_in_any_order(steps in steps()) {
            let mut presence = Presence::new(0);
            let mut model = Model::default();
            let mut now = at(0);
            let mut told: std::collections::BTreeSet<ConnectionId> = Default::default();
            let (mut sent, mut delivered, mut held, mut undelivered) = (0, 0, 0usize, 0);
            for (i, step) in steps.into_iter().enumerate() {
                let before = published(&presence);
                let version = presence.version();
                let was = presence.state();
                let mut out = Vec::new();
                let mut again = None;
                match step {
                    Step::Wait(tick, wall) => {
                        now.tick = Tick(now.tick.0 + tick);
                        now.wall = Wall(now.wall.0.saturating_add_signed(wall));
                        model.pass(now);
                        presence.on_deadline(now, &mut out);
                    }
                    Step::Do(input) => {
                        model.take(now, i, &input);
                        if matches!(input, Input::Signal { .. }) { sent += 1; } else { again = Some(input.clone()); }
                        presence.handle(now, &Limits::default(), input, &mut out);
                    }
                }

                // State and focus are what the second opinion says.
                prop_assert_eq!(presence.state(), model.state.unwrap_or(Absent));
                prop_assert_eq!(presence.focused(), model.focused());
                prop_assert_eq!(presence.next_deadline(), model.until);
                prop_assert_eq!(presence.connections().count(), model.leases.len());

                // Tabs are told so that never two believe to have focus, and in the end the right one does.
                for output in &out {
                    match output {
                        Output::Focus { connection, focused: true, .. } => { told.insert(*connection); }
                        Output::Focus { connection, focused: false, .. } => { prop_assert!(told.remove(connection)); }
                        Output::Dismiss { connection } => { told.remove(connection); }
                        Output::Deliver { .. } => delivered += 1,
                        Output::Signalled { delivery: Delivery::Held } => held += 1,
                        Output::Gone { undelivered: n, .. } => undelivered += n,
                        _ => {}
                    }
                    told.retain(|connection| presence.connections().any(|live| live == *connection));
                    prop_assert!(told.len() <= 1);
                }
                told.retain(|connection| presence.connections().any(|live| live == *connection));
                prop_assert_eq!(told.iter().next().copied(), presence.focused());

                // What is published changes exactly when it is said, and versions grow.
                let news: Vec<_> = out.iter().filter_map(|output| match output {
                    Output::Changed { version } => Some((false, *version)),
                    Output::Gone { version, .. } => Some((true, *version)),
                    _ => None,
                }).collect();
                prop_assert!(news.len() <= 1);
                prop_assert_eq!(published(&presence) != before, news.len() == 1);
                if let Some((gone, new)) = news.first() {
                    prop_assert!(*new > version && *new < super::super::visitor::VERSION_END);
                    prop_assert_eq!(*new, presence.version());
                    prop_assert_eq!(*gone, presence.state() == Absent);
                    let last = matches!(out.last(), Some(Output::Gone { .. }));
                    prop_assert!(!gone || (was != Absent && last));
                } else {
                    prop_assert_eq!(version, presence.version());
                }

                // The same again changes nothing; only refusals are repeated.
                if let Some(input) = again {
                    let (text, version) = (published(&presence), presence.version());
                    let mut out = Vec::new();
                    presence.handle(now, &Limits::default(), input, &mut out);
                    let quiet = out.iter().all(|output| matches!(output, Output::Refused { .. }));
                    prop_assert!(quiet, "{:?}", out);
                    prop_assert_eq!((published(&presence), presence.version()), (text, version));
                }
            }
            // No signal is lost in silence.
            let waiting = presence.rare.as_ref().map_or(0, |rare| rare.held.len());
            prop_assert!(delivered <= sent);
            prop_assert!(held <= delivered + undelivered + waiting);
            prop_assert!(waiting <= HELD_SIGNALS);
        }
    }
}
