//! The admin listener: gRPC with its limits, health, and reflection where it is wanted.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::service::{AdminService, Service};
use super::traced::Door;
use crate::arrivals::{Arrival, Arrivals};
use crate::limits;
use crate::pb::DESCRIPTORS;
use crate::pb::v1::admin_server::AdminServer;
use crate::telemetry::Meters;
use crate::tls::{Certificates, Stream};

/// The admin listener with all that serves it.
pub struct AdminListener {
    /// The open socket.
    pub socket: TcpListener,
    /// What answers.
    pub service: AdminService,
    /// What the listener proves itself with; none speaks plain text.
    pub tls: Option<Arc<Certificates>>,
    /// Whether callers may read the service's description.
    pub reflection: bool,
    /// What is counted.
    pub meters: Arc<Meters>,
}

impl std::fmt::Debug for AdminListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminListener").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl AdminListener {
    /// Serves until `stop`, then lets open calls finish, or until `force`.
    pub async fn run(
        self,
        stop: CancellationToken,
        force: CancellationToken,
    ) -> Result<(), tonic::transport::Error> {
        let Self { socket, service, tls, reflection, meters } = self;
        let service = service.grpc(Door::Grpc);
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_serving::<AdminServer<Service>>().await;
        // In both editions of the protocol: grpcurl and others have long known only the first.
        let description = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let read = "the embedded descriptors were written by the build";
        let reflection = reflection.then(|| description().build_v1().expect(read));
        let reflection_v1alpha = reflection.is_some().then(|| description().build_v1alpha().expect(read));
        let header_bytes = u32::try_from(limits::HTTP_HEAD_BYTES).expect("a few kilobytes");
        let arrivals = connections(socket, tls, meters, stop.clone());
        let served = Server::builder()
            .max_concurrent_streams(limits::ADMIN_CALLS)
            .concurrency_limit_per_connection(limits::ADMIN_CALLS as usize)
            .timeout(limits::ADMIN_CALL)
            .http2_keepalive_interval(Some(limits::ADMIN_KEEPALIVE))
            .http2_keepalive_timeout(Some(limits::ADMIN_KEEPALIVE_TIMEOUT))
            .http2_max_header_list_size(header_bytes)
            .http2_max_pending_accept_reset_streams(Some(limits::ADMIN_RESETS))
            .add_service(health)
            .add_optional_service(reflection)
            .add_optional_service(reflection_v1alpha)
            .add_service(service)
            .serve_with_incoming_shutdown(arrivals, async move {
                stop.cancelled().await;
                // Watchers of health hear of it before their streams end.
                reporter.set_not_serving::<AdminServer<Service>>().await;
            });
        tokio::select! {
            served = served => served,
            () = force.cancelled() => Ok(()),
        }
    }
}

/// Connections, those over TLS with the handshake done. Ends with `stop`; nobody waits for another's handshake, no
/// more than so many are under way, and no more than so many connections are open.
fn connections(
    socket: TcpListener,
    tls: Option<Arc<Certificates>>,
    meters: Arc<Meters>,
    stop: CancellationToken,
) -> impl futures_util::Stream<Item = io::Result<Connection>> {
    let (ready, arrivals) = mpsc::channel(1);
    let room = Arc::new(Semaphore::new(limits::ADMIN_HANDSHAKES));
    let places = Arc::new(Semaphore::new(limits::ADMIN_CONNECTIONS));
    tokio::spawn(async move {
        let mut coming = Arrivals::new("admin", socket, limits::OPERATOR_SPARES, Arc::clone(&meters));
        loop {
            let Arrival { stream: tcp, .. } = tokio::select! {
                () = stop.cancelled() => return,
                arrival = coming.next() => arrival,
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                meters.refusal("admin_connections");
                continue;
            };
            let permit = tokio::select! {
                () = stop.cancelled() => return,
                permit = Arc::clone(&room).acquire_owned() => permit,
            };
            let (tls, ready) = (tls.clone(), ready.clone());
            tokio::spawn(async move {
                let _permit = permit;
                let stream = match tls {
                    None => Stream::Plain(tcp),
                    Some(tls) => match tls.accept(tcp).await {
                        Ok(stream) => Stream::Secured(Box::new(stream)),
                        Err(error) => {
                            return tracing::debug!(%error, "an operator's connection came to nothing");
                        }
                    },
                };
                // Nobody takes it: the listener has stopped.
                let _ = ready.send(Connection::new(stream, place)).await;
            });
        }
    });
    futures_util::stream::unfold(arrivals, async |mut arrivals| {
        let connection = arrivals.recv().await?;
        Some((Ok(connection), arrivals))
    })
}

