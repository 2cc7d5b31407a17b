//! What the service manager is told (`sd_notify`): ready, reading again, stopping, and that the process is well.
//!
//! Decides what is said when. Where no manager listens (`NOTIFY_SOCKET`) nothing is said. Called by `serve`.

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::limits;

/// The service manager, if there is one.
pub(super) struct Manager {
    /// When signs of life are due; none where nobody waits for them.
    signs: Option<Interval>,
}

impl Manager {
    /// The one that started this process.
    pub(super) fn of_process() -> Self {
        let signs = sd_notify::watchdog_enabled().map(|patience| {
            let mut signs = interval(patience / limits::WATCHDOG_SIGNS);
            signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
            signs
        });
        Self { signs }
    }

    /// The doors are open.
    pub(super) fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// The settings are read again; `ready` follows.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => {
                tracing::debug!(%error, "there is no monotonic clock to tell the service manager of")
            }
        }
    }

    /// The drain begins.
    pub(super) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// Waits until a sign of life is due and gives it, if a task gets its turn: a runtime whose workers all hang is
    /// not well. Never ends where nobody waits for signs.
    pub(super) async fn sign(&mut self) {
        let Some(signs) = &mut self.signs else { return std::future::pending().await };
        signs.tick().await;
        if tokio::spawn(async {}).await.is_ok() {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "can't tell the service manager");
    }
}
