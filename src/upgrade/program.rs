//! The program that an upgrade starts: the file that is now at the path from which this process was
//! started.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::trust;

/// A path and arguments.
#[derive(Debug, Clone)]
pub struct Program {
    /// Absolute. Its symlinks are not resolved: an upgrade may move them.
    path: PathBuf,
    args: Vec<OsString>,
}

impl Program {
    /// The program of this process, and its arguments. To be called when the process starts: later, the
    /// kernel may show the path of a file that has been deleted.
    pub fn of_this_process() -> Result<Self> {
        let mut args = env::args_os();
        let path = args.next().and_then(|name| locate(Path::new(&name)));
        let path = match path {
            Some(path) => path,
            None => env::current_exe().map_err(|error| {
                Error::failed(format!("cannot find the program of this process: {error}"))
            })?,
        };
        Ok(Self { path, args: args.collect() })
    }

    /// Refuses a file that other users can change: it is executed with the rights of this process.
    pub fn check(&self) -> Result<()> {
        if !self.path.is_file() {
            let path = self.path.display();
            return Err(Error::config(format!("there is no program at {path}"))
                .hint("install it there, as it was when serve was started; or restart serve"));
        }
        trust::require([self.path.clone()])
    }

    /// The path of the program.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The arguments of the program.
    pub fn args(&self) -> &[OsString] {
        &self.args
    }
}

/// The path at which a shell or a service manager has found a program by this name. None: there is no
/// such file.
fn locate(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return std::path::absolute(name).ok().filter(|path| path.is_file());
    }
    let dirs = env::var_os("PATH")?;
    let places = env::split_paths(&dirs).map(|dir| dir.join(name));
    places.filter_map(|place| std::path::absolute(place).ok()).find(|place| place.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_found_as_a_shell_finds_it() {
        assert!(locate(Path::new("sh")).unwrap().is_absolute());
        assert_eq!(locate(Path::new("/bin/sh")), Some(PathBuf::from("/bin/sh")));
        assert_eq!(locate(Path::new("no-such-program")), None);
        assert_eq!(locate(Path::new("/no/such/program")), None);
    }

    #[test]
    fn missing_program_is_refused() {
        let program = Program { path: "/no/such/program".into(), args: Vec::new() };
        let error = program.check().unwrap_err();
        assert_eq!(error.message, "there is no program at /no/such/program");
    }
}
