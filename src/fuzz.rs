//! Damaged input for the readers of files of the kernel, of servers, and of operators.
//!
//! Random bytes are refused at once. So real samples are cut, spliced, repeated and overwritten,
//! which keeps most of the format. A reader must refuse the result, or read only what is in it. The
//! tests that use this are named `fuzz`; `PROPTEST_CASES` is the number of cases of each.

use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// The most bytes that one kind of damage adds.
const LONGEST: usize = 32 << 10;

/// Words that break readers of any format.
const WORDS: &[&[u8]] = &[
    b"\0",
    b"\n",
    b"\r\n",
    b" ",
    b"\\",
    b"\"",
    b"'",
    b"-1",
    b"+1",
    b"4294967296",
    b"18446744073709551616",
    b"1e999",
    b"\xff",
    b"\xc3",
    "\u{202e}é".as_bytes(),
];

/// A file's content, which a failed test prints as a Rust literal.
#[derive(Clone)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// One change of a file. Places are relative to the file at the time of the change.
#[derive(Debug, Clone)]
enum Damage {
    Cut { at: Index },
    Drop { from: Index, length: usize },
    Flip { at: Index, bits: u8 },
    Put { at: Index, word: Vec<u8>, times: usize },
}

impl Damage {
    fn apply(self, bytes: &mut Vec<u8>) {
        let place = |at: Index| at.index(bytes.len() + 1);
        match self {
            Self::Cut { at } => bytes.truncate(place(at)),
            Self::Drop { from, length } => {
                let from = place(from);
                bytes.drain(from..(from + length).min(bytes.len()));
            }
            Self::Flip { at, bits } => {
                let at = place(at);
                bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= bits);
            }
            Self::Put { at, word, times } => {
                let at = place(at);
                let times = times.min(LONGEST / word.len().max(1));
                bytes.splice(at..at, word.repeat(times));
            }
        }
    }
}

/// One of the samples, usually damaged. `words` are words of its format.
pub(crate) fn damaged(
    samples: &'static [&'static str],
    words: &'static [&'static str],
) -> impl Strategy<Value = Bytes> {
    let damages = vec(damage(samples, words), 0..8);
    (select(samples), damages).prop_map(|(sample, damages)| {
        let mut bytes = sample.as_bytes().to_vec();
        for damage in damages {
            damage.apply(&mut bytes);
        }
        Bytes(bytes)
    })
}

fn damage(
    samples: &'static [&'static str],
    words: &'static [&'static str],
) -> impl Strategy<Value = Damage> {
    let word = prop_oneof![
        2 => select(WORDS).prop_map(<[u8]>::to_vec),
        2 => select(words).prop_map(|word| word.as_bytes().to_vec()),
        4 => piece(samples),
        1 => vec(any::<u8>(), 1..8),
    ];
    let times = prop_oneof![8 => Just(1), 2 => 2..5_usize, 1 => 5..3000_usize];
    let length = prop_oneof![4 => 1..20_usize, 1 => 20..2000_usize];
    prop_oneof![
        1 => any::<Index>().prop_map(|at| Damage::Cut { at }),
        3 => (any::<Index>(), length).prop_map(|(from, length)| Damage::Drop { from, length }),
        2 => (any::<Index>(), 1..=u8::MAX).prop_map(|(at, bits)| Damage::Flip { at, bits }),
        4 => (any::<Index>(), word, times).prop_map(|(at, word, times)| Damage::Put { at, word, times }),
    ]
}

/// A part of a sample: inserted elsewhere, it repeats a line, or splices two files.
fn piece(samples: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    (select(samples), any::<Index>(), 1..200_usize).prop_map(|(sample, from, length)| {
        let from = from.index(sample.len());
        sample.as_bytes()[from..(from + length).min(sample.len())].to_vec()
    })
}

/// A word, repeated to 1 MiB: a reader with quadratic time would not return.
pub(crate) fn a_megabyte_of(word: &str) -> String {
    word.repeat((1 << 20) / word.len())
}
