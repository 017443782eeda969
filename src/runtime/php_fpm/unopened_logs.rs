//! Keeps `php-fpm -tt` from opening its logs.
//!
//! `-tt` opens the error log, the access log and the slow log as a start does. So it would create
//! them, write to the error log, and stop at the first one that it cannot open, before it prints
//! its settings. A filter of system calls (seccomp) makes each open(2) that appends and creates
//! return descriptor 0, which is `/dev/null` here. Nothing is opened, and php-fpm prints the paths. No
//! socket for syslog is made either.

use std::collections::BTreeMap;
use std::fs;
use std::sync::OnceLock;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// The flags of open(2) that are compared.
const COMPARED: i32 =
    libc::O_ACCMODE | libc::O_CREAT | libc::O_APPEND | libc::O_TRUNC | libc::O_EXCL;
/// Those with which php-fpm opens a log (php-src, `fpm_stdio.c`, `fpm_log.c`, `fpm_conf.c`).
const OF_A_LOG: i32 = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND;
/// The bits of a family of sockets.
const SOCKET_FAMILY: i32 = i32::MAX;
/// The type of a socket, without its flags.
const SOCKET_TYPE: i32 = 0xf;
/// The file that lists the actions that the kernel has for filters.
const ACTIONS: &str = "/proc/sys/kernel/seccomp/actions_avail";

/// The filter. None: this kernel has none.
pub(super) fn filter() -> Option<&'static BpfProgram> {
    static FILTER: OnceLock<Option<BpfProgram>> = OnceLock::new();
    FILTER.get_or_init(program).as_ref()
}

fn program() -> Option<BpfProgram> {
    let actions = fs::read_to_string(ACTIONS).ok()?;
    if !actions.split_ascii_whitespace().any(|action| action == "errno") {
        return None;
    }
    // The place of the flags among the arguments.
    let calls = [
        (libc::SYS_openat, 2),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, 1),
    ];
    let condition = |place, mask: i32, value: i32| {
        let compared = SeccompCmpOp::MaskedEq(mask.unsigned_abs().into());
        let value = value.unsigned_abs().into();
        SeccompCondition::new(place, SeccompCmpArgLen::Dword, compared, value).ok()
    };
    let rule = |(call, place): (i64, u8)| {
        let flags = condition(place, COMPARED, OF_A_LOG)?;
        Some((call, vec![SeccompRule::new(vec![flags]).ok()?]))
    };
    let mut rules: BTreeMap<i64, _> = calls.into_iter().map(rule).collect::<Option<_>>()?;
    let syslog = [(0, SOCKET_FAMILY, libc::AF_UNIX), (1, SOCKET_TYPE, libc::SOCK_DGRAM)];
    let syslog = syslog.into_iter().map(|(place, mask, value)| condition(place, mask, value));
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(syslog.collect::<Option<_>>()?).ok()?]);
    let arch = std::env::consts::ARCH.try_into().ok()?;
    // The error 0 is the return value 0.
    let (others, logs) = (SeccompAction::Allow, SeccompAction::Errno(0));
    SeccompFilter::new(rules, others, logs, arch).ok()?.try_into().ok()
}

/// Applies the filter to a child, after all that is registered so far. Its standard input has to be
/// `/dev/null`.
#[allow(unsafe_code)]
pub(super) fn open_none(child: &mut tokio::process::Command, filter: &'static BpfProgram) {
    // SAFETY: between fork and exec two system calls are made: no allocation, no lock.
    unsafe {
        child.pre_exec(move || {
            // A container may forbid it. Then php-fpm opens its logs.
            let _ = seccompiler::apply_filter(filter);
            Ok(())
        });
    }
}
