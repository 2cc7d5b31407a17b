//! The laws, looked at all the time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::Near;
use super::node::Node;
use super::times;
use super::world::{World, everybody, name_of};
use crate::cluster::NodeId;
use crate::ids::VisitorKey;
use crate::model::visitor::State;
use crate::redis::played::net::Phase;

/// Where a visitor is, who said so last, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    homes: Vec<(NodeId, State)>,
    said: Option<NodeId>,
    since: Instant,
}

/// What is known of the truth.
#[derive(Default)]
pub(super) struct Laws {
    places: BTreeMap<VisitorKey, Place>,
}

impl Laws {
    pub(super) fn check(&mut self, world: &World) {
        let (now, up) = (Instant::now(), world.up());
        for key in everybody() {
            let homes: Vec<(NodeId, State)> = up
                .iter()
                .filter_map(|node| {
                    let state = node.tracker.snapshot(&key).map(|word| word.state())?;
                    Some((node.id, state))
                })
                .collect();
            let place =
                self.places.entry(key.clone()).or_insert(Place { homes: Vec::new(), said: None, since: now });
            let said = world.diary.said.lock().get(&key).copied();
            if place.homes != homes || said.is_some_and(|(_, at)| at > place.since) {
                *place = Place { homes, said: said.map(|(node, _)| node), since: now };
            }
        }
        let redis = (world.server.phase() == Phase::Up).then(|| *world.well.lock());
        // Since when a node and Redis have been well.
        let well = |node: &Node| {
            let since = (*node.well.lock()).max(redis?);
            node.line.is_whole().then_some(since)
        };
        let told_absent = std::mem::take(&mut *world.diary.told_absent.lock());
        for node in &up {
            self.tells_the_truth(world, node, &up, now, &well, &told_absent);
        }
        self.one_home(world, &up, now, &well);
        for node in &up {
            let waiting = node.redis.waiting();
            let most = everybody().len();
            if waiting.iter().any(|waiting| *waiting > most) {
                world.diary.broken(format_args!("{} keeps {waiting:?}", name_of(node.id)));
            }
        }
    }

    fn tells_the_truth(
        &self,
        world: &World,
        node: &Arc<Node>,
        up: &[Arc<Node>],
        now: Instant,
        well: &impl Fn(&Node) -> Option<Instant>,
        told_absent: &[(NodeId, VisitorKey)],
    ) {
        let name = name_of(node.id);
        let ledger = node.ledger.lock().clone();
        let cut_off = node.line.cut_off().filter(|since| since.elapsed() > times::SILENT);
        for (key, told) in &ledger {
            let place = &self.places[key];
            let visitor = &key.visitor;
            let seems_here = matches!(told.state, State::Present | State::Hidden);
            if seems_here && cut_off.is_some() && !node.is_here(key) {
                world.diary.broken(format_args!("{name} hears nobody, and {visitor} is {:?}", told.state));
            }
            let Some(well_here) = well(node) else { continue };
            let for_long = |since: Instant, long: Duration| now.duration_since(since) > long;
            // A beat of the dead that was under way renews its lease.
            let over = well_here.max(place.since).max(world.server.late());
            if place.homes.is_empty() && seems_here && for_long(over, times::GONE) {
                world.diary.broken(format_args!("{visitor} is gone, and {name} says {:?}", told.state));
            }
            // Who is at one node that is well.
            let Some((home, state)) = spoken_for(place, up) else { continue };
            let Some(well_there) = well(home) else { continue };
            let all_well = well_here.max(well_there);
            if for_long(all_well, times::TRUE) && for_long(place.since, times::PROMPT) && told.state != state
            {
                let (home, told) = (name_of(home.id), told.state);
                world
                    .diary
                    .broken(format_args!("{visitor} is {state:?} on {home}, and {name} still says {told:?}"));
            }
            if home.is_draining() {
                continue;
            }
            let since = all_well.max(place.since);
            if for_long(since, times::SETTLED) && told_absent.contains(&(node.id, key.clone())) {
                let home = name_of(home.id);
                world.diary.broken(format_args!("{visitor} is on {home}, and {name} told that it is absent"));
            }
            if for_long(since, times::TRUE) && told.state != state {
                let home = name_of(home.id);
                let told = told.state;
                world
                    .diary
                    .broken(format_args!("{visitor} is {state:?} on {home}, and {name} says {told:?}"));
            }
        }
    }

