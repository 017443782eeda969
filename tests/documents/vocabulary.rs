//! The names by which the messages in the source are found.

/// Calls that make a message, and which of their arguments it is.
pub(crate) const MAKERS: &[(&str, usize)] = &[
    (".error", 1),
    (".log", ANY),
    (".map_err", 0),
    (".ok_or", 0),
    (".ok_or_else", 0),
    (".problem", 0),
    (".report", 0),
    (".trap", 1),
    (".untrusted", 0),
    (".warn", 0),
    (".within", 0),
    ("E::custom", 0),
    ("Err", 0),
    ("Error::config", 0),
    ("Error::custom", 0),
    ("Error::failed", 0),
    ("Error::invalid_value", 1),
    ("Error::locked", 0),
    ("Error::new", 1),
    ("Error::other", 0),
    ("Failure::new", 1),
    ("Failure::silent", 0),
    ("Finding::error", 0),
    ("Finding::warning", 0),
    ("HttpError::bad_gateway", 0),
    ("HttpError::new", 1),
    ("Problem::Broken", 0),
    ("Response::Failed", 0),
    ("Trouble::Bad", 0),
    ("bad", 0),
    ("cannot", 0),
    ("eprintln!", ANY),
    ("error", 0),
    ("exists", 1),
    ("invalid", 0),
    ("log", 0),
    ("obstacle", 0),
    ("print_note", 0),
    ("problems.insert", 1),
    ("problems.push", 0),
    ("refused", 1),
    ("taken", 0),
    ("too_slow", 0),
    ("tracing::error!", ANY),
    ("tracing::warn!", ANY),
    ("unavailable", 0),
    ("unseen.push", 0),
    ("warn", ANY),
    ("warnings.push", 0),
    ("wrong", 0),
];
/// Any argument of a call.
pub(crate) const ANY: usize = usize::MAX;

/// Calls whose strings are no messages.
pub(crate) const OTHERS: &[&str] = &[
    ".ask",
    ".contains",
    ".expect",
    ".hint",
    ".starts_with",
    ".strip_prefix",
    ".strip_suffix",
    "assert!",
    "panic!",
    "reason",
    "step",
    "wrapped",
];

/// Variables and constants that hold a message.
pub(crate) const MESSAGES: &[&str] = &[
    "EXPECTED", "NOT_ZERO", "cause", "detail", "effect", "error", "loops", "message", "problem",
    "reason", "text", "unseen", "what", "why",
];

/// Messages that no operator sees, with the reason.
pub(crate) const INTERNAL: &[(&str, &str)] = &[
    ("one request to the front page", "a comment in the output of `config show`"),
    ("the gateway, which runs as the user who starts php-fpm", "a comment in a file of `init`"),
    ("there is no such table", "an error of a test that writes these documents"),
    ("no table is named", "the same"),
    ("the table does not end", "the same"),
    ("the pool has no [command]", "code of the one kind of pool does not see the other kind"),
    ("the pool has no [php]", "the same"),
    ("name the web server and the pool", "the arguments are checked before"),
    ("{generation} is of another kind than its pool", "as with [php] and [command]"),
];

/// Functions that return a message.
pub(crate) const FUNCTIONS: &[&str] = &[
    "bind",
    "both",
    "conflict",
    "describe_dead_master",
    "exceeded",
    "expecting",
    "left",
    "make_sockets_dir",
    "message",
    "not_yet",
    "note",
    "of_requests",
    "of_symlink",
    "probe",
    "problem",
    "sentences",
    "taken_out",
    "told",
    "unserved",
    "warning",
    "will_cut",
];

/// Types that are printed as a message.
pub(crate) const TYPES: &[&str] = &["Excess", "FailureKind", "Limit"];
