//! Proofs of consent, handed out as they were signed.

use futures_util::StreamExt as _;
use futures_util::stream;
use std::collections::VecDeque;
use std::sync::Arc;

use super::events::Messages;
use super::gate::Within;
use super::readers::Reading;
use super::service::Service;
use super::status::AdminError;
use super::{bad, convert};
use crate::clock;
use crate::ids::{GroupId, ReceiptId};
use crate::model::receipt::{self, Sealed};
use crate::pb::v1;
use crate::store::ReceiptLog;

pub(super) async fn get_consent_receipt(
    service: &Service,
    within: &Within,
    request: v1::GetConsentReceiptRequest,
) -> Result<v1::GetConsentReceiptResponse, AdminError> {
    let id = ReceiptId::parse(&request.receipt_id).map_err(|_| bad("receipt_id", "is no UUID"))?;
    let sealed = service.archive.receipts.receipt(within.group(), id).await?.ok_or(AdminError::NotFound)?;
    Ok(v1::GetConsentReceiptResponse { receipt: Some(convert::receipt_message(sealed)) })
}

pub(super) async fn export_consent_receipts(
    service: &Service,
    within: &Within,
    _request: v1::ExportConsentReceiptsRequest,
) -> Result<Messages<v1::ExportConsentReceiptsResponse>, AdminError> {
    let reading = service.readers.open()?;
    let group = within.group();
    // First the time, then the end: what was there at that time is before that end.
    let at = clock::wall();
    let start = service.archive.receipts.beginning(group).await?;
    let end = service.archive.receipts.next_receipt(group).await?;
    let at = start.as_ref().map_or(at, |start| at.max(start.at));
    let head = receipt::head(group, &end, at, &service.accounts.receipt_key(group));
    let mut file = File {
        log: Arc::clone(&service.archive.receipts),
        group: group.clone(),
        told: start.as_ref().map_or(0, |start| start.count),
        count: end.number - 1,
        page: VecDeque::new(),
        start: start.map(|start| start.line),
        head,
        _reading: reading,
    };
    file.read().await?;
    let next = |file: Option<File>| async {
        let mut file = file?;
        match file.next().await {
            Ok(Some(line)) => Some((Ok(v1::ExportConsentReceiptsResponse { line }), Some(file))),
            Ok(None) => {
                let line = std::mem::take(&mut file.head);
                Some((Ok(v1::ExportConsentReceiptsResponse { line }), None))
            }
            Err(error) => Some((Err(error), None)),
        }
    };
    Ok(stream::unfold(Some(file), next).boxed())
}

/// A file of receipts on its way out.
struct File {
    log: Arc<dyn ReceiptLog>,
    group: GroupId,
    /// The number of the last that was told.
    told: u64,
    /// The number of the last that the head counts.
    count: u64,
    page: VecDeque<Sealed>,
    /// The statement on what was let go of; the first line if there is one.
    start: Option<String>,
    head: String,
    _reading: Reading,
}

impl File {
    /// The next line before the head; none behind the last receipt that the head counts. What is missing or
    /// changed in the store is told as it is: whoever verifies finds it.
    async fn next(&mut self) -> Result<Option<String>, AdminError> {
        if let Some(start) = self.start.take() {
            return Ok(Some(start));
        }
        if self.page.is_empty() && self.told < self.count {
            self.read().await?;
        }
        match self.page.pop_front().filter(|sealed| sealed.number <= self.count) {
            Some(sealed) => {
                self.told = sealed.number;
                Ok(Some(sealed.line))
            }
            None => Ok(None),
        }
    }

    /// Reads a page. When what comes next was let go of meanwhile, the file can't be finished; another can.
    async fn read(&mut self) -> Result<(), AdminError> {
        self.page = self.log.receipts(&self.group, self.told).await?.into();
        if self.page.front().is_none_or(|sealed| sealed.number > self.told + 1) {
            let gone = self.log.beginning(&self.group).await?.map_or(0, |beginning| beginning.count);
            if gone > self.told {
                return Err(AdminError::Unavailable);
            }
        }
        Ok(())
    }
}

pub(super) fn get_receipt_key(service: &Service, within: &Within) -> v1::GetReceiptKeyResponse {
    let key = service.accounts.receipt_key(within.group()).public();
    v1::GetReceiptKeyResponse {
        key: Some(v1::ReceiptKey {
            group: within.group().to_string(),
            key_id: key.id(),
            algorithm: crate::auth::signing::ALGORITHM.to_owned(),
            public_key: key.to_string(),
        }),
    }
}
