//! Homes that drain: who is on other nodes is asked back there, and hears how it goes on.

use std::sync::Arc;
use std::time::Duration;

use super::over_each_post;
use super::world::World;
use crate::common::{json, within};

over_each_post! {
    a_home_drains_under_a_session(3);
    a_home_drains_under_a_question(2);
    a_session_moves_twice(3);
}

impl World {
    fn drain(&self, node: usize) -> tokio::task::JoinHandle<()> {
        let hub = Arc::clone(self.cluster.hub(node));
        tokio::spawn(async move { hub.drain(Duration::from_secs(2)).await })
    }
}

async fn a_home_drains_under_a_session(world: World) {
    let mut met = world.meet(0, 1, 1, json!({})).await;
    let drain = world.drain(0);
    for client in [&mut met.publisher.client, &mut met.viewer.client, &mut met.visitor.client] {
        assert_eq!(client.expect("reconnect").await["afterMs"], 0);
        client.expect_close(4000).await;
    }
    let mut visitor = world.visitor(2, "C-1").await;
    let mut publisher = world.resume(1, "publisher", &met.publisher.token()).await;
    let mut viewer = world.resume(1, "viewer", &met.viewer.token()).await;
    assert_eq!((publisher.id(), viewer.id()), (met.publisher.id(), met.viewer.id()));
    publisher.expect("keyFrameRequest").await;
    // The agent's page stayed where it is, and hears of it again.
    assert_eq!(met.agent.expect_request("active").await["sessionId"], met.session);
    within("the end of the drain", drain).await.unwrap();
    publisher.send(json!({"type": "end"})).await;
    viewer.expect("ended").await;
    for client in [&mut visitor.client, &mut met.agent.client] {
        let ended = client.expect("sessionEnded").await;
        assert_eq!((&ended["sessionId"], &ended["reason"]), (&met.session, &json!("guest_ended")));
    }
}

async fn a_home_drains_under_a_question(world: World) {
    let (mut visitor, mut agent) = (world.visitor(0, "C-1").await, world.agent(1).await);
    let request = agent.join("C-1").await;
    visitor.expect("offer").await;
    let drain = world.drain(0);
    let failed = agent.expect_request("failed").await;
    assert_eq!(failed["requestId"], request["requestId"]);
    assert_eq!(visitor.expect("offerEnded").await["outcome"], "failed");
    visitor.expect_close(4000).await;
    // It may be put again, where the visitor is now.
    let mut visitor = world.visitor(1, "C-1").await;
    agent.join("C-1").await;
    visitor.expect("offer").await;
    within("the end of the drain", drain).await.unwrap();
}

async fn a_session_moves_twice(world: World) {
    let mut met = world.meet(0, 2, 2, json!({})).await;
    let first = world.drain(0);
    met.publisher.expect_close(4000).await;
    met.viewer.expect_close(4000).await;
    // Its home is the first node where somebody comes for it.
    let mut visitor = world.visitor(1, "C-1").await;
    let mut publisher = world.resume(2, "publisher", &met.publisher.token()).await;
    let viewer = world.resume(2, "viewer", &met.viewer.token()).await;
    met.agent.expect_request("active").await;
    within("the end of the first drain", first).await.unwrap();
    assert_eq!(world.cluster.hub(1).sessions().len(), 1);

    let second = world.drain(1);
    let mut viewer = viewer;
    visitor.expect_close(4000).await;
    publisher.expect_close(4000).await;
    viewer.expect_close(4000).await;
    let _visitor = world.visitor(2, "C-1").await;
    let mut publisher = world.resume(2, "publisher", &publisher.token()).await;
    let viewer = world.resume(2, "viewer", &viewer.token()).await;
    assert_eq!((publisher.id(), viewer.id()), (met.publisher.id(), met.viewer.id()));
    met.agent.expect_request("active").await;
    within("the end of the second drain", second).await.unwrap();
    publisher.send(json!({"type": "end"})).await;
    assert_eq!(met.agent.expect("sessionEnded").await["reason"], "guest_ended");
}
