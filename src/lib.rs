//! pools-manager: rolling restarts of redundant PHP-FPM replicas.

pub mod balancer;
pub mod cli;
pub mod config;
pub mod error;
pub mod event;
pub mod fastcgi;
pub mod http;
pub mod lock;
pub mod php_fpm;
pub mod pool;
pub mod process;
pub mod release;
pub mod render;
pub mod rollout;
pub mod socket;
pub mod status;
pub mod stress;
pub mod tree;
