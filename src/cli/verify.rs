//! `porchlight verify-receipts`: whether a file of consent receipts is whole. Needs no server.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::{Failure, secret};
use crate::auth::signing::PublicKey;
use crate::model::receipt;

/// Verifies a file of consent receipts: every signature, every link of the chain, and the signed end. Exit
/// codes: 0 whole, 1 broken, with the line and why, 2 wrong arguments, or a file that can't be read.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The file, as `porchlight admin export-consent-receipts` writes it; `-` for standard input.
    file: PathBuf,
    /// The group's public key, as `porchlight admin receipt-key` tells it; may be repeated when the server
    /// has had other master secrets.
    #[arg(long, required_unless_present = "key_file")]
    key: Vec<String>,
    /// A file with such keys, one a line.
    #[arg(long, value_name = "FILE")]
    key_file: Vec<PathBuf>,
}

impl VerifyArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let keys = self.keys().map_err(Failure::Settings)?;
        let file = read(&self.file).map_err(Failure::Settings)?;
        let verified = receipt::verify(&file, &keys)
            .map_err(|flaw| Failure::Failed(anyhow!(flaw).context(secret::name(&self.file))))?;
        let receipts = if verified.count == 1 { "receipt" } else { "receipts" };
        println!(
            "{} {receipts} of the group {}, complete as of {}: nothing was changed, removed or added",
            verified.count, verified.group, verified.at
        );
        Ok(())
    }

    fn keys(&self) -> anyhow::Result<Vec<PublicKey>> {
        let mut keys: Vec<PublicKey> = self.key.iter().map(|text| key(text)).collect::<Result<_, _>>()?;
        for file in &self.key_file {
            let text = read(file)?;
            let text = std::str::from_utf8(&text).map_err(|_| anyhow!("{} holds no key", file.display()))?;
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            let found = lines.map(key).collect::<Result<Vec<_>, _>>();
            keys.extend(found.with_context(|| secret::name(file))?);
        }
        if keys.is_empty() {
            return Err(anyhow!("no key was given"));
        }
        Ok(keys)
    }
}

fn key(text: &str) -> anyhow::Result<PublicKey> {
    PublicKey::parse(text).with_context(|| format!("{text:?} is no public key: 43 characters of base64url"))
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes).context("can't read standard input")?;
        return Ok(bytes);
    }
    std::fs::read(file).with_context(|| format!("can't read {}", file.display()))
}
