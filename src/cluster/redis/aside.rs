//! What is told on a group's channel beside changes of visitors: that a session changed, and what visitors say to the
//! agents that watch them.
//!
//! A session is told of by its id alone, and whoever wants to know reads the vault. Messages are told as they are, one
//! after the other; nobody keeps them.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::Inner;
use super::entry::{self, Keys};
use crate::cluster::{DirectoryError, Hint, NodeId};
use crate::ids::{GroupId, SessionId, VisitorId, VisitorKey};
use crate::limits;

/// A message on its way: the channel, and what is said there.
pub(super) type Said = (String, Vec<u8>);

/// The teller's life.
pub(super) async fn run(inner: Arc<Inner>, mut said: mpsc::Receiver<Said>) {
    while let Some((channel, payload)) = said.recv().await {
        if inner.up().is_err() {
            continue;
        }
        if let Err(error) = inner.say(&channel, &payload).await {
            tracing::debug!(%error, "what a visitor said is not told to other nodes");
        }
    }
}

impl Inner {
    async fn say(&self, channel: &str, payload: &[u8]) -> Result<(), redis::RedisError> {
        let mut publish = redis::cmd("SPUBLISH");
        publish.arg(channel).arg(payload);
        let told = self.link.ask::<u64>(&publish);
        crate::redis::within(limits::DIRECTORY_ANSWER, told).await.map(drop)
    }

    pub(super) async fn tell_session(
        &self,
        group: &GroupId,
        session: SessionId,
    ) -> Result<(), DirectoryError> {
        let told = self.say(&Keys(group).presence(), format!("s {session}").as_bytes()).await;
        told.map_err(super::unreachable)
    }

    pub(super) fn pass_on(&self, node: NodeId, key: &VisitorKey, message: &Bytes) {
        let mut payload = format!("m {} {} ", entry::node_name(node), key.visitor).into_bytes();
        payload.extend_from_slice(message);
        if self.said.try_send((Keys(&key.group).presence(), payload)).is_err() {
            tracing::debug!(group = %key.group, "too much is said to be told to other nodes");
        }
    }

    /// Takes what was told on a group's channel, if it is no visitor's change.
    pub(super) fn hear_aside(&self, group: &GroupId, payload: &[u8]) -> bool {
        if let Some(session) = payload.strip_prefix(b"s ") {
            let session = std::str::from_utf8(session).ok().and_then(|id| SessionId::parse(id).ok());
            if let Some(session) = session {
                self.tell(Hint::Session(group.clone(), session));
            }
            return true;
        }
        let Some(said) = payload.strip_prefix(b"m ") else { return false };
        let mut words = said.splitn(3, |byte| *byte == b' ');
        let mut word = || words.next().and_then(|word| std::str::from_utf8(word).ok());
        let (Some(node), Some(visitor), Some(message)) = (word(), word(), word()) else { return true };
        let (node, visitor) = (entry::node_named(node), VisitorId::new(visitor));
        if let (Some(node), Ok(visitor)) = (node, visitor)
            && self.me().is_some_and(|me| me.node != node)
        {
            let key = VisitorKey { group: group.clone(), visitor };
            self.tell(Hint::Message(key, Bytes::copy_from_slice(message.as_bytes())));
        }
        true
    }
}
