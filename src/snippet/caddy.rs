//! Caddy: a site block.

use super::Site;

/// For a Caddyfile, or a file that it imports.
pub(super) fn text(site: &Site<'_>) -> String {
    let Site { files, scripts, front_controller: front, timeout, .. } = site;
    let heading = site.heading();
    let port = site.listen.port;
    let every = [String::new()];
    let hosts = if site.hosts.is_empty() { &every[..] } else { &site.hosts };
    let addresses: Vec<String> = hosts.iter().map(|host| format!("http://{host}:{port}")).collect();
    let addresses = addresses.join(", ");
    let bind = site.listen.address.map(|it| format!("\tbind {it}\n\n")).unwrap_or_default();
    let sockets: Vec<String> =
        site.replicas.iter().map(|it| format!("unix/{}", it.socket)).collect();
    let sockets = sockets.join(" ");
    let ping = site.ping.as_ref().map(|path| {
        format!(
            "
	# php-fpm itself responds to this.
	handle {path} {{
		reverse_proxy {sockets} {{
			lb_policy least_conn
			lb_try_duration 5s
			transport fastcgi {{
				env SCRIPT_NAME {path}
				env SCRIPT_FILENAME {path}
			}}
		}}
	}}
"
        )
    });
    let ping = ping.unwrap_or_default();
    format!(
        r"# {heading}, for a Caddyfile. In pools-manager.toml, leave out [apache], [haproxy] and
# [gateway]: Caddy connects to the public socket names for each request, and needs no commands. With
# https:// in place of http://, Caddy gets certificates.

{addresses} {{
{bind}	# The files of the release. Caddy follows the symlink for each request.
	root * {files}

	@hidden {{
		path */.*
		not path /.well-known/*
	}}
	respond @hidden 404
{ping}
	php_fastcgi {sockets} {{
		# php-fpm finds the script in the release that is mounted here for it alone. Never add
		# resolve_root_symlink: it follows the symlink to another release.
		root {scripts}
		index {front}

		# What could not connect goes to another replica. Never add lb_retry_match, which runs a
		# POST again.
		lb_policy least_conn
		lb_try_duration 5s
		# Not below drain_timeout of the pool.
		read_timeout {timeout}s
	}}

	file_server
}}
"
    )
}
