//! Who is up, as the last beat told: what an entry's home is worth, and what changed since the beat before.
//!
//! Decides without I/O. A node is *sure* while enough of its lease is left, in *doubt* when little is, and *gone*
//! when nothing is or it left. A node begins a new epoch when its lease had ended, or Redis had been away or had
//! forgotten; until it has told all its visitors anew it is not *settled*, and what it told in an older epoch is in
//! doubt. A node that vanishes from the table without its end was forgotten by Redis, and is waited for.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Wall;
use crate::cluster::{Neighbour, NodeFacts, NodeId};
use crate::limits;

/// One of a node's terms of speaking for visitors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Term {
    /// The node.
    pub(super) node: NodeId,
    /// Which of its terms.
    pub(super) epoch: u64,
}

impl std::fmt::Display for Term {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", super::entry::node_name(self.node), self.epoch)
    }
}

/// A node as a beat told of it.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Its term.
    pub(super) term: Term,
    /// What is left of its lease.
    pub(super) left: Duration,
    /// Whether it has told all its visitors in this term.
    pub(super) settled: bool,
    /// Whether it is on its way out.
    pub(super) draining: bool,
    /// The rest.
    pub(super) facts: NodeFacts,
}

/// How far a node can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// What it told is so.
    Sure,
    /// It may be so, since when.
    Doubt(Wall),
    /// It is not so: nobody speaks for it any more.
    Gone,
    /// The table is too old to tell.
    Stranger,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Sure,
    Short,
    Unsettled,
    Gone,
}

#[derive(Debug)]
struct Known {
    row: Row,
    mood: Mood,
    /// When the mood began, or the last beat, if it is that which is missed.
    since: Wall,
}

/// What a beat brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Nodes that are up no more.
    pub(super) gone: Vec<NodeId>,
    /// Whether other words about visitors follow than before.
    pub(super) moved: bool,
}

/// The other nodes.
#[derive(Debug)]
pub(super) struct Table {
    lease: Duration,
    nodes: HashMap<NodeId, Known>,
    /// Forgotten by Redis: waited for until then.
    lost: HashMap<NodeId, (Instant, Wall)>,
}

impl Table {
    /// Knows nobody.
    pub(super) fn new(lease: Duration) -> Self {
        Self { lease, nodes: HashMap::new(), lost: HashMap::new() }
    }

    /// Takes what a beat told of the other nodes.
    pub(super) fn take(&mut self, rows: Vec<Row>, now: Instant, wall: Wall) -> News {
        let mut news = News::default();
        let mut before = std::mem::take(&mut self.nodes);
        for row in rows {
            let known = before.remove(&row.term.node);
            news.moved |= self.lost.remove(&row.term.node).is_some();
            let mood = self.mood(&row);
            let since = match (&known, mood) {
                (_, Mood::Short) => wall.before(self.lease.saturating_sub(row.left)),
                (Some(known), _) if known.mood == mood && known.row.term == row.term => known.since,
                _ => wall,
            };
            match &known {
                Some(known) => {
                    if mood == Mood::Gone && known.mood != Mood::Gone {
                        news.gone.push(row.term.node);
                    }
                    news.moved |= known.mood != mood || known.row.term != row.term;
                }
                None => news.moved |= mood != Mood::Gone,
            }
            self.nodes.insert(row.term.node, Known { row, mood, since });
        }
        for (node, known) in before {
            if known.mood != Mood::Gone {
                self.lost.insert(node, (now + self.lease, wall));
                news.moved = true;
            }
        }
        let over: Vec<NodeId> =
            self.lost.iter().filter(|(_, (until, _))| *until <= now).map(|(node, _)| *node).collect();
        for node in over {
            self.lost.remove(&node);
            news.gone.push(node);
            news.moved = true;
        }
        news.gone.sort_unstable();
        news
    }

    fn mood(&self, row: &Row) -> Mood {
        if row.left.is_zero() {
            Mood::Gone
        } else if !row.settled {
            Mood::Unsettled
        } else if row.left < self.lease * limits::NODE_DOUBT_TENTHS / 10 {
            Mood::Short
        } else {
            Mood::Sure
        }
    }

    /// What an entry of a node's term is worth.
    pub(super) fn standing(&self, term: Term) -> Standing {
        if let Some((_, since)) = self.lost.get(&term.node) {
            return Standing::Doubt(*since);
        }
        let Some(known) = self.nodes.get(&term.node) else { return Standing::Stranger };
        match (known.mood, term.epoch.cmp(&known.row.term.epoch)) {
            (_, std::cmp::Ordering::Greater) => Standing::Stranger,
            (Mood::Gone, _) => Standing::Gone,
            (Mood::Short, std::cmp::Ordering::Equal) => Standing::Doubt(known.since),
            (_, std::cmp::Ordering::Equal) => Standing::Sure,
            (Mood::Unsettled, _) => Standing::Doubt(known.since),
            (_, std::cmp::Ordering::Less) => Standing::Gone,
        }
    }

