//! System calls that a child never makes, and that would help an attacker who takes the child over. They
//! execute programs, look into other processes, or reach parts of the kernel in which faults are often
//! found. A filter (seccomp) makes these calls fail with `EPERM`.

use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

const DENIED: [i64; 26] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_personality,
];

/// Denies these system calls to the calling thread, and to all threads that it starts. Needs
/// `NoNewPrivs`. Error: the kernel or the container has no such filters.
pub(crate) fn deny() -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let arch = std::env::consts::ARCH.try_into();
    let arch = arch.map_err(|error: seccompiler::BackendError| failed(&error))?;
    let rules = DENIED.into_iter().map(|call| (call, Vec::new())).collect();
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, arch);
    let program: Result<BpfProgram, _> = filter.and_then(TryInto::try_into);
    let program = program.map_err(|error| failed(&error))?;
    seccompiler::apply_filter(&program).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;
    use std::thread;

    #[test]
    fn denied_thread_executes_nothing_and_others_do() {
        // The filter and the flag apply to one thread only.
        let denied = thread::spawn(|| {
            rustix::thread::set_no_new_privs(true).unwrap();
            deny().unwrap();
            // What the gateway does still works.
            assert!(fs::read_to_string("/proc/self/status").is_ok());
            assert!(thread::spawn(|| 7).join().is_ok());
            Command::new("/bin/true").status().map_err(|error| error.kind())
        });
        let denied = denied.join().unwrap();
        assert_eq!(denied.unwrap_err(), std::io::ErrorKind::PermissionDenied);
        assert!(Command::new("/bin/true").status().unwrap().success());
    }
}
