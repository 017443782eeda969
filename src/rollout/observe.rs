//! Observes a pool: reads sockets, pid files, /proc and the balancer each time.

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;

use tokio::task::{JoinSet, spawn_blocking};

use super::plan;
use crate::backend;
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::release::{Pinned, Release};
use crate::runtime::{self, Generation, Running, Runtime, Snapshot, Spec};
use crate::socket::{self, Name, UnixSockets};
use crate::step::{GenerationId, Number};

/// The state of a pool at one moment.
#[derive(Debug)]
pub struct Observation {
    /// Its replicas, ascending.
    pub replicas: Vec<Observed>,
}

/// The state of a replica at one moment.
#[derive(Debug)]
pub struct Observed {
    /// Its number.
    pub number: u32,
    /// Its resolved configuration, if php-fpm was run for it.
    pub spec: Option<Spec>,
    /// The generations that run, ascending.
    pub running: Vec<Running>,
    /// The recorded generations that do not run, ascending.
    pub ended: Vec<Generation>,
    /// The number of the generation that its public name leads to, if that one runs.
    pub published: Option<Number>,
    /// Whether no generation runs, but a public name is left that may be removed: it leads to a
    /// socket of this pool, or nowhere.
    pub named: bool,
    /// Its member in the balancer; None: there is no balancer.
    pub member: Option<backend::Member>,
    /// The generations that run and have lost their record, ascending.
    pub lost: Vec<Number>,
}

impl Observed {
    /// The generation that the public name leads to, else the newest one that clients can reach.
    pub fn current(&self) -> Option<&Running> {
        let published = |running: &&Running| Some(running.generation.number) == self.published;
        let reachable = |running: &&Running| running.reachable;
        self.running.iter().find(published).or(self.running.iter().rfind(reachable))
    }

    /// The generation that the public name leads to.
    pub fn published_running(&self) -> Option<&Running> {
        self.current().filter(|_| self.published.is_some())
    }

    /// Whether its children serve without a master.
    pub(crate) fn has_no_master(&self) -> bool {
        self.current().is_some_and(|running| running.master.is_none())
    }

    /// The release that it serves, as its mount namespace shows it.
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

    /// Its status in the balancer, if the operator has taken it out there.
    pub(super) fn taken_out(&self) -> Option<&str> {
        let member = self.member.as_ref()?;
        (standing(member) == plan::MemberState::TakenOut).then_some(&*member.status)
    }

    fn view(&self) -> plan::ReplicaView {
        let numbers = self.running.iter().map(|running| running.generation.number);
        plan::ReplicaView {
            number: self.number,
            last: self.last_number(),
            running: numbers.collect(),
            current: self.current().map(|running| running.generation.number),
            published: self.published,
            named: self.named,
            stale: false,
            proven: self.current().is_some_and(|it| it.generation.has_been_published()),
            stopped: false,
            member: self.member.as_ref().map_or(plan::MemberState::None, standing),
        }
    }
}

fn standing(member: &backend::Member) -> plan::MemberState {
    if member.serves {
        plan::MemberState::Serving
    } else if member.in_error {
        plan::MemberState::InError
    } else if member.draining {
        plan::MemberState::Drained
    } else {
        plan::MemberState::TakenOut
    }
}

impl Observation {
    /// The planner's view of the pool.
    pub fn view(&self) -> plan::PoolView {
        plan::PoolView { replicas: self.replicas.iter().map(Observed::view).collect() }
    }

    /// Whether these replicas all serve this release.
    pub(super) fn all_serve(&self, pool: &Pool, replicas: &[u32], release: &Release) -> bool {
        let Some(current_dir) = pool.settings.current_dir() else { return false };
        let has_release = |it: &Observed| it.release(current_dir).as_ref() == Some(release);
        let mut chosen = self.replicas.iter().filter(|it| replicas.contains(&it.number));
        chosen.all(|replica| replica.view().serves() && has_release(replica))
    }

    /// One replica.
    pub fn replica(&self, number: u32) -> Option<&Observed> {
        self.replicas.iter().find(|replica| replica.number == number)
    }

    /// The resolved configurations, of the replicas for which php-fpm was run.
    pub fn specs(&self) -> impl Iterator<Item = (u32, &Spec)> {
        let replicas = self.replicas.iter();
        replicas.filter_map(|replica| Some((replica.number, replica.spec.as_ref()?)))
    }

    /// All generations that run or have a record.
    pub(crate) fn generations(&self) -> impl Iterator<Item = &Generation> {
        self.replicas.iter().flat_map(|replica| {
            let running = replica.running.iter().map(|running| &running.generation);
            running.chain(&replica.ended)
        })
    }

    /// A running generation.
    pub fn running(&self, id: GenerationId) -> Option<&Running> {
        let mut running = self.replica(id.replica)?.running.iter();
        running.find(|running| running.generation.number == id.generation)
    }
}

/// The replicas whose configuration php-fpm resolves for an observation.
#[derive(Debug, Clone, Copy, Default)]
pub struct SpecQuery<'a> {
    /// Their numbers.
    pub replicas: &'a [u32],
    /// The release that php-fpm is pinned to meanwhile, as for a start.
    pub release: Option<&'a Release>,
}

