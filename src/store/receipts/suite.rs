//! The obligations of every [`ReceiptLog`], as tests over a factory. [`obligations!`] runs them all.

use std::sync::Arc;

use super::{Beginning, Cut, ReceiptLog, Seal};
use crate::auth::signing::SigningKey;
use crate::clock::Wall;
use crate::ids::{GroupId, ReceiptId, RequestId, SessionId, VisitorId};
use crate::limits;
use crate::model::receipt::{Consent, Link, Sealed, head, start, verify};
use crate::wire::visitor::SessionKind;

/// Declares a test per obligation: `obligations!(name, async || (log, what must outlive it))`.
macro_rules! obligations {
    ($name:ident, $fresh:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "a factory uses what it needs")]
            use super::*;

            crate::store::receipts::suite::obligations!(@each $fresh;
                receipts_make_one_whole_chain, concurrent_receipts_take_a_place_each,
                a_receipt_is_kept_once, groups_have_chains_of_their_own, the_oldest_are_let_go_of);
        }
    };
    (@each $fresh:expr; $($obligation:ident),*) => {
        $(
            #[tokio::test]
            async fn $obligation() {
                let (log, _keep) = ($fresh)().await;
                crate::store::receipts::suite::$obligation(std::sync::Arc::new(log)).await;
            }
        )*
    };
}
pub(crate) use obligations;

type Subject = Arc<dyn ReceiptLog>;

fn gid(name: &str) -> GroupId {
    GroupId::new(name).unwrap()
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[3; 32])
}

pub(crate) fn seal(group: &str, number: u64) -> Seal {
    let id = u128::from(number);
    let consent = Consent {
        id: ReceiptId::from_u128(id),
        group: gid(group),
        session: SessionId::from_u128(id),
        request: RequestId::from_u128(id),
        visitor: Some(VisitorId::new("C-1").unwrap()),
        guest: None,
        connection: "c1".into(),
        asked_by: "Alice".into(),
        agents: Vec::new(),
        kind: SessionKind::Screen,
        control: false,
        terms_version: "v1".into(),
        terms_hash: String::new(),
        displayed_at: None,
        accepted_at: Wall(number),
    };
    Arc::new(move |link: &Link| consent.seal(link, &key()))
}

/// The whole chain as a file.
async fn export(log: &Subject, group: &str) -> String {
    let (mut lines, mut after) = (Vec::new(), 0);
    lines.extend(log.beginning(&gid(group)).await.unwrap().map(|beginning| beginning.line));
    loop {
        let page: Vec<Sealed> = log.receipts(&gid(group), after).await.unwrap();
        assert!(page.len() <= limits::RECEIPT_PAGE);
        let Some(last) = page.last() else { break };
        after = last.number;
        lines.extend(page.into_iter().map(|sealed| sealed.line));
    }
    lines.push(head(&gid(group), &log.next_receipt(&gid(group)).await.unwrap(), Wall(9), &key()));
    lines.into_iter().map(|line| line + "\n").collect()
}

pub(crate) async fn receipts_make_one_whole_chain(log: Subject) {
    assert_eq!(log.next_receipt(&gid("a")).await.unwrap(), Link::first());
    let count = limits::RECEIPT_PAGE as u64 + 3;
    for number in 1..=count {
        let sealed = log.append_receipt(&gid("a"), seal("a", number)).await.unwrap();
        assert_eq!(sealed.number, number);
    }
    let verified = verify(export(&log, "a").await.as_bytes(), &[key().public()]).unwrap();
    assert_eq!((verified.count, verified.group), (count, gid("a")));
    let one = log.receipt(&gid("a"), ReceiptId::from_u128(2)).await.unwrap().unwrap();
    assert_eq!((one.number, one.at, one.session), (2, Wall(2), SessionId::from_u128(2)));
    assert_eq!(log.receipt(&gid("b"), ReceiptId::from_u128(2)).await.unwrap(), None);
}

pub(crate) async fn concurrent_receipts_take_a_place_each(log: Subject) {
    let visitors: Vec<_> = (1..=40)
        .map(|number| {
            let log = Arc::clone(&log);
            tokio::spawn(
                async move { log.append_receipt(&gid("a"), seal("a", number)).await.unwrap().number },
            )
        })
        .collect();
    let mut places = Vec::new();
    for visitor in visitors {
        places.push(visitor.await.unwrap());
    }
    places.sort_unstable();
    assert_eq!(places, (1..=40).collect::<Vec<_>>());
    assert_eq!(verify(export(&log, "a").await.as_bytes(), &[key().public()]).unwrap().count, 40);
}

