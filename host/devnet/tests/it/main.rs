//! Integration tests of development networks.

mod simulation;
