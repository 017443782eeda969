//! Whether the operator holds a pool, or has it under maintenance.

use serde::Serialize;

use crate::config::Global;
use crate::control::{self, Request, Response};
use crate::error::Result;
use crate::pool::Pool;
use crate::traffic::{Hold, Maintenance, Traffic};

/// Hold and maintenance of a pool, as far as they are in force.
#[derive(Debug, Default, Serialize)]
pub struct TrafficStatus {
    /// The hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldStatus>,
    /// The maintenance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<MaintenanceStatus>,
}

/// A hold.
#[derive(Debug, Serialize)]
pub struct HoldStatus {
    /// When it began, as RFC 3339 in UTC.
    pub since: String,
    /// When it ends by itself, as RFC 3339 in UTC.
    pub until: String,
    /// How many requests wait; None: no gateway reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<usize>,
}

/// A maintenance.
#[derive(Debug, Serialize)]
pub struct MaintenanceStatus {
    /// When it began, as RFC 3339 in UTC.
    pub since: String,
    /// The networks whose clients are served as usual.
    pub allow: Vec<String>,
    /// `Retry-After`, in seconds.
    pub retry_after: u64,
    /// Whether it has a page of the operator.
    pub own_page: bool,
}

impl TrafficStatus {
    /// What is stored for a pool, without the number of requests that wait.
    pub fn of(pool: &Pool) -> Result<Self> {
        // If the pool had a [gateway] before, its file may still exist, without any effect.
        if pool.settings.backend.gateway().is_none() {
            return Ok(Self::default());
        }
        let traffic = Traffic::read(&pool.traffic_file())?;
        let hold = traffic.present_hold().map(HoldStatus::of);
        let maintenance = traffic.maintenance.as_ref().map(MaintenanceStatus::of);
        Ok(Self { hold, maintenance })
    }

    /// What is stored for a pool, with the number of requests that wait if a gateway reports it.
    pub(super) async fn with_waiting(pool: &Pool) -> Result<Self> {
        let mut status = Self::of(pool)?;
        if let Some(hold) = &mut status.hold
            && let Ok(global) = Global::read(&pool.root)
            && let Ok(Some(Response::State(state))) =
                control::send(&global.control, &Request::Show(pool.name.clone())).await
        {
            hold.waiting = Some(state.held);
        }
        Ok(status)
    }
}

impl HoldStatus {
    fn of(hold: &Hold) -> Self {
        Self { since: hold.since.clone(), until: hold.until.clone(), waiting: None }
    }
}

impl MaintenanceStatus {
    fn of(maintenance: &Maintenance) -> Self {
        Self {
            since: maintenance.since.clone(),
            allow: maintenance.allow.iter().map(ToString::to_string).collect(),
            retry_after: maintenance.retry_after,
            own_page: maintenance.page.is_some(),
        }
    }
}

/// The lines for people, each without indentation and line end.
impl std::fmt::Display for TrafficStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut lines = Vec::new();
        if let Some(hold) = &self.hold {
            let waiting = hold.waiting.map(|it| format!("; {it} wait now")).unwrap_or_default();
            lines.push(format!("Requests are held until {}{waiting}", hold.until));
        }
        if let Some(maintenance) = &self.maintenance {
            let allow = match maintenance.allow.join(", ") {
                none if none.is_empty() => none,
                networks => format!(", except for {networks}"),
            };
            lines.push(format!("Under maintenance since {}{allow}", maintenance.since));
        }
        f.write_str(&lines.join("\n"))
    }
}
