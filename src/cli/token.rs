//! `porchlight token …`: credentials as a company's own systems mint them, for tests and first steps.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::{Args, Subcommand};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::dev::DevFile;
use super::{block_on, secret};
use crate::auth::api_key::{self, ApiKeySecret};
use crate::auth::secret::MasterSecret;
use crate::auth::{login_key, visitor_token};
use crate::clock;
use crate::ids::{GroupId, KeyId, VisitorId};
use crate::limits;
use crate::server::MASTER_FILE;

/// Mints credentials. What is not given is taken from the `dev.json` of `porchlight dev` in the data
/// directory.
#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
    /// File that holds the secret of an API key, for `login-key` and `visitor`; the password, for `agent`. `-`
    /// for standard input.
    #[arg(long, global = true, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Data directory of a server on this machine.
    #[arg(long, global = true, value_name = "DIR", default_value = super::dev::DATA_DIR)]
    data_dir: PathBuf,
    /// How many seconds from now a login key or visitor token is good.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 3600)]
    expires_in: u64,
    /// When it expires instead, in Unix seconds; to compare with what another program mints.
    #[arg(long, global = true, value_name = "UNIX_SECONDS", conflicts_with = "expires_in")]
    expires_at: Option<u64>,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// A login key, with which an agent signs in from the CRM.
    LoginKey {
        /// The group.
        #[arg(long)]
        group: Option<String>,
        /// The agent's partner user ID.
        #[arg(long)]
        user: String,
    },
    /// A visitor token, with which a page may use a visitor ID.
    Visitor {
        /// The visitor ID.
        #[arg(long)]
        visitor: String,
        /// The API key's ID.
        #[arg(long)]
        key_id: Option<String>,
    },
    /// An agent's token, by signing in at a running server on this machine.
    Agent {
        /// The server's public listener.
        #[arg(long, value_name = "ADDR")]
        public_addr: Option<SocketAddr>,
        /// The group.
        #[arg(long)]
        group: Option<String>,
        /// The agent's address.
        #[arg(long)]
        address: String,
    },
    /// The operator's key for the admin listener, from the master secret in the data directory.
    AdminKey {
        /// File that holds the master secret.
        #[arg(long, value_name = "FILE")]
        master_secret_file: Option<PathBuf>,
    },
}

impl TokenArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let dev = DevFile::read(&self.data_dir);
        let group = |given: &Option<String>| {
            let group = given.clone().or_else(|| dev.as_ref().map(|dev| dev.group.clone()));
            Ok::<_, anyhow::Error>(GroupId::new(&group.context("--group is missing")?)?)
        };
        let credential = match &self.command {
            TokenCommand::LoginKey { group: given, user } => {
                let secret = self.api_key_secret(dev.as_ref())?;
                let minted = login_key::mint(&secret, group(given)?.as_str(), user, self.expires()?);
                if minted.len() != login_key::LENGTH {
                    bail!("--expires-at must have ten digits");
                }
                minted
            }
            TokenCommand::Visitor { visitor, key_id } => {
                let id = key_id.clone().or_else(|| dev.as_ref().map(|dev| dev.api_key.id.clone()));
                let key = KeyId::new(&id.context("--key-id is missing")?)?;
                let secret = ApiKeySecret::given(self.api_key_secret(dev.as_ref())?);
                visitor_token::mint(&key, &secret, &VisitorId::new(visitor)?, self.expires()?)
            }
            TokenCommand::Agent { public_addr, group: given, address } => {
                let addr = public_addr.or(dev.as_ref().map(|dev| dev.public));
                let addr = addr.context("--public-addr is missing")?;
                let password = self.password(dev.as_ref(), address)?;
                block_on(sign_in(addr, group(given)?, address, &password))?
            }
            TokenCommand::AdminKey { master_secret_file } => {
                let file = master_secret_file.clone().unwrap_or_else(|| self.data_dir.join(MASTER_FILE));
                let master = MasterSecret::from_text(&secret::read(&file)?)?;
                api_key::admin_key(&master).expose_secret().to_owned()
            }
        };
        println!("{credential}");
        Ok(())
    }

    fn expires(&self) -> anyhow::Result<u64> {
        let ahead = limits::TOKEN_AHEAD.as_secs();
        let now = clock::wall();
        if let Some(at) = self.expires_at {
            if at <= now.unix_seconds() || at > now.unix_seconds() + ahead {
                eprintln!(
                    "porchlight: no server takes this now: it must expire within {ahead} seconds from now"
                );
            }
            return Ok(at);
        }
        if self.expires_in == 0 || self.expires_in > ahead {
            bail!("--expires-in must be 1 to {ahead} seconds");
        }
        Ok(now.after(Duration::from_secs(self.expires_in)).unix_seconds())
    }

    fn api_key_secret(&self, dev: Option<&DevFile>) -> anyhow::Result<String> {
        match (&self.secret_file, dev) {
            (Some(file), _) => secret::read(file),
            (None, Some(dev)) => Ok(dev.api_key.secret.clone()),
            (None, None) => bail!("--secret-file is missing ({} has no dev.json)", self.data_dir.display()),
        }
    }

    fn password(&self, dev: Option<&DevFile>, address: &str) -> anyhow::Result<String> {
        if let Some(file) = &self.secret_file {
            return secret::read(file);
        }
        let known = dev.and_then(|dev| dev.agents.iter().find(|agent| agent.address == address));
        let known =
            known.with_context(|| format!("--secret-file with the password of {address} is missing"))?;
        Ok(known.password.clone())
    }
}

/// Exchanges a password for a token, as an agent's page does.
async fn sign_in(addr: SocketAddr, group: GroupId, address: &str, password: &str) -> anyhow::Result<String> {
    let stream =
        tokio::net::TcpStream::connect(addr).await.with_context(|| format!("no server at {addr}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let body = serde_json::json!({"group": group, "address": address, "password": password});
    let request = hyper::Request::post("/v1/auth/agent")
        .header(hyper::header::HOST, addr.to_string())
        .header(hyper::header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.to_string())))?;
    let response = sender.send_request(request).await?;
    let body = Limited::new(response.into_body(), limits::HTTP_BODY_BYTES);
    let body = body.collect().await.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
    connection.abort();
    let answer: Value = serde_json::from_slice(&body).context("the server's answer is not JSON")?;
    match (answer["token"].as_str(), answer["error"]["message"].as_str()) {
        (Some(token), _) => Ok(token.to_owned()),
        (None, Some(message)) => bail!("{message}"),
        (None, None) => bail!("the server's answer holds no token"),
    }
}
