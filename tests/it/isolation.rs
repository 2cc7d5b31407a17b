//! Law 6: nothing crosses from one group to another.
//!
//! Two groups with the same visitor IDs are used at random by their visitors and agents. A model says what
//! each agent may see; whatever else is seen has crossed.

use std::collections::BTreeMap;

use crate::common::rng::Rng;
use crate::common::{AgentClient, Heard, Site, Value, VisitorClient, json};

const VISITORS: [&str; 4] = ["C-1", "C-2", "C-3", "C-4"];
const STEPS: usize = 3_000;

/// One of the two worlds, as it must look from inside.
struct World {
    group: &'static str,
    token: String,
    agent: AgentClient,
    /// Steps of this agent's connection: its rate must not become the test.
    steps: u32,
    pages: BTreeMap<&'static str, Page>,
    /// Signals sent to pages that are there.
    marks: u64,
}

/// A visitor's only page, and what it has told.
struct Page {
    client: VisitorClient,
    mark: String,
    /// Messages in this connection: its rate must not become the test.
    said: u32,
}

impl World {
    async fn new(site: &Site, group: &'static str, agent: &str) -> Self {
        let token = site.token(group, agent).await;
        let agent = Self::agent(site, group, &token).await;
        Self { group, token, agent, steps: 0, pages: BTreeMap::new(), marks: 0 }
    }

    /// The agent with all its wishes, on a connection of its own.
    async fn agent(site: &Site, group: &str, token: &str) -> AgentClient {
        let client = site.open(&format!("{group}'s agent"), "/v1/agent").await;
        let mut agent = AgentClient::connect(client, token).await;
        agent.ask(json!({"type": "watch", "visitorIds": VISITORS}), "watching").await;
        agent.ask(json!({"type": "watchLive"}), "live").await;
        agent
    }

    /// A text that only this world may ever see.
    fn mark(&mut self) -> String {
        self.marks += 1;
        format!("{}#{}", self.group, self.marks)
    }

    async fn step(&mut self, site: &Site, rng: &mut Rng) {
        self.steps += 1;
        if self.steps > 40 {
            self.steps = 0;
            self.look().await;
            self.agent = Self::agent(site, self.group, &self.token).await;
        }
        let id = *rng.pick(&VISITORS);
        let mark = self.mark();
        match (rng.below(7), self.pages.remove(id)) {
            (_, None) => {
                let hello = json!({"group": self.group, "visitorId": id, "data": {"mark": mark}});
                let client = site.visitor_as(&format!("{}/{id}", self.group), hello).await;
                self.pages.insert(id, Page { client, mark, said: 0 });
            }
            (0, Some(mut page)) | (1, Some(mut page)) if page.said > 12 || rng.below(3) == 0 => {
                self.check(page.client.settle().await);
                page.client.ask(json!({"type": "leave"}), "ok").await;
                page.client.expect_close(4409).await;
            }
            (0 | 1, Some(mut page)) => {
                page.said += 1;
                if page.said <= 12 {
                    page.client.ask(json!({"type": "presence", "data": {"mark": mark}}), "ok").await;
                    page.mark = mark;
                }
                self.pages.insert(id, page);
            }
            (2, Some(mut page)) => {
                page.said += 1;
                if page.said <= 12 {
                    page.client.ask(json!({"type": "message", "name": "mark", "data": mark}), "ok").await;
                    let heard =
                        self.agent.expect_where("message", |heard| heard["data"] == json!(mark)).await;
                    assert_eq!(heard["visitorId"], id);
                }
                self.pages.insert(id, page);
            }
            (3, Some(mut page)) => {
                let signal = json!({"type": "signal", "visitorId": id, "name": "mark", "data": mark});
                assert_eq!(self.agent.ask(signal, "signalled").await["delivery"], "delivered");
                page.client.expect_where("signal", |heard| heard["data"] == json!(mark)).await;
                self.pages.insert(id, page);
            }
            (4, Some(mut page)) => {
                let request = self.agent.join(id).await;
                let offer = page.client.expect("offer").await;
                assert_eq!(offer["requestId"], request["requestId"]);
                let cancel = json!({"type": "cancel", "requestId": request["requestId"]});
                self.agent.ask(cancel, "ok").await;
                page.client.expect("offerEnded").await;
                self.pages.insert(id, page);
            }
            (5, Some(mut page)) => {
                page.said += 1;
                if page.said <= 12 {
                    self.check(page.client.settle().await);
                    page.said += 1;
                }
                self.pages.insert(id, page);
            }
            (_, Some(page)) => {
                self.pages.insert(id, page);
                self.look().await;
            }
        }
    }

