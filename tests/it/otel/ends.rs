//! Spans end with what they tell of, while the node goes on.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn a_question_that_comes_to_nothing_ends_its_spans_at_once() {
    let (collector, addr, _running) = Collector::start().await;
    let mut site = site_telling(addr, |_| ()).await;
    site.settings(|settings| settings.terms.deadline_seconds = 5).await;
    let mut agent = site.agent("alice").await;
    let mut visitors = Vec::new();
    for id in ["C-expires", "C-declines", "C-cancelled"] {
        let mut visitor = site.visitor(id).await;
        agent.join(id).await;
        let offer = visitor.expect("offer").await;
        let shown = json!({"type": "offerDisplayed", "requestId": offer["requestId"]});
        visitor.send(shown).await;
        visitors.push((visitor, offer));
    }
    let (declining, offer) = &mut visitors[1];
    let no = json!({"type": "terms", "requestId": offer["requestId"], "accepted": false,
                    "termsVersion": offer["terms"]["version"]});
    declining.ask(no, "ok").await;
    let cancel = json!({"type": "cancel", "requestId": visitors[2].1["requestId"]});
    agent.call(cancel).await;
    let requests = collector.hears("request", 3).await;
    let mut outcomes: Vec<String> =
        requests.iter().map(|span| told(span, "porchlight.outcome").unwrap()).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["cancelled", "declined", "expired"]);
    for (part, whole) in [("offer", "request"), ("terms", "offer")] {
        let wholes = collector.hears(whole, 3).await;
        for part in collector.hears(part, 3).await {
            assert!(wholes.iter().any(|whole| whole.span_id == part.parent_span_id), "{part:#?}");
        }
    }
    // Nothing was left open for the end of the node.
    let before = collector.spans().len();
    end(&mut site).await;
    assert_eq!(collector.spans().len(), before);
    assert!(collector.by_node("session").is_empty());
}

#[tokio::test]
async fn a_session_that_ends_or_lives_on_elsewhere_ends_its_span_here() {
    let (collector, addr, _running) = Collector::start().await;
    let redis = Redis::start().await;
    let [mut home, mut edge] = nodes(&redis, addr).await;
    // An agent of the other node ends the first session …
    let mut visitor = home.visitor("C-1").await;
    let mut agent = edge.agent("alice").await;
    agent.watch("C-1").await;
    let request = agent.join("C-1").await;
    let offer = visitor.expect("offer").await;
    visitor.accept(&offer).await;
    agent.expect("ready").await;
    agent.ask(json!({"type": "endSession", "sessionId": request["sessionId"]}), "ok").await;
    let sessions = collector.hears("session", 1).await;
    assert_eq!(told(&sessions[0], "porchlight.end").as_deref(), Some("agent_ended"));
    // … and the second is handed over to that node.
    let _engagement = home.engage("C-2", with_trace(PAGE)).await;
    home.running.hub.drain(Duration::from_secs(2)).await;
    let sessions = collector.hears("session", 2).await;
    let left = sessions.iter().find(|span| hex(&span.trace_id) == PAGE[3..35]).unwrap();
    assert!(left.events.iter().any(|event| event.name == "left"), "{left:#?}");
    assert_eq!(told(left, "porchlight.end"), None);
    end(&mut home).await;
    end(&mut edge).await;
}