/// A connection as the gRPC library takes it. It begins with the words of HTTP/2 in time, or fails: the library itself
/// would wait for ever.
struct Connection {
    stream: Stream,
    _place: OwnedSemaphorePermit,
    opening: Option<Opening>,
}

/// A connection that has not said what it speaks.
struct Opening {
    /// Bytes of it that are missing.
    missing: usize,
    late: Pin<Box<Sleep>>,
}

/// Bytes of the words that HTTP/2 begins with (RFC 9113, 3.4).
const PREFACE: usize = 24;

impl Connection {
    fn new(stream: Stream, place: OwnedSemaphorePermit) -> Self {
        let late = Box::pin(tokio::time::sleep(limits::ADMIN_PREFACE));
        Self { stream, _place: place, opening: Some(Opening { missing: PREFACE, late }) }
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if let Some(opening) = &mut this.opening {
            opening.missing = opening.missing.saturating_sub(buffer.filled().len() - before);
            if opening.missing == 0 {
                this.opening = None;
            } else if opening.late.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::super::status::reason_of;
    use super::super::{
        AdminError, AdminHub, Archive, Ended, LogRow, NodeRow, SessionRow, SessionState, SignalRow,
        VisitorFilter, VisitorRow,
    };
    use super::*;
    use crate::admin::Syncing;
    use crate::auth::secret::MasterSecret;
    use crate::clock::{Clock, Wall};
    use crate::hub::accounts::Accounts;
    use crate::hub::feed::NewPost;
    use crate::hub::sync::{Offers, SyncDoor};
    use crate::ids::{EventId, GroupId, SessionId, VisitorId};
    use crate::model::feed::{Item, Place};
    use crate::model::settings::Settings;
    use crate::pb::v1;
    use crate::pb::v1::admin_client::AdminClient;
    use crate::store::feed::{LeadRow, Posts, PostsQuery};
    use crate::store::sqlite::SqliteStore;
    use crate::telemetry::Parent;
    use crate::wire::agent::{Delivery, PresenceState};
    use crate::wire::visitor::SessionKind;
    use futures_util::StreamExt as _;
    use futures_util::stream::BoxStream;
    use tonic::transport::Channel;
    use tonic::{Code, Request};

    /// A hub in which every group has one visitor and one session.
    #[derive(Default)]
    struct Sample(CancellationToken);

    const SESSION: SessionId = SessionId::from_u128(7);

    fn present(id: &VisitorId) -> VisitorRow {
        VisitorRow { state: PresenceState::Present, ..VisitorRow::absent(id.clone(), Wall(1)) }
    }

    #[async_trait::async_trait]
    impl AdminHub for Sample {
        async fn lookup_visitors(
            &self,
            _group: &GroupId,
            visitors: &[VisitorId],
        ) -> Result<Vec<VisitorRow>, AdminError> {
            Ok(visitors.iter().map(present).collect())
        }

        async fn list_visitors(
            &self,
            _group: &GroupId,
            filter: VisitorFilter,
        ) -> Result<BoxStream<'static, VisitorRow>, AdminError> {
            let here = present(&VisitorId::new("C-1").unwrap());
            let rows: Vec<_> = Some(here).into_iter().filter(|row| filter.admits(row)).collect();
            Ok(futures_util::stream::iter(rows).boxed())
        }

        async fn list_sessions(
            &self,
            _group: &GroupId,
            _visitor: Option<&VisitorId>,
        ) -> Result<Vec<SessionRow>, AdminError> {
            Ok(Vec::new())
        }

        async fn end_session(
            &self,
            _group: &GroupId,
            session: SessionId,
            _trace: Option<Parent>,
        ) -> Result<Ended, AdminError> {
            if session == SESSION { Ok(Ended::Now) } else { Err(AdminError::NotFound) }
        }

        async fn watch_presence(
            &self,
            _group: &GroupId,
            visitors: &[VisitorId],
        ) -> Result<BoxStream<'static, VisitorRow>, AdminError> {
            let rows: Vec<_> = visitors.iter().map(present).collect();
            Ok(futures_util::stream::iter(rows).chain(futures_util::stream::pending()).boxed())
        }

        async fn signal_visitor(
            &self,
            _group: &GroupId,
            visitor: &VisitorId,
            signal: SignalRow,
        ) -> Result<Delivery, AdminError> {
            assert_eq!(signal.from, "demo");
            if visitor.as_str() == "C-1" {
                Ok(Delivery::Delivered)
            } else {
                Err(AdminError::VisitorNotPresent)
            }
        }

        async fn disconnect_visitor(
            &self,
            _group: &GroupId,
            _visitor: &VisitorId,
        ) -> Result<u32, AdminError> {
            Ok(2)
        }

        async fn session(&self, _group: &GroupId, session: SessionId) -> Result<SessionRow, AdminError> {
            if session != SESSION {
                return Err(AdminError::NotFound);
            }
            Ok(SessionRow {
                session,
                kind: SessionKind::Screen,
                shows: None,
                state: SessionState::Active,
                visitor: None,
                created: Wall(1),
                started: None,
                participants: Vec::new(),
                paused: false,
            })
        }

        async fn watch_sessions(
            &self,
            group: &GroupId,
            _visitor: Option<&VisitorId>,
        ) -> Result<BoxStream<'static, SessionRow>, AdminError> {
            let row = self.session(group, SESSION).await?;
            Ok(futures_util::stream::iter([row]).boxed())
        }

