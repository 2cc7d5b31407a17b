//! The obligations of every [`Vault`], as tests over a factory that is told how long sessions are kept.

use std::sync::Arc;
use std::time::Duration;

use super::{Held, Put, SavedInvite, SavedSession, Seen, Vault, VaultError};
use crate::clock::Now;
use crate::cluster::NodeId;
use crate::ids::{
    AgentId, ConnectionId, GroupId, ParticipantId, RequestId, SessionId, VisitorId, VisitorKey,
};
use crate::limits;
use crate::model::event::Relayed;
use crate::model::feed::Chatter;
use crate::model::lead::Guest;
use crate::model::request::Question;
use crate::model::session::{Asker, Session, Setup};
use crate::model::ticket::{Chance, Lock, SECRET, Secret};
use crate::wire::visitor::{SessionKind, TermsShown};

/// Declares a test per obligation: `obligations!(name, async |life| (vault, what must outlive it))`.
macro_rules! obligations {
    ($name:ident, $fresh:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "a factory uses what it needs")]
            use super::*;

            crate::cluster::vault::suite::obligations!(@each $fresh;
                a_session_is_found_by_its_id, only_its_owner_saves_it, a_later_term_goes_before_an_earlier,
                one_of_many_adopts_it, what_is_given_up_may_be_adopted, what_is_over_stays_over,
                a_visitor_has_the_session_saved_last, groups_are_apart, orphans_are_those_of_other_nodes,
                a_session_that_is_too_big_is_not_saved, big_sessions_are_saved, a_key_is_one_sessions,
                one_of_many_holds_a_key, what_lists_show_is_kept);

            #[tokio::test]
            async fn nothing_is_kept_for_ever() {
                let (vault, _keep) = ($fresh)(std::time::Duration::from_millis(30)).await;
                crate::cluster::vault::suite::nothing_is_kept_for_ever(std::sync::Arc::new(vault)).await;
            }
        }
    };
    (@each $fresh:expr; $($obligation:ident),*) => {
        $(
            // Threads of their own, so that what is asked at once is asked at once.
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $obligation() {
                let (vault, _keep) = ($fresh)(std::time::Duration::from_secs(3600)).await;
                crate::cluster::vault::suite::$obligation(std::sync::Arc::new(vault)).await;
            }
        )*
    };
}
pub(crate) use obligations;

mod memory {
    use super::super::MemoryVault;

    async fn fresh(life: std::time::Duration) -> (MemoryVault, ()) {
        (MemoryVault::new(life), ())
    }

    super::obligations!(obligations, fresh);
}

struct Fixed;

impl Chance for Fixed {
    fn secret(&mut self) -> [u8; SECRET] {
        [7; SECRET]
    }

    fn participant(&mut self) -> ParticipantId {
        ParticipantId::from_u128(7)
    }
}

/// A session about a visitor's screen; without one it is told of nobody.
pub(crate) fn saved(group: &str, id: u128, visitor: Option<&str>) -> SavedSession {
    let agent = AgentId::new("alice").unwrap();
    let terms = TermsShown { required: true, version: "v1".into(), text: Some("Terms".into()), url: None };
    let (session, request) = (SessionId::from_u128(id), RequestId::from_u128(id + 1_000));
    let asker = Asker { connection: ConnectionId(1), agent: agent.clone(), name: "Alice".into() };
    let (now, limits) = (Now::default(), Arc::<limits::Limits>::default());
    let machine = match visitor {
        Some(visitor) => {
            let question =
                Question { request, session, terms: terms.clone(), deadline: Duration::from_secs(60) };
            let visitor = Some(VisitorId::new(visitor).unwrap());
            let kind = SessionKind::Screen;
            let setup = Setup { kind, visitor, question, asker, control: true, focus: None, limits };
            Session::start(setup, now, &mut Fixed, &mut Vec::new())
        }
        None => {
            let showing = crate::model::session::Showing { session, request, host: asker, limits };
            Session::show(showing, now, &mut Fixed, &mut Vec::new()).0
        }
    };
    let visitor = visitor.map(|visitor| VisitorId::new(visitor).unwrap());
    SavedSession {
        group: GroupId::new(group).unwrap(),
        machine: machine.save(now).unwrap(),
        kind: SessionKind::Screen,
        terms: Some(terms),
        control: true,
        record: None,
        asker: agent.clone(),
        logged: true,
        title: None,
        chatter: Chatter::new(session, visitor, (agent, "Alice".into())),
        invites: Vec::new(),
        relayed: Relayed::default(),
        steps: 1,
        view: Some(machine.view()),
        key: None,
        trace: None,
    }
}

