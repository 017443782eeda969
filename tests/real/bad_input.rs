//! Mistakes of an operator: each is an error with a remedy and exit status 2. The command changes
//! nothing, and the running site continues to serve.

mod arguments;
mod balancer;
mod directories;
mod names;
mod output;
mod php_fpm;
mod pid_files;
mod pools;
mod release;
mod roots;
mod settings;

use harness::Site;

/// The directory of the pool "www".
const POOL: &str = "etc/php/fpm/redundant-pools/www";
const SETTINGS: &str = "etc/php/fpm/redundant-pools/www/pools-manager.toml";
const POOL_CONF: &str = "etc/php/fpm/redundant-pools/www/pool.conf";

/// A site that serves release 1.
fn running() -> Site {
    let site = Site::new();
    site.run(&["start"]).succeeds();
    site
}

/// `error: WHAT`, and what to do about it.
fn error(what: &str, help: &str) -> String {
    format!("error: {what}\n  help: {help}\n")
}
