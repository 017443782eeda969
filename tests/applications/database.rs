//! A MariaDB for one test. It has no accounts and no network: a process that can open its socket has
//! full access.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use harness::wait_for;

/// Drop kills MariaDB. The test removes the directory of the data.
pub(crate) struct Database {
    server: Child,
    socket: PathBuf,
}

impl Database {
    /// Starts MariaDB in a directory, with an empty database of this name.
    pub(crate) fn start(dir: &Path, name: &str) -> Self {
        let (data, socket, first) = (dir.join("data"), dir.join("db.sock"), dir.join("first.sql"));
        std::fs::create_dir_all(&data).unwrap();
        std::fs::write(&first, format!("CREATE DATABASE {name};\n")).unwrap();
        let log = File::create(dir.join("db.log")).unwrap();
        let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let mut command = Command::new("mariadbd");
        command
            .args(["--no-defaults", "--user=root", "--skip-networking", "--skip-grant-tables"])
            .args([option("datadir", &data), option("socket", &socket)])
            .args([option("init-file", &first), option("pid-file", &dir.join("db.pid"))])
            // The data need not survive the test.
            .args(["--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0"])
            .args(["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M"])
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let server = command.spawn().expect("mariadbd (the package mariadb-server)");
        let database = Self { server, socket };
        wait_for("the database", || UnixStream::connect(&database.socket).ok());
        database
    }

    /// The path of its socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}
