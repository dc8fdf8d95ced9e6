//! `wasi:io/poll`: waiting, in virtual time.
//!
//! Streams are always ready. A timer is ready when virtual time has reached it. A guest that
//! waits while nothing is ready sleeps: time jumps to the earliest deadline it waits for.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};

use super::interface;
use crate::state::{State, charge};

/// Something to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pollable {
    /// Ready at any time: a stream.
    Ready,
    /// Ready once the monotonic clock has reached this many nanoseconds.
    At(u64),
}

impl Pollable {
    fn ready(self, now_ns: u64) -> bool {
        match self {
            Pollable::Ready => true,
            Pollable::At(instant) => instant <= now_ns,
        }
    }
}

/// The indices of what is ready, ascending, and the time until which the guest slept if nothing
/// was. `pollables` is not empty.
fn wait(pollables: &[Pollable], now_ns: u64) -> (Vec<u32>, Option<u64>) {
    let ready = |now| -> Vec<u32> {
        (0u32..)
            .zip(pollables)
            .filter(|(_, p)| p.ready(now))
            .map(|(i, _)| i)
            .collect()
    };
    let at_once = ready(now_ns);
    if !at_once.is_empty() {
        return (at_once, None);
    }
    let wake = pollables
        .iter()
        .filter_map(|p| match p {
            Pollable::At(instant) => Some(*instant),
            Pollable::Ready => None,
        })
        .min()
        .unwrap_or(now_ns);
    (ready(wake), Some(wake))
}

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Store<'a> = StoreContextMut<'a, State>;

    let mut poll = linker.instance(&interface("io/poll"))?;
    poll.resource(
        "pollable",
        ResourceType::host::<Pollable>(),
        |mut s, rep| {
            s.data_mut()
                .table
                .delete::<Pollable>(Resource::new_own(rep))?;
            Ok(())
        },
    )?;
    poll.func_wrap(
        "[method]pollable.ready",
        |mut s: Store<'_>, (p,): (Resource<Pollable>,)| {
            charge(&mut s, 0)?;
            let state = s.data_mut();
            // A guest that spins on `ready` instead of waiting must get somewhere, too.
            let now = state.clock.read();
            Ok((state.table.get(&p)?.ready(now),))
        },
    )?;
    poll.func_wrap(
        "[method]pollable.block",
        |mut s: Store<'_>, (p,): (Resource<Pollable>,)| {
            charge(&mut s, 0)?;
            let state = s.data_mut();
            if let Pollable::At(instant) = *state.table.get(&p)? {
                state.clock.sleep_until(instant);
            }
            Ok(())
        },
    )?;
    poll.func_wrap(
        "poll",
        |mut s: Store<'_>, (list,): (Vec<Resource<Pollable>>,)| {
            charge(&mut s, 4 * list.len() as u64)?;
            if list.is_empty() {
                return Err(wasmtime::Error::msg("poll of an empty list"));
            }
            let state = s.data_mut();
            let pollables = list
                .iter()
                .map(|p| state.table.get(p).copied())
                .collect::<Result<Vec<_>, _>>()?;
            let (ready, slept_until) = wait(&pollables, state.clock.elapsed_ns());
            if let Some(instant) = slept_until {
                state.clock.sleep_until(instant);
            }
            Ok((ready,))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ready_comes_back_in_order_and_no_time_passes() {
        let list = [Pollable::At(50), Pollable::Ready, Pollable::At(10)];
        assert_eq!(wait(&list, 10), (vec![1, 2], None));
    }

    #[test]
    fn a_sleeper_wakes_at_the_earliest_deadline_with_all_that_share_it() {
        let list = [
            Pollable::At(50),
            Pollable::At(20),
            Pollable::At(90),
            Pollable::At(20),
        ];
        assert_eq!(wait(&list, 10), (vec![1, 3], Some(20)));
    }
}
