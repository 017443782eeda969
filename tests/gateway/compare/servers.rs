//! nginx, Caddy and Apache, configured for PHP with a front controller as in their manuals, with the
//! replicas and the release of a site. The test starts and stops them.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use rustix::process::{Signal, geteuid, kill_process};

use harness::served::Connection;
use harness::server;
use harness::{Program, Site, wait_for};

/// The modules that Apache needs.
const MODULES: &str = "mpm_event authz_core alias dir mime rewrite proxy proxy_fcgi";

/// A running server.
pub(super) struct Server {
    pub(super) port: u16,
    program: Option<Program>,
}

impl Server {
    pub(super) fn nginx(site: &Site) -> Self {
        let user = if geteuid().is_root() { "user www-data;" } else { "" };
        let root = site.root().display();
        let temp: String = ["client_body", "fastcgi", "proxy", "scgi", "uwsgi"]
            .map(|it| format!("{it}_temp_path {root}/nginx-{it};\n"))
            .concat();
        Self::start(site, |port| {
            let config = format!(
                r"{user}
worker_processes 1;
pid {root}/nginx.pid;
error_log {root}/pid/nginx.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    {temp}
    types {{ text/plain txt; text/html html; image/jpeg jpg; }}
    server {{
        listen 127.0.0.1:{port};
        root {root}/www/current.release;
        index index.php index.html;
        location ~ ^(?!.*\.php/).*/\.(?!well-known/) {{ return 404; }}
        location ~ [^/]\.php(/|$) {{
            fastcgi_split_path_info ^(.+?\.php)(/.*)$;
            set $info $fastcgi_path_info;
            try_files $fastcgi_script_name /index.php =404;
            include /etc/nginx/fastcgi_params;
            fastcgi_param HTTP_HOST $http_host;
            fastcgi_param DOCUMENT_ROOT {root}/www/current;
            fastcgi_param SCRIPT_FILENAME {root}/www/current$fastcgi_script_name;
            fastcgi_param PATH_INFO $info;
            fastcgi_pass unix:{root}/sockets/php-fpm-www1.sock;
        }}
        location ~ \.php {{ return 404; }}
        location / {{ try_files $uri $uri/ /index.php$is_args$args; }}
    }}
}}
"
            );
            site.write("nginx.conf", &config);
            let mut command = Command::new(server("nginx"));
            command.arg("-p").arg(site.root()).arg("-c").arg(site.path("nginx.conf"));
            command.args(["-g", "daemon off;", "-e", "stderr"]);
            command
        })
    }

    pub(super) fn caddy(site: &Site) -> Self {
        let root = site.root().display();
        Self::start(site, |port| {
            let config = format!(
                "{{
    admin off
    auto_https off
}}
http://:{port} {{
    bind 127.0.0.1
    root * {root}/www/current.release
    @hidden {{
        path */.*
        not path /.well-known/* *.php/*
    }}
    respond @hidden 404
    php_fastcgi unix/{root}/sockets/php-fpm-www1.sock {{
        env DOCUMENT_ROOT {root}/www/current
    }}
    @code path *.php.*
    respond @code 404
    file_server
}}
"
            );
            site.write("Caddyfile", &config);
            let mut command = Command::new(server("caddy"));
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(site.path("Caddyfile"));
            for home in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
                command.env(home, site.path("caddy"));
            }
            command
        })
    }

    pub(super) fn apache(site: &Site) -> Self {
        let user = if geteuid().is_root() { "User www-data\nGroup www-data" } else { "" };
        let root = site.root().display();
        let modules: Vec<String> = MODULES
            .split(' ')
            .map(|it| format!("LoadModule {it}_module /usr/lib/apache2/modules/mod_{it}.so"))
            .collect();
        let modules = modules.join("\n");
        Self::start(site, |port| {
            let config = format!(
                "{modules}
{user}
ServerRoot {root}
ServerName localhost
DefaultRuntimeDir {root}/pid
Mutex file:{root}/pid default
PidFile {root}/pid/compare-apache.pid
ErrorLog {root}/pid/compare-apache.log
Listen 127.0.0.1:{port}
TypesConfig /etc/mime.types
DocumentRoot {root}/www/current.release
DirectoryIndex index.php index.html
AllowEncodedSlashes On
<Directory {root}/www>
    Require all granted
    Options FollowSymLinks
    FallbackResource /index.php
</Directory>
<FilesMatch \"\\.php$\">
    SetHandler \"proxy:unix:{root}/sockets/php-fpm-www1.sock|fcgi://localhost\"
</FilesMatch>
<FilesMatch \"\\.php.+\">
    Require all denied
</FilesMatch>
RedirectMatch 404 \"^(?!.*\\.php/).*/\\.(?!well-known/)\"
"
            );
            site.write("compare-apache.conf", &config);
            let mut command = Command::new(server("apache2"));
            command.arg("-f").arg(site.path("compare-apache.conf")).arg("-DFOREGROUND");
            command
        })
    }

    /// Starts a server on a free port. Tries again if another program takes the port meanwhile.
    fn start(site: &Site, command: impl Fn(u16) -> Command) -> Self {
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let program = Program::start(&mut command(port));
            let is_up = wait_for("the server", || {
                if answers(port, site.root()) {
                    return Some(true);
                }
                program.has_ended().then_some(false)
            });
            if is_up {
                return Self { port, program: Some(program) };
            }
            let said = program.finish().to_string();
            assert!(said.to_lowercase().contains("address already in use"), "{said}");
        }
        panic!("no port stays free");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(program) = self.program.take() {
            let _ = kill_process(program.pid(), Signal::TERM);
            drop(program.finish());
        }
    }
}

/// Whether the server of this site listens on the port, and not another program.
fn answers(port: u16, root: &Path) -> bool {
    let root = root.display().to_string();
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        && Connection::to(port).get("/root.txt").is_ok_and(|answer| answer.text() == root)
}
