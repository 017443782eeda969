//! A replica's configuration, as php-fpm itself resolves it.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use seccompiler::BpfProgram;

use super::conf::{self, quoted};
use super::logs::{NO_LOG, logs, opened};
use super::messages::{FAILED, error_lines};
use super::uploads::Uploads;
use super::{Command, Server, unopened_logs};
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::release::Release;
use crate::runtime::inherited::{in_child, in_memory, inherit, read_all};
use crate::runtime::pin::{PIN_HINT, pin};
use crate::runtime::{Children, Generation, LogFile};

/// php-fpm's message if root starts it, and the section has no `user`.
const NO_USER: &str = "user has not been defined";

/// How long `php-fpm -tt` may take. It takes about 30 ms.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The settings of one replica's php-fpm pool that pools-manager uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The name of the section: `www1`.
    pub section: String,
    /// The public socket name.
    pub listen: PathBuf,
    /// The pid file's public name.
    pub pid: Option<PathBuf>,
    /// `ping.path`.
    pub ping_path: Option<String>,
    /// `ping.response`.
    pub ping_response: String,
    /// `pm.status_path`.
    pub status_path: Option<String>,
    /// How many children it starts with; at least 1.
    pub start_servers: u32,
    /// Its children at most.
    pub children: Option<Children>,
    /// Whether QUIT lets requests finish (`process_control_timeout` is not 0).
    pub stops_gently: bool,
    /// `user`, which counts where root starts php-fpm.
    pub user: Option<String>,
    /// `group`, which also counts where root starts php-fpm.
    pub group: Option<String>,
    /// `opcache.file_cache`, where the section sets it.
    pub file_cache: Option<PathBuf>,
    /// `memory_limit` in bytes, where the section sets one.
    pub memory_limit: Option<u64>,
    /// The logs of its processes, except the error log: the record of a generation does not have it.
    pub logs: Vec<LogFile>,
    /// The logs that a master opens when it starts: their settings and paths. If the kernel has no
    /// filter (see [`unopened_logs`]), the error log is missing.
    pub opened: Vec<(&'static str, PathBuf)>,
    /// `upload_max_filesize` and `post_max_size`, where the section sets them.
    pub uploads: Uploads<String>,
}

impl Resolved {
    /// Runs php-fpm to resolve the configuration, pinned to the release as for a start. An error
    /// shows php-fpm's own message.
    pub async fn read(
        pool: &Pool,
        command: &Command,
        replica: u32,
        release: Option<&Release>,
    ) -> Result<Self> {
        let conf = pool.replica_conf(replica);
        let filter = unopened_logs::filter();
        let mut output = dump(pool, command, replica, release, filter).await?;
        if !is_answer(&output) && filter.is_some() {
            // The error log may be syslog. Then the lines have neither times nor levels.
            output = dump(pool, command, replica, release, None).await?;
        }
        if !is_answer(&output) {
            return Err(not_php_fpm(pool, command, &output));
        }
        let text = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            let error =
                format!("php-fpm does not accept {}:\n{}", conf.display(), error_lines(&text));
            return Err(Error::config(error).hint(if text.contains(NO_USER) {
                "root does not run PHP: name the account that does, such as user = www-data, in the section"
            } else {
                "nothing was changed; correct the file and run the command again"
            }));
        }
        parse(&text).map_err(|error| error.within(conf.display()))
    }

    /// Checks that the file that starts a generation can be written in php-fpm's format.
    pub(in crate::runtime) fn check(&self, pool: &Pool, generation: &Generation) -> Result<()> {
        conf::text(pool, generation, &Server::of(self), self, None).map(drop)
    }
}

fn is_answer(output: &Output) -> bool {
    let text = String::from_utf8_lossy(&output.stderr);
    text.contains("NOTICE: [global]") || text.contains(&format!("ERROR: {FAILED}"))
}

