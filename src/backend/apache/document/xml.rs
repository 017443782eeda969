//! The reader of `balancer-manager?xml=1`.
//!
//! Apache does not escape text: a `&` in a URL is written as `&`, and `&amp;` means these five
//! characters. So references are put together again, not resolved.

use quick_xml::Reader;
use quick_xml::events::Event;

use super::{Problem, Section, without_scheme};

/// More columns than a worker has; the rest is not read.
const MAX_COLUMNS: usize = 100;

/// Reads all balancers.
pub(super) fn read(text: &str) -> Result<Vec<Section>, Problem> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().allow_dangling_amp = true;
    reader.config_mut().expand_empty_elements = true;
    let mut found = Found::default();
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag)) => found.open(tag.local_name().as_ref()),
            Ok(Event::Text(part)) => found.text.push_str(&part),
            Ok(Event::GeneralRef(name)) => {
                found.text.push('&');
                found.text.push_str(&name);
                found.text.push(';');
            }
            Ok(Event::End(tag)) => found.close(tag.local_name().as_ref()),
            Ok(Event::Eof) if found.complete => return Ok(found.sections),
            Ok(Event::Eof) => return Err(Problem::Broken("its XML is cut off".to_owned())),
            Ok(Event::Decl(_)) => {}
            // For example a comment inside a name: the text around it would be joined.
            Ok(_) => return Err(Problem::Broken("Apache writes no such XML".to_owned())),
            Err(error) => return Err(Problem::Broken(format!("its XML is wrong: {error}"))),
        }
    }
}

/// The balancers so far, and the position of the reader.
#[derive(Default)]
struct Found {
    sections: Vec<Section>,
    in_worker: bool,
    /// The text since the last tag.
    text: String,
    complete: bool,
}

impl Found {
    fn open(&mut self, tag: &str) {
        self.text.clear();
        match tag {
            "balancer" => self.sections.push(Section::default()),
            "worker" => {
                self.in_worker = true;
                if let Some(section) = self.sections.last_mut() {
                    section.rows.push(Vec::new());
                }
            }
            _ => {}
        }
    }

    fn close(&mut self, tag: &str) {
        let value = std::mem::take(&mut self.text).trim().to_owned();
        let Some(section) = self.sections.last_mut() else {
            self.complete |= tag == "manager";
            return;
        };
        match tag {
            "manager" => self.complete = true,
            "balancers" | "balancer" | "workers" => {}
            "worker" => self.in_worker = false,
            _ if self.in_worker => {
                // `loadfactor` occurs twice.
                if let Some(row) = section.rows.last_mut()
                    && row.len() < MAX_COLUMNS
                    && row.iter().all(|(name, _)| name != tag)
                {
                    row.push((tag.to_owned(), value));
                }
            }
            "name" => without_scheme(&value).clone_into(&mut section.name),
            "nonce" => section.nonce = Some(value),
            _ => section.attributes.push((tag.to_owned(), value)),
        }
    }
}
