//! The public listener's certificate, got from an authority and renewed (RFC 8555).
//!
//! Decides when one is asked for, what the authority is shown to believe it (TLS-ALPN-01, RFC 8737), and where account
//! and certificate are kept: below the data directory, readable by their owner alone. The certificate is taken from there
//! by the same look that takes any other.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, ChallengeType, HttpClient, Identifier,
    NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::{Certificates, Challenges, Look, Speaks};
use crate::clock::wall;
use crate::config::{self, Config, TlsError, TlsFiles, TlsPaths};
use crate::limits;
use crate::telemetry::Meters;

/// The file of the account with the authority, and of its key.
const ACCOUNT: &str = "account.json";

/// Gets the public listener's certificate, and renews it.
pub struct Acme {
    settings: config::Acme,
    folder: PathBuf,
    paths: TlsPaths,
    certificates: Arc<Certificates>,
    meters: Arc<Meters>,
    hurry: Notify,
}

impl std::fmt::Debug for Acme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acme").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
enum AcmeError {
    #[error("the authority can't be asked, or refuses")]
    Authority(#[from] instant_acme::Error),
    #[error("the authority offers no tls-alpn-01 for {name}: it can only be asked for by other means")]
    NoChallenge { name: String },
    #[error("the authority does not believe that {name} leads here, at port 443: {told}")]
    Unbelieved { name: String, told: String },
    #[error("the order is {status:?}, and not ready")]
    NotReady { status: OrderStatus },
    #[error("nothing came of it within {:?}", limits::ACME_ORDER)]
    Late,
    #[error("the answer to a challenge can't be made")]
    Answer(#[from] rcgen::Error),
    #[error("TLS can't be used")]
    Tls(#[from] rustls::Error),
    #[error("public.acme.ca can't be used")]
    Roots(#[from] TlsError),
    #[error("{} can't be used", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("what the authority gave can't be used")]
    Refused,
}

/// The account as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Whose account it is.
    directory: String,
    credentials: AccountCredentials,
}

/// Keeps a failure's pauses.
#[derive(Debug, Default)]
struct Pauses(Option<Duration>);

impl Pauses {
    fn next(&mut self) -> Duration {
        let next = self.0.map_or(limits::ACME_RETRY, |last| (last * 2).min(limits::ACME_RETRY_MOST));
        *self.0.insert(next)
    }
}

impl Acme {
    /// Takes up what was got before; none where no certificate is wanted. Nothing is asked for before it runs.
    pub fn open(config: &Config, meters: &Arc<Meters>) -> Option<Self> {
        let paths = config.got()?;
        let (settings, folder) = (config.public.acme.clone(), config.acme_folder());
        let certificates = Certificates::awaited("public", Speaks::Http1, paths.clone(), Arc::clone(meters));
        let meters = Arc::clone(meters);
        Some(Self { settings, folder, paths, certificates, meters, hurry: Notify::new() })
    }

    /// What the listener shows.
    pub fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// Whoever waits after a failure waits no longer.
    pub fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// Asks for a certificate whenever one is due, until `ended`. The listener is open: the authority looks at once.
    pub async fn run(self: Arc<Self>, ended: CancellationToken) {
        let mut pauses = Pauses::default();
        loop {
            let pause = match self.due().await {
                Some(wait) if !wait.is_zero() => wait.min(limits::ACME_LOOK),
                _ => {
                    let got = tokio::select! {
                        () = ended.cancelled() => return,
                        got = tokio::time::timeout(limits::ACME_ORDER, self.get()) => got,
                    };
                    self.challenges().clear();
                    self.came_of(got.unwrap_or(Err(AcmeError::Late)), &mut pauses)
                }
            };
            tokio::select! {
                () = ended.cancelled() => return,
                () = self.hurry.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Tells what came of an order, and how long to wait.
    fn came_of(&self, got: Result<(), AcmeError>, pauses: &mut Pauses) -> Duration {
        match got {
            Ok(()) => {
                tracing::info!(names = ?self.settings.names, "got a certificate");
                self.meters.certificate_ordered("got");
                *pauses = Pauses::default();
                limits::ACME_RETRY
            }
            Err(error) => {
                let again = pauses.next();
                let error = &error as &dyn std::error::Error;
                tracing::error!(names = ?self.settings.names, error, ?again, "got no certificate");
                self.meters.certificate_ordered("failed");
                again
            }
        }
    }

    fn challenges(&self) -> &Challenges {
        self.certificates.challenges.as_ref().expect("an awaited certificate has challenges")
    }

    /// How long the certificate that is there needs no other; none when there is no good one.
    async fn due(&self) -> Option<Duration> {
        let paths = self.paths.clone();
        let files = tokio::task::spawn_blocking(move || paths.read()).await.ok()?.ok()?;
        renewal(&files, &self.settings.names, wall().unix_seconds())
    }

    /// Gets a certificate, keeps it, and has it shown.
    async fn get(&self) -> Result<(), AcmeError> {
        let account = self.account().await?;
        let names: Vec<Identifier> = self.settings.names.iter().cloned().map(Identifier::Dns).collect();
        let mut order = account.new_order(&NewOrder::new(&names)).await?;
        self.answer(&mut order).await?;
        believed(&mut order).await?;
        let key = order.finalize().await?;
        let chain = order.poll_certificate(&RetryPolicy::new().timeout(limits::ACME_ORDER)).await?;
        self.keep(self.paths.cert().to_owned(), format!("{key}{chain}")).await?;
        let looking = Arc::clone(&self.certificates);
        let looked = tokio::task::spawn_blocking(move || looking.look(true)).await;
        match looked {
            Ok(Look::Taken | Look::Same) => Ok(()),
            Ok(Look::Refused) | Err(_) => Err(AcmeError::Refused),
        }
    }

    /// The account that is kept, or a new one.
    async fn account(&self) -> Result<Account, AcmeError> {
        let builder = Account::builder_with_http(Box::new(client(self.settings.ca.as_deref())?));
        let path = self.folder.join(ACCOUNT);
        let kept = match tokio::fs::read(&path).await {
            Ok(text) => serde_json::from_slice::<Kept>(&text).map(Some).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let kept = kept.map_err(|source| AcmeError::File { path: path.clone(), source })?;
        if let Some(kept) = kept.filter(|kept| kept.directory == self.settings.directory) {
            return Ok(builder.from_credentials(kept.credentials).await?);
        }
        let contact = self.settings.email.as_ref().map(|email| format!("mailto:{email}"));
        let wanted = NewAccount {
            contact: &contact.iter().map(String::as_str).collect::<Vec<_>>(),
            terms_of_service_agreed: self.settings.accept_terms,
            only_return_existing: false,
        };
        let directory = self.settings.directory.clone();
        let (account, credentials) = builder.create(&wanted, directory.clone(), None).await?;
        let kept = serde_json::to_string(&Kept { directory, credentials }).expect("plain values");
        self.keep(path, kept).await?;
        Ok(account)
    }

    /// Shows the answer to each challenge, and tells the authority to look.
    async fn answer(&self, order: &mut Order) -> Result<(), AcmeError> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let name = authorization.identifier().to_string();
            let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
                return Err(AcmeError::NoChallenge { name });
            };
            let shown = answer(&name, challenge.key_authorization().digest().as_ref())?;
            self.challenges().show(name, shown);
            challenge.set_ready().await?;
        }
        Ok(())
    }

    /// Writes a file whole or not at all, for its owner alone.
    async fn keep(&self, path: PathBuf, text: String) -> Result<(), AcmeError> {
        let (folder, to) = (self.folder.clone(), path.clone());
        let writing = move || {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            let draft = to.with_extension("draft");
            match fs::remove_file(&draft) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, &to)?;
            File::open(&folder)?.sync_all()
        };
        let written = tokio::task::spawn_blocking(writing).await.map_err(io::Error::other);
        written.and_then(|written| written).map_err(|source| AcmeError::File { path, source })
    }
}

/// Reaches the authority by HTTPS, and believes whom browsers believe, or who vouches for an authority of one's own.
fn client(ca: Option<&Path>) -> Result<impl HttpClient + use<>, AcmeError> {
    let roots = match ca {
        Some(path) => config::authorities("public.acme.ca", path)?,
        None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
    };
    let tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new()).build::<_, BodyWrapper<Bytes>>(connector))
}

/// Waits until the authority believes that all names lead here, or says of one that it does not. Some leave an order as it is
/// then, so the names are asked for as well.
async fn believed(order: &mut Order) -> Result<(), AcmeError> {
    let mut pause = limits::ACME_ASK;
    loop {
        tokio::time::sleep(pause).await;
        let status = order.refresh().await?.status;
        if status == OrderStatus::Ready {
            return Ok(());
        }
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let state = authorization.refresh().await?;
            if state.status == AuthorizationStatus::Invalid {
                let problem = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
                let told = problem.map_or_else(|| "it does not say why".to_owned(), ToString::to_string);
                return Err(AcmeError::Unbelieved { name: state.identifier().to_string(), told });
            }
        }
        if status != OrderStatus::Pending {
            return Err(AcmeError::NotReady { status });
        }
        pause = (pause * 2).min(limits::ACME_ASK_MOST);
    }
}

