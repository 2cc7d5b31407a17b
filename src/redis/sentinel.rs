//! Sentinels, who know which server is the primary.
//!
//! All of them are asked at once, each time anew. The server that more than half of them name is taken; where
//! fewer answer, the one that most name. What they name may be a moment old: whoever connects looks at the
//! server's role.

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, RedisError, ServerErrorKind};
use secrecy::SecretString;

use super::OpenError;
use super::plan::Plan;
use crate::limits;

/// The Sentinels of one primary.
pub(super) struct Sentinels {
    plan: Plan,
    clients: Vec<Client>,
    master: String,
}

impl Sentinels {
    pub(super) fn new(
        plan: &Plan,
        nodes: &[String],
        master: &str,
        user: Option<&str>,
        password: Option<&SecretString>,
    ) -> Result<Self, OpenError> {
        let client =
            |node: &String| plan.client(plan.of_sentinel(node, user, password)?).map_err(OpenError::Address);
        let clients = nodes.iter().map(client).collect::<Result<_, _>>()?;
        Ok(Self { plan: plan.clone(), clients, master: master.to_owned() })
    }

    /// Where the primary is.
    pub(super) async fn primary(&self) -> Result<ConnectionInfo, RedisError> {
        let mut asked: FuturesUnordered<_> = self.clients.iter().map(|client| self.ask(client)).collect();
        let mut named: Vec<((String, u16), usize)> = Vec::new();
        let mut failed: Option<RedisError> = None;
        while let Some(answer) = asked.next().await {
            let place = match answer {
                Ok(Some(place)) => place,
                Ok(None) => {
                    failed = Some(RedisError::from((
                        ErrorKind::MasterNameNotFoundBySentinel,
                        "no Sentinel knows it",
                    )));
                    continue;
                }
                Err(error) => {
                    failed = failed.or(Some(error));
                    continue;
                }
            };
            let at = named.iter().position(|(known, _)| *known == place).unwrap_or_else(|| {
                named.push((place, 0));
                named.len() - 1
            });
            named[at].1 += 1;
            if named[at].1 > self.clients.len() / 2 {
                break;
            }
        }
        match named.into_iter().max_by_key(|(_, voices)| *voices) {
            Some(((host, port), _)) => Ok(self.plan.of_server(&host, port)),
            None => {
                Err(failed
                    .unwrap_or_else(|| RedisError::from((ErrorKind::EmptySentinelList, "no Sentinels"))))
            }
        }
    }

    /// Which server one of them names.
    async fn ask(&self, client: &Client) -> Result<Option<(String, u16)>, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limits::REDIS_SENTINEL))
            .set_response_timeout(Some(limits::REDIS_SENTINEL));
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut look = redis::cmd("SENTINEL");
        look.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        let told = look.query_async(&mut connection).await;
        told.map_err(|error: RedisError| match error.kind() {
            // An ordinary Redis does not know the command.
            ErrorKind::Server(ServerErrorKind::ResponseError) => {
                RedisError::from((ErrorKind::EmptySentinelList, "no Sentinel is there"))
            }
            _ => error,
        })
    }
}
