//! php-fpm's messages on its stderr.

/// The last message of php-fpm after an error in its configuration.
pub(super) const FAILED: &str = "FPM initialization failed";

/// The lines of its output that report errors; all lines if there are none. Without times, and
/// without lines that add nothing.
pub(super) fn error_lines(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().map(without_time).collect();
    if lines.iter().any(says_why) {
        lines.retain(says_why);
    }
    let from = lines.len().saturating_sub(10);
    lines[from..].iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// `[20-Nov-2026 07:28:01] ERROR: ...`
fn without_time(line: &str) -> &str {
    line.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map_or(line, |(_, said)| said)
}

fn says_why(line: &&str) -> bool {
    let bad = ["ERROR: ", "ALERT: ", "WARNING: ", "PHP: "]; // the last is the ini parser's
    let empty = [
        FAILED,
        "failed to post process the configuration",
        "/proc/self/fd/", // the generated file, which the operator does not know
    ];
    bad.iter().any(|level| line.starts_with(level)) && !empty.iter().any(|it| line.contains(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_with_a_reason_are_kept() {
        let said = "\
[20-Nov-2026 07:28:01] NOTICE: [pool www1] 'user' directive is ignored
[20-Nov-2026 07:28:01] ERROR: [/srv/pool.conf:24] unknown entry 'pmm'
[20-Nov-2026 07:28:01] ERROR: Unable to include /srv/1.conf from /proc/self/fd/11 at line 24
[20-Nov-2026 07:28:01] ERROR: failed to load configuration file '/proc/self/fd/11'
[20-Nov-2026 07:28:01] ERROR: FPM initialization failed
";
        assert_eq!(error_lines(said), "    ERROR: [/srv/pool.conf:24] unknown entry 'pmm'");
        assert_eq!(error_lines("Usage: ...\n"), "    Usage: ...");
    }
}
