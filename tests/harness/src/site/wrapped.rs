//! A wrapper script around php-fpm, for rare failures. It fails on release 2 only, so that the
//! release is the cause, as with a preload script or an extension of a release.

use super::{Site, php_fpm};
use crate::write_script;

impl Site {
    /// Has `php_fpm_cmd` run these lines of a shell on release 2; `$php "$@"` is php-fpm, and
    /// `$pid_file` the pid file of the generation.
    pub fn wrap_php_fpm(&self, on_release_2: &str) {
        let php = php_fpm();
        let script = format!(
            "#!/bin/sh\n\
             php={}\n\
             case \" $* \" in *' -tt '*) exec \"$php\" \"$@\";; esac\n\
             [ \"$(cat www/current/release.txt)\" = 2 ] || exec \"$php\" \"$@\"\n\
             for conf; do :; done\n\
             conf=$(readlink \"$conf\")\n\
             pid_file=${{conf%.conf}}.pid\n\
             {on_release_2}\n",
            php.display()
        );
        let path = self.path("wrapped-php-fpm");
        write_script(&path, &script);
        let path = path.display();
        let command = format!("php_fpm_cmd = [\"{path}\", \"-p\", \"%CURRENT_DIR%\"]\n");
        let settings = "etc/php/fpm/redundant-pools/www/pools-manager.toml";
        self.replace(settings, "[php]\n", &format!("[php]\n{command}"));
    }
}
