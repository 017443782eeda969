//! The start of a gateway, its configuration errors, and its access log.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;

use harness::served::Served;

const SETTINGS: &str = "etc/php/fpm/redundant-pools/www/pools-manager.toml";
const GLOBAL: &str = "etc/pools-manager.toml";

/// With file and line, before anything is served.
#[test]
fn invalid_global_configuration_is_refused() {
    let site = Served::site("", "");
    let refused = |global: &str, error: &str| {
        site.write(GLOBAL, global);
        let ran = site.run(&["serve"]);
        let error = format!(
            "error: {}\n",
            error.replace("GLOBAL", &site.path(GLOBAL).display().to_string())
        );
        ran.status(2).stdout("").stderr(&error);
    };
    refused(
        "",
        "the gateway is not told where to listen\n  help: write into GLOBAL: [gateway] and below it listen = [\"127.0.0.1:8080\"]",
    );
    refused(
        "[gateway]\nlisten = [\"localhost\"]\n",
        "GLOBAL:2: cannot listen on \"localhost\": invalid socket address syntax\n  help: write an address and a port, \"127.0.0.1:8080\" or \"[::]:80\", or \"unix:PATH\"",
    );
    refused(
        "[gateway]\nlsten = []\n",
        "GLOBAL:2: unknown key `lsten`\n  help: did you mean `listen`?",
    );
    refused(
        "[gateway]\nmax_body = \"1 elephant\"\n",
        "GLOBAL:2: invalid value: string \"1 elephant\", expected a size like \"64MiB\"\n  help: correct this line: max_body = \"1 elephant\"",
    );
    refused(
        "[gateway]\nmax_compressed = \"all\"\n",
        "GLOBAL:2: invalid value: string \"all\", expected a size like \"64MiB\"\n  help: correct this line: max_compressed = \"all\"",
    );
    refused(
        "[gateway]\ntrusted_proxies = [\"10.0.0.0/99\"]\n",
        "GLOBAL:2: invalid value: string \"10.0.0.0/99\", expected an address like \"127.0.0.1\" or \"10.0.0.0/8\"\n  help: correct this line: trusted_proxies = [\"10.0.0.0/99\"]",
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    refused(
        &format!("[gateway]\nlisten = [\"{address}\"]\n"),
        &format!(
            "cannot listen on {address}: Address already in use (os error 98)\n  help: {} uses it: stop that program, or change listen in GLOBAL",
            this_process()
        ),
    );
}

/// This process, as messages name a program that has an address.
pub(super) fn this_process() -> String {
    let line = fs::read_to_string("/proc/self/cmdline").unwrap().replace('\0', " ");
    let line: String = line.trim().chars().take(60).collect();
    format!("pid {} ({})", std::process::id(), line.trim())
}

#[test]
fn invalid_pool_configuration_is_refused() {
    let site = Served::site("", "");
    let text = site.read(SETTINGS);
    let refused = |gateway: &str, error: &str| {
        site.write(SETTINGS, &text.replace("[gateway]\n", gateway));
        let ran = site.run(&["serve"]);
        let error = format!(
            "error: {}\n",
            error.replace("FILE", &site.path(SETTINGS).display().to_string())
        );
        ran.status(2).stdout("").stderr(&error);
    };
    refused(
        "",
        "no pool has a [gateway], so there is nothing to serve\n  help: add [gateway] to the pools-manager.toml of a pool; it needs no keys",
    );
    refused(
        "[gateway]\nhosts = [\"http://a\"]\n",
        "FILE:6: \"http://a\" is not a host name\n  help: write it in lower case, without a port: example.com or *.example.com",
    );
    refused(
        "[gateway]\ndocument_root = \"../x\"\n",
        "FILE:6: \"../x\" is not a path below the release\n  help: write it without a leading or trailing /, and without . and ..: public/index.php",
    );
    refused(
        "[gateway]\nscripts = [\"a.php\"]\n",
        "FILE:6: scripts does not name the front_controller \"index.php\"\n  help: add it to the list",
    );
    refused(
        "[gateway]\ncompress = \"gzip\"\n",
        "FILE:6: invalid value: string \"gzip\", expected true, false or \"static\"\n  help: correct this line: compress = \"gzip\"",
    );
    refused(
        "[gateway]\nfastcgi_keep_alive = \"yes\"\n",
        "FILE:6: unknown value `yes`\n  help: what can stand here: `auto`, `on`, `off`",
    );
    let apache = "[apache]\nmanager_url = \"http://a/b\"\nbalancer_name = \"b\"\nmember_urls = [\"a\", \"b\"]\n[gateway]\n";
    refused(
        apache,
        "FILE:9: there are both [apache] and [gateway]\n  help: leave out the one that does not balance this pool's requests",
    );
}

#[test]
fn second_gateway_on_a_root_is_refused() {
    let served = Served::new();
    let ran = served.site.run(&["serve"]);
    let socket = served.site.path("sockets/pools-manager.sock");
    ran.status(2).stderr(&format!(
        "error: cannot listen on {}: Address already in use (os error 98)\n  help: another `pools-manager serve` runs on this root: stop it first\n",
        socket.display()
    ));
    assert_eq!(served.get("/ping.php").status, 200);
}

#[test]
fn gateway_listens_on_a_unix_socket() {
    let site = Served::site("", "");
    site.replace(GLOBAL, "\"127.0.0.1:0\"", "\"unix:sockets/gateway.sock\", \"127.0.0.1:0\"");
    site.run(&["start"]).succeeds();
    let mut served = Served::serve(site);
    let path = served.site.path("sockets/gateway.sock");
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /ping.php HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("\r\n\r\npong1\n"), "{text}");
    // The next gateway replaces the socket of a killed one.
    served.kill_gateway();
    assert!(path.exists());
    served.start_gateway();
    served.stop_gateway().succeeds();
    assert!(!path.exists());
}

