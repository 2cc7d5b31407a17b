//! A network between a server and its Redis that a test can make fail.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
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
}

impl Way {
    pub async fn to(redis: &Redis) -> Self {
        let socket = PathBuf::from(redis.url().strip_prefix("redis+unix://").unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state = watch::Sender::new(Network::Up);
        let mut over = state.subscribe();
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    // The handle is gone.
                    Err(_) = over.wait_for(|_| false) => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((near, _)) = accepted else { return };
                tokio::spawn(carry(near, socket.clone(), over.clone()));
            }
        });
        Self { addr, state }
    }

    pub fn url(&self) -> String {
        format!("redis://{}/", self.addr)
    }

    pub fn set(&self, network: Network) {
        self.state.send_replace(network);
    }
}

/// Carries one connection until either side ends it, or the network does.
async fn carry(near: TcpStream, socket: PathBuf, mut state: watch::Receiver<Network>) {
    if *state.borrow() == Network::Refuses {
        return;
    }
    let Ok(far) = UnixStream::connect(socket).await else { return };
    let (mut near_out, mut near_in) = near.into_split();
    let (mut far_out, mut far_in) = far.into_split();
    let there = state.clone();
    let back = state.clone();
    let up = async {
        let mut bytes = vec![0; 65_536];
        while let Ok(read @ 1..) = near_out.read(&mut bytes).await {
            let network = *there.borrow();
            if matches!(network, Network::DeafToServer | Network::Swallows) {
                continue;
            }
            if far_in.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    };
    let down = async {
        let mut bytes = vec![0; 65_536];
        while let Ok(read @ 1..) = far_out.read(&mut bytes).await {
            let network = *back.borrow();
            if matches!(network, Network::DeafToRedis | Network::Swallows) {
                continue;
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
