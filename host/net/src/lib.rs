//! What nodes share: HTTP conventions, signed requests, TLS, blobs, and the log on disk.
//!
//! | module | subject |
//! |---|---|
//! | [`db`] | SQLite databases that one process owns |

pub mod db;
