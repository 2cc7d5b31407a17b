//! A listening socket that goes on when the process has no file descriptor left.
//!
//! Decides what happens then: a descriptor that was kept for this moment is given up for the next connection, so that
//! somebody can tell it that there is no room, or serve it where that matters more. Without one it waits a moment; it
//! neither spins nor ends. Does not decide who may come in. Run by the listeners.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::limits;
use crate::room::is_out_of_files;
use crate::telemetry::Meters;

/// A connection that came in.
#[derive(Debug)]
pub struct Arrival {
    /// The connection.
    pub stream: TcpStream,
    /// Where it comes from.
    pub from: SocketAddr,
    /// It has one of the descriptors that were kept: there is no other.
    pub by_spare: bool,
}

/// A listening socket with the descriptors that are kept for it.
#[derive(Debug)]
pub struct Arrivals {
    socket: TcpListener,
    listener: &'static str,
    spares: Vec<File>,
    most: usize,
    meters: Arc<Meters>,
    /// When it was last said that nobody can be accepted.
    warned: Option<Instant>,
}

impl Arrivals {
    /// Keeps so many descriptors for connections to this socket.
    pub fn new(listener: &'static str, socket: TcpListener, spares: usize, meters: Arc<Meters>) -> Self {
        let mut arrivals =
            Self { socket, listener, spares: Vec::with_capacity(spares), most: spares, meters, warned: None };
        arrivals.refill();
        arrivals
    }

    /// The next connection. May be dropped at any time.
    pub async fn next(&mut self) -> Arrival {
        loop {
            self.refill();
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                // A descriptor may be free by now.
                () = tokio::time::sleep(limits::ACCEPT_BACK_OFF), if self.spares.len() < self.most => continue,
            };
            let error = match accepted {
                Ok((stream, from)) => return Arrival { stream, from, by_spare: false },
                Err(error) if is_about_the_peer(&error) => continue,
                Err(error) => error,
            };
            self.meters.accept_failed(self.listener);
            self.warn(&error);
            if is_out_of_files(&error) && self.spares.pop().is_some() {
                // Another thread may have been quicker to take it.
                if let Some(Ok((stream, from))) = self.socket.accept().now_or_never() {
                    return Arrival { stream, from, by_spare: true };
                }
            }
            tokio::time::sleep(limits::ACCEPT_BACK_OFF).await;
        }
    }

    /// Takes the descriptors that were given up again, as soon as there are some.
    fn refill(&mut self) {
        while self.spares.len() < self.most {
            match File::open("/dev/null") {
                Ok(spare) => self.spares.push(spare),
                Err(_) => return,
            }
        }
    }

    /// Says why nobody can be accepted, unless it was said a moment ago.
    fn warn(&mut self, error: &io::Error) {
        let now = Instant::now();
        if self.warned.is_none_or(|at| now.duration_since(at) >= limits::REFUSAL_WARNING) {
            self.warned = Some(now);
            tracing::warn!(listener = self.listener, %error, "can't accept connections as usual");
        }
    }
}

/// Errors that say something about one connection, not about the listener.
fn is_about_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn what_ails_a_peer_is_not_the_listeners() {
        assert!(is_about_the_peer(&Errno::CONNABORTED.into()));
        assert!(
            ![Errno::MFILE, Errno::NFILE, Errno::NOMEM]
                .iter()
                .any(|errno| is_about_the_peer(&(*errno).into()))
        );
    }
}
