//! Which run a free slot takes next.
//!
//! Each coordinator has a queue of runs that have all they need. A free slot draws a coordinator
//! among those that have a run for its device, weighted by their stakes, so that over time the share
//! of each follows its stake however much any of them sends; within a queue the oldest fitting run
//! goes first.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use adit_net::SharedRng;
use adit_net::simulated::Bell;
use adit_protocol::Hash;
use adit_protocol::task::{DeviceClass, Requirements};

use crate::executor::Device;
use crate::journal::NodeKey;

/// Something that can wait for a slot.
pub trait Queued: Send {
    /// By which it can be taken out again.
    fn id(&self) -> Hash;
    /// What it asks of a device.
    fn requirements(&self) -> &Requirements;
}

/// Whether a device meets requirements.
pub fn meets(device: &Device, requirements: &Requirements) -> bool {
    let class = match requirements.device {
        DeviceClass::Any => true,
        DeviceClass::Cpu => !device.gpu,
        DeviceClass::Gpu => device.gpu,
    };
    let memory = !device.gpu || device.memory_bytes >= requirements.device_memory_bytes;
    let wanted = &requirements.environments;
    class && memory && (wanted.is_empty() || wanted.contains(&device.environment_hash))
}

/// Why a device takes no new run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Its operator paused it.
    Paused,
    /// It is hotter than it may be.
    Hot,
}

struct Inner<J> {
    queues: BTreeMap<NodeKey, Queue<J>>,
    devices: Vec<DeviceState>,
    closed: bool,
}

struct Queue<J> {
    stake: u128,
    waiting: VecDeque<J>,
}

#[derive(Clone, Copy, Debug, Default)]
struct DeviceState {
    paused: bool,
    hot: bool,
    busy: u32,
}

impl DeviceState {
    fn held(self) -> Option<Held> {
        match self {
            DeviceState { paused: true, .. } => Some(Held::Paused),
            DeviceState { hot: true, .. } => Some(Held::Hot),
            _ => None,
        }
    }
}

/// The queues of all coordinators, and the slots of all devices.
pub struct Scheduler<J> {
    devices: Arc<[Device]>,
    rng: SharedRng,
    inner: Mutex<Inner<J>>,
    changed: Condvar,
    bell: Bell,
}

