//! Traces: a collector hears what an agent waited for, in the trace that its page began, and nothing of who it was.

mod calls;
mod ends;

use std::net::SocketAddr;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Told;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use porchlight::config::{Config, Secret};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::common::redis::Redis;
use crate::common::{Site, Value, canary, json, within};

const PAGE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const COLLEAGUE: &str = "00-11111111111111111111111111111111-2222222222222222-01";
const QUIET: &str = "00-33333333333333333333333333333333-4444444444444444-00";

/// A collector that keeps all it is sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>, watch::Sender<()>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().push(request.into_inner());
        self.1.send_replace(());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> (Self, SocketAddr, DropGuard) {
        let (collector, stop) = (Self::default(), CancellationToken::new());
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        let served = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(collector.clone()))
            .serve_with_incoming_shutdown(TcpIncoming::from(socket), stop.clone().cancelled_owned());
        tokio::spawn(served);
        (collector, addr, stop.drop_guard())
    }

    fn spans(&self) -> Vec<Span> {
        let told = self.0.lock();
        let resources = told.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|of| &of.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }

    /// Waits until so many spans of a name have come.
    async fn hears(&self, name: &str, count: usize) -> Vec<Span> {
        let mut news = self.1.subscribe();
        let heard = async {
            loop {
                news.mark_unchanged();
                let found: Vec<Span> = self.spans().into_iter().filter(|span| span.name == name).collect();
                if found.len() >= count {
                    assert_eq!(found.len(), count, "{found:#?}");
                    return found;
                }
                news.changed().await.unwrap();
            }
        };
        within(&format!("{count} spans {name}"), heard).await
    }

    /// The nodes and spans of a name.
    fn by_node(&self, name: &str) -> Vec<(String, Span)> {
        let told = self.0.lock();
        let mut found = Vec::new();
        for of in told.iter().flat_map(|request| &request.resource_spans) {
            let resource = pairs(&of.resource.as_ref().unwrap().attributes);
            let node = resource.into_iter().find(|(key, _)| key == "service.instance.id").unwrap().1;
            let spans = of.scope_spans.iter().flat_map(|scope| &scope.spans);
            found.extend(spans.filter(|span| span.name == name).map(|span| (node.clone(), span.clone())));
        }
        found
    }

    /// What the spans are said to come from.
    fn resource(&self) -> Vec<(String, String)> {
        let told = self.0.lock();
        pairs(&told[0].resource_spans[0].resource.as_ref().unwrap().attributes)
    }
}

fn text(value: &AnyValue) -> String {
    match &value.value {
        Some(Told::StringValue(text)) => text.clone(),
        other => panic!("all that is told is text: {other:?}"),
    }
}

fn pairs(attributes: &[KeyValue]) -> Vec<(String, String)> {
    attributes.iter().map(|told| (told.key.clone(), text(told.value.as_ref().unwrap()))).collect()
}

