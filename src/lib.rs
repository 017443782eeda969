//! pools-manager: rolling restarts of redundant PHP-FPM replicas.

pub mod error;
pub mod stress;
