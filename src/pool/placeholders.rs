//! The placeholders for the root and for the user in the operator's commands.

use super::Pool;
use crate::error::{Error, Result};

impl Pool {
    /// The words of a command, with `%CURRENT_DIR%` and `%CURRENT_USER%` filled in.
    pub fn fill_in(&self, words: &[String]) -> Result<Vec<String>> {
        let (root, user) = (self.root_as_text()?, user_name());
        let fill =
            |word: &String| word.replace("%CURRENT_DIR%", root).replace("%CURRENT_USER%", &user);
        Ok(words.iter().map(fill).collect())
    }

    /// The root's path as text, for arguments of programs.
    pub fn root_as_text(&self) -> Result<&str> {
        let root = self.root.path();
        root.to_str().ok_or_else(|| {
            Error::config(format!("the root {} is not UTF-8", root.display()))
                .hint("php-fpm gets its path as text: move the root to another path")
        })
    }
}

/// The name of the user who runs pools-manager.
pub fn user_name() -> String {
    let uid = nix::unistd::Uid::effective();
    match nix::unistd::User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}
