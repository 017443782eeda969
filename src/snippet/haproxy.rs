//! HAProxy: a frontend, a backend and its `fcgi-app`.

use super::Site;

/// For `haproxy.cfg`, or a file beside it.
pub(super) fn text(site: &Site<'_>) -> String {
    let Site { scripts, front_controller: front, timeout, .. } = site;
    let heading = site.heading();
    let settings = site.pool.settings.backend.haproxy();
    let root = site.pool.root.path();
    let socket = root.join(settings.map_or("sockets/haproxy.sock", |it| it.socket()));
    let socket = socket.display();
    let backend = settings.map_or(&*site.name, |it| it.backend());
    let names: Vec<String> = match settings {
        Some(settings) => settings.servers().to_vec(),
        None => site.replicas.iter().map(|it| format!("{}{}", site.name, it.number)).collect(),
    };
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    let quoted = quoted.join(", ");
    let servers = site.each(|it| {
        let name = &names[it.number as usize - 1];
        format!("    server {name} {}\n", it.socket)
    });
    let maxconn = site.children().map(|it| format!(" maxconn {it}")).unwrap_or_default();
    let listen = site.listen.shown("*:");
    let hosts = hosts(&site.hosts);
    let ping = site.ping.as_ref();
    let ping = ping.map(|path| format!("    acl is_script path {path}\n")).unwrap_or_default();
    format!(
        r#"# {heading}, for HAProxy. It belongs to this table in pools-manager.toml:
#     [haproxy]
#     socket  = "{socket}"
#     backend = "{backend}"
#     servers = [{quoted}]

global
    # pools-manager uses this socket. Leave the line out if there is one with level admin already, and
    # name that in pools-manager.toml.
    stats socket {socket} mode 600 level admin expose-fd listeners

frontend {backend}
    mode http
    bind {listen}
    timeout client {timeout}s
    timeout http-keep-alive 5s
    # After a reload, a client that reuses its connection gets an answer, and then the connection ends.
    option idle-close-on-response
    http-request deny deny_status 404 if {{ path_reg /\.(?!well-known/) }}
{hosts}    # HAProxy sends no files. Put a CDN or a web server in front of it, or a backend for them here:
    #     use_backend files if {{ path_end .css .js .png .jpg .svg .woff2 }}
    default_backend {backend}

backend {backend}
    mode http
    balance leastconn
    use-fcgi-app {backend}
    timeout connect 5s
    timeout queue   {timeout}s
    # Not below drain_timeout of the pool.
    timeout server  {timeout}s
    # What could not connect goes to another replica at once. Never add all-retryable-errors,
    # empty-response or the like, which run a POST again.
    option redispatch 1
    retry-on conn-failure
    retries 3
    # maxconn is pm.max_children: further requests wait where any replica can take them.
    default-server proto fcgi{maxconn} check inter 2s fastinter 200ms downinter 200ms rise 1
{servers}
fcgi-app {backend}
    # php-fpm finds the script in the release that is mounted here for it alone.
    docroot {scripts}
    path-info ^(/.+\.php)(/.*)?$
    # At a reload, HAProxy (2.6) tells php-fpm that the requests in flight are aborted, and php-fpm runs
    # an upload with the part of its body that it has. Reload only if that does not matter.
    #
    # The default keeps connections to php-fpm open. Each occupies a child, and an old php-fpm cannot
    # end while one is open.
    no option keep-conn
    # A path that is no script goes to the front controller.
{ping}    acl is_script path_reg \.php(/|$)
    set-param SCRIPT_NAME /{front} unless is_script
    set-param SCRIPT_FILENAME {scripts}/{front} unless is_script
"#
    )
}

/// Requests for other hosts get 421.
fn hosts(hosts: &[String]) -> String {
    if hosts.is_empty() {
        return String::new();
    }
    let acl = |host: &String| match host.strip_prefix('*') {
        Some(end) => format!("    acl is_host req.hdr(host),host_only -i -m end {end}\n"),
        None => format!("    acl is_host req.hdr(host),host_only -i {host}\n"),
    };
    let acls: String = hosts.iter().map(acl).collect();
    format!("{acls}    http-request deny deny_status 421 unless is_host\n")
}
