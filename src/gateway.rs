//! The gateway: the embedded balancer and web server, `pools-manager serve`.

pub mod fastcgi;
mod table;
mod upstream;
