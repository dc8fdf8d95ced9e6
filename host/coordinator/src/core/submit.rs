//! Tasks come in and are cancelled.

use std::sync::Arc;

use adit_protocol::Code;
use adit_protocol::cbor::Document as _;
use adit_protocol::hash::Hash;
use adit_protocol::network::entry::{CancelledBy, Decision};

use super::context::TaskContext;
use super::queue::ClassKey;
use super::task::Task;
use super::{Core, CoreError, Io, Output};
use crate::Refusal;
use crate::order::PreparedSubmission;
use crate::order::{CLIENT_BYTES_MAX, IDEMPOTENCY_BYTES_MAX, Submission};
use crate::store::TaskRow;
use crate::view::{TaskState, TaskView};

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// It is a live task: a new one, or that of an earlier request with the same key.
    Live(Hash),
    /// It is the task of an earlier request, and has ended.
    Ended(Hash),
}

fn invalid<T>(detail: impl Into<String>, hint: &str) -> Result<T, CoreError> {
    Err(Refusal::new(Code::InvalidRequest, detail, hint).into())
}

impl Core {
    /// Takes a task. Its hashes were computed before.
    ///
    /// # Errors
    /// Refusals `draining`, `overloaded`, `quota-exceeded`, `idempotency-conflict`,
    /// `invalid-request`.
    pub fn submit(
        &mut self,
        now_ms: u64,
        prepared: PreparedSubmission,
        io: &mut Io<'_>,
    ) -> Result<Submitted, CoreError> {
        let order = &prepared.order;
        if let Some(before) = self.same_request(order, io)? {
            return Ok(self.submitted(before));
        }
        self.admit(&prepared, io)?;

        let PreparedSubmission {
            task: id,
            order,
            spec: spec_bytes,
            blobs: hashes,
        } = prepared;
        let blobs: Vec<(Hash, Vec<u8>)> = hashes.into_iter().zip(order.blobs).collect();
        let queue_ms = order.queue_ms.unwrap_or(self.options.queue_ms);
        let queue_ms = queue_ms.min(self.options.queue_ms_max);
        let spec = order.spec;
        let target = (!spec.verification.adaptive).then(|| u32::from(spec.verification.replicas));
        let row = TaskRow {
            number: self.last_task + 1,
            id,
            client: order.client,
            spec: spec_bytes,
            exec: order.exec,
            inline: order.inline,
            local: order.local,
            validator: order.validator,
            submitted_ms: now_ms,
            expires_ms: now_ms.saturating_add(queue_ms),
            target,
            extra: 0,
            trace: order.trace,
        };
        io.store.add_task(&row)?;
        for (hash, bytes) in &blobs {
            io.store.put_blob(hash, bytes, now_ms)?;
        }
        for hash in &row.inline {
            if !blobs.iter().any(|(known, _)| known == hash) {
                io.store.touch_blob(hash, now_ms)?;
            }
        }
        if let Some(promise) = &order.idempotency {
            io.store
                .add_request(&row.client, &promise.key, &promise.request, &id, now_ms)?;
        }

        self.last_task = row.number;
        self.counters.submitted += 1;
        let client = self.client(&row.client);
        *self.in_flight.entry(Arc::clone(&client)).or_default() += 1;
        let mut task = Task {
            id,
            number: row.number,
            client,
            class: ClassKey::new(&spec.requirements),
            local: row.local,
            validator: row.validator,
            submitted_ms: now_ms,
            expires_ms: row.expires_ms,
            target,
            extra: 0,
            trace: row.trace,
            replicas: Vec::new(),
            leases: Vec::new(),
            validating: None,
            ask_ms: 0,
            failure: None,
            progress: None,
            context: None,
            told: None,
            spec,
        };
        task.grow(target.unwrap_or(1));
        self.tasks_due.insert((task.expires_ms, id));
        // Blobs that were put before are not in memory, and are read when they are needed.
        let complete = row
            .inline
            .iter()
            .all(|hash| blobs.iter().any(|(known, _)| known == hash));
        if complete {
            let context = TaskContext {
                task: id,
                client: row.client,
                spec: task.spec.clone(),
                spec_bytes: row.spec,
                exec: row.exec,
                blobs: blobs
                    .into_iter()
                    .filter(|(hash, _)| row.inline.contains(hash))
                    .map(|(_, bytes)| bytes)
                    .collect(),
                validator: row.validator,
                trace: row.trace,
            };
            self.keep_context(&mut task, context, io);
        }
        self.tasks.insert(id, task);
        self.enqueue(&id);
        Ok(Submitted::Live(id))
    }

    /// Keeps what goes with a task in memory, if there is room for it.
    pub(super) fn keep_context(&mut self, task: &mut Task, context: TaskContext, io: &mut Io<'_>) {
        let bytes = self.context_bytes + context.size();
        if bytes <= self.options.context_bytes {
            self.context_bytes = bytes;
            let context = Arc::new(context);
            task.context = Some(Arc::clone(&context));
            io.out.push(Output::Live(context));
        }
    }

    fn submitted(&self, task: Hash) -> Submitted {
        match self.tasks.contains_key(&task) {
            true => Submitted::Live(task),
            false => Submitted::Ended(task),
        }
    }

