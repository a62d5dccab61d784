//! Socket calls as the agent sees them: the kernel side's records, decoded once.

mod call;
mod caller;
mod decode;

pub use self::{
    call::{Call, Family, ListenerPart, SocketRecord},
    caller::{Caller, CapturedCommandLine, FileNumbers, TaskName},
    decode::DecodeError,
};
