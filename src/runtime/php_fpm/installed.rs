//! The properties of the installed php-fpm that are the same for all pools.

use std::path::PathBuf;

use super::Command;
use super::messages::error_lines;
use super::resolved::run;
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
    Installed {
        version: find("PHP Version").unwrap_or_else(|| "unknown version".to_owned()),
        file_cache: find("opcache.file_cache").filter(|path| path != "no value").map(PathBuf::from),
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
        let version = "8.2.35".to_owned();
        let file_cache = Some(PathBuf::from("/var/cache/php"));
        assert_eq!(parse(&text("/var/cache/php")), Installed { version, file_cache });
        assert_eq!(parse(&text("no value")).file_cache, None);
        assert_eq!(parse("").version, "unknown version");
    }
}
