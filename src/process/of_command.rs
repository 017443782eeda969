//! The processes of `[command]` pools. Their masters run this program. The other processes are
//! recognized by their environment.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Process, all_pids, unless_gone};

/// The first argument of the master of a `[command]` pool's generation, after the program.
pub const MASTER: &str = "replica-master";
/// The option that names the master's file, in the next argument.
pub const RECORD: &str = "--record";
/// The variable that the processes of such a generation have, with the path of its private socket.
pub const SOCKET_VARIABLE: &str = "POOLS_MANAGER_SOCKET";

impl Process {
    /// Whether its arguments are those of the master of a `[command]` pool's generation.
    pub fn is_command_master(&self) -> io::Result<bool> {
        let title = self.title()?;
        let mut words = title.split(|byte| *byte == 0).skip(1);
        Ok(words.next() == Some(MASTER.as_bytes()) && words.next() == Some(RECORD.as_bytes()))
    }

    /// Whether its environment names this socket as that of its generation.
    pub(super) fn belongs_to(&self, socket: &Path) -> io::Result<bool> {
        let environment = unless_gone(fs::read(format!("/proc/{}/environ", self.pid)))?;
        let wanted = [SOCKET_VARIABLE.as_bytes(), b"=", socket.as_os_str().as_bytes()].concat();
        let environment = environment.unwrap_or_default();
        Ok(environment.split(|byte| *byte == 0).any(|it| it == wanted))
    }
}

/// The processes of a `[command]` pool's generation, by their environment. Scans all processes.
/// `socket`: the private socket of the generation.
pub fn belonging_to(socket: &Path) -> io::Result<Vec<Process>> {
    let mut found = Vec::new();
    for pid in all_pids()? {
        if let Some(process) = unless_gone(Process::open(pid))?
            && process.belongs_to(socket)?
            && process.is_alive()
        {
            found.push(process);
        }
    }
    Ok(found)
}
