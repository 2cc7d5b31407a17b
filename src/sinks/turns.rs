//! Whose turn it is to run the sync, where several nodes could.
//!
//! Decides that a runner works only while its node holds the lease, and that nothing of it goes on when the lease is
//! lost: followers, runs and answers end before another node may begin. A runner that has no turn hands its
//! operators' questions to the one that has.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::desk::{Desk, Taken};
use super::runner::Runner;
use crate::ids::GroupId;
use crate::limits;
use crate::redis::Link;
use crate::redis::lease::{Lease, Term};
use crate::store::StoreError;
use crate::store::sync::SinkRow;

/// The lease of whoever runs the sync, and trims, and the way to that node.
#[derive(Debug, Clone)]
pub struct Turns {
    lease: Arc<Lease>,
    desk: Desk,
}

impl Turns {
    /// The turns of the nodes that share a Redis, by a lease of this name.
    pub fn new(lease: Arc<Lease>, link: Link, name: &str) -> Self {
        Self { lease, desk: Desk::new(link, name) }
    }
}

impl Runner {
    /// Works whenever it is this node's turn; ends when nobody can ask it any more.
    pub(super) async fn in_turns(mut self, turns: Turns) {
        while let Some(term) = self.wait(&turns).await {
            tracing::info!(lease = term.number(), "this node runs the sync");
            self.take_over(term.number());
            let ended = term.during(self.rounds(Some(&turns.desk))).await;
            self.let_go().await;
            if ended.is_some() {
                return;
            }
            tracing::info!(lease = term.number(), "this node does not run the sync any more");
        }
    }

    /// Waits for the next turn, and hands on what is asked meanwhile; none when nobody can ask any more.
    async fn wait(&mut self, turns: &Turns) -> Option<Term> {
        let mut questions = JoinSet::new();
        let term = loop {
            tokio::select! {
                biased;
                term = turns.lease.gained() => break Some(term),
                Some(_) = questions.join_next() => {}
                call = self.calls.recv(), if questions.len() < limits::SYNC_CALLS => match call {
                    Some(call) => {
                        let desk = turns.desk.clone();
                        questions.spawn(async move { desk.forward(call).await });
                    }
                    None => break None,
                },
            }
        };
        // What was asked elsewhere is answered from there, or by this very node from its desk.
        questions.detach_all();
        term
    }

    /// Takes up what other nodes ask.
    pub(super) async fn take_questions(&mut self, desk: &Desk) {
        match desk.take(&*self.work.lanes.store).await {
            Ok(questions) => {
                for Taken { call, reply } in questions {
                    self.tasks.spawn(reply.carry());
                    self.answer(call).await;
                }
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "questions to the sync wait");
            }
        }
    }

    /// Follows those groups anew whose sinks are others than those that are followed: a node that changed them may
    /// have died before it told.
    pub(super) async fn look_at_sinks(&mut self) {
        if let Err(error) = self.follow_changed().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the sync cannot read its sinks");
        }
    }

    async fn follow_changed(&mut self) -> Result<(), StoreError> {
        let mut found: HashMap<GroupId, Vec<SinkRow>> =
            self.followed.keys().map(|group| (group.clone(), Vec::new())).collect();
        for row in self.work.lanes.store.sinks(None).await? {
            found.entry(row.sink.group.clone()).or_default().push(row);
        }
        for (group, rows) in found {
            if self.followed.get(&group).map_or(&[][..], |rows| rows) != rows {
                self.follow(&group).await?;
            }
        }
        Ok(())
    }
}
