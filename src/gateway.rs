//! The gateway: the embedded balancer and web server, `pools-manager serve`.
//!
//! A request is routed by the *table* of its pool: the releases that its replicas serve, each held
//! open as a directory. The table is exchanged whole, together with who serves: whoever asks after
//! that gets the new one, for files and scripts alike. So once a client has seen a new release,
//! nobody gets an older one from a request that begins later.
//!
//! The way of a request, each with a file of its own:
//!
//! | step | where |
//! |---|---|
//! | accept a connection, give it to a thread | `listen`, `worker` |
//! | HTTP (by hyper), deadlines on what a stranger controls | `worker`, `stream`, `rest`, `escape` |
//! | the client and the host; what is refused | `client`, `admit` |
//! | the request target, and its path | `target`, `path` |
//! | the pool, and its table | `sites`, `site`, `table` |
//! | a path that the pool's settings redirect | `redirect` |
//! | a file, a script, or the front controller | `route`, `lookup` |
//! | a file: conditions, ranges, compression | `static_file` |
//! | a script: take in the body, wait for a child | `spool`, `upstream` |
//! | the request as CGI variables, and back | `params`, `fastcgi`, `exchange` |
//! | its answer, however slowly the client takes it | `script`, `pipe` |
//!
//! What serves is read from the kernel and from the public names (`sync`), when it starts and when
//! a command says that it has moved names (`control`). Nothing is remembered. Settings are read when
//! it starts, and on HUP (`settings`, `reload`): each reading makes a new `front::Gateway`, and `live`
//! holds the one of this moment.

mod accept;
mod access_log;
mod admit;
mod aside;
mod body;
mod client;
mod control;
mod escape;
mod exchange;
pub mod fastcgi;
mod file;
mod front;
mod handoff;
mod listen;
mod live;
mod lookup;
mod pace;
mod params;
mod path;
mod pipe;
mod proxy;
mod redirect;
mod refusal;
mod reload;
mod rest;
mod route;
mod script;
mod serve;
mod settings;
mod since;
mod site;
mod sites;
mod spool;
mod static_file;
mod stderr;
mod stream;
mod sync;
mod table;
mod target;
mod tasks;
mod temp;
mod throttle;
mod upstream;
mod worker;

pub use serve::serve;
