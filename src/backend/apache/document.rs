//! The two documents of balancer-manager, and their common content.

mod html;
mod xml;

/// Names and values, in the document's order.
pub type Columns = Vec<(String, String)>;

/// One balancer in a document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Section {
    /// Without `balancer://`.
    pub(super) name: String,
    /// None: the document does not show it; empty: there is none.
    pub(super) nonce: Option<String>,
    pub(super) attributes: Columns,
    pub(super) rows: Vec<Columns>,
}

/// Why a document cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// It is another document.
    NotManager,
    /// It is balancer-manager's, but damaged.
    Broken(String),
}

/// A balancer's name, as a form needs it.
pub(super) fn without_scheme(name: &str) -> &str {
    name.trim().strip_prefix("balancer://").unwrap_or(name.trim())
}

/// The value under a name, in any case: XML says `status`, HTML says `Status`.
pub(super) fn column<'a>(columns: &'a Columns, name: &str) -> Option<&'a str> {
    let found = columns.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

/// Reads either document: an Apache that ignores `xml=1` sends its HTML page.
pub(super) fn read(text: &str) -> Result<Vec<Section>, Problem> {
    if text.contains("<httpd:manager") { xml::read(text) } else { html::read(text) }
}
