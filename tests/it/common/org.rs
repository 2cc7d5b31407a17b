//! An org of Salesforce's, as far as its documented API goes: signing in by an assertion, composite upserts by
//! external id, feeds of records, descriptions of objects. It fails as it is told, or by chance.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use porchlight::clock::wall;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::canary;
use super::rng::Rng;

pub const CLIENT: &str = "3MVG9consumer.key";
pub const USER: &str = "porchlight@acme.example";
const ROOT: &str = "/services/data/v62.0";

/// What goes wrong with one request, sign-ins aside.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing goes wrong.
    Nothing,
    /// Refused as a whole.
    Answer(u16, &'static str),
    /// A part of a composite request is refused.
    Part(usize, u16, &'static str),
    /// The connection goes before anything is done.
    Lost,
    /// It is done, and the connection goes before anybody is told.
    Untold,
    /// It is done, and nobody is told for as long as the connection stays.
    Silent,
    /// The token is over.
    Over,
    /// Broken down, in no words of its own.
    Broken,
}

/// A feed element.
#[derive(Debug, Clone)]
pub struct Element {
    pub record: String,
    pub text: String,
    pub url: Option<String>,
}

#[derive(Default)]
pub struct State {
    public: Vec<u8>,
    tokens: HashSet<String>,
    /// How often somebody signed in.
    pub logins: usize,
    /// Where those who signed in are sent, if not here.
    pub instance: Option<String>,
    /// What sign-ins are refused with.
    pub locked: Option<&'static str>,
    /// What is asked, sign-ins aside.
    pub asked: Vec<(String, String)>,
    /// Sizes of composite requests.
    pub batches: Vec<usize>,
    /// Rows by object and external id.
    pub rows: BTreeMap<(String, String), Value>,
    /// First writes of rows, in order.
    pub order: Vec<String>,
    pub feed: Vec<Element>,
    /// Feed elements that nobody of ours wrote and that stand before all others.
    pub noise: usize,
    pub faults: VecDeque<Fault>,
    /// Faults by chance: one request in so many.
    pub chance: Option<(Rng, usize)>,
    silent: bool,
    /// Rows and records that are refused, by id.
    pub refused: BTreeMap<String, (u16, &'static str)>,
    /// Fields that objects lack.
    pub lacking: HashSet<&'static str>,
}

/// A running org.
#[derive(Clone)]
pub struct Org {
    pub addr: SocketAddr,
    pub state: Arc<Mutex<State>>,
}

/// A key pair of ours: the private half in a file.
pub fn key(dir: &Path) -> (PathBuf, Vec<u8>) {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let body = STANDARD.encode(der.as_ref());
    canary::learn_text(&body[200..300]);
    let lines: Vec<_> = body.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    let file = dir.join("key.pem");
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
    std::fs::write(&file, pem).unwrap();
    (file, pair.public_key().as_ref().to_vec())
}

/// The fields of the session's object, as an administrator learns them.
pub fn documented_fields() -> Vec<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/sinks.md")).unwrap();
    let names = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("__c` |"));
    names.map(|(name, _)| format!("{name}__c")).filter(|name| !name.contains(' ')).collect()
}

