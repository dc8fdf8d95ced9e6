//! Codes.
use crate::status::Status;
/// Code
pub enum Code{/// x
X}
impl From<Status> for Code { fn from(_:Status)->Code{Code::X}}
