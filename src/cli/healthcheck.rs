//! `porchlight healthcheck`: whether a server on this machine is well, for images that have no other client.
//!
//! Decides whom to ask and what its answer means for the exit code. What well is the server decides (`http`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Failure, block_on, settings};
use crate::config::Sources;
use crate::limits;

/// Asks a server on this machine whether it is well; ends with 0 if it is.
#[derive(Debug, Args)]
pub(super) struct HealthcheckArgs {
    /// Ops listener to ask [default: that of the settings]
    #[arg(long, value_name = "ADDR")]
    addr: Option<SocketAddr>,
    /// Settings file of the server; the environment goes over it.
    #[arg(long, value_name = "FILE", env = "PORCHLIGHT_CONFIG")]
    config: Option<PathBuf>,
    /// Ask whether it takes new work (`/readyz`), not only whether it lives (`/livez`).
    #[arg(long)]
    ready: bool,
}

impl HealthcheckArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let addr = match self.addr {
            Some(addr) => addr,
            None => settings::read(&Sources::of_process(self.config.as_deref(), Vec::new()))?.config.ops.addr,
        };
        let path = if self.ready { "/readyz" } else { "/livez" };
        let told = block_on(async {
            let asked = tokio::time::timeout(limits::HEALTHCHECK_TIME, ask(reachable(addr), path));
            asked.await.with_context(|| format!("no answer within {:?}", limits::HEALTHCHECK_TIME))?
        })?;
        println!("{told}");
        Ok(())
    }
}

/// Where a listener is reached from its own machine.
fn reachable(mut addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => addr.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => addr.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    addr
}

/// What the server says of itself, if that is good.
async fn ask(addr: SocketAddr, path: &str) -> anyhow::Result<String> {
    let stream = TcpStream::connect(addr).await.with_context(|| format!("no server answers at {addr}"))?;
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(path).header(HOST, addr.to_string()).body(Empty::<Bytes>::new())?;
    let answer = requests.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), limits::HEALTHCHECK_ANSWER).collect().await;
    let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
    let told = String::from_utf8_lossy(&body).into_owned();
    if status != StatusCode::OK {
        bail!("the server at {addr} is not well: {path} answers {}, {told}", status.as_u16());
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_reached_by_loopback() {
        for (listens, reached) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")]
        {
            assert_eq!(reachable(listens.parse().unwrap()), reached.parse().unwrap());
        }
    }
}
