//! The world around fails: Apache, the disk, the clock. What serves is kept or comes back, the
//! command says what is wrong, and the next one goes on when the world is well again.

mod apache;
mod clock;
mod descriptors;
mod disk;
mod filesystems;
mod manager;
