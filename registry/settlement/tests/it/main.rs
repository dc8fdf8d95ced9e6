//! Integration tests of the settlement crate, in one binary so that it links once.

mod epochs;
mod hostile;
mod outputs;
mod program;
mod properties;
mod vectors;
