//! A complete response.

/// A complete response.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// The names are in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the response has `Connection: close`.
    pub fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }
}
