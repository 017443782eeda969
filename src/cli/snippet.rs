//! `snippet`

use crate::error::Result;
use crate::pool;
use crate::render::print;
use crate::root::Root;
use crate::snippet::{Kind, Listen, snippet};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The web server
    #[arg(value_enum)]
    kind: Kind,
    /// The name of the pool
    pool: String,
    /// The port, or address and port, that the web server listens on [default: that of monitor_url]
    #[arg(long, value_name = "[ADDRESS:]PORT")]
    listen: Option<Listen>,
}

impl Args {
    pub(super) async fn run(self, root: &Root) -> Result<()> {
        let pool = pool::load(root, &self.pool)?;
        print(&snippet(self.kind, &pool, self.listen).await?);
        Ok(())
    }
}
