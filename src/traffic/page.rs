//! The operator's maintenance page.
//!
//! The command copies the page. So the page may be in a release that a later rollout removes. And the
//! gateway opens no file that an operator has named.

use std::io::{ErrorKind, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::file;

/// The most bytes of a page. The gateway keeps it in memory.
pub(super) const BYTES_MAX: u64 = 256 << 10;

/// The media types by extension. All are text: a page of other bytes has no place in JSON.
const TYPES: &[(&str, &str)] = &[
    ("html", "text/html; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("txt", "text/plain; charset=utf-8"),
    ("json", "application/json"),
    ("xml", "application/xml; charset=utf-8"),
    ("svg", "image/svg+xml"),
];

/// A page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Its media type, with the character set.
    pub media_type: String,
    /// Its text.
    pub text: String,
}

impl Page {
    /// Reads a page. A symlink is not followed: in a directory that another user can write, it could lead
    /// to a file that only the user of this command may read.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let extension = path.extension().and_then(|it| it.to_str()).map(str::to_ascii_lowercase);
        let media_type = TYPES.iter().find(|(known, _)| extension.as_deref() == Some(*known));
        let Some((_, media_type)) = media_type else {
            let known: Vec<_> = TYPES.iter().map(|(extension, _)| *extension).collect();
            return Err(Error::config(format!("the extension of {shown} is not that of a page"))
                .hint(format!("name the file with one of these: {}", known.join(", "))));
        };
        let text = read(path)?;
        Ok(Self { media_type: (*media_type).to_owned(), text })
    }
}

fn read(path: &Path) -> Result<String> {
    let shown = path.display();
    let cannot = |why: &str| Error::config(format!("cannot use the page {shown}: {why}"));
    let file = file::open(path).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied if path.metadata().is_ok() => {
            cannot("it belongs to another user, or may not be read")
                .hint("copy the page, and name the copy")
        }
        ErrorKind::InvalidInput => cannot("it is not a regular file"),
        _ if path.is_symlink() => {
            cannot("it is a symlink, which another user may have made").hint("name the file itself")
        }
        _ => cannot(&error.to_string()),
    })?;
    if !file::is_alone(&file).is_ok_and(|is_alone| is_alone) {
        return Err(cannot(
            "it has several names, and may be another user's link to a file of yours",
        )
        .hint("copy the page, and name the copy"));
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| cannot(&error.to_string()))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(cannot(&format!("it has more than {} KiB", BYTES_MAX >> 10))
            .hint("the gateway keeps it in memory: leave images and styles to another host"));
    }
    String::from_utf8(bytes).map_err(|_| cannot("it is not UTF-8").hint("convert it with iconv"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn page_is_a_small_text_file_of_a_known_type() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["a.html", "a.TXT", "a.php", "plain"] {
            fs::write(at(name), "soon").unwrap();
        }
        fs::write(at("large.html"), vec![b'x'; usize::try_from(BYTES_MAX).unwrap() + 1]).unwrap();
        fs::write(at("most.html"), vec![b'x'; usize::try_from(BYTES_MAX).unwrap()]).unwrap();
        fs::write(at("odd.html"), b"\xff").unwrap();
        fs::create_dir(at("dir.html")).unwrap();
        symlink("a.html", at("link.html")).unwrap();
        let page = |name: &str| Page::read(&at(name));
        assert_eq!(page("a.html").unwrap().text, "soon");
        assert_eq!(page("a.TXT").unwrap().media_type, "text/plain; charset=utf-8");
        assert_eq!(page("most.html").unwrap().text.len() as u64, BYTES_MAX);
        fs::hard_link(at("most.html"), at("other.html")).unwrap();
        let refused = [
            ("a.php", "is not that of a page"),
            ("plain", "is not that of a page"),
            ("none.html", "No such file"),
            ("large.html", "more than 256 KiB"),
            ("odd.html", "is not UTF-8"),
            ("dir.html", "not a regular file"),
            ("link.html", "is a symlink"),
            ("other.html", "several names"),
        ];
        for (name, why) in refused {
            let message = page(name).unwrap_err().message;
            assert!(message.contains(why), "{name}: {message}");
        }
    }
}
