//! What serves, as the kernel and the public names tell it.
//!
//! A replica gets requests if its public name leads to a generation of its own that runs: a name
//! that was lent leads to another's, one that was taken away to nothing. So draining is lending,
//! and enabling is publishing, and all that is needed after a restart is to look.

use std::path::Path;
use std::sync::Arc;

use super::since;
use super::site::Site;
use super::table::Served;
use super::upstream::Member;
use crate::error::{Error, Result};
use crate::php_fpm::Running;
use crate::release::{Pinned, Release};
use crate::rollout::{Ask, Observation, Observed, observe};

/// Looks at a pool, and serves what it finds from then on.
pub(super) async fn sync(site: &Site) -> Result<()> {
    // One after the other: who has looked later knows better.
    let _turn = site.turn.lock().await;
    let seen = observe(&site.pool, async { Ok(Vec::new()) }, Ask::default()).await?;
    let mut served: Vec<Arc<Served>> = site.upstream.table().served.clone();
    let published = seen.replicas.iter().filter_map(published);
    let members = published.map(|running| member(site, running, &mut served));
    let members = members.collect::<Result<Vec<_>>>()?;
    let next: Vec<&Arc<Served>> = members.iter().map(|member| &member.served).collect();
    since::note(&site.upstream.table().served, &next, names(&seen));
    site.upstream.exchange(members);
    Ok(())
}

/// The public socket names of a pool.
fn names(seen: &Observation) -> impl Iterator<Item = &Path> {
    let generations = seen
        .replicas
        .iter()
        .flat_map(|it| it.running.iter().map(|running| &running.generation).chain(&it.ended));
    generations.map(|generation| generation.public.as_path())
}

fn published(observed: &Observed) -> Option<&Running> {
    observed.published.and(observed.current())
}

fn member(site: &Site, running: &Running, served: &mut Vec<Arc<Served>>) -> Result<Member> {
    let release = release(site, running)?;
    let known = served.iter().find(|known| known.release == release).cloned();
    let known = if let Some(known) = known {
        known
    } else {
        let opened = Arc::new(open(&release, site.settings.document_root.get_ref())?);
        served.push(Arc::clone(&opened));
        opened
    };
    let generation = &running.generation;
    let socket = generation.socket.as_path().into();
    Ok(Member { socket, served: known, children: generation.children })
}

/// What the master sees, wherever the symlink points by now.
fn release(site: &Site, running: &Running) -> Result<Release> {
    let Some((_, current_dir)) = &site.pool.settings.php.pinning else {
        return Release::at(site.pool.root.path());
    };
    match running.pinned(current_dir) {
        Some(Pinned::Release(release)) => Ok(release),
        other => running.generation.release.clone().ok_or_else(|| {
            Error::failed(format!("{} sees no release but {other:?}", running.generation))
        }),
    }
}

fn open(release: &Release, document_root: &str) -> Result<Served> {
    Served::open(release, document_root).map_err(|error| {
        let path = release.path.join(document_root);
        Error::failed(format!("cannot serve {}: {error}", path.display()))
    })
}
