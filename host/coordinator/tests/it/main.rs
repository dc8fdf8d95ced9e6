//! A coordinator as its clients and miners meet it: a real server on a free port with a real engine,
//! and miners that sign for real. They run nothing: their answer is the input in upper case.

mod blobs;
mod clients;
mod events;
mod hostile;
mod life;
mod memory;
mod receipts;
mod support;
