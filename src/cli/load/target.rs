//! Whom to load and as whom: the arguments that all commands share, checked once.
//!
//! Refuses a machine that the caller does not vouch for, and a server whose certificate nobody vouches for. Opens nothing
//! but files, name look-ups and, over TLS, one connection that looks at the certificate.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use hyper::Uri;
use secrecy::SecretString;
use serde::Deserialize;
use tokio::net::TcpStream;

use super::socket::PATIENCE;
use super::tls::{Tls, TlsFault};

const DEFAULT_URL: &str = "ws://127.0.0.1:7400";
const PASSWORD_VARIABLE: &str = "PORCHLIGHT_AGENT_PASSWORD";

/// Arguments of every load command.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct TargetArgs {
    /// Public listener, `ws://host:port`, or `wss://` over TLS [default: the one in --dev-json, else
    /// ws://127.0.0.1:7400]
    #[arg(long)]
    pub(super) url: Option<String>,
    /// Authority that vouches for a server with TLS (PEM) [default: those that this system trusts]
    #[arg(long, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// Group of the visitors and agents [default: the one in --dev-json, else demo]
    #[arg(long)]
    pub(super) group: Option<String>,
    /// `dev.json` that `porchlight dev` wrote, or the data directory it lies in
    #[arg(long, value_name = "PATH")]
    pub(super) dev_json: Option<PathBuf>,
    /// Address of the agent to sign in as; its password comes from PORCHLIGHT_AGENT_PASSWORD or a file
    #[arg(long, env = "PORCHLIGHT_AGENT_ADDRESS")]
    pub(super) agent_address: Option<String>,
    /// File that holds the agent's password and nothing else
    #[arg(long, value_name = "PATH", env = "PORCHLIGHT_AGENT_PASSWORD_FILE")]
    pub(super) agent_password_file: Option<PathBuf>,
    /// Origin header [default: the http origin of the URL]
    #[arg(long)]
    pub(super) origin: Option<String>,
    /// Connect from 127.0.0.1 up to this many loopback addresses, so that source ports suffice
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=250))]
    pub(super) sources: u8,
    /// Load a machine that is not this one
    #[arg(long)]
    pub(super) i_own_this_server: bool,
    /// Also report CPU time and memory of this process, the server on this machine; may be given several times for
    /// the nodes of a cluster and their Redis, whose sum is reported
    #[arg(long, value_name = "PID")]
    pub(super) server_pid: Vec<u32>,
    /// Where agents and viewers connect, if not where visitors do: the public listener of another node
    #[arg(long, value_name = "URL")]
    pub(super) agents_url: Option<String>,
    /// Print one JSON object instead of progress and a table
    #[arg(long)]
    pub(super) json: bool,
}

/// One agent that may sign in.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) address: String,
    pub(super) password: SecretString,
}

/// A checked destination.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Where to connect.
    pub(super) address: SocketAddr,
    /// `host:port` as the Host header says it.
    pub(super) authority: String,
    /// What secures the connections; none speak plain text.
    pub(super) tls: Option<Tls>,
    /// Path in front of `/v1/…`, without a slash at its end.
    pub(super) prefix: String,
    pub(super) origin: String,
    pub(super) group: String,
    /// Loopback addresses to connect from; one means the kernel's choice.
    pub(super) sources: u8,
    pub(super) accounts: Vec<Account>,
}

#[derive(Deserialize)]
struct DevFile {
    public: String,
    group: String,
    #[serde(default)]
    agents: Vec<DevAgent>,
    #[serde(default)]
    urls: DevUrls,
}

/// Its pages say whether the listener speaks TLS.
#[derive(Default, Deserialize)]
struct DevUrls {
    #[serde(default)]
    site: String,
}

#[derive(Deserialize)]
struct DevAgent {
    address: String,
    password: SecretString,
}

