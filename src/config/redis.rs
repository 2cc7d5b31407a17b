//! Section `[redis]`: the Redis that nodes share, in one of its three topologies.

use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo as _};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};

use super::check::Violation;
use super::tls::{certificates, read, unusable};
use super::{Secret, TlsError, texts};
use crate::limits;

/// Section `[redis]`: what several nodes share. One of `url`, `sentinels` and `cluster` says where it is; without
/// any everything is on this node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redis {
    /// One server, as `redis://user:password@host:port/`, `rediss://…` with TLS or `redis+unix:///path`; one that is
    /// a member of a Redis Cluster stands for all of it.
    pub url: Option<Secret>,
    /// The file that holds `url`.
    pub url_file: Option<PathBuf>,
    /// Sentinels that know the primary, as `host:port`.
    #[serde(deserialize_with = "texts")]
    pub sentinels: Vec<String>,
    /// What they call it.
    pub master: Option<String>,
    /// Who asks them, where they want to know.
    pub sentinel_user: Option<String>,
    /// The password of who asks them.
    pub sentinel_password: Option<Secret>,
    /// The file that holds `sentinel_password`.
    pub sentinel_password_file: Option<PathBuf>,
    /// Some members of a Redis Cluster, as `host:port`.
    #[serde(deserialize_with = "texts")]
    pub cluster: Vec<String>,
    /// Who connects, where `url` does not say.
    pub user: Option<String>,
    /// The password of who connects, where `url` does not say.
    pub password: Option<Secret>,
    /// The file that holds `password`.
    pub password_file: Option<PathBuf>,
    /// Connects to `sentinels` and their primary, or to the members of `cluster`, with TLS.
    pub tls: bool,
    /// The file of the authorities (PEM) whose certificates are trusted; absent: those that browsers trust.
    pub tls_ca: Option<PathBuf>,
    /// The file of the certificate (PEM) that Redis is shown.
    pub tls_cert: Option<PathBuf>,
    /// The file of its private key (PEM).
    pub tls_key: Option<PathBuf>,
    /// How long a start waits for a Redis that does not answer.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            sentinels: Vec::new(),
            master: None,
            sentinel_user: None,
            sentinel_password: None,
            sentinel_password_file: None,
            cluster: Vec::new(),
            user: None,
            password: None,
            password_file: None,
            tls: false,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            wait: limits::REDIS_WAIT,
        }
    }
}

/// How servers are known, and what they are shown, as PEM.
#[derive(Debug, Clone, Default)]
pub struct RedisTls {
    /// Whose certificates are trusted; absent: those that browsers trust.
    pub ca: Option<String>,
    /// A certificate and its private key.
    pub client: Option<(String, Secret)>,
}

const CA: &str = "redis.tls_ca";
const CERT: &str = "redis.tls_cert";
const KEY: &str = "redis.tls_key";

impl Redis {
    /// Whether there is one.
    pub fn is_named(&self) -> bool {
        self.url.is_some() || !self.sentinels.is_empty() || !self.cluster.is_empty()
    }

    /// Whether it is reached with TLS.
    fn has_tls(&self) -> bool {
        let address = self.url.as_ref().map(|url| url.expose().into_connection_info());
        match address {
            Some(info) => info.is_ok_and(|info| matches!(info.addr(), ConnectionAddr::TcpTls { .. })),
            None => self.tls,
        }
    }

    /// Reads the files of TLS; none when it is not asked for.
    pub fn tls(&self) -> Result<Option<RedisTls>, TlsError> {
        let named = [(CA, &self.tls_ca), (CERT, &self.tls_cert), (KEY, &self.tls_key)];
        if !self.has_tls() {
            return match named.into_iter().find_map(|(key, path)| Some((key, path.as_ref()?))) {
                Some((key, path)) => {
                    Err(unusable(key, path, "is for TLS: write rediss:// in redis.url, or redis.tls = true"))
                }
                None => Ok(None),
            };
        }
        let ca = self.tls_ca.as_ref().map(|path| {
            let text = read(CA, path)?;
            certificates(CA, path, &text)?;
            Ok(text)
        });
        let client = match (&self.tls_cert, &self.tls_key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(client(cert, key)?),
            (None, _) => return Err(TlsError::Missing { key: CERT }),
            (_, None) => return Err(TlsError::Missing { key: KEY }),
        };
        Ok(Some(RedisTls { ca: ca.transpose()?, client }))
    }

