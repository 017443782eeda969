//! `[apache]`

use std::collections::HashSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;
use toml::Spanned;

use super::Apache;
use crate::backend::{Context, Description};
use crate::config::keys::{Default, Key, Kind};
use crate::config::{File, values};
use crate::error::Result;
use crate::http;

const ONE_EACH: &str = "name one balancer member for each replica, the first for 1.conf";

/// `[apache]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The page that `SetHandler balancer-manager` serves.
    #[serde(deserialize_with = "values::page_url")]
    manager_url: String,
    /// The name behind `balancer://`.
    #[serde(deserialize_with = "values::not_empty")]
    balancer_name: String,
    /// The balancer's members: the first is replica 1.
    #[serde(serialize_with = "without_span")]
    member_urls: Spanned<Vec<String>>,
}

/// The keys of `[apache]`.
pub(crate) const KEYS: &[Key] = &[
    Key::new(
        "manager_url",
        Kind::Url,
        Default::Required,
        "the page with `SetHandler balancer-manager`",
    ),
    Key::new("balancer_name", Kind::Text, Default::Required, "the name after `balancer://`"),
    Key::new(
        "member_urls",
        Kind::Texts,
        Default::Required,
        "one member for each replica, the first for `1.conf`: `\"fcgi://pool-1\"`",
    ),
];

impl Settings {
    /// The URLs of the balancer's members: the first is that of replica 1.
    pub fn member_urls(&self) -> &[String] {
        self.member_urls.get_ref()
    }

    /// The URL of balancer-manager.
    pub fn manager_url(&self) -> &str {
        &self.manager_url
    }

    /// The name of the balancer, without its scheme.
    pub fn balancer(&self) -> &str {
        super::document::without_scheme(&self.balancer_name)
    }

    pub(in crate::backend) fn check(&self, file: &File<'_>) -> Result<()> {
        let urls = self.member_urls();
        let mut seen = HashSet::new();
        let twice = urls.iter().find(|url| !seen.insert(*url));
        let message = match twice {
            Some(url) => format!("member_urls names {url} twice"),
            None if urls.is_empty() => "member_urls is empty".to_owned(),
            None => return Ok(()),
        };
        Err(file.error(&self.member_urls.span(), &message).hint(ONE_EACH))
    }

    /// Checks that there are as many members as replicas.
    pub(in crate::backend) fn check_replicas(&self, path: &Path, replicas: u32) -> Result<()> {
        let members = self.member_urls().len();
        if members == replicas as usize {
            return Ok(());
        }
        let (are, files) = match replicas {
            1 => ("is 1 replica".to_owned(), "1.conf".to_owned()),
            last => (format!("are {last} replicas"), format!("1.conf to {last}.conf")),
        };
        let message = format!(
            "member_urls names {members}, but there {are}: {files}, and no {}.conf",
            replicas + 1
        );
        Err(File::read(path)?.error(&self.member_urls.span(), &message).hint(ONE_EACH))
    }

    pub(in crate::backend) fn driver(&self, context: Context<'_>) -> Result<Apache> {
        let driver = Apache::new(&self.manager_url, &self.balancer_name, self.member_urls())?
            .with_note(context.note);
        match context.monitor_url {
            Some(url) => driver.with_probe(url),
            None => Ok(driver),
        }
    }

    /// The line of the original tool, with a list in Python's notation.
    pub(in crate::backend) fn describe(&self) -> Description {
        let shown = Self { manager_url: http::shown(&self.manager_url), ..self.clone() };
        let members: Vec<String> = shown.member_urls().iter().map(|it| format!("'{it}'")).collect();
        let line = format!(
            " balancer_name=\"{}\" manager_url=\"{}\" member_urls=\"[{}]\"",
            shown.balancer_name,
            shown.manager_url,
            members.join(", ")
        );
        let place = format!("{} at {}", shown.balancer_name, shown.manager_url);
        Description { line, place, json: Some(json!(shown)) }
    }
}

fn without_span<S: serde::Serializer>(
    urls: &Spanned<Vec<String>>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    urls.get_ref().serialize(serializer)
}
