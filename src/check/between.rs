//! Checks that no two pools share a socket.

use std::path::PathBuf;

use super::{Listens, PoolChecked};
use crate::finding::{Finding, Level, Topic};

/// Finds public socket names that several pools have. This happens if a pool is a copy of another.
pub fn compare(pools: &mut [PoolChecked]) {
    let all: Vec<(String, Vec<Listens>)> =
        pools.iter().map(|pool| (pool.pool.clone(), pool.listens.clone())).collect();
    for pool in pools {
        let others = all.iter().filter(|(name, _)| *name != pool.pool);
        let found: Vec<Finding> = others
            .flat_map(|(name, theirs)| shared(&pool.pool, &pool.listens, name, theirs))
            .collect();
        let sockets = pool.topics.iter_mut().find(|checked| checked.topic == Topic::Sockets);
        if let Some(sockets) = sockets.filter(|_| !found.is_empty()) {
            sockets.findings.extend(found);
            sockets.level = Level::Error;
            pool.ok = false;
        }
    }
}

fn shared<'a>(
    pool: &'a str,
    ours: &'a [Listens],
    other: &'a str,
    theirs: &'a [Listens],
) -> impl Iterator<Item = Finding> + 'a {
    let same = |path: &PathBuf| theirs.iter().find(|(_, their)| their == path);
    let both = ours.iter().filter_map(move |(replica, path)| Some((replica, path, same(path)?.0)));
    both.map(move |(replica, path, theirs)| {
        let path = path.display();
        Finding::error(
            format!(
                "replica {replica} has the same socket as replica {theirs} of the pool \"{other}\": {path}"
            ),
            format!("give its php-fpm section another name, like [{pool}{replica}]"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Checked;

    fn pool(name: &str, listens: &[(u32, &str)]) -> PoolChecked {
        let listens = listens.iter().map(|(replica, path)| (*replica, path.into())).collect();
        let topics = vec![Checked::new(Topic::Sockets, [], [])];
        PoolChecked { pool: name.to_owned(), ok: true, topics, listens }
    }

    #[test]
    fn shared_socket_is_an_error_of_both_pools() {
        let mut pools =
            [pool("a", &[(1, "/a"), (2, "/b")]), pool("b", &[(1, "/b")]), pool("c", &[])];
        compare(&mut pools);
        assert_eq!(pools.each_ref().map(|pool| pool.ok), [false, false, true]);
        let message = &pools[0].topics[0].findings[0].message;
        assert_eq!(message, "replica 2 has the same socket as replica 1 of the pool \"b\": /b");
    }
}
