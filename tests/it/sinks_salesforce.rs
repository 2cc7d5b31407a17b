//! What happens reaches a Salesforce org: every post, lead and session once, whatever goes wrong on the way,
//! and no secret is told.

use std::net::SocketAddr;
use std::path::PathBuf;

use porchlight::config::{Config, Flush, SalesforceKey};
use porchlight::ids::EventId;
use porchlight::model::event::{Event, Lead, Post, What};
use porchlight::pb::v1;
use porchlight::pb::v1::sink::Target;
use porchlight::server::{Options, Server, StorePlace};
use porchlight::wire::agent::Record;

use crate::common::cli::User;
use crate::common::org::{CLIENT, Fault, Org, USER, key};
use crate::common::rng::Rng;
use crate::common::site::{DEMO, config, group_id};
use crate::common::{Site, Value, canary, within};
use crate::sinks::{Admin, event, records, session};

const SESSIONS: &str = "Porchlight_Session__c";
const CASE: &str = "5005g00000AbCdEAAV";

/// A server, an org that trusts it, and the operator.
struct Bench {
    site: Site,
    org: Org,
    admin: Admin,
    _dir: tempfile::TempDir,
}

fn allow(config: &mut Config, key_file: PathBuf) {
    config.sinks.allow = vec!["127.0.0.0/8".parse().unwrap()];
    config.sinks.salesforce = vec![SalesforceKey { group: group_id(DEMO), key_file }];
}

impl Bench {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (file, public) = key(dir.path());
        let org = Org::start(public).await;
        let site = Site::with(|config| allow(config, file)).await;
        let admin = Admin::at(&site).await;
        Self { site, org, admin, _dir: dir }
    }

    async fn append(&self, events: Vec<Event>) {
        self.site.running.stores.events.append(events).await.unwrap();
    }

    /// Ends some sessions and tells their ids, in the order of their ends.
    async fn sessions(&self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            let (id, events) = session();
            self.append(events).await;
            ids.push(id.to_string());
        }
        ids
    }

    /// Waits until every event is done with. A sink that waits for its next try is put again, which does not
    /// wait. Tells the sink's state, and what went wrong on the way.
    async fn quiet(&mut self) -> (v1::SinkState, Vec<String>) {
        let place = *self.site.running.stores.events.newest(&group_id(DEMO)).borrow();
        let admin = &mut self.admin;
        let mut errors = Vec::new();
        let state = within("quiet", async {
            loop {
                let state = admin.states().await.remove(0);
                let lane = state.events.clone().unwrap();
                if lane.after >= place {
                    return state;
                }
                if lane.retry_at.is_some() {
                    errors.push(lane.error);
                    admin.put(state.sink.unwrap(), false).await;
                }
                tokio::task::yield_now().await;
            }
        });
        let state = state.await;
        (state, errors)
    }
}

fn sink(org: &Org) -> v1::Sink {
    sink_at(org.addr)
}

fn sink_at(addr: SocketAddr) -> v1::Sink {
    let org = v1::SalesforceTarget {
        login_url: format!("http://{addr}/"),
        client_id: CLIENT.into(),
        username: USER.into(),
        site_url: "https://help.example.com".into(),
    };
    v1::Sink {
        sink_id: "crm".into(),
        target: Some(Target::Salesforce(org)),
        event_kinds: vec![v1::EventKind::FeedPosted.into(), v1::EventKind::LeadCreated.into()],
        ..v1::Sink::default()
    }
}

fn post_to(record: &str, text: &str, link: Option<&str>) -> Event {
    let id = EventId::fresh();
    let post = Post {
        post: id.to_string(),
        text: text.to_owned(),
        link: link.map(str::to_owned),
        author: Some("Alice".to_owned()),
    };
    let record = Record { object: "Case".into(), id: record.into(), name: None, url: None };
    Event { id, record: Some(record), ..event(None, What::FeedPosted(post)) }
}

fn post(text: &str) -> Event {
    post_to(CASE, text, Some("/s/0190"))
}

/// Each its own: a second lead of an email is none.
fn email_of(lead: &str) -> String {
    format!("{lead}@example.com")
}

fn lead(name: Option<&str>) -> (String, Event) {
    let id = EventId::fresh();
    let lead = Lead { lead: id.to_string(), email: email_of(&id.to_string()), name: name.map(str::to_owned) };
    (id.to_string(), Event { id, ..event(None, What::LeadCreated(lead)) })
}

