//! `current_release_symlink`, `current_dir` and `isolate`: how replicas see their release.

use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;

use crate::config::File;
use crate::error::{Error, Result};
use crate::release::{Beside, Obstacle, Release, Siblings};
use crate::root::Root;

/// Where releases come from, and where processes see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinning {
    /// The symlink that the operator moves (`current_release_symlink`).
    pub symlink: PathBuf,
    /// The empty directory on which the release is mounted (`current_dir`).
    pub current_dir: PathBuf,
    /// Whether the other releases are hidden from its processes.
    pub isolate: Isolate,
}

/// Whether the other releases are hidden from the processes of a generation (`isolate`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Isolate {
    /// If they can be told apart from other files: the key is not set.
    WherePossible,
    /// Always; the key is at this line, as `FILE:LINE`.
    Always(String),
    /// Never.
    Never,
}

impl Pinning {
    /// What stands beside a release.
    pub fn beside(&self, release: &Release) -> Beside {
        Siblings::read(release, &self.symlink, &self.current_dir)
    }

    /// Why the other releases are not hidden, if `isolate` is not set.
    pub fn obstacle<'a>(&self, beside: &'a Beside) -> Option<&'a str> {
        let is_open = self.isolate == Isolate::WherePossible;
        beside.as_ref().err().filter(|_| is_open).map(|obstacle| obstacle.why.as_str())
    }

    /// What stands beside a release; None: the other releases are not hidden. An error if `isolate`
    /// is true and they cannot be hidden.
    pub fn hidden<'a>(&self, beside: &'a Beside) -> Result<Option<&'a Siblings>> {
        match (&self.isolate, beside) {
            (Isolate::Never, _) | (Isolate::WherePossible, Err(_)) => Ok(None),
            (_, Ok(siblings)) => Ok(Some(siblings)),
            (Isolate::Always(place), Err(Obstacle { why, help })) => Err(Error::config(format!(
                "{place}: isolate cannot hide the other releases: {why}"
            ))
            .hint(format!("{help}; or set isolate = false"))),
        }
    }

    /// Like [`Pinning::hidden`], but reads what stands beside the release first.
    pub fn siblings(&self, release: &Release) -> Result<Option<Siblings>> {
        if self.isolate == Isolate::Never {
            return Ok(None);
        }
        let beside = self.beside(release);
        self.hidden(&beside).map(Option::<&Siblings>::cloned)
    }
}

/// The keys, as they are written in one of the tables `[php]` and `[command]`.
pub(super) struct Raw {
    pub(super) table: &'static str,
    pub(super) at: Range<usize>,
    pub(super) symlink: String,
    pub(super) current_dir: String,
    pub(super) isolate: Option<Spanned<bool>>,
}

impl Raw {
    /// None: releases are not pinned.
    pub(super) fn check(self, file: &File<'_>, root: &Root) -> Result<Option<Pinning>> {
        if self.symlink.is_empty() {
            return match self.isolate.filter(|isolate| *isolate.get_ref()) {
                None => Ok(None),
                Some(isolate) => Err(file
                    .error(&isolate.span(), "isolate has no effect: releases are not pinned")
                    .hint("set current_release_symlink and current_dir too, or leave it out")),
            };
        }
        if self.current_dir.is_empty() {
            let message =
                format!("[{}] has current_release_symlink but no current_dir", self.table);
            return Err(file
                .error(&self.at, &message)
                .hint("current_dir names the empty directory on which the release is mounted"));
        }
        Ok(Some(Pinning {
            symlink: root.resolve(&self.symlink),
            current_dir: root.resolve(&self.current_dir),
            isolate: match self.isolate {
                None => Isolate::WherePossible,
                Some(isolate) if *isolate.get_ref() => Isolate::Always(file.place(&isolate.span())),
                Some(_) => Isolate::Never,
            },
        }))
    }
}
