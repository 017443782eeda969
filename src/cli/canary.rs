//! `--canary` and `--for`

use std::time::Duration;

use crate::canary::Share;
use crate::duration;
use crate::error::{Error, Result};
use crate::rollout::Canary;

/// How long a canary by share is watched, without `--for`.
const USUAL: Duration = Duration::from_secs(60);

/// The options of a canary.
#[derive(Debug, Default, clap::Args)]
pub(super) struct CanaryOptions {
    /// Restart one replica first, and watch its new generation before the other replicas follow. With a
    /// time (30s, 5m), the new generation gets all requests of the replica for this time. With a share
    /// (10%, from 1% to 50%), the gateway sends this share of the new visitors to the new generation, and
    /// its errors and latencies are compared with those of the old generations
    #[arg(long, value_name = "TIME|SHARE", value_parser = parse)]
    canary: Option<Amount>,
    /// How long a canary with a share is watched [default: 60s]
    #[arg(long = "for", value_name = "TIME", value_parser = duration::some_option, requires = "canary")]
    time: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
enum Amount {
    Time(Duration),
    Share(Share),
}

fn parse(text: &str) -> std::result::Result<Amount, String> {
    if text.ends_with('%') {
        let wrong = || format!("expected {}", Share::EXPECTED);
        return Share::parse(text).map(Amount::Share).ok_or_else(wrong);
    }
    match duration::parse(text) {
        Some(Duration::ZERO) => Err(duration::NOT_ZERO.to_owned()),
        Some(time) => Ok(Amount::Time(time)),
        None => Err(format!("expected a share like 10%, or {}", duration::EXPECTED)),
    }
}

impl CanaryOptions {
    /// The canary of a rollout; None: it has none.
    pub(super) fn canary(&self) -> Result<Option<Canary>> {
        let Some(amount) = self.canary else { return Ok(None) };
        Ok(Some(match (amount, self.time) {
            (Amount::Share(share), time) => {
                Canary { time: time.unwrap_or(USUAL), share: Some(share) }
            }
            (Amount::Time(time), None) => Canary { time, share: None },
            (Amount::Time(time), Some(longer)) => {
                let [time, longer] = [time, longer].map(humantime::format_duration);
                return Err(Error::config(format!(
                    "--canary {time} is a time already, so --for {longer} has no meaning"
                ))
                .hint(format!("leave out --for; or give a share: --canary 10% --for {longer}")));
            }
        }))
    }
}
