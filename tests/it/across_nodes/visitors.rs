//! Visitors with tabs on several nodes: one presence, one focus, one session.

use super::over_each_post;
use super::world::World;
use crate::common::json;

over_each_post! {
    tabs_on_two_nodes_are_one_visitor(2);
    an_offer_moves_with_the_focus_across_nodes(2);
    a_page_load_on_another_node_is_no_absence(2);
    a_visitor_leaves_from_any_node(2);
    what_a_page_says_wrong_is_refused_from_afar(2);
    a_drained_home_sends_its_visitors_back(2);
}

async fn tabs_on_two_nodes_are_one_visitor(world: World) {
    let mut agents = [world.agent(0).await, world.agent(1).await];
    for agent in &mut agents {
        agent.watch("C-1").await;
        agent.ask(json!({"type": "watchLive"}), "live").await;
    }
    let mut here = world.visitor(0, "C-1").await;
    assert!(here.expect("focus").await["focused"].as_bool().unwrap());
    here.ask(json!({"type": "presence", "data": {"a": 1}}), "ok").await;
    let mut there = world.visitor(1, "C-1").await;
    assert_eq!(there.hello["visitorId"], "C-1");
    there.expect_where("focus", |news| news["focused"] == true).await;
    here.expect_where("focus", |news| news["focused"] == false).await;
    there.ask(json!({"type": "presence", "data": {"b": 2}}), "ok").await;
    for agent in &mut agents {
        let merged = |push: &crate::common::Value| push["visitor"]["data"] == json!({"a": 1, "b": 2});
        agent.expect_where("presence", merged).await;
        let live = agent.ask(json!({"type": "watchLive"}), "live").await;
        assert_eq!(live["total"], 1, "one visitor, however many nodes");
    }
    here.ask(json!({"type": "presence", "active": true}), "ok").await;
    there.expect_where("focus", |news| news["focused"] == false).await;
    here.go().await;
    there.expect_where("focus", |news| news["focused"] == true).await;
    for agent in &mut agents {
        assert_eq!(agent.look("C-1").await["state"], "present");
    }
    assert_eq!(world.cluster.hub(0).visitors(), 1);
    assert_eq!(world.cluster.hub(1).visitors(), 0);
}

async fn an_offer_moves_with_the_focus_across_nodes(world: World) {
    let mut here = world.visitor(0, "C-1").await;
    let mut agent = world.agent(1).await;
    let request = agent.join("C-1").await;
    let offer = here.expect("offer").await;
    let mut there = world.visitor(1, "C-1").await;
    assert_eq!(there.expect("offer").await, offer);
    assert_eq!(here.expect("offerEnded").await["outcome"], "taken");
    there.accept(&offer).await;
    let (ready, ticket) = (there.expect("ready").await, agent.expect("ready").await);
    assert_eq!(ready["sessionId"], request["sessionId"]);
    world.attach(1, "publisher", &ready).await;
    world.attach(1, "viewer", &ticket).await;
    agent.expect_request("active").await;
}

async fn a_page_load_on_another_node_is_no_absence(world: World) {
    let here = world.visitor(0, "C-1").await;
    let mut agents = [world.agent(0).await, world.agent(1).await];
    for agent in &mut agents {
        assert_eq!(agent.watch("C-1").await["state"], "present");
    }
    here.go().await;
    let mut there = world.visitor(1, "C-1").await;
    there.ask(json!({"type": "presence", "data": {"n": 1}}), "ok").await;
    for agent in &mut agents {
        let told = |push: &crate::common::Value| push["visitor"]["data"] == json!({"n": 1});
        agent.expect_where("presence", told).await;
        let absent = agent.settled("presence").await;
        assert!(absent.iter().all(|push| push["visitor"]["state"] != "absent"), "{absent:?}");
    }
    // A question survives it as well.
    agents[1].join("C-1").await;
    let offer = there.expect("offer").await;
    there.go().await;
    let mut back = world.visitor(0, "C-1").await;
    assert_eq!(back.expect("offer").await, offer);
}

async fn a_visitor_leaves_from_any_node(world: World) {
    let mut agent = world.agent(0).await;
    agent.watch("C-1").await;
    let (mut here, mut there) = (world.visitor(0, "C-1").await, world.visitor(1, "C-1").await);
    there.ask(json!({"type": "leave"}), "ok").await;
    there.expect_close(4409).await;
    here.expect_close(4409).await;
    agent.expect_state("C-1", "absent").await;
    // Whoever comes next is at home where it comes.
    let _visitor = world.visitor(1, "C-1").await;
    agent.expect_state("C-1", "present").await;
    assert_eq!((world.cluster.hub(0).visitors(), world.cluster.hub(1).visitors()), (0, 1));
}

async fn what_a_page_says_wrong_is_refused_from_afar(world: World) {
    let _here = world.visitor(0, "C-1").await;
    let mut there = world.visitor(1, "C-1").await;
    assert_eq!(there.refused(json!({"type": "connect", "group": "demo"})).await, "wrong_state");
    assert_eq!(there.refused(json!({"type": "presence", "data": [1]})).await, "bad_value");
    assert_eq!(there.refused(json!({"type": "extendCode"})).await, "wrong_state");
    assert_eq!(there.refused(json!({"type": "dance"})).await, "unknown_type");
}

async fn a_drained_home_sends_its_visitors_back(world: World) {
    let mut here = world.visitor(0, "C-1").await;
    let (mut there, mut agent) = (world.visitor(1, "C-1").await, world.agent(1).await);
    agent.join("C-1").await;
    there.expect("offer").await;
    world.cluster.hub(0).drain(std::time::Duration::ZERO).await;
    for client in [&mut here, &mut there] {
        client.expect("reconnect").await;
        client.expect_close(4000).await;
    }
    agent.expect_request("failed").await;
    // The agent's own node is not the one that goes.
    assert!(agent.settled("reconnect").await.is_empty());
    let mut there = world.visitor(1, "C-1").await;
    agent.join("C-1").await;
    there.expect("offer").await;
}