const A: NodeId = NodeId(0xa);
const B: NodeId = NodeId(u128::MAX);

fn key(group: &str, visitor: &str) -> VisitorKey {
    VisitorKey { group: GroupId::new(group).unwrap(), visitor: VisitorId::new(visitor).unwrap() }
}

pub(crate) async fn a_session_is_found_by_its_id<V: Vault>(vault: Arc<V>) {
    let session = saved("g", 1, Some("C-1"));
    assert_eq!(vault.find(session.id()).await.unwrap(), None);
    assert_eq!(vault.put(&session, A, 1).await.unwrap(), Put::Kept);
    let place = vault.find(session.id()).await.unwrap().unwrap();
    assert_eq!((place.group, place.visitor), (session.group.clone(), session.machine.visitor().cloned()));
    assert_eq!(place.owner, Some(A));
    let shown = saved("g", 2, None);
    vault.put(&shown, B, 1).await.unwrap();
    let place = vault.find(shown.id()).await.unwrap().unwrap();
    assert_eq!((place.visitor, place.owner), (None, Some(B)));
    let later = SavedSession { steps: 2, ..session.clone() };
    assert_eq!(vault.put(&later, A, 1).await.unwrap(), Put::Kept);
    let adopted = vault.adopt(session.id(), Some(A), B).await.unwrap().unwrap();
    assert_eq!(adopted.write().unwrap(), later.write().unwrap(), "the newest word, whole");
    assert_eq!(vault.find(SessionId::from_u128(9)).await.unwrap(), None);
}

pub(crate) async fn only_its_owner_saves_it<V: Vault>(vault: Arc<V>) {
    let session = saved("g", 1, Some("C-1"));
    vault.put(&session, A, 1).await.unwrap();
    assert_eq!(vault.put(&session, B, 9).await.unwrap(), Put::Foreign(Some(A)));
    assert!(!vault.release(session.id(), B).await.unwrap());
    assert!(!vault.end(&session.group, session.id(), B, None).await.unwrap());
    assert!(vault.adopt(session.id(), None, B).await.unwrap().is_none(), "it is not nobody's");
    assert!(vault.adopt(session.id(), Some(A), B).await.unwrap().is_some());
    assert_eq!(
        vault.put(&session, A, 9).await.unwrap(),
        Put::Foreign(Some(B)),
        "the one that was is no more"
    );
    assert_eq!(vault.put(&session, B, 0).await.unwrap(), Put::Kept);
}

pub(crate) async fn a_later_term_goes_before_an_earlier<V: Vault>(vault: Arc<V>) {
    let session = saved("g", 1, Some("C-1"));
    vault.put(&session, A, 1).await.unwrap();
    assert_eq!(vault.put(&session, A, 10).await.unwrap(), Put::Kept);
    assert_eq!(vault.put(&session, A, 9).await.unwrap(), Put::Stale);
    assert_eq!(vault.put(&session, A, 10).await.unwrap(), Put::Kept);
    // Terms of different nodes say nothing of each other; one that takes its own keeps them.
    vault.adopt(session.id(), Some(A), A).await.unwrap().unwrap();
    assert_eq!(vault.put(&session, A, 9).await.unwrap(), Put::Stale);
    vault.adopt(session.id(), Some(A), B).await.unwrap().unwrap();
    assert_eq!(vault.put(&session, B, 1).await.unwrap(), Put::Kept);
}

