//! Generated and damaged answers of the runtime API.

use proptest::prelude::*;

use super::{stat, state};
use crate::fuzz::{Bytes, a_megabyte_of, damaged};

const SAMPLES: &[&str] = &[
    include_str!("fixtures/2.6.12.txt"),
    "# pxname,svname,slim,last_chk,\nwww,www1,5,,\nwww,www2,,\"no, \"\"x\"\"\",\n\n",
];
const WORDS: &[&str] =
    &["1\n", "# ", "www", "www1", "srv_name", "be_name", "srv_admin_state", "-", ",", "\"", "\n\n"];

proptest! {
    #[test]
    fn written_servers_are_read(
        servers in proptest::collection::vec(("[a-z:._-]{1,9}", 0..0x80_u32, 0..4_u32), 0..5),
    ) {
        let mut text = "1\n# be_name srv_name srv_op_state srv_admin_state srv_uweight srv_addr\n".to_owned();
        for (name, admin, op) in &servers {
            text += &["www ", name, &format!(" {op} {admin} 1 -\nother "), name, " 2 0 1 -\n"].concat();
        }
        let found = state::read(&(text + "\n"), "www").unwrap();
        prop_assert_eq!(found.len(), servers.len());
        for (server, (name, admin, op)) in found.iter().zip(&servers) {
            prop_assert_eq!(&server.name, name);
            prop_assert_eq!(server.is_draining(), admin & 8 != 0);
            let out = admin & (0x23 | 0x18) != 0 || !matches!(op, 1 | 2);
            prop_assert_eq!(server.serves(), !out);
        }
    }

    #[test]
    fn damaged_answers_invent_no_server(Bytes(bytes) in damaged(SAMPLES, WORDS)) {
        let text = String::from_utf8_lossy(&bytes);
        for server in state::read(&text, "www").unwrap_or_default() {
            prop_assert!(text.contains(&server.name));
        }
        for stat in stat::read(&text, "www") {
            prop_assert!(stat.name.contains('"') || text.replace('"', "").contains(&stat.name));
        }
    }
}

#[test]
fn long_answers_are_read_at_once() {
    for word in WORDS.iter().chain(SAMPLES) {
        let long = a_megabyte_of(word);
        let _ = state::read(&long, "www");
        let _ = stat::read(&long, "www");
    }
}
