//! The baseline: a fan-out of length-prefixed messages over bare TCP, as plainly as tokio allows.
//!
//! The server is a process of its own, this very binary with `--tcp-baseline`. The client has the shape of
//! `load relay --rate max`: one publisher that sends message by message and keeps the same window to its
//! slowest viewer, and viewers that read 64 KiB at a time.

use std::io::{BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use porchlight::cli::load::Usage;
use porchlight::limits;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

use crate::process::Owned;

/// First byte of a publisher's connection.
const PUBLISHER: u8 = b'P';
/// First byte of a viewer's connection, which is echoed once the viewer counts.
const VIEWER: u8 = b'V';

/// Length of a message, big-endian, in front of it.
const PREFIX: usize = 4;

/// Bytes that one read may take.
const READ: usize = 64 * 1024;

/// Messages that wait for one viewer; more than the client's window, so never the limit.
const WAITING: usize = 1_024;

/// Bytes on their way to the slowest viewer, as in `load relay --rate max`.
const WINDOW_BYTES: usize = limits::OUTBOX_BYTES / 2;

/// How long the last messages may take.
const SETTLE: Duration = Duration::from_secs(10);

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Serves until it is killed: viewers first, then one publisher at a time.
pub(crate) fn serve() -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
        let mut viewers = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            if stream.read_u8().await? == PUBLISHER {
                let mut viewers = std::mem::take(&mut viewers);
                tokio::spawn(async move { fan_out(stream, &mut viewers).await });
                continue;
            }
            stream.write_u8(VIEWER).await?;
            let (out, outgoing) = mpsc::channel(WAITING);
            viewers.push(out);
            tokio::spawn(view_out(stream, outgoing));
        }
    })
}

/// Cuts what the publisher sends into messages and hands each to every viewer, shared.
async fn fan_out(mut publisher: TcpStream, viewers: &mut [mpsc::Sender<Bytes>]) -> std::io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        while let Some(length) = buffer.get(..PREFIX).map(|mut prefix| prefix.get_u32()) {
            let whole = PREFIX + usize::try_from(length).expect("a length fits into memory");
            if buffer.len() < whole {
                break;
            }
            let message = buffer.split_to(whole).freeze();
            for viewer in &*viewers {
                // A viewer that is gone gets nothing.
                let _ = viewer.send(message.clone()).await;
            }
        }
        buffer.reserve(READ);
        if publisher.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

async fn view_out(mut viewer: TcpStream, mut outgoing: mpsc::Receiver<Bytes>) -> std::io::Result<()> {
    while let Some(message) = outgoing.recv().await {
        viewer.write_all(&message).await?;
    }
    Ok(())
}

/// One round of the baseline.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Round {
    pub(crate) cpu_seconds_per_gb: f64,
    delivered_gb: f64,
    gb_per_second: f64,
}

/// One round against a fresh baseline server.
pub(crate) fn measure(message_bytes: usize, viewers: usize, lasts: Duration) -> anyhow::Result<Round> {
    let child = Command::new(std::env::current_exe()?)
        .arg("--tcp-baseline")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("baseline does not start")?;
    let mut child = Owned(child);
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().context("a pipe was asked for")?).read_line(&mut line)?;
    let address = line.trim().parse().with_context(|| format!("baseline said {line:?}"))?;
    let before = Usage::of(child.0.id())?;
    let started = Instant::now();
    let bytes = runtime()?.block_on(load(address, message_bytes, viewers, lasts))?;
    let after = Usage::of(child.0.id())?;
    let took = started.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    let delivered_gb = bytes as f64 / 1e9;
    Ok(Round {
        cpu_seconds_per_gb: (after.cpu_seconds - before.cpu_seconds) / delivered_gb,
        delivered_gb,
        gb_per_second: delivered_gb / took,
    })
}

#[derive(Debug)]
struct Flow {
    /// Bytes that each viewer has got.
    got: Vec<AtomicU64>,
    moved: Notify,
}

impl Flow {
    fn slowest(&self) -> u64 {
        self.got.iter().map(|got| got.load(Ordering::Acquire)).min().unwrap_or(0)
    }
}

/// Publishes for a time and returns how many bytes were delivered in all.
async fn load(
    address: SocketAddr,
    message_bytes: usize,
    viewers: usize,
    lasts: Duration,
) -> anyhow::Result<u64> {
    let flow =
        Arc::new(Flow { got: (0..viewers).map(|_| AtomicU64::new(0)).collect(), moved: Notify::new() });
    for viewer in 0..viewers {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        stream.write_u8(VIEWER).await?;
        stream.read_u8().await?;
        tokio::spawn(read(stream, viewer, Arc::clone(&flow)));
    }
    let mut publisher = TcpStream::connect(address).await?;
    publisher.set_nodelay(true)?;
    publisher.write_u8(PUBLISHER).await?;

    let mut message = BytesMut::with_capacity(message_bytes);
    message.put_u32(u32::try_from(message_bytes - PREFIX)?);
    message.resize(message_bytes, 0x5a);
    let (size, window) = (u64::try_from(message_bytes)?, u64::try_from(WINDOW_BYTES)?);
    let until = Instant::now() + lasts;
    let mut sent = 0;
    while Instant::now() < until {
        if sent - flow.slowest() + size > window {
            let _ = tokio::time::timeout_at(until.into(), flow.moved.notified()).await;
            continue;
        }
        publisher.write_all(&message).await?;
        sent += size;
    }
    let deadline = Instant::now() + SETTLE;
    while flow.slowest() < sent {
        let moved = tokio::time::timeout_at(deadline.into(), flow.moved.notified()).await;
        ensure!(moved.is_ok(), "baseline delivered {} of {sent} bytes to its slowest viewer", flow.slowest());
    }
    Ok(flow.got.iter().map(|got| got.load(Ordering::Acquire)).sum())
}

async fn read(mut stream: TcpStream, viewer: usize, flow: Arc<Flow>) -> std::io::Result<()> {
    let mut buffer = vec![0; READ];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        flow.got[viewer].fetch_add(u64::try_from(read).expect("at most the buffer"), Ordering::AcqRel);
        flow.moved.notify_one();
    }
}
