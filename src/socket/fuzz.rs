//! `/proc/net/unix`, as the kernel writes it, and damaged.

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

/// A line of the kernel, and the socket in it, if that has a path.
#[derive(Debug, Clone)]
struct Line {
    text: Vec<u8>,
    bound: Option<(PathBuf, Bound)>,
}

/// As `unix_seq_show` of `net/unix/af_unix.c` writes it.
fn line() -> impl Strategy<Value = Line> {
    let byte = prop_oneof![1..b'\n', b'\n' + 1..=u8::MAX]; // neither a zero nor a line end
    let odd = vec(byte, 0..12);
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
        prop_assert_eq!(UnixSockets::parse(&text), UnixSockets(expected));
    }

    #[test]
    fn damaged_text_yields_only_sockets_that_are_in_it(Bytes(bytes) in damaged(SAMPLES, WORDS)) {
        let UnixSockets(sockets) = UnixSockets::parse(&bytes);
        for (path, bound) in &sockets {
            // "//srv" is the same path as "/srv".
            let names_it = |line: &&[u8]| {
                let from = (0..line.len()).filter(|&at| line[at] == b'/');
                from.map(|at| Path::new(OsStr::from_bytes(&line[at..]))).any(|end| end == path)
            };
            let lines = bytes.split(|&byte| byte == b'\n').filter(names_it).count();
            let count = bound.listeners.len() + bound.in_flight() as usize;
            prop_assert!((1..=lines).contains(&count), "{path:?}");
        }
    }

    #[test]
    fn damaged_line_does_not_hide_other_lines(Bytes(bytes) in damaged(SAMPLES, WORDS)) {
        let path = Path::new("/srv/sockets/www1.sock");
        let before = UnixSockets::parse(SAMPLES[0].as_bytes()).bound(path);
        let text = [SAMPLES[0].as_bytes(), &bytes, b"\n", SAMPLES[0].as_bytes()].concat();
        let after = UnixSockets::parse(&text).bound(path);
        prop_assert!(after.listeners.len() >= 2 * before.listeners.len());
        prop_assert!(after.accepted >= 2 * before.accepted && after.queued >= 2 * before.queued);
    }
}

#[test]
fn a_megabyte_is_read_without_delay() {
    let lines = SAMPLES[0].split_inclusive('\n');
    for word in WORDS.iter().copied().chain(lines).chain([" ", "\n", "0 "]) {
        UnixSockets::parse(a_megabyte_of(word).as_bytes());
    }
}
