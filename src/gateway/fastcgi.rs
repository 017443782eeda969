//! The FastCGI codec of the data path: encodes requests, and decodes responses.
//!
//! How php-src implements FastCGI (main/fastcgi.c, 8.2):
//! - The content and padding of a record have at most 65,528 bytes, and a name-value pair must be within
//!   one record.
//! - A response ends with `END_REQUEST`, whose application status is always 0. If the connection ends
//!   before, the response is incomplete.
//! - A connection has one request at a time: the id is always 1.
//!
//! The codec does no I/O, so that tests can split the stream anywhere. [`crate::fastcgi`] is another
//! module: the client for single requests, such as pings.

mod decode;
mod encode;
mod head;

pub use decode::{Decoder, Malformed, Part};
pub use encode::{Params, Request, TooLarge, stdin};
pub use head::{BadHead, Head, HeadParser};

/// The size of a record's header, in bytes.
const HEADER: usize = 8;
/// The only version of the protocol.
const VERSION: u8 = 1;
/// The id of the only request on a connection.
const REQUEST_ID: u16 = 1;
/// The largest content of a record that php-src accepts, in bytes.
const CONTENT_MAX: usize = 65_528;

/// The types of records.
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