fn texts(org: &Org) -> Vec<String> {
    org.state.lock().feed.iter().map(|element| element.text.clone()).collect()
}

#[tokio::test]
async fn posts_leads_and_sessions_find_their_place() {
    let mut bench = Bench::start().await;
    bench.admin.put(v1::Sink { session_records: true, ..sink(&bench.org) }, false).await;
    let started = post("Alice started a session with C-1.");
    let bare = post_to(&CASE[..15], "A word.", None);
    let names = [format!("evt_{}", started.id), format!("evt_{}", bare.id)];
    let (mara, first) = lead(Some("Mara  von Lindqvist"));
    let (nameless, second) = lead(None);
    bench.append(vec![started, event(None, What::Paused), first, second, bare]).await;
    assert_eq!(bench.quiet().await.0.dead_letters, 0);
    let ended = bench.sessions(1).await.remove(0);
    let run = bench.admin.sync().await;
    assert_eq!((run.sinks[0].count, &*run.sinks[0].error), (1, ""));

    let state = bench.org.state.lock();
    assert_eq!(state.logins, 1, "one token for all");
    assert_eq!(state.feed.len(), 2);
    assert_eq!((&*state.feed[0].record, &*state.feed[0].text), (CASE, "Alice started a session with C-1."));
    assert_eq!(state.feed[0].url, Some(format!("https://help.example.com/s/0190#{}", names[0])));
    assert_eq!((&*state.feed[1].record, &state.feed[1].url), (&CASE[..15], &None));
    assert_eq!(state.feed[1].text, format!("A word.\n\n{}", names[1]));
    let lead = &state.rows[&("Lead".to_owned(), mara.clone())];
    assert_eq!((&lead["FirstName"], &lead["LastName"]), (&"Mara  von".into(), &"Lindqvist".into()));
    assert_eq!((&lead["Email"], &lead["Company"]), (&email_of(&mara).into(), &"[not provided]".into()));
    let lead = &state.rows[&("Lead".to_owned(), nameless.clone())];
    assert_eq!((&lead["FirstName"], &lead["LastName"]), (&Value::Null, &email_of(&nameless).into()));
    let row = &state.rows[&(SESSIONS.to_owned(), ended.clone())];
    assert_eq!((&row["Kind__c"], &row["End_Reason__c"]), (&"screen".into(), &"agent_ended".into()));
    assert_eq!((&row["Duration_Seconds__c"], &row["Visitor_Id__c"]), (&0.into(), &Value::Null));
    assert_eq!(state.order, [mara, nameless, ended]);
    // The two leads came together, and only the first post was looked for.
    assert_eq!(state.batches, [2, 1]);
    assert_eq!(state.asked.iter().filter(|(method, _)| method == "GET").count(), 1);
}

#[tokio::test]
async fn records_go_in_composite_requests_in_order() {
    let mut bench = Bench::start().await;
    bench.admin.put(records(sink(&bench.org)), false).await;
    let ids = bench.sessions(60).await;
    assert_eq!(bench.admin.sync().await.sinks[0].count, 60);
    assert_eq!(bench.org.state.lock().order, ids);
    assert_eq!(bench.org.state.lock().batches, [25, 25, 10]);

    // The first that fails decides how many were taken; what lies behind it comes again.
    let more = bench.sessions(5).await;
    let locked = |part| Fault::Part(part, 400, "UNABLE_TO_LOCK_ROW");
    bench.org.state.lock().faults.extend([locked(2), locked(0)]);
    let run = bench.admin.sync().await;
    assert_eq!(run.sinks[0].count, 2);
    assert_eq!(run.sinks[0].error, "answered 400 UNABLE_TO_LOCK_ROW: UNABLE_TO_LOCK_ROW happened.");
    bench.admin.sync().await;
    assert_eq!(bench.org.ids(SESSIONS).len(), 65);
    assert!(more.iter().all(|id| bench.org.ids(SESSIONS).contains(id)));
    assert_eq!(*bench.org.state.lock().batches.last().unwrap(), 3);
}

