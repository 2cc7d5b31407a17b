//! The chain of each group's consent receipts. Grows at its end; its beginning may be let go of, and then a signed
//! statement stands for it.

#[cfg(test)]
pub(crate) mod suite;

use std::sync::Arc;

use async_trait::async_trait;

use super::StoreError;
use crate::clock::Wall;
use crate::ids::{GroupId, ReceiptId};
use crate::model::receipt::{Link, Sealed};

/// Seals a receipt for its place. May be called more than once, and must then seal the same consent.
pub type Seal = Arc<dyn Fn(&Link) -> Sealed + Send + Sync>;

/// Signs the statement that the receipts before a place were let go of. May be called more than once.
pub type Cut = Arc<dyn Fn(&Link) -> Beginning + Send + Sync>;

/// What stands for the receipts that were let go of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// How many there were.
    pub count: u64,
    /// When they were let go of.
    pub at: Wall,
    /// The signed statement, [`crate::model::receipt::start`].
    pub line: String,
}

/// Chains of receipts, apart by group.
#[async_trait]
pub trait ReceiptLog: Send + Sync + 'static {
    /// Seals a receipt for the next place of its group's chain and keeps it. One whose id is there already
    /// is returned as it was sealed then.
    async fn append_receipt(&self, group: &GroupId, seal: Seal) -> Result<Sealed, StoreError>;

    /// One receipt.
    async fn receipt(&self, group: &GroupId, id: ReceiptId) -> Result<Option<Sealed>, StoreError>;

    /// Receipts behind a number, in order; at most [`crate::limits::RECEIPT_PAGE`].
    async fn receipts(&self, group: &GroupId, after: u64) -> Result<Vec<Sealed>, StoreError>;

    /// Where the next receipt goes.
    async fn next_receipt(&self, group: &GroupId) -> Result<Link, StoreError>;

    /// What stands for the oldest receipts, if any were let go of.
    async fn beginning(&self, group: &GroupId) -> Result<Option<Beginning>, StoreError>;

    /// Lets go of the oldest receipts that were accepted before a time, at most
    /// [`crate::limits::RECEIPT_PAGE`] of them, with the statement in the same commit, and says how many. Call it
    /// again while there are any.
    async fn let_receipts_go(&self, group: &GroupId, before: Wall, cut: Cut) -> Result<u64, StoreError>;
}
