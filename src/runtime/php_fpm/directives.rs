//! A configuration as php-fpm resolves it, apart from any pool.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::conf::quoted;
use super::messages::error_lines;
use crate::error::{Error, Result};
use crate::runtime::inherited::{in_child, in_memory, inherit};

/// How long `php-fpm -tt` may take. It takes about 30 ms.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A section, and its directives in the order of php-fpm's output. Those that are not set are left
/// out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// The names and values of its directives.
    pub directives: Vec<(String, String)>,
}

impl Section {
    /// The value of a directive.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.directives.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The sections of a file, `global` first. Its own `error_log` is not opened.
pub async fn directives_of_file(program: &Path, file: &Path) -> Result<Vec<Section>> {
    let text = format!("include={}\n[global]\nerror_log=/dev/null\n", quoted(file)?);
    directives(program, Path::new("/"), &[], &text)
        .await
        .map_err(|error| error.within(file.display()))
}

/// The sections of a configuration, `global` first. php-fpm is run in `dir` with these arguments, as
/// `php-fpm -tt`. It opens the logs that the text names.
pub async fn directives(
    program: &Path,
    dir: &Path,
    args: &[&str],
    text: &str,
) -> Result<Vec<Section>> {
    let failed = |what: String| Error::failed(format!("{}: {what}", program.display()));
    let file = in_memory(text).map_err(|error| failed(format!("memfd: {error}")))?;
    let mut probe = tokio::process::Command::new(program);
    probe.args(args).args(["--fpm-config", &in_child(&file), "-tt"]);
    probe.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    inherit(&mut probe, file);
    let Ok(output) = tokio::time::timeout(TIMEOUT, probe.output()).await else {
        return Err(failed(format!("-tt did not end within {TIMEOUT:?}")));
    };
    let output = output.map_err(|error| {
        Error::config(format!("cannot run {}: {error}", program.display())).hint("name a php-fpm")
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(parse(&said));
    }
    Err(Error::config(format!(
        "php-fpm does not accept this configuration:\n{}",
        error_lines(&said)
    )))
}

/// Reads the lines `[time] NOTICE: \tkey = value` and `[time] NOTICE: [section]`.
fn parse(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines() {
        let Some((_, said)) = line.split_once("NOTICE: ") else { continue };
        if let Some(name) = said.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            sections.push(Section { name: name.to_owned(), directives: Vec::new() });
        } else if let Some((key, value)) =
            said.strip_prefix('\t').and_then(|it| it.split_once(" = "))
            && let Some(section) = sections.last_mut()
            && value != "undefined"
        {
            section.directives.push((key.to_owned(), value.to_owned()));
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_have_the_directives_that_are_set() {
        let text = "[t] NOTICE: [global]\n[t] NOTICE: \tpid = undefined\n[t] NOTICE:  \n[t] NOTICE: [www]\n\
                    [t] NOTICE: \tenv[A] = a = b\n[t] NOTICE: configuration file x test is successful\n";
        let sections = parse(text);
        assert_eq!(sections[0], Section { name: "global".to_owned(), directives: Vec::new() });
        assert_eq!(sections[1].get("env[A]"), Some("a = b"));
        assert_eq!(sections.len(), 2);
    }
}