/// Observes a pool. php-fpm also resolves the configuration of replicas without a record, which
/// takes 30 ms of CPU for each.
pub async fn observe(
    pool: &Arc<Pool>,
    members: impl Future<Output = Result<Vec<backend::Member>>>,
    query: SpecQuery<'_>,
) -> Result<Observation> {
    let all: Vec<u32> = pool.replicas().collect();
    let (specs, members, before) = if all.iter().all(|replica| query.replicas.contains(replica)) {
        let (specs, members) = tokio::try_join!(resolve(pool, all, query.release), members)?;
        (specs, members, None)
    } else {
        let members = members.await?;
        let (snapshot, records) = known(pool).await?;
        let wanted = replicas_to_resolve(pool, query, &records, &snapshot.unix_sockets);
        let specs = resolve(pool, wanted, query.release).await?;
        let before = specs.is_empty().then_some((snapshot, records));
        (specs, members, before)
    };
    let (snapshot, records) = match before {
        Some(before) => before,
        // php-fpm has run: a snapshot from before may be wrong by now.
        None => known(pool).await?,
    };
    let pool = Arc::clone(pool);
    let observe = move || look(&pool, specs, members, &records, &snapshot.unix_sockets);
    let observed = spawn_blocking(observe).await;
    observed.unwrap_or_else(|panicked| resume_unwind(panicked.into_panic()))
}

/// What runs on the system, and what is on record of this pool.
async fn known(pool: &Pool) -> Result<(Arc<Snapshot>, Vec<Generation>)> {
    let snapshot = Snapshot::shared(&pool.root).await?;
    let records = snapshot.records(pool);
    Ok((snapshot, records))
}

/// The replicas whose configuration php-fpm resolves.
fn replicas_to_resolve(
    pool: &Pool,
    query: SpecQuery<'_>,
    records: &[Generation],
    unix_sockets: &UnixSockets,
) -> Vec<u32> {
    let unknown = |replica: &u32| {
        let newest = records.iter().rfind(|record| record.replica == *replica);
        query.replicas.contains(replica)
            || newest.is_none_or(|record| unix_sockets.listens(&record.public))
    };
    pool.replicas().filter(unknown).collect()
}

/// Observes a pool. `specs` are the configurations that php-fpm has resolved, for some replicas,
/// ascending. `members` are as the balancer has reported them. `records` and `unix_sockets` were read
/// after that.
pub fn look(
    pool: &Pool,
    specs: Vec<(u32, Spec)>,
    members: Vec<backend::Member>,
    records: &[Generation],
    unix_sockets: &UnixSockets,
) -> Result<Observation> {
    let mut specs = specs.into_iter().peekable();
    let mut members = members.into_iter();
    let mut replicas = Vec::new();
    for number in pool.replicas() {
        let spec = specs.next_if(|(replica, _)| *replica == number).map(|(_, it)| it);
        let member = members.next();
        let is_its_own = |record: &&Generation| record.replica == number;
        let names = records.iter().filter(is_its_own).map(|record| &*record.public);
        let names: Vec<&Path> = names.chain(spec.as_ref().map(Spec::public)).collect();
        let lost = runtime::lost(pool, number, &names, records, unix_sockets)?;
        let mut known: Vec<Generation> = records.iter().chain(&lost).cloned().collect();
        known.sort_by_key(|it| (it.replica, it.number));
        let mut observed = observe_replica(number, spec, &known, member, unix_sockets)?;
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
    unix_sockets: &UnixSockets,
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
        refuse_other_file(&generation.public)?;
        names.push(generation.public.clone());
        match runtime::look(&generation, unix_sockets)? {
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
            observed.named |= is_removable(name, records)?;
        }
    }
    Ok(observed)
}

/// Whether a public name exists and may be removed: it leads to a socket on this pool's record, or
/// nowhere. A mistake in `listen` may name another pool's socket.
pub(super) fn is_removable(public: &Path, records: &[Generation]) -> Result<bool> {
    Ok(match socket::read_name(public) {
        Ok(Name::Link(target)) => {
            records.iter().any(|record| record.socket == target) || !socket::is_listening(&target)?
        }
        Ok(Name::Socket) => !socket::is_listening(public)?,
        Ok(Name::Absent | Name::Other) | Err(_) => false,
    })
}

/// Refuses a public name that is a file or a directory: pools-manager does not replace it.
pub(crate) fn refuse_other_file(public: &Path) -> Result<()> {
    match socket::read_name(public) {
        Ok(Name::Other) => {
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
    let mut tasks = JoinSet::new();
    for replica in replicas {
        let (pool, runtime) = (Arc::clone(pool), Arc::clone(&runtime));
        let release = release.cloned();
        tasks.spawn(
            async move { (replica, runtime.resolve(&pool, replica, release.as_ref()).await) },
        );
    }
    // The results come in the order of completion. Of two errors, return the first replica's.
    let mut all = tasks.join_all().await;
    all.sort_by_key(|(replica, _)| *replica);
    all.into_iter().map(|(replica, spec)| Ok((replica, spec?))).collect()
}
