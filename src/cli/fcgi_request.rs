//! The companion `fcgi-request`.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::duration;
use crate::error::{Error, Result};
use crate::fastcgi::{Address, Request, Response, send_to};

const ABOUT: &str = "\
Send one request over FastCGI and print the response: headers, an empty line, the body";
const NOTES: &str = "\
The FastCGI error stream of the response goes to standard error.

Exit status: 0 response status below 400, 1 response status 400 or above, or no response, 2 wrong usage.";

/// The command line of `fcgi-request`.
#[derive(Debug, Parser)]
#[command(name = "fcgi-request", version, about = ABOUT, after_help = NOTES)]
pub struct FcgiRequest {
    /// The path of the URL, and the ?query if there is one
    #[arg(value_parser = url_path)]
    url_path: String,
    /// The socket of the server: a path, unix:PATH, or HOST:PORT
    socket: String,
    /// The request method [default: GET, or POST with --stdin]
    #[arg(long)]
    method: Option<String>,
    /// Send standard input as the body of the request
    #[arg(long)]
    stdin: bool,
    /// Set a CGI variable; it replaces the usual value
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = param)]
    params: Vec<(String, String)>,
    /// Add an HTTP header
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The file of the script [default: the URL path below the document root]
    #[arg(long, value_name = "FILE", conflicts_with = "document_root")]
    script: Option<PathBuf>,
    /// The document root [default: none, the URL path itself is the file of the script]
    #[arg(long, value_name = "DIR")]
    document_root: Option<PathBuf>,
    /// How long the whole response may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::option)]
    timeout: Duration,
}

impl FcgiRequest {
    /// Sends the request, prints the response or the error, and returns the exit status.
    pub fn run(self) -> ExitCode {
        match send(self) {
            Ok(status) if status < 400 => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("fcgi-request: {error}");
                error.exit.into()
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn send(args: FcgiRequest) -> Result<u16> {
    let address = address(&args.socket);
    let timeout = args.timeout;
    let request = request(args)?;
    let response = send_to(&address, &request, timeout).await;
    let response = response.map_err(|error| Error::failed(error.to_string()))?;
    match print(&response) {
        // A reader that closes the pipe has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(response.status),
        Err(error) => Err(Error::failed(format!("cannot write the response: {error}"))),
        Ok(()) => Ok(response.status),
    }
}

fn request(args: FcgiRequest) -> Result<Request> {
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

/// An absolute path: the server has another working directory.
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

/// HOST:PORT without a slash is a TCP address; everything else is a path.
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
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err("the path does not begin with /") }
}

fn param(text: &str) -> std::result::Result<(String, String), &'static str> {
    pair(text, '=').ok_or("write it as NAME=VALUE")
}

fn header(text: &str) -> std::result::Result<(String, String), &'static str> {
    let (name, value) = pair(text, ':').ok_or("write it as NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn pair(text: &str, separator: char) -> Option<(String, String)> {
    let (name, value) = text.split_once(separator)?;
    (!name.trim().is_empty()).then(|| (name.to_owned(), value.to_owned()))
}
