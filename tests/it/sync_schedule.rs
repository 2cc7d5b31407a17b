//! The sync keeps the phase of the group's creation, over restarts and whatever the clock does.

use std::path::Path;
use std::time::Duration;

use porchlight::clock::{Wall, wall};
use porchlight::ids::{RunId, SinkId};
use porchlight::model::settings::{Settings, SyncFrequency};
use porchlight::model::sink::{Takes, Target};
use porchlight::pb::v1;
use porchlight::pb::v1::admin_client::AdminClient;
use porchlight::server::{Options, Running, Server, StorePlace};
use porchlight::store::sqlite::SqliteStore;
use porchlight::store::sync::{Cause, RunRow, Sink};
use porchlight::store::{Store as _, SyncStore as _};
use tonic::transport::Channel;

use crate::admin::with_key;
use crate::common::site::{config, group_id};
use crate::common::{canary, within};

const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

/// A group that was made some time ago, with a sink for records and perhaps a run behind it.
struct Made {
    name: &'static str,
    ago: Duration,
    frequency: SyncFrequency,
    /// When the schedule ran last by the clock of then.
    ran: Option<Wall>,
}

async fn make(dir: &Path, groups: &[Made]) {
    std::fs::create_dir_all(dir.join("data")).unwrap();
    let store = SqliteStore::open(&dir.join("data/porchlight.db")).unwrap();
    for made in groups {
        let group = group_id(made.name);
        let settings = Settings { sync_frequency: made.frequency, ..Settings::default() };
        store.put_group(&group, &settings, None, "it", wall().before(made.ago)).await.unwrap();
        let sink = Sink {
            group: group.clone(),
            id: SinkId::new("s").unwrap(),
            target: Target::File,
            takes: Takes { records: true, ..Takes::default() },
            enabled: true,
        };
        store.put_sink(&sink, false, wall()).await.unwrap();
        if let Some(started_at) = made.ran {
            let run = RunRow {
                id: RunId::fresh(),
                group,
                cause: Cause::Schedule,
                started_at,
                ended_at: Some(started_at),
                sinks: Vec::new(),
                lost: false,
            };
            store.put_run(&run).await.unwrap();
        }
    }
    store.close().await;
}

/// A server on what was made, as its operator sees it.
struct Node {
    running: Running,
    client: AdminClient<Channel>,
    key: String,
}

impl Node {
    async fn start(dir: &Path) -> Self {
        canary::listen();
        let mut config = config();
        config.store.data_dir = dir.join("data");
        config.sinks.dir = Some(dir.join("files"));
        let options = Options { store: StorePlace::DataDir, ..Options::default() };
        let running = within("a server", Server::start(config, options)).await.unwrap();
        let key = running.demo.as_ref().unwrap().admin_key.clone();
        canary::learn_text(&key);
        let client = AdminClient::connect(format!("http://{}", running.admin));
        Self { client: within("a connection", client).await.unwrap(), running, key }
    }

    async fn stop(mut self) {
        drop(self.client);
        self.running.force();
        within("the end", self.running.wait()).await.unwrap();
    }

    /// The causes of a group's runs that have ended, newest first, and when they began.
    async fn runs(&mut self, group: &str) -> Vec<(v1::SyncCause, Wall)> {
        let message = v1::ListSyncRunsRequest { group: group.into(), ..Default::default() };
        let runs = self.client.list_sync_runs(with_key(&self.key, message)).await.unwrap().into_inner().runs;
        let ended = runs.iter().filter(|run| run.ended_at.is_some());
        ended.map(|run| (run.cause(), millis(run.started_at))).collect()
    }

