//! The door: from a link or a code to a ticket, by way of the terms.
//!
//! Decides how what somebody types is read, and what the door's answers mean. Does not decide who is let in, nor whether
//! the guest accepts.

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::line::Server;
use super::platform::Platform;
use crate::wire::permission::{Facts, Permission};
use crate::wire::session::Role;

/// What leads into the session. Never printed: it is a secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Way {
    Invite(String),
    Key(String),
}

impl Way {
    /// Reads a link, which names the server too, or a code.
    pub(super) fn parse(text: &str) -> anyhow::Result<(Option<String>, Self)> {
        let text = text.trim();
        if let Some((page, invite)) = text.split_once('#') {
            // The pages of guests are right below the server's address.
            let at = page
                .find("/at/")
                .or_else(|| page.find("/join"))
                .context("this link leads to no page of guests")?;
            if invite.is_empty() {
                bail!("this link has no invite behind its #");
            }
            return Ok((Some(page[..at].to_owned()), Self::Invite(invite.to_owned())));
        }
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        if digits.is_empty() || text.chars().any(|c| !(c.is_ascii_digit() || " -".contains(c))) {
            bail!("that is neither a link nor a session code");
        }
        Ok((None, Self::Key(digits)))
    }
}

/// What the guest tells of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct About {
    pub(super) name: Option<String>,
    pub(super) email: Option<String>,
}

/// What it is asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    request_id: Value,
    pub(super) agent: Agent,
    pub(super) control: bool,
    pub(super) terms: Terms,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Agent {
    pub(super) name: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Terms {
    pub(super) version: String,
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) url: Option<String>,
}

/// It was let in.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct LetIn {
    pub(super) ticket: String,
    pub(super) role: Role,
}

/// The door's answer.
#[derive(Debug)]
pub(super) enum Answer {
    In(LetIn),
    Asked(Asked),
}

/// Why it stays closed, as the server says it.
#[derive(Debug, thiserror::Error)]
#[error("the server does not let you in: {message}")]
pub(super) struct Closed {
    pub(super) code: String,
    pub(super) message: String,
}

fn body(way: &Way, about: &About, platform: &mut dyn Platform) -> Value {
    let mut body = match way {
        Way::Invite(invite) => json!({"invite": invite}),
        Way::Key(key) => json!({"sessionKey": key}),
    };
    body["platform"] = json!(platform.name());
    if let Some(name) = &about.name {
        body["name"] = json!(name);
    }
    if let Some(email) = &about.email {
        body["email"] = json!(email);
    }
    if let Some(device) = platform.device() {
        body["deviceId"] = json!(device);
    }
    if let Some(facts) = platform.facts() {
        body["permissions"] = told(facts);
    }
    body
}

fn told(facts: Facts) -> Value {
    serde_json::to_value(facts).expect("facts are plain values")
}

/// Knocks, with the answer to what was asked before, if anything was.
pub(super) async fn knock(
    server: &Server,
    way: &Way,
    about: &About,
    platform: &mut dyn Platform,
    accepts: Option<&Asked>,
) -> anyhow::Result<Answer> {
    let mut body = body(way, about, platform);
    if let Some(asked) = accepts {
        body["terms"] = answer(asked, true);
    }
    let answer = post(server, &body).await?;
    if answer.get("ticket").is_some() {
        return Ok(Answer::In(serde_json::from_value(answer).context("the door's answer")?));
    }
    Ok(Answer::Asked(serde_json::from_value(answer).context("the door's question")?))
}

/// Says no to what was asked.
pub(super) async fn decline(
    server: &Server,
    way: &Way,
    about: &About,
    platform: &mut dyn Platform,
    asked: &Asked,
) -> anyhow::Result<()> {
    let mut body = body(way, about, platform);
    body["terms"] = answer(asked, false);
    post(server, &body).await.map(drop)
}

fn answer(asked: &Asked, accepted: bool) -> Value {
    json!({"requestId": asked.request_id, "accepted": accepted, "termsVersion": asked.terms.version})
}

async fn post(server: &Server, body: &Value) -> anyhow::Result<Value> {
    let (status, answer) = server.post("/v1/guest", body).await?;
    if status.is_success() {
        return Ok(answer);
    }
    let text = |field: &str| answer["error"][field].as_str().unwrap_or("it did not say why").to_owned();
    Err(Closed { code: text("code"), message: text("message") }.into())
}

/// Facts as they differ: what has to be told of them.
pub(super) fn news(before: Facts, now: Facts) -> Vec<Value> {
    let facts = [
        (Permission::Install, before.install, now.install),
        (Permission::ScreenRecording, before.screen_recording, now.screen_recording),
        (Permission::Accessibility, before.accessibility, now.accessibility),
    ];
    let changed = facts.into_iter().filter(|(_, before, now)| before != now);
    changed.map(|(name, _, state)| json!({"type": "permission", "name": name, "state": state})).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_codes_are_read_as_people_paste_them() {
        let key = |text: &str| match Way::parse(text) {
            Ok((None, Way::Key(key))) => key,
            _ => panic!("{text}"),
        };
        assert_eq!((key("123 456 789\n"), key("123-456-789")), ("123456789".into(), "123456789".into()));
        for (link, server) in [
            ("https://help.example.com/at/alice?group=demo#abc.d", "https://help.example.com"),
            (" http://127.0.0.1:7400/join#abc.d\n", "http://127.0.0.1:7400"),
            ("https://example.com/help/join?group=x#abc.d", "https://example.com/help"),
        ] {
            match Way::parse(link) {
                Ok((Some(found), Way::Invite(invite))) => {
                    assert_eq!((found.as_str(), invite.as_str()), (server, "abc.d"));
                }
                _ => panic!("{link}"),
            }
        }
        for wrong in
            ["", "hello", "12a4", "https://help.example.com/join", "https://x/join#", "https://x/y#z"]
        {
            assert!(Way::parse(wrong).is_err(), "{wrong}");
        }
    }
}