/// What the authority is shown for a name: the digest of what it asks, in a certificate.
fn answer(name: &str, digest: &[u8]) -> Result<Arc<CertifiedKey>, AcmeError> {
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    // Not held against each other: the extension is critical, and known to nobody but authorities.
    let key = default_provider().key_provider.load_private_key(key)?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)))
}

/// How long until a third of the certificate's life is left. None if it is for other names, or does not say.
fn renewal(files: &TlsFiles, names: &[String], now: u64) -> Option<Duration> {
    let first = files.certified.cert.first()?;
    let (_, certificate) = X509Certificate::from_der(first).ok()?;
    let told = certificate.subject_alternative_name().ok()??;
    let holds = |name: &String| {
        told.value
            .general_names
            .iter()
            .any(|told| matches!(told, GeneralName::DNSName(told) if told.eq_ignore_ascii_case(name)))
    };
    if !names.iter().all(holds) {
        return None;
    }
    let (begins, ends) = (certificate.validity().not_before, certificate.validity().not_after);
    let due = ends.timestamp() - (ends.timestamp() - begins.timestamp()) / 3;
    let left = due.saturating_sub(i64::try_from(now).ok()?);
    Some(Duration::from_secs(u64::try_from(left).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::CertificateDer;
    use x509_parser::der_parser::oid;

    const DAY: u64 = 86_400;

    /// A certificate for some days from 1970-01-11 on.
    fn files(names: &[&str], days: i64) -> TlsFiles {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(1970, 1, 11);
        params.not_after = params.not_before + Duration::from_secs(DAY * u64::try_from(days).unwrap());
        let certificate = params.self_signed(&key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("got.pem");
        fs::write(&path, format!("{}{}", key.serialize_pem(), certificate.pem())).unwrap();
        TlsPaths::got(path).read().unwrap()
    }

    #[test]
    fn a_certificate_is_renewed_when_a_third_of_its_life_is_left() {
        let (files, names) = (files(&["a.example", "b.example"], 90), ["b.example".to_owned()]);
        let due = |days: u64| renewal(&files, &names, days * DAY).map(|left| left.as_secs() / DAY);
        assert_eq!(due(10), Some(60));
        assert_eq!(due(69), Some(1));
        assert_eq!(due(70), Some(0));
        assert_eq!(due(1_000), Some(0));
        assert_eq!(due(0), Some(70), "a clock that is late waits longer, and looks again");
    }

    #[test]
    fn one_for_other_names_is_none() {
        let (files, now) = (files(&["a.example", "b.example"], 90), 11 * DAY);
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            renewal(&files, &names, now).is_some()
        };
        assert!(of(&["a.example", "b.example"]) && of(&["A.example"]));
        assert!(!of(&["c.example"]) && !of(&["a.example", "c.example"]) && !of(&["x.a.example"]));
    }

    #[test]
    fn pauses_grow_and_five_tries_fit_in_an_hour() {
        let mut pauses = Pauses::default();
        let taken: Vec<u64> = (0..12).map(|_| pauses.next().as_secs() / 60).collect();
        assert_eq!(taken[..6], [2, 4, 8, 16, 32, 64]);
        assert_eq!(taken[11], limits::ACME_RETRY_MOST.as_secs() / 60);
        assert!(taken[..5].iter().sum::<u64>() > 60, "the sixth try is in the next hour");
    }

    #[test]
    fn the_answer_to_a_challenge_is_what_rfc_8737_wants() {
        let digest = [7; 32];
        let shown = answer("help.example.com", &digest).unwrap();
        let der: &CertificateDer<'_> = shown.cert.first().unwrap();
        let (_, certificate) = X509Certificate::from_der(der).unwrap();
        let extension = certificate
            .get_extension_unique(&oid!(1.3.6.1.5.5.7.1.31))
            .unwrap()
            .expect("the extension id-pe-acmeIdentifier");
        assert!(extension.critical);
        // An OCTET STRING of 32 bytes.
        assert_eq!(extension.value, [&[4, 32][..], &digest].concat());
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names, [GeneralName::DNSName("help.example.com")]);
    }
}
