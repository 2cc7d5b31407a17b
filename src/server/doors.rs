//! The doors of a server: its sockets, what they prove themselves with, and where handshakes lead.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::config::{Config, TlsError, TlsPaths};
use crate::http::{ApiError, BindError, UpgradeHook, bind};
use crate::limits;
use crate::telemetry::Meters;
#[cfg(feature = "acme")]
use crate::tls::Acme;
use crate::tls::{Certificates, Speaks};
use crate::ws::Sockets;

/// What the listeners that speak TLS prove themselves with.
#[derive(Debug, Clone)]
pub(super) struct Proofs {
    pub public: Option<Arc<Certificates>>,
    pub admin: Option<Arc<Certificates>>,
    /// Gets the public listener's.
    #[cfg(feature = "acme")]
    acme: Option<Arc<Acme>>,
}

impl Proofs {
    pub(super) fn open(config: &Config, meters: &Arc<Meters>) -> Result<Self, StartError> {
        let open = |listener, speaks, paths: Result<Option<TlsPaths>, TlsError>| {
            let paths = paths.map_err(told)?;
            let opened = paths.map(|paths| Certificates::open(listener, speaks, paths, Arc::clone(meters)));
            opened.transpose().map_err(told)
        };
        let admin = open("admin", Speaks::Http2, config.admin.tls())?;
        #[cfg(feature = "acme")]
        if let Some(acme) = Acme::open(config, meters).map(Arc::new) {
            return Ok(Self { public: Some(Arc::clone(acme.certificates())), admin, acme: Some(acme) });
        }
        Ok(Self {
            public: open("public", Speaks::Http1, config.public.tls())?,
            admin,
            #[cfg(feature = "acme")]
            acme: None,
        })
    }

    /// Looks at their files, and renews what the server gets for itself, until `ended`.
    pub(super) fn watch(&self, ended: &CancellationToken) {
        for one in self.all() {
            tokio::spawn(one.watch(ended.clone()));
        }
        #[cfg(feature = "acme")]
        if let Some(acme) = self.acme.clone() {
            tokio::spawn(acme.run(ended.clone()));
        }
    }

    /// Looks at their files now.
    pub(super) async fn look(&self) {
        for one in self.all() {
            // It ends before it has looked only where the runtime ends.
            let _looked = tokio::task::spawn_blocking(move || one.look(true)).await;
        }
        #[cfg(feature = "acme")]
        if let Some(acme) = &self.acme {
            acme.hurry();
        }
    }

    fn all(&self) -> impl Iterator<Item = Arc<Certificates>> + use<> {
        [self.public.clone(), self.admin.clone()].into_iter().flatten()
    }
}

fn told(error: TlsError) -> StartError {
    StartError::Tls { key: error.key(), source: error }
}

pub(super) fn listen(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    let socket = bind(addr)?;
    let bound = socket.local_addr().unwrap_or(addr);
    Ok((socket, bound))
}

/// Hands handshakes of the public listener to the sockets.
pub(super) fn upgrades(sockets: Sockets) -> UpgradeHook {
    Arc::new(move |kind, request, peer| {
        let answer =
            sockets.upgrade(kind, request, peer.ip, (peer.guard, peer.share)).unwrap_or_else(|refused| {
                let error = ApiError::new(refused.status(), refused.code(), refused.message());
                let error = if refused.is_passing() { error.after(limits::COME_BACK) } else { error };
                error.respond()
            });
        Box::pin(std::future::ready(answer))
    })
}