pub(crate) async fn one_of_many_adopts_it<V: Vault>(vault: Arc<V>) {
    for round in 0..20 {
        let session = saved("g", 1 + round, Some("C-1"));
        vault.put(&session, A, 1).await.unwrap();
        let tries = (0..8).map(|number| {
            let (vault, id) = (Arc::clone(&vault), session.id());
            tokio::spawn(async move {
                let to = NodeId(100 + number);
                vault.adopt(id, Some(A), to).await.unwrap().map(|_| to)
            })
        });
        let mut winners = Vec::new();
        for tried in tries.collect::<Vec<_>>() {
            winners.extend(tried.await.unwrap());
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(vault.find(session.id()).await.unwrap().unwrap().owner, Some(winners[0]));
    }
}

pub(crate) async fn what_is_given_up_may_be_adopted<V: Vault>(vault: Arc<V>) {
    let session = saved("g", 1, Some("C-1"));
    assert!(!vault.release(session.id(), A).await.unwrap(), "it is not known");
    vault.put(&session, A, 5).await.unwrap();
    assert!(vault.release(session.id(), A).await.unwrap());
    assert_eq!(vault.find(session.id()).await.unwrap().unwrap().owner, None);
    assert_eq!(vault.put(&session, A, 5).await.unwrap(), Put::Foreign(None));
    assert!(!vault.release(session.id(), A).await.unwrap());
    assert!(vault.adopt(session.id(), Some(A), B).await.unwrap().is_none(), "it is nobody's");
    assert!(vault.adopt(session.id(), None, B).await.unwrap().is_some());
    assert_eq!(vault.find(session.id()).await.unwrap().unwrap().owner, Some(B));
}

pub(crate) async fn what_is_over_stays_over<V: Vault>(vault: Arc<V>) {
    let session = saved("g", 1, Some("C-1"));
    vault.put(&session, A, 1).await.unwrap();
    assert!(vault.end(&session.group, session.id(), A, None).await.unwrap());
    assert!(!vault.end(&session.group, session.id(), A, None).await.unwrap());
    assert_eq!(vault.find(session.id()).await.unwrap(), None);
    assert_eq!(vault.of_visitor(&key("g", "C-1")).await.unwrap(), None);
    assert!(vault.adopt(session.id(), Some(A), B).await.unwrap().is_none());
    assert_eq!(vault.put(&session, A, 2).await.unwrap(), Put::Over);
    assert_eq!(vault.put(&session, B, 2).await.unwrap(), Put::Over);
    // The end may be known before the session was.
    let unknown = saved("g", 2, None);
    assert!(!vault.end(&unknown.group, unknown.id(), A, None).await.unwrap());
    assert_eq!(vault.put(&unknown, A, 1).await.unwrap(), Put::Over);
}

pub(crate) async fn a_visitor_has_the_session_saved_last<V: Vault>(vault: Arc<V>) {
    let (first, second) = (saved("g", 1, Some("C-1")), saved("g", 2, Some("C-1")));
    vault.put(&first, A, 1).await.unwrap();
    assert_eq!(vault.of_visitor(&key("g", "C-1")).await.unwrap(), Some(first.id()));
    vault.put(&second, B, 1).await.unwrap();
    assert_eq!(vault.of_visitor(&key("g", "C-1")).await.unwrap(), Some(second.id()));
    vault.end(&first.group, first.id(), A, None).await.unwrap();
    assert_eq!(vault.of_visitor(&key("g", "C-1")).await.unwrap(), Some(second.id()), "it is not the first's");
    vault.end(&second.group, second.id(), B, None).await.unwrap();
    assert_eq!(vault.of_visitor(&key("g", "C-1")).await.unwrap(), None);
}

pub(crate) async fn groups_are_apart<V: Vault>(vault: Arc<V>) {
    let (here, there) = (saved("g", 1, Some("C-1")), saved("h", 2, Some("C-1")));
    vault.put(&here, A, 1).await.unwrap();
    vault.put(&there, A, 1).await.unwrap();
    assert_eq!(vault.of_visitor(&key("g", "C-1")).await.unwrap(), Some(here.id()));
    assert_eq!(vault.of_visitor(&key("h", "C-1")).await.unwrap(), Some(there.id()));
    assert_eq!(vault.find(there.id()).await.unwrap().unwrap().group, there.group);
    let mut groups = vault.groups().await.unwrap();
    groups.sort_unstable();
    assert_eq!(groups, [here.group.clone(), there.group.clone()]);
    assert_eq!(vault.orphans(&here.group, &[], 9).await.unwrap(), [(here.id(), Some(A))]);
    assert_eq!(vault.orphans(&GroupId::new("i").unwrap(), &[], 9).await.unwrap(), []);
    vault.end(&here.group, here.id(), A, None).await.unwrap();
    assert!(vault.find(there.id()).await.unwrap().is_some());
}

pub(crate) async fn orphans_are_those_of_other_nodes<V: Vault>(vault: Arc<V>) {
    for id in 1..=5 {
        vault.put(&saved("g", id, None), if id <= 3 { A } else { B }, 1).await.unwrap();
    }
    let group = GroupId::new("g").unwrap();
    let orphans = async |alive: &[NodeId], most| {
        let mut found = vault.orphans(&group, alive, most).await.unwrap();
        found.sort_unstable();
        found
    };
    let of =
        |ids: &[u128], owner| ids.iter().map(|id| (SessionId::from_u128(*id), owner)).collect::<Vec<_>>();
    assert_eq!(orphans(&[A, B], 9).await, []);
    assert_eq!(orphans(&[A], 9).await, of(&[4, 5], Some(B)));
    assert_eq!(orphans(&[], 9).await.len(), 5);
    assert_eq!(orphans(&[], 2).await.len(), 2);
    vault.release(SessionId::from_u128(1), A).await.unwrap();
    assert_eq!(orphans(&[A, B], 9).await, of(&[1], None));
    vault.adopt(SessionId::from_u128(1), None, B).await.unwrap().unwrap();
    assert_eq!(orphans(&[A, B], 9).await, []);
}

pub(crate) async fn what_lists_show_is_kept<V: Vault>(vault: Arc<V>) {
    let session = saved("g", 1, Some("C-1"));
    let (group, other) = (session.group.clone(), GroupId::new("h").unwrap());
    let first = session.seen().unwrap();
    assert_eq!(vault.seen(&group, session.id()).await.unwrap(), None);
    vault.put(&session, A, 1).await.unwrap();
    vault.put(&saved("h", 2, None), A, 1).await.unwrap();
    assert_eq!(vault.seen(&group, session.id()).await.unwrap(), Some(first.clone()));
    assert_eq!(vault.seen(&other, session.id()).await.unwrap(), None, "it is another group's");
    assert_eq!(vault.all_seen(&group).await.unwrap(), std::slice::from_ref(&first));
    let later = SavedSession { steps: 2, ..session.clone() };
    vault.put(&later, A, 1).await.unwrap();
    assert_eq!(vault.put(&session, B, 1).await.unwrap(), Put::Foreign(Some(A)), "nor does it show");
    assert_eq!(vault.all_seen(&group).await.unwrap(), [later.seen().unwrap()]);
    vault.adopt(session.id(), Some(A), B).await.unwrap().unwrap();
    assert_eq!(
        vault.seen(&group, session.id()).await.unwrap(),
        later.seen(),
        "until the other one says more"
    );
    let last = Seen { step: 3, ..first };
    assert!(vault.end(&group, session.id(), B, Some(&last)).await.unwrap());
    assert_eq!(vault.seen(&group, session.id()).await.unwrap(), Some(last));
    assert_eq!(vault.ended_on(session.id()).await.unwrap(), Some(B));
    assert_eq!(vault.all_seen(&group).await.unwrap(), []);
    for id in 10..1_500 {
        vault.put(&saved("g", id, None), A, 1).await.unwrap();
    }
    assert_eq!(vault.all_seen(&group).await.unwrap().len(), 1_490);
}

pub(crate) async fn a_key_is_one_sessions<V: Vault>(vault: Arc<V>) {
    let (one, other) = (SessionId::from_u128(1), SessionId::from_u128(2));
    let (key, second) = ([7; 32], [8; 32]);
    assert_eq!(vault.find_key(&key).await.unwrap(), None);
    assert_eq!(vault.hold_key(&key, one, 1).await.unwrap(), Held::Held);
    assert_eq!(vault.hold_key(&key, one, 1).await.unwrap(), Held::Held, "again");
    assert_eq!(vault.hold_key(&key, other, 1).await.unwrap(), Held::Taken);
    assert_eq!(vault.hold_key(&second, other, 1).await.unwrap(), Held::Full);
    assert_eq!(vault.hold_key(&second, other, 2).await.unwrap(), Held::Held);
    assert_eq!(vault.find_key(&key).await.unwrap(), Some(one));
    vault.free_key(&key, other).await.unwrap();
    assert_eq!(vault.find_key(&key).await.unwrap(), Some(one), "it is not the other's to give back");
    vault.free_key(&key, one).await.unwrap();
    assert_eq!(vault.find_key(&key).await.unwrap(), None);
    assert_eq!(vault.hold_key(&key, other, 2).await.unwrap(), Held::Held, "free again");
    assert_eq!(vault.find_key(&second).await.unwrap(), Some(other));
}

pub(crate) async fn one_of_many_holds_a_key<V: Vault>(vault: Arc<V>) {
    for round in 0..20 {
        let tries = (0..8).map(|number| {
            let (vault, session) = (Arc::clone(&vault), SessionId::from_u128(number));
            tokio::spawn(async move { vault.hold_key(&[round; 32], session, 1_000).await.unwrap() })
        });
        let mut held = 0;
        for tried in tries.collect::<Vec<_>>() {
            held += usize::from(tried.await.unwrap() == Held::Held);
        }
        assert_eq!(held, 1);
    }
}

fn with_links(mut session: SavedSession, count: usize, bytes: usize) -> SavedSession {
    let invite = |number: usize| SavedInvite {
        lock: Lock::of(&Secret::new((number as u128).to_be_bytes())),
        guest: Guest { name: Some("é".repeat(bytes / 2)), email: Some(format!("{number}@example.com")) },
    };
    session.invites = (0..count).map(invite).collect();
    session
}

pub(crate) async fn big_sessions_are_saved<V: Vault>(vault: Arc<V>) {
    let text: Arc<str> = "\"terms\"\n".repeat(limits::TERMS_TEXT_BYTES / 8).into();
    let mut session = with_links(saved("g", 1, Some("C-1")), limits::INVITES, limits::GUEST_NAME_BYTES);
    session.terms.as_mut().unwrap().text = Some(text);
    assert_eq!(vault.put(&session, A, 1).await.unwrap(), Put::Kept);
    let back = vault.adopt(session.id(), Some(A), B).await.unwrap().unwrap();
    assert_eq!(back.write().unwrap(), session.write().unwrap());
}

pub(crate) async fn a_session_that_is_too_big_is_not_saved<V: Vault>(vault: Arc<V>) {
    let session = with_links(saved("g", 1, None), 2, limits::SAVED_BYTES);
    assert!(matches!(vault.put(&session, A, 1).await, Err(VaultError::TooBig(_))));
    assert_eq!(vault.find(session.id()).await.unwrap(), None);
}

pub(crate) async fn nothing_is_kept_for_ever<V: Vault>(vault: Arc<V>) {
    let session = saved("g", 1, Some("C-1"));
    assert_eq!(vault.put(&session, A, 1).await.unwrap(), Put::Kept);
    let gone = async {
        while vault.find(session.id()).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("it is let go of");
    assert_eq!(vault.of_visitor(&key("g", "C-1")).await.unwrap(), None);
    assert_eq!(vault.orphans(&session.group, &[], 9).await.unwrap(), []);
    assert_eq!(vault.hold_key(&[7; 32], session.id(), 1).await.unwrap(), Held::Held);
    let gone = async {
        while vault.find_key(&[7; 32]).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("the key is let go of");
    let other = SessionId::from_u128(9);
    assert_eq!(vault.hold_key(&[8; 32], other, 1).await.unwrap(), Held::Held, "it counts no more");
    assert!(vault.adopt(session.id(), Some(A), B).await.unwrap().is_none());
    assert_eq!(vault.put(&session, B, 1).await.unwrap(), Put::Kept, "nobody has it any more");
}
