//! `porchlight dev`: a server on this machine with everything to try it out, and nothing to configure.
//!
//! Decides the defaults of a trial and prints how to reach it. The same is written to `dev.json` in the
//! data directory, for tests, the load generator and `porchlight admin`.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::settings::{self, AddrArgs, Flag, LogArgs};
use super::{Failure, block_on, serve};
use crate::config::Sources;
use crate::http::has_cobrowse;
use crate::hub::accounts::{Demo, DemoAgent};
use crate::limits;
use crate::server::Running;

/// Where `dev` keeps its data unless told otherwise.
pub(super) const DATA_DIR: &str = ".porchlight";

const DEV_FILE: &str = "dev.json";

/// Runs a server on this machine with a demo group, a demo site and an agent console.
#[derive(Debug, Args)]
pub(super) struct DevArgs {
    #[command(flatten)]
    addrs: AddrArgs,
    /// Directory of the database, the keys and `dev.json`; kept between runs.
    #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
    data_dir: PathBuf,
    /// Keeps nothing: the data directory is a temporary one, removed at the end.
    #[arg(long, conflicts_with = "data_dir")]
    ephemeral: bool,
    #[command(flatten)]
    log: LogArgs,
}

/// What `dev.json` holds. Everything in it is for this trial only, the secrets too.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DevFile {
    /// Public listener, `host:port`.
    pub(super) public: SocketAddr,
    /// Admin listener.
    pub(super) admin: SocketAddr,
    /// Ops listener.
    pub(super) ops: SocketAddr,
    /// The demo group.
    pub(super) group: String,
    /// The operator's key.
    pub(super) admin_key: String,
    /// The group's API key.
    pub(super) api_key: DevApiKey,
    /// The group's agents.
    pub(super) agents: Vec<DevAgent>,
    /// Pages to open.
    pub(super) urls: DevUrls,
}

/// An API key with its secret.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DevApiKey {
    pub(super) id: String,
    pub(super) secret: String,
}

/// An agent with its password.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DevAgent {
    pub(super) id: String,
    pub(super) address: String,
    pub(super) password: String,
    pub(super) partner_user_id: String,
    pub(super) profile: String,
}

impl DevAgent {
    fn of(agent: &DemoAgent) -> Self {
        Self {
            id: agent.id.to_string(),
            address: agent.address.clone(),
            password: agent.password.clone(),
            partner_user_id: agent.partner_user_id.clone(),
            profile: agent.profile.clone(),
        }
    }
}

/// Pages to open.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DevUrls {
    site: String,
    agent: String,
    settings: String,
}

impl DevFile {
    /// The file of an earlier run, if there is one that can be read.
    pub(super) fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_str(&fs::read_to_string(data_dir.join(DEV_FILE)).ok()?).ok()
    }

    fn of(running: &Running, demo: &Demo, scheme: &str) -> Self {
        let base = format!("{scheme}://{}", running.public);
        Self {
            public: running.public,
            admin: running.admin,
            ops: running.ops,
            group: demo.group.id.to_string(),
            admin_key: demo.admin_key.clone(),
            api_key: DevApiKey { id: demo.api_key.0.to_string(), secret: demo.api_key.1.clone() },
            agents: demo.agents.iter().map(DevAgent::of).collect(),
            urls: DevUrls {
                site: format!("{base}/demo/site"),
                agent: format!("{base}/demo/agent"),
                settings: format!("{base}/settings"),
            },
        }
    }

    /// Writes the file whole or not at all, readable by its owner only.
    fn write(&self, data_dir: &Path) -> anyhow::Result<()> {
        let draft = data_dir.join(format!("{DEV_FILE}.{}", std::process::id()));
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        let _ = fs::remove_file(&draft);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&draft, data_dir.join(DEV_FILE))?;
        Ok(())
    }

    /// What people want to know first comes first.
    fn banner(&self, data_dir: &Path, scheme: &str) -> String {
        let agents: Vec<String> =
            self.agents.iter().map(|agent| format!("{} / {}", agent.address, agent.password)).collect();
        let lines = [
            ("Demo site", self.urls.site.clone()),
            ("Agent console", self.urls.agent.clone()),
            ("Settings", self.urls.settings.clone()),
            ("History", format!("{scheme}://{}/history", self.public)),
            ("Sign in", agents.join("   or   ")),
            ("", String::new()),
            ("Group", self.group.clone()),
            ("API key", format!("{}  {}", self.api_key.id, self.api_key.secret)),
            ("Admin key", self.admin_key.clone()),
            ("", String::new()),
            ("Public", format!("{scheme}://{}", self.public)),
            ("Ops", format!("http://{}/metrics", self.ops)),
            ("Admin (gRPC)", self.admin.to_string()),
            ("All of this", data_dir.join(DEV_FILE).display().to_string()),
        ];
        let mut text = String::from("\nPorchlight is on. This is a trial for this machine only.\n\n");
        for (name, value) in lines {
            text.push_str(format!("  {name:<14} {value}").trim_end());
            text.push('\n');
        }
        if !has_cobrowse() {
            text.push_str(
                "\nBuilt without cobrowse, as npm was missing: Join shares screens instead of pages.\n",
            );
        }
        text.push_str("\nPress Ctrl+C to stop.\n");
        text
    }
}