#[tokio::test]
async fn a_token_that_is_over_is_renewed() {
    let mut bench = Bench::start().await;
    bench.admin.put(v1::Sink { session_records: true, ..sink(&bench.org) }, false).await;
    bench.append(vec![post("one")]).await;
    bench.quiet().await;
    bench.org.state.lock().faults.push_back(Fault::Over);
    bench.append(vec![post("two")]).await;
    assert!(bench.quiet().await.1.is_empty());
    assert_eq!(texts(&bench.org), ["one", "two"]);
    assert_eq!(bench.org.state.lock().logins, 2);
    bench.sessions(3).await;
    bench.org.state.lock().faults.push_back(Fault::Over);
    let run = bench.admin.sync().await;
    assert_eq!((run.sinks[0].count, &*run.sinks[0].error), (3, ""));
    assert_eq!(bench.org.state.lock().logins, 3);
}

#[tokio::test]
async fn a_post_is_there_once_whatever_became_of_the_answer() {
    let mut bench = Bench::start().await;
    bench.admin.put(sink(&bench.org), false).await;
    bench.append(vec![post("zero")]).await;
    bench.quiet().await;
    // The post is behind more than a page of others when it is looked for.
    bench.org.state.lock().noise = 150;
    let limit = Fault::Answer(403, "REQUEST_LIMIT_EXCEEDED");
    let broken = Fault::Answer(503, "SERVER_UNAVAILABLE");
    let mut wanted = vec!["zero".to_owned()];
    for fault in [Fault::Untold, Fault::Lost, Fault::Broken, limit, broken] {
        bench.org.state.lock().faults.push_back(fault.clone());
        let text = format!("{fault:?}");
        bench.append(vec![post(&text), post("and on")]).await;
        let (_, errors) = bench.quiet().await;
        assert!(!errors.is_empty() && errors.iter().all(|error| !error.contains("AQAQ")), "{errors:?}");
        wanted.extend([text, "and on".to_owned()]);
        assert_eq!(texts(&bench.org), wanted);
    }
}

#[tokio::test]
async fn posts_and_leads_are_there_once_in_spite_of_chance() {
    for seed in 1..=3 {
        let mut bench = Bench::start().await;
        bench.admin.put(sink(&bench.org), false).await;
        bench.org.state.lock().chance = Some((Rng::new(seed), 3));
        let (mut posts, mut leads) = (Vec::new(), Vec::new());
        let mut rng = Rng::new(seed);
        for at in 0..30 {
            if rng.below(2) == 0 {
                posts.push(format!("post {at}"));
                bench.append(vec![post(posts.last().unwrap())]).await;
            } else {
                let (id, event) = lead(None);
                leads.push(id);
                bench.append(vec![event]).await;
            }
        }
        let (state, errors) = bench.quiet().await;
        assert_eq!(state.dead_letters, 0);
        assert!(!errors.is_empty(), "nothing went wrong with seed {seed}");
        assert_eq!(texts(&bench.org), posts, "seed {seed}");
        let written = bench.org.ids("Lead");
        assert_eq!(written.len(), leads.len(), "seed {seed}");
        assert!(leads.iter().all(|id| written.contains(id)));
    }
}

#[tokio::test]
async fn sessions_are_there_once_in_spite_of_chance() {
    for seed in 1..=3 {
        let mut bench = Bench::start().await;
        bench.admin.put(records(sink(&bench.org)), false).await;
        bench.org.state.lock().chance = Some((Rng::new(seed), 2));
        let ids = bench.sessions(130).await;
        let mut failed = 0;
        while !bench.admin.sync().await.sinks[0].error.is_empty() {
            failed += 1;
            assert!(failed < 200, "it never ends with seed {seed}");
        }
        assert!(failed > 0, "nothing went wrong with seed {seed}");
        let mut wanted = ids;
        wanted.sort();
        assert_eq!(bench.org.ids(SESSIONS), wanted);
    }
}

