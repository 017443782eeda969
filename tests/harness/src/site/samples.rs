//! Web servers with the repository's samples, or with what `pools-manager snippet` prints.

use std::path::Path;
use std::process::Command;

use rustix::process::geteuid;

use super::{Site, server};

/// `[haproxy]`, as the sample and the snippet of HAProxy name it.
pub const HAPROXY: &str = "[haproxy]\nsocket = \"sockets/haproxy.sock\"\nbackend = \"www\"\nservers = [\"www1\", \"www2\"]\n";

impl Site {
    /// Starts a web server with what `snippet` prints for the pool as it is configured: `apache`,
    /// `haproxy`, `nginx` or `caddy`.
    pub fn serve_snippet(self, kind: &'static str) -> Self {
        self.serve_changed_snippet(kind, |text| text)
    }

    /// The same, after something in it has been changed.
    pub fn serve_changed_snippet(
        self,
        kind: &'static str,
        change: impl Fn(String) -> String + Send + Sync + 'static,
    ) -> Self {
        self.serve_by(move |site, port| {
            let listen = format!("127.0.0.1:{port}");
            let ran = site.run(&["snippet", kind, "www", "--listen", &listen]);
            let text = change(ran.succeeds().stdout.clone());
            site.write("snippet.conf", &whole(site, kind, &text, port));
            command(site, kind, "snippet.conf")
        })
    }

    /// Starts a web server with a sample of the repository, on another port.
    pub fn serve_sample(self, kind: &'static str) -> Self {
        let (file, listens) = match kind {
            "nginx" => ("etc/nginx/nginx.conf", "127.0.0.1:8183"),
            "caddy" => ("etc/caddy/Caddyfile", ":8184"),
            "haproxy" => ("etc/haproxy/haproxy.cfg", "127.0.0.1:8182"),
            _ => ("etc/apache2/by-path.conf", "127.0.0.1:8185"),
        };
        let text = self.read(file);
        self.serve_by(move |site, port| {
            let (before, _) = listens.rsplit_once(':').unwrap();
            site.write(file, &text.replace(listens, &format!("{before}:{port}")));
            command(site, kind, file)
        })
    }
}

/// A whole configuration with the snippet in it.
fn whole(site: &Site, kind: &str, snippet: &str, port: u16) -> String {
    let root = site.root().display();
    match kind {
        "apache" => format!("Listen 127.0.0.1:{port}\n{snippet}"),
        "caddy" => format!("{{\n\tadmin off\n\tauto_https off\n}}\n{snippet}"),
        "nginx" => {
            let user = if geteuid().is_root() { "user www-data;" } else { "" };
            let temp: String = ["client_body", "fastcgi", "proxy", "scgi", "uwsgi"]
                .map(|it| format!("{it}_temp_path {root}/nginx-{it};\n"))
                .concat();
            format!(
                "{user}\nworker_processes 1;\npid {root}/nginx.pid;\n\
                 error_log {root}/pid/nginx-error.log;\nevents {{ worker_connections 1024; }}\n\
                 http {{\naccess_log off;\n{temp}{snippet}}}\n"
            )
        }
        _ => snippet.to_owned(),
    }
}

/// Runs a web server in the foreground, in the root.
fn command(site: &Site, kind: &str, file: &str) -> Command {
    let path = site.path(file);
    let mut command = site.command(server(if kind == "apache" { "apache2" } else { kind }));
    match kind {
        "apache" => {
            command.arg("-f").arg(site.path("etc/apache2/apache2.conf"));
            let define = format!("Define POOLS_MANAGER_SITE {}", path.display());
            command.args(["-C", &define, "-D", "FOREGROUND", "-k", "start"]);
        }
        "nginx" => {
            command.arg("-p").arg(site.root()).arg("-c").arg(&path);
            command.args(["-g", "daemon off;", "-e", "stderr"]);
        }
        "caddy" => {
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&path);
            for home in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
                command.env(home, site.path("caddy"));
            }
        }
        _ => {
            command.args(["-db", "-f"]).arg(Path::new(file));
        }
    }
    command.env("POOLS_MANAGER_ROOT", site.root());
    command
}
