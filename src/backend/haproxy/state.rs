//! The answer to `show servers state BACKEND`.

use std::fmt;

/// The bits of `srv_admin_state` (`enum srv_admin` of HAProxy's `server-t.h`).
mod admin {
    /// Maintenance: set by an operator, inherited from a tracked server, or because the server has no
    /// address.
    pub(super) const MAINTENANCE: u32 = 0x01 | 0x02 | 0x20;
    /// Drained by the runtime API.
    pub(super) const DRAIN: u32 = 0x08;
    /// The drain of a tracked server.
    pub(super) const INHERITED_DRAIN: u32 = 0x10;
}

/// The values of `srv_op_state` (`enum srv_state`).
mod op {
    pub(super) const STOPPED: u32 = 0;
    pub(super) const STARTING: u32 = 1;
    pub(super) const RUNNING: u32 = 2;
}

/// The bits of `srv_check_state` (`check.h`).
mod check {
    pub(super) const ENABLED: u32 = 0x04;
    pub(super) const PAUSED: u32 = 0x08;
    /// The value of `srv_check_result` before the first check, and after one that failed.
    pub(super) const NOT_PASSED: [u32; 2] = [0, 2];
}

/// A server of the backend at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) name: String,
    /// Its IP address and port; None: a unix socket.
    pub(super) address: Option<String>,
    op: u32,
    admin: u32,
    weight: u32,
    /// The last health check did not pass, or there was none yet.
    failing: bool,
}

/// Why an answer has no servers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// HAProxy has no such backend.
    NoBackend,
    /// A message in place of the table.
    Answer(String),
    /// A table that cannot be read.
    Broken(&'static str),
}

/// Reads the servers of a backend, in HAProxy's order.
pub(super) fn read(text: &str, backend: &str) -> Result<Vec<Server>, Problem> {
    let mut lines = text.lines();
    // The version of the format.
    match lines.next() {
        Some("1") => {}
        Some("Can't find backend.") => return Err(Problem::NoBackend),
        _ => return Err(Problem::Answer(text.to_owned())),
    }
    let heading = lines.next().and_then(|line| line.strip_prefix("# "));
    let columns: Vec<&str> = heading.ok_or(Problem::Broken("no heading"))?.split(' ').collect();
    let mut servers = Vec::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        let cells: Vec<&str> = line.split(' ').collect();
        let cell = |name| {
            let at = columns.iter().position(|column| *column == name)?;
            cells.get(at).copied()
        };
        if cell("be_name") == Some(backend) {
            servers.push(server(cell).ok_or(Problem::Broken("a server without its state"))?);
        }
    }
    Ok(servers)
}

fn server<'a>(cell: impl Fn(&'static str) -> Option<&'a str>) -> Option<Server> {
    let number = |name| cell(name)?.parse::<u32>().ok();
    let address = cell("srv_addr").filter(|address| *address != "-");
    let port = cell("srv_port").unwrap_or("0");
    let checks = number("srv_check_state").unwrap_or_default();
    let is_checked = checks & (check::ENABLED | check::PAUSED) == check::ENABLED;
    let result = number("srv_check_result").unwrap_or_default();
    Some(Server {
        name: cell("srv_name")?.to_owned(),
        address: address.map(|address| format!("{address}:{port}")),
        op: number("srv_op_state")?,
        admin: number("srv_admin_state")?,
        weight: number("srv_uweight")?,
        failing: is_checked && check::NOT_PASSED.contains(&result),
    })
}

impl Server {
    /// It gets new requests.
    pub(super) fn serves(&self) -> bool {
        let out = admin::MAINTENANCE | admin::DRAIN | admin::INHERITED_DRAIN;
        self.admin & out == 0 && self.weight > 0 && matches!(self.op, op::STARTING | op::RUNNING)
    }

    /// An operator has taken the server out of use, or HAProxy has, but not because of a health
    /// check.
    pub(super) fn is_in_maintenance(&self) -> bool {
        self.admin & admin::MAINTENANCE != 0
    }

    /// New requests to it were stopped over the runtime API.
    pub(super) fn is_draining(&self) -> bool {
        self.admin & admin::DRAIN != 0
    }

