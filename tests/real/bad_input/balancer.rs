//! Mistakes in the configuration of the balancer. All responses are those of a real Apache.

use super::{SETTINGS, error, running};
use harness::Site;

const APACHE: &str = "etc/apache2/sites-enabled/82-php-fpm.conf";
const MANAGER: &str = "/balancer-manager\"";

/// Pages that are not balancer-manager, beside the one that is.
const ODD_PAGES: &str = r"
    LoadModule authn_core_module ${APACHE_MODULES}/mod_authn_core.so
    LoadModule authn_file_module ${APACHE_MODULES}/mod_authn_file.so
    LoadModule authz_user_module ${APACHE_MODULES}/mod_authz_user.so
    LoadModule auth_basic_module ${APACHE_MODULES}/mod_auth_basic.so
";
const ODD_LOCATIONS: &str = r#"
    <Location "/odd/403">
        Require all denied
    </Location>
    <Location "/odd/401">
        AuthType Basic
        AuthName "manager"
        AuthBasicProvider file
        AuthUserFile "/dev/null"
        Require valid-user
    </Location>
    Redirect 302 "/odd/302" "http://localhost/login"
    Redirect 500 "/odd/500"
    Alias "/odd/login" "${POOLS_MANAGER_ROOT}/www/login.html"
"#;

#[test]
fn page_that_is_no_balancer_manager_is_an_error() {
    let site = Site::prepared();
    site.write("www/login.html", "<html><body><form>Who are you?</form></body></html>");
    site.replace(APACHE, "<VirtualHost", &format!("{ODD_PAGES}<VirtualHost"));
    site.replace(APACHE, "    # PHP. Note", &format!("{ODD_LOCATIONS}    # PHP. Note"));
    let site = site.serve();
    site.run(&["start"]).succeeds();
    let allow = "allow this machine in that <Location> (Require local), or put user:password@ into the URL; a RewriteRule ahead of it can refuse too";
    let mistakes = [
        (
            "404",
            " answers 404 Not Found",
            "Apache needs a <Location> for that path with: SetHandler balancer-manager",
        ),
        ("403", " answers 403 Forbidden", allow),
        ("401", " answers 401 Unauthorized", allow),
        (
            "302",
            " redirects to \"http://localhost/login?xml=1\" (302 Found)",
            "probably a login page: give a URL of balancer-manager that needs none",
        ),
        ("500", " answers 500 Internal Server Error", "Apache's error log says why"),
        (
            "login",
            " answers, but is not balancer-manager",
            "the URL's <Location> in Apache needs: SetHandler balancer-manager",
        ),
    ];
    for (page, what, help) in mistakes {
        site.while_changed(SETTINGS, MANAGER, &format!("/odd/{page}\""), || {
            let stderr = error(&format!("http://localhost:PORT/odd/{page}{what}"), help);
            for command in [&["restart"][..], &["stop"]] {
                site.refuses(command, &stderr);
            }
        });
    }
}

#[test]
fn stopped_apache_is_an_error() {
    let site = running();
    let nobody = "localhost:1/";
    site.while_changed(SETTINGS, &format!("localhost:{}/bal", site.port()), "localhost:1/bal", || {
        let what =
            format!("cannot connect to http://{nobody}balancer-manager: Connection refused (os error 111)");
        let help = "start Apache, or correct the manager's URL (manager_url in pools-manager.toml)";
        let one = ["stop", "single", "www", "1"];
        for command in [&["restart"][..], &["restart", "--strategy", "swap"], &one] {
            site.refuses(command, &error(&what, help));
        }
        // `status` still shows the replicas.
        let ran = site.unchanged_by(|| site.run(&["status", "-q"]));
        ran.stdout(
            "Redundant pool \"www\"...\n  \
             Status for replica 1 [Error]\n  \
             Status for replica 2 [Error]\n",
        );
        ran.status(1).stderr(&error(
            &format!("pool \"www\": not well: replica 1, 2; {what}"),
            help,
        ));
    });
}

#[test]
fn unknown_balancer_or_member_is_an_error() {
    let site = running();
    let members = (1..=2)
        .map(|n| format!("unix:ROOT/sockets/php-fpm-www{n}.sock|fcgi://pool-{n}"))
        .collect::<Vec<_>>()
        .join(", ");
    site.while_changed(SETTINGS, "\"phpfpmlb\"", "\"www\"", || {
        site.refuses(
            &["restart"],
            &error(
                "http://localhost:PORT/balancer-manager has no balancer \"www\"",
                "the balancers there are: phpfpmlb",
            ),
        );
    });
    site.while_changed(SETTINGS, "fcgi://pool-2", "fcgi://pool-9", || {
        site.refuses(
            &["restart"],
            &error(
                "balancer \"phpfpmlb\" has no member \"fcgi://pool-9\"",
                &format!("the members there are: {members}"),
            ),
        );
    });
    // Two names of one member.
    site.while_changed(SETTINGS, "fcgi://pool-2", "fcgi://pool-1/", || {
        site.refuses(
            &["restart"],
            &error(
                "\"fcgi://pool-1\" and \"fcgi://pool-1/\" are the same member of balancer \"phpfpmlb\"",
                "name one balancer member for each replica, the first for 1.conf",
            ),
        );
    });
}

#[test]
fn read_only_balancer_is_an_error() {
    let site = Site::prepared();
    site.replace(APACHE, "lbmethod=bybusyness", "lbmethod=bybusyness nonce=None");
    let site = site.serve();
    site.run(&["start"]).succeeds();
    let stderr = error(
        "balancer \"phpfpmlb\" is read-only: it has no nonce",
        "remove nonce=None from its ProxySet in Apache's configuration, or use a strategy that does not drain (--strategy swap)",
    );
    for command in [&["restart"][..], &["restart", "--dry-run"], &["stop"]] {
        site.refuses(command, &stderr);
    }
    // Commands that do not change the balancer work.
    site.run(&["restart", "--strategy", "swap"]).succeeds();
    site.is_in_order_on("release1");
}

#[test]
fn balancer_that_fails_sticky_sessions_is_refused() {
    let site = Site::prepared();
    let sticky = "lbmethod=bybusyness stickysession=ROUTEID nofailover=On";
    site.replace(APACHE, "lbmethod=bybusyness", sticky);
    let site = site.serve();
    site.run(&["start"]).succeeds();
    site.refuses(
        &["restart"],
        &error(
            "balancer \"phpfpmlb\" has sticky sessions and nofailover=On: draining a member would fail its sessions' requests",
            "set nofailover=Off, or use a strategy that does not drain (--strategy swap)",
        ),
    );
    site.run(&["restart", "--strategy", "swap"]).succeeds();
}