        async fn feed(
            &self,
            _group: &GroupId,
            _place: &Place,
            _query: PostsQuery,
        ) -> Result<Option<Posts>, AdminError> {
            Ok(None)
        }

        async fn feed_post(&self, _group: &GroupId, _id: EventId) -> Result<Option<Item>, AdminError> {
            Ok(None)
        }

        async fn post_feed(&self, _group: &GroupId, _id: EventId, _: NewPost) -> Result<Item, AdminError> {
            Err(AdminError::Unavailable)
        }

        async fn leads(&self, _group: &GroupId, _: u64, _: usize) -> Result<Vec<LeadRow>, AdminError> {
            Ok(Vec::new())
        }

        async fn nodes(&self) -> Result<Vec<NodeRow>, AdminError> {
            Ok(vec![self.node().await])
        }

        fn drain(&self) {
            self.0.cancel();
        }

        fn set_log_filter(
            &self,
            filter: Option<&str>,
            _time: Option<std::time::Duration>,
        ) -> Result<LogRow, AdminError> {
            Ok(LogRow { filter: filter.unwrap_or("info").to_owned(), configured: "info".to_owned() })
        }

        fn is_full(&self) -> bool {
            false
        }

        fn draining(&self) -> CancellationToken {
            self.0.clone()
        }

