//! Failures outside of pools-manager: Apache, the disk, the clock. Running replicas keep serving, the
//! command reports the failure, and the next command continues after the failure is gone.

mod apache;
mod clock;
mod descriptors;
mod disk;
mod filesystems;
mod manager;