/// Runs `-tt` on a file that overrides the log level: php-fpm prints its settings whatever the
/// operator's level is. With the filter it opens none of the operator's logs; without it, the file
/// overrides the error log.
async fn dump(
    pool: &Pool,
    command: &Command,
    replica: u32,
    release: Option<&Release>,
    filter: Option<&'static BpfProgram>,
) -> Result<Output> {
    let include = quoted(&pool.replica_conf(replica))?;
    let log = if filter.is_some() { String::new() } else { format!("error_log={NO_LOG}\n") };
    let text = format!("include={include}\n[global]\n{log}log_level=notice\n");
    let file = in_memory(&text).map_err(|error| memfd(&error))?;
    let path = in_child(&file);
    run(pool, command, &["--fpm-config", &path, "-tt"], Some((file, filter)), release).await
}

/// Runs php-fpm with arguments that make it print and exit, pinned as for a start. It inherits the
/// file, and gets the filter.
pub(super) async fn run(
    pool: &Pool,
    command: &Command,
    args: &[&str],
    test: Option<(File, Option<&'static BpfProgram>)>,
    release: Option<&Release>,
) -> Result<Output> {
    let mut printed = in_memory("").map_err(|error| memfd(&error))?;
    let mut said = in_memory("").map_err(|error| memfd(&error))?;
    let mut probe = tokio::process::Command::new(&command.program);
    probe
        .args(&command.args)
        .args(args)
        .current_dir(pool.root.path())
        .stdin(Stdio::null())
        .stdout(printed.try_clone().map_err(|error| memfd(&error))?)
        .stderr(said.try_clone().map_err(|error| memfd(&error))?)
        .kill_on_drop(true);
    pin(&mut probe, pool, release)?;
    if let Some((file, filter)) = test {
        inherit(&mut probe, file);
        // Registered last, because the filter takes away the right to gain privileges.
        if let Some(filter) = filter {
            unopened_logs::open_none(&mut probe, filter);
        }
    }
    let status = match probe.spawn() {
        Ok(mut child) => tokio::time::timeout(TIMEOUT, child.wait()).await,
        Err(error) => return Err(cannot_run(pool, command, &error, &mut said)),
    };
    match status {
        Ok(Ok(status)) => {
            let (stdout, stderr) = (read_all(&mut printed), read_all(&mut said));
            Ok(Output { status, stdout, stderr })
        }
        Ok(Err(error)) => Err(cannot_run(pool, command, &error, &mut said)),
        Err(_) => {
            let option = args.last().unwrap_or(&"");
            let program = &command.program;
            Err(Error::config(format!("{program} {option} did not end within {TIMEOUT:?}"))
                .hint(correct_command(pool)))
        }
    }
}

fn memfd(error: &std::io::Error) -> Error {
    Error::failed(format!("memfd: {error}"))
}

/// The error of a program that cannot be run. A failed pin has written a message; a missing program
/// has not.
fn cannot_run(pool: &Pool, command: &Command, error: &std::io::Error, said: &mut File) -> Error {
    let program = &command.program;
    let said = String::from_utf8_lossy(&read_all(said)).trim().to_owned();
    if said.is_empty() {
        let message = format!("cannot run {program:?}: {error}");
        return Error::config(message).hint(correct_command(pool));
    }
    let said = said.trim_start_matches("ERROR: ");
    Error::config(format!("{said} for {program}: {error}")).hint(PIN_HINT)
}

fn not_php_fpm(pool: &Pool, command: &Command, output: &Output) -> Error {
    let (program, status) = (&command.program, output.status);
    let message =
        format!("{program} -tt does not show its configuration, as php-fpm does: {status}");
    let said = error_lines(&String::from_utf8_lossy(&output.stderr));
    Error::config(format!("{message}\n{said}").trim_end()).hint(correct_command(pool))
}

fn correct_command(pool: &Pool) -> String {
    let file = pool.settings_file();
    format!(
        "correct php_fpm_cmd in {}: php-fpm, and each argument as a string of its own",
        file.display()
    )
}

/// Reads the lines `[time] NOTICE: \tkey = value` and `[time] NOTICE: [section]`.
fn parse(text: &str) -> Result<Resolved> {
    let mut sections = Vec::new();
    let mut all = Vec::new();
    for line in text.lines() {
        let Some((_, said)) = line.split_once("NOTICE: ") else { continue };
        if let Some(name) = said.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            sections.push(name);
        } else if let Some((key, value)) = said.trim_start().split_once(" = ") {
            all.push((sections.last().copied().unwrap_or_default(), key, value));
        }
    }
    let section = match sections.as_slice() {
        ["global", section] => *section,
        ["global"] | [] => return Err(Error::config("no pool section: expected one, like [www1]")),
        _ => {
            let found = sections[1..].join("] and [");
            return Err(Error::config(format!(
                "one pool section is expected, there are [{found}]"
            ))
            .hint("each replica is one php-fpm pool: put the others into files of their own"));
        }
    };
    let find = |section: &str, key: &str| {
        let found = all.iter().find(|(s, k, _)| *s == section && *k == key);
        found.map(|(_, _, value)| *value).filter(|value| *value != "undefined")
    };
    let listen = PathBuf::from(find(section, "listen").unwrap_or_default());
    if !listen.is_absolute() {
        let message = format!("[{section}] listens on {}, no unix socket", listen.display());
        return Err(Error::config(message)
            .hint("give it a path, like the sample: listen = sockets/php-fpm-$pool.sock"));
    }
    if listen.as_os_str().as_bytes().contains(&b':') {
        let message = format!(
            "[{section}] listens on {}, which php-fpm takes for an internet address",
            listen.display()
        );
        return Err(
            Error::config(message).hint("name a path without a colon, or move the root to one")
        );
    }
    let own = |key| find(section, key).map(str::to_owned);
    let php_value = |name: &str| {
        let kinds = ["php_admin_value", "php_value"];
        kinds.iter().find_map(|kind| find(section, &format!("{kind}[{name}]")))
    };
    let timeout = find("global", "process_control_timeout").unwrap_or("0s");
    Ok(Resolved {
        section: section.to_owned(),
        listen,
        pid: find("global", "pid").map(PathBuf::from),
        ping_path: own("ping.path"),
        ping_response: own("ping.response").unwrap_or_else(|| "pong".to_owned()),
        status_path: own("pm.status_path"),
        start_servers: start_servers(&find, section),
        children: find(section, "pm.max_children")
            .and_then(|max| max.parse().ok())
            .map(|max| Children { max, fixed: find(section, "pm") == Some("static") }),
        stops_gently: !["0", "0s"].contains(&timeout),
        user: own("user"),
        group: own("group"),
        file_cache: php_value("opcache.file_cache")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from),
        memory_limit: php_value("memory_limit").and_then(php_size),
        logs: logs(&find, section, php_value("error_log")),
        opened: opened(&find, section),
        uploads: Uploads {
            upload_max_filesize: php_value("upload_max_filesize").map(str::to_owned),
            post_max_size: php_value("post_max_size").map(str::to_owned),
        },
    })
}

