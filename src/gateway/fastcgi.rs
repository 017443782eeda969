//! The FastCGI records of the data path: a request as bytes, and bytes as an answer.
//!
//! What php-src does with them (main/fastcgi.c, 8.2):
//! - A record's content and padding have 65,528 bytes at most, and no name-value pair may be split
//!   over two records.
//! - An answer ends with `END_REQUEST`, whose application status is always 0. A connection that
//!   ends before is an answer that is broken, never one that is whole.
//! - One request at a time on a connection: the id is always 1.
//!
//! Nothing here reads or writes: the codec is plain data, so that any split of the stream can be
//! tried. (The parent's sibling [`crate::fastcgi`] is the client for single requests.)

mod decode;
mod encode;
mod head;

pub use decode::{Broken, Decoder, Part};
pub use encode::{Params, Request, TooLarge, stdin};
pub use head::{BadHead, Head, HeadParser};

/// The bytes of a record's header.
const HEADER: usize = 8;
/// The protocol's only version.
const VERSION: u8 = 1;
/// The id of the only request on a connection.
const REQUEST_ID: u16 = 1;
/// The most content that php-src takes in one record.
const CONTENT_MAX: usize = 65_528;

/// The kinds of records, by their number in the protocol.
mod kind {
    pub(super) const BEGIN_REQUEST: u8 = 1;
    pub(super) const END_REQUEST: u8 = 3;
    pub(super) const PARAMS: u8 = 4;
    pub(super) const STDIN: u8 = 5;
    pub(super) const STDOUT: u8 = 6;
    pub(super) const STDERR: u8 = 7;
}

#[cfg(test)]
mod tests;
