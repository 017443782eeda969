//! The gateway: the embedded load balancer and web server, `pools-manager serve`.
//!
//! A request is routed by the *routing table* of its pool: the releases that the pool's replicas serve,
//! each held open as a directory. The table and the endpoints are replaced in one step. Every request
//! that begins later uses the new ones, for files and scripts alike. So once a client has seen a new
//! release, no request that begins later gets an older one.
//!
//! The path of a request, with the modules in order:
//!
//! | step | modules |
//! |---|---|
//! | accept a connection, hand it to a worker thread | `sockets`, `listen`, `accept_errors`, `workers` |
//! | TLS by rustls; the certificates | `connection`, `tls` |
//! | HTTP/1 by hyper and HTTP/2 by h2, with limits for slow and hostile clients | `connection`, `client_body`, `drain`, `pace` |
//! | the state of the gateway, for monitors | `health` |
//! | the request id, the client, the host; unsupported requests | `handler`, `request_id`, `client`, `host`, `admit` |
//! | the virtual host | `host_map`, `virtual_host` |
//! | the gate: hold and maintenance | `gate` |
//! | the redirect to HTTPS | `https` |
//! | the request target and its path; access rules; configured redirects | `request_target`, `url_path`, `access`, `redirect` |
//! | whether the request belongs to the canary | `canary` |
//! | the release; a file, a script, or the front controller | `upstream`, `routing_table`, `route`, `kept_assets`, `file_lookup` |
//! | a static file: conditions, ranges, compression | `static_file`, `exclusive_since`, `file_reader` |
//! | a script: receive the body, wait for an endpoint, send | `request_body`, `cgi_params`, `fastcgi`, `upstream`, `script` |
//! | a request to a server that speaks HTTP | `request_body`, `upstream`, `http_upstream` |
//! | the compression of a response | `compress`, `encoding` |
//! | a file that a script requests | `x_sendfile` |
//! | the response, at the pace of the client | `response_body`, `response_buffer`, `buffer_space` |
//! | an error of the gateway; the access log | `http_error`, `error_page`, `access_log` |
//!
//! `serve` starts and stops a gateway. `refusals` finds the errors that prevent a start, without a start.
//! `configuration` reads the operator's files and builds the virtual hosts. `state` holds the data that the
//! requests share; `reload` replaces it. `refresh` observes a pool and replaces its endpoints: at the start,
//! when a command requests it on the control socket (`control_server`), and when an endpoint is unreachable.
//! The gateway stores nothing for its next start.
//!
//! A new process can take the place of a running one ([`upgrade`](crate::upgrade)). Before it accepts
//! connections, the new process tests with a request to itself whether it can serve (`probe`). While the new
//! process changes the release of a pool, the old process begins no request of that pool (`paused_pools`).
//!
//! With the key `user`, the gateway runs in a child process, as an ordinary user (`separate`, `identity`). The
//! parent process observes the pools (`seen`). It passes commands on to the child, which carries them out
//! (`control_answers`).
//!
//! A module uses only modules that come after it in this list: `separate`; `serve`, `refusals`, `identity`;
//! `paused_pools`, `probe`, `control_server`, `control_answers`, `reload`, `sockets`, `listen`; `workers`;
//! `connection`; `handler`; `http_upstream`; `script`, `configuration`; `refresh`, `health`; `state`;
//! `replaced`, `seen`; `error_page`, `x_sendfile`; `host_map`, `virtual_host`; `gate`, `canary`, `kept_assets`;
//! `upstream`, `static_file`; all others. One exception: other modules use the messages of `separate`.

mod accept_errors;
mod access;
mod access_log;
mod admit;
mod blocking;
mod buffer_space;
mod canary;
mod cgi_params;
mod client;
mod client_body;
mod compress;
mod configuration;
mod connection;
mod control_answers;
mod control_server;
mod drain;
mod encoding;
mod error_page;
mod exclusive_since;
pub mod fastcgi;
mod file_lookup;
mod file_reader;
mod gate;
mod handler;
mod health;
mod host;
mod host_map;
mod http_error;
mod http_upstream;
mod https;
mod identity;
mod kept_assets;
mod listen;
mod log_throttle;
mod pace;
mod paused_pools;
mod probe;
mod redirect;
mod refresh;
mod refusals;
mod reload;
mod replaced;
mod request_body;
mod request_id;
mod request_label;
mod request_target;
mod response_body;
mod response_buffer;
mod route;
mod routing_table;
mod script;
mod seen;
mod separate;
mod serve;
mod sockets;
mod state;
mod static_file;
mod tasks;
mod tls;
mod upgrades;
mod upstream;
mod url_path;
mod virtual_host;
mod workers;
mod x_sendfile;

pub use error_page::findings as error_page_findings;
pub use identity::identity;
pub use refusals::{findings, is_wanted};
pub use reload::Reloads;
pub use separate::{SeparateGateway, run_child};
pub use serve::{Gateway, Start, serve};
pub use upgrades::{Reply, Upgrades};
