//! The transparency log against its definition and against other implementations of its formats:
//! `ct-merkle` for trees and proofs, with our hash; `tlog_tiles` and `signed_note` for paths, lists of
//! tiles and texts, which do not depend on the hash.

mod texts;
mod trees;
