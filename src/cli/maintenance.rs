//! `maintenance on`, `maintenance off`

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use ipnet::IpNet;

use super::traffic::Target;
use crate::config::values;
use crate::duration;
use crate::error::Result;
use crate::root::Root;
use crate::traffic::{Maintenance, Page};

const EXAMPLES: &str = "\
Examples:
  pools-manager maintenance on www
      visitors get 503 and a plain page
  pools-manager maintenance on www --page maintenance.html --allow 192.0.2.0/24
      your page, and the site as usual for your office
  pools-manager maintenance off www";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer the requests of a pool with a page and 503, until `maintenance off`
    #[command(after_help = EXAMPLES)]
    On(OnArgs),
    /// Serve the requests of a pool as usual again
    Off(OffArgs),
}

#[derive(Debug, clap::Args)]
struct OnArgs {
    /// The name of the pool
    pool: String,
    /// The page: .html, .htm, .txt, .json, .xml or .svg, up to 256 KiB. It is copied [default: a plain page]
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// Serve these clients as usual: addresses or networks (192.0.2.7, 10.0.0.0/8)
    #[arg(long, value_name = "NET", value_delimiter = ',', value_parser = network)]
    allow: Vec<IpNet>,
    /// The time after which clients may try again: the header `Retry-After`
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration::some_option)]
    retry_after: Duration,
}

#[derive(Debug, clap::Args)]
struct OffArgs {
    /// The name of the pool
    pool: String,
}

fn network(text: &str) -> std::result::Result<IpNet, String> {
    values::network(text)
        .ok_or_else(|| "expected an address or a network like 10.0.0.0/8".to_owned())
}

impl Args {
    pub(super) async fn run(self, root: &Root, json: bool) -> Result<()> {
        match self.command {
            Command::On(args) => args.run(root, json).await,
            Command::Off(args) => args.run(root, json).await,
        }
    }
}

impl OnArgs {
    async fn run(self, root: &Root, json: bool) -> Result<()> {
        let target = Target::read(root, &self.pool, json)?;
        let page = self.page.as_deref().map(Page::read).transpose()?;
        let mut maintenance = Maintenance::now(page, self.allow, self.retry_after);
        target
            .change(|traffic| {
                if let Some(before) = &traffic.maintenance {
                    maintenance.since.clone_from(&before.since);
                }
                traffic.maintenance = Some(maintenance);
            })
            .await?;
        target.show("Not under maintenance")
    }
}

impl OffArgs {
    async fn run(self, root: &Root, json: bool) -> Result<()> {
        let target = Target::read(root, &self.pool, json)?;
        target.change(|traffic| traffic.maintenance = None).await?;
        target.show("Not under maintenance")
    }
}