impl TargetArgs {
    /// Reads files and names, and checks that the caller may load this machine.
    pub(super) async fn resolve(&self) -> anyhow::Result<Target> {
        let dev = self.dev_json.as_deref().map(read_dev).transpose()?;
        let url = match (&self.url, &dev) {
            (Some(url), _) => url.clone(),
            (None, Some(dev)) => dev.url(),
            (None, None) => DEFAULT_URL.to_owned(),
        };
        let (secure, host, port, prefix) = split_url(&url)?;
        ensure!(secure || self.ca_file.is_none(), "{url} is not wss://, so --ca-file would protect nothing");
        let tls = if secure { Some(Tls::open(&host, self.ca_file.as_deref())?) } else { None };
        let authority = format!("{host}:{port}");
        let address = tokio::net::lookup_host(authority.as_str())
            .await
            .with_context(|| format!("host {host} does not resolve"))?
            .next()
            .with_context(|| format!("host {host} has no address"))?;
        if !address.ip().is_loopback() && !self.i_own_this_server {
            bail!("{address} is not this machine; say --i-own-this-server if it is yours to load");
        }
        if self.sources > 1 && address.ip() != IpAddr::V4(Ipv4Addr::LOCALHOST) {
            bail!("--sources needs the target 127.0.0.1, not {address}");
        }
        let accounts = match self.own_account()? {
            Some(account) => vec![account],
            None => dev.iter().flat_map(|dev| &dev.agents).map(DevAgent::account).collect(),
        };
        let group = self.group.clone().or(dev.map(|dev| dev.group)).unwrap_or_else(|| "demo".to_owned());
        let scheme = if secure { "https" } else { "http" };
        let origin = self.origin.clone().unwrap_or_else(|| format!("{scheme}://{authority}"));
        if let Some(tls) = &tls {
            look(tls, address).await.with_context(|| format!("{url} can't be loaded"))?;
        }
        Ok(Target { address, authority, tls, prefix, origin, group, sources: self.sources, accounts })
    }

    /// Where agents and viewers connect.
    pub(super) async fn resolve_agents(&self) -> anyhow::Result<Target> {
        let url = self.agents_url.clone().or_else(|| self.url.clone());
        Self { url, ..self.clone() }.resolve().await
    }

    fn own_account(&self) -> anyhow::Result<Option<Account>> {
        let Some(address) = self.agent_address.clone() else { return Ok(None) };
        let password = match &self.agent_password_file {
            Some(path) => std::fs::read_to_string(path)
                .with_context(|| format!("agent password file {} is not readable", path.display()))?,
            None => std::env::var(PASSWORD_VARIABLE)
                .with_context(|| format!("agent {address} needs {PASSWORD_VARIABLE} or its _FILE"))?,
        };
        Ok(Some(Account { address, password: password.trim_end_matches(['\r', '\n']).into() }))
    }
}

impl DevFile {
    fn url(&self) -> String {
        if !self.public.contains("://") && self.urls.site.starts_with("https://") {
            return format!("wss://{}", self.public);
        }
        websocket_url(&self.public)
    }
}

impl DevAgent {
    fn account(&self) -> Account {
        Account { address: self.address.clone(), password: self.password.clone() }
    }
}

impl Target {
    /// The loopback address that the nth connection starts from, when several were asked for.
    pub(super) fn source(&self, n: usize) -> Option<SocketAddr> {
        if self.sources < 2 {
            return None;
        }
        let last = u8::try_from(n % usize::from(self.sources)).expect("below the number of sources") + 1;
        Some(SocketAddr::from(([127, 0, 0, last], 0)))
    }

    /// The URL of a path of the contract.
    pub(super) fn url(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{}{}{path}", self.authority, self.prefix)
    }

    /// The account of the nth agent connection: accounts take turns.
    pub(super) fn account(&self, n: usize) -> anyhow::Result<&Account> {
        ensure!(!self.accounts.is_empty(), "no agent to sign in as: give --dev-json or --agent-address");
        Ok(&self.accounts[n % self.accounts.len()])
    }
}

