//! No ticket before the receipt of the consent is kept, and none without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use porchlight::clock::Wall;
use porchlight::cluster::memory::MemoryDirectory;
use porchlight::ids::{GroupId, ReceiptId};
use porchlight::model::receipt::{Link, Sealed};
use porchlight::store::receipts::{Beginning, Cut, ReceiptLog, Seal};
use porchlight::store::sqlite::SqliteStore;
use porchlight::store::{StoreError, Undone};
use tokio::sync::Semaphore;

use crate::common::json;
use crate::two_nodes::Cluster;

/// Receipts on a disk that stands still until it is let go on, or that is broken.
struct Disk {
    store: Arc<SqliteStore>,
    turns: Semaphore,
    broken: AtomicBool,
}

#[async_trait::async_trait]
impl ReceiptLog for Disk {
    async fn append_receipt(&self, group: &GroupId, seal: Seal) -> Result<Sealed, StoreError> {
        self.turns.acquire().await.unwrap().forget();
        if self.broken.load(Ordering::SeqCst) {
            return Err(Undone.into());
        }
        self.store.append_receipt(group, seal).await
    }

    async fn receipt(&self, group: &GroupId, id: ReceiptId) -> Result<Option<Sealed>, StoreError> {
        self.store.receipt(group, id).await
    }

    async fn receipts(&self, group: &GroupId, after: u64) -> Result<Vec<Sealed>, StoreError> {
        self.store.receipts(group, after).await
    }

    async fn next_receipt(&self, group: &GroupId) -> Result<Link, StoreError> {
        self.store.next_receipt(group).await
    }

    async fn beginning(&self, group: &GroupId) -> Result<Option<Beginning>, StoreError> {
        self.store.beginning(group).await
    }

    async fn let_receipts_go(&self, group: &GroupId, before: Wall, cut: Cut) -> Result<u64, StoreError> {
        self.store.let_receipts_go(group, before, cut).await
    }
}

async fn cluster() -> (Cluster, Arc<Disk>) {
    let store = Arc::new(SqliteStore::in_memory().unwrap());
    let disk = Arc::new(Disk {
        store: Arc::clone(&store),
        turns: Semaphore::new(0),
        broken: AtomicBool::new(false),
    });
    let directory = Arc::<MemoryDirectory>::default();
    (Cluster::with(directory, Arc::clone(&disk) as _, store, 1).await, disk)
}

#[tokio::test]
async fn tickets_wait_for_the_receipt() {
    let (cluster, disk) = cluster().await;
    let (mut visitor, mut agent) = (cluster.visitor(0, "C-1").await, cluster.agent(0).await);
    agent.join("C-1").await;
    let offer = visitor.expect("offer").await;
    visitor.accept(&offer).await;
    assert!(visitor.settled("ready").await.is_empty());
    assert!(agent.settled("ready").await.is_empty());
    // The session is not held up by it: another page may ask and be answered meanwhile.
    let mut other = cluster.agent(0).await;
    assert_eq!(other.join("C-1").await["state"], "connecting");
    assert!(other.settled("ready").await.is_empty());
    disk.turns.add_permits(1);
    for ready in [visitor.expect("ready").await, agent.expect("ready").await, other.expect("ready").await] {
        assert_eq!(ready["sessionId"], offer["sessionId"]);
    }
    let group = &cluster.demo.group.id;
    assert_eq!(disk.receipts(group, 0).await.unwrap().len(), 1);
}

#[tokio::test]
async fn without_a_receipt_there_is_no_session() {
    let (cluster, disk) = cluster().await;
    disk.broken.store(true, Ordering::SeqCst);
    disk.turns.add_permits(1);
    let (mut visitor, mut agent) = (cluster.visitor(0, "C-1").await, cluster.agent(0).await);
    agent.join("C-1").await;
    let offer = visitor.expect("offer").await;
    visitor.accept(&offer).await;
    assert_eq!(visitor.expect("sessionEnded").await["reason"], "failed");
    assert_eq!(agent.expect("sessionEnded").await["reason"], "failed");
    assert!(visitor.settled("ready").await.is_empty());
    assert!(agent.settled("ready").await.is_empty());
    // The disk is whole again, and so is the visitor's next session.
    disk.broken.store(false, Ordering::SeqCst);
    disk.turns.add_permits(1);
    agent.join("C-1").await;
    let offer = visitor.expect("offer").await;
    visitor.accept(&offer).await;
    visitor.expect("ready").await;
    agent.expect("ready").await;
    assert_eq!(agent.look("C-1").await["sessionId"], json!(offer["sessionId"]));
}
