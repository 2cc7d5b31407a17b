//! What a frame costs on its way from one node to another, by three ways in the same run:
//! `cargo bench --bench hop -- [--fps 1000] [--frame-bytes 16384] [--seconds 10]`.
//!
//! Frames go at a steady pace, as those of a screen do, from one task to another of this process: over a channel of a
//! Redis of its own, over a gRPC stream, and as the baseline over bare TCP with a length in front. Counts the
//! processor time of both ends and of Redis, without that of keeping the pace. Every frame must arrive.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::{Buf, Bytes, BytesMut};
use clap::Parser;
use futures_util::StreamExt;
use porchlight::cli::load::Usage;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{ClientStreamingService, NamedService};
use tonic::transport::{Channel, Server, server::TcpIncoming};
use tonic_prost::ProstCodec;

/// The server's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The ways take turns this often; odd, so that there is a median.
const ROUNDS: usize = 3;

/// Bytes of the length in front of a frame on bare TCP.
const PREFIX: usize = 4;

/// Frames that wait to be sent; the pace keeps them few.
const WAITING: usize = 64;

/// How long a Redis may take to listen.
const STARTING: Duration = Duration::from_secs(10);

/// Measures one hop.
#[derive(Debug, Parser)]
struct Args {
    /// Frames per second
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    fps: u32,
    /// Bytes of a frame
    #[arg(long, default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    frame_bytes: u32,
    /// How long each way is measured in each round
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=120))]
    seconds: u32,
    /// Cargo says this to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is sent.
#[derive(Debug, Clone)]
struct Load {
    frame: Bytes,
    count: u32,
    gap: Duration,
}

impl Load {
    /// Sends every frame at its time.
    async fn send(&self, mut one: impl AsyncFnMut(Bytes) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let begun = Instant::now();
        for index in 0..self.count {
            tokio::time::sleep_until((begun + self.gap * index).into()).await;
            one(self.frame.clone()).await?;
        }
        Ok(())
    }

    fn bytes(&self) -> f64 {
        f64::from(self.count) * f64::from(u32::try_from(self.frame.len()).unwrap_or(u32::MAX))
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let load = Load {
        frame: vec![0x5a; usize::try_from(args.frame_bytes)?].into(),
        count: args.fps * args.seconds,
        gap: Duration::from_secs(1) / args.fps,
    };
    let redis = OwnRedis::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let names = ["bare TCP", "gRPC stream", "Redis channel"];
    let mut figures = names.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        let pace = runtime.block_on(spent(&[], load.send(async |_| Ok(()))))?;
        let used = runtime.block_on(async {
            anyhow::Ok([
                spent(&[], over_tcp(&load)).await.context("bare TCP")?,
                spent(&[], over_grpc(&load)).await.context("gRPC")?,
                spent(&[redis.child.id()], over_redis(&load, &redis)).await.context("Redis")?,
            ])
        })?;
        for (figures, used) in figures.iter_mut().zip(used) {
            figures.push((used - pace).max(0.0) * 1e9 / load.bytes());
        }
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "one hop of {} B frames at {}/s", args.frame_bytes, args.fps)?;
    let [baseline, ..] = figures.each_mut().map(|figures| median(figures));
    for (name, figures) in names.iter().zip(&mut figures) {
        let figure = median(figures);
        writeln!(out, "{name:<16} {figure:>6.2} CPU s/GB {:>6.2} ×", figure / baseline)?;
    }
    Ok(())
}