impl<J: Queued> Scheduler<J> {
    /// For these devices.
    pub fn new(devices: Arc<[Device]>, rng: SharedRng) -> Scheduler<J> {
        Scheduler {
            inner: Mutex::new(Inner {
                queues: BTreeMap::new(),
                devices: vec![DeviceState::default(); devices.len()],
                closed: false,
            }),
            devices,
            rng,
            changed: Condvar::new(),
            bell: Bell::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<J>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The devices.
    pub fn devices(&self) -> &Arc<[Device]> {
        &self.devices
    }

    /// Sets the weight of a coordinator.
    pub fn set_stake(&self, coordinator: NodeKey, stake: u128) {
        let mut inner = self.lock();
        let queue = inner.queues.entry(coordinator).or_insert_with(Queue::empty);
        queue.stake = stake;
    }

    /// Forgets a coordinator; returns what waited in its queue.
    pub fn forget(&self, coordinator: &NodeKey) -> Vec<J> {
        let queue = self.lock().queues.remove(coordinator);
        queue.map_or_else(Vec::new, |queue| queue.waiting.into())
    }

    /// Puts a run into a queue.
    pub fn push(&self, coordinator: NodeKey, job: J) {
        let mut inner = self.lock();
        let queue = inner.queues.entry(coordinator).or_insert_with(Queue::empty);
        queue.waiting.push_back(job);
        drop(inner);
        // All of them: the one that would be woken may be of a device that does not fit.
        self.changed.notify_all();
        self.bell.ring();
    }

    /// Takes a run out again that no slot has taken.
    pub fn remove(&self, coordinator: &NodeKey, id: &Hash) -> Option<J> {
        let mut inner = self.lock();
        let queue = &mut inner.queues.get_mut(coordinator)?.waiting;
        let at = queue.iter().position(|job| job.id() == *id)?;
        queue.remove(at)
    }

    /// How many runs of a coordinator wait.
    pub fn waiting(&self, coordinator: &NodeKey) -> usize {
        let inner = self.lock();
        inner.queues.get(coordinator).map_or(0, |q| q.waiting.len())
    }

    /// Takes all runs that wait, of all coordinators.
    pub fn drain(&self) -> Vec<J> {
        let mut inner = self.lock();
        let queues = inner.queues.values_mut();
        queues.flat_map(|queue| queue.waiting.drain(..)).collect()
    }

    /// The next run for a slot of a device. Blocks until there is one; `None` after
    /// [`Scheduler::close`].
    pub fn take(&self, device: usize) -> Option<J> {
        let mut inner = self.lock();
        loop {
            if inner.closed {
                return None;
            }
            if let Some(job) = self.begin(&mut inner, device) {
                return Some(job);
            }
            inner = self
                .changed
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next run for a slot of a device, if there is one.
    pub fn take_now(&self, device: usize) -> Option<J> {
        let mut inner = self.lock();
        match inner.closed {
            true => None,
            false => self.begin(&mut inner, device),
        }
    }

    /// Completes when something has changed, on a thread that simulates.
    pub async fn changed(&self) {
        self.bell.rung().await;
    }

    fn begin(&self, inner: &mut Inner<J>, device: usize) -> Option<J> {
        let about = self.devices.get(device)?;
        let state = inner.devices.get(device).copied().unwrap_or_default();
        if state.held().is_some() {
            return None;
        }
        let job = self.pick(inner, about)?;
        if let Some(state) = inner.devices.get_mut(device) {
            state.busy = state.busy.saturating_add(1);
        }
        Some(job)
    }

    /// A slot of a device is free again.
    pub fn freed(&self, device: usize) {
        if let Some(state) = self.lock().devices.get_mut(device) {
            state.busy = state.busy.saturating_sub(1);
        }
    }

    fn pick(&self, inner: &mut Inner<J>, device: &Device) -> Option<J> {
        let fitting = |queue: &Queue<J>| {
            let mut waiting = queue.waiting.iter();
            waiting.position(|job| meets(device, job.requirements()))
        };
        let candidates: Vec<(NodeKey, usize, u128)> = inner
            .queues
            .iter()
            .filter_map(|(key, queue)| Some((*key, fitting(queue)?, queue.stake)))
            .collect();
        let (key, at) = match candidates.as_slice() {
            [] => return None,
            // The usual case needs no number.
            [(key, at, _)] => (*key, *at),
            many => {
                let stakes: Vec<u128> = many.iter().map(|(_, _, stake)| *stake).collect();
                let (key, at, _) = many.get(draw(&self.rng, &stakes)?)?;
                (*key, *at)
            }
        };
        inner.queues.get_mut(&key)?.waiting.remove(at)
    }

    /// Ends all waits; no slot takes anything any more.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
        self.bell.ring();
    }

    /// Pauses or resumes a device; `None` stands for all. Returns whether there is such a device.
    pub fn pause(&self, device: Option<usize>, paused: bool) -> bool {
        let mut inner = self.lock();
        let found = match device {
            None => {
                inner.devices.iter_mut().for_each(|d| d.paused = paused);
                true
            }
            Some(at) => inner.devices.get_mut(at).is_some_and(|d| {
                d.paused = paused;
                true
            }),
        };
        drop(inner);
        self.changed.notify_all();
        self.bell.ring();
        found
    }

    /// Says whether a device is too hot. Returns whether that is news.
    pub fn set_hot(&self, device: usize, hot: bool) -> bool {
        let mut inner = self.lock();
        let news = inner.devices.get_mut(device).is_some_and(|state| {
            let news = state.hot != hot;
            state.hot = hot;
            news
        });
        drop(inner);
        if news {
            self.changed.notify_all();
            self.bell.ring();
        }
        news
    }

    /// Of each device: why it takes no new run, and how many slots are busy.
    pub fn state(&self) -> Vec<(Option<Held>, u32)> {
        let inner = self.lock();
        inner.devices.iter().map(|d| (d.held(), d.busy)).collect()
    }
}

impl<J> Queue<J> {
    fn empty() -> Queue<J> {
        Queue {
            stake: 0,
            waiting: VecDeque::new(),
        }
    }
}

/// One of several, each with a probability of its weight over the sum; if all weights are 0, each
/// with the same.
pub fn draw(rng: &SharedRng, weights: &[u128]) -> Option<usize> {
    // Stakes of 10^-12 token have up to 80 bits or so; what would not fit into the sum loses bits.
    let scale = |weight: u128| weight >> 16;
    let fits = weights
        .iter()
        .try_fold(0u128, |sum, w| sum.checked_add(*w))
        .is_some();
    let weigh = |weight: &u128| if fits { *weight } else { scale(*weight) };
    let total = weights
        .iter()
        .map(weigh)
        .fold(0u128, |sum, w| sum.saturating_add(w));
    if total == 0 {
        let at = rng.below(weights.len() as u128)?;
        return usize::try_from(at).ok();
    }
    let mut left = rng.below(total)?;
    weights.iter().position(|weight| {
        let weight = weigh(weight);
        let hit = left < weight;
        left = left.saturating_sub(weight);
        hit
    })
}

#[cfg(test)]
mod tests;
