//! Removing by prefix.

use std::collections::HashSet;
use std::pin::pin;

use fast_cache_core::{Error, ErrorKind, TOMBSTONE_BYTES};
use futures_util::future;
use redis::aio::ConnectionLike as _;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, FromRedisValue, Pipeline, RetryMethod, Value};

use super::cluster::{Cluster, parse_address};
use super::{Connection, RedisBackend, failure, unexpected};

/// How many keys the server looks at for one answer: few enough to keep it well below a
/// millisecond.
const PAGE: usize = 1000;

/// How many keys one script frees, in which the server does nothing else.
const AT_ONCE: usize = 100;

/// What `SCAN` answers: where to go on, or "0" at the end, and keys.
type Page = (Vec<u8>, Vec<Vec<u8>>);

impl RedisBackend {
    pub(super) async fn clear_prefix(&self, prefix: &[u8]) -> Result<u64, Error> {
        let Connection::Cluster(cluster) = self.connection() else {
            return self.clear_server(prefix).await;
        };
        let mut removed = 0;
        for address in self.masters(cluster).await? {
            removed += self.clear_master(cluster, &address, prefix).await?;
        }
        Ok(removed)
    }

    async fn clear_server(&self, prefix: &[u8]) -> Result<u64, Error> {
        let mut removed = 0;
        let mut cursor = b"0".to_vec();
        loop {
            let (next, keys) = page(self.send("SCAN", &scan(&cursor, prefix)).await?)?;
            removed += self.unlink(&keys).await?;
            if next == b"0" {
                return Ok(removed);
            }
            cursor = next;
        }
    }

    async fn clear_master(
        &self,
        cluster: &Cluster,
        address: &SingleNodeRoutingInfo,
        prefix: &[u8],
    ) -> Result<u64, Error> {
        let mut removed = 0;
        let mut cursor = b"0".to_vec();
        loop {
            let route = RoutingInfo::SingleNode(address.clone());
            let answer = self
                .route(cluster, "SCAN", scan(&cursor, prefix), route)
                .await?;
            let (next, keys) = page(answer)?;
            removed += self.unlink_on_master(cluster, address, &keys).await?;
            if next == b"0" {
                return Ok(removed);
            }
            cursor = next;
        }
    }

    /// Removes keys in one round trip, but for tombstones, and counts them.
    async fn unlink(&self, keys: &[Vec<u8>]) -> Result<u64, Error> {
        if keys.is_empty() {
            return Ok(0);
        }
        let mut commands = Pipeline::with_capacity(keys.len().div_ceil(AT_ONCE));
        for keys in keys.chunks(AT_ONCE) {
            commands.add_command(free(keys));
        }
        let mut removed = 0;
        for (keys, answer) in keys.chunks(AT_ONCE).zip(self.send_all(&commands).await?) {
            removed += match answer {
                Value::Int(count) => u64::try_from(count).unwrap_or_default(),
                // Asked alone, the server says what is wrong.
                _ => self.free_alone(keys).await?,
            };
        }
        Ok(removed)
    }

    /// The same on one master of a cluster. Keys that have moved on are removed where they are now.
    async fn unlink_on_master(
        &self,
        cluster: &Cluster,
        address: &SingleNodeRoutingInfo,
        keys: &[Vec<u8>],
    ) -> Result<u64, Error> {
        if keys.is_empty() {
            return Ok(0);
        }
        let mut commands = Pipeline::with_capacity(keys.len());
        for key in keys {
            commands.add_command(free(std::slice::from_ref(key)));
        }
        let count = commands.len();
        let mut connection = cluster.connection();
        let answers = connection.route_pipeline(commands, 0, count, address.clone());
        let answers = async {
            match answers.await {
                // One key that has moved on makes one error of all answers.
                Err(error) if !matches!(error.retry_method(), RetryMethod::NoRetry) => Ok(None),
                answers => answers.map(Some),
            }
        };
        let Some(answers) = self.bounded("UNLINK", pin!(answers)).await? else {
            return self.unlink_all_moved(keys).await;
        };
        let mut removed = 0;
        for (key, answer) in keys.iter().zip(&answers) {
            let was_value = match answer {
                Value::Int(was_value) => *was_value > 0,
                _ => self.unlink_moved(key).await?,
            };
            removed += u64::from(was_value);
        }
        Ok(removed)
    }

    async fn send_all(&self, commands: &Pipeline) -> Result<Vec<Value>, Error> {
        let answers = async {
            match self.connection() {
                Connection::Link(link) => link.send_all(commands).await,
                Connection::Manager(manager) => {
                    let mut connection = manager.clone();
                    let answers = connection.send_packed_commands(commands, 0, commands.len());
                    answers.await
                }
                Connection::Cluster(cluster) => {
                    let mut connection = cluster.connection();
                    let answers = connection.req_packed_commands(commands, 0, commands.len());
                    answers.await
                }
            }
        };
        self.bounded("UNLINK", pin!(answers)).await
    }

