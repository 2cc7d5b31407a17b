//! Presence: leases and grace, hidden tabs, focus, data, held signals, unique visitors, identity.

use crate::common::{Site, json};

#[tokio::test]
async fn a_visitor_is_present_while_a_tab_is_open_and_absent_after_grace() {
    let site = Site::start().await;
    site.settings(|settings| settings.grace_seconds = 1).await;
    let mut agent = site.agent("alice").await;
    assert_eq!(agent.watch("C-1").await["state"], "absent");
    let page = json!({"url": "https://shop.example/cart#secret", "title": "Cart", "referrer": "https://a.example/"});
    let client = json!({"platform": "Linux", "language": "en", "screen": "1280x720"});
    let hello = json!({"visitorId": "C-1", "page": page, "client": client, "data": {"plan": "gold", "age": 7}});
    let visitor = site.visitor_as("C-1", hello).await;
    assert_eq!(visitor.hello["visitorId"], "C-1");
    assert_eq!(visitor.hello["grace"], 1.0);
    assert_eq!(visitor.hello["heartbeat"], 60);
    assert_eq!(visitor.hello["focused"], true);
    assert_eq!(visitor.hello["presence"], true);
    for only_unique in ["uniqueSecret", "code", "codeExpiresAt"] {
        assert!(visitor.hello.get(only_unique).is_none(), "{only_unique}");
    }
    let seen = agent.expect_state("C-1", "present").await;
    assert_eq!(seen["connections"], 1);
    assert_eq!(seen["verified"], false);
    assert_eq!(seen["data"], json!({"plan": "gold", "age": 7}));
    let page = json!({"url": "https://shop.example/cart", "title": "Cart", "referrer": "https://a.example/"});
    assert_eq!(seen["focused"]["page"], page, "without the fragment");
    assert_eq!(seen["focused"]["client"]["userAgent"], "it/1");
    assert_eq!(seen["focused"]["client"]["screen"], "1280x720");
    visitor.go().await;
    // Within grace nothing changes.
    assert_eq!(agent.look("C-1").await["state"], "present");
    let gone = agent.expect_state("C-1", "absent").await;
    assert!(gone["version"].as_u64() > seen["version"].as_u64());
    assert_eq!(gone["connections"], 0);
    assert_eq!(gone["data"], json!({}));
}
