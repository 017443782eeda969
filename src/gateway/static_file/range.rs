//! The `Range` header (RFC 9110, section 14).

use hyper::Method;
use hyper::header::RANGE;
use hyper::http::request::Parts;

/// The largest number of ranges, as in Apache (`MaxRanges`). A request with more gets the whole file.
const RANGES_MAX: usize = 200;

/// The requested part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Range {
    Whole,
    /// From the first position up to, but not including, the second.
    Part(u64, u64),
    /// Several parts in the order of the request. They do not overlap.
    Parts(Vec<(u64, u64)>),
    /// The file has no such part: 416.
    Unsatisfiable,
}

/// The requested part of a file of this size. An invalid header is ignored, as HTTP allows: the response
/// is the whole file.
pub(super) fn of(request: &Parts, size: u64) -> Range {
    // nginx and Apache respond with 200 for an empty file.
    if request.method != Method::GET || size == 0 {
        return Range::Whole;
    }
    let mut lines = request.headers.get_all(RANGE).into_iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return Range::Whole };
    line.to_str().ok().and_then(|text| parse(text, size)).unwrap_or(Range::Whole)
}

fn parse(text: &str, size: u64) -> Option<Range> {
    let (unit, list) = text.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") || list.split(',').count() > RANGES_MAX {
        return None;
    }
    let items =
        list.split(',').map(|item| item.trim_matches([' ', '\t'])).filter(|it| !it.is_empty());
    let ranges: Vec<(u64, u64)> = items.map(|item| one(item, size)).collect::<Option<_>>()?;
    if ranges.is_empty() {
        return None;
    }
    let satisfiable = ranges.into_iter().filter(|(from, to)| from < to).collect();
    Some(match *coalesce(satisfiable) {
        [] => Range::Unsatisfiable,
        [(from, to)] => Range::Part(from, to),
        ref parts => Range::Parts(parts.to_vec()),
    })
}

/// Parses one range. The result is empty if the file has no such part. None: the range is invalid.
fn one(text: &str, size: u64) -> Option<(u64, u64)> {
    let number = |text: &str| -> Option<u64> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    Some(match text.split_once('-')? {
        ("", last) => (size.saturating_sub(number(last)?), size),
        (first, "") => (number(first)?, size),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            (first, last.saturating_add(1).min(size))
        }
    })
}

/// Merges ranges that overlap or touch. In the order of the result, a merged range has the place of the
/// first range in it.
fn coalesce(ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    let mut sorted: Vec<(usize, (u64, u64))> = ranges.into_iter().enumerate().collect();
    sorted.sort_unstable_by_key(|(_, (from, _))| *from);
    let mut merged: Vec<(usize, (u64, u64))> = Vec::with_capacity(sorted.len());
    for (place, (from, to)) in sorted {
        match merged.last_mut() {
            Some((first, (_, end))) if from <= *end => {
                *first = place.min(*first);
                *end = to.max(*end);
            }
            _ => merged.push((place, (from, to))),
        }
    }
    merged.sort_unstable_by_key(|(place, _)| *place);
    merged.into_iter().map(|(_, range)| range).collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn range_is_clipped_to_the_file_or_unsatisfiable() {
        let is = |text, range| assert_eq!(parse(text, 10), range, "{text}");
        is("bytes=0-0", Some(Range::Part(0, 1)));
        is("bytes=5-", Some(Range::Part(5, 10)));
        is("bytes=-3", Some(Range::Part(7, 10)));
        is("bytes=-30", Some(Range::Part(0, 10)));
        is("Bytes= 0-0 ,\t", Some(Range::Part(0, 1)));
        is("bytes=5-99999999999999999999999", Some(Range::Part(5, 10)));
        for none in ["bytes=10-", "bytes=10-11", "bytes=-0", "bytes=99999999999999999999-"] {
            is(none, Some(Range::Unsatisfiable));
        }
        for nonsense in [
            "bytes=5-4",
            "bytes=-",
            "bytes=a-b",
            "lines=0-1",
            "bytes=0-1,x",
            "0-1",
            "bytes=",
            "bytes=,",
            "bytes 0-1",
            "bytes=0 -1",
            "bytes=+0-1",
            "bytes=0-1;2-3",
            "bytes=--1",
        ] {
            is(nonsense, None);
        }
        let request = hyper::Request::builder().header(RANGE, "bytes=0-").body(()).unwrap();
        assert_eq!(of(&request.into_parts().0, 0), Range::Whole);
    }

    #[test]
    fn ranges_that_overlap_or_touch_are_merged() {
        let is = |text, range| assert_eq!(parse(text, 10_000), Some(range), "{text}");
        is("bytes=0-99,1000-1099", Range::Parts(vec![(0, 100), (1000, 1100)]));
        is("bytes=1000-1099,0-99", Range::Parts(vec![(1000, 1100), (0, 100)]));
        is("bytes=0-99,50-199", Range::Part(0, 200));
        is("bytes=100-199,0-99", Range::Part(0, 200));
        is("bytes=0-0,2-2", Range::Parts(vec![(0, 1), (2, 3)]));
        is(
            "bytes=5000-5009,0-9,-10,4000-6000",
            Range::Parts(vec![(4000, 6001), (0, 10), (9990, 10_000)]),
        );
        is("bytes=0-9,99999-", Range::Part(0, 10));
        is("bytes=10000-,20000-", Range::Unsatisfiable);
    }

    #[test]
    fn too_many_ranges_are_ignored() {
        let list = |count: u64| {
            let items: Vec<_> = (0..count).map(|n| format!("{}-{}", n * 1000, n * 1000)).collect();
            parse(&format!("bytes={}", items.join(",")), 1 << 40)
        };
        assert!(matches!(list(200), Some(Range::Parts(parts)) if parts.len() == 200));
        assert_eq!(list(201), None);
        assert_eq!(parse(&format!("bytes=0-0{}", ",".repeat(500)), 10), None);
    }

    proptest! {
        #[test]
        fn sent_parts_cover_every_requested_byte_once(
            asked in vec((0_u64..3000, 0_u64..3000), 1..12), size in 1_u64..3000,
        ) {
            let items: Vec<_> = asked.iter().map(|(from, length)| format!("{from}-{}", from + length)).collect();
            let sent = match parse(&format!("bytes={}", items.join(",")), size).unwrap() {
                Range::Unsatisfiable => vec![],
                Range::Part(from, to) => vec![(from, to)],
                Range::Parts(parts) => parts,
                Range::Whole => unreachable!(),
            };
            for at in 0..size {
                let is_asked = asked.iter().any(|(from, length)| (*from..=from + length).contains(&at));
                let times = sent.iter().filter(|(from, to)| (*from..*to).contains(&at)).count();
                prop_assert!(times <= 1 && (!is_asked || times == 1));
            }
            prop_assert!(sent.iter().all(|(from, to)| from < to && *to <= size));
        }
    }
}
