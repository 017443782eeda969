//! Why `serve` refuses to start its gateway. `check` reports these errors too, so nothing is created here.

use std::collections::BTreeSet;

use rustix::fs::{Access, access};

use super::access::AccessRules;
use super::access_log::AccessLog;
use super::configuration::{OTHER_HOSTS, nothing_to_serve};
use super::{host_map, identity, listen, tls};
use crate::config::Global;
use crate::control::Gateway;
use crate::error::Result;
use crate::finding::Finding;
use crate::pool::{self, Pool};
use crate::root::Root;

/// All pools of a root, as far as they can be read.
type Pools = Vec<Result<Pool>>;

/// Whether `serve` runs a gateway. It does in two cases:
///
/// - A pool has a `[gateway]`. It is then an error if no address is configured.
/// - An address is configured, and `serve` has nothing else to do or cannot read a pool.
pub fn is_wanted(root: &Root, global: &Global) -> bool {
    is_wanted_by(&pools(root), global)
}

fn is_wanted_by(pools: &Pools, global: &Global) -> bool {
    let is_served = |pool: &Pool| pool.settings.backend.gateway().is_some();
    let is_unknown = pools.iter().any(Result::is_err) || !global.supervisor.enabled;
    pools.iter().flatten().any(is_served)
        || (is_unknown && global.front.all_listen().next().is_some())
}

fn pools(root: &Root) -> Pools {
    let names = pool::names(root).unwrap_or_default();
    names.iter().map(|name| pool::load(root, name)).collect()
}

/// The errors and warnings about a gateway with these settings. `running`: the gateway that runs on this
/// root. The sockets that it has do not count as taken. Reads files, and blocks.
pub fn findings(root: &Root, global: &Global, running: &Gateway) -> Vec<Finding> {
    let pools = pools(root);
    if !is_wanted_by(&pools, global) {
        let has_nothing_to_do = !global.supervisor.enabled;
        return Vec::from_iter(
            global.listens().err().filter(|_| has_nothing_to_do).map(Finding::from),
        );
    }
    let mut findings: Vec<Finding> = Vec::new();
    findings.extend(global.listens().err().map(Finding::from));
    let is_served = |pool: &&Pool| pool.settings.backend.gateway().is_some();
    let served: Vec<&Pool> = pools.iter().flatten().filter(is_served).collect();
    // An error of a pool is reported with the pool.
    if served.is_empty() && pools.iter().all(Result::is_ok) {
        findings.push(nothing_to_serve().into());
    }
    findings.extend(identity::findings(root, global, running, &served));
    findings.extend(AccessLog::refusal(root, global).map(Finding::from));
    findings.extend(unavailable(global, running));
    findings.extend(served.iter().filter_map(|pool| AccessRules::refusal(pool)).map(Finding::from));
    findings.extend(conflicts(&served));
    findings.extend(tls::findings(global));
    findings.extend(no_temp_dir(global));
    findings
}

/// The errors for sockets on which the gateway cannot listen.
fn unavailable(global: &Global, running: &Gateway) -> Vec<Finding> {
    let (control, own): (_, BTreeSet<&str>) = match running {
        Gateway::Absent => (listen::control_refusal(&global.control), BTreeSet::new()),
        Gateway::Runs(settings) => (None, settings.listen.iter().map(String::as_str).collect()),
        // The addresses of the running gateway are not known.
        Gateway::Silent => return Vec::new(),
    };
    let all = global.front.all_listen().map(|(listen, _)| listen);
    let others = all.filter(|it| !own.contains(it.to_string().as_str()));
    let others = others.filter_map(|it| listen::refusal(it, global));
    control.into_iter().chain(others).map(Finding::from).collect()
}

fn conflicts(served: &[&Pool]) -> Vec<Finding> {
    let hosts = |pool: &&Pool| pool.settings.backend.gateway().map(|it| it.hosts.get_ref().clone());
    let hosts: Vec<Vec<String>> = served.iter().filter_map(hosts).collect();
    let names = served.iter().map(|pool| pool.name.as_str());
    let pools: Vec<(&str, &[String])> = names.zip(hosts.iter().map(Vec::as_slice)).collect();
    let conflicts = host_map::conflicts(&pools).into_iter();
    conflicts.map(|conflict| Finding::error(conflict, OTHER_HOSTS)).collect()
}

/// Large bodies and responses need the directory. The gateway starts without it.
fn no_temp_dir(global: &Global) -> Option<Finding> {
    let dir = &global.front.temp_dir;
    let error = access(dir.join("."), Access::WRITE_OK | Access::EXEC_OK).err()?;
    Some(Finding::warning(
        format!(
            "cannot create files in {} (temp_dir): {error}: large uploads get 503",
            dir.display()
        ),
        format!(
            "make it (mkdir) and give it to you (chown), or change temp_dir in {}",
            global.path.display()
        ),
    ))
}
