//! The two sides of a lamp: visitors' pages that change, agents' connections that watch. Both come back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt, stream};
use secrecy::{ExposeSecret, SecretString};
use tokio_tungstenite::tungstenite::Message;

use crate::cli::load::messages::{self, AgentHears, Presence, SeenVisitor, VisitorHears};
use crate::cli::load::socket::{
    Audience, Fault, Heard, Socket, hear, hear_text, open, patiently, say, sign_in,
};
use crate::cli::load::target::Target;
use crate::cli::load::visitors::connected;

use super::{Known, Lamps, Moment};

/// Visitors that connect at the same time before the measurement; not part of any latency.
const CONNECTING: usize = 16;

pub(super) fn visitor_id(n: usize) -> String {
    format!("lamp-{n:06}")
}

/// A visitor's page: what it says goes out here, unless it is between two connections.
#[derive(Debug)]
pub(super) struct Page {
    n: usize,
    out: tokio::sync::Mutex<Option<SplitSink<Socket, Message>>>,
}

impl Page {
    /// Says a change that is in the history already. Between two connections nothing is lost: the next one begins
    /// with what is in the history.
    pub(super) async fn send(&self, lamps: &Lamps, text: String) {
        let mut out = self.out.lock().await;
        let Some(sink) = out.as_mut() else { return };
        if let Err(error) = sink.send(Message::text(text)).await {
            tracing::debug!(%error, "a visitor's connection ended");
            *out = None;
            // Whoever reads from it brings it back, unless the visitor has left.
            if lamps.histories[self.n].lock().left {
                lamps.ended("visitor", &error.into());
            }
        }
    }

    /// Reads on so that pings are answered and closes are noticed, on one connection after the other.
    async fn stay(&self, target: &Target, lamps: &Lamps, mut incoming: SplitStream<Socket>) {
        loop {
            let mut told = None;
            let fault = loop {
                match hear::<VisitorHears>(&mut incoming).await {
                    Ok(Heard::Text(VisitorHears::Error { code, .. })) => {
                        lamps.errors.add(format!("error {code}"));
                    }
                    Ok(Heard::Text(VisitorHears::Reconnect { after_ms })) => {
                        told = Some(Duration::from_millis(after_ms));
                    }
                    Ok(_) => {}
                    Err(fault) => break fault,
                }
            };
            *self.out.lock().await = None;
            // Who has left does not come back, and whoever watches is told by the server.
            if lamps.over.load(Ordering::Acquire) || lamps.histories[self.n].lock().left {
                return lamps.ended("visitor", &fault);
            }
            let back = lamps.comebacks.back("visitor", fault, told, || enter(target, lamps, self.n));
            let (socket, said) = match back.await {
                Ok(back) => back,
                Err(fault) => return lamps.ended("visitor", &fault),
            };
            let (mut sink, stream) = socket.split();
            incoming = stream;
            let mut out = self.out.lock().await;
            let late = lamps.histories[self.n].lock().after(said);
            if let Some(late) = late
                && let Err(error) = sink.send(Message::text(late)).await
            {
                tracing::debug!(%error, "a visitor's connection ended at once");
            }
            *out = Some(sink);
        }
    }
}

/// Opens a visitor's connection with the presence of its last change, whose number comes with it.
async fn enter(target: &Target, lamps: &Lamps, n: usize) -> Result<(Socket, u64), Fault> {
    let mut socket = open(target, Audience::Visitor, n).await?;
    let said = lamps.histories[n].lock().arrive();
    say(&mut socket, messages::visitor_connect(&target.group, &visitor_id(n), &Presence::counted(said)))
        .await?;
    connected(&mut socket).await?;
    Ok((socket, said))
}

/// Connects the visitors, whose arrival is change number 0.
pub(super) async fn arrive(target: &Target, lamps: &Arc<Lamps>) -> anyhow::Result<Vec<Arc<Page>>> {
    let arrivals = stream::iter(0..lamps.histories.len()).map(|n| async move {
        let arrival = patiently(enter(target, lamps, n)).await;
        arrival.with_context(|| format!("visitor {} can't connect", visitor_id(n)))
    });
    let mut arrivals = arrivals.buffered(CONNECTING);
    let mut pages = Vec::new();
    while let Some(arrived) = arrivals.next().await {
        let (sink, incoming) = arrived?.0.split();
        let page = Arc::new(Page { n: pages.len(), out: tokio::sync::Mutex::new(Some(sink)) });
        pages.push(Arc::clone(&page));
        let (target, lamps) = (target.clone(), Arc::clone(lamps));
        tokio::spawn(async move { page.stay(&target, &lamps, incoming).await });
    }
    Ok(pages)
}

