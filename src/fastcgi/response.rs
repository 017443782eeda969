//! A CGI response.

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status: the header `Status`, else 200.
    pub status: u16,
    /// The headers in their order, with `Status`. Bytes that are not UTF-8 are replaced.
    pub headers: Vec<(String, String)>,
    /// The body, byte by byte.
    pub body: Vec<u8>,
    /// The error stream of the script and of php-fpm.
    pub stderr: Vec<u8>,
}

impl Response {
    /// The value of the first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Parses a CGI response. The error is the reason, in one sentence.
    pub(super) fn parse(stdout: &[u8], stderr: Vec<u8>) -> Result<Self, String> {
        let (head, body) = split_head(stdout).ok_or_else(|| match stdout.len() {
            0 => "it is empty".to_owned(),
            _ => "its headers do not end".to_owned(),
        })?;
        let head = String::from_utf8_lossy(head);
        let headers = head.lines().map(header_line).collect::<Result<Vec<_>, _>>()?;
        let mut response = Self { status: 200, headers, body: body.to_owned(), stderr };
        if let Some(status) = response.header("Status") {
            let code = status.split_ascii_whitespace().next().and_then(|code| code.parse().ok());
            let code = code.filter(|code| (100..=999).contains(code));
            response.status = code.ok_or_else(|| format!("its status is {status:?}"))?;
        }
        Ok(response)
    }
}

/// Splits at the first empty line; lines end in CR LF, or in LF alone.
fn split_head(stdout: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut start = 0;
    loop {
        let end = start + stdout[start..].iter().position(|&byte| byte == b'\n')?;
        let line = &stdout[start..end];
        if line.is_empty() || line == b"\r" {
            return Some((&stdout[..start], &stdout[end + 1..]));
        }
        start = end + 1;
    }
}

fn header_line(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or_else(|| format!("{line:?} is not a header"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
