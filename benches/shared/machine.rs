//! The machine and the programs that a table was measured with.

use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

/// Prints the machine, and what each program says of its version.
pub(crate) fn show(programs: &[(&Path, &str)]) {
    let cores = thread::available_parallelism().unwrap();
    println!("{cores} cores, Linux {}", first_line(Path::new("uname"), "-r"));
    for (program, option) in programs {
        println!("{}", first_line(program, option));
    }
    println!("load average before: {}", load_average());
}

/// Some programs print their version on standard error.
fn first_line(program: &Path, option: &str) -> String {
    let output = Command::new(program).arg(option).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned()
}

pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

pub(crate) fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
