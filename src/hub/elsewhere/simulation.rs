//! Five nodes, one Redis, and everything that can go wrong between them, by one seed.
//!
//! Real are the directory with its scripts, the presence of visitors and what agents are told of those elsewhere.
//! Played are Redis, the network, the clocks, the visitors and the agents. One thread, time that jumps from one event
//! to the next and one source of chance make every run repeatable: `PORCHLIGHT_SEED=7` replays a seed and prints what
//! happened, `PORCHLIGHT_SEEDS=5000` runs so many.

mod laws;
mod node;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use self::world::World;
use crate::redis::played::Patch;

/// What came of a seed.
struct Outcome {
    /// Of everything that happened, in order.
    hash: u64,
    /// How many events that were.
    events: usize,
    /// The law that was broken, and how it came to that.
    broken: Option<String>,
}

fn run(seed: u64, patch: Option<Patch>) -> Outcome {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = World::new(seed, patch);
        world.live().await;
        world.outcome()
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// A mistake that whoever runs the tests wants to make: `PORCHLIGHT_SAYS` is what scripts say, `PORCHLIGHT_INSTEAD`
/// what they are made to say.
fn wanted_mistake() -> Option<Patch> {
    let text = |name: &str| std::env::var(name).ok().map(|text| &*text.leak());
    Some(Patch { says: text("PORCHLIGHT_SAYS")?, instead: text("PORCHLIGHT_INSTEAD").unwrap_or_default() })
}

/// Runs seeds on all cores, and returns those that broke a law, with what they broke.
fn search(seeds: std::ops::Range<u64>, patch: Option<Patch>, enough: usize) -> BTreeMap<u64, String> {
    let (next, failed) = (AtomicU64::new(seeds.start), Mutex::new(BTreeMap::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.lock().len() >= enough {
                        return;
                    }
                    if let Some(broken) = run(seed, patch).broken {
                        failed.lock().insert(seed, broken);
                    }
                }
            });
        }
    });
    failed.into_inner()
}

#[test]
fn laws_hold_whatever_goes_wrong() {
    let mistake = wanted_mistake();
    if let Some(seed) = number("PORCHLIGHT_SEED") {
        if let Some(broken) = run(seed, mistake).broken {
            panic!("seed {seed}: {broken}");
        }
        return;
    }
    let count = number("PORCHLIGHT_SEEDS").unwrap_or(SEEDS);
    let first = number("PORCHLIGHT_FIRST_SEED").unwrap_or(1);
    let failed = search(first..first + count, mistake, 20);
    let said: Vec<String> = failed
        .iter()
        .map(|(seed, broken)| {
            let first = broken.lines().next().unwrap_or_default();
            format!("PORCHLIGHT_SEED={seed} replays: {first}")
        })
        .collect();
    assert!(failed.is_empty(), "laws were broken\n{}", said.join("\n"));
}

#[test]
fn a_seed_says_all_that_happens() {
    let (one, again, other) = (run(3, None), run(3, None), run(4, None));
    assert!(one.events > 500, "{} events", one.events);
    assert_eq!((one.hash, one.events), (again.hash, again.events));
    assert_ne!(one.hash, other.hash);
}

/// A mistake in a script, which the laws are to catch.
struct Mistake {
    name: &'static str,
    /// A seed that shows it, if chance still is what it was.
    seed: u64,
    patch: Patch,
}

const MISTAKES: [Mistake; 5] = [
    Mistake {
        name: "whoever writes is home",
        seed: 2,
        patch: Patch { says: "elseif home .. ':' .. term == over then", instead: "elseif true then" },
    },
    Mistake {
        name: "a claim takes over from whoever is up",
        seed: 1,
        patch: Patch {
            says: "if home ~= node and home .. ':' .. term ~= over then",
            instead: "if false then",
        },
    },
    Mistake {
        name: "time in which nobody could beat counts",
        seed: 10,
        patch: Patch { says: "if last > 0 and math.abs(now - last) > gap then", instead: "if false then" },
    },
    Mistake {
        name: "a clock that is set back wakes the dead",
        seed: 36,
        patch: Patch { says: "elseif row.ends > now then", instead: "elseif false then" },
    },
    Mistake {
        name: "a late claim of an earlier term counts",
        seed: 29,
        patch: Patch { says: "tonumber(term) >= tonumber(epoch) then", instead: "term == epoch then" },
    },
];

#[test]
fn mistakes_are_caught() {
    let scripts = ["beat", "claim", "put", "sweep"].map(|name| {
        let path = format!("{}/src/cluster/redis/lua/{name}.lua", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    });
    let mut missed = Vec::new();
    for Mistake { name, seed, patch } in MISTAKES {
        assert!(scripts.iter().any(|script| script.contains(patch.says)), "{name}: nothing says so");
        if search(seed..seed + MISTAKEN, Some(patch), 1).is_empty() {
            missed.push(name);
        }
    }
    assert!(missed.is_empty(), "{MISTAKEN} seeds do not show these: {missed:?}");
}

/// Seeds of every run of the tests.
const SEEDS: u64 = 16;

/// Seeds that are enough to show a mistake.
const MISTAKEN: u64 = 40;

/// How long things may take, by the server's own numbers: a lease of 10 s, a beat each second, which is given up after 2 s
/// without an answer; and half a second for what has to be read and written then.
mod times {
    use super::Duration;

    /// A node that died, or fell silent, is absent for others that hear Redis: the lease, and the next beat.
    pub(super) const GONE: Duration = Duration::from_millis(11_500);
    /// Nobody stays `present` for a node that has not heard Redis for this long: half a lease, the next beat, and an answer
    /// that does not come.
    pub(super) const SILENT: Duration = Duration::from_millis(8_000);
    /// After everything is well again, nobody is told `absent` of who is here: a lost answer is given up, the home's next
    /// beat renews its lease and tells all anew, and the others' next beat tells them so.
    pub(super) const SETTLED: Duration = Duration::from_millis(4_500);
    /// After everything is well again, two that hear each other tell the truth of each other: a subscription whose
    /// confirmation was lost is given up after 5 s, made again after another 2 s, and then what was missed is read, after
    /// a second once more if the first try was too early.
    pub(super) const TRUE: Duration = Duration::from_millis(8_500);
    /// While all is well, and has been for as long as above, what a home says is told at once, though nodes drain: a hint,
    /// or the beat that tells who a node is that was not known yet, and a reading.
    pub(super) const PROMPT: Duration = Duration::from_millis(500);
    /// Trouble.
    pub(super) const LIFE: Duration = Duration::from_secs(60);
    /// And no more trouble.
    pub(super) const QUIET: Duration = Duration::from_secs(30);
}
