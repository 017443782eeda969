//! Scripts that a test writes can be executed, whatever other tests of the process start meanwhile.

use std::process::Command;
use std::thread;

use harness::write_script;

#[test]
fn written_script_can_be_executed_while_other_threads_start_programs() {
    let dir = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..300 {
                    Command::new("true").status().unwrap();
                }
            });
        }
        let error = (0..100).find_map(|nth| {
            let script = dir.path().join(nth.to_string());
            write_script(&script, "#!/bin/sh\n");
            Command::new(&script).status().err()
        });
        assert!(error.is_none(), "{error:?}");
    });
}
