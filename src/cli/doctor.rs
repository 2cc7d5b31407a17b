//! `porchlight doctor`: whether a server with these settings is, or would be, well where it runs.
//!
//! Looks at what the settings alone can't tell: the machine, where the data is, addresses, certificates, Redis, and the
//! address that browsers use. Decides what is bad and what is only worth a look. Changes nothing, and needs no server that runs.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustix::fs::{Access, AtFlags, CWD, accessat, statvfs};
use rustix::process::{Resource, getrlimit};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::settings::SettingsArgs;
use super::{Failure, block_on};
use crate::clock::wall;
use crate::config::Config;
use crate::http::bind;
use crate::limits;
use crate::redis::Link;
use crate::server::{MASTER_FILE, redis_plan};

/// Looks at the machine, the addresses, certificates and Redis as a server with these settings would.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Authority that vouches for the public address (PEM) [default: those that browsers trust]
    #[arg(long, value_name = "FILE")]
    public_ca: Option<PathBuf>,
}

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    Look,
    Bad,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Good => "good",
            Self::Look => "look",
            Self::Bad => "bad",
        })
    }
}

/// Prints what is found, and remembers how much of it is bad.
#[derive(Default)]
struct Chart {
    bad: usize,
}

impl Chart {
    fn note(&mut self, state: State, what: &str, told: impl fmt::Display) {
        self.bad += usize::from(state == State::Bad);
        println!("{state:<5} {what:<14} {told}");
    }
}

impl DoctorArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.settings.load()?.config;
        let mut chart = Chart::default();
        let violations = config.check();
        for violation in &violations {
            chart.note(State::Bad, "settings", violation);
        }
        if violations.is_empty() {
            chart.note(State::Good, "settings", "nothing contradicts anything else");
        }
        block_on(async {
            files(&config, &mut chart);
            data(&config, &mut chart);
            addresses(&config, &mut chart);
            certificates(&config, &mut chart);
            redis(&config, &mut chart).await;
            public_url(&config, self.public_ca.as_ref(), &mut chart).await;
            Ok(())
        })?;
        match chart.bad {
            0 => Ok(()),
            bad => Err(Failure::Failed(anyhow!("{bad} of these must be mended"))),
        }
    }
}

/// Whether there are files for the connections there may be.
fn files(config: &Config, chart: &mut Chart) {
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let room = most.saturating_sub(limits::RESERVED_FILES);
    let asked = config.limits.connections.unwrap_or(0) as u64;
    let state = match room {
        _ if room < asked => State::Bad,
        _ if room < limits::DOCTOR_CONNECTIONS => State::Look,
        _ => State::Good,
    };
    let told = format!("{most} file descriptors leave room for {room} connections");
    chart.note(state, "file limit", if room < asked { format!("{told}, not for {asked}") } else { told });
}

/// Whether the data can be kept where the settings say, and from others.
fn data(config: &Config, chart: &mut Chart) {
    let (what, folder) = ("store.data_dir", config.store.data_dir.as_path());
    let (state, told) = match kept(folder, config.auth.master_secret.is_none()) {
        Ok(found) => found,
        Err(error) => (State::Bad, format!("{error:#}")),
    };
    chart.note(state, what, format_args!("{}: {told}", folder.display()));
}

