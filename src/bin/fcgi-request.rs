//! `fcgi-request`: asks a server such as php-fpm directly, without a web server in between.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use pools_manager::error::{Error, Result};
use pools_manager::fastcgi::{Address, Request, Response, send_to};

const ABOUT: &str = "\
Sends one request over FastCGI, and prints the answer's headers, an empty line, and its body";
const NOTES: &str = "\
What PHP says on its error stream goes to standard error.

Exit status: 0 for an answer with a status below 400, 1 for any other or none, 2 for usage.";

#[derive(Parser)]
#[command(version, about = ABOUT, after_help = NOTES)]
struct Args {
    /// The URL's path, which may have a ?query.
    #[arg(value_parser = url_path)]
    url_path: String,
    /// Where the server listens: a path, unix:PATH, or HOST:PORT.
    socket: String,
    /// The method [default: GET, or POST with --stdin].
    #[arg(long)]
    method: Option<String>,
    /// Sends standard input as the request's body.
    #[arg(long)]
    stdin: bool,
    /// Sets a CGI variable, in place of the usual one of that name.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = param)]
    params: Vec<(String, String)>,
    /// Adds an HTTP header.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The script's file [default: the URL's path below the document root].
    #[arg(long, value_name = "FILE", conflicts_with = "document_root")]
    script: Option<PathBuf>,
    /// The directory that the URL's path is below [default: none, the path itself is the script].
    #[arg(long, value_name = "DIR")]
    document_root: Option<PathBuf>,
    /// How long the whole answer may take.
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(status) if status < 400 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fcgi-request: {error}");
            error.exit.into()
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(args: Args) -> Result<u16> {
    let address = address(&args.socket);
    let timeout = args.timeout;
    let request = request(args)?;
    let response = send_to(&address, &request, timeout).await;
    let response = response.map_err(|error| Error::failed(error.to_string()))?;
    match print(&response) {
        // Whoever reads the answer has read enough of it.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(response.status),
        Err(error) => Err(Error::failed(format!("cannot write the answer: {error}"))),
        Ok(()) => Ok(response.status),
    }
}

fn request(args: Args) -> Result<Request> {
    let mut request = Request::get(&args.url_path);
    if args.stdin {
        "POST".clone_into(&mut request.method);
        let read = io::stdin().lock().read_to_end(&mut request.body);
        read.map_err(|error| Error::failed(format!("cannot read standard input: {error}")))?;
    }
    if let Some(method) = args.method {
        request.method = method;
    }
    if let Some(script) = args.script {
        request.script_filename = absolute(&script)?;
    }
    if let Some(root) = args.document_root {
        let root = absolute(&root)?;
        request.script_filename = format!("{}{}", root.trim_end_matches('/'), request.path);
    }
    request.headers = args.headers;
    request.params = args.params;
    Ok(request)
}

/// A path that means the same to the server, whose working directory is another one.
fn absolute(path: &Path) -> Result<String> {
    let absolute = std::path::absolute(path);
    let absolute =
        absolute.map_err(|error| Error::config(format!("{}: {error}", path.display())))?;
    Ok(absolute.to_string_lossy().into_owned())
}

fn print(response: &Response) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    stderr.write_all(&response.stderr)?;
    if response.stderr.last().is_some_and(|&last| last != b'\n') {
        stderr.write_all(b"\n")?;
    }
    let mut stdout = io::stdout().lock();
    for (name, value) in &response.headers {
        write!(stdout, "{name}: {value}\r\n")?;
    }
    stdout.write_all(b"\r\n")?;
    stdout.write_all(&response.body)?;
    stdout.flush()
}

/// A name with a slash in it is a path; without, one that ends in a port is not.
fn address(text: &str) -> Address {
    if let Some(path) = text.strip_prefix("unix:") {
        return Address::Unix(path.into());
    }
    match text.rsplit_once(':') {
        Some((_, port)) if !text.contains('/') && port.parse::<u16>().is_ok() => {
            Address::Tcp(text.to_owned())
        }
        _ => Address::Unix(text.into()),
    }
}

fn url_path(text: &str) -> std::result::Result<String, &'static str> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err("it does not begin with /") }
}

fn param(text: &str) -> std::result::Result<(String, String), &'static str> {
    pair(text, '=').ok_or("it is not NAME=VALUE")
}

fn header(text: &str) -> std::result::Result<(String, String), &'static str> {
    let (name, value) = pair(text, ':').ok_or("it is not NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn pair(text: &str, between: char) -> Option<(String, String)> {
    let (name, value) = text.split_once(between)?;
    (!name.trim().is_empty()).then(|| (name.to_owned(), value.to_owned()))
}
