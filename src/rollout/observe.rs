//! What is true of a pool now: read from sockets, pid files, /proc, and the
//! balancer each time.

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;

use tokio::task::{JoinSet, spawn_blocking};

use super::plan;
use crate::backend;
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::release::{Pinned, Release};
use crate::runtime::{self, Generation, Running, Runtime, Spec};
use crate::socket::{self, Name, Table};
use crate::step::{GenerationId, Number};

/// A pool as it is now.
#[derive(Debug)]
pub struct Observation {
    /// Its replicas, ascending.
    pub replicas: Vec<Observed>,
}

/// A replica as it is now.
#[derive(Debug)]
pub struct Observed {
    /// Its number.
    pub number: u32,
    /// What its configuration comes to, where the server was asked.
    pub spec: Option<Spec>,
    /// The generations that run, ascending.
    pub running: Vec<Running>,
    /// The recorded generations that do not.
    pub ended: Vec<Generation>,
    /// The number of the one that its public name leads to, if it runs.
    pub published: Option<Number>,
    /// Whether nothing of it runs, and its public name is there to be removed: it leads to this
    /// pool, or nowhere.
    pub named: bool,
    /// What the balancer says of it; None where there is no balancer.
    pub member: Option<backend::Member>,
    /// Those that run and have no record any more, ascending.
    pub lost: Vec<Number>,
}

impl Observed {
    /// The generation that the public name leads to, else the newest that can be reached.
    pub fn current(&self) -> Option<&Running> {
        let published = |running: &&Running| Some(running.generation.number) == self.published;
        let reachable = |running: &&Running| running.reachable;
        self.running.iter().find(published).or(self.running.iter().rfind(reachable))
    }

    /// The generation that the public name leads to.
    pub fn published_running(&self) -> Option<&Running> {
        self.current().filter(|_| self.published.is_some())
    }

    /// Whether it runs, and its master does not.
    pub(crate) fn has_no_master(&self) -> bool {
        self.current().is_some_and(|running| running.master.is_none())
    }

    /// The release that it serves, as the kernel tells it.
    pub fn release(&self, current_dir: &Path) -> Option<Release> {
        match self.current()?.pinned(current_dir)? {
            Pinned::Release(release) => Some(release),
            Pinned::Deleted(_) | Pinned::Nothing => None,
        }
    }

    /// The highest number that one of its generations has had.
    pub fn last_number(&self) -> Number {
        let running = self.running.iter().map(|running| &running.generation);
        running.chain(&self.ended).map(|generation| generation.number).max().unwrap_or_default()
    }

    fn seen(&self) -> plan::Replica {
        let numbers = self.running.iter().map(|running| running.generation.number);
        plan::Replica {
            number: self.number,
            last: self.last_number(),
            running: numbers.collect(),
            current: self.current().map(|running| running.generation.number),
            published: self.published,
            named: self.named,
            stale: false,
            proven: self.current().is_some_and(|it| it.generation.has_been_published()),
            stopped: false,
            member: self.member.as_ref().map_or(plan::Member::None, standing),
        }
    }
}

fn standing(member: &backend::Member) -> plan::Member {
    if member.serves {
        plan::Member::Serving
    } else if member.in_error {
        plan::Member::InError
    } else if member.draining {
        plan::Member::Drained
    } else {
        plan::Member::TakenOut
    }
}

impl Observation {
    /// What the planner needs of it.
    pub fn seen(&self) -> plan::Seen {
        plan::Seen { replicas: self.replicas.iter().map(Observed::seen).collect() }
    }

    /// Whether these replicas all serve this release.
    pub(super) fn all_serve(&self, pool: &Pool, replicas: &[u32], release: &Release) -> bool {
        let Some(current_dir) = pool.settings.current_dir() else { return false };
        let has_it = |it: &Observed| it.release(current_dir).as_ref() == Some(release);
        let mut meant = self.replicas.iter().filter(|it| replicas.contains(&it.number));
        meant.all(|replica| replica.seen().serves() && has_it(replica))
    }

    /// One replica.
    pub fn replica(&self, number: u32) -> Option<&Observed> {
        self.replicas.iter().find(|replica| replica.number == number)
    }

    /// What the configurations of those replicas come to of which the server was asked.
    pub fn specs(&self) -> impl Iterator<Item = (u32, &Spec)> {
        let replicas = self.replicas.iter();
        replicas.filter_map(|replica| Some((replica.number, replica.spec.as_ref()?)))
    }

    /// All generations that run, or are on record.
    pub(crate) fn generations(&self) -> impl Iterator<Item = &Generation> {
        self.replicas.iter().flat_map(|replica| {
            let running = replica.running.iter().map(|running| &running.generation);
            running.chain(&replica.ended)
        })
    }

    /// One generation that runs.
    pub fn running(&self, id: GenerationId) -> Option<&Running> {
        let mut running = self.replica(id.replica)?.running.iter();
        running.find(|running| running.generation.number == id.generation)
    }
}

/// For which replicas php-fpm is asked what it makes of their configuration.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask<'a> {
    /// These ones.
    pub replicas: &'a [u32],
    /// The release to ask on, as if it were started on it.
    pub release: Option<&'a Release>,
}