impl DevArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let scratch = if self.ephemeral { Some(Scratch::new()?) } else { None };
        let data_dir = scratch.as_ref().map_or(self.data_dir.as_path(), |scratch| scratch.0.as_path());
        let flags: Vec<Flag> = self
            .addrs
            .flags()
            .chain(self.log.flags())
            .chain(settings::path_flag("store.data_dir", Some(data_dir))?)
            .collect();
        let sources = Sources { defaults: defaults(), ..Sources::of_process(None, flags) };
        let loaded = settings::read(&sources)?;
        let config = settings::checked(loaded.config)?;
        if !config.public.addr.ip().is_loopback() {
            let error = anyhow::anyhow!("dev listens on this machine only, not on {}", config.public.addr);
            return Err(Failure::Settings(error));
        }
        let scheme = if config.public.has_tls() { "https" } else { "http" };
        let announce = |running: &Running| {
            let demo = running.demo.as_ref().context("the demo group is missing")?;
            let file = DevFile::of(running, demo, scheme);
            file.write(data_dir).with_context(|| format!("can't write {DEV_FILE}"))?;
            // The trial goes on when whoever started it reads no further; the file has it all.
            let mut out = std::io::stdout().lock();
            if let Err(error) = writeln!(out, "{}", file.banner(data_dir, scheme)).and_then(|()| out.flush())
            {
                tracing::warn!(%error, "can't print how to reach the server, {DEV_FILE} tells it too");
            }
            Ok(())
        };
        Ok(block_on(serve::run(config, &loaded.warnings, None, announce))?)
    }
}

/// What differs from `serve` before anything is said.
fn defaults() -> Vec<Flag> {
    let on = || "true".to_owned();
    vec![
        ("public.addr", format!("127.0.0.1:{}", limits::PUBLIC_PORT)),
        ("public.exempt_loopback", on()),
        ("admin.reflection", on()),
        ("demo.enabled", on()),
    ]
}

/// A directory that goes with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("porchlight-{}", uuid::Uuid::now_v7().simple()));
        fs::DirBuilder::new().mode(0o700).create(&path).context("can't make a temporary directory")?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> DevFile {
        let addr = |port| SocketAddr::from(([127, 0, 0, 1], port));
        DevFile {
            public: addr(1),
            admin: addr(2),
            ops: addr(3),
            group: "demo".into(),
            admin_key: "a".into(),
            api_key: DevApiKey { id: "k".into(), secret: "s".into() },
            agents: vec![DevAgent {
                id: "alice".into(),
                address: "alice".into(),
                password: "p".into(),
                partner_user_id: "005A".into(),
                profile: "Support".into(),
            }],
            urls: DevUrls { site: "u1".into(), agent: "u2".into(), settings: "u3".into() },
        }
    }

    #[test]
    fn the_shape_of_dev_json_is_pinned() {
        assert_eq!(
            serde_json::to_value(sample()).unwrap(),
            serde_json::json!({
                "public": "127.0.0.1:1",
                "admin": "127.0.0.1:2",
                "ops": "127.0.0.1:3",
                "group": "demo",
                "adminKey": "a",
                "apiKey": {"id": "k", "secret": "s"},
                "agents": [{
                    "id": "alice",
                    "address": "alice",
                    "password": "p",
                    "partnerUserId": "005A",
                    "profile": "Support",
                }],
                "urls": {"site": "u1", "agent": "u2", "settings": "u3"},
            })
        );
    }

    #[test]
    fn dev_json_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        sample().write(dir.path()).unwrap();
        sample().write(dir.path()).unwrap();
        let mode = fs::metadata(dir.path().join(DEV_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(DevFile::read(dir.path()).unwrap().group, "demo");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_scratch_directory_goes_with_its_owner() {
        let scratch = Scratch::new().unwrap();
        let path = scratch.0.clone();
        fs::write(path.join("x"), "x").unwrap();
        drop(scratch);
        assert!(!path.exists());
    }
}
