//! One visitor's life: it comes, stays, reloads, and comes back when its connection ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Message;

use crate::cli::load::messages::{self, VisitorHears};
use crate::cli::load::pace::Due;
use crate::cli::load::socket::{Fault, Heard, Socket, hear, patiently, say};

use super::{Crowd, Slot};

/// Why a visitor goes.
enum Leave {
    Stop,
    Reload(Instant),
    /// With the delay that the server told, if it did.
    Lost(Fault, Option<Duration>),
}

/// One visitor's life.
pub(super) async fn visit(crowd: Arc<Crowd>, due: Due) {
    let n = usize::try_from(due.n).expect("as many as slots");
    let slot = &crowd.slots[n];
    // Boxed, so that what connecting needs is freed before the visitor idles.
    let entered = Box::pin(patiently(crowd.enter(n))).await;
    match &entered {
        Ok(_) => {
            crowd.connects.since(due.at);
            crowd.present.fetch_add(1, Ordering::AcqRel);
        }
        Err(fault) => {
            crowd.failed.fetch_add(1, Ordering::AcqRel);
            crowd.errors.add(fault.cause());
            crowd.leave_slot(slot);
        }
    }
    // Counted last: whoever waits for everybody then sees the outcome too.
    crowd.settled.fetch_add(1, Ordering::AcqRel);
    crowd.all_settled.notify_one();
    let Ok(mut socket) = entered else { return };
    loop {
        let next = match crowd.stay(slot, &mut socket).await {
            Leave::Stop => return,
            Leave::Lost(fault, told) => Box::pin(crowd.come_back(n, fault, told)).await,
            Leave::Reload(due) => {
                let next = match Box::pin(patiently(crowd.reload(n, socket))).await {
                    Ok(again) => {
                        crowd.reloads.since(due);
                        Some(again)
                    }
                    Err(fault) => Box::pin(crowd.come_back(n, fault, None)).await,
                };
                crowd.end_move();
                next
            }
        };
        let Some(again) = next else { return };
        socket = again;
    }
}

impl Crowd {
    /// Present until something ends it.
    async fn stay(&self, slot: &Slot, socket: &mut Socket) -> Leave {
        let mut told = None;
        loop {
            tokio::select! {
                biased;
                () = slot.wake.notified() => {
                    if slot.stop.load(Ordering::Acquire) {
                        return Leave::Stop;
                    }
                    if slot.navigate.swap(false, Ordering::AcqRel) {
                        let moved = self.navigations.fetch_add(1, Ordering::AcqRel);
                        if let Err(fault) = say(socket, messages::navigate(moved)).await {
                            return Leave::Lost(fault, told);
                        }
                    }
                    match slot.reload_due.swap(0, Ordering::SeqCst) {
                        0 => {}
                        due => return Leave::Reload(self.start + Duration::from_micros(due)),
                    }
                }
                heard = hear::<VisitorHears>(socket) => match heard {
                    Ok(Heard::Text(VisitorHears::Error { code, .. })) => self.errors.add(format!("error {code}")),
                    Ok(Heard::Text(VisitorHears::Reconnect { after_ms })) => told = Some(Duration::from_millis(after_ms)),
                    Ok(_) => {}
                    Err(fault) => return Leave::Lost(fault, told),
                },
            }
        }
    }

    /// As a browser reloads a page: the old connection says goodbye and nobody waits for the answer.
    async fn reload(&self, n: usize, mut old: Socket) -> Result<Socket, Fault> {
        let _ = old.send(Message::Close(None)).await;
        drop(old);
        self.enter(n).await
    }

    /// The visitor's next connection after one that ended; none when it is lost.
    async fn come_back(&self, n: usize, fault: Fault, told: Option<Duration>) -> Option<Socket> {
        self.moving.fetch_add(1, Ordering::SeqCst);
        self.present.fetch_sub(1, Ordering::AcqRel);
        let back = self.comebacks.back("visitor", fault, told, || self.enter(n)).await;
        match &back {
            Ok(_) => {
                self.present.fetch_add(1, Ordering::AcqRel);
            }
            Err(fault) => {
                self.lost.fetch_add(1, Ordering::AcqRel);
                self.errors.add(fault.cause());
                self.leave_slot(&self.slots[n]);
            }
        }
        self.end_move();
        back.ok()
    }

    pub(super) fn end_move(&self) {
        self.moving.fetch_sub(1, Ordering::SeqCst);
        self.all_settled.notify_one();
    }
}
