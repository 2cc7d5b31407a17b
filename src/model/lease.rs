//! One connection's claim that its visitor is here, and what it tells of itself.
//!
//! Decides how a connection's facts are kept: encoded once, in one allocation. Does not decide when a lease
//! begins or ends, or who has focus; see [`super::presence`], which keeps them.

use super::facts::{FactsError, Room};
use crate::ids::ConnectionId;
use crate::wire::error::ErrorCode;
use crate::wire::visitor::{Client, Page, Visibility};

/// Why a connection, or what it told, was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The visitor has as many connections as may be; this one is no lease.
    #[error("visitor has {limit} connections already")]
    TooManyConnections {
        /// As many as it may have.
        limit: usize,
    },
    /// A part of its facts was not taken; the lease and the other parts were.
    #[error(transparent)]
    Facts(#[from] FactsError),
}

impl Refusal {
    /// The `code` of the error message.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::TooManyConnections { .. } => ErrorCode::TooMany,
            Self::Facts(error) => error.code(),
        }
    }
}

/// One connection's claim that its visitor is here.
#[derive(Debug)]
pub(super) struct Lease {
    /// Whose.
    pub(super) connection: ConnectionId,
    /// Page and client facts, both encoded, one after the other.
    facts: Box<str>,
    /// Where the client facts begin.
    page_bytes: u16,
    /// Whether its tab cannot be seen.
    pub(super) hidden: bool,
    /// Whether it proved the visitor ID.
    pub(super) verified: bool,
    /// Whether the visitor was ever seen to act here.
    pub(super) acted: bool,
}

impl Lease {
    /// A claim that has told nothing yet. Arriving in sight is an act.
    pub(super) fn new(connection: ConnectionId, verified: bool, visibility: Visibility) -> Self {
        let hidden = visibility == Visibility::Hidden;
        Self { connection, facts: Box::default(), page_bytes: 0, hidden, verified, acted: !hidden }
    }

    /// One that was lost elsewhere, with its facts as they were shown there.
    pub(super) fn shown(verified: bool, visibility: Visibility, page: &str, client: &str) -> Self {
        let lost = Self::new(ConnectionId(0), verified, visibility);
        // Shown facts have their bound; what is beyond it was never told by a page.
        let page = if u16::try_from(page.len()).is_ok() { page } else { "" };
        let (facts, page_bytes) = joined(page, client);
        Self { facts, page_bytes, ..lost }
    }

    /// The encoded page, or nothing.
    pub(super) fn page(&self) -> &str {
        &self.facts[..usize::from(self.page_bytes)]
    }

    /// The encoded client facts, or nothing.
    pub(super) fn client(&self) -> &str {
        &self.facts[usize::from(self.page_bytes)..]
    }

    /// Whether the page changed.
    pub(super) fn set_page(&mut self, page: &Page, data: &str, limit: usize) -> Result<bool, FactsError> {
        let page = page.encode(Room { limit, taken: self.client().len() + data.len() })?;
        let changed = page != self.page();
        (self.facts, self.page_bytes) = joined(&page, self.client());
        Ok(changed)
    }

    /// Whether the client facts changed.
    pub(super) fn set_client(
        &mut self,
        client: &Client,
        data: &str,
        limit: usize,
    ) -> Result<bool, FactsError> {
        let client = client.encode(Room { limit, taken: self.page().len() + data.len() })?;
        let changed = client != self.client();
        (self.facts, self.page_bytes) = joined(self.page(), &client);
        Ok(changed)
    }

    /// How many bytes of presence data it takes.
    pub(super) fn facts_bytes(&self) -> usize {
        self.facts.len()
    }

    /// Whether both would be shown alike.
    pub(super) fn same_facts(&self, other: &Self) -> bool {
        self.page() == other.page() && self.client() == other.client()
    }
}

/// Both parts in one allocation, and where the second begins.
fn joined(page: &str, client: &str) -> (Box<str>, u16) {
    let begin = u16::try_from(page.len()).expect("a page fits presence data, far below 64 KiB");
    ([page, client].concat().into_boxed_str(), begin)
}
