//! An agent's page that stays open: it goes on with a newer token, and ends with the last one it showed.

use porchlight::auth::agent_token::AgentTokens;
use porchlight::auth::secret::MasterSecret;
use porchlight::clock::wall;
use porchlight::ids::AgentId;

use crate::common::site::{DEMO, group_id};
use crate::common::{AgentClient, Site, json};

const MASTER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Long enough to connect with on a busy machine, short enough to wait for.
const SOON: u64 = 6;

async fn site() -> Site {
    Site::with(|config| config.auth.master_secret = Some(MASTER.to_owned().into())).await
}

/// A token of an agent as the server would have issued it, but for its end.
async fn short(site: &Site, agent: &str) -> String {
    let tokens = AgentTokens::new(&MasterSecret::from_text(MASTER).unwrap());
    let mut claims = tokens.verify(&site.token(DEMO, agent).await, wall()).unwrap();
    claims.exp = wall().unix_seconds() + SOON;
    tokens.mint(&claims)
}

async fn connect(site: &Site, name: &str, token: &str) -> AgentClient {
    AgentClient::connect(site.open(name, "/v1/agent").await, token).await
}

#[tokio::test]
async fn a_renewed_connection_outlives_its_first_token_with_all_it_watches() {
    let site = site().await;
    let token = short(&site, "alice").await;
    // The one that is not renewed tells when the token has ended.
    let mut lapses = connect(&site, "lapses", &token).await;
    let mut stays = connect(&site, "stays", &token).await;
    stays.watch("C-1").await;
    let request = json!({"type": "renew", "token": site.token(DEMO, "alice").await});
    let renewed = stays.ask(request, "renewed").await;
    assert!(renewed["expiresAt"].as_str().unwrap() > wall().to_string().as_str());
    lapses.expect_close(4401).await;
    assert!(lapses.reason.contains("expired"), "{}", lapses.reason);
    let _visitor = site.visitor("C-1").await;
    stays.expect_state("C-1", "present").await;
    // The newer token is the one that counts now, for good and for ill.
    let alice = AgentId::new("alice").unwrap();
    site.running.accounts.revoke_tokens(&group_id(DEMO), Some(&alice)).await.unwrap();
    stays.expect_close(4401).await;
}

#[tokio::test]
async fn a_token_that_will_not_do_changes_nothing() {
    let site = site().await;
    site.add_group("other").await;
    site.add_agent("other", "alice").await;
    let token = short(&site, "alice").await;
    let mut agent = connect(&site, "alice", &token).await;
    agent.watch("C-1").await;
    for wrong in ["junk", &site.token(DEMO, "bob").await, &site.token("other", "alice").await] {
        assert_eq!(agent.refused(json!({"type": "renew", "token": wrong})).await, "unauthorized");
    }
    let _visitor = site.visitor("C-1").await;
    agent.expect_state("C-1", "present").await;
    agent.expect_close(4401).await;
}
