//! What the operator chooses: options, answers, and what the machine has.

use std::fs;
use std::path::{Path, PathBuf};

use super::Args;
use super::questions::Questions;
use crate::config::is_host;
use crate::error::{Error, Result};
use crate::new_pool::{
    Account, Choices, Found, Framework, Layout, OldPool, WebServer, check_name, find, is_root,
};
use crate::root::Root;
use crate::runtime::php_fpm::installed_programs;

/// What was chosen, and notes on how.
pub(super) struct Chosen {
    pub(super) choices: Choices,
    pub(super) notes: Vec<String>,
}

/// Chooses everything that a pool needs. Changes nothing.
pub(super) async fn choose(args: &Args, root: &Root, questions: Questions) -> Result<Chosen> {
    let checked = |name: &str| check_name(root, name).map(|()| name.to_owned());
    let pool = match &args.pool {
        Some(name) => checked(name)?,
        None => questions.ask("Name of the pool", "www", checked)?,
    };
    let mut notes = Vec::new();
    let php_fpm = php_fpm(args, questions)?;
    notes.push(format!("php-fpm: {}", php_fpm.display()));
    let old = match &args.from {
        Some(file) => Some(OldPool::read(&php_fpm, file).await?),
        None => None,
    };
    let (web_server, why) = web_server(args, questions)?;
    notes.push(format!("web server: {}{why}", web_server.name()));
    let release = release(args, root, questions)?;
    let layout = Layout::new(root, &pool, args.dir.as_deref(), release.as_deref())?;
    // A symlink that is there already names the release.
    let release = release.or_else(|| fs::canonicalize(&layout.symlink).ok());
    let found = found(args, release.as_deref(), web_server, questions)?;
    notes.push(match &release {
        Some(release) => format!(
            "release: {} ({}{})",
            release.display(),
            found.framework.name(),
            match (web_server, found.document_root.as_str()) {
                (WebServer::Gateway, root) if !root.is_empty() =>
                    format!(", document root {root}/"),
                _ => String::new(),
            }
        ),
        None => format!("release: none yet ({})", found.framework.name()),
    });
    let hosts = if args.host.is_empty() && web_server == WebServer::Gateway {
        questions.ask("Host names, with spaces between them (empty: all)", "", |text| {
            text.split_whitespace().map(parse_host).collect()
        })?
    } else {
        args.host.clone()
    };
    let account = if is_root() { Some(account(args, old.as_ref(), questions)?) } else { None };
    notes.extend(account.iter().map(|it| format!("PHP runs as: {}, group {}", it.user, it.group)));
    let listen = args.listen.map_or("127.0.0.1:8080".to_owned(), |address| address.to_string());
    let replicas = args.replicas;
    let choices = Choices {
        pool,
        replicas,
        php_fpm,
        web_server,
        hosts,
        listen,
        layout,
        release,
        found,
        account,
        old,
    };
    Ok(Chosen { choices, notes })
}

/// A host name, for clap too.
pub(super) fn parse_host(text: &str) -> Result<String> {
    if is_host(text) {
        return Ok(text.to_owned());
    }
    Err(Error::config(format!("{text:?} is not a host name"))
        .hint("write it in lower case, without a port: example.com or *.example.com"))
}

fn php_fpm(args: &Args, questions: Questions) -> Result<PathBuf> {
    let mut installed = installed_programs();
    let shown = |all: &[PathBuf]| {
        all.iter().map(|it| it.display().to_string()).collect::<Vec<_>>().join(", ")
    };
    let parse = |text: &str| {
        let named = Path::new(text);
        if text.contains('/') {
            return fs::canonicalize(named).map_err(|error| {
                Error::config(format!("cannot use {text}: {error}"))
                    .hint("name a php-fpm, or its version: --php 8.2")
            });
        }
        let name = format!("php-fpm{text}");
        installed_programs()
            .into_iter()
            .find(|it| it.file_name() == Some(name.as_ref()))
            .ok_or_else(|| {
                let help = match shown(&installed_programs()) {
                    none if none.is_empty() => {
                        "install it (Debian: apt-get install php-fpm)".to_owned()
                    }
                    all => format!("installed are: {all}"),
                };
                Error::config(format!("{name} is not installed")).hint(help)
            })
    };
    if let Some(text) = &args.php {
        return parse(text);
    }
    let Some(newest) = installed.pop() else { return parse("") };
    if installed.is_empty() {
        return Ok(newest);
    }
    let question = format!("Which php-fpm (also installed: {})", shown(&installed));
    questions.ask(&question, &newest.display().to_string(), parse)
}