#[tokio::test]
async fn what_is_refused_for_good_is_put_aside_and_can_be_sent_again() {
    let mut bench = Bench::start().await;
    bench.admin.put(v1::Sink { session_records: true, ..sink(&bench.org) }, false).await;
    let gone = "5005g00000GoNeXAAV";
    let ids = bench.sessions(4).await;
    bench.org.state.lock().refused = [
        (gone.to_owned(), (404, "ENTITY_IS_DELETED")),
        (ids[1].clone(), (400, "FIELD_CUSTOM_VALIDATION_EXCEPTION")),
    ]
    .into();
    bench.append(vec![post_to("C-1001", "nowhere", None), post_to(gone, "gone", None), post("here")]).await;
    let (state, errors) = bench.quiet().await;
    assert_eq!((state.dead_letters, errors), (2, vec![]));
    assert_eq!(texts(&bench.org), ["here"]);
    assert!(!bench.org.state.lock().asked.iter().any(|(_, path)| path.contains("C-1001")));

    let run = bench.admin.sync().await;
    assert_eq!(run.sinks[0].count, 3);
    let told = format!("rec_{} was put aside: answered 400 FIELD_CUSTOM_VALIDATION_EXCEPTION", ids[1]);
    assert!(run.sinks[0].error.starts_with(&told), "{}", run.sinks[0].error);
    assert_eq!(bench.org.ids(SESSIONS).len(), 3);

    // The org is mended, but for the record that no org will ever have.
    bench.org.state.lock().refused.clear();
    let replay = async |admin: &mut Admin| {
        let message = v1::ReplayDeadLettersRequest {
            group: DEMO.into(),
            sink_id: "crm".into(),
            request_id: String::new(),
        };
        let request = admin.with_key(message);
        within("a replay", admin.client.replay_dead_letters(request)).await.unwrap().into_inner()
    };
    let replayed = replay(&mut bench.admin).await;
    assert_eq!((replayed.delivered, replayed.left), (2, 1));
    assert_eq!(replayed.error, "the record's ID is none of Salesforce");
    let at = texts(&bench.org).iter().filter(|text| text.starts_with("gone")).count();
    assert_eq!((at, bench.org.ids(SESSIONS).len()), (1, 4));
    assert_eq!(replay(&mut bench.admin).await.delivered, 0);
}

#[tokio::test]
async fn a_test_sees_the_token_and_the_fields() {
    let mut bench = Bench::start().await;
    bench.admin.put(v1::Sink { session_records: true, ..sink(&bench.org) }, false).await;
    assert_eq!(bench.admin.test("crm").await, "");
    bench.org.state.lock().lacking = ["Kind__c", "Ended_At__c"].into();
    let error = bench.admin.test("crm").await;
    assert_eq!(error, format!("object {SESSIONS} has no fields that we may write: Kind__c, Ended_At__c"));
    bench.org.state.lock().lacking = ["Porchlight_Lead_Id__c"].into();
    let error = bench.admin.test("crm").await;
    assert_eq!(error, "object Lead has no external ID field Porchlight_Lead_Id__c");
    bench.org.state.lock().lacking = [SESSIONS].into();
    let error = bench.admin.test("crm").await;
    assert!(error.starts_with(&format!("object {SESSIONS} can't be described: answered 404")), "{error}");
    // Whoever refuses to let us in tells the assertion, and we do not pass it on.
    bench.org.state.lock().locked = Some("user hasn't approved this consumer");
    let error = bench.admin.test("crm").await;
    let told = "can't sign in: answered 400: invalid_grant: user hasn't approved this consumer …";
    assert_eq!(error, told);
    assert_eq!(bench.org.state.lock().feed.len(), 0);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let mut bench = Bench::start().await;
    let org = |change: fn(&mut v1::SalesforceTarget)| {
        let mut sink = sink(&bench.org);
        let Some(Target::Salesforce(org)) = &mut sink.target else { unreachable!() };
        change(org);
        sink
    };
    let bad = [
        (org(|org| org.login_url = "login.salesforce.com".into()), "sink.salesforce.login_url"),
        (org(|org| org.login_url.push_str("?a=b")), "sink.salesforce.login_url"),
        (org(|org| org.client_id.clear()), "sink.salesforce.client_id"),
        (org(|org| org.username = "a\nb".into()), "sink.salesforce.username"),
        (org(|org| org.site_url = "/s".into()), "sink.salesforce.site_url"),
        (v1::Sink { every_event: true, ..sink(&bench.org) }, "sink.every_event"),
        (
            v1::Sink { event_kinds: vec![v1::EventKind::SessionPaused.into()], ..sink(&bench.org) },
            "sink.event_kinds",
        ),
    ];
    for (sink, field) in bad {
        let (sink, group) = (Some(sink), DEMO.to_owned());
        let request = v1::PutSinkRequest { group, sink, ..v1::PutSinkRequest::default() };
        let request = bench.admin.with_key(request);
        let refused = bench.admin.client.put_sink(request).await.unwrap_err();
        assert!(String::from_utf8_lossy(refused.details()).contains(field), "{field}: {refused:?}");
    }
    // A group without a key has no such sink.
    let site = Site::start().await;
    let admin = &mut Admin::at(&site).await;
    let (sink, group) = (Some(sink(&bench.org)), DEMO.to_owned());
    let request = v1::PutSinkRequest { group, sink, ..v1::PutSinkRequest::default() };
    let request = admin.with_key(request);
    let refused = admin.client.put_sink(request).await.unwrap_err();
    assert!(String::from_utf8_lossy(refused.details()).contains("sink.salesforce"), "{refused:?}");
}

