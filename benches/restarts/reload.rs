//! php-fpm without pools-manager, behind nginx: one master with the same two pools.

use harness::{Program, Site, php_fpm, wait_for};
use rustix::process::Signal;

use crate::front::await_answer;

const LOG: &str = "pid/plain.log";

/// One php-fpm, and nginx.
pub(crate) struct Plain {
    pub(crate) site: Site,
    master: Program,
}

/// Starts both. The scripts come from the release itself, since nothing is mounted.
pub(crate) fn start(site: Site) -> Plain {
    site.set_backend("");
    let pools = "etc/php/fpm/redundant-pools/www";
    // process_control_timeout is that of the sample: without one, a reload cuts requests.
    let conf = format!(
        "include={pools}/php-fpm.conf\n[global]\nerror_log = {LOG}\n\
         [www1]\ninclude={pools}/pool.conf\n[www2]\ninclude={pools}/pool.conf\n"
    );
    site.write("plain.conf", &conf);
    let mut command = site.command(php_fpm());
    command.arg("-F").arg("-p").arg(site.root()).arg("--fpm-config").arg(site.path("plain.conf"));
    let master = Program::start(&mut command);
    let site = site.serve_changed_snippet("nginx", |text| {
        let (from, to) = ("/www/current;", "/www/release1;");
        assert!(text.contains(from), "{text}");
        text.replace(from, to)
    });
    await_answer(site.client());
    Plain { site, master }
}

impl Plain {
    /// Reloads php-fpm, and waits until it says that it accepts connections again.
    pub(crate) fn reload(&self) {
        let ready = || self.site.read(LOG).matches("ready to handle connections").count();
        let before = ready();
        self.master.signal(Signal::USR2);
        wait_for("the reload of php-fpm", || (ready() > before).then_some(()));
    }
}