    /// Removes keys wherever they are now. What is gone already does not count.
    async fn unlink_all_moved(&self, keys: &[Vec<u8>]) -> Result<u64, Error> {
        let removing = keys.iter().map(|key| self.unlink_moved(key));
        let were_values = future::try_join_all(removing).await?;
        Ok(were_values
            .into_iter()
            .filter(|was_value| *was_value)
            .count() as u64)
    }

    async fn unlink_moved(&self, key: &Vec<u8>) -> Result<bool, Error> {
        Ok(self.free_alone(std::slice::from_ref(key)).await? > 0)
    }

    async fn free_alone(&self, keys: &[Vec<u8>]) -> Result<u64, Error> {
        match self.send("UNLINK", &free(keys)).await? {
            Value::Int(count) => Ok(u64::try_from(count).unwrap_or_default()),
            _ => Err(unexpected("UNLINK")),
        }
    }

    /// The addresses of all masters, as the connection knows them.
    ///
    /// The connection leaves out masters that it cannot reach without a word. A clear that skips
    /// some of the keys must not pass for a whole one, so the number is checked.
    async fn masters(&self, cluster: &Cluster) -> Result<Vec<SingleNodeRoutingInfo>, Error> {
        let everywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        let answer = self
            .route(cluster, "PING", redis::cmd("PING"), everywhere)
            .await?;
        let Value::Map(answers) = answer else {
            return Err(unexpected("PING"));
        };
        let addresses = answers
            .into_iter()
            .map(|(address, answer)| {
                answer
                    .extract_error()
                    .map_err(|error| failure("PING", error))?;
                text(&address)
                    .and_then(|address| std::str::from_utf8(address).ok())
                    .and_then(parse_address)
                    .ok_or_else(|| unexpected("PING"))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        if addresses.len() < self.count_masters(cluster).await? {
            return Err(Error::new(
                ErrorKind::Backend,
                "a master of the redis cluster is out of reach",
            ));
        }
        Ok(addresses)
    }

    /// How many masters have slots, as any server of the cluster tells.
    async fn count_masters(&self, cluster: &Cluster) -> Result<usize, Error> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let anywhere = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
        let answer = self
            .route(cluster, "CLUSTER SLOTS", command, anywhere)
            .await?;
        let Value::Array(ranges) = answer else {
            return Err(unexpected("CLUSTER SLOTS"));
        };
        let masters = ranges.iter().map(|range| match range {
            Value::Array(range) => match range.get(2) {
                Some(Value::Array(node)) => node.get(2).and_then(text),
                _ => None,
            },
            _ => None,
        });
        masters
            .collect::<Option<HashSet<_>>>()
            .map(|masters| masters.len())
            .ok_or_else(|| unexpected("CLUSTER SLOTS"))
    }

    async fn route(
        &self,
        cluster: &Cluster,
        name: &'static str,
        command: Cmd,
        route: RoutingInfo,
    ) -> Result<Value, Error> {
        let answer = pin!(cluster.send_to(&command, route));
        self.bounded(name, answer).await
    }
}

fn scan(cursor: &[u8], prefix: &[u8]) -> Cmd {
    let mut command = redis::cmd("SCAN");
    command
        .arg(cursor)
        .arg("MATCH")
        .arg(pattern(prefix))
        .arg("COUNT")
        .arg(PAGE);
    command
}

/// The glob pattern of the keys that start with `prefix`.
fn pattern(prefix: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len() + 1);
    for &byte in prefix {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\') {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern.push(b'*');
    pattern
}

/// Whether an answer to `STRLEN` is that for a value. Whatever is no string has no length, and is no
/// tombstone.
/// Removes keys but for tombstones, and counts them, each in one step: an invalidation may come at any moment, and what it
/// leaves has to stay.
fn free(keys: &[Vec<u8>]) -> Cmd {
    const FREE: &str = "local freed = 0 \
                        for _, key in ipairs(KEYS) do \
                          local length = redis.pcall('STRLEN', key) \
                          if type(length) ~= 'number' or length > tonumber(ARGV[1]) then \
                            freed = freed + redis.call('UNLINK', key) \
                          end \
                        end \
                        return freed";

    let mut command = redis::cmd("EVAL");
    command
        .arg(FREE)
        .arg(keys.len())
        .arg(keys)
        .arg(TOMBSTONE_BYTES);
    command
}

fn page(answer: Value) -> Result<Page, Error> {
    let (next, mut keys) = Page::from_redis_value(answer).map_err(|_| unexpected("SCAN"))?;
    // A key can come up more than once.
    keys.sort_unstable();
    keys.dedup();
    Ok((next, keys))
}

fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_literal_in_patterns() {
        assert_eq!(pattern(b"shop:users:"), b"shop:users:*");
        assert_eq!(pattern(br"a*b?[c]\^-"), br"a\*b\?\[c\]\\^-*");
        assert_eq!(pattern(b"\xff\n"), b"\xff\n*");
        assert_eq!(pattern(b""), b"*");
    }
}
