//! What is held back until a batch is durable, and who waits for something that has not happened
//! yet: polls, clients, watchers.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use adit_protocol::hash::Hash;
use tokio::sync::broadcast;

use super::Refusal;
use super::command::{Answer, Taken};
use crate::core::PollReply;
use crate::order::PollOrder;
use crate::view::{TaskEvent, TaskView};

/// Events that a watcher may lag behind.
const EVENTS: usize = 256;

/// An answer that is ready, and is given once the batch is durable.
pub(super) type Ready = Box<dyn FnOnce()>;

/// The answers of one batch.
#[derive(Default)]
pub(super) struct Answers {
    ready: Vec<Ready>,
    /// Answered with the task as it is after the batch.
    views: Vec<(Hash, ViewAnswer)>,
}

pub(super) enum ViewAnswer {
    /// For the task of a submission.
    Taken(Answer<Taken>),
    /// `None` for one that is not live.
    Maybe(Answer<Option<TaskView>>),
}

impl Answers {
    /// Nobody may be there any more to hear it, which is fine.
    pub(super) fn ready<T: 'static>(&mut self, answer: Answer<T>, result: Result<T, Refusal>) {
        self.ready.push(Box::new(move || {
            let _ = answer.send(result);
        }));
    }

    pub(super) fn view(&mut self, task: Hash, answer: ViewAnswer) {
        self.views.push((task, answer));
    }

    /// Makes the answers that show a task ready; `show` gives the task as it is now.
    pub(super) fn show(&mut self, mut show: impl FnMut(&Hash) -> Option<TaskView>) {
        for (task, answer) in std::mem::take(&mut self.views) {
            let view = show(&task);
            match answer {
                ViewAnswer::Maybe(answer) => self.ready(answer, Ok(view)),
                ViewAnswer::Taken(answer) => {
                    let taken = view.map(|view| Taken::Here(Box::new(view)));
                    self.ready(answer, Ok(taken.unwrap_or(Taken::Ended(task))));
                }
            }
        }
    }

    /// Gives the answers. Those that are dropped without it are told that the engine is gone.
    pub(super) fn give(self) {
        for ready in self.ready {
            ready();
        }
    }
}

/// A poll that waits.
pub(super) struct Parked {
    pub poll: PollOrder,
    pub due_ms: u64,
    pub answer: Answer<PollReply>,
}

/// Those who wait.
#[derive(Default)]
pub(super) struct Waiting {
    polls: HashMap<[u8; 32], Parked>,
    polls_due: BTreeSet<(u64, [u8; 32])>,
    ends: HashMap<Hash, Vec<Answer<Option<TaskView>>>>,
    watchers: HashMap<Hash, broadcast::Sender<Arc<TaskEvent>>>,
    pub(super) drains: Vec<Answer<()>>,
}

impl Waiting {
    pub(super) fn polls(&self) -> usize {
        self.polls.len()
    }

    pub(super) fn park(&mut self, node: [u8; 32], parked: Parked) {
        self.polls_due.insert((parked.due_ms, node));
        self.polls.insert(node, parked);
    }

    pub(super) fn unpark(&mut self, node: &[u8; 32]) -> Option<Parked> {
        let parked = self.polls.remove(node)?;
        self.polls_due.remove(&(parked.due_ms, *node));
        Some(parked)
    }

    /// When the first poll has waited as long as it may.
    pub(super) fn poll_due(&self) -> Option<u64> {
        self.polls_due.first().map(|(at, _)| *at)
    }

    /// The polls that have waited as long as they may.
    pub(super) fn overdue(&mut self, now_ms: u64) -> Vec<([u8; 32], Parked)> {
        let mut all = Vec::new();
        while let Some((at, node)) = self.polls_due.first().copied()
            && at <= now_ms
        {
            self.polls_due.pop_first();
            all.extend(self.polls.remove(&node).map(|parked| (node, parked)));
        }
        all
    }

    /// Miners that hung up while they waited.
    pub(super) fn hung_up(&mut self) -> Vec<[u8; 32]> {
        let gone: Vec<_> = self
            .polls
            .iter()
            .filter(|(_, parked)| parked.answer.is_closed())
            .map(|(node, _)| *node)
            .collect();
        for node in &gone {
            self.unpark(node);
        }
        gone
    }

    /// Waits for the end of a task. Those of its waiters who gave up are forgotten.
    pub(super) fn for_end(&mut self, task: Hash, answer: Answer<Option<TaskView>>) {
        let waiters = self.ends.entry(task).or_default();
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.push(answer);
    }

    /// Watches a task.
    pub(super) fn watch(&mut self, task: Hash) -> broadcast::Receiver<Arc<TaskEvent>> {
        self.watchers
            .entry(task)
            .or_insert_with(|| broadcast::channel(EVENTS).0)
            .subscribe()
    }

    /// Tells those who watch a task, after the batch.
    pub(super) fn event(&mut self, task: &Hash, event: TaskEvent) {
        if let Some(watchers) = self.watchers.get(task) {
            // The last watcher has left.
            if watchers.send(Arc::new(event)).is_err() {
                self.watchers.remove(task);
            }
        }
    }

    /// A task ended: those who waited for that hear of it, and watchers hear no more.
    pub(super) fn ended(&mut self, view: &TaskView) {
        for waiter in self.ends.remove(&view.task).into_iter().flatten() {
            let _ = waiter.send(Ok(Some(view.clone())));
        }
        self.event(
            &view.task,
            TaskEvent::State {
                state: view.state,
                reason: view.reason.clone(),
            },
        );
        self.watchers.remove(&view.task);
    }
}