#[test]
fn each_request_has_one_line_in_the_access_log() {
    for format in ["combined", "json"] {
        let log = format!("access_log = \"pid/access.log\"\naccess_log_format = \"{format}\"");
        let mut served = Served::with("", &log);
        let id = served
            .get_with("/ping.php?a=%22b", "User-Agent: me\"\r\n")
            .header("x-request-id")
            .unwrap()
            .to_owned();
        served.get("/missing/../x");
        served.stop_gateway().succeeds();
        let text = served.site.read("pid/access.log");
        assert_eq!(text.lines().count(), 2, "{text}");
        let first = text.lines().next().unwrap();
        assert!(first.contains(&id), "{text}");
        if format == "json" {
            let line: serde_json::Value = serde_json::from_str(first).unwrap();
            assert_eq!(
                (&line["status"], &line["sent"], &line["pool"]),
                (&200.into(), &6.into(), &"www".into())
            );
        } else {
            assert!(
                first.starts_with("127.0.0.1 - - [")
                    && first.contains("\" 200 6 \"-\" \"me\\\"\" \"localhost\" "),
                "{text}"
            );
        }
    }
}

#[test]
fn check_reports_a_replica_that_the_gateway_does_not_serve() {
    let mut served = Served::new();
    let told = |served: &Served| {
        let ran = served.site.run(&["check"]);
        ran.succeeds();
        ran.stdout
    };
    let drained = "the gateway does not serve replica 2, though it runs";
    assert!(!told(&served).contains(drained));
    // The name leads to another socket while the gateway starts. Then it is moved back without a command.
    let name = served.site.path("sockets/php-fpm-www2.sock");
    let point_to = |socket: &Path| {
        fs::remove_file(&name).unwrap();
        symlink(socket, &name).unwrap();
    };
    let own = fs::read_link(&name).unwrap();
    served.stop_gateway().succeeds();
    assert!(told(&served).contains("no gateway runs"));
    point_to(Path::new("php-fpm-www1.g1.sock"));
    served.start_gateway();
    point_to(&own);
    assert!(told(&served).contains(drained));
    // The advice of `check`.
    served.site.run(&["start"]).succeeds();
    assert!(!told(&served).contains(drained));
}

#[test]
fn status_shows_whether_a_gateway_runs() {
    let mut served = Served::new();
    assert_eq!(served.site.members(), ["ok", "ok"]);
    served.stop_gateway().succeeds();
    assert_eq!(served.site.members(), ["no gateway", "no gateway"]);
    served.site.run(&["status", "-q"]).status(1);
    served.site.run(&["list"]).prints("www -> (replica_count=\"2\" backend=\"gateway\")\n");
}
