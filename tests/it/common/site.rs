//! A started server with the demo group, and the people who use it.

use std::net::SocketAddr;

use porchlight::auth::agent_token::{AgentClaims, AgentTokens};
use porchlight::auth::secret::MasterSecret;
use porchlight::clock::wall;
use porchlight::config::{Config, Secret};
use porchlight::ids::{AgentId, AgentKey, GroupId};
use porchlight::model::settings::Settings;
use porchlight::server::{Options, Running, Server, StorePlace};
use porchlight::store::Agent;
use serde_json::{Value, json};

use super::client::Client;
use super::redis::Redis;
use super::roles::{AgentClient, ParticipantClient, VisitorClient};
use super::transcript::Transcript;
use super::{canary, http, within};

pub const DEMO: &str = "demo";

/// The password of every agent that [`Site::add_group`] makes.
pub const PASSWORD: &str = "correct horse battery staple";

pub struct Site {
    pub running: Running,
    pub transcript: Transcript,
}

/// A session in full swing.
pub struct Engagement {
    pub visitor: VisitorClient,
    pub agent: AgentClient,
    pub publisher: ParticipantClient,
    pub viewer: ParticipantClient,
    pub session: Value,
}

pub fn group_id(name: &str) -> GroupId {
    GroupId::new(name).unwrap()
}

pub fn config() -> Config {
    let mut config = Config::default();
    for addr in [&mut config.public.addr, &mut config.ops.addr, &mut config.admin.addr] {
        *addr = "127.0.0.1:0".parse().unwrap();
    }
    config.auth.master_secret = Some(Secret::from(canary::MASTER.to_owned()));
    config.demo.enabled = true;
    config
}

pub fn agent_key(group: &str, agent: &str) -> AgentKey {
    AgentKey { group: group_id(group), agent: AgentId::new(agent).unwrap() }
}

/// What a good token of an agent says now.
pub fn claims(site: &Site, key: &AgentKey) -> AgentClaims {
    let member = site.running.accounts.member(key).expect("the agent was made");
    let now = wall().unix_seconds();
    AgentClaims {
        sub: key.agent.clone(),
        group: key.group.clone(),
        profile: None,
        permissions: Default::default(),
        iat: now,
        exp: now + 600,
        auth_time: now,
        generation: member.generation,
        sso: false,
    }
}

/// A token as the server itself would mint it, but for what the test changes.
pub fn mint(site: &Site, key: &AgentKey, change: impl FnOnce(&mut AgentClaims)) -> String {
    let mut claims = claims(site, key);
    change(&mut claims);
    AgentTokens::new(&MasterSecret::from_text(canary::MASTER).unwrap()).mint(&claims)
}

impl Drop for Site {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            canary::check();
        }
    }
}

