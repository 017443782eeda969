//! Checks which paths the web server sends to the replicas as `SCRIPT_FILENAME`.
//!
//! The status page of php-fpm shows the path of the present or last request of each child. So the check
//! sends no request to the site and needs no page of it. The paths are those of visitors' requests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::finding::{Finding, by_replica};
use crate::pool::{Pinning, Pool};
use crate::release::{Beside, Release, Siblings};
use crate::rollout::Observation;

/// How long the status page may take.
const ANSWER: Duration = Duration::from_secs(1);

const HELP: &str = "take PHP scripts from current_dir: `pools-manager snippet` prints how. In nginx, replace $realpath_root by $document_root; in Caddy, remove resolve_root_symlink";

/// The findings for the published generations. `wanted` is the release that the symlink names, and
/// `beside` is what stands beside it.
pub(super) async fn check(
    pool: &Pool,
    observation: &Observation,
    (wanted, beside): (&Release, &Beside),
) -> Vec<Finding> {
    let Some(pinning) = &pool.settings.pinning else { return Vec::new() };
    let mut asked = JoinSet::new();
    for observed in &observation.replicas {
        let Some(running) = observed.published_running() else { continue };
        let (replica, generation) = (observed.number, running.generation.clone());
        asked.spawn(async move { (replica, generation.scripts(ANSWER).await) });
    }
    let mut answers = asked.join_all().await;
    answers.sort();
    let known = Known::new(pinning, wanted, beside);
    let found = answers.iter().filter_map(|(replica, scripts)| {
        let wrong = scripts.iter().find_map(|script| known.wrong_root(Path::new(script)))?;
        let (wrong, right) = (wrong.display(), pinning.current_dir.display());
        let message = format!("the web server sends it scripts of {wrong}, not of {right}");
        Some((*replica, Finding::warning(message, HELP)))
    });
    by_replica(found)
}

/// The paths by which a script of a release can be named.
struct Known<'a> {
    current_dir: [PathBuf; 2],
    symlink: PathBuf,
    release: PathBuf,
    siblings: Option<&'a Siblings>,
}

impl<'a> Known<'a> {
    fn new(pinning: &Pinning, wanted: &Release, beside: &'a Beside) -> Self {
        let Pinning { symlink, current_dir, .. } = pinning;
        let real = current_dir.canonicalize().unwrap_or_else(|_| current_dir.clone());
        Self {
            current_dir: [current_dir.clone(), real],
            symlink: symlink.clone(),
            release: wanted.path.clone(),
            siblings: beside.as_ref().ok(),
        }
    }

    /// The directory from which the web server takes a script, if it is the wrong one: the symlink or a
    /// release, in place of `current_dir`.
    fn wrong_root(&self, script: &Path) -> Option<PathBuf> {
        if !script.is_absolute() || self.current_dir.iter().any(|dir| script.starts_with(dir)) {
            return None;
        }
        let whole = [&self.symlink, &self.release].into_iter().find(|dir| script.starts_with(dir));
        whole.cloned().or_else(|| {
            let siblings = self.siblings?;
            let name = script.strip_prefix(&siblings.dir).ok()?.iter().next()?;
            let is_shared = siblings.shared.iter().any(|shared| shared == name);
            (!is_shared && siblings.is_release(name)).then(|| siblings.dir.join(name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_of_a_release_is_told_apart_from_other_paths() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["release1", "release2", "current", "shared"] {
            std::fs::create_dir(root.join(name)).unwrap();
        }
        std::os::unix::fs::symlink("release2", root.join("current.release")).unwrap();
        let pinning = Pinning {
            symlink: root.join("current.release"),
            current_dir: root.join("current"),
            isolate: crate::pool::Isolate::Never,
        };
        let release = Release::at(&root.join("release2")).unwrap();
        let beside = pinning.beside(&release);
        let known = Known::new(&pinning, &release, &beside);
        for wrong in ["release1", "release2", "release77", "current.release"] {
            let script = root.join(wrong).join("public/x.php");
            assert_eq!(known.wrong_root(&script), Some(root.join(wrong)), "{wrong}");
        }
        for right in ["current", "shared", "else"] {
            assert_eq!(known.wrong_root(&root.join(right).join("x.php")), None, "{right}");
        }
        for other in ["-", "", "/ping-php-fpm", "/usr/share/phpmyadmin/index.php", "release1/x"] {
            assert_eq!(known.wrong_root(Path::new(other)), None, "{other}");
        }
    }
}
