//! The reader of the page balancer-manager.
//!
//! The page is HTML 4 of a fixed shape: for each balancer a heading with a link, a table of its
//! attributes, and a table of its workers. The reader searches for those, and for nothing else.

use super::{Columns, Problem, Section, without_scheme};

/// More characters than any real column's name has. Each row repeats the name, so the rest of a
/// longer name is not read.
const MAX_HEADING: usize = 40;

/// Reads all balancers.
pub(super) fn read(text: &str) -> Result<Vec<Section>, Problem> {
    if !text.contains("Load Balancer Manager for") {
        return Err(Problem::NotManager);
    }
    if !text.contains("</html>") {
        return Err(Problem::Broken("its page is cut off".to_owned()));
    }
    let parts = text.split("<h3>").skip(1);
    Ok(parts.filter(|part| part.starts_with("LoadBalancer Status for")).map(section).collect())
}

fn section(part: &str) -> Section {
    let (heading, rest) = part.split_once("</h3>").unwrap_or((part, ""));
    let heading = strip_tags(heading.trim_start_matches("LoadBalancer Status for"));
    let mut tables = rest.split("<table").skip(1).map(table);
    Section {
        name: without_scheme(heading.split_whitespace().next().unwrap_or_default()).to_owned(),
        nonce: nonce(part),
        attributes: tables.next().unwrap_or_default().into_iter().next().unwrap_or_default(),
        rows: tables.next().unwrap_or_default(),
    }
}

/// The nonce of the first link, `?b=..&amp;w=..&amp;nonce=..`.
fn nonce(part: &str) -> Option<String> {
    let (_, value) = part.split_once("nonce=")?;
    let end = value.find(['"', '\'', '&', '<', '>', ' ']).unwrap_or(value.len());
    Some(value[..end].to_owned())
}

/// The rows of a table below its header, each value under its column's name.
fn table(text: &str) -> Vec<Columns> {
    let text = text.split_once("</table>").map_or(text, |(inside, _)| inside);
    let mut rows = text.split("<tr").skip(1).map(cells);
    let header = rows.next().unwrap_or_default().into_iter();
    let header: Vec<String> = header.map(|name| name.chars().take(MAX_HEADING).collect()).collect();
    rows.map(|row| header.iter().cloned().zip(row).map(unescaped).collect()).collect()
}

/// The cells of a row, without their tags.
fn cells(row: &str) -> Vec<String> {
    let ends = row.split("</td>").flat_map(|part| part.split("</th>"));
    let starts =
        ends.filter_map(|part| part.find("<td").or_else(|| part.find("<th")).map(|at| &part[at..]));
    starts.map(|cell| strip_tags(cell).trim().to_owned()).collect()
}

/// Resolves the references in a value. A worker's URL has none, because Apache does not escape it.
fn unescaped((name, value): (String, String)) -> (String, String) {
    if name == "Worker URL" {
        return (name, value);
    }
    match quick_xml::escape::unescape(&value) {
        Ok(plain) => (name, plain.into_owned()),
        Err(_) => (name, value),
    }
}

fn strip_tags(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, tag)) = rest.split_once('<') {
        plain.push_str(before);
        rest = tag.split_once('>').map_or("", |(_, after)| after);
    }
    plain + rest
}
