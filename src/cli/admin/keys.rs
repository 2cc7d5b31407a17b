//! API keys.

use std::path::PathBuf;

use clap::Subcommand;

use super::super::Failure;
use super::super::secret::SecretFile;
use super::Server;
use super::rows::{API_KEYS, table};
use crate::pb::v1;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Makes an API key. Its secret is told this once.
    CreateApiKey {
        /// What it is for.
        #[arg(long, default_value = "")]
        label: String,
        /// New file for the secret, which is then not printed.
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
    },
    /// Lists the API keys, revoked ones too.
    ListApiKeys,
    /// Makes an API key useless for good.
    RevokeApiKey {
        /// The key's ID.
        key: String,
    },
}

impl Command {
    pub(super) async fn run(self, server: &Server) -> Result<(), Failure> {
        match self {
            Self::CreateApiKey { label, secret_file } => create(server, label, secret_file).await,
            Self::ListApiKeys => list(server).await,
            Self::RevokeApiKey { key } => revoke(server, key).await,
        }
    }
}

fn one(key: &v1::ApiKey) -> String {
    table(API_KEYS.heading, &[(API_KEYS.row)(key)])
}

async fn create(server: &Server, label: String, secret_file: Option<PathBuf>) -> Result<(), Failure> {
    let file = secret_file.as_deref().map(SecretFile::create).transpose().map_err(Failure::Settings)?;
    let request_id = server.request_id.clone();
    let message = v1::CreateApiKeyRequest { group: server.group.clone(), label, request_id };
    let made = server.change(message, async |mut client, request| client.create_api_key(request).await).await;
    let Some(file) = file else {
        return server.print(&made?, |made| {
            format!("{}\nsecret  {}\n", one(&made.api_key.clone().unwrap_or_default()), made.secret)
        });
    };
    match made {
        Ok(made) => {
            file.write(&made.secret)?;
            server.print(&made.api_key.unwrap_or_default(), one)
        }
        Err(failure) => {
            file.discard();
            Err(failure)
        }
    }
}

async fn list(server: &Server) -> Result<(), Failure> {
    let message = v1::ListApiKeysRequest { group: server.group.clone() };
    let found = server.ask(message, async |mut client, request| client.list_api_keys(request).await).await?;
    server.print_list(&found.api_keys, &API_KEYS)
}

async fn revoke(server: &Server, key_id: String) -> Result<(), Failure> {
    let request_id = server.request_id.clone();
    let message = v1::RevokeApiKeyRequest { group: server.group.clone(), key_id, request_id };
    let revoked =
        server.change(message, async |mut client, request| client.revoke_api_key(request).await).await?;
    server.print(&revoked.api_key.unwrap_or_default(), one)
}
