//! What the log acknowledged is there: after a kill at any moment, and while and after a disk is full.
//!
//! A process of its own writes and says what was acknowledged; this one kills it, or takes its disk away.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use porchlight::clock::Wall;
use porchlight::config::Flush;
use porchlight::hub::events::Events;
use porchlight::ids::{EventId, GroupId, SessionId};
use porchlight::model::event::{Actor, Created, Event, What};
use porchlight::store::events::After;
use porchlight::store::sqlite::SqliteStore;
use porchlight::store::{EventLog, SessionRecords as _, Store as _};
use porchlight::telemetry::Meters;
use porchlight::wire::visitor::SessionKind;

use crate::common::rng::Rng;

/// Where the child keeps its store.
const STORE: &str = "PORCHLIGHT_TEST_STORE";

/// Kills in one run. `PORCHLIGHT_TEST_KILLS=1000` asks for more, `PORCHLIGHT_TEST_SEED` for others; both are
/// printed.
const KILLS: usize = 40;

/// Events of one append of the child.
const BATCH: u64 = 3;

fn group() -> GroupId {
    GroupId::new("g").unwrap()
}

/// The event with this number: a new session each tenth.
fn event(number: u64) -> Event {
    let session = SessionId::from_u128(u128::from(number / 10));
    let created = Created { kind: SessionKind::Screen, visitor: None, agent: None };
    Event {
        id: EventId::from_u128(u128::from(number)),
        group: group(),
        at: Wall(number),
        session: Some(session),
        request: None,
        actor: Actor::Server,
        record: None,
        what: if number.is_multiple_of(10) { What::Created(created) } else { What::Paused },
    }
}

/// The numbers of all events, in the log's order.
async fn numbers(log: &SqliteStore) -> Vec<u64> {
    let (mut all, mut after) = (Vec::new(), After::Start);
    loop {
        let page = log.read(&group(), after).await.unwrap();
        assert!(page.recovered);
        if page.events.is_empty() {
            return all;
        }
        for logged in page.events {
            assert_eq!(logged.event, event(logged.event.at.0));
            all.push(logged.event.at.0);
            assert_eq!(logged.sequence, all.len() as u64, "no gap, no twin");
        }
        after = After::Sequence(page.cursor);
    }
}

