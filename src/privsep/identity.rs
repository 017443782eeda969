//! The account of the child, and how the child takes this account for good.

use std::io;

use nix::unistd::{Gid, Uid, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, no_new_privs,
    set_capabilities, set_no_new_privs,
};
use serde::{Deserialize, Serialize};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// All its groups.
    pub groups: Vec<u32>,
}

impl Identity {
    /// Makes this process run as the account, without a way back. The process has no capability, and gets
    /// none by executing a program. Other processes of the account can neither trace it nor look at its
    /// descriptors.
    ///
    /// To be called while the process has one thread.
    pub fn assume(&self) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let groups: Vec<Gid> = self.groups.iter().map(|it| Gid::from_raw(*it)).collect();
        setgroups(&groups)?;
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
        // The change of the user has cleared the ambient capabilities, unless a flag from the parent
        // prevents it (capabilities(7)).
        let _ = clear_ambient_capability_set();
        let none = CapabilitySet::empty();
        set_capabilities(
            None,
            CapabilitySets { effective: none, permitted: none, inheritable: none },
        )?;
        set_no_new_privs(true)?;
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        self.verify(&groups)
    }

    fn verify(&self, groups: &[Gid]) -> io::Result<()> {
        let (users, of_groups) = (getresuid()?, getresgid()?);
        let is_user = [users.real, users.effective, users.saved].map(Uid::as_raw) == [self.uid; 3];
        let all = [of_groups.real, of_groups.effective, of_groups.saved];
        let is_group = all.map(Gid::as_raw) == [self.gid; 3];
        let sorted = |groups: &[Gid]| {
            let mut numbers: Vec<u32> = groups.iter().map(|it| it.as_raw()).collect();
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        };
        let has_groups = sorted(&getgroups()?) == sorted(groups);
        let held = capabilities(None)?;
        let has_none = held.effective.union(held.permitted).union(held.inheritable).is_empty();
        let root = Uid::from_raw(0);
        let can_return = setresuid(root, root, root).is_ok();
        if is_user && is_group && has_groups && has_none && no_new_privs()? && !can_return {
            return Ok(());
        }
        Err(io::Error::other("the kernel has not taken all rights away"))
    }
}
