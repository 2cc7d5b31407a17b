//! From arguments to settings, the same way for every command that needs them.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::Failure;
use crate::config::{self, Config, Loaded, Sources};
use crate::telemetry::LogFormat;

/// Addresses of the three listeners.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct AddrArgs {
    /// Listener for browsers; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    public_addr: Option<SocketAddr>,
    /// Listener for probes and metrics; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    ops_addr: Option<SocketAddr>,
    /// Listener for operators; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    admin_addr: Option<SocketAddr>,
}

/// How the log looks.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct LogArgs {
    /// `text` or `json`.
    #[arg(long, value_parser = log_format)]
    log_format: Option<LogFormat>,
    /// Levels, overall and by module: `info,porchlight::ws=debug`.
    #[arg(long, value_name = "FILTER")]
    log_filter: Option<String>,
}

fn log_format(text: &str) -> Result<LogFormat, &'static str> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be text or json"),
    }
}

/// A key and the value a flag gives it.
pub(super) type Flag = (&'static str, String);

impl AddrArgs {
    pub(super) fn flags(&self) -> impl Iterator<Item = Flag> {
        [("public.addr", self.public_addr), ("ops.addr", self.ops_addr), ("admin.addr", self.admin_addr)]
            .into_iter()
            .filter_map(|(key, addr)| Some((key, addr?.to_string())))
    }
}

impl LogArgs {
    pub(super) fn flags(&self) -> impl Iterator<Item = Flag> {
        let format = self.log_format.map(|format| match format {
            LogFormat::Text => "text".to_owned(),
            LogFormat::Json => "json".to_owned(),
        });
        [("log.format", format), ("log.filter", self.log_filter.clone())]
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
    }
}

/// Everything that `serve` takes, and so the commands that look at its settings.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct SettingsArgs {
    /// Settings file (TOML). The environment (`PORCHLIGHT__SECTION__KEY`) and flags go over it.
    #[arg(long, value_name = "FILE", env = "PORCHLIGHT_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    addrs: AddrArgs,
    /// Directory of the database and of generated secrets.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Serve browsers in plain text beyond loopback; only behind a proxy that terminates TLS.
    #[arg(long)]
    insecure: bool,
    /// Serve operators in plain text beyond loopback: admin keys cross the network in clear.
    #[arg(long)]
    insecure_admin: bool,
    /// Certificate to serve browsers over TLS with (PEM).
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Private key of that certificate (PEM).
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Certificate to serve operators over TLS with (PEM).
    #[arg(long, value_name = "FILE")]
    admin_tls_cert: Option<PathBuf>,
    /// Private key of that certificate (PEM).
    #[arg(long, value_name = "FILE")]
    admin_tls_key: Option<PathBuf>,
    /// Authority whose certificates operators' clients must show (PEM).
    #[arg(long, value_name = "FILE")]
    admin_client_ca: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

impl SettingsArgs {
    /// Reads the settings without judging them.
    pub(super) fn load(&self) -> Result<Loaded, Failure> {
        let mut flags: Vec<Flag> = self.addrs.flags().chain(self.log.flags()).collect();
        for (given, key) in [(self.insecure, "public.insecure"), (self.insecure_admin, "admin.insecure")] {
            if given {
                flags.push((key, "true".to_owned()));
            }
        }
        for (key, path) in [
            ("store.data_dir", &self.data_dir),
            ("public.tls_cert", &self.tls_cert),
            ("public.tls_key", &self.tls_key),
            ("admin.tls_cert", &self.admin_tls_cert),
            ("admin.tls_key", &self.admin_tls_key),
            ("admin.client_ca", &self.admin_client_ca),
        ] {
            flags.extend(path_flag(key, path.as_deref())?);
        }
        read(&Sources::of_process(self.config.as_deref(), flags))
    }

    /// `check-config`.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let loaded = self.load()?;
        for warning in &loaded.warnings {
            eprintln!("warning: {warning}");
        }
        checked(loaded.config)?;
        println!("the settings are good");
        Ok(())
    }

    /// `print-config`. Prints also what `check-config` would refuse: one looks at settings to mend them.
    pub(super) fn print(&self) -> Result<(), Failure> {
        let loaded = self.load()?;
        for warning in &loaded.warnings {
            eprintln!("warning: {warning}");
        }
        print!("{}", loaded.config.to_toml());
        Ok(())
    }
}

/// The flag for a file or directory.
pub(super) fn path_flag(key: &'static str, path: Option<&std::path::Path>) -> Result<Option<Flag>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let text = path.to_str().with_context(|| format!("the name for {key} is not UTF-8"));
    Ok(Some((key, text.map_err(Failure::Settings)?.to_owned())))
}

/// Reads settings from their sources.
pub(super) fn read(sources: &Sources<'_>) -> Result<Loaded, Failure> {
    config::load(sources).map_err(|error| Failure::Settings(error.into()))
}

/// Passes settings on only if nothing is wrong with them; otherwise tells all that is.
pub(super) fn checked(config: Config) -> Result<Config, Failure> {
    let violations = config.check();
    if violations.is_empty() {
        return Ok(config);
    }
    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
    Err(Failure::Settings(anyhow::anyhow!("the settings can't be used:\n  {}", lines.join("\n  "))))
}
