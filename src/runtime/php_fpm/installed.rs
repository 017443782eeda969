//! The properties of the installed php-fpm that are the same for all pools.

use std::path::PathBuf;

use super::Command;
use super::messages::error_lines;
use super::resolved::run;
use super::uploads::Uploads;
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::release::Release;

/// The values of `php-fpm -i` that are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Installed {
    /// PHP's version.
    pub(super) version: String,
    /// `opcache.file_cache` of php.ini.
    pub(super) file_cache: Option<PathBuf>,
    /// `upload_max_filesize` and `post_max_size`.
    pub(super) uploads: Uploads<String>,
    /// Whether PHP accepts uploads at all (`file_uploads`).
    pub(super) accepts_files: bool,
    /// php.ini, if there is one.
    pub(super) ini: Option<PathBuf>,
    /// PHP's own `error_log` of php.ini.
    pub(super) error_log: Option<PathBuf>,
}

impl Installed {
    /// Runs `php-fpm -i`, with the arguments and the release of a start.
    pub(super) async fn read(
        pool: &Pool,
        command: &Command,
        release: Option<&Release>,
    ) -> Result<Self> {
        let output = run(pool, command, &["-i"], None, release).await?;
        if !output.status.success() {
            let said = error_lines(&String::from_utf8_lossy(&output.stderr));
            return Err(Error::config(format!("{} -i fails:\n{said}", command.program)));
        }
        Ok(parse(&String::from_utf8_lossy(&output.stdout)))
    }
}

/// The lines are `name => value`, or `name => local value => master value`.
fn parse(text: &str) -> Installed {
    let find = |name: &str| {
        let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(" => ")?.to_owned());
        let value = text.lines().find_map(value)?;
        Some(value.split(" => ").next().unwrap_or_default().trim().to_owned())
    };
    let path =
        |name: &str| find(name).filter(|it| it != "no value" && it != "(none)").map(PathBuf::from);
    Installed {
        version: find("PHP Version").unwrap_or_else(|| "unknown version".to_owned()),
        file_cache: path("opcache.file_cache"),
        uploads: Uploads {
            upload_max_filesize: find("upload_max_filesize"),
            post_max_size: find("post_max_size"),
        },
        accepts_files: find("file_uploads").is_none_or(|value| value != "Off"),
        ini: path("Loaded Configuration File"),
        error_log: path("error_log"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_from_the_output() {
        let text = |cache: &str| {
            format!(
                "phpinfo()\nPHP Version => 8.2.35\n\nopcache.file_cache => {cache} => {cache}\n\
                 opcache.file_cache_only => Off => Off\nPHP Version => 8.2.35\n"
            )
        };
        let found = parse(&text("/var/cache/php"));
        assert_eq!(found.version, "8.2.35");
        assert_eq!(found.file_cache, Some(PathBuf::from("/var/cache/php")));
        assert_eq!(parse(&text("no value")).file_cache, None);
        assert_eq!(parse("").version, "unknown version");
    }

    #[test]
    fn limits_of_uploads_have_their_file() {
        let text = |ini: &str, files: &str| {
            format!(
                "Loaded Configuration File => {ini}\nfile_uploads => {files} => {files}\n\
                 post_max_size => 8M => 8M\nupload_max_filesize => 2M => 2M\n\
                 error_log => no value => no value\n"
            )
        };
        let found = parse(&text("/etc/php.ini", "On"));
        assert_eq!(found.uploads.upload_max_filesize.as_deref(), Some("2M"));
        assert_eq!(found.uploads.post_max_size.as_deref(), Some("8M"));
        assert_eq!((found.ini, found.error_log), (Some(PathBuf::from("/etc/php.ini")), None));
        let found = parse(&text("(none)", "Off"));
        assert_eq!((found.ini, found.accepts_files), (None, false));
    }
}
