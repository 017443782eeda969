//! The output of `php-fpm -tt`, correct and damaged.

use proptest::option::of;
use proptest::prelude::*;

use super::*;
use crate::fuzz::{Bytes, a_megabyte_of, damaged};

const SAMPLES: &[&str] = &["[20-Nov-2026 07:28:01] NOTICE: [global]
[20-Nov-2026 07:28:01] NOTICE: \tpid = /srv/pid/www1.pid
[20-Nov-2026 07:28:01] NOTICE: \terror_log = /dev/null
[20-Nov-2026 07:28:01] NOTICE: \tprocess_control_timeout = 60s
[20-Nov-2026 07:28:01] NOTICE:  
[20-Nov-2026 07:28:01] NOTICE: [www1]
[20-Nov-2026 07:28:01] NOTICE: \tuser = www-data
[20-Nov-2026 07:28:01] NOTICE: \tgroup = undefined
[20-Nov-2026 07:28:01] NOTICE: \tlisten = /srv/sockets/www1.sock
[20-Nov-2026 07:28:01] NOTICE: \tpm = dynamic
[20-Nov-2026 07:28:01] NOTICE: \tpm.max_children = 5
[20-Nov-2026 07:28:01] NOTICE: \tpm.start_servers = 2
[20-Nov-2026 07:28:01] NOTICE: \tpm.status_path = /status
[20-Nov-2026 07:28:01] NOTICE: \tping.path = /ping
[20-Nov-2026 07:28:01] NOTICE: \tping.response = pong
[20-Nov-2026 07:28:01] NOTICE: \tphp_admin_value[opcache.file_cache] = /tmp/cache
[20-Nov-2026 07:28:01] NOTICE:  
[20-Nov-2026 07:28:01] NOTICE: configuration file /dev/stdin test is successful
"];

const WORDS: &[&str] = &[
    "NOTICE: ",
    "[t] NOTICE: [",
    "]\n",
    " = ",
    "\t",
    "undefined",
    "[global]",
    "static",
    "[t] NOTICE: \tlisten = ",
    "127.0.0.1:9000",
    "pm = ondemand",
    "0s",
];

fn value() -> impl Strategy<Value = String> {
    prop_oneof!["/[a-z]{1,8}", "\\PC{1,20}"].prop_filter("is none", |it| it != "undefined")
}

prop_compose! {
    fn settings()(
        section in "[a-z0-9]{1,8}",
        listen in "/[a-z./ =]{0,20}",
        values in [of(value()), of(value()), of(value()), of(value()), of(value())],
        ping_response in value(),
        start_servers in 1..1000_u32,
        stops_gently: bool,
        file_cache in of(value()),
        max_children in of(any::<u32>()),
    ) -> Resolved {
        let [pid, ping_path, status_path, user, group] = values;
        let children = max_children.map(|max| Children { max, fixed: false });
        let (listen, pid, file_cache) = (listen.into(), pid.map(Into::into), file_cache.map(Into::into));
        Resolved {
            section, listen, pid, ping_path, ping_response, status_path, start_servers, children,
            stops_gently, user, group, file_cache, memory_limit: None, logs: Vec::new(), opened: Vec::new(), uploads: Uploads::default(),
        }
    }
}

/// As `fpm_conf_dump` of `fpm_conf.c` writes it.
fn printed(settings: &Resolved) -> String {
    let shown = |path: &PathBuf| path.display().to_string();
    let or = |value: Option<String>| value.unwrap_or("undefined".to_owned());
    let cache = settings.file_cache.as_ref().map(shown);
    let lines = [
        "[global]".to_owned(),
        format!("\tpid = {}", or(settings.pid.as_ref().map(shown))),
        format!("\tprocess_control_timeout = {}s", if settings.stops_gently { "10" } else { "0" }),
        "\tlisten = of nobody".to_owned(),
        " ".to_owned(),
        format!("[{}]", settings.section),
        format!("\tuser = {}", or(settings.user.clone())),
        format!("\tgroup = {}", or(settings.group.clone())),
        format!("\tlisten = {}", settings.listen.display()),
        "\tpm = dynamic".to_owned(),
        format!("\tpm.max_children = {}", or(settings.children.map(|it| it.max.to_string()))),
        format!("\tpm.start_servers = {}", settings.start_servers),
        format!("\tpm.status_path = {}", or(settings.status_path.clone())),
        format!("\tping.path = {}", or(settings.ping_path.clone())),
        format!("\tping.response = {}", settings.ping_response),
        cache.map_or(" ".to_owned(), |path| format!("\tphp_value[opcache.file_cache] = {path}")),
    ];
    lines.map(|line| format!("[20-Nov-2026 07:28:01] NOTICE: {line}\n")).concat()
}

proptest! {
    #[test]
    fn dumped_settings_are_read(settings in settings()) {
        prop_assert_eq!(parse(&printed(&settings)).unwrap(), settings);
    }

    #[test]
    fn damaged_output_yields_only_settings_that_are_in_it(Bytes(bytes) in damaged(SAMPLES, WORDS)) {
        let text = String::from_utf8_lossy(&bytes);
        let Ok(found) = parse(&text) else { return Ok(()) };
        let said = |key: &str, value: &str| text.contains(&format!("{key} = {value}"));
        let path = |path: &PathBuf| path.display().to_string();
        let section = format!("NOTICE: [{}]", found.section);
        prop_assert!(text.contains(&section));
        prop_assert!(found.listen.is_absolute() && said("listen", &path(&found.listen)));
        prop_assert!(found.pid.is_none_or(|it| said("pid", &path(&it))));
        prop_assert!(found.ping_path.is_none_or(|it| said("ping.path", &it)));
        prop_assert!(found.status_path.is_none_or(|it| said("pm.status_path", &it)));
        prop_assert!(found.user.is_none_or(|it| said("user", &it)));
        prop_assert!(found.group.is_none_or(|it| said("group", &it)));
        prop_assert!(found.start_servers >= 1);
    }
}

#[test]
fn a_megabyte_is_read_without_delay() {
    let lines = SAMPLES[0].split_inclusive('\n');
    for word in WORDS.iter().copied().chain(lines) {
        let much = a_megabyte_of(word);
        let _ = parse(&much);
        let _ = parse(&format!("{}{much}", SAMPLES[0]));
        let _ = parse(&SAMPLES[0].replace("pong", &much));
    }
}