        async fn node(&self) -> NodeRow {
            NodeRow {
                node: "n1".into(),
                version: "1".into(),
                started: Wall(1),
                draining: false,
                connections: [1, 2, 3],
                visitors_present: 1,
                sessions: 1,
            }
        }
    }

    /// A client, the keys of an operator, of group `demo` and of group `other`.
    async fn start() -> (AdminClient<Channel>, [String; 3]) {
        let store = Arc::new(SqliteStore::in_memory().unwrap());
        let master = MasterSecret::from_bytes([4; 32]);
        let archive = Archive {
            events: Arc::clone(&store) as _,
            records: Arc::clone(&store) as _,
            receipts: Arc::clone(&store) as _,
        };
        let (door, _) = SyncDoor::new(Offers::default());
        let syncing = Syncing { store: Arc::clone(&store) as _, door };
        let accounts = Arc::new(Accounts::open(store, master, Clock::start()).await.unwrap());
        let demo = accounts.ensure_demo().await.unwrap();
        let other = GroupId::new("other").unwrap();
        accounts.create_group(&other, &Settings::default(), "test").await.unwrap();
        let other = accounts.create_api_key(&other, "test").await.unwrap();
        let keys = [
            demo.admin_key,
            format!("{}.{}", demo.api_key.0, demo.api_key.1),
            format!("{}.{}", other.row.id, other.secret.expose()),
        ];
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        let meters = Meters::new().0;
        let hub = Arc::new(Sample::default());
        let service =
            AdminService::new(hub, accounts, archive, Arc::clone(&meters), syncing, Default::default());
        let listener = AdminListener { socket, service, tls: None, reflection: true, meters };
        tokio::spawn(listener.run(CancellationToken::new(), CancellationToken::new()));
        (AdminClient::connect(format!("http://{addr}")).await.unwrap(), keys)
    }

    fn with_key<T>(key: &str, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if !key.is_empty() {
            request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        }
        request
    }

    fn lookup(group: &str) -> v1::LookupVisitorsRequest {
        v1::LookupVisitorsRequest { group: group.into(), visitor_ids: vec!["C-1".into()] }
    }

    #[tokio::test]
    async fn keys_open_what_they_reach_and_nothing_else() {
        let (mut client, keys) = start().await;
        let [operator, demo, other] = keys.each_ref().map(String::as_str);
        let refused = |code, reason: &str| Err((code, reason.to_owned()));
        let table = [
            (operator, "demo", Ok(1)),
            (demo, "demo", Ok(1)),
            (demo, "", Ok(1)),
            ("", "demo", refused(Code::Unauthenticated, "UNAUTHORIZED")),
            ("wrong", "demo", refused(Code::Unauthenticated, "UNAUTHORIZED")),
            (operator, "", refused(Code::InvalidArgument, "BAD_FIELD")),
            (operator, "nowhere", refused(Code::NotFound, "NOT_FOUND")),
            (other, "demo", refused(Code::NotFound, "NOT_FOUND")),
            (other, "nowhere", refused(Code::NotFound, "NOT_FOUND")),
        ];
        for (key, group, expected) in table {
            let answer = client.lookup_visitors(with_key(key, lookup(group))).await;
            let answer = answer
                .map(|found| found.into_inner().visitors.len())
                .map_err(|status| (status.code(), reason_of(&status).unwrap_or_default()));
            assert_eq!(answer, expected, "{key} {group}");
        }
    }

    #[tokio::test]
    async fn unknown_and_foreign_groups_get_the_very_same_answer() {
        let (mut client, [_, _, other]) = start().await;
        let mut answers = Vec::new();
        for group in ["demo", "nowhere"] {
            let status = client.lookup_visitors(with_key(&other, lookup(group))).await.unwrap_err();
            answers.push((status.code(), status.message().to_owned(), status.details().to_vec()));
        }
        assert_eq!(answers[0], answers[1]);
    }

    #[tokio::test]
    async fn the_live_list_streams_and_filters() {
        let (mut client, [_, demo, _]) = start().await;
        for (states, count) in [(vec![], 1), (vec![v1::PresenceState::Hidden.into()], 0)] {
            let message =
                v1::ListVisitorsRequest { group: "demo".into(), states, page_contains: String::new() };
            let stream = client.list_visitors(with_key(&demo, message)).await.unwrap().into_inner();
            assert_eq!(stream.collect::<Vec<_>>().await.len(), count);
        }
    }

    #[tokio::test]
    async fn the_node_is_for_operators() {
        let (mut client, [operator, demo, _]) = start().await;
        let node = client.get_node(with_key(&operator, v1::GetNodeRequest {})).await.unwrap().into_inner();
        assert_eq!(node.node.unwrap().node_id, "n1");
        let status = client.get_node(with_key(&demo, v1::GetNodeRequest {})).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied);
    }

    #[tokio::test]
    async fn a_drain_is_answered_and_ends_open_streams() {
        let (mut client, [operator, demo, _]) = start().await;
        let message = v1::WatchPresenceRequest { group: "demo".into(), visitor_ids: vec!["C-1".into()] };
        let mut stream = client.watch_presence(with_key(&demo, message)).await.unwrap().into_inner();
        let first = stream.message().await.unwrap().unwrap().visitor.unwrap();
        assert_eq!(first.visitor_id, "C-1");
        let drain = |key| with_key(key, v1::DrainRequest { request_id: "d".into() });
        assert_eq!(client.drain(drain(&demo)).await.unwrap_err().code(), Code::PermissionDenied);
        let node = client.drain(drain(&operator)).await.unwrap().into_inner().node.unwrap();
        assert!(node.draining);
        assert_eq!(stream.message().await.unwrap_err().code(), Code::Unavailable);
    }

    #[tokio::test]
    async fn signals_are_for_those_who_are_here() {
        let (mut client, [_, demo, _]) = start().await;
        let mut signal = async |visitor_id: &str| {
            let message = v1::SignalVisitorRequest {
                visitor_id: visitor_id.into(),
                name: "hello".into(),
                ..Default::default()
            };
            let answer = client.signal_visitor(with_key(&demo, message)).await;
            answer.map(|answer| answer.into_inner().delivery()).map_err(|status| reason_of(&status).unwrap())
        };
        assert_eq!(signal("C-1").await, Ok(v1::SignalDelivery::Delivered));
        assert_eq!(signal("C-2").await, Err("VISITOR_NOT_PRESENT".to_owned()));
        assert_eq!(signal("no id").await, Err("BAD_FIELD".to_owned()));
    }

    #[tokio::test]
    async fn sessions_end_by_id() {
        let (mut client, [_, demo, _]) = start().await;
        let mut end = async |session_id: String| {
            let message = v1::EndSessionRequest { session_id, ..Default::default() };
            client.end_session(with_key(&demo, message)).await.map(|answer| answer.into_inner().ended_now)
        };
        assert!(end(SESSION.to_string()).await.unwrap());
        assert_eq!(end(SessionId::from_u128(8).to_string()).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(end("x".into()).await.unwrap_err().code(), Code::InvalidArgument);
    }
}