    /// Waits until a group has so many ended runs.
    async fn until(&mut self, group: &str, count: usize) -> Vec<(v1::SyncCause, Wall)> {
        within(&format!("{count} runs of {group}"), async {
            loop {
                let runs = self.runs(group).await;
                if runs.len() >= count {
                    return runs;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    async fn next(&mut self, group: &str) -> Wall {
        let message = v1::GetSyncStatusRequest { group: group.into() };
        let status = self.client.get_sync_status(with_key(&self.key, message)).await.unwrap().into_inner();
        millis(status.next_run_at)
    }

    /// Asks for a run. By then the schedule has been looked at as often as it was before.
    async fn ask(&mut self, group: &str) {
        let message = v1::SyncNowRequest { group: group.into(), request_id: String::new() };
        self.client.sync_now(with_key(&self.key, message)).await.unwrap();
    }

    async fn set(&mut self, group: &str, frequency: SyncFrequency) {
        let accounts = &self.running.accounts;
        let found = accounts.group(&group_id(group)).unwrap();
        let mut settings = found.settings.clone();
        settings.sync_frequency = frequency;
        accounts.update_settings(&found.id, &settings, found.version, "it").await.unwrap();
    }
}

fn millis(at: Option<prost_types::Timestamp>) -> Wall {
    let at = at.unwrap();
    Wall(at.seconds.unsigned_abs() * 1_000 + u64::from(at.nanos.unsigned_abs() / 1_000_000))
}

fn scheduled(runs: &[(v1::SyncCause, Wall)]) -> usize {
    runs.iter().filter(|(cause, _)| *cause == v1::SyncCause::Schedule).count()
}

#[tokio::test]
async fn runs_begin_whole_periods_after_the_creation_over_restarts() {
    use SyncFrequency::{Daily, EveryTwoHours, Hourly, Never};
    let dir = tempfile::tempdir().unwrap();
    let (early, soon) = (Duration::from_secs(2), HOUR - Duration::from_secs(2));
    let begun = wall();
    make(
        dir.path(),
        &[
            // Due at once, and down for a week: one run each.
            Made { name: "due", ago: HOUR + MINUTE, frequency: Hourly, ran: None },
            Made {
                name: "week",
                ago: 7 * 24 * HOUR,
                frequency: Hourly,
                ran: Some(begun.before(6 * 24 * HOUR)),
            },
            // The moment comes while the server runs.
            Made { name: "soon", ago: soon, frequency: Hourly, ran: None },
            // Not yet.
            Made { name: "two", ago: HOUR + MINUTE, frequency: EveryTwoHours, ran: None },
            Made { name: "day", ago: 23 * HOUR, frequency: Daily, ran: None },
            Made { name: "never", ago: 48 * HOUR, frequency: Never, ran: None },
        ],
    )
    .await;
    let mut node = Node::start(dir.path()).await;
    let runs = node.until("soon", 1).await;
    let created = runs[0].1.before(HOUR);
    assert!(runs[0].1 >= begun.after(early), "not before its moment");
    assert!(node.next("soon").await > created.after(HOUR));
    for (group, count) in [("due", 1), ("week", 2), ("two", 0), ("day", 0), ("never", 0)] {
        assert_eq!(scheduled(&node.until(group, count).await), count, "{group}");
    }
    let until = |next: Wall| Duration::from_millis(next.0 - wall().0);
    assert!(until(node.next("two").await) < HOUR && until(node.next("day").await) < HOUR);
    node.stop().await;

    // Another server finds what the one before did, and owes nothing.
    let mut node = Node::start(dir.path()).await;
    node.set("two", Hourly).await;
    node.until("two", 1).await;
    for (group, count) in [("due", 1), ("week", 2), ("soon", 1), ("day", 0), ("never", 0)] {
        node.ask(group).await;
        let runs = node.until(group, count + 1).await;
        assert_eq!(scheduled(&runs), count, "{group}: {runs:?}");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_clock_that_jumps_owes_one_run_at_most_and_stops_none() {
    let dir = tempfile::tempdir().unwrap();
    let (ago, frequency) = (100 * 24 * HOUR + MINUTE, SyncFrequency::Hourly);
    let ran = |at: Wall| Some(at);
    make(
        dir.path(),
        &[
            // Set ahead by weeks since the last run.
            Made { name: "ahead", ago, frequency, ran: ran(wall().before(40 * 24 * HOUR)) },
            // Set back by half an hour since: nothing is repeated.
            Made { name: "back", ago, frequency, ran: ran(wall().after(HOUR / 2)) },
            // A run noted by a clock that was a year ahead must not stop the sync for a year.
            Made { name: "year", ago, frequency, ran: ran(wall().after(365 * 24 * HOUR)) },
        ],
    )
    .await;
    let mut node = Node::start(dir.path()).await;
    for group in ["ahead", "year"] {
        assert_eq!(scheduled(&node.until(group, 2).await), 2, "{group}");
    }
    for (group, count) in [("ahead", 2), ("year", 2), ("back", 1)] {
        node.ask(group).await;
        let runs = node.until(group, count + 1).await;
        assert_eq!(scheduled(&runs), count, "{group}: {runs:?}");
    }
    node.stop().await;
}
