//! The chain of each group's consent receipts. Only grows.

#[cfg(test)]
pub(crate) mod suite;

use std::sync::Arc;

use async_trait::async_trait;

use super::StoreError;
use crate::ids::{GroupId, ReceiptId};
use crate::model::receipt::{Link, Sealed};

/// Seals a receipt for its place. May be called more than once, and must then seal the same consent.
pub type Seal = Arc<dyn Fn(&Link) -> Sealed + Send + Sync>;

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
}
