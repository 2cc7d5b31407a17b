//! The admin listener over TLS: who is let in with which certificate, and that a key is needed all the same.

use porchlight::pb::v1;
use porchlight::pb::v1::admin_client::AdminClient;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use crate::admin::{operator, with_key};
use crate::common::{Site, within};

/// An authority that signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, as PEM.
struct Pair {
    cert: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn sign(&self, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        Pair { cert: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }
}

/// A server whose admin listener proves itself with `server`, and asks for what `clients` signed.
async fn site(server: &Pair, clients: Option<&Authority>) -> (Site, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    let (cert, key) = (file("cert.pem", &server.cert), file("key.pem", &server.key));
    let ca = clients.and_then(|clients| file("ca.pem", &clients.pem));
    let site = Site::with(|config| {
        config.admin.tls_cert = cert;
        config.admin.tls_key = key;
        config.admin.client_ca = ca;
    })
    .await;
    (site, dir)
}

/// What a call with this key comes to: the node's name, the code of the refusal, or nothing at all where no
/// connection comes about.
async fn call(site: &Site, key: &str, tls: Option<ClientTlsConfig>) -> Result<String, Option<Code>> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut endpoint = Channel::from_shared(format!("{scheme}://{}", site.running.admin)).unwrap();
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls).unwrap();
    }
    let channel = within("a connection or its refusal", endpoint.connect()).await.map_err(|_| None)?;
    let mut client = AdminClient::new(channel);
    let answer = client.get_node(with_key(key, v1::GetNodeRequest {}));
    match within("an answer", answer).await {
        Ok(answer) => Ok(answer.into_inner().node.unwrap().node_id),
        // Broken off rather than answered: no refusal of ours has these codes.
        Err(status) if matches!(status.code(), Code::Unknown | Code::Unavailable) => Err(None),
        Err(status) => Err(Some(status.code())),
    }
}

fn trusting(authority: &Authority) -> ClientTlsConfig {
    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authority.pem))
}

fn showing(tls: ClientTlsConfig, pair: &Pair) -> ClientTlsConfig {
    tls.identity(Identity::from_pem(&pair.cert, &pair.key))
}

#[tokio::test]
async fn the_server_proves_itself_and_the_caller_needs_a_key() {
    let (ours, others) = (Authority::new(), Authority::new());
    let (site, _files) = site(&ours.sign("127.0.0.1"), None).await;
    let key = operator(&site);
    assert!(call(&site, &key, Some(trusting(&ours))).await.is_ok());
    assert_eq!(call(&site, "", Some(trusting(&ours))).await, Err(Some(Code::Unauthenticated)));
    assert_eq!(call(&site, &key, None).await, Err(None), "plain text");
    assert_eq!(call(&site, &key, Some(trusting(&others))).await, Err(None), "a server nobody vouches for");
}

#[tokio::test]
async fn a_server_under_another_name_is_not_taken_for_ours() {
    let ours = Authority::new();
    let (site, _files) = site(&ours.sign("elsewhere.example"), None).await;
    assert_eq!(call(&site, &operator(&site), Some(trusting(&ours))).await, Err(None));
    let named = trusting(&ours).domain_name("elsewhere.example");
    assert!(call(&site, &operator(&site), Some(named)).await.is_ok());
}

#[tokio::test]
async fn clients_prove_themselves_where_the_server_asks_them_to() {
    let (ours, theirs, others) = (Authority::new(), Authority::new(), Authority::new());
    let (site, _files) = site(&ours.sign("127.0.0.1"), Some(&theirs)).await;
    let key = operator(&site);
    let right = showing(trusting(&ours), &theirs.sign("console"));
    let wrong = showing(trusting(&ours), &others.sign("console"));
    assert!(call(&site, &key, Some(right.clone())).await.is_ok());
    assert_eq!(call(&site, "", Some(right)).await, Err(Some(Code::Unauthenticated)), "a key is needed too");
    assert_eq!(call(&site, &key, Some(wrong)).await, Err(None), "signed by somebody else");
    assert_eq!(call(&site, &key, Some(trusting(&ours))).await, Err(None), "no certificate");
    assert_eq!(call(&site, &key, None).await, Err(None), "plain text");
}

#[tokio::test]
async fn renewed_certificates_are_taken_and_open_channels_go_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let (site, dir) = site(&old.sign("127.0.0.1"), Some(&old)).await;
    let key = operator(&site);
    let of_old = old.sign("console");
    let endpoint = Channel::from_shared(format!("https://{}", site.running.admin)).unwrap();
    let endpoint = endpoint.tls_config(showing(trusting(&old), &of_old)).unwrap();
    let mut open = AdminClient::new(within("a connection", endpoint.connect()).await.unwrap());
    let mut answers = async || {
        let answer = open.get_node(with_key(&key, v1::GetNodeRequest {}));
        within("an answer", answer).await.is_ok()
    };
    assert!(answers().await);

    let renewed = new.sign("127.0.0.1");
    for (name, text) in [("key.pem", &renewed.key), ("cert.pem", &renewed.cert), ("ca.pem", &new.pem)] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    site.running.read_certificates().await;
    // It could not come about again: it trusts the old one only.
    assert!(answers().await);
    let of_new = showing(trusting(&new), &new.sign("console"));
    assert!(call(&site, &key, Some(of_new)).await.is_ok());
    // Neither what the old one vouched for, nor who trusts it alone.
    assert_eq!(call(&site, &key, Some(showing(trusting(&new), &of_old))).await, Err(None));
    assert_eq!(call(&site, &key, Some(showing(trusting(&old), &of_old))).await, Err(None));
}
