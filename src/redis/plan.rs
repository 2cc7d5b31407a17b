//! Which servers to reach, as whom, and how it is known that they are the right ones.
//!
//! Decides what a connection begins with. The settings decide what stands here; [`super::single`],
//! [`super::sentinel`] and [`super::cluster`] connect.

use redis::cluster::ClusterClientBuilder;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion,
    RedisConnectionInfo, RedisError, TlsCertificates, TlsMode,
};
use secrecy::{ExposeSecret as _, SecretString};

use super::OpenError;
use crate::limits;

/// All that is known of the servers before the first connection.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where they are.
    pub servers: Servers,
    /// Who connects, where the address does not say.
    pub user: Option<String>,
    /// The password of who connects, where the address does not say.
    pub password: Option<SecretString>,
    /// TLS, for addresses that ask for it and for all that are a host and a port.
    pub tls: Option<Tls>,
}

/// Where the servers are.
#[derive(Debug, Clone)]
pub enum Servers {
    /// One, at `redis://…`, `rediss://…` or `redis+unix://…`.
    Url(SecretString),
    /// The primary that Sentinels know.
    Sentinels {
        /// Hosts with ports of the Sentinels.
        nodes: Vec<String>,
        /// What they call the primary.
        master: String,
        /// Who asks them.
        user: Option<String>,
        /// The password of who asks them.
        password: Option<SecretString>,
    },
    /// A Redis Cluster, by hosts with ports of some of its members.
    Cluster(Vec<String>),
}

/// How servers are known, and what this one shows them, as PEM.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Whose certificates are trusted; absent: the roots that browsers trust.
    pub ca: Option<String>,
    /// A certificate and its key.
    pub client: Option<(String, SecretString)>,
}

impl Plan {
    /// One server at an address.
    pub fn of_url(url: &str) -> Self {
        Self { servers: Servers::Url(url.into()), user: None, password: None, tls: None }
    }

    /// What an address says, with what it leaves out.
    pub(super) fn of_address(&self, url: &SecretString) -> Result<ConnectionInfo, OpenError> {
        let info = url.expose_secret().into_connection_info().map_err(OpenError::Address)?;
        let told = info.redis_settings();
        let mut redis = told.clone();
        if told.password().is_none() {
            redis = credentials(redis, self.user.as_deref().or(told.username()), self.password.as_ref());
        }
        Ok(info.set_redis_settings(redis.set_skip_set_lib_name()).set_tcp_settings(tcp()))
    }

    /// The cluster that the server at the address is a member of.
    pub(super) fn of_member(&self) -> Option<Self> {
        let Servers::Url(url) = &self.servers else { return None };
        let info = self.of_address(url).ok()?;
        let (host, port, tls) = match info.addr() {
            ConnectionAddr::Tcp(host, port) => (host, port, None),
            ConnectionAddr::TcpTls { host, port, .. } => {
                (host, port, Some(self.tls.clone().unwrap_or_default()))
            }
            _ => return None,
        };
        let bare = host.contains(':') && !host.starts_with('[');
        let node = if bare { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let (user, password) = (info.redis_settings().username(), info.redis_settings().password());
        Some(Self {
            servers: Servers::Cluster(vec![node]),
            user: user.map(str::to_owned),
            password: password.map(SecretString::from),
            tls,
        })
    }

    /// A server at a host and a port that somebody named, who connects there is the one of the plan.
    pub(super) fn of_server(&self, host: &str, port: u16) -> ConnectionInfo {
        self.at(host, port, self.user.as_deref(), self.password.as_ref())
    }

    /// A Sentinel at a text such as `host:port`.
    pub(super) fn of_sentinel(
        &self,
        node: &str,
        user: Option<&str>,
        password: Option<&SecretString>,
    ) -> Result<ConnectionInfo, OpenError> {
        let (host, port) = host_and_port(node)?;
        Ok(self.at(&host, port, user, password))
    }

    fn at(
        &self,
        host: &str,
        port: u16,
        user: Option<&str>,
        password: Option<&SecretString>,
    ) -> ConnectionInfo {
        let host = host.to_owned();
        let addr = match &self.tls {
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            None => ConnectionAddr::Tcp(host, port),
        };
        let redis = credentials(RedisConnectionInfo::default(), user, password).set_skip_set_lib_name();
        let info = addr.into_connection_info().expect("an address is one");
        info.set_redis_settings(redis).set_tcp_settings(tcp())
    }

    /// A client of one server whose connections may subscribe to the channels of a shard, too.
    pub(super) fn listener(&self, info: ConnectionInfo) -> Result<Client, RedisError> {
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        self.client(info.set_redis_settings(redis))
    }

    /// A client of one server.
    pub(super) fn client(&self, info: ConnectionInfo) -> Result<Client, RedisError> {
        match (info.addr(), self.certificates()) {
            (ConnectionAddr::TcpTls { .. }, Some(certificates)) => Client::build_with_tls(info, certificates),
            _ => Client::open(info),
        }
    }

    /// What a client of a cluster begins with.
    pub(super) fn cluster(&self, nodes: &[String]) -> Result<ClusterClientBuilder, OpenError> {
        let mut infos = Vec::new();
        for node in nodes {
            let (host, port) = host_and_port(node)?;
            infos.push(self.of_server(&host, port));
        }
        let mut builder = ClusterClientBuilder::new(infos).tcp_settings(tcp());
        if self.tls.is_some() {
            builder = builder.tls(TlsMode::Secure);
        }
        Ok(match self.certificates() {
            Some(certificates) => builder.certs(certificates),
            None => builder,
        })
    }

    fn certificates(&self) -> Option<TlsCertificates> {
        let Tls { ca, client } = self.tls.as_ref()?;
        let client_tls = client.as_ref().map(|(cert, key)| ClientTlsConfig {
            client_cert: cert.as_bytes().to_vec(),
            client_key: key.expose_secret().as_bytes().to_vec(),
        });
        let root_cert = ca.as_ref().map(|ca| ca.as_bytes().to_vec());
        Some(TlsCertificates { client_tls, root_cert })
    }
}

fn credentials(
    mut redis: RedisConnectionInfo,
    user: Option<&str>,
    password: Option<&SecretString>,
) -> RedisConnectionInfo {
    if let Some(user) = user {
        redis = redis.set_username(user);
    }
    if let Some(password) = password {
        redis = redis.set_password(password.expose_secret());
    }
    redis
}

/// Sockets die without a word, and nothing waits for more to send.
fn tcp() -> TcpSettings {
    TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(TcpKeepalive::new().with_time(limits::REDIS_PROBE).with_interval(limits::REDIS_PROBE))
        .set_user_timeout(limits::REDIS_SILENCE)
}

/// Reads `host:port`.
fn host_and_port(node: &str) -> Result<(String, u16), OpenError> {
    let info = format!("redis://{node}/").into_connection_info().map_err(OpenError::Address)?;
    match info.addr() {
        ConnectionAddr::Tcp(host, port) => Ok((host.clone(), *port)),
        _ => unreachable!("the scheme says so"),
    }
}
