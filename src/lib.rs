//! pools-manager: rolling restarts of redundant PHP-FPM replicas.

pub mod balancer;
pub mod error;
pub mod fastcgi;
