//! A whole network in one process, for development.
