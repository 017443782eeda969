//! What serves, as the kernel and the public names tell it.
//!
//! A replica gets requests if its public name leads to a generation of its own that runs: a name
//! that was lent leads to another's, one that was taken away to nothing. So draining is lending,
//! and enabling is publishing, and all that is needed after a restart is to look.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::aside::aside;
use super::since;
use super::site::Site;
use super::table::Served;
use super::upstream::{Member, Ping};
use crate::error::{Error, Result};
use crate::release::{Pinned, Release};
use crate::rollout::{Observation, Observed, SpecQuery, observe};
use crate::runtime::Running;

/// The private sockets of replicas that run, and cannot be served.
pub(super) type LeftOut = Vec<PathBuf>;

/// Why it is looked at what serves: it decides what becomes of a replica that runs and cannot be
/// served, since its release has gone, or has no document root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// To serve what can be served: that replica gets no requests.
    Serve,
    /// To try other settings: the same; and an error says nothing of the settings from before.
    Try,
    /// A command has moved names: all stays as it is, unless the replica had no requests before.
    Command,
}

/// Looks at a pool, and serves what it finds from then on.
pub(super) async fn sync(site: &Arc<Site>, reason: Reason) -> Result<()> {
    // One after the other: a later look finds what is true now. It is waited for here, so that a
    // look which does not end costs one thread.
    let mut left_out = site.watch.turn().await;
    let site = Arc::clone(site);
    aside(move || {
        let looked = look(&site).and_then(|seen| serve(&site, &seen, reason, &mut left_out));
        match looked {
            // It has known replicas to be out, and is about to renew one.
            Ok(Outcome::Nothing(_)) if reason == Reason::Command => Ok(()),
            Ok(Outcome::Nothing(error)) | Err(error) => {
                if reason != Reason::Try {
                    site.watch.is_wrong(&site.pool.name, &error);
                }
                Err(error)
            }
            Ok(Outcome::Served) => {
                site.watch.is_right(&site.pool.name);
                Ok(())
            }
        }
    })
    .await?
}

/// What comes of a look that has found what runs.
enum Outcome {
    /// Whatever runs, or can be served of it, is served.
    Served,
    /// Replicas run, and none of them can be served.
    Nothing(Error),
}

/// Blocks, as the observation does.
fn look(site: &Site) -> Result<Observation> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Error::failed(format!("cannot look at what serves: {error}")))?;
    runtime.block_on(observe(&site.pool, async { Ok(Vec::new()) }, SpecQuery::default()))
}

fn serve(
    site: &Site,
    seen: &Observation,
    reason: Reason,
    left_out: &mut LeftOut,
) -> Result<Outcome> {
    let mut served: Vec<Arc<Served>> = site.upstream.table().served.clone();
    let (mut members, mut failed) = (Vec::new(), Vec::new());
    for running in seen.replicas.iter().filter_map(published) {
        match member(site, running, &mut served) {
            Ok(member) => members.push(member),
            Err(error) => failed.push((running.generation.socket.clone(), error)),
        }
    }
    let is_new = |socket: &PathBuf| !left_out.contains(socket);
    let is_error = failed.iter().position(|(socket, _)| is_new(socket));
    if let Some(at) = is_error.filter(|_| reason == Reason::Command) {
        return Err(failed.swap_remove(at).1);
    }
    if !members.is_empty() {
        for (socket, error) in failed.iter().filter(|(socket, _)| is_new(socket)) {
            let (pool, error) = (&site.pool.name, error.in_one_line());
            tracing::error!("pool \"{pool}\": {} gets no requests: {error}", socket.display());
        }
    }
    *left_out = failed.iter().map(|(socket, _)| socket.clone()).collect();
    let nothing = failed.into_iter().next().filter(|_| members.is_empty());
    if reason == Reason::Command || nothing.is_none() {
        let next: Vec<&Arc<Served>> = members.iter().map(|member| &member.served).collect();
        since::note(&site.upstream.table().served, &next, names(seen));
        site.upstream.exchange(members);
    }
    Ok(nothing.map_or(Outcome::Served, |(_, error)| Outcome::Nothing(error)))
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
    let document_root = site.settings.document_root.get_ref();
    let is_it = |known: &&Arc<Served>| known.release == release && known.below == *document_root;
    let known = if let Some(known) = served.iter().find(is_it) {
        Arc::clone(known)
    } else {
        let opened = Arc::new(open(&release, document_root)?);
        served.push(Arc::clone(&opened));
        opened
    };
    let generation = &running.generation;
    let socket = generation.socket.as_path().into();
    let (children, ping) = (generation.server.children(), Ping::of(generation));
    Ok(Member { socket, served: known, children, ping })
}

/// What the master sees, wherever the symlink points by now.
fn release(site: &Site, running: &Running) -> Result<Release> {
    let Some(current_dir) = site.pool.settings.current_dir() else {
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
