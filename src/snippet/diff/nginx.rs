//! Traps in a configuration of nginx.

use std::collections::{HashMap, HashSet};

use super::blocks::{self, Blocks, Directive};
use super::{Found, Wanted};

const SNIPPET: &str = "see pools-manager snippet nginx POOL";

pub(super) fn look(text: &str, wanted: &Wanted, found: &mut Found) {
    let blocks = blocks::nginx(text);
    let upstreams = blocks.all.iter().enumerate().filter(|(_, it)| it.name() == "upstream");
    let upstreams = upstreams.filter_map(|(at, it)| Some((it.rest().first()?.as_str(), at)));
    let upstreams: HashMap<&str, usize> = upstreams.collect();
    let mut seen = HashSet::new();
    for (at, directive) in blocks.all.iter().enumerate() {
        let (line, rest) = (directive.line, directive.rest());
        let has = |word: &str| rest.iter().any(|it| it == word);
        match directive.name() {
            "include" => rest.iter().for_each(|file| found.include(line, file)),
            "fastcgi_keep_conn" if has("on") => found.trap(
                line,
                "fastcgi_keep_conn on: a restart gives 502 to forms on kept connections, each of which occupies a php-fpm child",
                "write fastcgi_keep_conn off, or leave the line out",
            ),
            name @ ("fastcgi_next_upstream" | "proxy_next_upstream") if has("non_idempotent") => {
                found.trap(
                    line,
                    format!("{name} non_idempotent: a form whose replica fails is run again by another one"),
                    format!("leave non_idempotent out: {name} error;"),
                );
            }
            "fastcgi_param" if rest.iter().any(|it| it.contains("$realpath_root")) => found.trap(
                line,
                "$realpath_root: nginx follows the symlink itself, and gives a replica scripts of another release",
                "use $document_root, with current_dir as the root of this location",
            ),
            // nginx accepts one for each location.
            "fastcgi_pass" if seen.insert(directive.parent) => {
                let target = rest.first().map_or("", String::as_str);
                let upstream = upstreams.get(target).copied();
                if !is_elsewhere(&blocks, target, upstream, wanted) {
                    scripts(&blocks, at, wanted, found);
                }
            }
            _ => {}
        }
    }
}

/// Checks the directory of the scripts of a location.
fn scripts(blocks: &Blocks, pass: usize, wanted: &Wanted, found: &mut Found) {
    // An included file, such as fastcgi.conf, takes the path of the script from the root too.
    let script = inherited(blocks, pass, |it| {
        it.name() == "fastcgi_param"
            && it.rest().first().is_some_and(|name| name == "SCRIPT_FILENAME")
    });
    let value = script.and_then(|it| it.rest().get(1)).map_or("$document_root", String::as_str);
    let (line, dir) = if value.starts_with("$document_root") {
        match inherited(blocks, pass, |it| it.name() == "root") {
            Some(root) => (root.line, root.rest().first().map_or("", String::as_str)),
            None => return,
        }
    } else {
        // The path before the variable, unless it is the path of a page of php-fpm itself.
        let Some((dir, _)) = value.split_once("$fastcgi_script_name") else { return };
        (script.map_or(0, |it| it.line), dir)
    };
    if dir.is_empty() {
        found.trap(line, "nginx takes scripts from /", SNIPPET);
        return;
    }
    found.scripts(line, "nginx", dir, wanted);
}

/// Whether all sockets of a target are those of other applications.
fn is_elsewhere(blocks: &Blocks, target: &str, upstream: Option<usize>, wanted: &Wanted) -> bool {
    let is_other = |address: &str| match address.strip_prefix("unix:") {
        Some(socket) => wanted.is_elsewhere(socket),
        None => address.contains(':') || address == "localhost",
    };
    if upstream.is_none() {
        return is_other(target);
    }
    let servers = blocks.inside(upstream).filter(|(_, it)| it.name() == "server");
    let addresses: Vec<&String> = servers.filter_map(|(_, it)| it.rest().first()).collect();
    !addresses.is_empty() && addresses.into_iter().all(|address| is_other(address))
}

/// The directive that counts at a place: the last one of the innermost block that has one.
fn inherited(blocks: &Blocks, at: usize, is_it: impl Fn(&Directive) -> bool) -> Option<&Directive> {
    blocks
        .around(at)
        .find_map(|block| blocks.inside(block).map(|(_, it)| it).filter(|it| is_it(it)).last())
}
