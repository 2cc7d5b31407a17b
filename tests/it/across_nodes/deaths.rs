//! Nodes that die: whoever is left hears what it would hear of a lost connection, and never nothing.

use super::over_each_post;
use super::world::World;
use crate::common::json;

over_each_post! {
    an_agents_node_dies(2);
    a_visitors_node_dies(2);
    a_home_dies_under_a_question(2);
}

async fn an_agents_node_dies(mut world: World) {
    let mut met = world.meet(0, 1, 0, json!({})).await;
    world.cluster.kill(1);
    met.publisher.expect_change("reconnecting", &met.viewer.id()).await;
    // It comes back through the node that is left.
    let viewer = world.resume(0, "viewer", &met.viewer.token()).await;
    met.publisher.expect_change("back", &viewer.id()).await;
}

async fn a_visitors_node_dies(mut world: World) {
    let mut met = world.meet(0, 1, 1, json!({})).await;
    let mut tab = world.visitor(1, "C-1").await;
    world.cluster.kill(0);
    // Its socket is here, its seat was there: the page comes back at once.
    assert_eq!(tab.expect("reconnect").await["afterMs"], 0);
    tab.expect_close(4000).await;
    for client in [&mut met.publisher, &mut met.viewer] {
        client.expect_close(4000).await;
    }
    let mut again = world.visitor(1, "C-1").await;
    met.agent.skip().await;
    met.agent.join("C-1").await;
    again.expect("offer").await;
}

async fn a_home_dies_under_a_question(mut world: World) {
    let (mut visitor, mut agent) = (world.visitor(0, "C-1").await, world.agent(1).await);
    let request = agent.join("C-1").await;
    visitor.expect("offer").await;
    world.cluster.kill(0);
    let failed = agent.expect_request("failed").await;
    assert_eq!(failed["requestId"], request["requestId"]);
    assert_eq!(agent.refused(json!({"type": "join", "visitorId": "C-1"})).await, "visitor_not_present");
}
