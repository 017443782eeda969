//! HAProxy: a frontend, a backend and its `fcgi-app`.

use super::Site;

/// What depends on the protocol of the servers.
struct Parts {
    /// Lines of the frontend, before and after those for the hosts.
    frontend: [&'static str; 2],
    /// Lines of the backend.
    backend: String,
    /// Words of `default-server`.
    server: &'static str,
    /// After the backend.
    app: String,
}

const HIDDEN: &str = r"    http-request deny deny_status 404 if { path_reg /\.(?!well-known/) }
";
const FILES: &str =
    "    # HAProxy sends no files. Put a CDN or a web server in front of it, or a backend for them here:
    #     use_backend files if { path_end .css .js .png .jpg .svg .woff2 }
";

/// For `haproxy.cfg`, or a file beside it.
pub(super) fn fastcgi(site: &Site<'_>) -> String {
    let name = backend_name(site);
    let parts = Parts {
        frontend: [HIDDEN, FILES],
        backend: format!("    use-fcgi-app {name}\n"),
        server: " proto fcgi",
        app: format!("\n{}", app(site, name)),
    };
    whole(site, &parts)
}

/// The same for servers that speak HTTP.
pub(super) fn http(site: &Site<'_>) -> String {
    let backend = "    # The connection to a server ends after each response: an old generation cannot end while one is
    # open.
    option http-server-close
    # What the client itself writes into these headers does not reach the server.
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto http if !{ ssl_fc }
    http-request set-header X-Forwarded-Proto https if { ssl_fc }
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header X-Forwarded-Port %[dst_port]
    http-request del-header X-Real-IP
    http-request del-header Forwarded
    http-request del-header Proxy
";
    let parts =
        Parts { frontend: ["", ""], backend: backend.to_owned(), server: "", app: String::new() };
    whole(site, &parts)
}

fn backend_name<'a>(site: &'a Site<'_>) -> &'a str {
    site.pool.settings.backend.haproxy().map_or(&*site.name, |it| it.backend())
}

fn whole(site: &Site<'_>, parts: &Parts) -> String {
    let timeout = site.timeout;
    let heading = site.heading();
    let settings = site.pool.settings.backend.haproxy();
    let root = site.pool.root.path();
    let socket = root.join(settings.map_or("sockets/haproxy.sock", |it| it.socket()));
    let socket = socket.display();
    let backend = backend_name(site);
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
    let children = if parts.app.is_empty() { "concurrency * processes" } else { "pm.max_children" };
    let limit = site.children().map(|it| {
        (
            format!(" maxconn {it}"),
            format!("    # maxconn is {children}: further requests wait where any replica can take them.\n"),
        )
    });
    let (maxconn, why_limited) = limit.unwrap_or_default();
    let listen = site.listen.shown("*:");
    let Parts { frontend: [before, after], backend: lines, server, app } = parts;
    let frontend = format!("{before}{}{after}", hosts(&site.hosts));
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
{frontend}    default_backend {backend}

backend {backend}
    mode http
    balance leastconn
{lines}    timeout connect 5s
    timeout queue   {timeout}s
    # Not below drain_timeout of the pool.
    timeout server  {timeout}s
    # What could not connect goes to another replica at once. Never add all-retryable-errors,
    # empty-response or the like, which run a POST again.
    option redispatch 1
    retry-on conn-failure
    retries 3
{why_limited}    default-server{server}{maxconn} check inter 2s fastinter 200ms downinter 200ms rise 1
{servers}{app}"#
    )
}

/// How php-fpm is addressed.
fn app(site: &Site<'_>, name: &str) -> String {
    let Site { scripts, front_controller: front, .. } = site;
    let ping = site.ping.as_ref();
    let ping = ping.map(|path| format!("    acl is_script path {path}\n")).unwrap_or_default();
    format!(
        r"fcgi-app {name}
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
"
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
