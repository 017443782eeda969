//! No driver: the web server connects to the replicas' public socket names.

use super::{Behind, Driver, Inspection};
use crate::config::Strategy;
use crate::finding::{Checked, Topic};

/// A web server that connects by path. It needs no notification.
#[derive(Debug, Clone)]
pub struct ByPath;

impl Driver for ByPath {
    fn name(&self) -> &'static str {
        "none"
    }

    async fn inspect(&self) -> Box<dyn Inspection> {
        Box::new(Self)
    }
}

impl Inspection for ByPath {
    fn check(&self, _strategy: Strategy, _replicas: &[Behind<'_>]) -> Checked {
        Checked::new(Topic::Balancer, ["none".to_owned()], [])
    }
}
