//! `ps-list`: the php-fpm processes of a pool as a tree.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::process::{self, Process};
use crate::release::Pinned;
use crate::rollout::{SpecQuery, observe};
use crate::runtime::Running;
use crate::step::Number;

/// The processes of one pool.
#[derive(Debug, Serialize)]
pub struct Tree {
    /// The pool's name.
    pub pool: String,
    /// All generations that run, by replica and number.
    pub generations: Vec<Branch>,
}

/// The processes of one generation.
#[derive(Debug, Serialize)]
pub struct Branch {
    /// Its replica.
    pub replica: u32,
    /// Its number; 0 is a master that was started by other means.
    pub generation: Number,
    /// Whether the replica's public name leads to it.
    pub published: bool,
    /// The release that it sees; None: releases are not pinned.
    pub release: Option<String>,
    /// Its master; None: the master has died.
    pub master: Option<Leaf>,
    /// Its children.
    pub children: Vec<Leaf>,
}

/// One process.
#[derive(Debug, Serialize)]
pub struct Leaf {
    /// Its pid.
    pub pid: i32,
    /// Its resident memory in bytes; shared pages count in each process.
    pub memory: u64,
}

/// Reads the processes of a pool, without the balancer and without requests to php-fpm.
pub async fn tree(pool: &Arc<Pool>) -> Result<Tree> {
    let seen = observe(pool, async { Ok(Vec::new()) }, SpecQuery::default()).await?;
    let mut generations = Vec::new();
    for replica in &seen.replicas {
        for running in &replica.running {
            let published = replica.published == Some(running.generation.number);
            generations.push(branch(pool, running, published)?);
        }
    }
    Ok(Tree { pool: pool.name.clone(), generations })
}

fn branch(pool: &Pool, running: &Running, published: bool) -> Result<Branch> {
    let children = match &running.master {
        Some(master) => process::children(master),
        None => process::holders(&running.sockets).map(|holders| holders.children),
    };
    let children =
        children.map_err(|error| Error::failed(format!("cannot look through /proc: {error}")))?;
    let generation = &running.generation;
    Ok(Branch {
        replica: generation.replica,
        generation: generation.number,
        published,
        release: release(pool, running),
        master: running.master.as_ref().map(leaf),
        children: children.iter().map(leaf).collect(),
    })
}

fn release(pool: &Pool, running: &Running) -> Option<String> {
    let current_dir = pool.settings.current_dir()?;
    Some(match running.pinned(current_dir)? {
        Pinned::Release(release) => release.path.display().to_string(),
        Pinned::Deleted(path) => format!("{} (deleted)", path.display()),
        Pinned::Nothing => "not pinned".to_owned(),
    })
}

fn leaf(process: &Process) -> Leaf {
    let pid = process.pid();
    Leaf { pid, memory: process::memory(pid).unwrap_or_default() }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.pool)?;
        if self.generations.is_empty() {
            return writeln!(f, "  nothing runs");
        }
        self.generations.iter().try_for_each(|branch| write!(f, "{branch}"))
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  replica {}, ", self.replica)?;
        match self.generation {
            Number::Adopted => write!(f, "started by other means")?,
            number @ Number::Started(_) => write!(f, "generation {number}")?,
        }
        if let Some(release) = &self.release {
            write!(f, ", {release}")?;
        }
        writeln!(f, "{}", if self.published { "" } else { ", not published" })?;
        match &self.master {
            Some(master) => writeln!(f, "    {master}  master")?,
            None => writeln!(f, "    the master is dead")?,
        }
        self.children.iter().try_for_each(|child| writeln!(f, "      {child}  child"))
    }
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.memory.div_ceil(1 << 20);
        write!(f, "{:>7}  {mib:>4} MiB", self.pid)
    }
}
