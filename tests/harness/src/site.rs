//! One test's site: the sample configuration in a temporary root, with its own Apache.

mod apache;
mod by_hand;
mod disk;
mod files;
mod front;
mod haproxy;
mod hold;
mod http;
mod installed;
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
mod samples;
mod status;
mod victim;
mod visitors;
mod web_server;
mod wrapped;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use tempfile::TempDir;

pub use disk::Disk;
pub use files::Files;
pub use front::{Front, Mode};
pub use hold::{Gate, Held};
pub use http::{Answer, Client};
pub use installed::{php_fpm, server};
pub use load::Load;
pub use processes::Process;
pub use program::Program;
pub use ran::Ran;
pub use samples::HAPROXY;
pub use victim::Victim;
pub use visitors::Visitors;

use crate::wait::{DEADLINE, POLL};
use crate::{program_path, wait_for};
use apache::Apache;
use owner::Owner;
use web_server::WebServer;

/// A root with `etc/ www/ pid/ sockets/`, and Apache in front of it. The test starts php-fpm, with
/// [`Site::run`]. When the site is dropped, every process of the site is ended.
pub struct Site {
    root: TempDir,
    /// None: the user who runs the tests.
    owner: Option<Owner>,
    apache: Option<Apache>,
    /// Another web server in place of Apache.
    web_server: Option<WebServer>,
}

impl Site {
    /// The repository's sample as it is, except for the port.
    pub fn new() -> Self {
        Self::prepared().serve()
    }

    /// The repository's sample, whose files can be changed before Apache reads them.
    pub fn prepared() -> Self {
        Self::prepared_in("pm-")
    }

    /// The same, in a directory whose name begins with `name`.
    pub fn prepared_in(name: &str) -> Self {
        php_fpm();
        let root = layout::copy_of_sample(name);
        Self { root, owner: None, apache: None, web_server: None }
    }

    /// Starts Apache, and puts its port where the sample says 82.
    pub fn serve(mut self) -> Self {
        while self.apache.is_none() {
            self.apache = Apache::start(&self, apache::free_port());
        }
        layout::set_port(self.root(), self.port());
        self
    }

    /// The root directory.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The path of something below the root.
    pub fn path(&self, below: &str) -> PathBuf {
        self.root().join(below)
    }

    /// Reads a file.
    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    /// Writes a file, and the directories that it needs.
    pub fn write(&self, file: &str, text: &str) {
        layout::write(&self.path(file), text);
    }

    /// Replaces `from`, which must be there, in a file.
    pub fn replace(&self, file: &str, from: &str, to: &str) {
        layout::replace(&self.path(file), from, to);
    }

    /// The port of Apache, or of the web server in its place, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.apache.as_ref().map_or_else(|| self.web_server().port(), Apache::port)
    }

    /// Runs `pools-manager` in the root, and waits for it.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Ran {
        self.spawn(args).finish()
    }

    /// Runs `pools-manager` in the root, and lets it work.
    #[must_use]
    pub fn spawn(&self, args: &[&str]) -> Program {
        Program::start(&mut self.manager(args))
    }

    /// Runs `pools-manager` in the root, after `change` has changed the command.
    #[must_use]
    pub fn run_with(&self, args: &[&str], change: impl FnOnce(&mut Command)) -> Ran {
        let mut manager = self.manager(args);
        change(&mut manager);
        Program::start(&mut manager).finish()
    }

    /// `pools-manager`, to be run in the root.
    pub fn manager(&self, args: &[&str]) -> Command {
        let mut manager = self.command(self.pools_manager());
        manager.args(args);
        manager
    }

    /// Runs `pools-manager` in the root as sudo does for this user.
    #[must_use]
    pub fn spawn_as(&self, user: &str, args: &[&str]) -> Program {
        Program::start(self.command(self.pools_manager()).env("SUDO_USER", user).args(args))
    }

    /// Has PHP load all installed modules from now on, not only those that the tests' pages need.
    pub fn load_all_php_modules(&self) {
        fs::remove_dir_all(self.path(layout::MODULES)).unwrap();
    }

    /// A program that works in the root, run by its owner.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(self.root()).env_remove("POOLS_MANAGER_ROOT");
        // The programs must not get the variables for users and colours from the environment of the tests.
        for name in ["SUDO_USER", "CI", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        let modules = self.path(layout::MODULES);
        if modules.exists() {
            command.env("PHP_INI_SCAN_DIR", modules);
        }
        if let Some(owner) = &self.owner {
            owner.runs(&mut command);
        }
        command
    }

    /// Asks Apache for a page, once.
    pub fn get(&self, page: &str) -> Answer {
        self.client().get(page)
    }

    /// A client of Apache, which another thread can use.
    pub fn client(&self) -> Client {
        Client::to(self.port())
    }

    /// Puts a page of the tests into both releases.
    pub fn add_page(&self, name: &str, text: &str) {
        for release in ["release1", "release2"] {
            self.write(&format!("www/{release}/{name}"), text);
        }
    }

    /// Adds lines to `[rollout]` of the pool "www". The sample does not have this table.
    pub fn add_rollout(&self, lines: &str) {
        let file = "etc/php/fpm/redundant-pools/www/pools-manager.toml";
        let text = self.read(file);
        let section = if text.contains("\n[rollout]") { "" } else { "\n[rollout]\n" };
        self.write(file, &format!("{text}{section}{lines}\n"));
    }

    /// Moves `www/current.release` to another release, as a deploy does.
    pub fn switch(&self, release: impl AsRef<Path>) {
        self.point("www/current.release", release);
    }

    /// Makes a symlink lead to its new target, in one step.
    pub fn point(&self, link: &str, target: impl AsRef<Path>) {
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
        drop(self.web_server.take());
        let left = processes::end_all(self.root());
        assert!(left.is_empty() || thread::panicking(), "processes that do not end: {left:?}");
    }
}
