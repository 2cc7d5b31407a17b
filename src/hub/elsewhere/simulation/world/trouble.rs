//! What goes wrong, as chance has it, and how it is well again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Page, World, name_of};
use crate::cluster::NodeId;
use crate::hub::elsewhere::simulation::node::Node;
use crate::ids::ConnectionId;
use crate::redis::played::net::KINDS;

/// What will be well again.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    Still,
    Down { forgets: bool },
    Line(NodeId),
}

impl World {
    /// Some time, seldom this long.
    fn later(&self, long: u64, trouble: Trouble) {
        let most = if self.chance().once_in(3) { long } else { 2_500 };
        let until = Instant::now() + Duration::from_millis(200) + self.chance().millis(most);
        self.trouble.lock().push((until, trouble));
    }

    fn redis_harmed(&self) {
        *self.well.lock() = Instant::now();
    }

    pub(super) fn harm(self: &Arc<Self>) {
        let node = self.any();
        let name = name_of(node.id);
        let harmed = |node: &Node| *node.well.lock() = Instant::now();
        let is_redis_harmed =
            self.trouble.lock().iter().any(|(_, trouble)| !matches!(trouble, Trouble::Line(_)));
        match self.chance().below(20) {
            0..5 => {
                let (there, back) = match self.chance().below(4) {
                    0 => (true, false),
                    1 => (false, true),
                    _ => (true, true),
                };
                self.note(format_args!("{name} is cut off: there {there}, back {back}"));
                node.line.cut(there, back);
                harmed(&node);
                self.later(20_000, Trouble::Line(node.id));
            }
            5..8 => {
                let which = self.chance().below(KINDS as u64) as usize;
                self.note(format_args!("{name} loses connection {which}"));
                node.line.reset(which);
                harmed(&node);
            }
            8..10 => {
                let most = 10 + self.chance().below(1_500);
                self.note(format_args!("{name} is slow, up to {most} ms"));
                node.line.slow(most);
                harmed(&node);
                self.later(10_000, Trouble::Line(node.id));
            }
            10 => {
                self.note(format_args!("{name} hears with little room"));
                node.line.narrow(1);
                node.line.reset(1);
                node.line.reset(2);
                harmed(&node);
            }
            11..14 => {
                self.note(format_args!("{name} dies"));
                node.die();
                self.node_starts();
            }
            14 => {
                let ahead = 7_200_000 - self.chance().below(14_400_000) as i64;
                self.note(format_args!("the clock of {name} is set, {ahead} ms ahead"));
                node.ahead.store(ahead, Ordering::Relaxed);
            }
            15 => self.drain(&node),
            _ if is_redis_harmed => {}
            16 => {
                self.note(format_args!("Redis stands still"));
                self.server.stand(true);
                self.redis_harmed();
                self.later(15_000, Trouble::Still);
            }
            17 => {
                let forgets = self.chance().once_in(3);
                self.note(format_args!("Redis dies, and will have forgotten: {forgets}"));
                self.server.die();
                self.redis_harmed();
                self.later(15_000, Trouble::Down { forgets });
            }
            18 => {
                let ahead = 60_000 - self.chance().below(120_000) as i64;
                self.note(format_args!("the clock of Redis is set, {ahead} ms ahead"));
                self.server.set_clock(ahead);
                self.redis_harmed();
            }
            _ => {}
        }
    }

    /// Replaces a node: its tabs go one by one, some quickly, some in the time that a drain with many takes.
    pub(super) fn drain(self: &Arc<Self>, node: &Arc<Node>) {
        if self.up().iter().filter(|node| !node.is_draining()).count() < 3 {
            return;
        }
        self.note(format_args!("{} drains", name_of(node.id)));
        let (world, node) = (Arc::clone(self), Arc::clone(node));
        tokio::spawn(async move {
            node.drains().await;
            let pages: Vec<(ConnectionId, Page)> = {
                let pages = world.pages.lock();
                let on_it = |page: &Page| page.edge == node.id || page.home == Some(node.id);
                pages.iter().filter(|(_, page)| on_it(page)).map(|(tab, page)| (*tab, page.clone())).collect()
            };
            let pause = if world.chance().once_in(2) { 200 } else { 3_000 };
            for (tab, page) in pages {
                sleep(world.chance().millis(pause)).await;
                world.comes_back(tab, page.clone());
                sleep(world.chance().millis(200)).await;
                if let Some(home) = page.home.and_then(|home| world.find(home)) {
                    home.lose(&page.key, tab);
                }
            }
            node.lost(|_| true);
            node.ends().await;
            if !node.is_dead() {
                world.note(format_args!("{} ends", name_of(node.id)));
                node.die();
                world.node_starts();
            }
        });
    }

    /// What was to last until now is well again, or all is.
    pub(super) fn mend(&self, all: bool) {
        let now = Instant::now();
        let (over, rest) = std::mem::take(&mut *self.trouble.lock())
            .into_iter()
            .partition::<Vec<_>, _>(|(until, _)| all || *until <= now);
        *self.trouble.lock() = rest;
        for (_, trouble) in over {
            self.note(format_args!("over: {trouble:?}"));
            match trouble {
                Trouble::Still => {
                    self.server.stand(false);
                    self.redis_harmed();
                }
                Trouble::Down { forgets } => {
                    self.server.start(forgets);
                    self.redis_harmed();
                }
                Trouble::Line(id) => {
                    let Some(node) = self.find(id) else { continue };
                    for which in 0..KINDS {
                        if self.chance().once_in(2) {
                            node.line.reset(which);
                        }
                    }
                    node.line.narrow(usize::MAX);
                    node.line.heal();
                    *node.well.lock() = now;
                }
            }
        }
        if all {
            for node in self.up() {
                node.line.narrow(usize::MAX);
            }
        }
    }
}
