//! Traps in a configuration of HAProxy.

use super::lines::{self, Line};
use super::{Found, Wanted};

/// The keywords that begin a section.
const SECTIONS: [&str; 14] = [
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "fcgi-app",
    "userlist",
    "peers",
    "resolvers",
    "mailers",
    "cache",
    "program",
    "http-errors",
    "ring",
];

/// The events after which HAProxy sends a request again that a server may have begun.
const AGAIN: [&str; 5] = [
    "all-retryable-errors",
    "empty-response",
    "junk-response",
    "response-timeout",
    "0rtt-rejected",
];

/// A section, with the lines that belong to it.
struct Section<'a> {
    head: &'a Line,
    lines: Vec<&'a Line>,
}

pub(super) fn look(text: &str, wanted: &Wanted, found: &mut Found) {
    let lines = lines::haproxy(text);
    let mut defaults: Option<&Section<'_>> = None;
    let sections = sections(&lines);
    for section in &sections {
        match section.head.first() {
            "defaults" => defaults = Some(section),
            "fcgi-app" => fcgi_app(section, wanted, found),
            "backend" | "listen" if section.has("use-fcgi-app") => {
                backend(section, defaults, found);
            }
            _ => {}
        }
    }
}

fn sections(lines: &[Line]) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for line in lines {
        if SECTIONS.contains(&line.first()) {
            sections.push(Section { head: line, lines: Vec::new() });
        } else if let Some(section) = sections.last_mut() {
            section.lines.push(line);
        }
    }
    sections
}

impl Section<'_> {
    fn all(&self, first: &str) -> impl Iterator<Item = &Line> {
        self.lines.iter().copied().filter(move |line| line.first() == first)
    }

    fn has(&self, first: &str) -> bool {
        self.all(first).next().is_some()
    }
}

fn fcgi_app(section: &Section<'_>, wanted: &Wanted, found: &mut Found) {
    let why = "HAProxy keeps connections to php-fpm open: each occupies a child, a restart waits for all of them, and after 16,384 requests on one of them php-fpm hangs";
    let help = "add `no option keep-conn` to this section";
    let on = section.all("option").find(|line| line.continues(&["keep-conn"]));
    let off = section.all("no").any(|line| line.continues(&["option", "keep-conn"]));
    match (on, off) {
        (Some(line), _) => found.trap(line.number, why, "write `no option keep-conn`"),
        (None, false) => found.trap(section.head.number, why, help),
        (None, true) => {}
    }
    for line in section.all("docroot") {
        if let Some(dir) = line.rest().first() {
            found.scripts(line.number, "docroot", dir, wanted);
        }
    }
}

fn backend(section: &Section<'_>, defaults: Option<&Section<'_>>, found: &mut Found) {
    let both = || [Some(section), defaults].into_iter().flatten();
    let has_option =
        |name: &str| both().any(|it| it.all("option").any(|line| line.continues(&[name])));
    if !has_option("redispatch") {
        found.trap(
            section.head.number,
            "there is no `option redispatch`: what cannot connect to a dead replica is tried there again, and gets 503",
            "add `option redispatch 1` to this section",
        );
    }
    // The section's own line replaces that of the defaults.
    let retry_on = both().find_map(|it| it.all("retry-on").last());
    let is_off = section.all("http-request").any(|line| line.continues(&["disable-l7-retry"]));
    if let Some(line) =
        retry_on.filter(|line| !is_off && line.rest().iter().any(|word| repeats(word)))
    {
        found.trap(
            line.number,
            format!("retry-on {}: a form whose replica fails is run again", line.rest().join(" ")),
            "write `retry-on conn-failure`",
        );
    }
    let mut by_default = defaults.is_some_and(|it| it.all("default-server").any(is_limited));
    for line in &section.lines {
        match line.first() {
            "default-server" => by_default |= is_limited(line),
            "server" if !by_default && !is_limited(line) => found.trap(
                line.number,
                format!("server {} has no maxconn: requests wait at a busy replica that another one could take, and its health checks with them", line.rest().first().map_or("", String::as_str)),
                "add maxconn with the value of pm.max_children",
            ),
            _ => {}
        }
    }
}

/// Whether HAProxy sends a request again after this event, or status.
fn repeats(word: &str) -> bool {
    AGAIN.contains(&word) || word.parse::<u16>().is_ok()
}

fn is_limited(line: &Line) -> bool {
    line.after("maxconn").is_some_and(|value| value != "0")
}