#[tokio::test]
async fn the_command_line_sets_it_up() {
    let bench = Bench::start().await;
    let user = User::operator(&bench.site);
    let org = format!("--login-url {} --client-id {CLIENT} --username {USER}", bench.org.url());
    let put = format!("--group demo put-sink crm --salesforce {org} --events feed.posted --records");
    user.run(&put).await.good().says(&format!("{} as {USER}", bench.org.url()));
    user.run("--group demo test-sink crm").await.good().says("taken");
    let listed = user.run("--group demo list-sinks --json").await.good().line();
    assert_eq!(listed["sink"]["salesforce"]["clientId"], CLIENT);
    user.run("--group demo put-sink crm --salesforce --records").await.refused(2, "--client-id");
    user.run("--group demo put-sink crm --file --username a --records").await.refused(2, "--salesforce");
}

#[tokio::test]
async fn an_org_in_our_own_network_is_out_of_reach() {
    let dir = tempfile::tempdir().unwrap();
    let (file, public) = key(dir.path());
    let org = Org::start(public).await;
    let site = Site::with(|config| {
        allow(config, file);
        config.sinks.allow.clear();
    });
    let site = site.await;
    let mut admin = Admin::at(&site).await;
    admin.put(sink(&org), false).await;
    let error = admin.test("crm").await;
    assert_eq!(error, "can't sign in: 127.0.0.1 is not an address that sinks may lead to");
    assert_eq!(org.state.lock().logins, 0);
    // Nor does signing in lead there.
    let (file, public) = key(dir.path());
    let org = Org::start(public).await;
    let site = Site::with(|config| {
        allow(config, file);
        config.sinks.allow = vec!["127.0.0.1/32".parse().unwrap()];
    });
    org.state.lock().instance = Some(format!("http://127.0.0.2:{}", org.addr.port()));
    let site = site.await;
    let mut admin = Admin::at(&site).await;
    admin.put(records(sink(&org)), false).await;
    assert_eq!(admin.test("crm").await, "127.0.0.2 is not an address that sinks may lead to");
    assert!(org.state.lock().asked.is_empty());
}

#[tokio::test]
async fn a_post_that_was_taken_when_the_process_died_is_found() {
    canary::listen();
    let dir = tempfile::tempdir().unwrap();
    let (file, public) = key(dir.path());
    let org = Org::start(public).await;
    let start = async || {
        let mut config = config();
        config.store.data_dir = dir.path().join("data");
        config.store.flush = Flush::Checkpoint;
        allow(&mut config, file.clone());
        let options = Options { store: StorePlace::DataDir, ..Options::default() };
        within("a server", Server::start(config, options)).await.unwrap()
    };
    let mut running = start().await;
    let key = running.demo.as_ref().unwrap().admin_key.clone();
    canary::learn_text(&key);
    let mut admin = Admin::of(running.admin, &key).await;
    admin.put(sink(&org), false).await;
    // The look, and then the post whose answer never comes.
    org.state.lock().faults.extend([Fault::Nothing, Fault::Silent]);
    running.stores.events.append(vec![post("one")]).await.unwrap();
    within("the post", async {
        while texts(&org).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(admin);
    running.force();
    within("the end", running.wait()).await.unwrap();
    drop(running);

    let mut running = start().await;
    running.stores.events.append(vec![post("two")]).await.unwrap();
    within("the posts", async {
        while texts(&org).len() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(texts(&org), ["one", "two"]);
    running.force();
    within("the end", running.wait()).await.unwrap();
}
