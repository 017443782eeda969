//! The gateway of this moment: HUP exchanges it for one with newer settings.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::front::Gateway;

/// The gateway with the settings that were read last.
#[derive(Debug)]
pub(super) struct Live(ArcSwap<Gateway>);

impl Live {
    /// Begins with that one.
    pub(super) fn new(gateway: Gateway) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(gateway)))
    }

    /// The gateway of this moment. What has begun with it ends with it.
    pub(super) fn gateway(&self) -> Arc<Gateway> {
        self.0.load_full()
    }

    /// Answers what begins from now on.
    pub(super) fn exchange(&self, gateway: Gateway) {
        self.0.store(Arc::new(gateway));
    }
}
