//! WordPress in two releases, with one database and one directory of uploads.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::database::Database;
use crate::packaged;
use harness::served::Served;

const PACKAGED: &str = "/usr/share/wordpress";

/// The site, its gateway and its database.
pub(crate) struct Blog {
    // Fields are dropped in this order.
    served: Served,
    _database: Database,
}

impl Blog {
    /// Starts a blog with two releases that differ in their numbers only; release 1 runs.
    pub(crate) fn new() -> Self {
        // Uploads are no code.
        let pool = "follow_symlinks = true\ndeny = [\"/wp-content/uploads/evil.php\"]";
        let site = packaged::site(pool);
        let database = Database::start(&site.path("db"), "wordpress");
        let uploads = packaged::writable(&site, "shared/uploads");
        for release in ["release1", "release2"] {
            let dir = packaged::release(&site, release, PACKAGED);
            release_files(&dir, &release["release".len()..], database.socket());
            let link = dir.join("wp-content/uploads");
            let _ = fs::remove_dir_all(&link); // there is none in some versions of the package
            symlink(&uploads, link).unwrap();
        }
        site.run(&["start"]).succeeds();
        Self { served: Served::serve(site), _database: database }
    }

    pub(crate) fn port(&self) -> u16 {
        self.served.port()
    }

    /// A page by HTTPS.
    pub(crate) fn url(&self, page: &str) -> String {
        format!("https://127.0.0.1:{}{page}", self.served.tls_port())
    }

    pub(crate) fn path(&self, below: &str) -> std::path::PathBuf {
        self.served.site.path(below)
    }

    /// Moves the symlink and restarts the pool.
    pub(crate) fn deploy(&self, release: &str) {
        self.served.site.switch(release);
        self.served.site.run(&["restart"]).succeeds();
    }
}

/// Writes the files that differ between releases.
fn release_files(dir: &Path, number: &str, socket: &Path) {
    fs::write(dir.join("release.txt"), format!("{number}\n")).unwrap();
    let socket = socket.display();
    let config = format!(
        "<?php
define('DB_NAME', 'wordpress');
define('DB_USER', 'wordpress');
define('DB_PASSWORD', '');
define('DB_HOST', 'localhost:{socket}');
define('DB_CHARSET', 'utf8mb4');
define('DB_COLLATE', '');
define('AUTH_KEY', 'a'); define('SECURE_AUTH_KEY', 'b'); define('LOGGED_IN_KEY', 'c');
define('NONCE_KEY', 'd'); define('AUTH_SALT', 'e'); define('SECURE_AUTH_SALT', 'f');
define('LOGGED_IN_SALT', 'g'); define('NONCE_SALT', 'h');
// The test stays on the loopback interface.
define('WP_HTTP_BLOCK_EXTERNAL', true);
define('AUTOMATIC_UPDATER_DISABLED', true);
define('DISABLE_WP_CRON', true);
$table_prefix = 'wp_';
if (!defined('ABSPATH')) define('ABSPATH', __DIR__ . '/');
require_once ABSPATH . 'wp-settings.php';
"
    );
    fs::write(dir.join("wp-config.php"), config).unwrap();
    let own = dir.join("wp-content/mu-plugins");
    fs::create_dir_all(&own).unwrap();
    let plugin = format!(
        "<?php
header('X-Release: {number}');
function wp_mail() {{ return true; }}
"
    );
    fs::write(own.join("release.php"), plugin).unwrap();
}

/// A PNG of one pixel.
pub(crate) fn picture() -> Vec<u8> {
    let mut picture = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8], data: &[u8]| {
        let mut sum = flate2::Crc::new();
        sum.update(kind);
        sum.update(data);
        picture.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        picture.extend([kind, data].concat());
        picture.extend(sum.sum().to_be_bytes());
    };
    chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0]);
    let mut dot = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut dot, &[0, 200, 100, 50]).unwrap();
    chunk(b"IDAT", &dot.finish().unwrap());
    chunk(b"IEND", &[]);
    picture
}
