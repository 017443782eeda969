//! A program that runs. Its output is read while it runs.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{DEADLINE, Ran, processes, wait_for};

/// A program that was started, and has not been waited for.
pub struct Program {
    child: Child,
    command: String,
    lines: Receiver<String>,
    /// What has been read of its standard output.
    stdout: String,
    stderr: Receiver<String>,
}

impl Program {
    pub fn start(command: &mut Command) -> Self {
        Self::start_with(command, Stdio::piped(), Stdio::piped())
    }

    /// Starts a program with this standard output and error. The test reads those of them that are pipes.
    pub fn start_with(command: &mut Command, stdout: Stdio, stderr: Stdio) -> Self {
        let shown = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
        let lines = child.stdout.take().map_or_else(nothing, read);
        let stderr = child.stderr.take().map_or_else(nothing, read);
        Self { child, command: shown, lines, stdout: String::new(), stderr }
    }

    /// Its pid. No other process can have this pid until the program has been waited for.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Whether it has ended. No other process can have its pid until the program has been waited for.
    pub fn has_ended(&self) -> bool {
        self.state() == 'Z'
    }

    /// The state of the process, as the kernel shows it: `T` means halted.
    pub fn state(&self) -> char {
        processes::state(self.pid())
    }

    /// Waits for a line that `wanted` accepts.
    pub fn await_line(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("{} did not say {what}, but:\n{}", self.command, self.stdout);
            };
            self.stdout.push_str(&line);
            if wanted(line.trim_end()) {
                return line;
            }
        }
    }

    /// Waits for a JSON line that `wanted` accepts.
    pub fn await_event(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) {
        self.await_line(what, |line| wanted(&serde_json::from_str(line).unwrap()));
    }

    /// Waits until it writes a line to its standard error.
    pub fn await_complaint(&self) -> String {
        self.stderr.recv_timeout(DEADLINE).unwrap()
    }

    /// Whether it has a handler for this signal already.
    pub fn catches(&self, signal: Signal) -> bool {
        let status = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = fs::read_to_string(status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (signal.as_raw() - 1)) != 0
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits until it has ended, and until no other process holds its output open: a script that reads
    /// the output would wait as well.
    pub fn finish(mut self) -> Ran {
        let what = format!("the end of {}", self.command);
        let status = wait_for(&what, || self.child.try_wait().unwrap());
        self.stdout += &rest(&self.lines);
        let stderr = rest(&self.stderr);
        Ran { stdout: self.stdout, stderr, status, command: self.command }
    }
}

/// Output that is not read.
fn nothing() -> Receiver<String> {
    mpsc::channel().1
}

/// Reads lines in the background.
fn read(from: impl Read + Send + 'static) -> Receiver<String> {
    let (said, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = String::new();
        while from.read_line(&mut line).unwrap() > 0 {
            // The test may have dropped the receiver.
            let _ = said.send(std::mem::take(&mut line));
        }
    });
    lines
}

fn rest(lines: &Receiver<String>) -> String {
    let mut text = String::new();
    loop {
        match lines.recv_timeout(DEADLINE) {
            Ok(line) => text += &line,
            Err(RecvTimeoutError::Disconnected) => return text,
            Err(RecvTimeoutError::Timeout) => panic!("output is held open after:\n{text}"),
        }
    }
}
