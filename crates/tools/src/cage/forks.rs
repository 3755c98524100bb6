//! The process that supervisors are forked from.
//!
//! Loading a large program costs more than all that a supervisor does, so it is
//! loaded once, and each supervisor is a copy of what stands ready: a process with
//! one thread that has read nothing yet. It knows no command. It ends when the
//! server closes its socket; the supervisors that it made do not depend on it.

use std::os::unix::net::UnixStream;

use super::filter;
use super::spec::Note;
use super::sys::{self, Fork};
use super::wire::take_in;

/// Forks for each life line that comes. Returns it in the supervisor; nothing where no more will come.
pub(super) fn serve(control: UnixStream) -> Option<UnixStream> {
    // Once for all of them.
    filter::prepare();
    sys::forget_children();
    loop {
        // silent-ok: whatever it is, the server starts another one.
        let life = take_in(&control).ok()?;
        match sys::fork() {
            Ok(Fork::Child) => {
                drop(control);
                sys::remember_children();
                return Some(life);
            }
            Ok(Fork::Parent(_)) => {}
            Err(error) => {
                let note = Note::Failed { step: "fork".to_owned(), why: error.to_string(), is_command: false };
                // silent-ok: with the server gone there is nobody left to tell.
                note.write(&life).ok();
            }
        }
    }
}
