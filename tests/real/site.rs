//! A site of a test's own: the sample configuration in a temporary root, with its own Apache.

mod apache;
mod by_hand;
mod disk;
mod files;
mod front;
mod hold;
mod http;
pub(crate) mod installed;
mod kernel;
mod layout;
mod load;
mod order;
mod owner;
mod points;
mod processes;
mod program;
mod ran;
mod refusal;
mod rollouts;
mod status;
mod victim;
mod visitors;
mod wrapped;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) use disk::Disk;
pub(crate) use files::Files;
pub(crate) use front::{Front, Mode};
pub(crate) use hold::{Gate, Held};
pub(crate) use http::{Answer, Client};
pub(crate) use installed::php_fpm;
pub(crate) use load::Load;
pub(crate) use processes::Process;
pub(crate) use program::Program;
pub(crate) use ran::Ran;
pub(crate) use victim::Victim;

use apache::Apache;
use owner::Owner;

const POOLS_MANAGER: &str = env!("CARGO_BIN_EXE_pools-manager");

/// Far beyond what anything takes, also on a machine that is busy: it is there so that a hang
/// fails.
const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);

/// A root with `etc/ www/ pid/ sockets/`, and Apache in front of it. php-fpm is started by the
/// test, with [`Site::run`]. When it is dropped, every process that belongs to it is ended.
pub(crate) struct Site {
    root: TempDir,
    /// None: whoever runs the tests.
    owner: Option<Owner>,
    apache: Option<Apache>,
}

impl Site {
    /// The repository's sample as it is, except for the port.
    pub(crate) fn new() -> Self {
        Self::prepared().serve()
    }

    /// The repository's sample, whose files can be changed before Apache reads them.
    pub(crate) fn prepared() -> Self {
        Self::prepared_in("pm-")
    }

    /// The same, in a directory whose name begins so.
    pub(crate) fn prepared_in(name: &str) -> Self {
        php_fpm();
        Self { root: layout::copy_of_sample(name), owner: None, apache: None }
    }

    /// Starts Apache, and puts its port where the sample says 82.
    pub(crate) fn serve(mut self) -> Self {
        while self.apache.is_none() {
            self.apache = Apache::start(&self, apache::free_port());
        }
        layout::set_port(self.root(), self.port());
        self
    }

    /// The directory that holds all of it.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// The path of something below the root.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root().join(below)
    }

    /// Reads a file.
    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    /// Writes a file, and the directories that it needs.
    pub(crate) fn write(&self, file: &str, text: &str) {
        layout::write(&self.path(file), text);
    }

    /// Replaces `from`, which must be there, in a file.
    pub(crate) fn replace(&self, file: &str, from: &str, to: &str) {
        layout::replace(&self.path(file), from, to);
    }

    /// Apache's port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.apache.as_ref().unwrap().port()
    }

    /// Runs `pools-manager` in the root, and waits for it.
    #[must_use]
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.spawn(args).finish()
    }

    /// Runs `pools-manager` in the root, and lets it work.
    #[must_use]
    pub(crate) fn spawn(&self, args: &[&str]) -> Program {
        Program::start(&mut self.manager(args))
    }

    /// Runs `pools-manager`, after something about that has been changed.
    #[must_use]
    pub(crate) fn run_with(&self, args: &[&str], change: impl FnOnce(&mut Command)) -> Ran {
        let mut manager = self.manager(args);
        change(&mut manager);
        Program::start(&mut manager).finish()
    }

    /// `pools-manager`, to be run in the root.
    pub(crate) fn manager(&self, args: &[&str]) -> Command {
        let mut manager = self.command(self.pools_manager());
        manager.args(args);
        manager
    }

    /// Runs `pools-manager` in the root as sudo does for this user.
    #[must_use]
    pub(crate) fn spawn_as(&self, user: &str, args: &[&str]) -> Program {
        Program::start(self.command(self.pools_manager()).env("SUDO_USER", user).args(args))
    }

    /// A program that works in the root, run by its owner.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(self.root()).env_remove("POOLS_MANAGER_ROOT");
        command.env_remove("SUDO_USER");
        if let Some(owner) = &self.owner {
            owner.runs(&mut command);
        }
        command
    }

    /// Asks Apache for a page, once.
    pub(crate) fn get(&self, page: &str) -> Answer {
        self.client().get(page)
    }

    /// Somebody who asks Apache for pages, from another thread perhaps.
    pub(crate) fn client(&self) -> Client {
        Client::to(self.port())
    }

    /// Puts a page of the tests into both releases.
    pub(crate) fn add_page(&self, name: &str, text: &str) {
        for release in ["release1", "release2"] {
            self.write(&format!("www/{release}/{name}"), text);
        }
    }

    /// Adds lines to the section `[rollout]` of the pool "www", which the sample does not have.
    pub(crate) fn add_rollout(&self, lines: &str) {
        let file = "etc/php/fpm/redundant-pools/www/pools-manager.toml";
        let text = self.read(file);
        let section = if text.contains("\n[rollout]") { "" } else { "\n[rollout]\n" };
        self.write(file, &format!("{text}{section}{lines}\n"));
    }

    /// Moves `www/current.release` to another release, as a deploy does.
    pub(crate) fn switch(&self, release: impl AsRef<Path>) {
        self.point("www/current.release", release);
    }

    /// Makes a symlink lead to its new target, in one step.
    pub(crate) fn point(&self, link: &str, target: impl AsRef<Path>) {
        let next = self.path("next");
        symlink(target, &next).unwrap();
        fs::rename(next, self.path(link)).unwrap();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if thread::panicking() {
            layout::show_logs(self.root());
        }
        drop(self.apache.take());
        let left = processes::end_all(self.root());
        assert!(left.is_empty() || thread::panicking(), "processes that do not end: {left:?}");
    }
}

/// Looks every few milliseconds until `look` finds what it looks for.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {DEADLINE:?} for {what}");
        thread::sleep(POLL);
    }
}
