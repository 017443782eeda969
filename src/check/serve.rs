//! Checks `etc/pools-manager.toml`: whether `serve` would accept the file, and whether the running `serve`
//! has read it.

use tokio::task::spawn_blocking;

use crate::config::Global;
use crate::control::{Gateway, SettingsState};
use crate::finding::{Checked, Finding, Topic};
use crate::gateway;
use crate::lock::{self, Holder};
use crate::log;
use crate::root::Root;

/// Checks what `serve` needs. If its gateway or its log cannot start, `serve` does not start at all.
pub(super) async fn check(root: &Root) -> Checked {
    let global = match Global::read(root) {
        Ok(global) => global,
        Err(error) => return Checked::new(Topic::Serve, [], [error.into()]),
    };
    let gateway = Gateway::ask(&global.control).await;
    let running = gateway.settings();
    let supervisor = lock::holder(&root.supervisor_lock());
    let notes = [note(running, supervisor.as_ref())];
    let log = log::refusal(&global.log.output(root)).map(Finding::from);
    let mut findings: Vec<Finding> = log.into_iter().collect();
    findings.extend(changed(root, &global, running, supervisor.as_ref()));
    let root = root.clone();
    let of_gateway = spawn_blocking(move || gateway::findings(&root, &global, &gateway)).await;
    findings.extend(of_gateway.unwrap_or_default());
    Checked::new(Topic::Serve, notes, findings)
}

fn note(running: Option<&SettingsState>, supervisor: Option<&Holder>) -> String {
    let pid = running.map(|it| it.pid).or(supervisor.map(|it| it.pid));
    let Some(pid) = pid else { return "does not run".to_owned() };
    match running.and_then(|it| it.user.as_ref()) {
        Some(user) => format!("pid {pid}, the user {user} talks to clients"),
        None => format!("pid {pid}"),
    }
}

/// Finds settings that `serve` has not read yet, or that it reads only at its start.
fn changed(
    root: &Root,
    global: &Global,
    running: Option<&SettingsState>,
    supervisor: Option<&Holder>,
) -> Vec<Finding> {
    let file = global.path.display();
    let is_unread = match running {
        Some(running) => running.stamp != global.stamp,
        None => supervisor.is_some() && global.stamp.is_after_touch_of(&root.supervisor_lock()),
    };
    let pid = running.map(|it| it.pid).or(supervisor.map(|it| it.pid));
    let mut findings = Vec::new();
    if let Some(pid) = pid.filter(|_| is_unread) {
        findings.push(unread(&file.to_string(), pid));
    }
    let keys = running.into_iter().flat_map(|it| &it.restart_keys);
    findings.extend(keys.map(|key| {
        Finding::warning(
            format!("{key} in {file} has changed since the start of serve"),
            "run pools-manager serve --upgrade: serve reads this key only at its start",
        )
    }));
    findings
}

/// The finding for a file that has changed since `serve` has read it.
pub(super) fn unread(file: &str, pid: u32) -> Finding {
    Finding::warning(
        format!("{file} has changed since serve (pid {pid}) has read it"),
        format!("send serve a HUP: kill -HUP {pid}"),
    )
}
