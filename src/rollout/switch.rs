//! Moves the symlink for a rollout, and back if the rollout fails.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::observe::{SpecQuery, observe};
use crate::error::{Error, Result};
use crate::event::{Event, LinkChange, Report};
use crate::failpoint;
use crate::pool::{Pinning, Pool};
use crate::release::{self, Release};

const DIFFER: &str =
    "`restart` takes all replicas to the symlink's release, and `rollback` takes all back";

/// A move of the symlink: its old and its new target.
pub(super) struct Switch {
    link: PathBuf,
    /// None: the first deploy makes the symlink.
    before: Option<PathBuf>,
    after: PathBuf,
    release: Release,
}

impl Switch {
    /// Plans the move; None: the symlink names the release already.
    pub(super) fn plan(pool: &Pool, release: &Release) -> Result<Option<Self>> {
        let Some(Pinning { symlink: link, .. }) = &pool.settings.pinning else { return Ok(None) };
        let before = if release::is_missing(link) { None } else { Some(release::read_link(link)?) };
        if Release::resolve(link).is_ok_and(|named| named == *release) {
            return Ok(None);
        }
        let after = match &before {
            Some(before) => in_the_style_of(before, link, &release.path),
            None => release::first_target(link, &release.path),
        };
        Ok(Some(Self { link: link.clone(), before, after, release: release.clone() }))
    }

    /// Reports the planned move.
    pub(super) fn report_plan(&self, report: &mut dyn Report) {
        self.report(LinkChange::Planned, &self.after, report);
    }

    /// Moves the symlink.
    pub(super) fn begin(&self, report: &mut dyn Report) -> Result<()> {
        point(&self.link, &self.after).map_err(|error| {
            Error::config(format!("cannot move {}: {error}", self.link.display()))
                .hint("nothing was changed; its directory has to be writable for you")
        })?;
        self.report(LinkChange::Moved, &self.after, report);
        Ok(())
    }

    /// After a failed rollout: moves the symlink back, unless a replica serves the new release.
    /// That replica would change its release at its next restart, without an order of the operator.
    pub(super) async fn end(
        &self,
        pool: &Arc<Pool>,
        mut error: Error,
        report: &mut dyn Report,
    ) -> Error {
        match self.serving(pool).await {
            Ok(serving) if serving.is_empty() => {
                if let Err(why) = self.move_back(report) {
                    let text = format!("{} stays as it is: {why}", self.link.display());
                    report.event(&Event::Warning { text });
                }
            }
            Ok(serving) if serving.len() == pool.replica_count as usize => {}
            serving => {
                let who = match serving {
                    Ok(serving) => {
                        let numbers: Vec<String> = serving.iter().map(u32::to_string).collect();
                        format!("only replica {} serves", numbers.join(", "))
                    }
                    Err(why) => format!("replicas may serve ({why})"),
                };
                let (link, release) = (self.link.display(), self.release.path.display());
                let left = error.message;
                error.message = format!("{left}; {link} stays at {release}, which {who}");
                error.hint = Some(DIFFER.to_owned());
            }
        }
        error
    }

    /// The replicas that serve the release.
    async fn serving(&self, pool: &Arc<Pool>) -> Result<Vec<u32>> {
        let Some(current_dir) = pool.settings.current_dir() else { return Ok(Vec::new()) };
        let now = observe(pool, async { Ok(Vec::new()) }, SpecQuery::default()).await?;
        let serves = now.replicas.iter().filter(|replica| {
            let release = replica.release(current_dir);
            replica.published.is_some() && release.as_ref() == Some(&self.release)
        });
        Ok(serves.map(|replica| replica.number).collect())
    }

    fn move_back(&self, report: &mut dyn Report) -> io::Result<()> {
        if fs::read_link(&self.link)? != self.after {
            return Err(io::Error::other("another program has moved it meanwhile"));
        }
        if let Some(before) = &self.before {
            point(&self.link, before)?;
            self.report(LinkChange::MovedBack, before, report);
        } else {
            fs::remove_file(&self.link)?;
            self.report(LinkChange::Removed, &self.after, report);
        }
        Ok(())
    }

    fn report(&self, change: LinkChange, target: &Path, report: &mut dyn Report) {
        let (link, target) = (self.link.clone(), target.to_owned());
        report.event(&Event::Link { change, link, target });
    }
}

/// The new target. A relative link stays relative: the tree may also be mounted at another path.
fn in_the_style_of(before: &Path, link: &Path, release: &Path) -> PathBuf {
    let dir = link.parent().and_then(|parent| fs::canonicalize(parent).ok());
    match dir {
        Some(dir) if before.is_relative() => relative(&dir, release),
        _ => release.to_owned(),
    }
}

/// The relative path from a directory to a path; both are absolute and free of symlinks.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let shared = from.components().zip(to.components()).take_while(|(one, other)| one == other);
    let shared = shared.count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(to.components().skip(shared)).collect()
}

/// Points `link` at `target`, atomically. Keeps the link's owner: a web server may require that a
/// link and its target have one owner.
fn point(link: &Path, target: &Path) -> io::Result<()> {
    let owner = fs::symlink_metadata(link).ok();
    let new = unfinished(link);
    if new.is_symlink() {
        fs::remove_file(&new)?; // a killed command has left it
    }
    symlink(target, &new)?;
    if let Some(owner) = owner {
        let _ = lchown(&new, Some(owner.uid()), Some(owner.gid())); // only root can
    }
    failpoint::hit("a new symlink made, not in its place");
    fs::rename(&new, link)
}

/// The temporary name that [`point`] renames.
pub(super) fn unfinished(link: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(link.file_name().unwrap_or_default());
    name.push(".pools-manager");
    link.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_path_leads_from_one_directory_to_another() {
        let way = |from: &str, to: &str| relative(Path::new(from), Path::new(to));
        assert_eq!(way("/srv/www", "/srv/www/release2"), Path::new("release2"));
        assert_eq!(way("/srv/www", "/srv/releases/2"), Path::new("../releases/2"));
        assert_eq!(way("/", "/srv"), Path::new("srv"));
    }
}
