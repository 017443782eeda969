//! `/proc/net/unix`, as the kernel writes it and as it never should.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::fuzz::{Bytes, a_megabyte_of, damaged};

const SAMPLES: &[&str] = &["Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 11173 /srv/sockets/www1.sock
0000000000000000: 00000003 00000000 00000000 0001 03 22001 /srv/sockets/www1.sock
0000000000000000: 00000002 00000000 00000000 0001 02     0 /srv/sockets/www1.sock
0000000000000000: 00000003 00000000 00000000 0001 03 22002
0000000000000000: 00000002 00000000 00010000 0001 01 11174 @abstract
0000000000000000: 00000002 00000000 00000000 0002 01 11175 /run/systemd/journal/socket
"];

const WORDS: &[&str] = &["00010000", "01", "02", "03", "0001", ":", "@", "/", "//", "0x"];

/// A line that the kernel writes, and what it says of a socket with a path.
#[derive(Debug, Clone)]
struct Line {
    text: Vec<u8>,
    bound: Option<(PathBuf, Bound)>,
}

/// As `unix_seq_show` of `net/unix/af_unix.c` writes it.
fn line() -> impl Strategy<Value = Line> {
    let odd = vec(any::<u8>().prop_filter("ends it", |byte| ![0, b'\n'].contains(byte)), 0..12);
    let path = prop_oneof![
        Just(b" /srv/sockets/www1.sock".to_vec()),
        Just(b" /srv/sockets/www2.sock".to_vec()),
        odd.clone().prop_map(|odd| [b" /", &odd[..]].concat()),
        odd.prop_map(|odd| [b" @", &odd[..]].concat()),
        Just(Vec::new()),
    ];
    (path, 1..=4_u8, any::<bool>(), any::<u32>()).prop_map(|(path, state, listens, inode)| {
        let flags = if listens { 0x1_0000 } else { 0 };
        let head =
            format!("0000000000000000: 00000002 00000000 {flags:08X} 0001 {state:02X} {inode:5}");
        let bound = match (state, listens) {
            (1, true) => Some(Bound { listeners: vec![inode.into()], ..Bound::default() }),
            (2, _) => Some(Bound { queued: 1, ..Bound::default() }),
            (3, _) => Some(Bound { accepted: 1, ..Bound::default() }),
            _ => None,
        };
        let path_of = |path: &[u8]| PathBuf::from(OsStr::from_bytes(path));
        let bound = bound.zip(path.strip_prefix(b" ").filter(|path| path[0] == b'/'));
        let bound = bound.map(|(bound, path)| (path_of(path), bound));
        Line { text: [head.as_bytes(), &path, b"\n"].concat(), bound }
    })
}

proptest! {
    #[test]
    fn every_line_of_the_kernel_counts(lines in vec(line(), 0..20)) {
        let text: Vec<u8> = lines.iter().flat_map(|line| line.text.clone()).collect();
        let mut expected = HashMap::<PathBuf, Bound>::new();
        for (path, bound) in lines.into_iter().filter_map(|line| line.bound) {
            let known = expected.entry(path).or_default();
            known.listeners.extend(bound.listeners);
            known.accepted += bound.accepted;
            known.queued += bound.queued;
        }
        prop_assert_eq!(Table::parse(&text), Table(expected));
    }

    #[test]
    fn no_damage_makes_up_a_socket(Bytes(bytes) in damaged(SAMPLES, WORDS)) {
        let Table(table) = Table::parse(&bytes);
        let lines = bytes.split(|&byte| byte == b'\n');
        for (path, bound) in &table {
            // As paths: one with two slashes is the same.
            let ends_so = |line: &&[u8]| {
                let is_it = |at: usize| Path::new(OsStr::from_bytes(&line[at..])) == path;
                (0..line.len()).any(is_it)
            };
            let told = bound.listeners.len() + bound.in_flight() as usize;
            prop_assert!((1..=lines.clone().filter(ends_so).count()).contains(&told), "{path:?}");
        }
    }

    #[test]
    fn a_damaged_line_takes_nothing_from_the_others(Bytes(bytes) in damaged(SAMPLES, WORDS)) {
        let path = Path::new("/srv/sockets/www1.sock");
        let before = Table::parse(SAMPLES[0].as_bytes()).bound(path);
        let text = [SAMPLES[0].as_bytes(), &bytes, b"\n", SAMPLES[0].as_bytes()].concat();
        let after = Table::parse(&text).bound(path);
        prop_assert!(after.listeners.len() >= 2 * before.listeners.len());
        prop_assert!(after.accepted >= 2 * before.accepted && after.queued >= 2 * before.queued);
    }
}

#[test]
fn a_megabyte_of_anything_is_read_at_once() {
    let lines = SAMPLES[0].split_inclusive('\n');
    for word in WORDS.iter().copied().chain(lines).chain([" ", "\n", "0 "]) {
        Table::parse(a_megabyte_of(word).as_bytes());
    }
}
