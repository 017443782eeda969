//! Which pools and replicas a command applies to: `all`, `POOL [N]`, or `single POOL [N]`.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::pool::{self, Pool};
use crate::root::Root;

/// The words of a command that applies to pools or to one replica.
///
/// `all` and `single` are always words of this grammar, never names: `single all` is the pool that is
/// called `all`.
#[derive(Debug, clap::Args)]
pub(super) struct Words {
    /// One pool, or `all` [default: all pools]
    pool: Option<String>,
    /// One replica of the pool, from 1 [default: all its replicas]
    #[arg(value_name = "N")]
    replica: Option<String>,
    /// The last word of `single POOL N`
    #[arg(hide = true)]
    last: Option<String>,
}

/// The words of a command that applies to whole pools.
#[derive(Debug, clap::Args)]
pub(super) struct PoolWords {
    /// One pool, or `all` [default: all pools]
    pool: Option<String>,
    /// The last word of `single POOL`
    #[arg(hide = true)]
    last: Option<String>,
}

/// The pools and replicas that a command applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// All pools.
    All,
    /// One pool, or one replica of it.
    Single {
        /// The name of the pool.
        pool: String,
        /// The number of the replica, from 1. None: all replicas.
        replica: Option<u32>,
    },
}

impl Words {
    /// The scope that the words mean.
    pub(super) fn scope(self) -> Result<Scope> {
        parse([self.pool, self.replica, self.last].into_iter().flatten())
    }
}

impl PoolWords {
    /// The scope that the words mean; it has no replica.
    pub(super) fn scope(self) -> Result<Scope> {
        match parse([self.pool, self.last].into_iter().flatten())? {
            Scope::Single { replica: Some(replica), .. } => Err(unexpected(&replica.to_string())
                .hint("this command applies to whole pools: leave the number out")),
            scope => Ok(scope),
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Scope> {
    let Some(first) = words.next() else { return Ok(Scope::All) };
    let scope = match first.as_str() {
        "all" => Scope::All,
        "single" => {
            let missing = || Error::config("the name of a pool is missing after `single`");
            let pool = words.next().ok_or_else(|| missing().hint("write: single POOL [N]"))?;
            Scope::Single { pool, replica: words.next().map(|word| number(&word)).transpose()? }
        }
        _ => Scope::Single {
            pool: first,
            replica: words.next().map(|word| number(&word)).transpose()?,
        },
    };
    match words.next() {
        None => Ok(scope),
        Some(word) if scope == Scope::All => {
            Err(unexpected(&word).hint("`all` means all pools: for one pool, write only its name"))
        }
        Some(word) => {
            Err(unexpected(&word).hint("write one pool, and one of its replicas: POOL [N]"))
        }
    }
}

fn number(word: &str) -> Result<u32> {
    word.parse().map_err(|_| {
        Error::config(format!("\"{word}\" is not the number of a replica"))
            .hint("write one pool, and one of its replicas: POOL [N]")
    })
}

fn unexpected(word: &str) -> Error {
    Error::config(format!("unexpected word \"{word}\""))
}

/// A pool and its selected replicas.
pub(super) struct Selected {
    pub(super) pool: Arc<Pool>,
    pub(super) replicas: Vec<u32>,
}

impl Scope {
    /// The names of the selected pools.
    pub(super) fn names(&self, root: &Root) -> Result<Vec<String>> {
        match self {
            Self::All => pool::names(root),
            Self::Single { pool, .. } => Ok(vec![pool.clone()]),
        }
    }

    /// Reads one of the selected pools.
    pub(super) fn select(&self, root: &Root, name: &str) -> Result<Selected> {
        self.load(root, name).map_err(|error| error.of_pool(name))
    }

    fn load(&self, root: &Root, name: &str) -> Result<Selected> {
        let pool = Arc::new(pool::load(root, name)?);
        let replicas = match self {
            Self::Single { replica: Some(replica), .. } => {
                if !(1..=pool.replica_count).contains(replica) {
                    let message = format!("the pool \"{name}\" has no replica {replica}");
                    let hint = format!("its replicas are 1 to {}", pool.replica_count);
                    return Err(Error::config(message).hint(hint));
                }
                vec![*replica]
            }
            _ => pool.replicas().collect(),
        };
        Ok(Selected { pool, replicas })
    }

    /// Reads the selected pools one by one. If all pools are selected, a pool that cannot be read is an error
    /// in the list. If one pool is named and cannot be read, the whole call fails.
    pub(super) fn select_each(&self, root: &Root) -> Result<Vec<(String, Result<Selected>)>> {
        let names = self.names(root)?;
        let all = names.into_iter().map(|name| {
            let selected = self.select(root, &name);
            (name, selected)
        });
        match self {
            Self::All => Ok(all.collect()),
            Self::Single { .. } => all.map(|(name, selected)| Ok((name, Ok(selected?)))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Scope> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    fn one(pool: &str, replica: Option<u32>) -> Scope {
        Scope::Single { pool: pool.to_owned(), replica }
    }

    #[test]
    fn pool_can_be_named_with_and_without_single() {
        let cases = [
            ("", Scope::All),
            ("all", Scope::All),
            ("www", one("www", None)),
            ("www 2", one("www", Some(2))),
            ("single www", one("www", None)),
            ("single www 2", one("www", Some(2))),
            // Pools that are called like a word or a number.
            ("single all", one("all", None)),
            ("single all 1", one("all", Some(1))),
            ("single single 2", one("single", Some(2))),
            ("2", one("2", None)),
            ("2 1", one("2", Some(1))),
        ];
        for (line, scope) in cases {
            assert_eq!(parsed(line).unwrap(), scope, "{line}");
        }
    }

    #[test]
    fn other_words_are_errors() {
        let cases = [
            ("single", "the name of a pool is missing after `single`"),
            ("all www", "unexpected word \"www\""),
            ("all 1", "unexpected word \"1\""),
            ("www one", "\"one\" is not the number of a replica"),
            ("www 4294967296", "\"4294967296\" is not the number of a replica"),
            ("www 1 2", "unexpected word \"2\""),
            ("single www 1 2", "unexpected word \"2\""),
        ];
        for (line, what) in cases {
            assert_eq!(parsed(line).unwrap_err().message, what, "{line}");
        }
    }
}
