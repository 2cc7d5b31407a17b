//! What a guest's device has to allow: told at the door and in the session, and heard by everybody in its place.

use crate::common::{AgentClient, Site, Value, json};
use crate::guests::{enter, knock};
use crate::view::{answering, view};

/// A guest's program on a Mac, as far as it tells.
pub fn on_a_mac(waiting: &Value, permissions: Value) -> Value {
    json!({
        "sessionKey": waiting["sessionKey"],
        "name": "Gina",
        "deviceId": "mac-1",
        "platform": "macos",
        "permissions": permissions,
    })
}

/// The agent hears that the guest has these steps left.
async fn is_at(alice: &mut AgentClient, state: &str, steps: Value) {
    let told =
        alice.expect_where("request", |push| push.get("steps") == steps.as_array().map(|_| &steps)).await;
    assert_eq!(told["state"], state, "{told}");
}

#[tokio::test]
async fn a_guest_that_has_to_start_its_app_anew_keeps_session_and_code() {
    let site = Site::start().await;
    let mut alice = site.agent("alice").await;
    let waiting = view(&mut alice, json!({"control": true})).await;

    // The page finds no app, and then one that was not opened yet.
    let nothing = json!({"install": "prompt", "screen_recording": "prompt", "accessibility": "prompt"});
    let asked = enter(&site, &on_a_mac(&waiting, nothing)).await;
    let all = ["download", "open", "allow_screen_recording", "choose_later", "reenter", "allow"];
    // What is accepted at the door is this very question; the last step is the next time.
    let at_the_door = ["download", "open", "allow_screen_recording", "choose_later", "reenter", "terms"];
    assert_eq!(asked["steps"], json!(at_the_door));
    is_at(&mut alice, "displayed", json!(all)).await;
    let opened = on_a_mac(&waiting, json!({"install": "granted"}));
    let asked = enter(&site, &opened).await;
    assert_eq!(
        asked["steps"],
        json!(["allow_screen_recording", "choose_later", "reenter", "terms"]),
        "remembered"
    );
    is_at(&mut alice, "displayed", json!(all[2..])).await;
    let first = enter(&site, &answering(&opened, &asked, true)).await;
    assert_eq!(first["steps"], json!(all[2..]));
    let mut guest = site.attach("gina", &first).await;
    assert_eq!(guest.hello["steps"], json!(all[2..]));
    assert_eq!(guest.hello["permissions"]["screen_recording"], "prompt");
    let mut watching = site.attach("alice", &alice.expect("ready").await).await;
    assert_eq!(watching.hello["steps"], json!(all[2..]));

    guest.ask(json!({"type": "permission", "name": "screen_recording", "state": "granted"}), "ok").await;
    for who in [&mut guest, &mut watching] {
        let told = who.expect("steps").await;
        assert_eq!(
            (&told["steps"], &told["permissions"]["screen_recording"], &told["participantId"]),
            (&json!(["choose_later", "reenter", "allow"]), &json!("granted"), &first["participantId"])
        );
    }
    // Its system quits it, and it comes in by the same code.
    guest.vanish();
    assert_eq!(watching.expect("steps").await["steps"], json!(["reenter", "allow"]));
    let again = on_a_mac(&waiting, json!({"screen_recording": "granted"}));
    let asked = enter(&site, &again).await;
    assert_eq!((&asked["steps"], &asked["sessionId"]), (&json!(["terms"]), &waiting["sessionId"]));
    assert_eq!(watching.expect("steps").await["steps"], json!(["allow"]));
    let second = enter(&site, &answering(&again, &asked, true)).await;
    assert_eq!(second["participantId"], first["participantId"]);
    let mut guest = site.attach("gina again", &second).await;
    assert_eq!(watching.expect("steps").await["steps"], json!([]));
    watching.expect_change("back", &first["participantId"]).await;

    // The first attempt to control is what Accessibility is asked for.
    watching.ask(json!({"type": "requestControl"}), "ok").await;
    let told = guest.expect_where("steps", |told| told["steps"] != json!([])).await;
    assert_eq!(told["steps"], json!(["allow_accessibility"]));
    let refused = json!({"type": "permission", "name": "accessibility", "state": "granted"});
    assert_eq!(watching.refused(refused.clone()).await, "forbidden");
    guest.ask(refused, "ok").await;
    assert_eq!(guest.expect("steps").await["steps"], json!([]));

    // Another session of this device, from its page alone: the app was deleted, and needs no alert.
    guest.ask(json!({"type": "end"}), "ok").await;
    let waiting = view(&mut alice, json!({})).await;
    let asked = enter(&site, &on_a_mac(&waiting, json!({"install": "prompt"}))).await;
    assert_eq!(asked["steps"], json!(["download", "open", "terms"]));
    // A browser on it tells nothing, and has nothing to do.
    let asked = enter(&site, &on_a_mac(&waiting, json!({}))).await;
    assert_eq!(asked["steps"], json!(["terms"]));
    for wrong in [json!({"install": "maybe"}), json!({"camera": "granted"}), json!(7)] {
        assert_eq!(knock(&site, None, &on_a_mac(&waiting, wrong)).await.status, 400);
    }
}
