//! How much of everything is used, looked at again and again, and what probes are told of it.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::http::{Health, PartState};
use crate::hub::Hub;
use crate::limits;
use crate::room::Supply;

/// A node and what it may hold.
pub(super) struct Supplies {
    pub hub: Arc<Hub>,
    /// WebSockets at most.
    pub sockets: usize,
}

impl Supplies {
    /// A node that refuses new work leaves rotation until it has room again.
    pub(super) fn watched_by(&self, health: &Health) {
        for supply in Supply::ALL {
            let room = Arc::clone(self.hub.room());
            health.watch(supply.name(), move || match room.is_short_of(supply) {
                true => PartState::Down(supply.shortage()),
                false => PartState::Ok,
            });
        }
    }

    /// Looks until `ended`.
    pub(super) async fn watch(self, ended: CancellationToken) {
        let mut tick = tokio::time::interval(limits::ROOM_LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                _ = tick.tick() => {}
            }
            let room = self.hub.room();
            room.look(Supply::Connections, self.hub.registry().len() as u64, self.sockets as u64);
            room.look_at_process();
        }
    }
}