fn web_server(args: &Args, questions: Questions) -> Result<(WebServer, String)> {
    if let Some(named) = args.web_server {
        return Ok((named, String::new()));
    }
    let (found, why) = WebServer::find();
    if !questions.is_asking() {
        return Ok((found, format!(" ({why})")));
    }
    let question = format!("Web server: gateway, apache, nginx, caddy or haproxy ({why})");
    let parse = |text: &str| {
        <WebServer as clap::ValueEnum>::from_str(text, true)
            .map_err(|_| Error::config(format!("{text:?} is none of them")))
    };
    Ok((questions.ask(&question, found.name(), parse)?, String::new()))
}

fn release(args: &Args, root: &Root, questions: Questions) -> Result<Option<PathBuf>> {
    let parse = |text: &str| {
        if text.is_empty() {
            return Ok(None);
        }
        // As in any command, a path is relative to the working directory; else to the root.
        let path = fs::canonicalize(text).or_else(|_| fs::canonicalize(root.resolve(text)));
        match path {
            Ok(path) if path.is_dir() => Ok(Some(path)),
            Ok(_) => Err(Error::config(format!("{text} is not a directory"))
                .hint("name the directory with the code of the site")),
            Err(error) => Err(Error::config(format!("the release {text}: {error}"))
                .hint("name the directory with the code of the site")),
        }
    };
    match &args.release {
        Some(release) => parse(&release.display().to_string()),
        None => questions.ask("Directory of the release (empty: there is none yet)", "", parse),
    }
}

fn found(
    args: &Args,
    release: Option<&Path>,
    web_server: WebServer,
    questions: Questions,
) -> Result<Found> {
    let named = args.document_root.as_deref().map(|it| it.trim_matches('/'));
    let mut found = if let Some(release) = release {
        find(release, named)
    } else {
        let framework = args.framework.unwrap_or(Framework::Plain);
        Found {
            framework,
            document_root: named.unwrap_or(framework.usual_document_root()).to_owned(),
            front_controller: "index.php".into(),
            outward: None,
        }
    };
    found.framework = args.framework.unwrap_or(found.framework);
    if web_server != WebServer::Gateway {
        if args.document_root.is_some() || !args.host.is_empty() || args.listen.is_some() {
            return Err(Error::config("--document-root, --host and --listen are for the gateway")
                .hint(format!(
                    "leave them out: {} has them in its own configuration",
                    web_server.name()
                )));
        }
        return Ok(found);
    }
    let parse = |text: &str| {
        let text = text.trim_matches('/');
        match release.map(|it| it.join(text)) {
            Some(dir) if !dir.is_dir() => {
                Err(Error::config(format!("there is no {}", dir.display()))
                    .hint("name a directory below the release, or / for the release itself"))
            }
            _ => Ok(text.to_owned()),
        }
    };
    let default = format!("{}/", found.document_root);
    let root = match named {
        Some(root) => parse(root)?,
        None => questions.ask(
            "Document root, below the release (/: the release itself)",
            &default,
            parse,
        )?,
    };
    if let Some(release) = release.filter(|_| root != found.document_root) {
        return Ok(Found { framework: found.framework, ..find(release, Some(&root)) });
    }
    Ok(Found { document_root: root, ..found })
}

fn account(args: &Args, old: Option<&OldPool>, questions: Questions) -> Result<Account> {
    let of_old = old.and_then(|old| old.get("user"));
    let usual = Account::usual().map(|it| it.user).unwrap_or_default();
    let account = match args.user.as_deref().or(of_old) {
        Some(name) => Account::find(name)?,
        None => questions.ask("Account that runs PHP", &usual, Account::find)?,
    };
    // A group of the existing pool belongs to its user.
    let of_old = old.and_then(|old| old.get("group")).filter(|_| args.user.is_none());
    match args.group.as_deref().or(of_old) {
        Some(name) => account.with_group(name),
        None => Ok(account),
    }
}