    /// It gets requests, but its last health check did not pass, or there was no check yet. HAProxy
    /// considers a server up until its first checks have failed, so this one may be down in a
    /// moment.
    pub(super) fn is_unproven(&self) -> bool {
        self.failing && self.serves()
    }

    /// A health check of HAProxy fails.
    pub(super) fn is_down(&self) -> bool {
        self.op == op::STOPPED && !self.is_in_maintenance()
    }
}

/// The words of HAProxy's own statistics.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drains = self.admin & (admin::DRAIN | admin::INHERITED_DRAIN) != 0;
        f.write_str(match () {
            () if self.is_in_maintenance() => "MAINT",
            () if drains && self.is_down() => "DRAIN DOWN",
            () if drains => "DRAIN",
            () if self.is_down() => "DOWN",
            () if !matches!(self.op, op::STARTING | op::RUNNING) => "NOLB",
            () if self.weight == 0 => "weight 0",
            () => "UP",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("fixtures/2.6.12.txt");

    fn told(admin: u32, op: u32, weight: u32) -> (String, bool, bool, bool) {
        let name = "www1".to_owned();
        let server = Server { name, address: None, op, admin, weight, failing: false };
        (server.to_string(), server.serves(), server.is_draining(), server.is_down())
    }

    #[test]
    fn servers_are_read_by_the_heading() {
        let servers = read(SAMPLE, "www").unwrap();
        let told: Vec<String> =
            servers.iter().map(|it| format!("{} {it} {:?}", it.name, it.address)).collect();
        assert_eq!(told, ["www1 DRAIN None", "www2 DOWN None", "tcp MAINT Some(\"127.0.0.1:9\")"]);
        assert_eq!(read(SAMPLE, "other"), Ok(Vec::new()));
    }

    #[test]
    fn server_is_unproven_until_a_check_has_passed() {
        let heading = "1\n# be_name srv_name srv_op_state srv_admin_state srv_uweight srv_check_result srv_check_state";
        let is_unproven = |op, result, state| {
            let text = format!("{heading}\nwww www1 {op} 0 1 {result} {state}\n\n");
            read(&text, "www").unwrap()[0].is_unproven()
        };
        assert!(is_unproven(2, 0, 6) && is_unproven(2, 2, 7));
        assert!(!is_unproven(2, 3, 6) && !is_unproven(2, 4, 6) && !is_unproven(2, 1, 6));
        // Without checks, with paused ones, and down already.
        assert!(!is_unproven(2, 0, 0) && !is_unproven(2, 0, 14) && !is_unproven(0, 2, 6));
    }

    #[test]
    fn other_answers_are_problems() {
        assert_eq!(read("Can't find backend.\n\n", "www"), Err(Problem::NoBackend));
        let denied = "Permission denied\n\n";
        assert_eq!(read(denied, "www"), Err(Problem::Answer(denied.to_owned())));
        assert_eq!(read("1\nx\n\n", "www"), Err(Problem::Broken("no heading")));
        let short = "1\n# be_name srv_name srv_op_state\nwww www1 2\n\n";
        assert_eq!(read(short, "www"), Err(Problem::Broken("a server without its state")));
    }

    #[test]
    fn operators_and_health_checks_are_told_apart() {
        assert_eq!(told(0, 2, 1), ("UP".to_owned(), true, false, false));
        assert_eq!(told(0, 1, 1), ("UP".to_owned(), true, false, false));
        assert_eq!(told(0, 0, 1), ("DOWN".to_owned(), false, false, true));
        assert_eq!(told(8, 2, 1), ("DRAIN".to_owned(), false, true, false));
        assert_eq!(told(8, 0, 1), ("DRAIN DOWN".to_owned(), false, true, true));
        for maintenance in [1, 2, 0x20, 1 | 4, 9] {
            assert_eq!(told(maintenance, 0, 1).0, "MAINT");
            assert!(!told(maintenance, 0, 1).1 && !told(maintenance, 0, 1).3);
        }
        // `disabled` in the configuration, and enabled since.
        assert_eq!(told(4, 2, 1).0, "UP");
        assert_eq!(told(0x10, 2, 1), ("DRAIN".to_owned(), false, false, false));
        assert_eq!(told(0, 3, 1), ("NOLB".to_owned(), false, false, false));
        assert_eq!(told(0, 2, 0), ("weight 0".to_owned(), false, false, false));
    }
}
