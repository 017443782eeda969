//! The part of `check` for a `[command]` pool.

use super::{Program, Resolved};
use crate::finding::{Checked, Finding, Topic, untrusted};
use crate::pool::{Command, Listen, Pool, Protocol};
use crate::release::Release;
use crate::runtime::{Inspected, Spec};
use crate::trust;

/// Resolves the configurations of all replicas, as for a start on `release`.
pub(in crate::runtime) fn inspect(
    pool: &Pool,
    command: &Command,
    release: Option<&Release>,
) -> Inspected {
    let (mut specs, mut account, mut findings) = (Vec::new(), None, Vec::<Finding>::new());
    for replica in pool.replicas() {
        match Resolved::read(pool, command, replica, release) {
            Ok(resolved) => {
                account.get_or_insert_with(|| resolved.account().clone());
                specs.push((replica, Spec::Command(resolved)));
            }
            Err(error) => findings.push(error.into()),
        }
    }
    let program = Program::of(pool, command);
    let outside = program.path.as_ref().filter(|_| !program.is_of_release);
    let path = outside.and_then(|path| trust::program(&pool.root, &path.to_string_lossy()));
    findings.extend(untrusted(path));
    findings.extend(scripts_of_http(pool, command));
    let shown = program.path.map_or(program.name, |path| path.display().to_string());
    let notes = [shown, protocol(command).to_owned(), listen(command)];
    Inspected { specs, account, checked: Checked::new(Topic::Server, notes, findings) }
}

fn protocol(command: &Command) -> &'static str {
    match command.protocol {
        Protocol::Fastcgi => "FastCGI",
        Protocol::Http => "HTTP",
    }
}

fn listen(command: &Command) -> String {
    let how = match command.listen {
        Listen::Fd0 => "on descriptor 0",
        Listen::Fd3 => "on descriptor 3",
        Listen::Socket => "on its own socket",
        Listen::Port => "on its own port",
    };
    match command.processes {
        1 => how.to_owned(),
        several => format!("{several} processes, each {how}"),
    }
}

/// A setting of `[gateway]` that names scripts has no meaning for an HTTP server.
fn scripts_of_http(pool: &Pool, command: &Command) -> Option<Finding> {
    let gateway = pool.settings.backend.gateway()?;
    let has_scripts = !gateway.scripts.get_ref().is_empty();
    (command.protocol == Protocol::Http && has_scripts).then(|| {
        Finding::warning(
            "scripts in [gateway] has no effect: the server speaks HTTP",
            "remove it: the server itself decides what it runs",
        )
    })
}
