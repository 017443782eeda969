//! `/proc/PID/mountinfo`, as the kernel writes it and as it never should.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::fuzz::{Bytes, a_megabyte_of, damaged};

const SAMPLES: &[&str] = &["22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
43 22 0:38 / /srv/my\\040site rw - overlay overlay rw,lowerdir=/a
63 43 254:0 /srv/www/release1//deleted /srv/www/current rw - ext4 /dev/vda rw
64 43 254:0 /srv/www/release\\1342 /srv/www/current rw master:1 - ext4 /dev/vda rw
"];

const WORDS: &[&str] = &["\\040", "\\+40", "\\777", "\\", "\\04", "//deleted", "254:0", "/", "- "];

/// Escapes a path as `seq_path` of `fs/seq_file.c` does.
fn escaped(path: &[u8]) -> Vec<u8> {
    let octal = |byte: u8| format!("\\{byte:03o}").into_bytes();
    let is_odd = |byte: &u8| b" \t\n\\".contains(byte);
    path.iter().flat_map(|byte| if is_odd(byte) { octal(*byte) } else { vec![*byte] }).collect()
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    let odd = prop_oneof![any::<u8>(), prop::sample::select(&b"\\ \n/017+"[..])];
    vec(odd, 0..20).prop_map(|rest| [&b"/"[..], &rest].concat())
}

/// Whether a `\` of this field begins an escape.
fn has_escapes(field: &[u8]) -> bool {
    let is_escape = |four: &[u8]| {
        four[0] == b'\\'
            && (b'0'..=b'3').contains(&four[1])
            && four[2..].iter().all(|digit| (b'0'..=b'7').contains(digit))
    };
    field.windows(4).any(is_escape)
}

proptest! {
    #[test]
    fn every_line_of_the_kernel_is_read(wanted in vec((path(), path()), 0..8)) {
        let line = |(root, at): &(Vec<u8>, Vec<u8>)| {
            let (root, at) = (escaped(root), escaped(at));
            [b"63 43 254:0 ", &root[..], b" ", &at, b" rw - ext4 /dev/vda rw\n"].concat()
        };
        let text: Vec<u8> = wanted.iter().flat_map(line).collect();
        let found: Vec<_> = mounts(&text).map(|it| (it.device, it.root, it.at)).collect();
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        let wanted: Vec<_> =
            wanted.iter().map(|(root, at)| ("254:0".to_owned(), path(root), path(at))).collect();
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn damaged_text_yields_only_mounts_that_are_in_it(Bytes(bytes) in damaged(SAMPLES, WORDS)) {
        let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
        let found: Vec<Mount> = mounts(&bytes).collect();
        prop_assert!(found.len() <= lines.len());
        for mount in found {
            let told = |path: &Path| lines.iter().any(|line| {
                let fields = line.split(|&byte| byte == b' ');
                fields.clone().any(|field| field == path.as_os_str().as_bytes())
                    || fields.clone().any(has_escapes)
            });
            prop_assert!(told(&mount.root) && told(&mount.at), "{mount:?}");
        }
    }

    #[test]
    fn text_without_escapes_does_not_change(Bytes(bytes) in damaged(SAMPLES, WORDS)) {
        for field in bytes.split(|byte| b" \n".contains(byte)).filter(|field| !has_escapes(field)) {
            let path = unescape(field);
            prop_assert_eq!(path.as_os_str().as_bytes(), field);
        }
    }
}

#[test]
fn a_megabyte_is_read_without_delay() {
    let lines = SAMPLES[0].split_inclusive('\n');
    for word in WORDS.iter().copied().chain(lines).chain([" ", "\n", "0 "]) {
        let _ = mounts(a_megabyte_of(word).as_bytes()).count();
    }
}
