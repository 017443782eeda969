//! `config show`: each key, its value in effect, and where that comes from.

use std::collections::BTreeSet;

use harness::Site;
use serde_json::Value;

const SETTINGS: &str = "etc/php/fpm/redundant-pools/www/pools-manager.toml";

/// A pool with php-fpm and a gateway, and one with another server.
fn site() -> Site {
    let site = Site::prepared();
    let php = "[php]\ncurrent_release_symlink = \"www/current.release\"\ncurrent_dir = \"www/current\"\n\
               monitor_url = \"http://ann:secret@localhost/\"\n\
               rollout.drain_timeout = \"5s\"\n[gateway]\nheaders.X-Own = \"1\"\n\
               hosts = [\n  \"a.example\",\n]\n";
    site.write(SETTINGS, &php.replace("rollout.drain", "[rollout]\ndrain"));
    let command =
        "[command]\nrun = [\"server\", \"{port}\"]\nprotocol = \"fastcgi\"\nuser = \"www-data\"\n";
    site.write("etc/php/fpm/redundant-pools/other/pools-manager.toml", command);
    site
}

/// `[table] key`, its source and its value.
fn settings(site: &Site, args: &[&str]) -> Vec<(String, String, Value)> {
    let ran = site.run(args);
    let shown: Value = serde_json::from_str(&ran.succeeds().stdout).unwrap();
    let files = [&shown["global"]].into_iter();
    let files = files.chain(shown["pools"].as_array().unwrap().iter().map(|it| &it["config"]));
    let all = files.flat_map(|file| file["settings"].as_array().into_iter().flatten());
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    all.map(|it| {
        let name = format!("[{}] {}", text(&it["table"]), text(&it["key"]));
        (name, text(&it["source"]), it["value"].clone())
    })
    .collect()
}

#[test]
fn each_value_has_its_source() {
    let site = site();
    let text = site.run(&["config", "show", "www"]).succeeds().stdout.clone();
    let root = site.root().display();
    for expected in [
        format!("\ncurrent_dir = \"{root}/www/current\"  # pools-manager.toml:3\n"),
        "\nmonitor_url = \"http://***@localhost/\"  # pools-manager.toml:4\n".to_owned(),
        format!("\ndrain_timeout = \"5s\"{:20}# pools-manager.toml:6\n", ""),
        format!("\nready_timeout = \"10s\"{:19}# default\n", ""),
        format!("\nhosts = [\"a.example\"]{:19}# pools-manager.toml:9\n", ""),
        format!("\nheaders = {{ X-Own = \"1\" }}{:15}# pools-manager.toml:8\n", ""),
        "\n    # derived: the newest installed php-fpm\n".to_owned(),
        "\nisolate = true                        # derived: the layout allows it\n".to_owned(),
        "\n    # derived: the pool has neither [apache] nor [haproxy]\n".to_owned(),
        "\n    # derived: one request to the front page, index.php\n".to_owned(),
        "\n# max_age                             # not set: no limit\n".to_owned(),
        "\n# not used: [command], [apache], [haproxy]\n".to_owned(),
    ] {
        // The position of a comment depends on the length of the line.
        let squeezed =
            |text: &str| text.split(' ').filter(|it| !it.is_empty()).collect::<Vec<_>>().join(" ");
        assert!(squeezed(&text).contains(&squeezed(&expected)), "{expected}{text}");
    }
    assert!(!text.contains("secret"), "{text}");
    let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(long.iter().all(|line| !line.contains("  #")), "{long:#?}");
}

#[test]
fn output_is_a_file_with_the_same_meaning() {
    let site = site();
    site.write("etc/pools-manager.toml", "[gateway]\nlisten = [\"unix:sockets/g.sock\"]\n");
    let show = |site: &Site| {
        let args = ["config", "show", "--json"];
        settings(site, &args).into_iter().map(|(name, _, value)| (name, value)).collect::<Vec<_>>()
    };
    let before = show(&site);
    let text = |pool: &str| {
        let ran = site.run(&["config", "show", pool]);
        // A masked password is not the same.
        ran.succeeds().stdout.replace("***", "ann:secret")
    };
    for pool in ["www", "other"] {
        site.write(&format!("etc/php/fpm/redundant-pools/{pool}/pools-manager.toml"), &text(pool));
    }
    site.write("etc/pools-manager.toml", &text("--global"));
    assert_eq!(show(&site), before);
}

#[test]
fn each_derived_key_has_a_reason() {
    let site = site();
    let all = settings(&site, &["config", "show", "--json"]);
    let derived: BTreeSet<&str> = all
        .iter()
        .filter(|(_, source, value)| source == "derived" && !value.is_null())
        .map(|(name, ..)| name.as_str())
        .collect();
    let expected = [
        "[command] concurrency",
        "[command] listen",
        "[command] socket",
        "[command] socket_owner",
        "[gateway] document_root",
        "[gateway] max_body",
        "[gateway] max_temp_per_client",
        "[gateway] max_temp_per_pool",
        "[gateway] server_software",
        "[gateway] threads",
        "[php] isolate",
        "[php] php_fpm_cmd",
        "[rollout] strategy",
    ];
    assert_eq!(derived, BTreeSet::from(expected));
}

#[test]
fn broken_file_is_an_error_with_its_line_and_the_others_are_shown() {
    let site = site();
    site.replace(SETTINGS, "hosts = [", "hots = [");
    let ran = site.run(&["config", "show"]);
    let error = format!("error: {}/{SETTINGS}:9: unknown key `hots`\n", site.root().display());
    assert!(ran.status(2).stderr.starts_with(&error), "{ran}");
    assert!(ran.stdout.contains("\n[command]\n") && !ran.stdout.contains("\n[php]\n"), "{ran}");
    site.write("etc/pools-manager.toml", "[gatewy]\n");
    let ran = site.run(&["config", "show"]);
    assert!(ran.status(2).stderr.contains("etc/pools-manager.toml:1: unknown key"), "{ran}");
    assert!(ran.stdout.contains("[command]"), "{ran}");
    site.run(&["config", "show", "other"]).succeeds();
    assert!(site.run(&["config", "show", "none"]).status(2).stderr.contains("no pool \"none\""));
}