/// Processor time that this process and others use for something, in seconds.
async fn spent(others: &[u32], what: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<f64> {
    let now = || -> anyhow::Result<f64> {
        let pids = others.iter().copied().chain([std::process::id()]);
        pids.map(|pid| Ok(Usage::of(pid)?.cpu_seconds)).sum()
    };
    let before = now()?;
    what.await?;
    Ok(now()? - before)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

// ── Bare TCP ────────────────────────────────────────────────────────────────────────────────────

async fn over_tcp(load: &Load) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut there = TcpStream::connect(listener.local_addr()?).await?;
    let (mut here, _) = listener.accept().await?;
    there.set_nodelay(true)?;
    let count = load.count;
    let reader = tokio::spawn(async move {
        let (mut read, mut got) = (BytesMut::new(), 0);
        while got < count {
            ensure!(here.read_buf(&mut read).await? > 0, "{got} frames of {count} came");
            while let Some(length) = read.first_chunk::<PREFIX>() {
                let length = usize::try_from(u32::from_be_bytes(*length))?;
                if read.len() < PREFIX + length {
                    read.reserve(PREFIX + length - read.len());
                    break;
                }
                read.advance(PREFIX);
                drop(read.split_to(length).freeze());
                got += 1;
            }
        }
        Ok(())
    });
    load.send(async |frame| {
        let prefix = u32::try_from(frame.len())?.to_be_bytes();
        let mut whole = Buf::chain(&prefix[..], frame);
        Ok(there.write_all_buf(&mut whole).await?)
    })
    .await?;
    reader.await?
}

// ── gRPC ────────────────────────────────────────────────────────────────────────────────────────

/// Takes frames, and tells how many came when the stream ends.
#[derive(Clone)]
struct Taker(mpsc::Sender<u32>);

impl NamedService for Taker {
    const NAME: &'static str = "hop.Frames";
}

impl ClientStreamingService<Bytes> for Taker {
    type Response = ();
    type Future = BoxFuture<tonic::Response<()>, tonic::Status>;

    fn call(&mut self, request: tonic::Request<tonic::Streaming<Bytes>>) -> Self::Future {
        let came = self.0.clone();
        Box::pin(async move {
            let (mut frames, mut got) = (request.into_inner(), 0);
            while frames.message().await?.is_some() {
                got += 1;
            }
            came.send(got).await.map_err(|_| tonic::Status::cancelled("nobody counts"))?;
            Ok(tonic::Response::new(()))
        })
    }
}

impl Service<http::Request<Body>> for Taker {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let taker = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<(), Bytes>::default());
            Ok(grpc.client_streaming(taker, request).await)
        })
    }
}

async fn over_grpc(load: &Load) -> anyhow::Result<()> {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?.with_nodelay(Some(true));
    let address = incoming.local_addr()?;
    let (came, mut counted) = mpsc::channel(1);
    let server = tokio::spawn(Server::builder().add_service(Taker(came)).serve_with_incoming(incoming));
    let channel = Channel::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?;
    let (frames, waiting) = mpsc::channel::<Bytes>(WAITING);
    let sent = futures_util::stream::unfold(waiting, async |mut waiting| {
        waiting.recv().await.map(|frame| (frame, waiting))
    });
    let call = tokio::spawn(async move {
        let mut grpc = tonic::client::Grpc::new(channel);
        grpc.ready().await?;
        let path = PathAndQuery::from_static("/hop.Frames/Take");
        grpc.client_streaming(tonic::Request::new(sent), path, ProstCodec::<Bytes, ()>::default()).await?;
        anyhow::Ok(())
    });
    load.send(async |frame| Ok(frames.send(frame).await?)).await?;
    drop(frames);
    call.await??;
    let got = counted.recv().await;
    server.abort();
    ensure!(got == Some(load.count), "{got:?} frames of {} came", load.count);
    Ok(())
}

// ── Redis ───────────────────────────────────────────────────────────────────────────────────────

/// A Redis that ends with its owner.
struct OwnRedis {
    child: Child,
    folder: TempDir,
}

impl OwnRedis {
    fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(folder.path().join("socket"))
            .stdout(Stdio::null())
            .spawn()
            .context("redis-server does not start")?;
        let own = Self { child, folder };
        let until = Instant::now() + STARTING;
        while std::os::unix::net::UnixStream::connect(own.folder.path().join("socket")).is_err() {
            ensure!(Instant::now() < until, "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(own)
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn over_redis(load: &Load, server: &OwnRedis) -> anyhow::Result<()> {
    let url = format!("redis+unix://{}", server.folder.path().join("socket").display());
    let client = redis::Client::open(url)?;
    let mut heard = client.get_async_pubsub().await?;
    heard.subscribe("frames").await?;
    let mut link = client.get_multiplexed_async_connection().await?;
    let count = load.count;
    let reader = tokio::spawn(async move {
        let (mut heard, mut got) = (heard.into_on_message(), 0);
        while got < count {
            let message = heard.next().await.with_context(|| format!("{got} frames of {count} came"))?;
            drop(message.get_payload::<Bytes>()?);
            got += 1;
        }
        anyhow::Ok(())
    });
    load.send(async |frame| {
        let mut publish = redis::cmd("PUBLISH");
        let _: u32 = publish.arg("frames").arg(&frame[..]).query_async(&mut link).await?;
        Ok(())
    })
    .await?;
    reader.await?
}
