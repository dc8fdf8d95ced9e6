//! `wasi:clocks`: virtual time, moved by the guest's own calls and by nothing else.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};

use super::interface;
use super::poll::Pollable;
use crate::bindings::Datetime;
use crate::state::{State, charge};

/// How far every read of a clock advances time, in nanoseconds.
pub const CLOCK_STEP_NS: u64 = 1_000;

const NS_PER_SECOND: u64 = 1_000_000_000;

/// Virtual time of a run. The monotonic clock starts at 0, the wall clock at the spec's start;
/// both advance together: by [`CLOCK_STEP_NS`] before each read of either, and to the deadline of
/// a sleep when the guest waits for nothing else.
#[derive(Debug)]
pub struct VirtualClock {
    elapsed_ns: u64,
    start_ns: u64,
}

impl VirtualClock {
    /// A clock whose wall time starts at `start_ns` nanoseconds after the Unix epoch.
    pub fn new(start_ns: u64) -> Self {
        Self {
            elapsed_ns: 0,
            start_ns,
        }
    }

    /// Nanoseconds since the start of the run, without advancing.
    pub fn elapsed_ns(&self) -> u64 {
        self.elapsed_ns
    }

    /// Read the monotonic clock: advances, then returns nanoseconds since the start.
    pub fn read(&mut self) -> u64 {
        self.elapsed_ns = self.elapsed_ns.saturating_add(CLOCK_STEP_NS);
        self.elapsed_ns
    }

    /// Read the wall clock: advances, then returns nanoseconds after the Unix epoch.
    pub fn read_wall(&mut self) -> u64 {
        let elapsed = self.read();
        self.start_ns.saturating_add(elapsed)
    }

    /// Let time pass until `instant_ns` of the monotonic clock, if that is in the future.
    pub fn sleep_until(&mut self, instant_ns: u64) {
        self.elapsed_ns = self.elapsed_ns.max(instant_ns);
    }
}

fn datetime(ns: u64) -> Datetime {
    Datetime {
        seconds: ns / NS_PER_SECOND,
        // Less than 10^9, so it always fits.
        nanoseconds: (ns % NS_PER_SECOND) as u32,
    }
}

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Store<'a> = StoreContextMut<'a, State>;

    let mut wall = linker.instance(&interface("clocks/wall-clock"))?;
    wall.func_wrap("now", |mut s: Store<'_>, (): ()| {
        charge(&mut s, 0)?;
        Ok((datetime(s.data_mut().clock.read_wall()),))
    })?;
    wall.func_wrap("resolution", |mut s: Store<'_>, (): ()| {
        charge(&mut s, 0)?;
        Ok((datetime(CLOCK_STEP_NS),))
    })?;

    let mut monotonic = linker.instance(&interface("clocks/monotonic-clock"))?;
    monotonic.func_wrap("now", |mut s: Store<'_>, (): ()| {
        charge(&mut s, 0)?;
        Ok((s.data_mut().clock.read(),))
    })?;
    monotonic.func_wrap("resolution", |mut s: Store<'_>, (): ()| {
        charge(&mut s, 0)?;
        Ok((CLOCK_STEP_NS,))
    })?;
    monotonic.func_wrap(
        "subscribe-instant",
        |mut s: Store<'_>, (when,): (u64,)| -> wasmtime::Result<(Resource<Pollable>,)> {
            charge(&mut s, 0)?;
            Ok((s.data_mut().push(Pollable::At(when))?,))
        },
    )?;
    monotonic.func_wrap(
        "subscribe-duration",
        |mut s: Store<'_>, (when,): (u64,)| -> wasmtime::Result<(Resource<Pollable>,)> {
            charge(&mut s, 0)?;
            let deadline = s.data().clock.elapsed_ns().saturating_add(when);
            Ok((s.data_mut().push(Pollable::At(deadline))?,))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_advance_together_and_by_rule() {
        let mut c = VirtualClock::new(5 * NS_PER_SECOND);
        assert_eq!(c.read(), 1_000);
        assert_eq!(c.read_wall(), 5 * NS_PER_SECOND + 2_000);
        c.sleep_until(3_600 * NS_PER_SECOND);
        assert_eq!(c.read(), 3_600 * NS_PER_SECOND + 1_000);
        c.sleep_until(1);
        assert_eq!(c.elapsed_ns(), 3_600 * NS_PER_SECOND + 1_000);
    }

    #[test]
    fn the_end_of_time_does_not_overflow() {
        let mut c = VirtualClock::new(u64::MAX);
        c.sleep_until(u64::MAX);
        assert_eq!(c.read_wall(), u64::MAX);
        assert_eq!(datetime(u64::MAX).nanoseconds, 709_551_615);
    }
}
