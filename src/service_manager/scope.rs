//! Scopes of systemd (`systemd.scope(5)`): a process in a scope of its own ends neither with the
//! session nor with the service that has started it, and has limits of its own.
//!
//! `busctl`, a part of systemd, makes the call `StartTransientUnit` (`org.freedesktop.systemd1(5)`).

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::{User, geteuid};

use crate::config;

/// How long systemd may take for a scope.
const DEADLINE: Duration = Duration::from_secs(5);
/// Between two looks at whether the process is in its scope.
const POLL: Duration = Duration::from_millis(2);
/// The most bytes of a pool's name in that of a scope: the name of a unit has 255 at most.
const POOL_MAX: usize = 120;

/// The systemd that makes scopes for this user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Systemd {
    /// That of the system: for root.
    System,
    /// That of an ordinary user, with its run-time directory.
    User(PathBuf),
}

/// Whether systemd is this machine's pid 1, as `sd_booted(3)` tells it.
pub fn is_booted() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

impl Systemd {
    /// None: systemd does not run, or this user has no systemd that outlives the user's sessions. Without
    /// lingering (`loginctl(1)`), the systemd of a user ends with the last session.
    pub fn find() -> Option<Self> {
        if !is_booted() {
            return None;
        }
        let uid = geteuid();
        if uid.is_root() {
            return Some(Self::System);
        }
        let name = User::from_uid(uid).ok()??.name;
        let lingers = Path::new("/var/lib/systemd/linger").join(name).exists();
        let dir = PathBuf::from(format!("/run/user/{uid}"));
        (lingers && dir.join("bus").exists()).then_some(Self::User(dir))
    }

    /// Puts a process into a new scope. Blocks until the process is in it, for 5 s at most.
    pub fn start(&self, scope: &Scope, pid: i32) -> io::Result<()> {
        let deadline = Instant::now() + DEADLINE;
        let name = scope.unit(pid);
        let mut call = Command::new("busctl");
        match self {
            Self::System => call.arg("--system"),
            Self::User(dir) => call
                .arg("--user")
                .env("XDG_RUNTIME_DIR", dir)
                .env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}/bus", dir.display())),
        };
        call.arg(format!("--timeout={}", DEADLINE.as_secs()))
            .args(["call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1"])
            .args(["org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))"])
            .args([&name, "fail"])
            .args(scope.properties(pid))
            .arg("0")
            .stdin(Stdio::null());
        let ran = call.output().map_err(|error| io::Error::other(format!("busctl: {error}")))?;
        if !ran.status.success() {
            let said = String::from_utf8_lossy(&ran.stderr);
            return Err(io::Error::other(said.trim().replace('\n', " ")));
        }
        // The call has only begun a job of systemd: wait for its result.
        let groups = format!("/proc/{pid}/cgroup");
        while !std::fs::read_to_string(&groups)?.contains(&name) {
            if Instant::now() > deadline {
                return Err(io::Error::other("systemd has not moved the process in time"));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

/// A scope to make.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The pool of the generation.
    pub pool: String,
    /// Its replica.
    pub replica: u32,
    /// Its number.
    pub generation: String,
    /// Slice and limits.
    pub settings: config::Systemd,
    /// A service that ends before the scope at a shutdown of the machine.
    pub before: Option<String>,
    /// The signal with which systemd ends the processes at a shutdown.
    pub stop_signal: i32,
    /// How long they may take then.
    pub stop_timeout: Duration,
}

/// The beginning of the names of all scopes.
const PREFIX: &str = "pools-manager-";

/// Whether this is the name of a scope of a generation.
pub fn is_scope(unit: &str) -> bool {
    unit.strip_prefix(PREFIX).is_some_and(|rest| rest.strip_suffix(".scope").is_some())
}

impl Scope {
    /// The name of the unit. The pid makes it another name than that of each earlier scope, also of other roots.
    fn unit(&self, pid: i32) -> String {
        let Self { replica, generation, .. } = self;
        format!("{PREFIX}{}-{replica}-g{generation}-{pid}.scope", escaped(&self.pool))
    }

    /// The arguments of `busctl` for the properties of the scope: their number, and a name, a signature and
    /// a value of each.
    fn properties(&self, pid: i32) -> Vec<String> {
        let Self { pool, replica, generation, settings, .. } = self;
        let text = |value: &str| vec!["s".to_owned(), value.to_owned()];
        let number = |value: u64| vec!["t".to_owned(), value.to_string()];
        let microseconds = u64::try_from(self.stop_timeout.as_micros()).unwrap_or(u64::MAX);
        let description = format!("Replica {replica} of the pool {pool}, generation {generation}");
        let mut properties = vec![
            ("Description", text(&description)),
            ("Slice", text(&settings.slice)),
            ("CollectMode", text("inactive-or-failed")),
            ("PIDs", vec!["au".to_owned(), "1".to_owned(), pid.to_string()]),
            ("KillSignal", vec!["i".to_owned(), self.stop_signal.to_string()]),
            ("TimeoutStopUSec", number(microseconds)),
        ];
        let before = self.before.iter();
        properties
            .extend(before.map(|it| ("Before", vec!["as".to_owned(), "1".to_owned(), it.clone()])));
        properties.extend(settings.memory_max.map(|it| ("MemoryMax", number(it))));
        properties.extend(settings.tasks_max.map(|it| ("TasksMax", number(it))));
        // Microseconds of each second.
        let quota = settings.cpu_quota.map(|it| u64::from(it) * 10_000);
        properties.extend(quota.map(|it| ("CPUQuotaPerSecUSec", number(it))));
        let mut arguments = vec![properties.len().to_string()];
        for (name, value) in properties {
            arguments.push(name.to_owned());
            arguments.extend(value);
        }
        arguments
    }
}

/// A part of a unit's name (`systemd-escape(1)`), cut to a length that leaves room for the rest.
fn escaped(name: &str) -> String {
    let mut escaped = String::new();
    for byte in name.bytes() {
        if escaped.len() > POOL_MAX {
            break;
        }
        if byte.is_ascii_alphanumeric() || b":_.-".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "\\x{byte:02x}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(pool: &str) -> Scope {
        Scope {
            pool: pool.to_owned(),
            replica: 2,
            generation: "7".to_owned(),
            settings: config::Systemd { cpu_quota: Some(50), ..config::Systemd::default() },
            before: None,
            stop_signal: 3,
            stop_timeout: Duration::from_secs(60),
        }
    }

    #[test]
    fn name_has_only_characters_of_units() {
        assert_eq!(scope("www").unit(12), "pools-manager-www-2-g7-12.scope");
        assert_eq!(scope("a b/ä").unit(1), r"pools-manager-a\x20b\x2f\xc3\xa4-2-g7-1.scope");
        let long = scope(&"ä".repeat(120)).unit(i32::MAX);
        assert!(long.len() < 255 && is_scope(&long), "{long}");
        assert!(!is_scope("pools-manager.service") && !is_scope("session-2.scope"));
    }

    #[test]
    fn limits_are_properties() {
        let arguments = scope("www").properties(12).join(" ");
        assert!(arguments.starts_with("7 Description s Replica 2"), "{arguments}");
        assert!(arguments.ends_with("CPUQuotaPerSecUSec t 500000"), "{arguments}");
        assert!(arguments.contains(" PIDs au 1 12 ") && !arguments.contains("MemoryMax"));
    }
}
