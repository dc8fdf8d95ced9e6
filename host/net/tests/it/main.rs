//! Tests of the HTTP foundations against real servers on ports of the loopback interface.
#![allow(missing_docs)]

mod client;
mod fixtures;
mod hostile;
mod requests;
mod service;
mod signed;
mod tls;
mod transfers;
