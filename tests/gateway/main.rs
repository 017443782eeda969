//! The gateway with real php-fpm: `pools-manager serve` as users run it, over real sockets.
//!
//! Each test has its own [`served::Served`]: a site (the one of the tests in `tests/real`), and a gateway
//! on its own port. Tests run in parallel. They wait for events, never for a fixed time.

#![allow(clippy::unwrap_used, reason = "what a test cannot do without fails it")]

#[allow(dead_code, unused_imports, reason = "the site of tests/real, of which these need a part")]
#[path = "../real"]
mod real {
    pub(crate) mod site;
}

mod answers;
mod breaks;
mod compare;
mod compression;
mod crashes;
mod dates;
mod embedded;
mod frozen;
mod hostile;
mod lengths;
mod logs;
mod memory;
mod pace;
mod pools;
mod releases;
mod reload;
mod room;
mod rules;
mod served;
mod signals;
mod slow;
mod start;
mod statics;
mod supervisor;
mod variables;
