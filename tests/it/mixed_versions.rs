//! A node beside one of a later version, which says more than this one knows, of kinds that it does not know: what is
//! known is understood, the rest is passed over, nobody is torn down, and an agent's ledger stays true.
//!
//! The later node is played by words written into Redis as such a node might.

use std::time::Duration;

use porchlight::clock::wall;
use porchlight::config::Secret;
use porchlight::pb::{cluster, wire};
use porchlight::redis::Link;
use prost::Message as _;

use crate::common::redis::Redis;
use crate::common::{AgentClient, Heard, Site, within};

/// Field 1,000 with two bytes.
const MORE: [u8; 5] = [0xc2, 0x3e, 0x02, 1, 2];

const NODE: u128 = 0xabcdef;

struct Later {
    link: Link,
    name: String,
}

impl Later {
    async fn run(&self, words: &[&[u8]]) {
        let mut command = redis::cmd(std::str::from_utf8(words[0]).unwrap());
        words[1..].iter().for_each(|word| {
            command.arg(*word);
        });
        let _: redis::Value = self.link.ask(&command).await.unwrap();
    }

    /// Its lease ends then; its row says more than rows do now.
    async fn lives_until(&self, end: u64) {
        let row = format!("{end}:1:1:0:7:zone=eu:weight=3");
        self.run(&[b"HSET", b"pl:{nodes}:leases", self.name.as_bytes(), row.as_bytes()]).await;
        let mut facts = cluster::Facts { version: "99.0.0".into(), ..Default::default() }.encode_to_vec();
        facts.extend(MORE);
        self.run(&[b"HSET", b"pl:{nodes}:facts", self.name.as_bytes(), &facts]).await;
        self.run(&[b"PUBLISH", b"pl:{nodes}:news", self.name.as_bytes()]).await;
    }

    /// Tells of a visitor, with a field that nobody knows.
    async fn tells(&self, state: i32, version: u64) {
        let visitor = cluster::Visitor {
            group: "demo".into(),
            visitor_id: "far".into(),
            state,
            since: wall().0,
            version,
            connections: 1,
            ..Default::default()
        };
        let mut entry = format!("{}:1:{version}:", self.name).into_bytes();
        entry.extend(visitor.encode_to_vec());
        entry.extend(MORE);
        self.run(&[b"HSET", b"pl:{demo}:v", b"far", &entry]).await;
        self.run(&[b"SPUBLISH", b"pl:{demo}:presence", &entry]).await;
    }

    async fn writes_to(&self, inbox: &str, first: u64, letters: &[Vec<u8>]) {
        let from = NODE.to_be_bytes().to_vec();
        let mut bundle = wire::Bundle { from, run: 1, first, letters: Vec::new() }.encode_to_vec();
        for letter in letters {
            bundle.extend([0x22, u8::try_from(letter.len()).unwrap()]);
            bundle.extend(letter);
        }
        bundle.extend(MORE);
        self.run(&[b"XADD", inbox.as_bytes(), b"*", b"later", b"?", b"b", &bundle]).await;
    }
}

/// All that an agent was told of a visitor.
struct Ledger {
    agent: AgentClient,
    told: Vec<(String, u64)>,
}

impl Ledger {
    async fn sees(&mut self, state: &str) {
        while self.told.last().is_none_or(|(last, _)| last != state) {
            let heard = match within(state, self.agent.hear()).await {
                Heard::Text(text) => text,
                Heard::Closed(code) => panic!("the agent's connection ended: {code:?}"),
                Heard::Frame(_) => continue,
            };
            if heard["type"] == "presence" {
                let visitor = &heard["visitor"];
                assert_eq!(visitor["visitorId"], "far", "nothing happened to anybody else: {heard}");
                let version = visitor["version"].as_u64().unwrap();
                assert!(
                    self.told.last().is_none_or(|(_, last)| *last <= version),
                    "{heard}: {:?}",
                    self.told
                );
                self.told.push((visitor["state"].as_str().unwrap().to_owned(), version));
            }
        }
    }
}

