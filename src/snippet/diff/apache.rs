//! Traps in a configuration of Apache.

use super::lines::{self, Line};
use super::{Found, Wanted};

pub(super) fn look(text: &str, wanted: &Wanted, found: &mut Found) {
    let lines = resolved(lines::apache(text));
    let is = |line: &Line, name: &str| line.first().eq_ignore_ascii_case(name);
    // If a line sets SCRIPT_FILENAME, php-fpm does not get the path below DocumentRoot.
    let sets_script = lines.iter().any(|line| {
        is(line, "ProxyFCGISetEnvIf") && line.rest().iter().any(|it| it == "SCRIPT_FILENAME")
    });
    let mut document_root: Option<&Line> = None;
    for line in &lines {
        let number = line.number;
        if is(line, "Include") || is(line, "IncludeOptional") {
            line.rest().iter().for_each(|file| found.include(number, file));
        } else if is(line, "DocumentRoot") {
            document_root = Some(line);
        } else if is(line, "SetHandler") && !sets_script {
            handler(line, document_root, wanted, found);
        } else if is(line, "ProxyPassMatch") || is(line, "ProxyPass") {
            target(line, wanted, found);
        }
        worker(line, found);
    }
}

/// Puts the values of `Define` in place of their names.
fn resolved(lines: Vec<Line>) -> Vec<Line> {
    let mut known: Vec<(String, String)> = Vec::new();
    let mut resolved = Vec::new();
    for mut line in lines {
        for word in &mut line.words {
            for (name, value) in &known {
                *word = word.replace(&format!("${{{name}}}"), value);
            }
        }
        if line.first().eq_ignore_ascii_case("Define")
            && let [name, value] = line.rest()
        {
            known.push((name.clone(), value.clone()));
        }
        resolved.push(line);
    }
    resolved
}

fn option<'a>(line: &'a Line, key: &str) -> Option<&'a str> {
    let pairs = line.rest().iter().filter_map(|word| word.split_once('='));
    pairs.filter(|(known, _)| known.eq_ignore_ascii_case(key)).map(|(_, value)| value).next_back()
}

/// Options of a worker or a member.
fn worker(line: &Line, found: &mut Found) {
    let is_fastcgi = line.rest().iter().any(|word| word.contains("fcgi://"));
    if option(line, "enablereuse").is_some_and(|value| value.eq_ignore_ascii_case("on")) {
        found.trap(
            line.number,
            "enablereuse=on: kept connections occupy children of php-fpm, and a restart waits for all of them and then cuts them",
            "leave enablereuse=on out",
        );
    }
    if line.first().eq_ignore_ascii_case("BalancerMember")
        && is_fastcgi
        && option(line, "retry").is_none_or(|seconds| seconds != "0")
    {
        let seconds = option(line, "retry").unwrap_or("60");
        found.trap(
            line.number,
            format!("retry={seconds}: after one failure Apache leaves this member out for {seconds} seconds"),
            "add retry=0",
        );
    }
}

/// A target like `balancer://NAME/DIRECTORY/$1`.
fn target(line: &Line, wanted: &Wanted, found: &mut Found) {
    for word in line.rest() {
        let Some((scheme, rest)) = word.split_once("://") else { continue };
        let is_php = scheme == "balancer" || scheme.ends_with("fcgi");
        // A variable before the first slash may be a directory.
        let known = rest.split_once('/').filter(|(name, _)| is_php && !name.contains('$'));
        let Some((_, path)) = known else { continue };
        if let Some((dir, _)) = path.split_once("/$") {
            found.scripts(line.number, "Apache", &format!("/{dir}"), wanted);
        }
    }
}

/// `SetHandler proxy:...`: php-fpm gets the path below `DocumentRoot`.
fn handler(line: &Line, document_root: Option<&Line>, wanted: &Wanted, found: &mut Found) {
    let Some(target) = line.rest().first().and_then(|it| it.strip_prefix("proxy:")) else { return };
    let socket = target.strip_prefix("unix:").and_then(|it| it.split('|').next());
    let is_php = target.contains("fcgi://") || target.starts_with("balancer://");
    if !is_php || socket.is_some_and(|socket| wanted.is_elsewhere(socket)) {
        return;
    }
    if let Some(dir) = document_root.and_then(|line| line.rest().first()) {
        found.scripts(line.number, "SetHandler", dir, wanted);
    }
}