/// Bytes in PHP's notation, such as `128M`; -1 is no limit.
pub(super) fn php_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let shift = match text.bytes().last()?.to_ascii_lowercase() {
        b'k' => 10,
        b'm' => 20,
        b'g' => 30,
        _ => 0,
    };
    let digits = if shift == 0 { text } else { &text[..text.len() - 1] };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A static pool starts with all its children. An on-demand pool starts with none, and counts as 1.
fn start_servers<'a>(find: &impl Fn(&str, &str) -> Option<&'a str>, section: &str) -> u32 {
    let key = match find(section, "pm") {
        Some("static") => "pm.max_children",
        Some("dynamic") => "pm.start_servers",
        _ => return 1,
    };
    find(section, key).and_then(|value| value.parse().ok()).unwrap_or(1).max(1)
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::LogKind;

    const SAMPLE: &str = "\
[20-Nov-2026 07:28:01] NOTICE: [global]
[20-Nov-2026 07:28:01] NOTICE: \tpid = /srv/pid/www1.pid
[20-Nov-2026 07:28:01] NOTICE: \tprocess_control_timeout = 0s
[20-Nov-2026 07:28:01] NOTICE:  
[20-Nov-2026 07:28:01] NOTICE: [www1]
[20-Nov-2026 07:28:01] NOTICE: \tuser = www-data
[20-Nov-2026 07:28:01] NOTICE: \tgroup = undefined
[20-Nov-2026 07:28:01] NOTICE: \tlisten = /srv/sockets/www1.sock
[20-Nov-2026 07:28:01] NOTICE: \tpm.status_path = undefined
[20-Nov-2026 07:28:01] NOTICE: \tping.path = /ping
[20-Nov-2026 07:28:01] NOTICE: \tping.response = pong
[20-Nov-2026 07:28:01] NOTICE: \tphp_value[memory_limit] = 3M
[20-Nov-2026 07:28:01] NOTICE: \tphp_admin_value[opcache.file_cache] = /tmp/cache
[20-Nov-2026 07:28:01] NOTICE: configuration file /dev/stdin test is successful
";

    #[test]
    fn settings_are_read_from_their_sections() {
        let resolved = parse(SAMPLE).unwrap();
        assert_eq!(resolved.section, "www1");
        assert_eq!(resolved.listen, PathBuf::from("/srv/sockets/www1.sock"));
        assert_eq!(resolved.pid, Some(PathBuf::from("/srv/pid/www1.pid")));
        assert_eq!(resolved.ping_path.as_deref(), Some("/ping"));
        assert_eq!(resolved.status_path, None);
        assert!(!resolved.stops_gently);
        assert_eq!(resolved.start_servers, 1);
        let dynamic = SAMPLE
            .replace("ping.response = pong", "pm = dynamic\n[t] NOTICE: \tpm.start_servers = 3");
        assert_eq!(parse(&dynamic).unwrap().start_servers, 3);
        let fixed = SAMPLE
            .replace("ping.response = pong", "pm = static\n[t] NOTICE: \tpm.max_children = 8");
        assert_eq!(parse(&fixed).unwrap().children, Some(Children { max: 8, fixed: true }));
        assert_eq!((resolved.user.as_deref(), resolved.group), (Some("www-data"), None));
        assert_eq!(resolved.file_cache, Some(PathBuf::from("/tmp/cache")));
        assert_eq!(resolved.memory_limit, Some(3 << 20));
        assert_eq!(resolved.logs, []);
        let sizes = ["128M", "1g", "65536", "-1", "", "M"].map(php_size);
        assert_eq!(sizes, [Some(128 << 20), Some(1 << 30), Some(65_536), None, None, None]);
    }

    #[test]
    fn logs_are_those_that_are_written() {
        let conf = "slowlog = /l/slow\n[t] NOTICE: \trequest_slowlog_timeout = ";
        let logs = |timeout: &str| {
            let php = "user = www-data\n[t] NOTICE: \tphp_admin_value[error_log] = /l/php";
            let text = SAMPLE.replace("user = www-data", php);
            let text = text.replace("group = undefined", &format!("{conf}{timeout}"));
            let logs = parse(&text).unwrap().logs.into_iter();
            logs.map(|it| (it.path.display().to_string(), it.kind)).collect::<Vec<_>>()
        };
        let php = ("/l/php".to_owned(), LogKind::Php);
        let slow = ("/l/slow".to_owned(), LogKind::Slow);
        assert_eq!(logs("5s"), [slow, php.clone()]);
        assert_eq!(logs("0s"), [php]);
    }

    #[test]
    fn exactly_one_section_with_a_unix_socket_is_required() {
        assert!(parse(&SAMPLE.replace("/srv/sockets/www1.sock", "127.0.0.1:9000")).is_err());
        assert!(parse(&SAMPLE.replace("[www1]", "www1")).is_err());
        assert!(parse(&format!("{SAMPLE}[x] NOTICE: [www9]\n")).is_err());
        assert!(parse("").is_err());
    }
}