    fn one_home(
        &self,
        world: &World,
        up: &[Arc<Node>],
        now: Instant,
        well: &impl Fn(&Node) -> Option<Instant>,
    ) {
        for (key, place) in &self.places {
            let is_well = |home: &NodeId| {
                let node = up.iter().find(|node| node.id == *home);
                let since = node.filter(|node| !node.is_draining()).and_then(|node| well(node));
                since.is_some_and(|since| now.duration_since(since.max(place.since)) > times::TRUE)
            };
            let homes: Vec<String> = place
                .homes
                .iter()
                .filter(|(home, _)| is_well(home))
                .map(|(home, _)| name_of(*home))
                .collect();
            if homes.len() > 1 {
                world.diary.broken(format_args!("{} is at home on {homes:?}", key.visitor));
            }
        }
    }
}

/// The node that speaks for a visitor, where there is no doubt of that, and how the visitor is there. A node that drains
/// may still hold one who has moved, and nobody else one who has moved and gone.
fn spoken_for<'a>(place: &Place, up: &'a [Arc<Node>]) -> Option<(&'a Arc<Node>, State)> {
    let find = |home: NodeId| up.iter().find(|node| node.id == home);
    let homes: Vec<_> =
        place.homes.iter().filter_map(|(home, state)| find(*home).map(|node| (node, *state))).collect();
    let staying: Vec<_> = homes.iter().copied().filter(|(node, _)| !node.is_draining()).collect();
    match (&staying[..], &homes[..]) {
        ([one], _) => Some(*one),
        ([], [one]) if place.said == Some(one.0.id) => Some(*one),
        _ => None,
    }
}

/// At the end all say the same, and it is so.
pub(super) async fn agree(world: &World) {
    let up = world.up();
    for node in &up {
        for key in everybody() {
            let homes: Vec<(String, State, u64)> = up
                .iter()
                .filter_map(|node| {
                    let word = node.tracker.snapshot(&key)?;
                    Some((name_of(node.id), word.state(), word.version()))
                })
                .collect();
            let truth = homes.first().map_or(State::Absent, |(_, state, _)| *state);
            let (name, visitor) = (name_of(node.id), &key.visitor);
            if homes.len() > 1 {
                world.diary.broken(format_args!("in the end {visitor} is at home on {homes:?}"));
            }
            // Whoever was there for agents, and those who are asked for now.
            if let Some(told) = node.ledger.lock().get(&key)
                && told.state != truth
            {
                let told = told.state;
                world
                    .diary
                    .broken(format_args!("in the end {visitor} is {homes:?}, and {name} told {told:?}"));
            } else if truth != State::Absent
                && node.wishes.lock().shown.contains(&key.group)
                && !node.ledger.lock().contains_key(&key)
            {
                world
                    .diary
                    .broken(format_args!("in the end {visitor} is {homes:?}, and {name} told nothing"));
            }
            let found = super::super::lookup(node, &key.group, std::slice::from_ref(&key.visitor)).await;
            if found[0].state() != truth {
                let found = found[0].state();
                world.note(format_args!("{name} knows {}", node.redis.table()));
                world
                    .diary
                    .broken(format_args!("in the end {visitor} is {homes:?}, and {name} finds {found:?}"));
            }
            // It may be greater: what tells a home that it is behind is lost with its subscription, and its next word goes
            // above all the same.
            if let Some((_, _, version)) = homes.first()
                && found[0].version() < *version
            {
                let found = found[0].version();
                world
                    .diary
                    .broken(format_args!("in the end {visitor} is {homes:?}, and {name} finds {found}"));
            }
        }
    }
}