    /// Since when somebody may have visitors of whom nothing can be read.
    pub(super) fn doubt(&self) -> Option<Wall> {
        let unsettled = self.nodes.values().filter(|known| known.mood == Mood::Unsettled);
        unsettled.map(|known| known.since).chain(self.lost.values().map(|(_, since)| *since)).min()
    }

    /// Whether a node wants to be rid of its visitors.
    pub(super) fn is_draining(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|known| known.row.draining)
    }

    /// The nodes that are up; `age` is how old the table is.
    pub(super) fn up(&self, age: Duration) -> Vec<Neighbour> {
        let up = self.nodes.values().filter(|known| known.mood != Mood::Gone);
        up.map(|known| {
            let facts = NodeFacts { draining: known.row.draining, ..known.row.facts.clone() };
            Neighbour { facts, left: known.row.left.saturating_sub(age) }
        })
        .filter(|neighbour| !neighbour.left.is_zero())
        .collect()
    }

    /// The lowest name of those that are up, to choose one by.
    pub(super) fn first(&self) -> Option<NodeId> {
        self.nodes.values().filter(|known| known.mood != Mood::Gone).map(|known| known.row.term.node).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    fn term(node: u128, epoch: u64) -> Term {
        Term { node: NodeId(node), epoch }
    }

    fn row(term: Term, left: u64, settled: bool) -> Row {
        let facts = NodeFacts {
            node: term.node,
            version: "1".into(),
            started: Wall(0),
            draining: false,
            connections: [0; 3],
            visitors: 0,
            sessions: 0,
        };
        Row { term, left: Duration::from_secs(left), settled, draining: false, facts }
    }

    #[test]
    fn a_lease_runs_out_over_doubt() {
        let (mut table, now) = (Table::new(LEASE), Instant::now());
        assert_eq!(table.standing(term(1, 1)), Standing::Stranger);
        let steps = [
            (10, Standing::Sure, true, vec![]),
            (9, Standing::Sure, false, vec![]),
            (6, Standing::Sure, false, vec![]),
            (5, Standing::Doubt(Wall(95_000)), true, vec![]),
            (10, Standing::Sure, true, vec![]),
            (3, Standing::Doubt(Wall(93_000)), true, vec![]),
            (0, Standing::Gone, true, vec![NodeId(1)]),
            (0, Standing::Gone, false, vec![]),
        ];
        for (left, standing, moved, gone) in steps {
            let news = table.take(vec![row(term(1, 1), left, true)], now, Wall(100_000));
            assert_eq!(news, News { gone, moved }, "{left}");
            assert_eq!(table.standing(term(1, 1)), standing, "{left}");
            assert_eq!(table.up(Duration::ZERO).len(), usize::from(left > 0));
        }
        assert_eq!(table.doubt(), None);
    }

    #[test]
    fn what_an_older_epoch_told_is_in_doubt_until_the_node_has_settled() {
        let (mut table, now) = (Table::new(LEASE), Instant::now());
        table.take(vec![row(term(1, 1), 10, true)], now, Wall(1));
        assert!(table.take(vec![row(term(1, 2), 10, false)], now, Wall(2)).moved);
        table.take(vec![row(term(1, 2), 10, false)], now, Wall(3));
        assert_eq!(table.standing(term(1, 1)), Standing::Doubt(Wall(2)));
        assert_eq!(table.standing(term(1, 2)), Standing::Sure);
        assert_eq!(table.standing(term(1, 3)), Standing::Stranger);
        assert_eq!(table.doubt(), Some(Wall(2)));
        assert!(table.take(vec![row(term(1, 2), 10, true)], now, Wall(4)).moved);
        assert_eq!(table.standing(term(1, 1)), Standing::Gone);
        assert_eq!(table.doubt(), None);
    }

    #[test]
    fn who_was_forgotten_is_waited_for() {
        let (mut table, now) = (Table::new(LEASE), Instant::now());
        table.take(vec![row(term(1, 1), 10, true), row(term(2, 1), 10, true)], now, Wall(1));
        assert_eq!(table.take(vec![], now, Wall(2)), News { gone: vec![], moved: true });
        assert_eq!(table.standing(term(1, 1)), Standing::Doubt(Wall(2)));
        assert_eq!(table.doubt(), Some(Wall(2)));
        // One comes back, the other does not.
        assert!(table.take(vec![row(term(1, 2), 10, false)], now, Wall(3)).moved);
        let later = now + LEASE;
        assert_eq!(table.take(vec![row(term(1, 2), 10, true)], later, Wall(4)).gone, [NodeId(2)]);
        assert_eq!(table.standing(term(2, 1)), Standing::Stranger);
        assert_eq!(table.doubt(), None);
    }
}