    /// Everything that is wrong with the section.
    pub(super) fn check(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut require = |holds: bool, key: &'static str, problem: &str| {
            if !holds {
                found.push(Violation { key, problem: problem.to_owned() });
            }
        };
        let (sentinels, cluster) = (!self.sentinels.is_empty(), !self.cluster.is_empty());
        let one = "only one of redis.url, redis.sentinels and redis.cluster can say where Redis is";
        require(!(sentinels && self.url.is_some()), "redis.sentinels", one);
        require(!(cluster && (sentinels || self.url.is_some())), "redis.cluster", one);
        if let Some(url) = &self.url {
            match url.expose().into_connection_info() {
                Err(_) => require(false, "redis.url", "it is no address of a Redis"),
                Ok(info) => {
                    let insecure = matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. });
                    require(!insecure, "redis.url", "certificates are always looked at; name redis.tls_ca");
                    let twice = info.redis_settings().password().is_some() && self.password.is_some();
                    require(!twice, "redis.password", "redis.url has a password already");
                }
            }
            require(!self.tls, "redis.tls", "write rediss:// in redis.url instead");
        }
        let place = "each must be a host and a port, as in redis-1.example.com:6379";
        require(self.sentinels.iter().all(|node| is_place(node)), "redis.sentinels", place);
        require(self.cluster.iter().all(|node| is_place(node)), "redis.cluster", place);
        let master = self.master.as_ref().is_some_and(|master| !master.is_empty());
        require(
            master || !sentinels,
            "redis.master",
            "the name by which redis.sentinels know the primary is missing",
        );
        require(sentinels || !master, "redis.master", "only redis.sentinels know primaries by name");
        let asking = self.sentinel_user.is_some() || self.sentinel_password.is_some();
        require(sentinels || !asking, "redis.sentinel_password", "there are no redis.sentinels");
        let nameless =
            |user: &Option<String>, password: &Option<Secret>| user.is_some() && password.is_none();
        require(!nameless(&self.user, &self.password), "redis.user", "redis.password is missing");
        let sentinel = nameless(&self.sentinel_user, &self.sentinel_password);
        require(!sentinel, "redis.sentinel_user", "redis.sentinel_password is missing");
        if let Err(error) = self.tls() {
            found.push(Violation { key: error.key(), problem: error.to_string() });
        }
        found
    }
}

/// Whether it is `host:port`, with nothing else in it.
fn is_place(node: &str) -> bool {
    let port = node.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let plain = !node.contains(['@', '/', '?', '#']) && !node.starts_with(':');
    plain && port.is_some_and(|port| port > 0) && format!("redis://{node}/").into_connection_info().is_ok()
}

