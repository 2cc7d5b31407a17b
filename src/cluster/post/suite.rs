//! What every post owes: one suite for all implementations.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{FarFrame, Heard, Hearing, Letter, Mail, Mailbox, Post, WireId};
use crate::cluster::NodeId;
use crate::ids::SessionId;

pub(super) const A: NodeId = NodeId(0xa);
pub(super) const B: NodeId = NodeId(0xb);

/// What is awaited comes within this.
const DEADLINE: Duration = Duration::from_secs(20);

pub(super) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.unwrap_or_else(|_| panic!("{what}: did not happen"))
}

pub(super) async fn mail(mailbox: &mut Mailbox) -> (NodeId, Mail) {
    within("mail", mailbox.next()).await
}

/// The next letters, which must be these numbers of this sender in this order.
pub(super) async fn expect(mailbox: &mut Mailbox, from: NodeId, numbers: std::ops::Range<u64>) {
    for n in numbers {
        assert_eq!(mail(mailbox).await, (from, Mail::Letter(Letter::Closed(WireId(n)))));
    }
}

/// Awaits the word that a node is lost; drops letters before it.
pub(super) async fn expect_lost(mailbox: &mut Mailbox, node: NodeId) {
    while mail(mailbox).await != (node, Mail::Lost) {}
}

pub(super) fn send(post: &dyn Post, from: NodeId, to: NodeId, numbers: std::ops::Range<u64>) {
    numbers.for_each(|n| post.send(from, to, Letter::Closed(WireId(n))));
}

/// Hears a session's frames.
pub(super) fn ear(
    post: &dyn Post,
    node: NodeId,
    session: SessionId,
) -> (Hearing, mpsc::UnboundedReceiver<Heard>) {
    let (sender, heard) = mpsc::unbounded_channel();
    let sink = Arc::new(move |word| {
        let _gone = sender.send(word);
    });
    (post.hear_frames(node, session, sink), heard)
}

pub(super) fn frame(number: u64) -> FarFrame {
    FarFrame { term: 1, number, bytes: Bytes::from(vec![7; 100]) }
}

pub(super) async fn expect_open(heard: &mut mpsc::UnboundedReceiver<Heard>) {
    while !matches!(within("the ear opens", heard.recv()).await, Some(Heard::Open)) {}
}

pub(super) async fn expect_frame(heard: &mut mpsc::UnboundedReceiver<Heard>, number: u64) {
    match within("a frame", heard.recv()).await {
        Some(Heard::Frame(heard)) => assert_eq!(heard, frame(number)),
        other => panic!("{other:?} in place of frame {number}"),
    }
}

pub(super) async fn run(a: Arc<dyn Post>, b: Arc<dyn Post>) {
    let (mut at_a, at_b) = (a.enroll(A), b.enroll(B));
    let mut at_b = letters_arrive_in_order(&*a, &*b, &mut at_a, at_b).await;
    frames_are_heard_while_somebody_listens(&*a, &*b).await;
    // An answer shows that both know of each other.
    send(&*b, B, A, 0..1);
    expect(&mut at_a, B, 0..1).await;
    send(&*a, A, B, 0..1);
    expect(&mut at_b, A, 0..1).await;
    drop(at_b);
    expect_lost(&mut at_a, B).await;
    // Who writes to nobody is told as well.
    send(&*a, A, B, 0..1);
    expect_lost(&mut at_a, B).await;
    // Whom nobody can tell that all is over needs not be told.
    a.send(A, B, Letter::Reset);
    send(&*a, A, A, 5..6);
    expect(&mut at_a, A, 5..6).await;
}

async fn letters_arrive_in_order(
    a: &dyn Post,
    b: &dyn Post,
    at_a: &mut Mailbox,
    mut at_b: Mailbox,
) -> Mailbox {
    // The other one's mailbox has to be there first.
    loop {
        send(a, A, B, 0..1);
        match tokio::select! { at_b = mail(&mut at_b) => at_b, at_a = mail(at_a) => at_a } {
            (B, Mail::Lost) => tokio::task::yield_now().await,
            first => break assert_eq!(first, (A, Mail::Letter(Letter::Closed(WireId(0))))),
        }
    }
    send(a, A, B, 1..1_000);
    send(b, B, A, 0..1_000);
    expect(&mut at_b, A, 1..1_000).await;
    expect(at_a, B, 0..1_000).await;
    at_b
}

async fn frames_are_heard_while_somebody_listens(a: &dyn Post, b: &dyn Post) {
    let (one, two) = (SessionId::from_u128(1), SessionId::from_u128(2));
    let (hearing, mut heard) = ear(b, B, one);
    let (_other, mut other) = ear(b, B, two);
    expect_open(&mut heard).await;
    expect_open(&mut other).await;
    for number in 0..50 {
        a.send_frame(A, one, frame(number));
    }
    for number in 0..50 {
        expect_frame(&mut heard, number).await;
    }
    drop(hearing);
    a.send_frame(A, one, frame(50));
    a.send_frame(A, two, frame(51));
    expect_frame(&mut other, 51).await;
    assert!(heard.recv().await.is_none(), "nothing comes after the end");
}

#[tokio::test]
async fn memory_owes_all_of_it() {
    let post: Arc<dyn Post> = Arc::<super::memory::MemoryPost>::default();
    run(Arc::clone(&post), post).await;
}
