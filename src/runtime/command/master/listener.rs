//! The private socket of a generation, which the master makes.

use std::fs::DirBuilder;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, lchown};

use rustix::fs::Mode;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind as bind_to, listen, socket_with,
};
use rustix::process::umask;

use crate::file;
use crate::pool::Listen;
use crate::runtime::command::order::Order;

/// How many connections wait to be accepted, as far as `net.core.somaxconn` allows.
const BACKLOG: i32 = 4096;

/// Makes the socket. It replaces the file `third`, and takes its number. The command has checked that
/// no process listens at the socket's path.
pub(super) fn bind(order: &Order, third: &mut OwnedFd) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| {
        format!("cannot listen on {}: {error}", order.socket.display())
    };
    file::remove(&order.socket).map_err(|error| failed(&error))?;
    // A server that inherits the socket expects accept(2) to wait.
    let flags = if order.listen.is_relayed() {
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK
    } else {
        SocketFlags::CLOEXEC
    };
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|error| failed(&error))?;
    let address = SocketAddrUnix::new(&order.socket).map_err(|error| failed(&error))?;
    let before = umask(Mode::from_raw_mode(0o777 & !order.socket_mode));
    let bound = bind_to(&socket, &address);
    umask(before);
    bound.map_err(|error| failed(&error))?;
    let (owner, group) = order.socket_owner;
    lchown(&order.socket, owner, group)
        .map_err(|error| format!("cannot give {} to its owner: {error}", order.socket.display()))?;
    listen(&socket, BACKLOG).map_err(|error| failed(&error))?;
    // `dup2` with the flag set: the number stays 3.
    rustix::io::dup3(&socket, third, rustix::io::DupFlags::CLOEXEC)
        .map_err(|error| failed(&error))?;
    Ok(())
}

/// Makes the directory in which the processes make their sockets. It belongs to their account: they
/// may not write where the public names are.
pub(super) fn make_sockets_dir(order: &Order) -> Result<(), String> {
    if order.listen != Listen::Socket {
        return Ok(());
    }
    let dir = &order.sockets_dir;
    let failed = |error: &dyn std::fmt::Display| format!("cannot make {}: {error}", dir.display());
    remove_sockets_dir(dir).map_err(|error| failed(&error))?;
    DirBuilder::new().mode(0o700).create(dir).map_err(|error| failed(&error))?;
    if let Some(account) = &order.account {
        lchown(dir, Some(account.uid), Some(account.gid)).map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// Removes that directory with all that is in it. Symlinks in it are not followed.
pub(in crate::runtime) fn remove_sockets_dir(dir: &std::path::Path) -> std::io::Result<()> {
    match std::fs::symlink_metadata(dir) {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(dir),
        Ok(_) => file::remove(dir),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
