//! The program as its users meet it: started as a process, judged by what it prints, how it ends
//! and what it leaves on disk.

mod audit;
mod cluster;
mod components;
mod concurrency;
mod crash;
mod damage;
mod dev;
mod devices;
mod disk;
mod earning;
mod faults;
mod gpu;
mod hostile;
mod interrupt;
mod keys;
mod languages;
mod ledger;
mod legacy;
mod logs;
mod miner;
mod network;
mod network_support;
mod networks;
mod oci;
mod ocr;
mod project;
mod receipts;
mod rewards;
mod run;
mod schema;
mod settlement;
mod support;
mod syscalls;
mod tamper;
