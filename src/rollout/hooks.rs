//! When a rollout runs the operator's hooks, and the variables that it sets for them.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Instant;

use tokio::process::Command;

use super::steps::millis;
use super::{Prepared, Request, Target, record};
use crate::cancel::Cancel;
use crate::config::{Hook, Strategy};
use crate::error::{Error, Result};
use crate::event::{Event, Report};
use crate::hook::{self, Failure};
use crate::pool::Pool;
use crate::state::Outcome;
use crate::upgrade;

const HOOK: &str = "POOLS_MANAGER_HOOK";
const POOL: &str = "POOLS_MANAGER_POOL";
const ROOT: &str = "POOLS_MANAGER_ROOT";
const RESULT: &str = "POOLS_MANAGER_RESULT";
const MS: &str = "POOLS_MANAGER_MS";
const REASON: &str = "POOLS_MANAGER_REASON";

/// The most characters of the reason that a hook gets: the kernel takes 128 KiB for one variable.
const REASON_MAX: usize = 8000;

/// The hooks of one rollout.
pub(super) struct Hooks<'a> {
    pool: &'a Pool,
    /// The variables that all of them get.
    variables: Vec<(&'static str, OsString)>,
    began: Instant,
}

/// Whether a hook of this pool has started this process. The rollout that holds the pool's lock
/// waits for that hook.
pub(super) fn has_started_this_process(pool: &Pool) -> bool {
    let is = |name: &str, value: &OsStr| env::var_os(name).is_some_and(|it| it == value);
    env::var_os(HOOK).is_some()
        && is(POOL, pool.name.as_ref())
        && is(ROOT, pool.root.path().as_os_str())
}

/// Reports that a hook would run, if it is set.
pub(super) fn report_plan(pool: &Pool, hook: Hook, report: &mut dyn Report) {
    if pool.settings.hooks.command(hook).is_some() {
        report.event(&Event::HookPlanned { hook });
    }
}

impl<'a> Hooks<'a> {
    /// Runs the hook that decides whether the rollout may begin.
    pub(super) async fn begin(
        pool: &'a Pool,
        request: &Request,
        prepared: &Prepared,
        cancel: &Cancel,
        report: &mut dyn Report,
    ) -> Result<Self> {
        let variables = variables(pool, request, prepared);
        let hooks = Self { pool, variables, began: Instant::now() };
        hooks.before(cancel, report).await?;
        Ok(Self { began: Instant::now(), ..hooks })
    }

    async fn before(&self, cancel: &Cancel, report: &mut dyn Report) -> Result<()> {
        let hook = Hook::BeforeRollout;
        if self.pool.settings.hooks.command(hook).is_none() {
            return Ok(());
        }
        let stop = async { drop(cancel.cancelled().await) };
        let ran = self.run(hook, &[], stop, report).await;
        cancel.check().map_err(|error| {
            let message = format!("{} while the hook {hook} ran", error.message);
            Error { message, hint: Some("nothing was changed".to_owned()), ..error }
        })?;
        ran.map_err(|failure| {
            Error::failed(message(hook, &failure))
                .hint("nothing was changed: the hook has refused the rollout")
        })
    }

    /// Runs the hook for the end of the rollout: `after_rollout`, or `on_failure` if there is an
    /// `error`.
    pub(super) async fn end(&self, error: Option<&Error>, report: &mut dyn Report) {
        let mut facts = vec![(MS, millis(self.began).to_string())];
        let result = match Outcome::of(error) {
            Outcome::Done => "done",
            Outcome::Interrupted => "interrupted",
            Outcome::Failed(_) | Outcome::Unfinished => "failed",
        };
        facts.push((RESULT, result.to_owned()));
        facts.extend(error.map(|error| (REASON, as_variable(&error.message))));
        let hook = if error.is_some() { Hook::OnFailure } else { Hook::AfterRollout };
        if let Err(failure) = self.run(hook, &facts, std::future::pending(), report).await {
            report.event(&Event::Warning { text: message(hook, &failure) });
        }
    }

    async fn run(
        &self,
        hook: Hook,
        facts: &[(&str, String)],
        stop: impl Future<Output = ()>,
        report: &mut dyn Report,
    ) -> std::result::Result<(), Failure> {
        let hooks = &self.pool.settings.hooks;
        let Some(words) = hooks.command(hook) else { return Ok(()) };
        report.event(&Event::HookStarted { hook });
        let started = Instant::now();
        let ran = match self.command(words) {
            Ok(mut command) => {
                command
                    .env(HOOK, hook.to_string())
                    .envs(facts.iter().map(|(name, value)| (name, value)));
                hook::run(command, hooks.timeout, stop).await
            }
            Err(error) => Err(Failure::silent(error.message)),
        };
        let (status, failure) = match &ran {
            Ok(()) => (Some(0), None),
            Err(failure) => (failure.status, Some(failure.what.clone())),
        };
        report.event(&Event::HookDone { hook, ms: millis(started), status, failure });
        ran
    }

    fn command(&self, words: &[String]) -> Result<Command> {
        let mut words = self.pool.fill_in(words)?.into_iter();
        let program = words.next().unwrap_or_default();
        let mut command = Command::new(hook::locate(&self.pool.root, &program));
        command.args(words).current_dir(self.pool.root.path());
        // If this rollout runs in a hook of another rollout, these variables have the other rollout's
        // values. The last variable is only for `serve`.
        for stale in [RESULT, MS, REASON, upgrade::VARIABLE] {
            command.env_remove(stale);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }
}

/// The variables of all hooks of a rollout.
fn variables(pool: &Pool, request: &Request, prepared: &Prepared) -> Vec<(&'static str, OsString)> {
    let Prepared { observation, release, .. } = prepared;
    let path = |path: Option<PathBuf>| path.map(PathBuf::into_os_string).unwrap_or_default();
    let command = match request.target {
        Target::Current | Target::Kept => "restart",
        Target::Release(_) => "switch",
        Target::Before => "rollback",
    };
    let strategy = match request.goal.strategy {
        Strategy::Rolling => "rolling",
        Strategy::Swap => "swap",
    };
    let replicas: Vec<String> = request.goal.replicas.iter().map(u32::to_string).collect();
    let from = record::from(pool, request, observation, release.as_ref());
    vec![
        (POOL, pool.name.clone().into()),
        (ROOT, pool.root.path().into()),
        ("POOLS_MANAGER_COMMAND", command.into()),
        ("POOLS_MANAGER_FROM", path(from)),
        ("POOLS_MANAGER_TO", path(release.as_ref().map(|release| release.path.clone()))),
        ("POOLS_MANAGER_REPLICAS", replicas.join(" ").into()),
        ("POOLS_MANAGER_STRATEGY", strategy.into()),
        ("POOLS_MANAGER_USER", record::who().into()),
    ]
}

fn message(hook: Hook, failure: &Failure) -> String {
    let Failure { what, output, .. } = failure;
    let output = match output.as_str() {
        "" => String::new(),
        lines => format!("\n  the end of its output:\n{lines}"),
    };
    format!("the hook {hook} {what}{output}")
}

/// The text, without what a variable cannot hold.
fn as_variable(text: &str) -> String {
    text.replace('\0', " ").chars().take(REASON_MAX).collect()
}
