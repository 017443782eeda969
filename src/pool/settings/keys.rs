//! The keys of `pools-manager.toml`.

use super::command;
use crate::backend::{apache, haproxy};
use crate::config;
use crate::config::keys::{Default, Key, Kind, Table};

/// The tables of the file.
pub const TABLES: &[Table] = &[
    Table { name: "php", keys: PHP },
    Table { name: "command", keys: command::KEYS },
    Table { name: "apache", keys: apache::KEYS },
    Table { name: "haproxy", keys: haproxy::KEYS },
    Table { name: "gateway", keys: config::GATEWAY_KEYS },
    Table { name: "rollout", keys: config::ROLLOUT_KEYS },
    Table { name: "watch", keys: config::WATCH_KEYS },
    Table { name: "limits", keys: config::LIMITS_KEYS },
    Table { name: "systemd", keys: config::SYSTEMD_KEYS },
    Table { name: "hooks", keys: config::HOOKS_KEYS },
];

const PHP: &[Key] = &[
    Key::new(
        "current_release_symlink",
        Kind::Path,
        Default::Value("\"\""),
        "the symlink to the release that should run. `\"\"`: releases are not pinned",
    ),
    Key::new(
        "current_dir",
        Kind::Path,
        Default::Value("\"\""),
        "an empty directory. Each php-fpm master sees its release here. It may contain a `.gitkeep`. Required if `current_release_symlink` is set",
    ),
    Key::new(
        "isolate",
        Kind::Bool,
        Default::Derived("true where the layout allows it"),
        "[the other releases are hidden](layout.md#other-releases-are-hidden) from each replica",
    ),
    Key::new(
        "php_fpm_cmd",
        Kind::Command,
        Default::Derived("the newest installed php-fpm, with `-p ROOT`"),
        "starts php-fpm. pools-manager appends `--fpm-config FILE`",
    ),
    Key::new(
        "monitor_url",
        Kind::Url,
        Default::Value("\"\""),
        "a page that is requested through the web server before and after a rollout. `\"\"`: none",
    ),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{RawFile, Settings};
    use super::*;
    use crate::config::File;
    use crate::config::keys::tests::{are_those_of, defaults_hold};
    use crate::root::Root;

    #[test]
    fn described_keys_are_those_that_are_parsed() {
        are_those_of::<RawFile>(TABLES);
    }

    #[test]
    fn described_defaults_are_those_that_hold() {
        defaults_hold::<RawFile>(TABLES, |text| {
            let has_server = ["[php]", "[command]"].iter().any(|table| text.starts_with(table));
            let text = if has_server { text.to_owned() } else { format!("[php]\n{text}") };
            let file = File::of(Path::new("/root/pool.toml"), text.into_bytes()).unwrap();
            let settings = Settings::of(&file, &Root::new("/root".into()), "www");
            format!("{:?}", settings.unwrap_or_else(|error| panic!("{error}")))
        });
    }
}
