//! A network before a server, or between it and its Redis, that a test can make fail.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

use super::redis::Redis;

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// It carries.
    Up,
    /// It swallows what the server says, and nobody is told.
    DeafToServer,
    /// It swallows what Redis says, and nobody is told.
    DeafToRedis,
    /// It swallows everything, and nobody is told.
    Swallows,
    /// It ends every connection and takes no new one.
    Refuses,
}

/// A way to a Redis over which the network's state lies. Ends with its handle.
#[derive(Debug)]
pub struct Way {
    addr: SocketAddr,
    state: watch::Sender<Network>,
    open: watch::Sender<usize>,
}

/// Where a way leads.
#[derive(Clone)]
enum Far {
    Socket(PathBuf),
    Addr(SocketAddr),
}

impl Way {
    pub async fn to(redis: &Redis) -> Self {
        Self::lead(Far::Socket(PathBuf::from(redis.url().strip_prefix("redis+unix://").unwrap()))).await
    }

    /// A way to a listener.
    pub async fn before(addr: SocketAddr) -> Self {
        Self::lead(Far::Addr(addr)).await
    }

    async fn lead(far: Far) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state = watch::Sender::new(Network::Up);
        let (mut over, open) = (state.subscribe(), watch::Sender::new(0));
        let counted = open.clone();
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    // The handle is gone.
                    Err(_) = over.wait_for(|_| false) => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((near, _)) = accepted else { return };
                let (carried, counted) = (carry(near, far.clone(), over.clone()), counted.clone());
                counted.send_modify(|open| *open += 1);
                tokio::spawn(async move {
                    carried.await;
                    counted.send_modify(|open| *open -= 1);
                });
            }
        });
        Self { addr, state, open }
    }

    pub fn url(&self) -> String {
        format!("redis://{}/", self.addr)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits until no connection is carried any more: whoever is at the far end has closed its own, or the client
    /// has.
    pub async fn empty(&self) {
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open == 0).await.unwrap();
    }

    /// Waits until it carries.
    pub async fn carries(&self) {
        self.state.subscribe().wait_for(|network| *network == Network::Up).await.unwrap();
    }

    pub fn set(&self, network: Network) {
        self.state.send_replace(network);
    }
}

type Halves = (Box<dyn AsyncRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>);

impl Far {
    async fn connect(self) -> std::io::Result<Halves> {
        Ok(match self {
            Self::Socket(path) => {
                let (out, into) = UnixStream::connect(path).await?.into_split();
                (Box::new(out), Box::new(into))
            }
            Self::Addr(addr) => {
                let (out, into) = TcpStream::connect(addr).await?.into_split();
                (Box::new(out), Box::new(into))
            }
        })
    }
}

/// Carries one connection until either side ends it, or the network does.
async fn carry(near: TcpStream, far: Far, mut state: watch::Receiver<Network>) {
    if *state.borrow() == Network::Refuses {
        return;
    }
    let Ok((mut far_out, mut far_in)) = far.connect().await else { return };
    let (mut near_out, mut near_in) = near.into_split();
    let there = state.clone();
    let back = state.clone();
    let up = async {
        let (mut bytes, mut has_lost) = (vec![0; 65_536], false);
        while let Ok(read @ 1..) = near_out.read(&mut bytes).await {
            let network = *there.borrow();
            if matches!(network, Network::DeafToServer | Network::Swallows) {
                has_lost = true;
                continue;
            }
            if has_lost {
                return;
            }
            if far_in.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    };
    let down = async {
        let (mut bytes, mut has_lost) = (vec![0; 65_536], false);
        while let Ok(read @ 1..) = far_out.read(&mut bytes).await {
            let network = *back.borrow();
            if matches!(network, Network::DeafToRedis | Network::Swallows) {
                has_lost = true;
                continue;
            }
            if has_lost {
                return;
            }
            if near_in.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    };
    // What was swallowed is gone, so a connection that lost anything cannot go on when the network is mended.
    let mended = async {
        let swallows = |network: &Network| !matches!(network, Network::Up | Network::Refuses);
        if state.wait_for(|network| *network == Network::Refuses || swallows(network)).await.is_err() {
            return;
        }
        let _ = state.wait_for(|network| !swallows(network)).await;
    };
    tokio::select! {
        () = up => {}
        () = down => {}
        () = mended => {}
    }
}
