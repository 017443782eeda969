//! The samples of the repository run from a copy of it without a change but the port.

use harness::{HAPROXY, Site};

/// What each page answers: the script name, the requested path, the path information, the query.
const PAGE: &str = "<?php echo $_SERVER['SCRIPT_NAME'], ' ', $_SERVER['REQUEST_URI'], ' ', \
                    $_SERVER['PATH_INFO'] ?? '', ' ', $_SERVER['QUERY_STRING'], ' ', \
                    str_ends_with($_SERVER['DOCUMENT_ROOT'], 'www/current') ? '' : 'wrong root', \
                    str_contains($_SERVER['SCRIPT_FILENAME'], '/www/current/') ? '' : 'wrong script';";

fn serves_pages(site: Site, sends_files: bool) {
    site.add_page("index.php", PAGE);
    site.add_page("page.php", PAGE);
    let site = super::start(site);
    for (path, body) in [
        ("/", "/index.php /"),
        ("/a/path?x=1", "/index.php /a/path?x=1  x=1"),
        ("/page.php?x=1", "/page.php /page.php?x=1  x=1"),
        ("/page.php/info", "/page.php /page.php/info /info"),
        ("/ping-php-fpm", "pong"),
    ] {
        let answer = site.get(path);
        assert_eq!((answer.status, answer.body.trim_end()), (200, body), "{path}");
    }
    for hidden in ["/.git/config", "/a/.env"] {
        let answer = site.get(hidden);
        assert!([403, 404].contains(&answer.status), "{hidden}: {answer:?}");
    }
    if sends_files {
        assert_eq!(site.get("/1.txt").body.trim_end(), "1");
    }
    for release in [2, 1] {
        site.switch(format!("release{release}"));
        site.run(&["restart"]).succeeds();
        assert_eq!(site.get("/ping.php").body, format!("pong{release}\n"));
    }
    let ran = site.run(&["check"]);
    assert!(ran.succeeds().stdout.contains("Balancer  [OK]"), "{ran}");
}

fn prepared(kind: &str) -> Site {
    let site = Site::prepared();
    site.set_backend(if kind == "haproxy" { HAPROXY } else { "" });
    site
}

#[test]
fn sample_of_nginx_serves_without_a_change() {
    serves_pages(prepared("nginx").serve_sample("nginx"), true);
}

#[test]
#[ignore = "takes long: bin/test --all"]
fn samples_of_the_others_serve_without_a_change() {
    for kind in ["caddy", "apache", "haproxy"] {
        serves_pages(prepared(kind).serve_sample(kind), kind != "haproxy");
    }
}

#[test]
fn snippets_serve_as_they_are_printed() {
    for kind in ["nginx", "caddy", "apache", "haproxy"] {
        serves_pages(prepared(kind).serve_snippet(kind), kind != "haproxy");
    }
}

/// An application with its front controller below the release, as most frameworks have it.
#[test]
#[ignore = "takes long: bin/test --all"]
fn snippets_find_the_front_controller_of_the_release() {
    for kind in ["nginx", "caddy", "apache", "haproxy"] {
        let site = prepared(kind);
        for release in ["release1", "release2"] {
            std::fs::remove_file(site.path(&format!("www/{release}/index.php"))).unwrap();
        }
        site.add_page(
            "public/index.php",
            "<?php echo 'front of ', trim(file_get_contents(__DIR__ . '/../release.txt'));",
        );
        site.add_page(
            "public/ping.php",
            "<?php echo 'pong', file_get_contents(__DIR__ . '/../release.txt');",
        );
        let site = super::start(site.serve_snippet(kind));
        assert_eq!(site.get("/login").body, "front of 1", "{kind}");
        // The rest of the release is not reachable.
        assert_ne!(site.get("/release.txt").body.trim_end(), "1", "{kind}");
    }
}

/// The snippet of Apache for a pool whose members pools-manager drains.
#[test]
fn snippet_of_apache_has_the_manager_of_the_settings() {
    let site = Site::prepared();
    let site = site.serve_snippet("apache");
    site.run(&["start"]).succeeds();
    assert_eq!(site.members(), ["Init Ok", "Init Ok"]);
    let load = site.steady_load();
    site.goes_both_ways();
    load.finish();
}

#[test]
fn snippet_for_a_path_with_special_characters_is_refused() {
    let site = Site::prepared();
    site.replace(
        "etc/php/fpm/redundant-pools/www/pools-manager.toml",
        "\"www/current\"",
        "\"www/cur;rent\"",
    );
    let ran = site.run(&["snippet", "nginx", "www"]);
    assert!(ran.status(2).stderr.contains("cannot be written into the configuration"), "{ran}");
    assert_eq!(ran.stdout, "");
}

/// What `snippet` prints is what `--diff` asks for, and so are the samples.
#[test]
fn snippets_and_samples_have_no_traps() {
    let samples = [
        "etc/nginx/nginx.conf",
        "etc/caddy/Caddyfile",
        "etc/haproxy/haproxy.cfg",
        "etc/apache2/by-path.conf",
    ];
    let site = prepared("nginx");
    for (kind, sample) in ["nginx", "caddy", "haproxy", "apache"].into_iter().zip(samples) {
        let printed = site.run(&["snippet", kind, "www"]);
        site.write("printed", &printed.succeeds().stdout);
        for file in ["printed", sample] {
            let ran = site.run(&["snippet", "--diff", file]);
            let is_clean =
                |line: &str| line.contains("nothing would lose") || line.contains(": includes ");
            assert!(ran.succeeds().stdout.lines().all(is_clean), "{ran}");
        }
    }
}

#[test]
fn traps_are_printed_with_their_lines() {
    let site = prepared("nginx");
    site.write("site.conf", "include /etc/nginx/mime.types;\nserver {\n    location ~ \\.php$ {\n        root www/current;\n        fastcgi_pass unix:sockets/x.sock;\n        fastcgi_keep_conn on;\n    }\n}\n");
    let ran = site.run(&["snippet", "--diff", "site.conf"]);
    ran.status(1)
        .stdout(
            "site.conf:6: fastcgi_keep_conn on: a restart gives 502 to forms on kept connections, each of which occupies a php-fpm child\n  \
             help: write fastcgi_keep_conn off, or leave the line out\n\
             site.conf:1: includes /etc/nginx/mime.types, which was not read\n",
        )
        .stderr("error: 1 setting of site.conf would lose requests\n");
    let ran = site.run(&["snippet", "nginx", "www", "--diff", "site.conf", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&ran.status(1).stdout).unwrap();
    assert_eq!(document["found"]["traps"][0]["line"], 6);
    for (args, told) in [
        (&["snippet", "--diff", "none.conf"][..], "cannot read none.conf: No such file"),
        (&["snippet", "--diff", "etc"], "cannot read etc: it is not a file"),
        (&["snippet", "--diff", "www/release1/1.txt"], "does not show which web server it is for"),
        (&["snippet", "nginx", "none", "--diff", "site.conf"], "there is no pool \"none\""),
        (&["snippet", "nginx"], "<POOL>"),
        (&["snippet", "iis", "www"], "invalid value 'iis'"),
        (&["snippet", "nginx", "www", "--listen", "x"], "write a port, or an address and a port"),
    ] {
        let ran = site.run(args);
        assert!(ran.status(2).stderr.contains(told), "{told}\n{ran}");
    }
}
