//! Taking a pool from what it is to what is wanted: observe, plan, execute.

mod goal;
mod plan;
mod step;

pub use goal::{Goal, Wanted};
pub use plan::{Member, Replica, Seen, plan};
pub use step::{Id, Stage, Step, Title};
