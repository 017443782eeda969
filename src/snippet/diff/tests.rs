use super::*;

fn wanted() -> Wanted {
    Wanted { root: "/srv/site".into(), current_dirs: vec!["/srv/site/www/current".into()] }
}

/// The line and the first words of each trap.
fn traps(kind: Kind, text: &str) -> Vec<String> {
    let found = diff(kind, text, &wanted());
    let words = |it: &Trap| it.message.split([':', ',']).next().unwrap().to_owned();
    found.traps.iter().map(|it| format!("{} {}", it.line, words(it))).collect()
}

#[test]
fn traps_of_nginx_are_found() {
    let text = "\
http {
    root /srv/site/www/current.release;
    upstream php { server unix:/srv/site/sockets/a.sock; keepalive 4; }
    upstream other { server unix:/run/other.sock; }
    server {
        include conf.d/*.conf; # fastcgi_keep_conn on;
        location ~ \\.php$ {
            fastcgi_pass php;
            fastcgi_keep_conn on;
            fastcgi_next_upstream error timeout
                non_idempotent;
            fastcgi_param SCRIPT_FILENAME \"$realpath_root$fastcgi_script_name\";
        }
        location ~ /a\\.php$ { fastcgi_pass php; }
        location /other { fastcgi_pass other; }
        location /tcp { fastcgi_pass 127.0.0.1:9000; }
        location /right { root /srv/site/www/./current/public; fastcgi_pass php; }
        location /also {
            fastcgi_pass unix:/srv/site/sockets/a.sock;
            fastcgi_param SCRIPT_FILENAME /srv/site/www/current$fastcgi_script_name;
        }
        location /wrong {
            fastcgi_pass php;
            fastcgi_param SCRIPT_FILENAME /srv/site/www/release1$fastcgi_script_name;
        }
        location = /ping { fastcgi_param SCRIPT_FILENAME /ping; fastcgi_pass php; }
    }
}
";
    assert_eq!(
        traps(Kind::Nginx, text),
        [
            "2 nginx takes scripts from /srv/site/www/current.release",
            "9 fastcgi_keep_conn on",
            "10 fastcgi_next_upstream non_idempotent",
            "12 $realpath_root",
            "24 nginx takes scripts from /srv/site/www/release1",
        ]
    );
    let includes = diff(Kind::Nginx, text, &wanted()).includes;
    assert_eq!(includes, [Include { line: 6, file: "conf.d/*.conf".to_owned() }]);
}

#[test]
fn traps_of_haproxy_are_found() {
    let text = "\
defaults
    option redispatch
    retry-on all-retryable-errors
frontend f # backend x
    default_backend a
backend a
    use-fcgi-app one
    server www1 /s1 proto fcgi maxconn 5
    server www2 /s2 proto fcgi # maxconn 5
backend b
    use-fcgi-app two
    default-server maxconn 3
    retry-on conn-failure
    server www1 /s1
backend c
    use-fcgi-app two
    retry-on conn-failure 503
    http-request disable-l7-retry if METH_POST
    server www1 /s1 maxconn 0
backend http
    server app 127.0.0.1:80
fcgi-app one
    docroot /srv/site/www/current.release
fcgi-app two
    docroot '/srv/site/www/current'
    no option keep-conn
fcgi-app three
    docroot /srv/site/www/current/public
    option keep-conn
";
    assert_eq!(
        traps(Kind::Haproxy, text),
        [
            "3 retry-on all-retryable-errors",
            "9 server www2 has no maxconn",
            "19 server www1 has no maxconn",
            "22 HAProxy keeps connections to php-fpm open",
            "23 docroot takes scripts from /srv/site/www/current.release",
            "29 HAProxy keeps connections to php-fpm open",
        ]
    );
    let alone = "backend a\n use-fcgi-app x\n retry-on empty-response\n server s /s maxconn 1\n";
    assert_eq!(
        traps(Kind::Haproxy, alone),
        ["1 there is no `option redispatch`", "3 retry-on empty-response"]
    );
}

#[test]
fn traps_of_apache_are_found() {
    let text = "\
Define ROOT /srv/site
# BalancerMember \"unix:/s|fcgi://p\" enablereuse=on
Include conf/*.conf
<VirtualHost *:80>
    DocumentRoot \"${ROOT}/www/current.release\"
    <Proxy \"balancer://php\">
        BalancerMember \"unix:${ROOT}/s1|fcgi://p1\" retry=0
        BalancerMember \"unix:${ROOT}/s2|fcgi://p2\" \\
            RETRY=5 EnableReuse=On
        BalancerMember \"unix:${ROOT}/s3|fcgi://p3\"
        BalancerMember http://backend
    </Proxy>
    ProxyPassMatch \"^/(.+\\.php)$\" \"balancer://php${ROOT}/www/current/$1\"
    ProxyPassMatch \"^/x/(.+\\.php)$\" \"balancer://php${ROOT}/www/current.release/$1\"
    ProxyPass \"/ping\" \"balancer://php/ping\"
    <FilesMatch \"\\.php$\">
        SetHandler \"proxy:unix:/srv/site/s1|fcgi://localhost\"
    </FilesMatch>
    <Location /other>
        SetHandler \"proxy:unix:/run/other|fcgi://localhost\"
    </Location>
</VirtualHost>
";
    assert_eq!(
        traps(Kind::Apache, text),
        [
            "8 enablereuse=on",
            "8 retry=5",
            "10 retry=60",
            "14 Apache takes scripts from /srv/site/www/current.release",
            "17 SetHandler takes scripts from /srv/site/www/current.release",
        ]
    );
}

#[test]
fn traps_of_caddy_are_found() {
    let text = "\
import sites/*
http://:80 {
    root * /srv/site/www/current.release
    php_fastcgi unix//srv/site/s1 unix//srv/site/s2 {
        resolve_root_symlink
        lb_retry_match {
            method GET POST
        }
    }
    php_fastcgi /b/* unix//srv/site/s1 {
        root /srv/site/www/current
        resolve_root_symlink false
        lb_retry_match {
            method GET HEAD
        }
    }
    php_fastcgi /c/* unix//srv/site/s1 {
        root {$DIR}
        lb_retry_match method PUT
    }
    php_fastcgi /d/* unix//run/other.sock
    php_fastcgi /e/* 127.0.0.1:9000
    # resolve_root_symlink
}
";
    assert_eq!(
        traps(Kind::Caddy, text),
        [
            "3 php_fastcgi takes scripts from /srv/site/www/current.release",
            "5 resolve_root_symlink",
            "6 lb_retry_match",
            "19 lb_retry_match",
        ]
    );
}

#[test]
fn kinds_are_recognized_by_their_words() {
    assert_eq!(recognize("# backend\nserver {\n fastcgi_pass x;\n}"), Some(Kind::Nginx));
    assert_eq!(recognize("backend a\n server b c"), Some(Kind::Haproxy));
    assert_eq!(recognize("<VirtualHost *:80>\n</VirtualHost>"), Some(Kind::Apache));
    assert_eq!(recognize("localhost {\n php_fastcgi x\n}"), Some(Kind::Caddy));
    assert_eq!(recognize("backend a\nfastcgi_pass x"), None);
    assert_eq!(recognize(""), None);
}

/// Any text is read without a panic, and at once.
#[test]
fn odd_texts_are_read_at_once() {
    const WORDS: [&str; 16] = [
        "{",
        "}",
        ";",
        "\"",
        "'",
        "\\",
        "`",
        "<<X\n",
        "#",
        "\n",
        "${",
        "a ",
        "fastcgi_pass x;\n",
        "backend a\nuse-fcgi-app x\n",
        "a {",
        "location / { fastcgi_pass php;\n",
    ];
    for word in WORDS {
        let text = word.repeat((256 << 10) / word.len());
        for kind in [Kind::Apache, Kind::Haproxy, Kind::Nginx, Kind::Caddy] {
            diff(kind, &text, &wanted());
        }
    }
}

proptest::proptest! {
    #[test]
    fn fuzzed_texts_give_lines_that_exist(
        crate::fuzz::Bytes(bytes) in crate::fuzz::damaged(SAMPLES, WORDS)
    ) {
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().count().max(1);
        for kind in [Kind::Apache, Kind::Haproxy, Kind::Nginx, Kind::Caddy] {
            let found = diff(kind, &text, &wanted());
            let numbers = found.traps.iter().map(|it| it.line);
            for line in numbers.chain(found.includes.iter().map(|it| it.line)) {
                proptest::prop_assert!((1..=lines).contains(&line), "{line} of {lines}");
            }
        }
    }
}

const SAMPLES: &[&str] = &[
    include_str!("../../../etc/nginx/nginx.conf"),
    include_str!("../../../etc/haproxy/haproxy.cfg"),
    include_str!("../../../etc/caddy/Caddyfile"),
    include_str!("../../../etc/apache2/by-path.conf"),
];
const WORDS: &[&str] =
    &["{", "}", ";", "\"", "#", "\n", "fastcgi_keep_conn on", "option keep-conn"];
