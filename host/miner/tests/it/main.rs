//! A miner against coordinators that are honest, broken or hostile, and the journal against crashes.

// The guards are dropped before the next await; the lint does not see `drop`.
#![allow(clippy::await_holding_lock)]

mod cache;
mod crash;
mod health;
mod hostile;
mod journal;
mod life;
mod over_http;
mod support;
mod work;
