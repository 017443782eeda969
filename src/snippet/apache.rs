//! Apache: a virtual host with a balancer.

use super::{Replica, Site};
use crate::backend::apache;
use crate::http;

/// For a file in `sites-enabled`.
pub(super) fn text(site: &Site<'_>) -> String {
    let Site { files, links, scripts, front_controller: front, timeout, .. } = site;
    let heading = site.heading();
    let settings = site.pool.settings.backend.apache();
    let balancer = settings.map_or(&*site.name, |it| it.balancer());
    let url = |it: &Replica| match settings.map(apache::Settings::member_urls) {
        // The whole name of a member may contain its socket.
        Some(urls) => {
            let url = &urls[it.number as usize - 1];
            url.rsplit_once('|').map_or(&**url, |(_, url)| url).to_owned()
        }
        None => format!("fcgi://{}-{}", site.name, it.number),
    };
    let members = site
        .each(|it| format!("        BalancerMember \"unix:{}|{}\" retry=0\n", it.socket, url(it)));
    let listen = site.listen.shown("*:");
    let names: String = site
        .hosts
        .iter()
        .enumerate()
        .map(|(n, host)| match n {
            0 if !host.starts_with('*') => format!("    ServerName {host}\n"),
            _ => format!("    ServerAlias {host}\n"),
        })
        .collect();
    let ping = site
        .ping
        .as_ref()
        .map(|path| format!("    ProxyPass \"{path}\" \"balancer://{balancer}{path}\"\n"));
    let ping = ping.unwrap_or_default();
    let location = settings.and_then(|it| http::page(it.manager_url()).ok()).map(|url| {
        let (path, root) = (url.path().to_owned(), site.pool.root.path().display());
        format!(
            "
    # The page that pools-manager uses. Whoever can reach it can take the site down.
    <Location \"{path}\">
        Alias \"{root}/pid/balancer-manager\"
        SetHandler balancer-manager
        Require local
    </Location>
"
        )
    });
    let (told, manager) = match location {
        Some(location) => ("pools-manager drains the members of this balancer.", location),
        None => (
            "In pools-manager.toml, leave out [apache], [haproxy]\n# and [gateway]: Apache connects to the public socket names for each request, and needs no commands.",
            String::new(),
        ),
    };
    format!(
        r#"# {heading}, for Apache. {told}
# Modules: a2enmod proxy_fcgi proxy_balancer lbmethod_bybusyness
# Add this line unless Apache listens there already:
#     Listen {listen}

<VirtualHost {listen}>
{names}    # The files of the release. Apache follows the symlink for each request.
    DocumentRoot "{files}"
    DirectoryIndex {front} index.html

    # retry=0: after a failure, the next request tries the replica again. Never add enablereuse=on: an
    # open connection occupies a php-fpm child, and an old php-fpm cannot end while one is open.
    <Proxy "balancer://{balancer}">
{members}        ProxySet lbmethod=bybusyness
    </Proxy>

    # Not below drain_timeout of the pool.
    ProxyTimeout {timeout}
{manager}
    # php-fpm finds the script in the release that is mounted here for it alone.
{ping}    ProxyPassMatch "^/(.+\.php(/.*)?)$" "balancer://{balancer}{scripts}/$1"
    ProxyFCGISetEnvIf "true" SCRIPT_FILENAME "%{{unescape:%{{reqenv:SCRIPT_FILENAME}}}}"
    ProxyFCGISetEnvIf "true" DOCUMENT_ROOT "{scripts}"

    <Directory "{links}">
        Require all granted
        Options FollowSymLinks
        AllowOverride None
        FallbackResource /{front}
    </Directory>
    <FilesMatch "\.php">
        Require all denied
    </FilesMatch>
    <LocationMatch "/\.(?!well-known/)">
        Require all denied
    </LocationMatch>
</VirtualHost>
"#
    )
}
