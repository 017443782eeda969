//! Files that a child process inherits: it opens them by the number of the descriptor.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;

use rustix::fs::MemfdFlags;
use rustix::io::FdFlags;

/// The path by which a child opens an inherited file. Standard input cannot be used for php-fpm, which
/// closes it before it reads its configuration.
pub(super) fn in_child(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Makes a child inherit a file. No other child inherits it, because the descriptor's flag is changed
/// after the fork.
#[allow(unsafe_code)]
pub(super) fn inherit(child: &mut tokio::process::Command, file: File) {
    // SAFETY: between fork and exec one system call is made, on a file that the closure owns.
    unsafe {
        child.pre_exec(move || Ok(rustix::io::fcntl_setfd(&file, FdFlags::empty())?));
    }
}

/// A file in memory with this text.
pub(super) fn in_memory(text: &str) -> std::io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("pools-manager", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// What a child has written to a file of [`in_memory`].
pub(super) fn read_all(file: &mut File) -> Vec<u8> {
    let mut text = Vec::new();
    let _ = file.rewind().and_then(|()| file.read_to_end(&mut text));
    text
}
