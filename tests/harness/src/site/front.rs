//! A fake balancer-manager between the manager and Apache. Apache cannot be made to serve its
//! clients while its balancer-manager fails. The fake forwards requests, until a test changes its
//! mode.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::{Client, DEADLINE, Site, wait_for};

/// How many other requests are served before a late response.
const OTHERS: usize = 50;

/// How the fake answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// As Apache does.
    Well,
    /// As Apache does, but only when Apache has served many other requests.
    Late,
    /// With status 500.
    Fails,
    /// Half of an answer, and then nothing more.
    HangsUp,
    /// Not at all.
    Silent,
}

/// The fake; it ends with the test.
pub struct Front {
    mode: Arc<Mutex<Mode>>,
}

impl Site {
    /// Puts the fake between the manager and Apache.
    pub fn front(&self) -> Front {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (own, apache) = (listener.local_addr().unwrap().port(), self.port());
        let settings = "etc/php/fpm/redundant-pools/www/pools-manager.toml";
        let url = |port: u16| format!("localhost:{port}/balancer-manager");
        self.replace(settings, &url(apache), &url(own));
        let mode = Arc::new(Mutex::new(Mode::Well));
        let shared = Arc::clone(&mode);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mode = Arc::clone(&shared);
                // The client can have closed the connection.
                thread::spawn(move || answer(stream, own, apache, &mode));
            }
        });
        Front { mode }
    }
}

impl Front {
    pub fn answers(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }
}

fn answer(stream: TcpStream, own: u16, apache: u16, mode: &Mutex<Mode>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let request = read_request(&mut stream)?;
    let now = *mode.lock().unwrap();
    let pass_on = || -> io::Result<Vec<u8>> {
        let mut server = TcpStream::connect(("127.0.0.1", apache))?;
        server.set_read_timeout(Some(DEADLINE))?;
        // HTTP/1.0: the answer ends with the connection.
        let request = request.replace(&format!(":{own}"), &format!(":{apache}"));
        server.write_all(request.replace(" HTTP/1.1\r\n", " HTTP/1.0\r\n").as_bytes())?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        Ok(answer)
    };
    let text = match now {
        Mode::Well => pass_on()?,
        Mode::Late => {
            let others = Client::to(apache);
            (0..OTHERS).for_each(|_| drop(others.get("/ping.php")));
            pass_on()?
        }
        Mode::Fails => b"HTTP/1.1 500 X\r\nConnection: close\r\n\r\n".to_vec(),
        Mode::HangsUp => b"HTTP/1.1 200 X\r\nContent-Length: 9999\r\n\r\n<?xml".to_vec(),
        Mode::Silent => {
            wait_for("the end of the silence", || {
                (*mode.lock().unwrap() != Mode::Silent).then_some(())
            });
            return Ok(());
        }
    };
    stream.get_mut().write_all(&text)
}

fn read_request(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head)? > 0 {}
    let lower = head.to_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body)?;
    Ok(head + &String::from_utf8_lossy(&body))
}
