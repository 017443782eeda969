//! nginx: an upstream, and a server that uses it.

use super::Site;

/// For a file in `sites-enabled` or `conf.d`, which the block `http` includes.
pub(super) fn fastcgi(site: &Site<'_>) -> String {
    let Site { name, files, scripts, front_controller: front, timeout, .. } = site;
    let ping = site.ping.as_ref().map(|path| {
        format!(
            "
    # php-fpm itself responds to this.
    location = {path} {{
        include /etc/nginx/fastcgi_params;
        fastcgi_param SCRIPT_FILENAME {path};
        fastcgi_pass {name};
    }}
"
        )
    });
    let ping = ping.unwrap_or_default();
    let why_close = "# No keepalive: an open connection occupies a php-fpm child, and an old php-fpm cannot end while one
# is open.";
    let locations = format!(
        r"
    # The files of the release. nginx follows the symlink for each request.
    root {files};
    index {front} index.html;
    client_max_body_size 64m;

    location ~ /\.(?!well-known/) {{
        return 404;
    }}

    location / {{
        try_files $uri $uri/ /{front}$is_args$args;
    }}
{ping}
    location ~ [^/]\.php(/|$) {{
        # php-fpm finds the script in the release that is mounted here for it alone. Never use
        # $realpath_root: it follows the symlink to another release.
        root {scripts};
        fastcgi_split_path_info ^(.+?\.php)(/.*)$;
        include /etc/nginx/fastcgi_params;
        fastcgi_param HTTP_HOST $http_host;
        fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
        fastcgi_param PATH_INFO $fastcgi_path_info;
        fastcgi_pass {name};
        # Never add non_idempotent, which runs a POST again.
        fastcgi_next_upstream error;
        # Not below drain_timeout of the pool.
        fastcgi_read_timeout {timeout}s;
    }}
"
    );
    whole(site, why_close, &locations)
}

/// The same for servers that speak HTTP, which get all requests.
pub(super) fn http(site: &Site<'_>) -> String {
    let Site { name, timeout, .. } = site;
    let why_close = "# No keepalive: an old generation cannot end while a connection to it is open.
#";
    let locations = format!(
        r#"
    client_max_body_size 64m;

    location / {{
        proxy_pass http://{name};
        # HTTP/1.1, for responses whose length is not known at their beginning. The server closes its
        # connection after the response.
        proxy_http_version 1.1;
        proxy_set_header Connection close;
        # What the client itself writes into these headers does not reach the server.
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Forwarded-Port $server_port;
        proxy_set_header X-Real-IP "";
        proxy_set_header Forwarded "";
        proxy_set_header Proxy "";
        # Never add non_idempotent, which sends a POST again.
        proxy_next_upstream error;
        # Not below drain_timeout of the pool.
        proxy_read_timeout {timeout}s;
    }}
"#
    );
    whole(site, why_close, &locations)
}

fn whole(site: &Site<'_>, why_close: &str, locations: &str) -> String {
    let name = &site.name;
    let heading = site.heading();
    let members = site.each(|it| format!("    server unix:{} max_fails=0;\n", it.socket));
    let listen = site.listen.shown("");
    let hosts = if site.hosts.is_empty() { "_".to_owned() } else { site.hosts.join(" ") };
    format!(
        r"# {heading}, for the block http of nginx. In pools-manager.toml, leave out [apache],
# [haproxy] and [gateway]: nginx connects to the public socket names for each request, and needs no
# commands.

{why_close} max_fails=0: after a failure, the next request tries the replica again.
upstream {name} {{
    least_conn;
{members}}}

server {{
    listen {listen};
    server_name {hosts};
{locations}}}
"
    )
}
