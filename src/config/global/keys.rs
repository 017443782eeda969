//! The keys of `etc/pools-manager.toml`.

use super::super::keys::{Default, Key, Kind, Table};
use super::super::log;

/// The tables of the file.
pub const TABLES: &[Table] = &[
    Table { name: "gateway", keys: GATEWAY },
    Table { name: "control", keys: CONTROL },
    Table { name: "supervisor", keys: SUPERVISOR },
    Table { name: "log", keys: log::KEYS },
];

const GATEWAY: &[Key] = &[
    Key::new(
        "listen",
        Kind::Texts,
        Default::Value("[]"),
        "any number of `\"127.0.0.1:8080\"`, `\"[::]:80\"`, `\"unix:PATH\"`. `[]`: there is no gateway",
    ),
    Key::new(
        "listen_tls",
        Kind::Texts,
        Default::Value("[]"),
        "the same for [HTTPS](tls.md): `\"[::]:443\"`. It needs `certificates`",
    ),
    Key::new(
        "user",
        Kind::Text,
        Default::Value("\"\""),
        "the account that talks to clients if root starts `serve`: see [least privilege](security.md#least-privilege). `\"\"`: the one that starts `serve`",
    ),
    Key::new(
        "group",
        Kind::Text,
        Default::Value("\"\""),
        "its group. `\"\"`: the group of the account. The account has its supplementary groups too",
    ),
    Key::new(
        "certificates",
        Kind::Table,
        Default::Value("[]"),
        "`[[gateway.certificates]]` with `certificate` and `key`, PEM files: see [certificates](tls.md#certificates)",
    ),
    Key::new(
        "tls_min",
        Kind::OneOf(&["1.2", "1.3"]),
        Default::Value("\"1.2\""),
        "the oldest version of TLS that is accepted",
    ),
    Key::new(
        "https_port",
        Kind::Number,
        Default::Value("443"),
        "the port to which `redirect_to_https` leads: the one that clients see",
    ),
    Key::new(
        "threads",
        Kind::Number,
        Default::Derived("half of the cores"),
        "the number of worker threads. PHP needs the other cores. If most requests are for files: one for each core",
    ),
    Key::new(
        "access_log",
        Kind::PathOr(&["-", ""]),
        Default::Value("\"\""),
        "a file, to which lines are appended; `\"-\"`: standard output; `\"\"`: none",
    ),
    Key::new(
        "access_log_format",
        Kind::OneOf(&["combined", "json"]),
        Default::Derived("`\"combined\"` beside a log in text, `\"json\"` beside one in JSON"),
        "Apache's format, then host, microseconds and request id; or JSON. See [the log](logs.md#log)",
    ),
    Key::new(
        "trusted_proxies",
        Kind::Texts,
        Default::Value("[]"),
        "the proxies whose headers name the client: addresses, or networks like `\"10.0.0.0/8\"`. See [behind a proxy](#behind-a-proxy)",
    ),
    Key::new(
        "proxy_protocol",
        Kind::Bool,
        Default::Value("false"),
        "each connection begins with a PROXY header (version 2), which names the client. Use it only if no other client can connect",
    ),
    Key::new(
        "max_connections",
        Kind::Number,
        Default::Value("16384"),
        "further ones wait in the kernel. A connection takes up to 64 KiB of memory, so 16384 slow clients take 1 GiB: see [slow clients](#slow-clients)",
    ),
    Key::new(
        "max_header",
        Kind::Size,
        Default::Value("\"32KiB\""),
        "the size of the head of a request. A larger one gets 431",
    ),
    Key::new(
        "max_body",
        Kind::Size,
        Default::Value("\"64MiB\""),
        "the size of the body of a request. A larger one gets 413",
    ),
    Key::new(
        "max_temp",
        Kind::Size,
        Default::Value("\"8GiB\""),
        "the total size of temporary files, for bodies and responses that do not fit into memory",
    ),
    Key::new(
        "max_temp_per_pool",
        Kind::Size,
        Default::Derived("half of `max_temp`"),
        "the same for one pool",
    ),
    Key::new(
        "max_temp_per_client",
        Kind::Size,
        Default::Derived("an eighth of `max_temp`"),
        "the same for one client: an IPv4 address, or an IPv6 /64 network",
    ),
    Key::new(
        "temp_dir",
        Kind::Path,
        Default::Value("\"/var/tmp\""),
        "the directory of these files",
    ),
    Key::new(
        "max_compressed",
        Kind::Size,
        Default::Value("\"32MiB\""),
        "memory for files that the gateway compressed; `\"0\"`: it compresses none",
    ),
    Key::new(
        "header_timeout",
        Kind::SOME_TIME,
        Default::Value("\"15s\""),
        "until the head of the next request is complete, from the moment at which the connection waits for it",
    ),
    Key::new(
        "body_timeout",
        Kind::SOME_TIME,
        Default::Value("\"30s\""),
        "the longest pause in a request body; then 408",
    ),
    Key::new(
        "send_timeout",
        Kind::SOME_TIME,
        Default::Value("\"60s\""),
        "the longest time in which the client reads nothing of a response; then the connection is reset",
    ),
    Key::new(
        "min_rate",
        Kind::Size,
        Default::Value("\"1KiB\""),
        "the minimum rate per second of bodies and responses, averaged over `body_timeout` and `send_timeout`; `\"0\"`: one byte within that time is enough",
    ),
    Key::new(
        "shutdown_timeout",
        Kind::TIME,
        Default::Value("\"30s\""),
        "how long running requests may take after TERM, and in the old process after an upgrade",
    ),
    Key::new(
        "upgrade_timeout",
        Kind::SOME_TIME,
        Default::Value("\"30s\""),
        "how long the new process of an upgrade may take until it can serve; then the running one serves on",
    ),
];

const CONTROL: &[Key] = &[Key::new(
    "socket",
    Kind::Path,
    Default::Value("\"sockets/pools-manager.sock\""),
    "the socket on which commands reach the gateway. Only its owner can use it",
)];

const SUPERVISOR: &[Key] = &[
    Key::new("enabled", Kind::Bool, Default::Value("true"), "`serve` supervises all pools"),
    Key::new(
        "stop_replicas",
        Kind::Bool,
        Default::Value("false"),
        "`serve` stops all replicas when it is stopped",
    ),
];