/// Looks at a pool. php-fpm is also asked for the replicas of which nothing is
/// recorded; that takes 30 ms of CPU for each.
pub async fn observe(
    pool: &Arc<Pool>,
    members: impl Future<Output = Result<Vec<backend::Member>>>,
    ask: Ask<'_>,
) -> Result<Observation> {
    let (specs, members) =
        tokio::try_join!(resolve(pool, to_ask(pool, ask)?, ask.release), members)?;
    let pool = Arc::clone(pool);
    let looked = spawn_blocking(move || look(&pool, specs, members)).await;
    looked.unwrap_or_else(|broken| resume_unwind(broken.into_panic()))
}

/// The replicas of which php-fpm is asked. With hundreds of pools it takes milliseconds to look who
/// listens: that is only done if it matters.
fn to_ask(pool: &Pool, ask: Ask<'_>) -> Result<Vec<u32>> {
    if pool.replicas().all(|replica| ask.replicas.contains(&replica)) {
        return Ok(pool.replicas().collect());
    }
    let records = runtime::discover(pool)?;
    let table = Table::read()?;
    let unknown = |replica: &u32| {
        let newest = records.iter().rfind(|record| record.replica == *replica);
        ask.replicas.contains(replica) || newest.is_none_or(|record| table.listens(&record.public))
    };
    Ok(pool.replicas().filter(unknown).collect())
}

/// Looks at a pool, of which php-fpm (for some replicas, ascending) and the balancer have told
/// what they know already.
pub fn look(
    pool: &Pool,
    specs: Vec<(u32, Spec)>,
    members: Vec<backend::Member>,
) -> Result<Observation> {
    let records = runtime::discover(pool)?;
    let table = Table::read()?; // php-fpm has taken its time: an older one will not do
    let mut specs = specs.into_iter().peekable();
    let mut members = members.into_iter();
    let mut replicas = Vec::new();
    for number in pool.replicas() {
        let spec = specs.next_if(|(replica, _)| *replica == number).map(|(_, it)| it);
        let member = members.next();
        let of_it = |record: &&Generation| record.replica == number;
        let names = records.iter().filter(of_it).map(|record| &*record.public);
        let names: Vec<&Path> = names.chain(spec.as_ref().map(Spec::public)).collect();
        let lost = runtime::lost(pool, number, &names, &records, &table)?;
        let mut known: Vec<Generation> = records.iter().chain(&lost).cloned().collect();
        known.sort_by_key(|it| (it.replica, it.number));
        let mut observed = observe_replica(number, spec, &known, member, &table)?;
        observed.lost = lost.iter().map(|it| it.number).collect();
        replicas.push(observed);
    }
    Ok(Observation { replicas })
}

fn observe_replica(
    number: u32,
    spec: Option<Spec>,
    records: &[Generation],
    member: Option<backend::Member>,
    table: &Table,
) -> Result<Observed> {
    let adopted = spec.as_ref().map(|spec| Generation::adopted(number, spec));
    let recorded = records.iter().filter(|record| record.replica == number).cloned();
    let mut observed = Observed {
        number,
        spec,
        running: vec![],
        ended: vec![],
        published: None,
        named: false,
        member,
        lost: vec![],
    };
    let mut names = Vec::new();
    for generation in adopted.into_iter().chain(recorded) {
        refuse_stranger(&generation.public)?;
        names.push(generation.public.clone());
        match runtime::look(&generation, table)? {
            None if generation.number.is_adopted() => {}
            None => observed.ended.push(generation),
            Some(running) => {
                let leads_here = generation.is_published().map_err(|error| {
                    Error::failed(format!("{}: {error}", generation.public.display()))
                })?;
                let published = leads_here && running.reachable;
                observed.published = observed.published.or(published.then_some(generation.number));
                observed.running.push(running);
            }
        }
    }
    if observed.running.is_empty() {
        for name in &names {
            observed.named |= is_named(name, records)?;
        }
    }
    Ok(observed)
}

/// Whether a public name is there, and nobody's but this pool's: it leads to what has a record
/// here, or nowhere. A mistake in `listen` may have named what belongs to another pool.
fn is_named(public: &Path, records: &[Generation]) -> Result<bool> {
    Ok(match socket::read_name(public) {
        Ok(Name::Link(target)) => {
            records.iter().any(|record| record.socket == target) || !socket::is_listening(&target)?
        }
        Ok(Name::Socket) => !socket::is_listening(public)?,
        Ok(Name::Absent | Name::Stranger) | Err(_) => false,
    })
}

/// A file or a directory on the public name is not ours to replace.
pub(crate) fn refuse_stranger(public: &Path) -> Result<()> {
    match socket::read_name(public) {
        Ok(Name::Stranger) => {
            let path = public.display();
            Err(Error::config(format!("{path} is neither a socket nor a symlink"))
                .hint("it is where a replica's public socket belongs: move it away"))
        }
        _ => Ok(()),
    }
}

async fn resolve(
    pool: &Arc<Pool>,
    replicas: Vec<u32>,
    release: Option<&Release>,
) -> Result<Vec<(u32, Spec)>> {
    if replicas.is_empty() {
        return Ok(Vec::new());
    }
    let runtime = Arc::new(Runtime::of(pool)?);
    let mut asked = JoinSet::new();
    for replica in replicas {
        let (pool, runtime) = (Arc::clone(pool), Arc::clone(&runtime));
        let release = release.cloned();
        asked.spawn(
            async move { (replica, runtime.resolve(&pool, replica, release.as_ref()).await) },
        );
    }
    // They come in the order in which they are done: of two errors, tell the first replica's.
    let mut all = asked.join_all().await;
    all.sort_by_key(|(replica, _)| *replica);
    all.into_iter().map(|(replica, spec)| Ok((replica, spec?))).collect()
}
