//! A miner: fetches tasks from coordinators, runs them, and hands in receipts.