/// Signs the agents in and lets each watch every visitor.
pub(super) async fn watch_all(target: &Target, lamps: &Arc<Lamps>, agents: usize) -> anyhow::Result<()> {
    let ids: Vec<_> = (0..lamps.histories.len()).map(visitor_id).collect();
    let numbers: HashMap<_, _> = ids.iter().cloned().zip(0..).collect();
    let mut tokens = HashMap::new();
    let shared = Arc::new((target.clone(), ids, numbers));
    for n in 0..agents {
        let account = target.account(n)?;
        if !tokens.contains_key(&account.address) {
            let token = patiently(sign_in(target, account)).await;
            let token = token.with_context(|| format!("agent {} can't sign in", account.address))?;
            tokens.insert(account.address.clone(), token);
        }
        let token = tokens[&account.address].clone();
        let (target, ids, _) = &*shared;
        let watching = patiently(agent_in(target, n, &token, ids)).await;
        let (socket, _) = watching.with_context(|| format!("agent connection {n} can't watch"))?;
        let (lamps, shared) = (Arc::clone(lamps), Arc::clone(&shared));
        tokio::spawn(async move {
            let (target, ids, numbers) = &*shared;
            read_agent(&lamps, numbers, socket, || agent_in(target, n, &token, ids)).await;
        });
    }
    Ok(())
}

/// An agent's connection that watches, and how the visitors are at that moment.
async fn agent_in(
    target: &Target,
    n: usize,
    token: &SecretString,
    ids: &[String],
) -> Result<(Socket, Vec<SeenVisitor>), Fault> {
    let mut socket = agent_connect(target, n, token.expose_secret()).await?;
    say(&mut socket, messages::watch(ids)).await?;
    loop {
        match hear_text(&mut socket).await? {
            AgentHears::Watching { visitors } => return Ok((socket, visitors)),
            AgentHears::Error { code, message, .. } => return Err(Fault::Told { code, message }),
            _ => {}
        }
    }
}

/// Opens an agent's WebSocket up to `connected`.
pub(in crate::cli::load) async fn agent_connect(
    target: &Target,
    n: usize,
    token: &str,
) -> Result<Socket, Fault> {
    let mut socket = open(target, Audience::Agent, n).await?;
    say(&mut socket, messages::agent_connect(token)).await?;
    loop {
        match hear_text(&mut socket).await? {
            AgentHears::Connected {} => return Ok(socket),
            AgentHears::Error { code, message, .. } => return Err(Fault::Told { code, message }),
            _ => {}
        }
    }
}

/// One agent, on one connection after the other.
async fn read_agent<F>(
    lamps: &Lamps,
    numbers: &HashMap<String, usize>,
    mut socket: Socket,
    again: impl Fn() -> F,
) where
    F: Future<Output = Result<(Socket, Vec<SeenVisitor>), Fault>>,
{
    let mut known = vec![Known::default(); numbers.len()];
    let mut told = None;
    let mut take = |visitor: &SeenVisitor, since| {
        if let Some(&n) = numbers.get(&visitor.visitor_id) {
            lamps.push(n, &mut known[n], visitor, Moment { now: Instant::now(), since });
        }
    };
    let mut since = Instant::now();
    loop {
        match hear::<AgentHears>(&mut socket).await {
            Ok(Heard::Text(AgentHears::Presence { visitor })) => take(&visitor, since),
            Ok(Heard::Text(AgentHears::Error { code, .. })) => lamps.errors.add(format!("error {code}")),
            Ok(Heard::Text(AgentHears::Reconnect { after_ms })) => {
                told = Some(Duration::from_millis(after_ms))
            }
            Ok(_) => {}
            Err(fault) if lamps.over.load(Ordering::Acquire) => return lamps.ended("agent", &fault),
            Err(fault) => match lamps.comebacks.back("agent", fault, told.take(), &again).await {
                Ok((back, visitors)) => {
                    since = Instant::now();
                    visitors.iter().for_each(|visitor| take(visitor, since));
                    socket = back;
                }
                Err(fault) => return lamps.ended("agent", &fault),
            },
        }
    }
}