    /// The agent sees exactly its own world.
    async fn look(&mut self) {
        let found = self.agent.ask(json!({"type": "lookup", "visitorIds": VISITORS}), "visitors").await;
        for visitor in found["visitors"].as_array().unwrap() {
            let page = self.pages.get(visitor["visitorId"].as_str().unwrap());
            let (state, connections) = if page.is_some() { ("present", 1) } else { ("absent", 0) };
            assert_eq!((&visitor["state"], &visitor["connections"]), (&json!(state), &json!(connections)));
            assert_eq!(
                visitor["data"].get("mark").and_then(Value::as_str),
                page.map(|page| page.mark.as_str())
            );
        }
        let heard = self.agent.settle().await;
        self.check(heard);
    }

    /// Nothing that was heard bears another world's mark.
    fn check(&self, heard: Vec<Heard>) {
        for heard in heard {
            let Heard::Text(text) = heard else { panic!("{heard:?}") };
            let text = text.to_string();
            let foreign = if self.group == "demo" { "other#" } else { "demo#" };
            assert!(!text.contains(foreign), "{}: {text}", self.group);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_crosses_between_groups_whatever_they_do() {
    let site = Site::start().await;
    site.add_group("other").await;
    let mut worlds = [World::new(&site, "demo", "alice").await, World::new(&site, "other", "carol").await];
    let mut rng = Rng::new(6);
    for step in 0..STEPS {
        let world = rng.below(2);
        worlds[world].step(&site, &mut rng).await;
        if step % 50 == 0 {
            for world in &mut worlds {
                world.look().await;
            }
        }
    }
    for world in &mut worlds {
        world.look().await;
    }
    assert!(worlds.iter().all(|world| world.marks > STEPS as u64 / 4), "both were busy");
}

#[tokio::test]
async fn the_other_groups_visitors_requests_and_sessions_do_not_exist() {
    const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
    let site = Site::start().await;
    site.add_group("other").await;
    let mut carol = site.agent_of("other", "carol").await;
    carol.ask(json!({"type": "watch", "visitorIds": ["C-1"]}), "watching").await;
    carol.ask(json!({"type": "watchLive"}), "live").await;
    let mut engagement = site.engage("C-1", json!({})).await;
    // A request that stands, too.
    let mut asked = site.visitor("C-2").await;
    let request = engagement.agent.join("C-2").await;

    assert_eq!(carol.look("C-1").await["state"], "absent");
    assert_eq!(carol.refused(json!({"type": "join", "visitorId": "C-1"})).await, "visitor_not_present");
    let signal = json!({"type": "signal", "visitorId": "C-1", "name": "n"});
    assert_eq!(carol.refused(signal).await, "visitor_not_present");
    let live = carol.ask(json!({"type": "watchLive"}), "live").await;
    assert_eq!((&live["total"], &live["visitors"]), (&json!(0), &json!([])));
    let same = [
        ("endSession", "sessionId", &engagement.session),
        ("join", "sessionId", &engagement.session),
        ("cancel", "requestId", &request["requestId"]),
    ];
    for (kind, field, foreign) in same {
        let mut answers = Vec::new();
        for id in [foreign, &json!(NOBODY)] {
            let mut message = json!({"type": kind});
            message[field] = id.clone();
            answers.push(carol.call(message).await);
        }
        assert_eq!(answers[0], answers[1], "{kind}");
        assert_eq!(answers[0]["code"], "not_found", "{kind}");
    }
    // The same visitor ID in the other group is somebody else, and hears nothing of it.
    let mut namesake = site.visitor_as("namesake", json!({"group": "other", "visitorId": "C-2"})).await;
    namesake.expect("focus").await;
    let offer = asked.expect("offer").await;
    let yes = json!({"type": "terms", "requestId": offer["requestId"], "accepted": true});
    assert_eq!(namesake.refused(yes).await, "request_over");
    namesake.expect_nothing().await;
    carol.expect_where("liveDiff", |diff| diff["joined"][0]["visitorId"] == "C-2").await;
    let heard = carol.settled("presence").await;
    assert!(heard.is_empty(), "{heard:?}");
    for client in [&mut engagement.publisher.client, &mut engagement.viewer.client] {
        client.expect_nothing().await;
    }
}