struct Asked {
    method: String,
    path: String,
    token: Option<String>,
    body: String,
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let header = |name: &str| {
                head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
            };
            if body.len() >= header("content-length").map_or(0, |length| length.parse().unwrap()) {
                let mut words = head.split(' ').map(str::to_owned);
                return Some(Asked {
                    method: words.next()?,
                    path: words.next()?,
                    token: header("authorization").map(|value| value.replace("Bearer ", "")),
                    body: body.to_owned(),
                });
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn error(code: &str) -> Value {
    json!([{ "message": format!("{code} happened."), "errorCode": code, "fields": [] }])
}

impl Org {
    pub async fn start(public: Vec<u8>) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { public, ..State::default() }));
        let org = Self { addr, state };
        let running = org.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = socket.accept().await.unwrap();
                let org = running.clone();
                tokio::spawn(async move {
                    let Some(asked) = read(&mut stream).await else { return };
                    if let Some((status, body)) = org.answer(&asked) {
                        let body = if body.is_null() { String::new() } else { body.to_string() };
                        let head = format!("HTTP/1.1 {status} Words\r\ncontent-length: {}", body.len());
                        let _ = stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await;
                    } else if org.state.lock().silent {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        org
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Ids of an object's rows.
    pub fn ids(&self, object: &str) -> Vec<String> {
        let state = self.state.lock();
        state.rows.keys().filter(|(of, _)| of == object).map(|(_, id)| id.clone()).collect()
    }

    fn answer(&self, asked: &Asked) -> Option<(u16, Value)> {
        let state = &mut *self.state.lock();
        if asked.path == "/services/oauth2/token" {
            return Some(state.sign_in(asked, &self.url()));
        }
        let path = asked.path.split('?').next().unwrap().to_owned();
        state.asked.push((asked.method.clone(), path.clone()));
        let fault = state.fault();
        match fault {
            Some(Fault::Lost) => return None,
            Some(Fault::Over) => state.tokens.clear(),
            Some(Fault::Broken) => return Some((502, Value::Null)),
            _ => {}
        }
        let token = asked.token.as_deref().expect("every request has a token");
        if !state.tokens.contains(token) {
            return Some((401, error("INVALID_SESSION_ID")));
        }
        if let Some(Fault::Answer(status, code)) = fault {
            // Whoever words this tells what it was shown, as careless servers do.
            let message = format!("You showed {token}.");
            return Some((status, json!([{ "message": message, "errorCode": code }])));
        }
        let rest = path.strip_prefix(ROOT).unwrap_or_else(|| panic!("{path}"));
        let answer = match (&*asked.method, rest) {
            ("POST", "/composite") => state.composite(&serde_json::from_str(&asked.body).unwrap(), &fault),
            ("POST", "/chatter/feed-elements") => state.post(&serde_json::from_str(&asked.body).unwrap()),
            ("GET", feed) if feed.starts_with("/chatter/feeds/record/") => state.page(&asked.path),
            ("GET", "/sobjects/Lead/describe") => {
                let names = ["Porchlight_Lead_Id__c", "Email", "FirstName", "LastName", "Company"];
                state.describe(&names)
            }
            ("GET", "/sobjects/Porchlight_Session__c/describe") => {
                if state.lacking.contains("Porchlight_Session__c") {
                    (404, error("NOT_FOUND"))
                } else {
                    let names = documented_fields();
                    state.describe(&names.iter().map(String::as_str).collect::<Vec<_>>())
                }
            }
            other => panic!("nobody answers {other:?}"),
        };
        state.silent = matches!(fault, Some(Fault::Silent));
        if matches!(fault, Some(Fault::Untold | Fault::Silent)) { None } else { Some(answer) }
    }
}

impl State {
    fn fault(&mut self) -> Option<Fault> {
        if let Some(fault) = self.faults.pop_front() {
            return Some(fault);
        }
        let (rng, often) = self.chance.as_mut()?;
        if rng.below(*often) != 0 {
            return None;
        }
        let part = rng.below(25);
        let faults = [
            Fault::Answer(403, "REQUEST_LIMIT_EXCEEDED"),
            Fault::Answer(503, "SERVER_UNAVAILABLE"),
            Fault::Part(part, 400, "UNABLE_TO_LOCK_ROW"),
            Fault::Lost,
            Fault::Untold,
            Fault::Over,
            Fault::Broken,
        ];
        Some(rng.pick(&faults).clone())
    }

    /// Holds an assertion against what it has to be, with nothing of the server's own code.
    fn sign_in(&mut self, asked: &Asked, url: &str) -> (u16, Value) {
        self.logins += 1;
        let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
        let assertion = asked.body.strip_prefix(grant).expect("the grant of the flow");
        canary::learn_text(assertion);
        if let Some(why) = self.locked {
            let why = format!("{why} {assertion}");
            return (400, json!({ "error": "invalid_grant", "error_description": why }));
        }
        let (signed, signature) = assertion.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public)
            .verify(signed.as_bytes(), &signature)
            .expect("the assertion is signed with our key");
        let part =
            |text: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
        let (head, claims) = signed.split_once('.').unwrap();
        assert_eq!(part(head)["alg"], "RS256");
        let claims = part(claims);
        assert_eq!((&claims["iss"], &claims["sub"]), (&json!(CLIENT), &json!(USER)));
        assert_eq!(claims["aud"], url);
        let left = claims["exp"].as_u64().unwrap().saturating_sub(wall().unix_seconds());
        assert!((1..=180).contains(&left), "{left}");
        let token = format!("00D000000000001!{:04}{}", self.logins, "AQ".repeat(40));
        canary::learn_text(&format!("{:04}{}", self.logins, "AQ".repeat(40)));
        canary::learn_text(&token);
        self.tokens = HashSet::from([token.clone()]);
        let answer = json!({
            "access_token": token, "scope": "api", "instance_url": self.instance.as_deref().unwrap_or(url), "id": format!("{url}/id"),
            "token_type": "Bearer",
        });
        (200, answer)
    }

    fn composite(&mut self, body: &Value, fault: &Option<Fault>) -> (u16, Value) {
        assert_eq!((&body["allOrNone"], &body["collateSubrequests"]), (&json!(false), &json!(false)));
        let parts = body["compositeRequest"].as_array().unwrap();
        assert!((1..=25).contains(&parts.len()), "{}", parts.len());
        self.batches.push(parts.len());
        let mut results = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            assert_eq!(part["method"], "PATCH");
            let reference = part["referenceId"].as_str().unwrap();
            assert!(reference.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
            let path = part["url"].as_str().unwrap().strip_prefix(ROOT).unwrap();
            let words: Vec<_> = path.split('/').collect();
            let ["", "sobjects", object, key, id] = words[..] else { panic!("{path}") };
            assert!(part["body"].get(key).is_none() && part["body"].is_object());
            let refused = match fault {
                Some(Fault::Part(bad, status, code)) if *bad == at => Some((*status, *code)),
                _ => self.refused.get(id).copied(),
            };
            let (status, body) = match refused {
                Some((status, code)) => (status, error(code)),
                None => {
                    let row = (object.to_owned(), id.to_owned());
                    let created = self.rows.insert(row, part["body"].clone()).is_none();
                    if created {
                        self.order.push(id.to_owned());
                    }
                    let body = json!({ "id": "a00", "success": true, "errors": [], "created": created });
                    (if created { 201 } else { 200 }, body)
                }
            };
            results.push(json!({
                "body": body, "httpHeaders": {}, "httpStatusCode": status, "referenceId": reference,
            }));
        }
        (200, json!({ "compositeResponse": results }))
    }

    fn post(&mut self, body: &Value) -> (u16, Value) {
        assert_eq!(body["feedElementType"], "FeedItem");
        let record = body["subjectId"].as_str().unwrap().to_owned();
        if let Some((status, code)) = self.refused.get(&record) {
            return (*status, error(code));
        }
        let segments = body["body"]["messageSegments"].as_array().unwrap();
        assert!(segments.iter().all(|segment| segment["type"] == "Text"));
        let text = segments.iter().map(|segment| segment["text"].as_str().unwrap()).collect();
        let url = body["capabilities"]["link"]["url"].as_str().map(str::to_owned);
        self.feed.push(Element { record, text, url });
        (201, json!({ "id": format!("0D5{}", self.feed.len()), "feedElementType": "FeedItem" }))
    }

    /// A page of a record's feed, newest first.
    fn page(&self, path: &str) -> (u16, Value) {
        let (place, query) = path.split_once('?').unwrap();
        let record = place.split('/').rev().nth(1).unwrap();
        let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let size: usize = value("pageSize").unwrap().parse().unwrap();
        assert!((1..=100).contains(&size) && value("sort") == Some("CreatedDateDesc"));
        let from: usize = value("page").map_or(0, |page| page.parse().unwrap());
        let noise = (0..self.noise).map(|_| Element {
            record: record.to_owned(),
            text: "Somebody else's.".to_owned(),
            url: None,
        });
        let ours = self.feed.iter().rev().filter(|element| element.record == record).cloned();
        let all: Vec<_> = noise.chain(ours).collect();
        let elements: Vec<_> = all.iter().skip(from).take(size).collect();
        let next = (from + size < all.len()).then(|| format!("{place}?pageSize={size}&sort=CreatedDateDesc"));
        let next = next.map(|next| format!("{next}&page={}", from + size));
        let elements = elements.iter().map(|element| {
            let link = element.url.as_ref().map(|url| json!({ "url": url, "urlName": "" }));
            json!({
                "body": { "text": element.text, "messageSegments": [] },
                "capabilities": { "link": link },
                "createdDate": wall().to_string(),
            })
        });
        (200, json!({ "elements": elements.collect::<Vec<_>>(), "nextPageUrl": next }))
    }

    fn describe(&self, names: &[&str]) -> (u16, Value) {
        let fields = names.iter().filter(|name| !self.lacking.contains(*name)).map(|name| {
            let external = ["Session_Id__c", "Porchlight_Lead_Id__c"].contains(name);
            json!({ "name": name, "createable": true, "updateable": true, "externalId": external })
        });
        (200, json!({ "name": "Object", "fields": fields.collect::<Vec<_>>() }))
    }
}