/// Starts one of the tests below in a process of its own, with a store to write to.
fn child(test: &str, store: &Path, shell: &str) -> Child {
    let this = std::env::current_exe().unwrap();
    Command::new("sh")
        .args(["-c", &format!("{shell} exec \"$@\""), "sh"])
        .arg(this)
        .args(["--exact", &format!("store_faults::{test}"), "--nocapture"])
        .env(STORE, store)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn store() -> Option<PathBuf> {
    std::env::var_os(STORE).map(PathBuf::from)
}

/// Writes until it is killed. Does nothing by itself.
#[tokio::test]
async fn child_that_writes() {
    let Some(path) = store() else { return };
    // Written by the kernel, so that it outlives this process whatever the disk does.
    let log = SqliteStore::open_with(&path, Flush::Checkpoint).unwrap();
    let mut next = log.read(&group(), After::End).await.unwrap().cursor;
    loop {
        log.append((next..next + BATCH).map(event).collect()).await.unwrap();
        next += BATCH;
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {next}").unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test]
#[allow(clippy::print_stderr, reason = "whoever runs it again needs the seed")]
async fn what_was_acknowledged_is_there_after_a_kill_at_any_moment() {
    let kills = std::env::var("PORCHLIGHT_TEST_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let seed = std::env::var("PORCHLIGHT_TEST_SEED").map_or(0x9c1d, |seed| seed.parse().unwrap());
    eprintln!("{kills} kills, seed {seed}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut rng = Rng::new(seed);
    let mut acknowledged = 0;
    for _ in 0..kills {
        let mut process = child("child_that_writes", &path, "");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let number = |line: String| -> Option<u64> { line.strip_prefix("acknowledged ")?.parse().ok() };
        // In the middle of whatever it is at, the opening of the file included.
        for _ in 0..rng.below(40) {
            let Some(Ok(line)) = lines.next() else { panic!("the child ended by itself") };
            acknowledged = number(line).unwrap_or(acknowledged);
        }
        for _ in 0..rng.below(20_000) {
            std::hint::spin_loop();
        }
        process.kill().unwrap();
        process.wait().unwrap();
        // What it said before it died, the last line perhaps cut off.
        for line in lines.map_while(Result::ok) {
            acknowledged = number(line).filter(|said| *said > acknowledged).unwrap_or(acknowledged);
        }
    }
    let log = SqliteStore::open(&path).unwrap();
    let all = numbers(&log).await;
    assert!(acknowledged > 0);
    assert!(all.len() as u64 >= acknowledged, "{} of {acknowledged}", all.len());
    assert_eq!(all, (0..all.len() as u64).collect::<Vec<_>>(), "each once, in order");
    assert_eq!(all.len() as u64 % BATCH, 0, "an append is there as a whole or not at all");
    for session in 0..all.len() as u128 / 10 {
        let record = log.session_record(&group(), SessionId::from_u128(session)).await.unwrap().unwrap();
        assert_eq!(u128::from(record.read), (session + 1) * 10, "records are where the log is");
    }
}

/// Gives the disk back that the parent took: lets files grow, and takes a ballast off.
fn make_space(store: &Path) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: maximum, maximum }).unwrap();
    let _ = std::fs::remove_file(store.with_file_name("ballast"));
}

/// Writes until the disk is full and beyond. Does nothing by itself.
#[tokio::test]
async fn child_whose_disk_is_full() {
    let Some(path) = store() else { return };
    let log = Arc::new(SqliteStore::open(&path).unwrap());
    // A failed commit moves the log into the database, which may make room once more: full is what stays so.
    let (mut next, mut failures) = (0, 0);
    while failures < 3 {
        match log.append((next..next + BATCH).map(event).collect()).await {
            Ok(_) => (next, failures) = (next + BATCH, 0),
            Err(error) => {
                assert!(error.is_passing(), "{error:?}");
                failures += 1;
            }
        }
        assert!(next < 1_000_000, "the disk is never full");
    }
    // Nothing else breaks: what is there can be read.
    assert_eq!(numbers(&log).await, (0..next).collect::<Vec<_>>());
    // Meanwhile events wait, in order, beside the log.
    let (meters, scrape) = Meters::new();
    let events = Events::start(Arc::clone(&log) as _, meters);
    let waiting = next..next + 500;
    waiting.clone().for_each(|number| events.write(event(number)));
    while scrape.render().contains("porchlight_event_write_failures_total 0") {
        tokio::task::yield_now().await;
    }
    make_space(&path);
    let mut newest = log.newest(&group());
    newest.wait_for(|newest| *newest >= waiting.end).await.unwrap();
    events.close().await;
    for reason in ["full", "unwritable", "ended"] {
        let none = format!("porchlight_events_refused_total{{reason=\"{reason}\"}} 0\n");
        assert!(scrape.render().contains(&none), "{none}");
    }
    log.close().await;
    let again = SqliteStore::open(&path).unwrap();
    assert_eq!(numbers(&again).await, (0..waiting.end).collect::<Vec<_>>());
    let mut out = std::io::stdout().lock();
    writeln!(out, "recovered").unwrap();
}

#[test]
fn a_full_disk_refuses_loudly_and_recovers() {
    // `PORCHLIGHT_TEST_DISK` names a small file system of its own with a file `ballast` on it; else files
    // may not grow beyond 512 KiB, which a process meets as an error of its disk.
    let folder = tempfile::tempdir().unwrap();
    let disk = std::env::var_os("PORCHLIGHT_TEST_DISK").map(PathBuf::from);
    let shell = if disk.is_some() { "" } else { "trap '' XFSZ; ulimit -S -f 1024;" };
    let path = disk.unwrap_or_else(|| folder.path().to_owned()).join("store.db");
    let mut process = child("child_whose_disk_is_full", &path, shell);
    let mut told = String::new();
    process.stdout.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(process.wait().unwrap().success(), "{told}");
    assert!(told.contains("recovered"), "{told}");
}