fn read_dev(path: &Path) -> anyhow::Result<DevFile> {
    let file = if path.is_dir() { path.join("dev.json") } else { path.to_owned() };
    let text =
        std::fs::read_to_string(&file).with_context(|| format!("{} is not readable", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a dev.json", file.display()))
}

/// The WebSocket URL of a listener given as `host:port` or as an http URL.
fn websocket_url(public: &str) -> String {
    match public.split_once("://") {
        Some(("http", rest)) => format!("ws://{rest}"),
        Some(("https", rest)) => format!("wss://{rest}"),
        Some(_) => public.to_owned(),
        None => format!("ws://{public}"),
    }
}

/// Whether TLS, the host, its port and what stands before the paths of the contract.
fn split_url(url: &str) -> anyhow::Result<(bool, String, u16, String)> {
    let uri: Uri = url.parse().with_context(|| format!("{url} is not a URL"))?;
    let secure = match uri.scheme_str() {
        Some("ws" | "http") => false,
        Some("wss" | "https") => true,
        _ => bail!("{url} begins neither with ws:// nor with wss://"),
    };
    let host = uri.host().with_context(|| format!("{url} names no host"))?;
    let prefix = uri.path().trim_end_matches('/').to_owned();
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    Ok((secure, host.to_owned(), port, prefix))
}

/// Looks at the server's certificate once, so that a bad one is told before anybody is counted. A server that does not
/// answer is none of its business: that is what a load is there to count.
async fn look(tls: &Tls, address: SocketAddr) -> Result<(), TlsFault> {
    let looking = async { tls.secure(TcpStream::connect(address).await?).await };
    match tokio::time::timeout(PATIENCE, looking).await {
        Err(_) | Ok(Ok(_) | Err(TlsFault::Connection(_))) => Ok(()),
        Ok(Err(refused)) => Err(refused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_split() {
        for (url, want) in [
            ("ws://127.0.0.1:7400", (false, "127.0.0.1", 7400, "")),
            ("ws://127.0.0.1:7400/", (false, "127.0.0.1", 7400, "")),
            ("ws://[::1]:9/live/", (false, "[::1]", 9, "/live")),
            ("http://relay.example", (false, "relay.example", 80, "")),
            ("wss://relay.example", (true, "relay.example", 443, "")),
            ("https://relay.example:8443/live", (true, "relay.example", 8443, "/live")),
        ] {
            let (secure, host, port, prefix) = split_url(url).unwrap();
            assert_eq!((secure, host.as_str(), port, prefix.as_str()), want, "{url}");
        }
        for bad in ["ftp://127.0.0.1", "127.0.0.1:7400", "wss://", ""] {
            assert!(split_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn listeners_become_websocket_urls() {
        assert_eq!(websocket_url("127.0.0.1:1"), "ws://127.0.0.1:1");
        assert_eq!(websocket_url("http://127.0.0.1:1"), "ws://127.0.0.1:1");
        assert_eq!(websocket_url("https://h"), "wss://h");
        assert_eq!(websocket_url("ws://h"), "ws://h");
        let dev = |public: &str, site: &str| DevFile {
            public: public.to_owned(),
            group: "demo".to_owned(),
            agents: Vec::new(),
            urls: DevUrls { site: site.to_owned() },
        };
        assert_eq!(dev("127.0.0.1:1", "https://127.0.0.1:1/demo/site").url(), "wss://127.0.0.1:1");
        assert_eq!(dev("127.0.0.1:1", "http://127.0.0.1:1/demo/site").url(), "ws://127.0.0.1:1");
        assert_eq!(dev("127.0.0.1:1", "").url(), "ws://127.0.0.1:1");
    }

    #[tokio::test]
    async fn an_authority_is_of_no_use_without_tls() {
        let (url, ca_file) = (Some("ws://127.0.0.1:1".to_owned()), Some("ca.pem".into()));
        let args = TargetArgs { url, ca_file, sources: 1, ..TargetArgs::default() };
        assert!(args.resolve().await.unwrap_err().to_string().contains("--ca-file"));
    }

    #[tokio::test]
    async fn a_foreign_machine_needs_the_owners_word() {
        let url = Some("ws://192.0.2.1:7400".to_owned());
        let args = TargetArgs { url, sources: 1, ..TargetArgs::default() };
        assert!(args.resolve().await.unwrap_err().to_string().contains("--i-own-this-server"));
        assert!(TargetArgs { i_own_this_server: true, ..args.clone() }.resolve().await.is_ok());
        let many = TargetArgs { i_own_this_server: true, sources: 2, ..args };
        assert!(many.resolve().await.unwrap_err().to_string().contains("--sources"));
    }

    #[tokio::test]
    async fn dev_json_gives_address_group_and_agents() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dev.json");
        let text = r#"{"public":"127.0.0.1:7999","group":"shop","ops":"x","agents":[
            {"id":"alice","address":"alice","password":"p1"},{"id":"bob","address":"bob","password":"p2"}]}"#;
        std::fs::write(&file, text).unwrap();
        for path in [file.as_path(), folder.path()] {
            let args = TargetArgs { dev_json: Some(path.to_owned()), sources: 3, ..TargetArgs::default() };
            let target = args.resolve().await.unwrap();
            assert_eq!(target.address, "127.0.0.1:7999".parse().unwrap());
            assert_eq!((target.group.as_str(), target.origin.as_str()), ("shop", "http://127.0.0.1:7999"));
            assert_eq!(target.account(3).unwrap().address, "bob");
            assert_eq!(target.source(5), Some("127.0.0.3:0".parse().unwrap()));
        }
    }
}
