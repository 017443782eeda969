//! The keys of `[command]`.

use crate::config::keys::{Default, Key, Kind};

/// The keys of the table.
pub(crate) const KEYS: &[Key] = &[
    Key::new(
        "run",
        Kind::Command,
        Default::Required,
        "the program and its arguments, with [placeholders](#placeholders). No shell interprets them. A program without a slash is looked up in `PATH`; a relative one below `directory`",
    ),
    Key::new(
        "protocol",
        Kind::OneOf(&["fastcgi", "http"]),
        Default::Required,
        "what the server speaks. HTTP is HTTP/1.1",
    ),
    Key::new(
        "current_release_symlink",
        Kind::Path,
        Default::Value("\"\""),
        "as in [`[php]`](configuration.md#php)",
    ),
    Key::new(
        "current_dir",
        Kind::Path,
        Default::Value("\"\""),
        "as in [`[php]`](configuration.md#php)",
    ),
    Key::new(
        "isolate",
        Kind::Bool,
        Default::Derived("true where the layout allows it"),
        "as in [`[php]`](configuration.md#php)",
    ),
    Key::new(
        "monitor_url",
        Kind::Url,
        Default::Value("\"\""),
        "as in [`[php]`](configuration.md#php)",
    ),
    Key::new(
        "listen",
        Kind::OneOf(&["fd0", "fd3", "socket", "port"]),
        Default::Derived("by the placeholders"),
        "[how it gets its connections](#how-the-server-gets-its-connections)",
    ),
    Key::new("replicas", Kind::Number, Default::Value("2"), "the number of replicas"),
    Key::new(
        "processes",
        Kind::Number,
        Default::Value("1"),
        "how many processes of `run` each replica has",
    ),
    Key::new(
        "concurrency",
        Kind::Number,
        Default::Derived("FastCGI: 1. HTTP: no limit"),
        "how many requests a process serves at once. The gateway sends a replica at most `processes` × `concurrency`, and a quarter more of FastCGI, which waits in the backlog",
    ),
    Key::new(
        "socket",
        Kind::Path,
        Default::Derived("`\"sockets/POOL.{replica}.sock\"`"),
        "the public name of a replica. `{replica}` is its number",
    ),
    Key::new(
        "socket_mode",
        Kind::Text,
        Default::Value("\"0660\""),
        "the mode of the sockets, in octal digits",
    ),
    Key::new(
        "socket_owner",
        Kind::Text,
        Default::Derived("`user`"),
        "the owner of the sockets. Only root can set it",
    ),
    Key::new(
        "socket_group",
        Kind::Text,
        Default::Derived("`group`"),
        "the group of the sockets. Only root can set it",
    ),
    Key::new(
        "user",
        Kind::Text,
        Default::Unset("the user who starts it. Required as root"),
        "the account that runs the server. `\"root\"` has to be written if it is meant. An ordinary user leaves it out",
    ),
    Key::new(
        "group",
        Kind::Text,
        Default::Unset("the primary group of `user`"),
        "its group. The supplementary groups of `user` are set too",
    ),
    Key::new(
        "environment",
        Kind::Table,
        Default::Value("{}"),
        "more variables, with placeholders: `{ NODE_ENV = \"production\", PORT = \"{port}\" }`",
    ),
    Key::new(
        "directory",
        Kind::Below("the release"),
        Default::Value("\"\""),
        "the working directory. `\"\"`: the release",
    ),
    Key::new(
        "health_path",
        Kind::Text,
        Default::Unset("any answer will do"),
        "the page that shows whether a replica is [healthy](#health)",
    ),
    Key::new(
        "stop_signal",
        Kind::Text,
        Default::Value("\"TERM\""),
        "the signal that ends a process",
    ),
];