impl Site {
    /// A server with the demo group as `porchlight dev` makes it.
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// The same with other settings of the process.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::built(false, change).await
    }

    /// A server that was built with what visitors share their pages with.
    pub async fn with_cobrowse() -> Self {
        Self::built(true, |_| ()).await
    }

    /// The same, one of several that share a Redis.
    pub async fn with_cobrowse_over(redis: &Redis) -> Self {
        let url = redis.url();
        Self::built(true, |config| config.redis.url = Some(Secret::from(url))).await
    }

    async fn built(cobrowse: bool, change: impl FnOnce(&mut Config)) -> Self {
        canary::listen();
        let mut config = config();
        change(&mut config);
        let starting = Server::start(
            config,
            Options { store: StorePlace::Memory, cobrowse: Some(cobrowse), ..Options::default() },
        );
        let running = within("the start of a server", starting).await.unwrap();
        if let Some(demo) = &running.demo {
            for secret in [&demo.admin_key, &demo.api_key.1] {
                canary::learn_text(secret);
            }
        }
        Self { running, transcript: Transcript::new() }
    }

    /// Changes settings of the demo group.
    pub async fn settings(&self, change: impl FnOnce(&mut Settings)) {
        self.settings_of(DEMO, change).await;
    }

    pub async fn settings_of(&self, group: &str, change: impl FnOnce(&mut Settings)) {
        let accounts = &self.running.accounts;
        let group = accounts.group(&group_id(group)).unwrap();
        let mut settings = group.settings.clone();
        change(&mut settings);
        accounts.update_settings(&group.id, &settings, group.version, "it").await.unwrap();
    }

    /// A second group with settings like those of the demo group, and one agent, `carol`.
    pub async fn add_group(&self, name: &str) {
        let (group, carol) = (group_id(name), AgentId::new("carol").unwrap());
        let accounts = &self.running.accounts;
        let settings = Settings::dev(std::slice::from_ref(&carol));
        accounts.create_group(&group, &settings, "it").await.unwrap();
        self.add_agent(name, "carol").await;
    }

    /// An agent with the profile of the demo group's agents, but no permission of its own.
    pub async fn add_agent(&self, group: &str, name: &str) {
        let key = AgentKey { group: group_id(group), agent: AgentId::new(name).unwrap() };
        let agent = Agent {
            key: key.clone(),
            address: name.to_owned(),
            partner_user_id: None,
            name: name.to_owned(),
            profile: Some("Support".to_owned()),
            subscription: None,
            fixed_key: None,
        };
        self.running.accounts.upsert_agent(&agent).await.unwrap();
        self.running.accounts.set_password(&key, PASSWORD.to_owned().into()).await.unwrap();
    }

    /// The password of an agent.
    pub fn password(&self, group: &str, agent: &str) -> String {
        let demo = self.running.demo.as_ref().unwrap();
        let printed = demo.agents.iter().find(|other| group == DEMO && other.address == agent);
        printed.map_or_else(|| PASSWORD.to_owned(), |agent| agent.password.clone())
    }

    /// Signs an agent in over HTTP and returns its token.
    pub async fn token(&self, group: &str, agent: &str) -> String {
        let body = json!({"group": group, "address": agent, "password": self.password(group, agent)});
        let answer = http::post(self.running.public, "/v1/auth/agent", &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    /// Opens one of the three sockets and says nothing.
    pub async fn open(&self, name: &str, path: &str) -> Client {
        self.open_at(self.running.public, name, path).await
    }

    pub async fn open_at(&self, addr: SocketAddr, name: &str, path: &str) -> Client {
        Client::open(&self.transcript, name, addr, path).await
    }

    /// An agent of the demo group with its page open.
    pub async fn agent(&self, name: &str) -> AgentClient {
        self.agent_of(DEMO, name).await
    }

    pub async fn agent_of(&self, group: &str, name: &str) -> AgentClient {
        let token = self.token(group, name).await;
        let client = self.open(&format!("{group}/{name}"), "/v1/agent").await;
        AgentClient::connect(client, &token).await
    }

    /// A visitor of the demo group with a page open.
    pub async fn visitor(&self, id: &str) -> VisitorClient {
        self.visitor_as(id, json!({"visitorId": id})).await
    }

    /// A visitor who says more about itself; the group is the demo group unless it says otherwise.
    pub async fn visitor_as(&self, name: &str, mut hello: Value) -> VisitorClient {
        hello["type"] = json!("connect");
        if hello.get("group").is_none() {
            hello["group"] = json!(DEMO);
        }
        let client = self.open(name, "/v1/visitor").await;
        VisitorClient::connect(client, hello).await
    }

    /// A page that is refused: says hello and expects this close. Returns the sentence it is told.
    pub async fn visitor_refused(&self, name: &str, mut hello: Value, code: u16) -> String {
        hello["type"] = json!("connect");
        if hello.get("group").is_none() {
            hello["group"] = json!(DEMO);
        }
        let mut client = self.open(name, "/v1/visitor").await;
        client.send(hello).await;
        client.expect_close(code).await;
        client.reason
    }

    /// Attaches with the ticket of a `ready` message.
    pub async fn attach(&self, name: &str, ready: &Value) -> ParticipantClient {
        let client = self.open(name, "/v1/session").await;
        ParticipantClient::attach(client, json!({"ticket": ready["ticket"]})).await
    }

    /// Comes back with a resume token.
    pub async fn resume(&self, name: &str, token: &Value) -> ParticipantClient {
        let client = self.open(name, "/v1/session").await;
        ParticipantClient::attach(client, json!({"resumeToken": token})).await
    }

    /// Tries to attach and expects to be refused; returns the reason of the close.
    pub async fn attach_refused(&self, name: &str, mut credential: Value, code: u16) -> String {
        credential["type"] = json!("attach");
        let mut client = self.open(name, "/v1/session").await;
        client.send(credential).await;
        client.expect_close(code).await;
        client.reason
    }

    /// Alice sees the screen of a visitor; `join` says more about what she asks for.
    pub async fn engage(&self, visitor: &str, join: Value) -> Engagement {
        let (visitor_page, agent) = (self.visitor(visitor).await, self.agent("alice").await);
        self.engage_with(visitor_page, agent, join).await
    }

    pub async fn engage_with(
        &self,
        mut visitor: VisitorClient,
        mut agent: AgentClient,
        mut join: Value,
    ) -> Engagement {
        join["type"] = json!("join");
        join["visitorId"] = json!(visitor.id());
        let request = agent.ask(join, "request").await;
        let offer = visitor.expect("offer").await;
        assert_eq!(offer["requestId"], request["requestId"]);
        visitor.accept(&offer).await;
        let (ready, ticket) = (visitor.expect("ready").await, agent.expect("ready").await);
        let publisher = self.attach("publisher", &ready).await;
        let viewer = self.attach("viewer", &ticket).await;
        agent.expect_request("active").await;
        let mut engagement =
            Engagement { visitor, agent, publisher, viewer, session: ready["sessionId"].clone() };
        engagement.publisher.expect_change("joined", &engagement.viewer.id()).await;
        for client in [&mut *engagement.visitor, &mut *engagement.agent] {
            client.skip().await;
        }
        for client in [&mut *engagement.publisher, &mut *engagement.viewer] {
            client.skip().await;
        }
        engagement
    }

    /// One more viewer: an agent joins what runs already.
    pub async fn another_viewer(
        &self,
        name: &str,
        agent: &mut AgentClient,
        visitor: &str,
    ) -> ParticipantClient {
        agent.join(visitor).await;
        let ready = agent.expect("ready").await;
        self.attach(name, &ready).await
    }

    /// The value of a metric; zero when it was never touched.
    pub async fn metric(&self, line: &str) -> f64 {
        let scraped = http::get(self.running.ops, "/metrics").await.body;
        let value = scraped.lines().find_map(|other| other.strip_prefix(line)?.trim().parse().ok());
        value.unwrap_or(0.0)
    }
}