fn told(span: &Span, key: &str) -> Option<String> {
    pairs(&span.attributes).into_iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

#[track_caller]
fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<&Span> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name} in {spans:#?}");
    found[0]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn site_telling(addr: SocketAddr, change: impl FnOnce(&mut Config)) -> Site {
    Site::with(|config| {
        config.telemetry.otlp.endpoint = Some(format!("http://{addr}"));
        change(config);
    })
    .await
}

/// Ends a server, which sends what waits.
async fn end(site: &mut Site) {
    site.running.force();
    within("the end of a server", site.running.wait()).await.unwrap();
}

fn with_trace(traceparent: &str) -> Value {
    json!({"control": true, "traceparent": traceparent})
}

#[tokio::test]
async fn a_join_is_one_trace_from_the_agents_page_to_the_end_of_the_session() {
    let (collector, addr, _running) = Collector::start().await;
    let mut site = site_telling(addr, |_| ()).await;
    let node = site.running.hub.node().to_string();
    let mut engagement = site.engage("C-secret-visitor", with_trace(PAGE)).await;
    let mut colleague = site.agent("bob").await;
    let join = json!({"type": "join", "visitorId": "C-secret-visitor", "traceparent": COLLEAGUE});
    colleague.ask(join, "request").await;
    colleague.expect("ready").await;
    let end_it = json!({"type": "endSession", "sessionId": engagement.session});
    engagement.agent.ask(end_it, "ok").await;
    engagement.agent.expect("sessionEnded").await;
    end(&mut site).await;

    let spans = collector.spans();
    let mut names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["join", "offer", "receipt", "request", "session", "terms"]);
    let request = named(&spans, "request");
    assert_eq!(hex(&request.trace_id), &PAGE[3..35]);
    assert_eq!(hex(&request.parent_span_id), &PAGE[36..52], "the page's own span");
    for (part, whole) in
        [("offer", "request"), ("terms", "offer"), ("receipt", "request"), ("session", "request")]
    {
        let (part, whole) = (named(&spans, part), named(&spans, whole));
        assert_eq!(
            (&part.parent_span_id, &part.trace_id),
            (&whole.span_id, &whole.trace_id),
            "{}",
            part.name
        );
        assert!(part.start_time_unix_nano >= whole.start_time_unix_nano);
    }
    let session = named(&spans, "session");
    assert!(session.end_time_unix_nano >= request.end_time_unix_nano);
    assert!(named(&spans, "receipt").end_time_unix_nano <= session.start_time_unix_nano);
    assert_eq!(told(request, "porchlight.session").as_deref(), engagement.session.as_str());
    assert_eq!(told(request, "porchlight.kind").as_deref(), Some("screen"));
    assert_eq!(told(request, "porchlight.outcome").as_deref(), Some("accepted"));
    assert_eq!(told(session, "porchlight.end").as_deref(), Some("agent_ended"));
    let events: Vec<&str> = session.events.iter().map(|event| event.name.as_str()).collect();
    assert!(events.starts_with(&["started"]) || events.starts_with(&["joined"]), "{events:?}");
    // Who came later has a trace of its own, which leads here.
    let joined = named(&spans, "join");
    assert_eq!(hex(&joined.trace_id), &COLLEAGUE[3..35]);
    assert_eq!(joined.links[0].span_id, request.span_id);
    assert_eq!(joined.links[0].trace_id, request.trace_id);

    let resource = collector.resource();
    for (key, value) in [
        ("service.name", "porchlight"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", &node),
    ] {
        assert!(resource.contains(&(key.to_owned(), value.to_owned())), "{key} in {resource:?}");
    }
    let all = format!("{:?}", collector.0.lock());
    for private in ["C-secret-visitor", "alice", "Alice", "bob", "Bob", "http://", "demo", "127.0.0.1"] {
        assert!(!all.contains(private), "{private} in {all}");
    }
    canary::told("what the collector is sent", &all);
}

/// Two nodes of one Redis that tell the same collector.
async fn nodes(redis: &Redis, addr: SocketAddr) -> [Site; 2] {
    let node = async || site_telling(addr, |config| config.redis.url = Some(Secret::from(redis.url()))).await;
    [node().await, node().await]
}

#[tokio::test]
async fn a_trace_goes_on_where_the_visitors_node_is_another_one() {
    let (collector, addr, _running) = Collector::start().await;
    let redis = Redis::start().await;
    let [mut home, mut edge] = nodes(&redis, addr).await;
    let mut visitor = home.visitor("C-1").await;
    let mut agent = edge.agent("alice").await;
    agent.watch("C-1").await;
    let mut join = with_trace(PAGE);
    (join["type"], join["visitorId"]) = (json!("join"), json!("C-1"));
    agent.ask(join, "request").await;
    let offer = visitor.expect("offer").await;
    visitor.accept(&offer).await;
    agent.expect("ready").await;
    let names = [&home, &edge].map(|site| site.running.hub.node().to_string());
    end(&mut edge).await;
    end(&mut home).await;
    for name in ["request", "offer", "receipt", "session"] {
        let told = collector.by_node(name);
        assert_eq!(told.len(), 1, "{name}");
        assert_eq!((&told[0].0, hex(&told[0].1.trace_id)), (&names[0], PAGE[3..35].to_owned()), "{name}");
    }
    assert_eq!(hex(&collector.by_node("request")[0].1.parent_span_id), &PAGE[36..52]);
}

#[tokio::test]
async fn a_trace_goes_on_with_its_session_when_the_node_goes() {
    let (collector, addr, _running) = Collector::start().await;
    let redis = Redis::start().await;
    let [mut first, mut second] = nodes(&redis, addr).await;
    let engagement = first.engage("C-1", with_trace(PAGE)).await;
    let token = engagement.publisher.token();
    let names = [&first, &second].map(|site| site.running.hub.node().to_string());
    end(&mut first).await;
    let publisher = second.resume("publisher", &token).await;
    assert_eq!(publisher.hello["role"], "publisher");
    end(&mut second).await;
    let request = collector.by_node("request");
    let mut sessions = collector.by_node("session");
    sessions.sort_by_key(|(_, span)| span.start_time_unix_nano);
    assert_eq!(request.len(), 1);
    assert_eq!([&sessions[0].0, &sessions[1].0], [&names[0], &names[1]]);
    for (_, session) in &sessions {
        assert_eq!(hex(&session.trace_id), &PAGE[3..35]);
        assert_eq!(session.parent_span_id, request[0].1.span_id);
    }
}

#[tokio::test]
async fn a_question_that_is_declined_ends_its_trace() {
    let (collector, addr, _running) = Collector::start().await;
    let mut site = site_telling(addr, |_| ()).await;
    let (mut visitor, mut agent) = (site.visitor("C-1").await, site.agent("alice").await);
    // What is no trace context is passed over.
    agent.ask(json!({"type": "join", "visitorId": "C-1", "traceparent": "00-zz"}), "request").await;
    let offer = visitor.expect("offer").await;
    let no = json!({"type": "terms", "requestId": offer["requestId"], "accepted": false,
                    "termsVersion": offer["terms"]["version"]});
    visitor.ask(no, "ok").await;
    agent.expect_request("declined").await;
    end(&mut site).await;
    let spans = collector.spans();
    let request = named(&spans, "request");
    assert!(request.parent_span_id.is_empty(), "a trace that begins here");
    assert_eq!(told(request, "porchlight.outcome").as_deref(), Some("declined"));
    assert_eq!(named(&spans, "offer").parent_span_id, request.span_id);
    assert!(spans.iter().all(|span| span.name != "session"), "{spans:#?}");
}

#[tokio::test]
async fn what_is_open_when_the_node_ends_is_told_as_far_as_it_came() {
    let (collector, addr, _running) = Collector::start().await;
    let mut site = site_telling(addr, |_| ()).await;
    let _engagement = site.engage("C-1", with_trace(PAGE)).await;
    end(&mut site).await;
    let spans = collector.spans();
    assert_eq!(named(&spans, "session").parent_span_id, named(&spans, "request").span_id);
}

#[tokio::test]
async fn the_page_decides_whether_its_trace_is_sent_and_the_setting_for_all_others() {
    let (collector, addr, _running) = Collector::start().await;
    let mut site = site_telling(addr, |config| config.telemetry.otlp.sample = 0.0).await;
    let _quiet = site.engage("C-1", with_trace(QUIET)).await;
    let _none = site.engage("C-2", json!({})).await;
    let _wanted = site.engage("C-3", with_trace(PAGE)).await;
    end(&mut site).await;
    let spans = collector.spans();
    assert_eq!(hex(&named(&spans, "request").trace_id), &PAGE[3..35]);
    assert!(spans.iter().all(|span| hex(&span.trace_id) == PAGE[3..35]), "{spans:#?}");
}

#[tokio::test]
async fn a_collector_that_is_away_keeps_nobody_from_working_or_ending() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    drop(socket);
    let mut site = site_telling(addr, |_| ()).await;
    let mut engagement = site.engage("C-1", with_trace(PAGE)).await;
    let end_it = json!({"type": "endSession", "sessionId": engagement.session});
    engagement.agent.ask(end_it, "ok").await;
    engagement.agent.expect("sessionEnded").await;
    end(&mut site).await;
    let log = canary::log();
    assert!(log.contains("the collector does not take spans"), "{log}");
}
