//! `serve`

mod signals;

use std::pin::pin;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::sync::{Notify, oneshot};

use self::signals::Signals;
use crate::error::{Error, Exit, Result};
use crate::gateway;
use crate::log;
use crate::render::print;
use crate::root::Root;

#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        log::start(json)?;
        let mut signals = Signals::listen()?;
        raise_descriptor_limit();
        let reload = Arc::new(Notify::new());
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { drop(stopped.await) };
        let ready = |addresses: &[String]| print_ready(addresses, json);
        let mut gateway = pin!(gateway::serve(root, shutdown, Arc::clone(&reload), ready));
        let signal = tokio::select! {
            ended = &mut gateway => return ended,
            signal = signals.stop(&reload) => signal,
        };
        drop(stop);
        tokio::select! {
            drained = gateway => drained?,
            second = signals.stop(&reload) => return Err(second),
        }
        exit_status(signal)
    }
}

/// TERM and QUIT are how a service manager stops the gateway: that is no error.
fn exit_status(signal: Error) -> Result<()> {
    match signal.exit {
        Exit::Terminated => Ok(()),
        _ => Err(signal),
    }
}

fn print_ready(addresses: &[String], json: bool) {
    let ready = if json {
        format!("{}\n", json!({ "event": "ready", "listen": addresses }))
    } else {
        format!("Serving on {}\n", addresses.join(", "))
    };
    // On another thread: standard output may be a pipe that is not read, and the write may block.
    let _ = std::thread::Builder::new().spawn(move || print(&ready));
}

/// Raises the limit of open files to its maximum: a connection needs one descriptor, and its
/// response often a second one. If this fails, connections wait in the kernel.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
