//! The answer to `show stat -1 4 -1`: the statistics of all servers as CSV.

/// What `check` uses of a server's statistics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Stat {
    pub(super) name: String,
    /// `maxconn` of the server; None: it has none.
    pub(super) maxconn: Option<u32>,
    /// What the last health check has found, such as `Connection refused`; empty: no check.
    pub(super) last_check: String,
}

/// Reads the statistics of a backend's servers. Empty if HAProxy gives none.
pub(super) fn read(text: &str, backend: &str) -> Vec<Stat> {
    let mut lines = text.lines();
    let Some(heading) = lines.next().and_then(|line| line.strip_prefix("# ")) else {
        return Vec::new();
    };
    let columns: Vec<&str> = heading.split(',').collect();
    let one = |line: &str| {
        let cells = cells(line);
        let cell = |name| {
            let at = columns.iter().position(|column| *column == name)?;
            cells.get(at).map(String::as_str)
        };
        if cell("pxname") != Some(backend) {
            return None;
        }
        Some(Stat {
            name: cell("svname")?.to_owned(),
            maxconn: cell("slim").and_then(|value| value.parse().ok()),
            last_check: cell("last_chk").unwrap_or_default().to_owned(),
        })
    };
    lines.take_while(|line| !line.is_empty()).filter_map(one).collect()
}

/// The cells of a line. A cell in double quotes may contain commas, and doubled quotes.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let (mut quoted, mut before) = (false, ',');
    for letter in line.chars() {
        match letter {
            ',' if !quoted => cells.push(String::new()),
            '"' => {
                quoted = !quoted;
                // The second of two quotes.
                if quoted && before == '"' {
                    cells.last_mut().into_iter().for_each(|cell| cell.push('"'));
                }
            }
            letter => cells.last_mut().into_iter().for_each(|cell| cell.push(letter)),
        }
        before = letter;
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_read_by_the_heading() {
        let text = "# pxname,svname,slim,last_chk,\n\
                    www,www1,5,,\n\
                    www,www2,,\"no \"\"x\"\", so\",\n\
                    other,www1,7,,\n\n";
        let stat = |name: &str, maxconn, last_check: &str| Stat {
            name: name.to_owned(),
            maxconn,
            last_check: last_check.to_owned(),
        };
        assert_eq!(
            read(text, "www"),
            [stat("www1", Some(5), ""), stat("www2", None, "no \"x\", so")]
        );
        assert_eq!(read("Permission denied\n\n", "www"), []);
    }
}
