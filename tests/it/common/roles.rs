//! The three kinds of client, each past its first message.

use std::ops::{Deref, DerefMut};

use serde_json::{Value, json};

use super::client::Client;

/// Declares a client that has said hello and keeps what it was answered.
macro_rules! role {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name {
            pub client: Client,
            /// What the first message was answered with.
            pub hello: Value,
        }

        impl Deref for $name {
            type Target = Client;

            fn deref(&self) -> &Client {
                &self.client
            }
        }

        impl DerefMut for $name {
            fn deref_mut(&mut self) -> &mut Client {
                &mut self.client
            }
        }
    };
}

role!(
    /// A visitor's page.
    VisitorClient
);
role!(
    /// An agent's page.
    AgentClient
);
role!(
    /// A participant of a session.
    ParticipantClient
);

impl VisitorClient {
    pub async fn go(self) {
        self.client.go().await;
    }

    pub async fn connect(mut client: Client, hello: Value) -> Self {
        client.send(hello).await;
        let hello = client.expect("connected").await;
        Self { client, hello }
    }

    pub fn id(&self) -> &str {
        self.hello["visitorId"].as_str().unwrap()
    }

    /// Says that the offer is on the screen, and accepts it.
    pub async fn accept(&mut self, offer: &Value) {
        let request = &offer["requestId"];
        self.send(json!({"type": "offerDisplayed", "requestId": request})).await;
        let version = &offer["terms"]["version"];
        let yes = json!({"type": "terms", "requestId": request, "accepted": true, "termsVersion": version});
        self.ask(yes, "ok").await;
    }
}

impl AgentClient {
    pub async fn go(self) {
        self.client.go().await;
    }

    pub async fn connect(mut client: Client, token: &str) -> Self {
        let hello = client.ask(json!({"type": "connect", "token": token}), "connected").await;
        Self { client, hello }
    }

    /// How a visitor is, by lookup.
    pub async fn look(&mut self, visitor: &str) -> Value {
        let found = self.ask(json!({"type": "lookup", "visitorIds": [visitor]}), "visitors").await;
        found["visitors"][0].clone()
    }

    /// Watches a visitor and returns how it is.
    pub async fn watch(&mut self, visitor: &str) -> Value {
        let watching = self.ask(json!({"type": "watch", "visitorIds": [visitor]}), "watching").await;
        watching["visitors"][0].clone()
    }

    /// Awaits the push that a watched visitor is in this state.
    pub async fn expect_state(&mut self, visitor: &str, state: &str) -> Value {
        let fits =
            |push: &Value| push["visitor"]["visitorId"] == visitor && push["visitor"]["state"] == state;
        self.expect_where("presence", fits).await["visitor"].clone()
    }

    /// Awaits the push that a request is in this state.
    pub async fn expect_request(&mut self, state: &str) -> Value {
        self.expect_where("request", |push| push["state"] == state).await
    }

    pub async fn join(&mut self, visitor: &str) -> Value {
        self.ask(json!({"type": "join", "visitorId": visitor, "kind": "screen"}), "request").await
    }
}

impl ParticipantClient {
    pub fn vanish(self) {
        self.client.vanish();
    }

    pub async fn attach(mut client: Client, credential: Value) -> Self {
        let mut message = credential;
        message["type"] = json!("attach");
        client.send(message).await;
        let hello = client.expect("attached").await;
        Self { client, hello }
    }

    pub fn id(&self) -> Value {
        self.hello["participantId"].clone()
    }

    pub fn token(&self) -> Value {
        self.hello["resumeToken"].clone()
    }

    /// Awaits the news of a participant.
    pub async fn expect_change(&mut self, change: &str, participant: &Value) -> Value {
        let fits =
            |news: &Value| news["change"] == change && news["participant"]["participantId"] == *participant;
        self.expect_where("participant", fits).await
    }
}
