//! A miner against coordinators that are honest, broken or hostile, and the journal against crashes.

mod cache;
mod crash;
mod hostile;
mod journal;
mod life;
mod over_http;
mod support;
mod work;