pub(crate) async fn a_receipt_is_kept_once(log: Subject) {
    let first = log.append_receipt(&gid("a"), seal("a", 1)).await.unwrap();
    log.append_receipt(&gid("a"), seal("a", 2)).await.unwrap();
    assert_eq!(log.append_receipt(&gid("a"), seal("a", 1)).await.unwrap(), first);
    assert_eq!(log.next_receipt(&gid("a")).await.unwrap().number, 3);
}

pub(crate) async fn groups_have_chains_of_their_own(log: Subject) {
    for group in ["a", "b", "a"] {
        let number = log.next_receipt(&gid(group)).await.unwrap().number;
        let sealed = log.append_receipt(&gid(group), seal(group, number)).await.unwrap();
        assert_eq!(sealed.number, number);
    }
    assert_eq!(verify(export(&log, "a").await.as_bytes(), &[key().public()]).unwrap().count, 2);
    assert_eq!(verify(export(&log, "b").await.as_bytes(), &[key().public()]).unwrap().count, 1);
    assert_eq!(verify(export(&log, "c").await.as_bytes(), &[key().public()]).unwrap().count, 0);
}

pub(crate) fn cut(group: &str, at: u64) -> Cut {
    let group = gid(group);
    Arc::new(move |next: &Link| Beginning {
        count: next.number - 1,
        at: Wall(at),
        line: start(&group, next, Wall(at), &key()),
    })
}

pub(crate) async fn the_oldest_are_let_go_of(log: Subject) {
    let count = limits::RECEIPT_PAGE as u64 + 20;
    for number in 1..=count {
        // One whose clock was ahead keeps those behind it.
        let at = if number == count - 5 { count * 2 } else { number };
        log.append_receipt(&gid("a"), seal("a", at)).await.unwrap();
    }
    assert_eq!(log.let_receipts_go(&gid("a"), Wall(1), cut("a", 3)).await.unwrap(), 0);
    assert_eq!(log.beginning(&gid("a")).await.unwrap(), None);
    assert_eq!(log.let_receipts_go(&gid("b"), Wall(9), cut("b", 3)).await.unwrap(), 0);
    assert_eq!(log.let_receipts_go(&gid("a"), Wall(4), cut("a", 3)).await.unwrap(), 3);
    let verified = verify(export(&log, "a").await.as_bytes(), &[key().public()]).unwrap();
    assert_eq!((verified.count, verified.let_go), (count - 3, Some((3, Wall(3)))));
    assert_eq!(log.receipt(&gid("a"), ReceiptId::from_u128(3)).await.unwrap(), None);
    assert_eq!(log.next_receipt(&gid("a")).await.unwrap().number, count + 1);
    // In bounded steps, up to the one that is too young.
    let mut steps = Vec::new();
    loop {
        match log.let_receipts_go(&gid("a"), Wall(count), cut("a", 4)).await.unwrap() {
            0 => break,
            step => steps.push(step),
        }
    }
    assert_eq!(steps, [limits::RECEIPT_PAGE as u64, 11]);
    let verified = verify(export(&log, "a").await.as_bytes(), &[key().public()]).unwrap();
    assert_eq!((verified.count, verified.let_go), (6, Some((count - 6, Wall(4)))));
    // Nothing left, and the chain goes on where it was.
    assert_eq!(log.let_receipts_go(&gid("a"), Wall(u64::MAX >> 1), cut("a", 5)).await.unwrap(), 6);
    let next = log.next_receipt(&gid("a")).await.unwrap();
    assert_eq!(next.number, count + 1);
    assert_eq!(verify(export(&log, "a").await.as_bytes(), &[key().public()]).unwrap().count, 0);
    let sealed = log.append_receipt(&gid("a"), seal("a", 3 * count)).await.unwrap();
    assert_eq!((sealed.number, log.receipts(&gid("a"), 0).await.unwrap().len()), (count + 1, 1));
    assert_eq!(verify(export(&log, "a").await.as_bytes(), &[key().public()]).unwrap().count, 1);
}