fn client(cert_path: &Path, key_path: &Path) -> Result<(String, Secret), TlsError> {
    let cert = read(CERT, cert_path)?;
    let chain = certificates(CERT, cert_path, &cert)?;
    let key = read(KEY, key_path)?;
    let private = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| unusable(KEY, key_path, "holds no private key in PEM"))?;
    CertifiedKey::from_der(chain, private, &default_provider())
        .map_err(|_| unusable(KEY, key_path, format!("is not the key of {}", cert_path.display())))?;
    Ok((cert, key.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    fn secret(text: &str) -> Option<Secret> {
        Some(text.to_owned().into())
    }

    fn places(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn each_contradiction_names_its_key() {
        type Change = fn(&mut Redis);
        let table: &[(Change, &[&str])] = &[
            (|_| (), &[]),
            (|r| r.url = secret("rediss://user:password@redis.example.com/1"), &[]),
            (|r| r.url = secret("redis+unix:///run/redis"), &[]),
            (|r| r.url = secret("10.0.0.1:6379"), &["redis.url"]),
            (|r| r.url = secret("rediss://redis.example.com/#insecure"), &["redis.url"]),
            (|r| (r.url, r.tls) = (secret("redis://redis.example.com/"), true), &["redis.tls"]),
            (|r| (r.url, r.password) = (secret("redis://:a@redis/"), secret("b")), &["redis.password"]),
            (
                |r| (r.url, r.user, r.password) = (secret("redis://redis/"), Some("a".into()), secret("b")),
                &[],
            ),
            (|r| (r.url, r.user) = (secret("redis://redis/"), Some("a".into())), &["redis.user"]),
            (|r| (r.sentinels, r.master) = (places("a:1 b:2 [::1]:3"), Some("main".into())), &[]),
            (|r| r.sentinels = places("a:1"), &["redis.master"]),
            (|r| (r.sentinels, r.master) = (places("a:1"), Some(String::new())), &["redis.master"]),
            (|r| (r.url, r.master) = (secret("redis://redis/"), Some("main".into())), &["redis.master"]),
            (|r| (r.sentinels, r.master) = (places("a"), Some("main".into())), &["redis.sentinels"]),
            (|r| r.sentinel_password = secret("a"), &["redis.sentinel_password"]),
            (|r| r.cluster = places("a:1 10.0.0.1:2"), &[]),
            (|r| (r.cluster, r.tls) = (places("a:1"), true), &[]),
            (|r| r.cluster = places("a:1 :2"), &["redis.cluster"]),
            (|r| r.cluster = places("a:1 user@b:2"), &["redis.cluster"]),
            (|r| r.cluster = places("redis://a:1"), &["redis.cluster"]),
            (|r| r.cluster = places("a:0"), &["redis.cluster"]),
            (|r| (r.url, r.cluster) = (secret("redis://redis/"), places("a:1")), &["redis.cluster"]),
            (
                |r| {
                    r.url = secret("redis://redis/");
                    (r.sentinels, r.master) = (places("a:1"), Some("main".into()));
                },
                &["redis.sentinels"],
            ),
            (|r| (r.url, r.tls_ca) = (secret("redis://redis/"), Some("ca".into())), &[CA]),
            (|r| (r.cluster, r.tls_key) = (places("a:1"), Some("key".into())), &[KEY]),
            (|r| (r.url, r.tls_ca) = (secret("rediss://redis/"), Some("/nowhere".into())), &[CA]),
            (|r| (r.url, r.tls_cert) = (secret("rediss://redis/"), Some("cert".into())), &[KEY]),
            (|r| (r.url, r.tls_key) = (secret("rediss://redis/"), Some("key".into())), &[CERT]),
        ];
        for (at, (change, keys)) in table.iter().enumerate() {
            let mut settings = Redis::default();
            change(&mut settings);
            let found = settings.check();
            assert_eq!(found.iter().map(|found| found.key).collect::<Vec<_>>(), *keys, "{at}: {found:?}");
        }
    }

    #[test]
    fn files_are_read_and_held_against_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let pair = || {
            let key = KeyPair::generate().unwrap();
            let cert = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
            (cert.pem(), key.serialize_pem())
        };
        let ((cert, key), (_, stranger)) = (pair(), pair());
        let good = Redis {
            url: secret("rediss://redis/"),
            tls_ca: file("ca", &cert),
            tls_cert: file("cert", &cert),
            tls_key: file("key", &key),
            ..Redis::default()
        };
        let files = good.tls().unwrap().unwrap();
        let (shown, proof) = files.client.unwrap();
        assert_eq!((files.ca.as_deref(), &shown, proof.expose()), (Some(&*cert), &cert, &*key));
        let plain = Redis { cluster: places("a:1"), ..Redis::default() };
        assert!(plain.tls().unwrap().is_none());
        assert!(Redis { tls: true, ..plain }.tls().unwrap().is_some_and(|tls| tls.ca.is_none()));
        for (settings, named) in [
            (Redis { tls_ca: file("empty", ""), ..good.clone() }, CA),
            (Redis { tls_cert: file("no cert", &key), ..good.clone() }, CERT),
            (Redis { tls_key: file("no key", &cert), ..good.clone() }, KEY),
            (Redis { tls_key: file("stranger", &stranger), ..good.clone() }, KEY),
        ] {
            let error = settings.tls().unwrap_err();
            assert_eq!(error.key(), named, "{error}");
            assert!(!error.to_string().contains("BEGIN"), "{error}");
        }
    }
}