    /// The task of an earlier request with this key, if it was the same request.
    fn same_request(
        &mut self,
        order: &Submission,
        io: &mut Io<'_>,
    ) -> Result<Option<Hash>, CoreError> {
        let Some(promise) = &order.idempotency else {
            return Ok(None);
        };
        if promise.key.is_empty() || promise.key.len() > IDEMPOTENCY_BYTES_MAX {
            return invalid(
                format!("the idempotency key has {} bytes", promise.key.len()),
                "give one of 1 to 128 bytes, as a UUID",
            );
        }
        match io.store.find_request(&order.client, &promise.key)? {
            None => Ok(None),
            Some((request, task)) if request == promise.request => Ok(Some(task)),
            Some((_, task)) => Err(Refusal::new(
                Code::IdempotencyConflict,
                format!("the key was used for another request, which became the task {task}"),
                "use a new key for a new request",
            )
            .into()),
        }
    }

    /// Whether the task can be taken.
    fn admit(&mut self, prepared: &PreparedSubmission, io: &mut Io<'_>) -> Result<(), CoreError> {
        let PreparedSubmission { task, order, .. } = prepared;
        let spec = &order.spec;
        if self.draining {
            return Err(Refusal::new(
                Code::Draining,
                "the coordinator is about to stop and takes no more tasks",
                "send it to another coordinator, or again when this one is back",
            )
            .after(5000)
            .into());
        }
        if self.tasks.len() >= self.options.live_max {
            return Err(Refusal::new(
                Code::Overloaded,
                format!(
                    "{} tasks are in flight, and no more are taken",
                    self.tasks.len()
                ),
                "wait until some have ended",
            )
            .after(1000)
            .into());
        }
        if order.client.is_empty() || order.client.len() > CLIENT_BYTES_MAX {
            return invalid(
                format!("the client's name has {} bytes", order.client.len()),
                "clients have names of 1 to 128 bytes",
            );
        }
        let in_flight = self.in_flight.get(order.client.as_str()).copied();
        if let Some(most) = order.in_flight_max
            && in_flight.unwrap_or(0) >= most
        {
            return Err(Refusal::new(
                Code::QuotaExceeded,
                format!("the client has {most} tasks in flight, which is all it may have"),
                "wait until some have ended, or ask the operator for more",
            )
            .after(1000)
            .into());
        }
        if spec.genesis != self.members.genesis_hash || spec.coordinator != self.own {
            return invalid(
                "the task spec is of another network or coordinator",
                "make it for this one",
            );
        }
        if let Err(error) = spec.validate() {
            return invalid(error.to_string(), "correct the task");
        }
        if Hash::of(&order.exec) != spec.exec {
            return invalid(
                "the exec spec is not the one that the task spec names",
                "send both as they belong together",
            );
        }
        if spec.deadline_ms == 0 || spec.deadline_ms > self.options.deadline_ms_max {
            return invalid(
                format!("an attempt may take {} ms", spec.deadline_ms),
                &format!(
                    "give a deadline from 1 to {} ms",
                    self.options.deadline_ms_max
                ),
            );
        }
        if order.queue_ms == Some(0) {
            return invalid(
                "the task may not wait at all",
                "let it wait for a second at least",
            );
        }
        let class = ClassKey::new(&spec.requirements);
        if !self.queue.has_class(&class) && self.queue.classes() >= self.options.classes_max {
            return Err(Refusal::new(
                Code::Overloaded,
                format!(
                    "tasks with {} different requirements wait, and no others are taken",
                    self.queue.classes()
                ),
                "use requirements that other tasks have too, or wait",
            )
            .after(1000)
            .into());
        }
        let known = match self.tasks.get(task) {
            Some(_) => true,
            None => io.store.find_task(task)?.is_some(),
        };
        if known {
            return invalid(
                format!("the task {task} was submitted before"),
                "give each task a salt of its own",
            );
        }
        Ok(())
    }

    /// Cancels a task for its client, and shows it as it then is.
    ///
    /// # Errors
    /// Refusals `unknown-task`, `forbidden`, `task-ended`.
    pub fn cancel(
        &mut self,
        now_ms: u64,
        id: &Hash,
        client: &str,
        io: &mut Io<'_>,
    ) -> Result<TaskView, CoreError> {
        let forbidden = || {
            CoreError::from(Refusal::new(
                Code::Forbidden,
                "the task is another client's",
                "use the token of the client that submitted it",
            ))
        };
        let Some(task) = self.tasks.get(id) else {
            return Err(match io.store.find_task(id)? {
                None => crate::engine::handle::unknown_task(id).into(),
                Some(known) if known != client => forbidden(),
                Some(_) => Refusal::new(
                    Code::TaskEnded,
                    "the task has ended and stays as it is",
                    "see what became of it with `task show`",
                )
                .into(),
            });
        };
        if *task.client != *client {
            return Err(forbidden());
        }
        let reason = (Code::Cancelled, "its client cancelled it".to_owned());
        self.judge_all(id, Decision::TaskCancelled, io)?;
        self.cancel_open(now_ms, id, CancelledBy::Client, io)?;
        let view = self.end(now_ms, id, TaskState::Cancelled, Some(reason), None, io)?;
        self.counters.cancelled += 1;
        Ok(view)
    }
}
