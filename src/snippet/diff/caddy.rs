//! Traps in a Caddyfile.

use super::blocks::{self, Blocks, Directive};
use super::{Found, Wanted};

/// Methods whose requests may be run again.
const IDEMPOTENT: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

pub(super) fn look(text: &str, wanted: &Wanted, found: &mut Found) {
    let blocks = blocks::caddy(text);
    for (at, directive) in blocks.all.iter().enumerate() {
        let (line, rest) = (directive.line, directive.rest());
        match directive.name() {
            "import" => {
                rest.first().into_iter().for_each(|file| found.include(line, file));
            }
            "resolve_root_symlink" if rest.first().is_none_or(|it| it != "false") => found.trap(
                line,
                "resolve_root_symlink: Caddy follows the symlink itself, and gives a replica scripts of another release",
                "leave it out, and write current_dir as root in this block",
            ),
            "lb_retry_match" if repeats_forms(&blocks, at) => found.trap(
                line,
                "lb_retry_match: a form whose replica fails is run again by another one",
                "leave it out: then only GET is run again, and what could not connect",
            ),
            "php_fastcgi" => scripts(&blocks, at, wanted, found),
            _ => {}
        }
    }
}

/// Whether a matcher accepts other methods than those without effects.
fn repeats_forms(blocks: &Blocks, at: usize) -> bool {
    let matchers = blocks.inside(Some(at)).map(|(_, it)| &it.words[..]);
    let inline = Some(blocks.all[at].rest()).filter(|words| !words.is_empty());
    let all: Vec<&[String]> = matchers.chain(inline).collect();
    let methods = all.iter().find(|words| words.first().is_some_and(|it| it == "method"));
    let is_safe = |method: &String| IDEMPOTENT.contains(&method.as_str());
    methods.is_none_or(|words| !words[1..].iter().all(is_safe))
}

/// Checks the directory of the scripts: that of the block, else that of the site.
fn scripts(blocks: &Blocks, at: usize, wanted: &Wanted, found: &mut Found) {
    let words = blocks.all[at].rest();
    let is_socket = |it: &&String| it.starts_with("unix/");
    let mut sockets = words.iter().filter(is_socket).peekable();
    let tcp = words.iter().any(|it| !it.starts_with("unix/") && it.contains(':'));
    let is_other = match sockets.peek() {
        Some(_) => sockets.all(|it| wanted.is_elsewhere(&it["unix/".len()..])),
        None => tcp,
    };
    if is_other {
        return;
    }
    let root = |it: &&Directive| it.name() == "root";
    let own = blocks.inside(Some(at)).map(|(_, it)| it).find(root);
    let of_site =
        || blocks.around(at).find_map(|block| blocks.inside(block).map(|(_, it)| it).find(root));
    if let Some(root) = own.or_else(of_site)
        && let Some(dir) = root.rest().last()
    {
        found.scripts(root.line, "php_fastcgi", dir, wanted);
    }
}
