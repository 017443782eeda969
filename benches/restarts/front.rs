//! The web servers in front of two replicas with eight children each, and the ways to restart these.
//! Each web server has what `pools-manager snippet` prints for the pool.

use std::path::Path;

use harness::served::{Served, fix_children};
use harness::{Client, HAPROXY, Site, php_fpm, server, wait_for};

use crate::machine;
use crate::reload::{self, Plain};

const CHILDREN: u32 = 8;

/// A web server that runs.
pub(crate) struct Front {
    pub(crate) name: &'static str,
    pub(crate) client: Client,
    pub(crate) behind: Behind,
    pub(crate) changes: Vec<Change>,
}

/// What it belongs to.
pub(crate) enum Behind {
    Site(Site),
    Gateway(Served),
    Plain(Plain),
}

/// A way to restart what is behind it.
pub(crate) struct Change {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Behind),
}

const ROLLING: Change = Change { name: "rolling", run: |behind| switch(behind, "rolling") };
const SWAP: Change = Change { name: "swap", run: |behind| switch(behind, "swap") };
const RELOAD: Change = Change {
    name: "`php-fpm` reload (USR2)",
    run: |behind| match behind {
        Behind::Plain(plain) => plain.reload(),
        _ => unreachable!("only a php-fpm of its own is reloaded"),
    },
};

/// Starts them, one after the other.
pub(crate) const ALL: &[fn() -> Front] = &[
    || {
        // With [apache], which the sample has.
        let site = prepared().serve_snippet("apache");
        Front::of("Apache, balancer-manager", started(site), vec![ROLLING, SWAP])
    },
    || Front::of("Apache, by path", behind("apache", ""), vec![SWAP]),
    || Front::of("HAProxy", behind("haproxy", HAPROXY), vec![ROLLING, SWAP]),
    || Front::of("nginx", behind("nginx", ""), vec![SWAP]),
    || Front::of("Caddy", behind("caddy", ""), vec![SWAP]),
    || {
        let served = Served::with_children(CHILDREN, "", "");
        let client = Client::to(served.port());
        let (behind, changes) = (Behind::Gateway(served), vec![ROLLING, SWAP]);
        Front { name: "gateway", client, behind, changes }
    },
    || {
        let plain = reload::start(prepared());
        let (client, behind) = (plain.site.client(), Behind::Plain(plain));
        Front { name: "nginx", client, behind, changes: vec![RELOAD] }
    },
];

pub(crate) fn show_machine() {
    let [apache, haproxy, nginx, caddy] = ["apache2", "haproxy", "nginx", "caddy"].map(server);
    let programs: [(&Path, &str); 5] = [
        (&php_fpm(), "-v"),
        (&apache, "-v"),
        (&haproxy, "-v"),
        (&nginx, "-v"),
        (&caddy, "version"),
    ];
    machine::show(&programs);
}

impl Front {
    fn of(name: &'static str, site: Site, changes: Vec<Change>) -> Self {
        Self { name, client: site.client(), behind: Behind::Site(site), changes }
    }
}

fn prepared() -> Site {
    let site = Site::prepared();
    fix_children(&site, CHILDREN);
    site
}

fn behind(kind: &'static str, backend: &str) -> Site {
    let site = prepared();
    site.set_backend(backend);
    started(site.serve_snippet(kind))
}

fn started(site: Site) -> Site {
    site.run(&["start"]).succeeds();
    await_answer(site.client());
    site
}

/// HAProxy has to find its servers first.
pub(crate) fn await_answer(client: Client) {
    wait_for("an answer", || {
        client.ask("GET", "/ping.php", "", "").is_ok_and(|it| it.status == 200).then_some(())
    });
}

/// Takes the pool to the other release.
fn switch(behind: &Behind, strategy: &str) {
    let site = match behind {
        Behind::Site(site) => site,
        Behind::Gateway(served) => &served.site,
        Behind::Plain(_) => unreachable!("it has no pool"),
    };
    let is_first = site.read("www/current.release/release.txt").trim() == "1";
    let release = if is_first { "release2" } else { "release1" };
    let manager = site.manager(&["switch", "www", release, "--strategy", strategy]);
    // In a session of its own, like that of an operator: the scheduler gives each session the same
    // share (sched_autogroup), and this one has the load.
    let mut apart = site.command("setsid");
    apart.arg("-w").arg(manager.get_program()).args(manager.get_args());
    // By itself: the harness would look for its end each 20 ms.
    let ran = apart.output().unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(ran.status.success() && !said.contains("Warning"), "{said}");
}
