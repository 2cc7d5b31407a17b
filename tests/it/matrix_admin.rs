//! Who may ask the operators' service for what: every call of its description with every credential that must
//! not do. The calls are read from the description, so that a call without a rule fails here.

use bytes::{Buf as _, BufMut as _, Bytes};
use porchlight::auth::agent_token::AgentClaims;
use porchlight::clock::wall;
use porchlight::pb;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::common::site::{agent_key, group_id, mint};
use crate::common::{Site, Value, canary, http, json, within};

/// Whom a call serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    /// Operators only.
    Operators,
    /// Whoever reaches the group that it names.
    Group,
    /// Everybody, each within reach.
    Everybody,
}

/// Whom each call serves, and a request that would do something if it were let through.
fn rule(call: &str) -> Option<(For, Value)> {
    const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
    let visitor = json!({"visitorId": "C-1"});
    let bob = json!({"agentId": "bob"});
    Some(match call {
        "CreateGroup" => (For::Operators, json!({"group": "fresh"})),
        "ListGroups" => (For::Everybody, json!({})),
        "GetSettings" | "ListSettingsChanges" => (For::Group, json!({})),
        "UpdateSettings" => {
            let settings = json!({"presenceEnabled": false});
            let version = 1;
            (
                For::Group,
                json!({"settings": settings, "updateMask": "presenceEnabled", "expectedVersion": version}),
            )
        }
        "CreateApiKey" => (For::Group, json!({"label": "matrix"})),
        "RevokeApiKey" => (For::Group, json!({"keyId": "k0"})),
        "UpsertAgent" => {
            let agent = json!({"agentId": "mallory", "address": "mallory", "name": "Mallory"});
            (For::Group, json!({"agent": agent}))
        }
        "SetPermissions" => (For::Group, json!({"agentId": "bob", "permissions": {"admin": true}})),
        "DeleteAgent" | "RemoveAssociation" | "RevokeTokens" => (For::Group, bob),
        "ListApiKeys" | "ListAgents" | "ListAssociatedUsers" => (For::Group, json!({})),
        "LookupVisitors" | "WatchPresence" => (For::Group, json!({"visitorIds": ["C-1"]})),
        "SignalVisitor" => (For::Group, json!({"visitorId": "C-1", "name": "matrix"})),
        "DisconnectVisitor" | "ListSessions" | "WatchSessions" => (For::Group, visitor),
        "ListVisitors" => (For::Group, json!({})),
        "GetSession" | "EndSession" => (For::Group, json!({"sessionId": NOBODY})),
        "StreamEvents"
        | "ListSessionRecords"
        | "ListSessionStats"
        | "ExportConsentReceipts"
        | "GetReceiptKey" => (For::Group, json!({})),
        "ListSessionEvents" | "GetSessionRecord" => (For::Group, json!({"sessionId": NOBODY})),
        "GetConsentReceipt" => (For::Group, json!({"receiptId": NOBODY})),
        "ListFeed" => (For::Group, json!({"record": {"object": "Case", "id": "1"}})),
        "PostFeed" => (For::Group, json!({"record": {"object": "Case", "id": "1"}, "text": "matrix"})),
        "ListLeads" => (For::Group, json!({})),
        "SyncNow" | "ListSyncRuns" | "GetSyncStatus" | "ListSinks" => (For::Group, json!({})),
        "PutSink" => {
            let webhook = json!({"url": "https://hooks.example/"});
            (For::Group, json!({"sink": {"sinkId": "matrix", "webhook": webhook, "everyEvent": true}}))
        }
        "DeleteSink" | "TestSink" | "ReplayDeadLetters" => (For::Group, json!({"sinkId": "none"})),
        "GetNode" | "ListNodes" | "Drain" => (For::Operators, json!({})),
        "SetLogFilter" => (For::Operators, json!({"filter": "info"})),
        _ => return None,
    })
}

/// Messages as the bytes that they are.
#[derive(Clone, Copy, Default)]
struct Plain;

impl Encoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

