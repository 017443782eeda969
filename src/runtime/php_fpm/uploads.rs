//! Compares PHP's limits of a request's body with the gateway's `max_body`. If the gateway accepts a
//! body that PHP does not accept, the script sees a failed upload, or a form without fields.

use std::path::Path;

use super::resolved::php_size;
use crate::finding::Finding;

/// Both limits, or another value for each of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uploads<T> {
    /// `upload_max_filesize`: the most bytes of a file.
    pub upload_max_filesize: Option<T>,
    /// `post_max_size`: the most bytes of a body. 0: any number.
    pub post_max_size: Option<T>,
}

/// The name that a message gives to the place of the section's values.
const SECTION: &str = "N.conf";

/// Where a replica's limits come from, and the gateway's.
#[derive(Debug)]
pub(super) struct Limits<'a> {
    /// Those of the section.
    pub(super) section: &'a Uploads<String>,
    /// Those of `php-fpm -i`.
    pub(super) installed: &'a Uploads<String>,
    /// Whether PHP accepts files.
    pub(super) accepts_files: bool,
    /// Where `php-fpm -i` has its values from: php.ini, or PHP itself.
    pub(super) ini: &'a str,
    /// The most bytes that the gateway accepts.
    pub(super) max_body: u64,
    /// Where that is set.
    pub(super) global: &'a Path,
}

impl Limits<'_> {
    /// A warning if PHP accepts less than the gateway.
    pub(super) fn finding(&self) -> Option<Finding> {
        let Self { section, installed, max_body, .. } = self;
        let files = self.lower(
            "upload_max_filesize",
            section.upload_max_filesize.as_deref(),
            installed.upload_max_filesize.as_deref(),
        );
        let bodies = self.lower(
            "post_max_size",
            section.post_max_size.as_deref(),
            installed.post_max_size.as_deref(),
        );
        let lower: Vec<String> =
            files.filter(|_| self.accepts_files).into_iter().chain(bodies).collect();
        if lower.is_empty() {
            return None;
        }
        let message = format!(
            "PHP accepts less than the gateway, which accepts bodies of {} (max_body in {}): {}",
            shown(*max_body),
            self.global.display(),
            lower.join(", ")
        );
        let key = |text: &String| text.split(' ').next().unwrap_or_default().to_owned();
        let same = |key| format!("php_admin_value[{key}] = {}", shown_in_php(*max_body));
        let lines: Vec<String> = lower.iter().map(key).map(same).collect();
        let help = format!("set the same in the section: {}; or lower max_body", lines.join(", "));
        Some(Finding::warning(message, help))
    }

    /// The value and its place, if it is lower than the gateway's limit.
    fn lower(&self, key: &str, own: Option<&str>, installed: Option<&str>) -> Option<String> {
        let (value, place) = match (own, installed) {
            (Some(value), _) => (value, SECTION),
            (None, value) => (value?, self.ini),
        };
        let bytes = php_size(value)?;
        let is_unlimited = bytes == 0 && key == "post_max_size";
        (!is_unlimited && bytes < self.max_body).then(|| format!("{key} is {value} ({place})"))
    }
}

fn shown(bytes: u64) -> String {
    match bytes {
        _ if bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

fn shown_in_php(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) { format!("{}M", bytes >> 20) } else { bytes.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(own: [Option<&str>; 2], installed: [&str; 2], max_body: u64) -> Option<String> {
        let own = own.map(|it| it.map(str::to_owned));
        let [upload_max_filesize, post_max_size] = own;
        let section = Uploads { upload_max_filesize, post_max_size };
        let [upload_max_filesize, post_max_size] = installed.map(|it| Some(it.to_owned()));
        let limits = Limits {
            section: &section,
            installed: &Uploads { upload_max_filesize, post_max_size },
            accepts_files: true,
            ini: "/php.ini",
            max_body,
            global: Path::new("/global"),
        };
        let message = limits.finding()?.message;
        Some(message.split("): ").nth(1).unwrap().to_owned())
    }

    #[test]
    fn lower_limits_are_named_with_their_place() {
        let mib = 1 << 20;
        let found_one = found([None, Some("64M")], ["2M", "8M"], 64 * mib);
        assert_eq!(found_one.unwrap(), "upload_max_filesize is 2M (/php.ini)");
        let both = found([Some("63M"), None], ["100M", "8M"], 64 * mib);
        assert_eq!(
            both.unwrap(),
            "upload_max_filesize is 63M (N.conf), post_max_size is 8M (/php.ini)"
        );
        assert_eq!(found([None, None], ["64M", "0"], 64 * mib), None);
        assert_eq!(found([None, None], ["1G", "65536K"], 64 * mib), None);
        assert_eq!(found([None, None], ["-1", "?"], 64 * mib), None);
        let none = found([None, None], ["0", "0"], 64 * mib);
        assert_eq!(none.unwrap(), "upload_max_filesize is 0 (/php.ini)");
    }
}