/// How a data directory is; of one that is missing, where it would be made.
fn kept(folder: &Path, has_master: bool) -> anyhow::Result<(State, String)> {
    let (there, meta) = nearest(folder)?;
    if !meta.is_dir() {
        bail!("{} is no directory", there.display());
    }
    accessat(CWD, there, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
        .map_err(io::Error::from)
        .with_context(|| format!("can't write to {}", there.display()))?;
    let system = statvfs(there).map_err(io::Error::from)?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    let mib = free >> 20;
    if free == 0 {
        bail!("there is no room for data");
    }
    let exists = there == folder;
    let mode = meta.permissions().mode() & 0o777;
    if exists && mode & 0o022 != 0 {
        bail!("others may change what is in it (mode {mode:o})");
    }
    if exists && has_master {
        let master = folder.join(MASTER_FILE);
        match fs::metadata(&master).map(|meta| meta.permissions().mode() & 0o777) {
            Ok(mode) if mode & 0o077 != 0 => {
                bail!("others may read the master secret in it, {MASTER_FILE} (mode {mode:o})")
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("can't look at {}", master.display()));
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(match () {
        () if exists && mode & 0o055 != 0 => {
            (State::Look, format!("others may read what is in it (mode {mode:o})"))
        }
        () if free < limits::DOCTOR_FREE_BYTES => (State::Look, format!("{mib} MiB are free")),
        () if exists => (State::Good, format!("nobody else has access, {mib} MiB are free")),
        () => (State::Good, format!("can be made, {mib} MiB are free")),
    })
}

/// The folder, or the nearest above it that is there.
fn nearest(folder: &Path) -> anyhow::Result<(&Path, fs::Metadata)> {
    for path in folder.ancestors() {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        match fs::metadata(path) {
            Ok(meta) => return Ok((path, meta)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("can't look at {}", path.display())),
        }
    }
    bail!("nothing of its path is there")
}

/// Whether the listeners can be opened.
fn addresses(config: &Config, chart: &mut Chart) {
    for (what, addr) in [
        ("public.addr", config.public.addr),
        ("ops.addr", config.ops.addr),
        ("admin.addr", config.admin.addr),
    ] {
        match bind(addr) {
            Ok(_listener) => chart.note(State::Good, what, format_args!("{addr} is free")),
            Err(error) => {
                let cause =
                    std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<io::Error>());
                let taken = cause.is_some_and(|cause| cause.kind() == io::ErrorKind::AddrInUse);
                if taken {
                    chart.note(
                        State::Look,
                        what,
                        format_args!("{addr} is in use: by a server that runs already?"),
                    );
                } else {
                    chart.note(State::Bad, what, format_args!("{:#}", anyhow::Error::from(error)));
                }
            }
        }
    }
}

/// For how long certificates hold. What can't be used of them the settings' own check has told.
fn certificates(config: &Config, chart: &mut Chart) {
    let named =
        [config.public.tls(), config.admin.tls()].into_iter().filter_map(|paths| paths.ok().flatten());
    for paths in named.chain(config.got()) {
        let what = paths.setting();
        if !paths.cert().exists() {
            chart.note(State::Look, what, "there is no certificate yet: a server that runs asks for one");
            continue;
        }
        let Ok(files) = paths.read() else { continue };
        let left = files.expires - i64::try_from(wall().unix_seconds()).unwrap_or(i64::MAX);
        let days = left / 86_400;
        match days {
            _ if left <= 0 => chart.note(State::Bad, what, "has expired"),
            _ if days < limits::DOCTOR_CERTIFICATE_DAYS => {
                chart.note(State::Look, what, format_args!("expires in {days} days"));
            }
            _ => chart.note(State::Good, what, format_args!("holds for {days} days")),
        }
    }
}

/// Whether Redis can be used, and whether its clock and ours agree.
async fn redis(config: &Config, chart: &mut Chart) {
    if !config.redis.is_named() {
        return;
    }
    let link = async {
        let plan = redis_plan(&config.redis)?;
        Ok::<_, anyhow::Error>(Link::connect(&plan, Duration::ZERO, None).await?)
    };
    let link = match link.await {
        Ok(link) => link,
        Err(error) => return chart.note(State::Bad, "redis", format_args!("{error:#}")),
    };
    chart.note(State::Good, "redis", "it answers, is a primary, and evicts nothing");
    match link.ask::<(u64, u64)>(&::redis::cmd("TIME")).await {
        Ok((theirs, _)) => {
            let apart = wall().unix_seconds().abs_diff(theirs);
            let state = if apart > limits::DOCTOR_CLOCKS_APART { State::Bad } else { State::Good };
            chart.note(state, "clock", format_args!("{apart} s apart from that of Redis"));
        }
        Err(error) => chart.note(State::Look, "clock", format_args!("can't be compared with Redis: {error}")),
    }
}

/// Whether the address that browsers use leads to a server that takes work.
async fn public_url(config: &Config, authority: Option<&PathBuf>, chart: &mut Chart) {
    let Some(url) = &config.public.url else {
        return chart.note(State::Look, "public.url", "is not set: links are paths, and not looked at");
    };
    let asked = tokio::time::timeout(limits::DOCTOR_ANSWER, ready(url, authority)).await;
    match asked.unwrap_or_else(|_| Err(anyhow!("no answer within {:?}", limits::DOCTOR_ANSWER))) {
        Ok(StatusCode::OK) if url.starts_with("http://") => {
            chart.note(
                State::Look,
                "public.url",
                format_args!("{url} answers; browsers share screens over https only"),
            );
        }
        Ok(StatusCode::OK) => chart.note(State::Good, "public.url", format_args!("{url} answers")),
        Ok(other) => chart.note(State::Bad, "public.url", format_args!("{url}/readyz answers {other}")),
        Err(error) => chart.note(State::Bad, "public.url", format_args!("{url}: {error:#}")),
    }
}

/// What `/readyz` below an address answers.
async fn ready(url: &str, authority: Option<&PathBuf>) -> anyhow::Result<StatusCode> {
    let url: Uri = url.parse().context("is no address")?;
    let host = url.host().context("names no host")?.to_owned();
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let secured = url.scheme_str() == Some("https");
    let port = url.port_u16().unwrap_or(if secured { 443 } else { 80 });
    let tcp = TcpStream::connect((bare.as_str(), port)).await.context("nobody answers there")?;
    let authority_of_host = url.authority().map_or(host, ToString::to_string);
    if !secured {
        return ask(tcp, &authority_of_host).await;
    }
    let roots = match authority {
        None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        Some(path) => {
            let mut roots = RootCertStore::empty();
            let found = CertificateDer::pem_file_iter(path)
                .with_context(|| format!("can't read {}", path.display()))?;
            for certificate in found {
                roots.add(certificate?)?;
            }
            roots
        }
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(bare).context("its host is no name")?;
    let stream = TlsConnector::from(Arc::new(tls)).connect(name, tcp).await.context("TLS fails")?;
    ask(stream, &authority_of_host).await
}

async fn ask<S>(stream: S, host: &str) -> anyhow::Result<StatusCode>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get("/readyz").header(HOST, host).body(Empty::<Bytes>::new())?;
    let answer = requests.send_request(request).await.context("it hangs up")?;
    if answer.status().is_redirection() {
        bail!("it sends browsers elsewhere ({})", answer.status());
    }
    Ok(answer.status())
}
