//! Guests become leads by the group's policy, once for each email and for ever.

use std::sync::Arc;
use std::time::Duration;

use porchlight::config::Flush;
use porchlight::model::event::{Kind, Lead, What};
use porchlight::model::settings::CreateLeads;
use porchlight::pb::v1;
use porchlight::pb::v1::admin_client::AdminClient;
use porchlight::server::{Options, Server, StorePlace};
use porchlight::store::events::{After, Tail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Barrier;

use crate::admin::{channel, group_key, with_key};
use crate::common::site::{DEMO, config, group_id};
use crate::common::transcript::Transcript;
use crate::common::{Site, canary, json, within};
use crate::guests::{enter, invite_of, show};

/// The leads told of up to the one with this email.
async fn told_until(site: &Site, email: &str) -> Vec<Lead> {
    let mut tail = Tail::new(Arc::clone(&site.running.stores.events), group_id(DEMO), After::Start);
    let mut leads: Vec<Lead> = Vec::new();
    while leads.last().is_none_or(|lead| lead.email != email) {
        for logged in within("a lead", tail.next()).await.unwrap().events {
            if let What::LeadCreated(lead) = logged.event.what {
                leads.push(lead);
            }
        }
    }
    leads
}

async fn listed(site: &Site) -> Vec<String> {
    let mut admin = AdminClient::new(channel(site).await);
    let request = v1::ListLeadsRequest { group: DEMO.into(), page_size: 100, page_token: String::new() };
    let leads = admin.list_leads(with_key(&group_key(site), request)).await.unwrap().into_inner().leads;
    leads.into_iter().map(|lead| lead.email).collect()
}

#[tokio::test]
async fn the_policy_says_which_guests_become_leads() {
    let site = Site::start().await;
    let mut alice = site.agent("alice").await;
    let ready = show(&mut alice, json!({})).await;
    let _publisher = site.attach("publisher", &ready).await;
    let guests = [(None, None), (None, Some("Ann")), (Some("e@x.y"), None), (Some("n@x.y"), Some("Ann"))];
    for (policy, tag) in
        [(CreateLeads::Never, "0"), (CreateLeads::NewEmail, "1"), (CreateLeads::NewEmailAndName, "2")]
    {
        site.settings(|settings| settings.create_leads = policy).await;
        for (email, name) in guests {
            let email = email.map(|email| format!("{tag}{email}"));
            enter(&site, &json!({"sessionKey": ready["sessionKey"], "email": email, "name": name})).await;
        }
    }
    // What a link knows of its guest counts, and so does what the guest says otherwise.
    let invite = json!({"type": "invite", "sessionId": ready["sessionId"], "guest": {"name": "Ben", "email": "ben@x.y"}});
    let sent = alice.ask(invite, "invite").await;
    enter(&site, &json!({"invite": invite_of(&sent["link"]), "email": "Last@x.y"})).await;
    let told = told_until(&site, "Last@x.y").await;
    let told: Vec<_> = told.iter().map(|lead| (lead.email.as_str(), lead.name.as_deref())).collect();
    let wanted =
        [("1e@x.y", None), ("1n@x.y", Some("Ann")), ("2n@x.y", Some("Ann")), ("Last@x.y", Some("Ben"))];
    assert_eq!(told, wanted);
    assert_eq!(listed(&site).await, ["1e@x.y", "1n@x.y", "2n@x.y", "Last@x.y"]);
}

const GUESTS: usize = 1_000;
const EMAILS: usize = 10;

/// Guests that all knock at the same moment; each is let in.
async fn crowd(site: &Site, key: &str, numbers: std::ops::Range<usize>) {
    let start = Arc::new(Barrier::new(numbers.len()));
    let mut guests = tokio::task::JoinSet::new();
    for number in numbers {
        let (start, addr) = (Arc::clone(&start), site.running.public);
        let email = format!("Guest{}@Example.COM", number % EMAILS);
        let email = if (number / EMAILS).is_multiple_of(2) { email } else { email.to_lowercase() };
        let body = json!({"sessionKey": key, "email": email, "name": format!("Guest {number}")}).to_string();
        guests.spawn(async move {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            let request = format!(
                "POST /v1/guest HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            );
            start.wait().await;
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        });
    }
    // A thousand at once in one process take longer than one of them may.
    let all = tokio::time::timeout(Duration::from_secs(60), guests.join_all());
    assert!(all.await.is_ok(), "not all guests were answered");
}

#[tokio::test]
async fn a_thousand_guests_with_ten_emails_are_ten_leads_across_a_restart() {
    canary::listen();
    let folder = tempfile::tempdir().unwrap();
    let start = async || {
        let mut config = config();
        config.store.data_dir = folder.path().join("data");
        config.store.flush = Flush::Checkpoint;
        config.public.exempt_loopback = true;
        config.limits.viewers = GUESTS;
        // They wait for one another before any of them speaks.
        config.limits.http_header = Duration::from_secs(60);
        config.limits.drain = Duration::from_secs(5);
        let options = Options { store: StorePlace::DataDir, ..Options::default() };
        let running = within("a server", Server::start(config, options)).await.unwrap();
        Site { running, transcript: Transcript::new() }
    };
    for half in [0..GUESTS / 2, GUESTS / 2..GUESTS] {
        let mut site = start().await;
        site.settings(|settings| settings.create_leads = CreateLeads::NewEmail).await;
        let mut alice = site.agent("alice").await;
        let ready = show(&mut alice, json!({})).await;
        let publisher = site.attach("publisher", &ready).await;
        crowd(&site, ready["sessionKey"].as_str().unwrap(), half).await;
        drop((alice, publisher));
        site.running.drain();
        within("the drain", site.running.wait()).await.unwrap();
    }
    let site = start().await;
    let mut emails: Vec<_> = listed(&site).await.iter().map(|email| email.to_lowercase()).collect();
    emails.sort_unstable();
    assert_eq!(emails, (0..EMAILS).map(|n| format!("guest{n}@example.com")).collect::<Vec<_>>());
    let (mut after, mut told) = (After::Start, 0);
    loop {
        let page = site.running.stores.events.read(&group_id(DEMO), after).await.unwrap();
        if page.events.is_empty() {
            break;
        }
        told += page.events.iter().filter(|logged| logged.event.what.kind() == Kind::LeadCreated).count();
        after = After::Sequence(page.cursor);
    }
    assert_eq!(told, EMAILS, "one event for each");
}
