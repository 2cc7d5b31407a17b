//! Proofs of consent.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Subcommand;

use super::super::Failure;
use super::rows::{self, say_line};
use super::{Client, Server};
use crate::pb::v1;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Tells one consent receipt, as it was signed.
    GetConsentReceipt {
        /// The receipt's ID, as events and session records name it.
        receipt: String,
    },
    /// Writes all consent receipts of the group, to be verified by `porchlight verify-receipts`.
    ExportConsentReceipts {
        /// The file; `-` or none for standard output. It is there when it is complete, and not before.
        file: Option<PathBuf>,
    },
    /// Tells the public key that the group's consent receipts are verified with.
    ReceiptKey,
}

impl Command {
    pub(super) async fn run(self, server: &Server) -> Result<(), Failure> {
        match self {
            Self::GetConsentReceipt { receipt } => get(server, receipt).await,
            Self::ExportConsentReceipts { file } => {
                export(server, file.as_deref().filter(|file| *file != Path::new("-"))).await
            }
            Self::ReceiptKey => key(server).await,
        }
    }
}

async fn get(server: &Server, receipt_id: String) -> Result<(), Failure> {
    let message = v1::GetConsentReceiptRequest { group: server.group.clone(), receipt_id };
    let call = async |mut client: Client, request| client.get_consent_receipt(request).await;
    let found = server.ask(message, call).await?;
    server.print(&found.receipt.unwrap_or_default(), |receipt| format!("{}\n", rows::plain(&receipt.line)))
}

async fn key(server: &Server) -> Result<(), Failure> {
    let message = v1::GetReceiptKeyRequest { group: server.group.clone() };
    let call = async |mut client: Client, request| client.get_receipt_key(request).await;
    let found = server.ask(message, call).await?;
    // The key alone, so that it can be kept in a file.
    server.print(&found.key.unwrap_or_default(), |key| format!("{}\n", rows::plain(&key.public_key)))
}

async fn export(server: &Server, file: Option<&Path>) -> Result<(), Failure> {
    let message = v1::ExportConsentReceiptsRequest { group: server.group.clone() };
    let call = async |mut client: Client, request| client.export_consent_receipts(request).await;
    let mut out = file.map(Part::create).transpose().map_err(Failure::Settings)?;
    let stream = server.ask(message, call).await?;
    let mut last = String::new();
    let told = server.each(stream, |answer: v1::ExportConsentReceiptsResponse| {
        last = answer.line;
        match &mut out {
            Some(part) => Ok(part.line(&last)?),
            None => say_line(&last),
        }
    });
    told.await?;
    if !last.starts_with("{\"head\":") {
        return Err(Failure::NoAnswer(anyhow!("the export broke off before its end")));
    }
    match out {
        Some(part) => Ok(part.finish()?),
        None => Ok(()),
    }
}

/// A file in the making, beside its place.
struct Part<'a> {
    place: &'a Path,
    path: PathBuf,
    out: std::io::BufWriter<fs::File>,
    finished: bool,
}

impl<'a> Part<'a> {
    fn create(place: &'a Path) -> anyhow::Result<Self> {
        let mut path = place.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        let file = fs::File::create(&path).with_context(|| format!("can't write {}", path.display()))?;
        Ok(Self { place, path, out: std::io::BufWriter::new(file), finished: false })
    }

    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        writeln!(self.out, "{line}").with_context(|| format!("can't write {}", self.path.display()))
    }

    fn finish(mut self) -> anyhow::Result<()> {
        let written = self.out.flush().and_then(|()| self.out.get_ref().sync_all());
        written
            .and_then(|()| fs::rename(&self.path, self.place))
            .with_context(|| format!("can't write {}", self.place.display()))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        if !self.finished {
            // What is half is of no use to anybody.
            let _ = fs::remove_file(&self.path);
        }
    }
}
