//! The hosts of a pool whose configuration is broken: the gateway answers for them with an error
//! page.

use std::fs;
use std::path::Path;

use toml::de::{DeTable, DeValue};

/// Matches every host that belongs to no other pool.
pub const EVERY_HOST: &str = "*";

/// The gateway's hosts in the `pools-manager.toml` of a pool, whatever else is wrong with that
/// file. Empty: it has no `[gateway]`. None: not known.
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
        // In a broken file, the line of the hosts may be the broken one.
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
        // Not known.
        assert_eq!(hosts("[gateway]\nhosts = \"a\""), None);
        assert_eq!(hosts("[gateway]\nhosts = [3]"), None);
        assert_eq!(hosts("[gateway]\nhost = ["), None);
        assert_eq!(hosts("gate"), None);
    }
}
