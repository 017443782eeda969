//! The hosts of a pool whose configuration is broken, so that they get an answer that says so.

use std::fs;
use std::path::Path;

use toml::de::{DeTable, DeValue};

/// Stands for every host that is no other pool's.
pub const EVERY_HOST: &str = "*";

/// The hosts that the `pools-manager.toml` of a pool gives to the gateway, whatever else is wrong
/// with that file; none where it has no `[gateway]`. None: that cannot be told.
pub fn salvaged_hosts(path: &Path) -> Option<Vec<String>> {
    of(&fs::read_to_string(path).ok()?)
}

fn of(text: &str) -> Option<Vec<String>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let is_whole = errors.is_empty();
    let Some(gateway) = get(table.get_ref(), "gateway") else {
        return is_whole.then(Vec::new);
    };
    let Some(hosts) = get(gateway.as_table()?, "hosts") else {
        // Where the file is broken, the line that names them may be what is broken.
        return is_whole.then(|| vec![EVERY_HOST.to_owned()]);
    };
    let hosts = hosts.as_array()?.iter();
    let hosts: Vec<_> =
        hosts.map(|host| host.get_ref().as_str().map(str::to_owned)).collect::<Option<_>>()?;
    Some(if hosts.is_empty() { vec![EVERY_HOST.to_owned()] } else { hosts })
}

fn get<'a, 'i>(table: &'a DeTable<'i>, key: &str) -> Option<&'a DeValue<'i>> {
    let found = table.iter().find(|(known, _)| known.get_ref().as_ref() == key);
    found.map(|(_, value)| value.get_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_in_a_broken_file() {
        let hosts = |text| of(text).map(|hosts| hosts.join(" "));
        assert_eq!(
            hosts("[gateway]\nhosts = [\"a\", \"*.b\"]\n[php]\nx = 3"),
            Some("a *.b".into())
        );
        assert_eq!(hosts("[gateway]\nhosts = [\"a\"]\n[php]\nx = ["), Some("a".into()));
        assert_eq!(hosts("[php\n[gateway]\nhosts = [\"a\"]\n"), Some("a".into()));
        assert_eq!(hosts("[gateway]\nqueue = \"x\""), Some("*".into()));
        assert_eq!(hosts("[php]\nx = 3"), Some(String::new()));
        // It cannot be told.
        assert_eq!(hosts("[gateway]\nhosts = \"a\""), None);
        assert_eq!(hosts("[gateway]\nhosts = [3]"), None);
        assert_eq!(hosts("[gateway]\nhost = ["), None);
        assert_eq!(hosts("gate"), None);
    }
}
