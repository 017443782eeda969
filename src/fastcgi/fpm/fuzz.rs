//! The status page, which contains requests of clients.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::*;
use crate::fuzz::{Bytes, a_megabyte_of, damaged};

const SAMPLES: &[&str] = &[
    r#"{"pool":"www1","process manager":"dynamic","start time":1795161600,"start since":12,"accepted conn":7,"listen queue":0,"max listen queue":0,"listen queue len":0,"idle processes":1,"active processes":2,"total processes":3,"max active processes":2,"max children reached":0,"slow requests":0,"processes":[{"pid":4711,"state":"Idle","start time":1795161600,"requests":3,"request duration":120,"request method":"GET","request uri":"/ping","user":"-","script":"-","last request cpu":0.00},{"pid":4712,"state":"Running","start time":1795161600,"requests":4,"request uri":"/status?json&full"},{"pid":4713,"state":"(null)"}]}"#,
    r#"{"pool":"www1","process manager":"static","idle processes":4,"active processes":1,"total processes":5}"#,
];

const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "{\"a\":",
    ",",
    ":",
    "null",
    "\"processes\":[",
    "\"state\":\"Idle\",",
    "\"idle processes\":9,",
    "\\ud800",
    "\\u0000",
    "-0.0",
];

fn page(body: impl Into<Vec<u8>>) -> Response {
    Response { status: 200, headers: Vec::new(), body: body.into(), stderr: Vec::new() }
}

/// The names that `fpm_request_get_stage_name` gives to the stages of a request; None: the child has no
/// stage yet.
fn state() -> impl Strategy<Value = Option<&'static str>> {
    let stages = vec![
        "(null)",
        "Idle",
        "Running",
        "Finishing",
        "Reading headers",
        "Getting request informations",
    ];
    of(select(stages))
}

proptest! {
    #[test]
    fn children_are_counted_from_the_list(
        states in vec(state(), 1..9), uri: String, idle: u32, active: u32, total: u32,
    ) {
        let process = |state: &Option<_>| json!({"pid": 1, "state": state, "request uri": &uri});
        let document = json!({
            "pool": "www1", "idle processes": idle, "active processes": active,
            "total processes": total, "processes": states.iter().map(process).collect::<Vec<_>>(),
        });
        let status = read(&page(document.to_string())).unwrap();
        prop_assert_eq!(status.active_processes, active);
        let status = status.count_processes();
        let expected = u32::try_from(states.iter().filter(|it| **it == Some("Idle")).count()).unwrap();
        prop_assert_eq!(status.idle_processes, expected);
        prop_assert_eq!(status.total_processes as usize, states.len());
        prop_assert_eq!(status.active_processes + expected, status.total_processes);
    }

    #[test]
    fn truncated_page_is_not_read(cut in 0..SAMPLES[0].len()) {
        prop_assert!(read(&page(SAMPLES[0])).is_some());
        prop_assert_eq!(read(&page(&SAMPLES[0][..cut])), None);
    }

    #[test]
    fn damaged_page_yields_only_idle_children_that_are_in_it(Bytes(bytes) in damaged(SAMPLES, WORDS)) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some(status) = read(&page(bytes)) else { return Ok(()) };
        let listed = status.processes.len();
        let status = status.count_processes();
        if listed > 0 {
            prop_assert!(status.idle_processes as usize <= text.matches("Idle").count());
            prop_assert_eq!(status.total_processes as usize, listed);
            prop_assert_eq!(status.active_processes + status.idle_processes, status.total_processes);
        }
    }
}

#[test]
fn a_megabyte_is_read_without_delay() {
    for word in WORDS {
        let much = a_megabyte_of(word);
        let _ = read(&page(&*much));
        let _ = read(&page(SAMPLES[0].replace("[{", &format!("[{much}{{"))));
        let _ = read(&page(SAMPLES[0].replace("/ping", &much)));
    }
}
