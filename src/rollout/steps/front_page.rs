//! The probe: if the operator sets no `warm_up`, a new generation must answer its front page before
//! it is published.
//!
//! No setting says that this page works, so a bad answer counts only if another generation gives a
//! good one; usually that generation runs the old release. An application without a front page, or
//! with one that always fails, is rolled out without a probe.

use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::release::{Pinned, Release};
use crate::runtime::{FrontPage, Running};

/// Requests the front page of a new generation. Fails if its answer is bad and the answer of
/// `other` is good. Returns a warning if its answer is bad and `other` is no better, or absent.
pub(in crate::rollout) async fn probe(
    pool: &Pool,
    new: &Running,
    other: Option<&Running>,
) -> Result<Option<String>> {
    let FrontPage::Bad(why) = front_page(pool, new).await else { return Ok(None) };
    let release = new.generation.release.as_ref();
    let on = release.map(|it| format!(" on {}", it.path.display())).unwrap_or_default();
    let what = format!("the front page of {}{on}: {why}", new.generation.id());
    let Some(other) = other else {
        return Ok(Some(format!("{what}\nthere is no other generation to compare it with")));
    };
    if let FrontPage::Good = front_page(pool, other).await {
        return Err(Error::failed(format!("{what}\n{} answers it well", other.generation))
            .hint("`warm_up` in [rollout] names other pages to request, or none: warm_up = []"));
    }
    Ok(Some(format!("{what}\n{} does not answer it well either", other.generation)))
}

async fn front_page(pool: &Pool, running: &Running) -> FrontPage {
    let release = match pool.settings.pinning {
        Some(_) => release_of(pool, running).map(|release| release.path),
        None => Some(pool.root.path().to_owned()),
    };
    let Some(release) = release else { return FrontPage::None };
    running.generation.front_page(pool, &release, pool.settings.rollout.ready_timeout).await
}

/// The real directory that a generation sees, wherever the symlink leads now.
pub(in crate::rollout) fn release_of(pool: &Pool, running: &Running) -> Option<Release> {
    match running.pinned(pool.settings.current_dir()?) {
        Some(Pinned::Release(release)) => Some(release),
        _ => running.generation.release.clone(),
    }
}