#[tokio::test]
async fn a_later_node_is_understood_as_far_as_it_is_known_and_harms_nobody() {
    let redis = Redis::start().await;
    let url = redis.url();
    let site = Site::with(|config| {
        config.redis.url = Some(Secret::from(url));
        config.limits.node_lease = Duration::from_secs(4);
        config.limits.node_beat = Duration::from_millis(400);
    })
    .await;
    let later = Later { link: redis.link().await, name: format!("{NODE:032x}") };
    let mut near = site.visitor("near").await;
    let mut agent = site.agent("alice").await;
    assert_eq!(agent.watch("far").await["state"], "absent");
    assert_eq!(agent.watch("near").await["state"], "present");
    agent.skip().await;
    let mut ledger = Ledger { agent, told: Vec::new() };

    let begun = wall().0;
    later.lives_until(begun + 3_600_000).await;
    // Versions follow the wall clock, in 1,024ths of a millisecond.
    let version = begun << 10;
    later.tells(1, version + 1).await;
    ledger.sees("present").await;

    // Words that nobody here knows, on every channel that is listened to.
    let nodes: Vec<String> = later.link.ask(redis::cmd("HKEYS").arg("pl:{nodes}:leases")).await.unwrap();
    let own = nodes.iter().find(|node| **node != later.name).unwrap();
    let (node, inbox) = (format!("pl:node:{own}"), format!("pl:inbox:n{own}"));
    for (say, channel) in [
        ("SPUBLISH", "pl:{demo}:presence"),
        ("PUBLISH", "pl:{demo}:live"),
        ("PUBLISH", "pl:accounts"),
        ("PUBLISH", "pl:{nodes}:news"),
        ("PUBLISH", &node),
    ] {
        for word in [&b"zone eu demo far 7"[..], &[0xff, 0xfe], b"", &MORE] {
            later.run(&[say.as_bytes(), channel.as_bytes(), word]).await;
        }
    }
    // Letters of unknown kinds, a door that is not known, a question that is not known.
    let answers = format!("pl:inbox:n{}", later.name);
    later.run(&[b"XADD", answers.as_bytes(), b"*", b"h", b""]).await;
    let letter = |what| wire::Letter { what: Some(what) }.encode_to_vec();
    let door = letter(wire::letter::What::Open(wire::Open { wire: 5, door: None }));
    let text = r#"{"teleport":{"group":"demo"}}"#.to_owned();
    let question = letter(wire::letter::What::Ask(wire::Ask { number: 7, text }));
    later.writes_to(&inbox, 1, &[MORE.to_vec(), door, MORE.to_vec()]).await;
    later.writes_to(&inbox, 4, &[[question, MORE.to_vec()].concat()]).await;
    let answered = async {
        type Entries = Vec<(String, Vec<(String, Vec<u8>)>)>;
        loop {
            let mut look = redis::cmd("XRANGE");
            look.arg(&answers).arg("-").arg("+");
            let entries: Entries = later.link.ask(&look).await.unwrap();
            let fields = entries.iter().flat_map(|(_, fields)| fields).filter(|(name, _)| name == "b");
            let bundles = fields.map(|(_, bytes)| wire::Bundle::decode(&bytes[..]).unwrap());
            for letter in bundles.flat_map(|bundle| bundle.letters) {
                if let Some(wire::letter::What::Answer(answer)) = letter.what {
                    return answer;
                }
            }
            tokio::task::yield_now().await;
        }
    };
    let answer = within("an answer to what is not known", answered).await;
    assert_eq!((answer.number, &*answer.text), (7, "\"unavailable\""));

    // A state that is not known is that: nobody can say how it is.
    later.tells(99, version + 2).await;
    ledger.sees("unknown").await;
    later.tells(2, version + 3).await;
    ledger.sees("hidden").await;
    near.settle().await;
    let row: String = {
        let mut look = redis::cmd("HGET");
        look.arg("pl:{nodes}:leases").arg(&later.name);
        later.link.ask(&look).await.unwrap()
    };
    assert!(row.ends_with(":zone=eu:weight=3"), "what it says of itself stays: {row}");

    // It dies as any node does.
    later.lives_until(wall().0 - 1).await;
    ledger.sees("absent").await;
    let states: Vec<&str> = ledger.told.iter().map(|(state, _)| state.as_str()).collect();
    assert_eq!(states.first().zip(states.last()), Some((&"present", &"absent")), "{states:?}");
    assert_eq!(ledger.agent.look("near").await["state"], "present");
    near.settle().await;
}