impl Codec for Plain {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

/// What a refusal looks like from outside, byte for byte: code, sentence, details, and the other metadata.
type Face = (Code, String, Vec<u8>, Vec<String>);

fn face(status: &Status) -> Face {
    let mut rest: Vec<_> = status
        .metadata()
        .keys()
        .map(|key| format!("{key:?}"))
        .filter(|key| !key.contains("\"date\""))
        .collect();
    rest.sort();
    (status.code(), status.message().to_owned(), status.details().to_vec(), rest)
}

struct Door {
    channel: Channel,
}

impl Door {
    async fn of(site: &Site) -> Self {
        let endpoint = Channel::from_shared(format!("http://{}", site.running.admin)).unwrap();
        Self { channel: within("a gRPC connection", endpoint.connect()).await.unwrap() }
    }

    /// Makes a call; with a stream, its first message counts.
    async fn call(
        &self,
        call: &MethodDescriptor,
        authorization: Option<&str>,
        group: &str,
    ) -> Result<Bytes, Face> {
        let (_, mut sample) = rule(call.name()).unwrap();
        if call.input().get_field_by_name("group").is_some() && sample.get("group").is_none() {
            sample["group"] = json!(group);
        }
        let message = DynamicMessage::deserialize(call.input(), sample).unwrap();
        let mut request = Request::new(message.encode_to_vec());
        if let Some(value) = authorization {
            request.metadata_mut().insert("authorization", value.parse().unwrap());
        }
        let path = format!("/{}/{}", call.parent_service().full_name(), call.name());
        let mut client = Grpc::new(self.channel.clone());
        client.ready().await.unwrap();
        let answered = client.server_streaming(request, path.parse().unwrap(), Plain);
        let answered = match within(call.name(), answered).await {
            Ok(answer) if call.is_server_streaming() => {
                drop(answer);
                Ok(Bytes::new())
            }
            Ok(answer) => {
                let mut stream = answer.into_inner();
                within(call.name(), stream.message()).await.map(Option::unwrap_or_default)
            }
            Err(status) => Err(status),
        };
        answered.map_err(|status| {
            canary::told("a gRPC status", &format!("{status:?}"));
            face(&status)
        })
    }
}

fn calls() -> Vec<MethodDescriptor> {
    let service = pb::descriptors().get_service_by_name("porchlight.v1.Admin").unwrap();
    service.methods().collect()
}

fn bearer(key: &str) -> String {
    canary::learn_text(key);
    format!("Bearer {key}")
}

/// Everybody who may ask, and everybody who may not.
struct Credentials {
    operator: String,
    key: String,
    admin: String,
    plain: String,
    other_key: String,
    other_admin: String,
    /// Those that open nothing.
    bad: Vec<(&'static str, Option<String>)>,
}

impl Credentials {
    async fn of(site: &Site) -> Self {
        let accounts = &site.running.accounts;
        let demo = site.running.demo.as_ref().unwrap();
        let new_key = async |group: &str| accounts.create_api_key(&group_id(group), "it").await.unwrap();
        let (other, revoked) = (new_key("other").await, new_key("demo").await);
        accounts.revoke_api_key(&group_id("demo"), &revoked.row.id).await.unwrap();
        let whole = |id: &str, secret: &str| bearer(&format!("{id}.{secret}"));
        let token = |group: &str, agent: &str, change: fn(&mut AgentClaims)| {
            bearer(&mint(site, &agent_key(group, agent), change))
        };
        site.add_agent("demo", "gone").await;
        let of_gone = token("demo", "gone", |_| ());
        accounts.remove_agent(&agent_key("demo", "gone"), "it").await.unwrap();
        let expired: fn(&mut AgentClaims) = |claims| {
            claims.exp = wall().unix_seconds() - 1;
            claims.iat -= 3_600;
        };
        let (key_id, secret) = (demo.api_key.0.to_string(), demo.api_key.1.clone());
        let operator = bearer(&demo.admin_key);
        let bad = vec![
            ("no credential", None),
            ("an empty one", Some("Bearer ".to_owned())),
            ("garbage", Some("Bearer garbage".to_owned())),
            ("a dot", Some("Bearer .".to_owned())),
            ("the wrong scheme", Some(operator.replace("Bearer", "Basic"))),
            ("no scheme", Some(demo.admin_key.clone())),
            ("half of the operator's key", Some(bearer(&demo.admin_key[..20]))),
            ("a key's secret alone", Some(bearer(&secret))),
            ("a key's ID alone", Some(format!("Bearer {key_id}"))),
            ("a key with another's secret", Some(whole(&key_id, other.secret.expose()))),
            ("a revoked key", Some(whole(revoked.row.id.as_str(), revoked.secret.expose()))),
            ("an expired token", Some(token("demo", "alice", expired))),
            ("a revoked token", Some(token("demo", "alice", |claims| claims.generation += 1))),
            ("a removed agent's token", Some(of_gone)),
            ("a token of another issuer", Some(bearer(&foreign_token(site)))),
        ];
        Self {
            operator,
            key: whole(&key_id, &secret),
            admin: token("demo", "alice", |_| ()),
            plain: token("demo", "bob", |_| ()),
            other_key: whole(other.row.id.as_str(), other.secret.expose()),
            other_admin: token("other", "carol", |_| ()),
            bad,
        }
    }
}

/// The very claims of a good token under another server's master secret.
fn foreign_token(site: &Site) -> String {
    use porchlight::auth::agent_token::AgentTokens;
    use porchlight::auth::secret::MasterSecret;
    let claims = crate::common::site::claims(site, &agent_key("demo", "alice"));
    AgentTokens::new(&MasterSecret::fresh()).mint(&claims)
}

/// What a group is made of, to see that nothing happened to it.
async fn state(site: &Site) -> String {
    let accounts = &site.running.accounts;
    let demo = group_id("demo");
    let group = accounts.group(&demo).unwrap();
    let groups = accounts.groups().len();
    let agents = accounts.agents(&demo).await.unwrap();
    let agents: Vec<_> = agents.iter().map(|row| (&row.agent.key.agent, row.generation)).collect();
    let keys = accounts.api_keys(&demo).await.unwrap();
    let keys: Vec<_> = keys.iter().map(|row| (&row.id, row.revoked_at)).collect();
    format!("{groups} groups; version {}; {agents:?}; {keys:?}", group.version)
}

#[tokio::test]
async fn every_call_refuses_every_credential_that_does_not_reach() {
    let site = Site::start().await;
    site.add_group("other").await;
    let credentials = Credentials::of(&site).await;
    let mut visitor = site.visitor("C-1").await;
    visitor.skip().await;
    let door = Door::of(&site).await;
    let before = state(&site).await;
    let calls = calls();
    let mut unauthorized = Vec::new();
    for call in &calls {
        let name = call.name();
        let Some((reach, _)) = rule(name) else {
            panic!("{name} is described and has no rule here: say whom it serves")
        };
        for (what, credential) in &credentials.bad {
            let refused = door.call(call, credential.as_deref(), "demo").await.expect_err(what);
            assert_eq!(refused.0, Code::Unauthenticated, "{name} with {what}");
            unauthorized.push(refused);
        }
        let plain = door.call(call, Some(&credentials.plain), "demo").await.unwrap_err();
        assert_eq!(plain.0, Code::PermissionDenied, "{name} by an agent without the permission");
        for (what, credential) in [
            ("its group's key", &credentials.key),
            ("another group's key", &credentials.other_key),
            ("an admin agent", &credentials.admin),
            ("another group's admin agent", &credentials.other_admin),
        ] {
            let own = what.starts_with("its") || what.starts_with("an admin");
            let answer = door.call(call, Some(credential), "demo");
            match reach {
                For::Operators => {
                    let refused = answer.await.expect_err(name);
                    assert_eq!(refused.0, Code::PermissionDenied, "{name} with {what}");
                    let plain = door.call(call, Some(&credentials.plain), "demo").await.unwrap_err();
                    assert_eq!(refused, plain, "{name}: one answer to whoever may not");
                }
                For::Group if !own => {
                    let foreign = answer.await.expect_err(name);
                    let unknown = door.call(call, Some(credential), "nowhere").await.expect_err(name);
                    assert_eq!(foreign.0, Code::NotFound, "{name} with {what}");
                    assert_eq!(foreign, unknown, "{name} with {what}: unknown and foreign are the same");
                }
                For::Everybody if !own => {
                    if let Ok(told) = answer.await {
                        let text = String::from_utf8_lossy(&told);
                        assert!(!text.contains("demo"), "{name} with {what} tells of another group");
                    }
                }
                For::Group | For::Everybody => {}
            }
        }
    }
    unauthorized.dedup();
    assert_eq!(unauthorized.len(), 1, "one answer for all: {unauthorized:#?}");
    assert_eq!(state(&site).await, before, "nothing happened");
    visitor.expect_nothing().await;

    // The same requests of those who may: what was refused above was refused for the credential alone.
    for call in calls.iter().filter(|call| call.name() != "Drain") {
        let (reach, _) = rule(call.name()).unwrap();
        let mut good = vec![&credentials.operator];
        if reach != For::Operators {
            good.extend([&credentials.key, &credentials.admin]);
        }
        for credential in good {
            let answer = door.call(call, Some(credential), "demo").await;
            let code = answer.as_ref().err().map(|face| face.0);
            let refused = matches!(code, Some(Code::Unauthenticated | Code::PermissionDenied));
            assert!(!refused, "{}: {answer:?}", call.name());
            if matches!(call.name(), "DeleteAgent" | "RemoveAssociation" | "RevokeTokens") {
                site.add_agent("demo", "bob").await;
            }
        }
    }
}

/// The same call through the JSON door: the status, and the answer without the ID of the request.
async fn ask(
    site: &Site,
    call: &MethodDescriptor,
    credential: Option<&str>,
    origin: &str,
    group: &str,
) -> (u16, Value) {
    let (_, mut sample) = rule(call.name()).unwrap();
    if call.input().get_field_by_name("group").is_some() && sample.get("group").is_none() {
        sample["group"] = json!(group);
    }
    let body = sample.to_string();
    let authorization = credential.map(|value| format!("authorization: {value}\r\n")).unwrap_or_default();
    let (name, length) = (call.name(), body.len());
    let request = format!(
        "POST /v1/admin/{name} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{authorization}{origin}\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let answer = http::exchange(site.running.public, &request).await;
    let mut told = answer.json();
    if let Some(error) = told["error"].as_object_mut() {
        assert!(error.remove("requestId").is_some(), "{error:?}");
    }
    (answer.status, told)
}

#[tokio::test]
async fn the_json_door_opens_for_admin_agents_alone() {
    let site = Site::start().await;
    site.add_group("other").await;
    let credentials = Credentials::of(&site).await;
    let before = state(&site).await;
    let keys =
        [&credentials.operator, &credentials.key, &credentials.other_key].map(|key| Some(key.as_str()));
    let bad = credentials.bad.iter().map(|(_, credential)| credential.as_deref()).chain(keys);
    let bad: Vec<_> = bad.collect();
    let (alice, bob) = (Some(credentials.admin.as_str()), Some(credentials.plain.as_str()));
    let carol = Some(credentials.other_admin.as_str());
    let mut unauthorized = Vec::new();
    for call in &calls() {
        let name = call.name();
        let (reach, _) = rule(name).unwrap_or_else(|| panic!("{name} has no rule here"));
        for credential in &bad {
            let refused = ask(&site, call, *credential, "", "demo").await;
            assert_eq!(refused.0, 401, "{name}: {refused:?}");
            unauthorized.push(refused);
        }
        let foreign = ask(&site, call, alice, "origin: https://evil.example\r\n", "demo").await;
        assert_eq!(foreign.0, 403, "{name} from a foreign page: {foreign:?}");
        // What streams is offered to nobody here.
        let streams = call.is_server_streaming();
        let plain = ask(&site, call, bob, "", "demo").await;
        assert_eq!(plain.0, 403, "{name} by an agent without the permission");
        if reach == For::Operators {
            assert_eq!(ask(&site, call, alice, "", "demo").await.0, 403, "{name} by an agent");
        }
        if reach == For::Group {
            let elsewhere = ask(&site, call, carol, "", "demo").await;
            assert_eq!(elsewhere.0, if streams { 501 } else { 404 }, "{name} for another group");
            assert_eq!(elsewhere, ask(&site, call, carol, "", "nowhere").await, "{name}");
        }
    }
    unauthorized.dedup();
    assert_eq!(unauthorized.len(), 1, "one answer for all: {unauthorized:#?}");
    assert_eq!(state(&site).await, before, "nothing happened");
}
