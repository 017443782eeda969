//! The gateway of this moment: a reload exchanges it for one with newer settings.

use std::future::Future;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::front::Gateway;
use super::tasks::Spawner;

/// The gateway with the settings that were read last.
#[derive(Debug)]
pub(super) struct Live {
    gateway: ArcSwap<Gateway>,
    spawner: Spawner,
}

impl Live {
    /// Begins with that one.
    pub(super) fn new(gateway: Gateway, spawner: Spawner) -> Arc<Self> {
        Arc::new(Self { gateway: ArcSwap::from_pointee(gateway), spawner })
    }

    /// The gateway of this moment. What has begun with it ends with it.
    pub(super) fn gateway(&self) -> Arc<Gateway> {
        self.gateway.load_full()
    }

    /// Answers what begins from now on.
    pub(super) fn exchange(&self, gateway: Gateway) {
        self.gateway.store(Arc::new(gateway));
    }

    /// Starts a background task, which ends with the gateway.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawner.spawn(task);
    }
}
