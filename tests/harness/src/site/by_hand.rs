//! php-fpm started by hand, without pools-manager.

use std::process::Command;

use super::{Program, Site, php_fpm};

/// A shell script that pins the release for the program that it starts.
const PIN: &str = r#"mount --bind "$(readlink -f www/current.release)" www/current && exec "$@""#;

impl Site {
    /// Starts a replica on its public names, pinned to the current release.
    pub fn start_by_hand(&self, replica: u32) {
        let mut command = self.command("unshare");
        if self.uid() == 0 {
            command.args(["--mount", "--propagation", "private", "sh", "-c", PIN, "pin"]);
        } else {
            // Only root of a user namespace can mount; php-fpm has to run as the ordinary user again.
            command.args(["--user", "--map-root-user", "--mount", "sh", "-c", PIN, "pin"]);
            command.arg("unshare").arg("--user").args(self.map_itself());
        }
        self.php_fpm_alone(&mut command, replica);
        Program::start(&mut command).finish().status(0);
    }

    fn map_itself(&self) -> [String; 2] {
        let gid = nix::unistd::getegid();
        [format!("--map-user={}", self.uid()), format!("--map-group={gid}")]
    }

    fn php_fpm_alone(&self, command: &mut Command, replica: u32) {
        let conf = format!("etc/php/fpm/redundant-pools/www/{replica}.conf");
        command.arg(php_fpm()).arg("-p").arg(self.root()).args(["--fpm-config", &conf]);
    }
}
