//! The tasks that wait for miners, in a fair order: clients take turns, each client's tasks go in
//! the order of submission, and tasks whose requirements nobody free meets hold up nobody.
//!
//! Tasks are kept by class, that is by requirements, and within a class by client. A draw is tried
//! for a class only while a candidate that meets it has a free slot, so the cost of an event does
//! not grow with the number of tasks. A task that could not be placed although its class has room
//! (all that are free had it before) is set aside, and tried again when room changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use adit_protocol::hash::Hash;
use adit_protocol::network::draw::meets;
use adit_protocol::network::roster::Candidate;
use adit_protocol::task::Requirements;

/// Tasks set aside that are tried again when a slot becomes free.
const RETRIES: usize = 16;

/// A class of tasks by what they require.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ClassKey(u8, u64, Vec<Hash>);

impl ClassKey {
    pub(super) fn new(requirements: &Requirements) -> ClassKey {
        let mut environments = requirements.environments.clone();
        environments.sort_unstable();
        environments.dedup();
        ClassKey(
            requirements.device as u8,
            requirements.device_memory_bytes,
            environments,
        )
    }
}

type Client = Arc<str>;

#[derive(Debug)]
struct Class {
    requirements: Requirements,
    /// Candidates that meet it and have a free slot.
    free: u32,
    /// The tasks of each client by number.
    queues: HashMap<Client, BTreeMap<u64, Hash>>,
    /// The clients with a task here: whose turn is the lowest is next.
    order: BTreeSet<(u64, u64, Client)>,
    aside: BTreeMap<u64, (Hash, Client)>,
    /// How many of those set aside are to be tried again, and from which number on.
    retries: usize,
    retry_from: u64,
}

/// A client's place in the round.
#[derive(Debug, Default)]
struct Turn {
    /// Counts up with each replica that was placed for the client; who waits anew begins at the
    /// turn that the round has reached.
    turn: u64,
    classes: BTreeMap<ClassKey, usize>,
}

/// The waiting tasks.
#[derive(Debug, Default)]
pub(super) struct Queue {
    classes: BTreeMap<ClassKey, Class>,
    turns: HashMap<Client, Turn>,
    /// The turn that the round has reached.
    reached: u64,
    /// At how many clients those are forgotten that wait for nothing and are owed nothing.
    sweep_at: usize,
    len: usize,
}

/// A task in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub task: Hash,
    pub number: u64,
    pub client: Client,
    pub class: ClassKey,
}

impl Queue {
    /// Tasks that wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn classes(&self) -> usize {
        self.classes.len()
    }

    pub(super) fn has_class(&self, class: &ClassKey) -> bool {
        self.classes.contains_key(class)
    }

    /// Adds a task; one that is in the queue already stays where it is. `free` counts the
    /// candidates with a free slot that meet the requirements, if the class is new.
    pub(super) fn insert(
        &mut self,
        waiting: &Waiting,
        requirements: &Requirements,
        free: impl FnOnce() -> u32,
    ) {
        let class = self
            .classes
            .entry(waiting.class.clone())
            .or_insert_with(|| Class {
                requirements: requirements.clone(),
                free: free(),
                queues: HashMap::new(),
                order: BTreeSet::new(),
                aside: BTreeMap::new(),
                retries: 0,
                retry_from: 0,
            });
        let queue = class.queues.get(&waiting.client);
        let there = queue.is_some_and(|q| q.contains_key(&waiting.number))
            || class.aside.contains_key(&waiting.number);
        if there {
            return;
        }
        let turn = self.turns.entry(Arc::clone(&waiting.client)).or_default();
        if turn.classes.is_empty() {
            turn.turn = turn.turn.max(self.reached);
        }
        *turn.classes.entry(waiting.class.clone()).or_default() += 1;
        class.push(turn.turn, waiting);
        self.len += 1;
    }

    /// Takes a task out, wherever it is.
    pub(super) fn remove(&mut self, waiting: &Waiting) {
        let Some(class) = self.classes.get_mut(&waiting.class) else {
            return;
        };
        let Some(turn) = self.turns.get_mut(&waiting.client) else {
            return;
        };
        let aside = class.aside.remove(&waiting.number).is_some();
        if !aside && !class.pull(turn.turn, waiting) {
            return;
        }
        self.len -= 1;
        if let Some(count) = turn.classes.get_mut(&waiting.class) {
            *count -= 1;
            if *count == 0 {
                turn.classes.remove(&waiting.class);
            }
        }
        if turn.classes.is_empty() && turn.turn <= self.reached {
            self.turns.remove(&waiting.client);
        }
        if class.queues.is_empty() && class.aside.is_empty() {
            self.classes.remove(&waiting.class);
        }
    }

    /// Sets a task aside that could not be placed although its class has room.
    pub(super) fn set_aside(&mut self, waiting: &Waiting) {
        let turn = self.turns.get(&waiting.client).map_or(0, |t| t.turn);
        if let Some(class) = self.classes.get_mut(&waiting.class)
            && class.pull(turn, waiting)
        {
            class
                .aside
                .insert(waiting.number, (waiting.task, Arc::clone(&waiting.client)));
        }
    }

    /// The task that is to be placed next. One that was set aside comes before the others as often
    /// as it is to be tried again.
    pub(super) fn next(&mut self) -> Option<Waiting> {
        for (key, class) in &mut self.classes {
            if let Some((number, task, client)) = class.retry() {
                return Some(Waiting {
                    task,
                    number,
                    client,
                    class: key.clone(),
                });
            }
        }
        let open = self.classes.iter().filter(|(_, class)| class.free > 0);
        let first = open.filter_map(|(key, class)| Some((class.order.first()?, key)));
        let ((_, number, client), key) = first.min()?;
        let task = self
            .classes
            .get(key)?
            .queues
            .get(client)?
            .get(number)
            .copied()?;
        Some(Waiting {
            task,
            number: *number,
            client: Arc::clone(client),
            class: key.clone(),
        })
    }

    /// A replica of a client's task was placed: the others come first now. A task that was set
    /// aside and still waits goes back into the order.
    pub(super) fn served(&mut self, waiting: &Waiting) {
        let Some(turn) = self.turns.get_mut(&waiting.client) else {
            return;
        };
        self.reached = self.reached.max(turn.turn);
        for key in turn.classes.keys() {
            if let Some(class) = self.classes.get_mut(key) {
                class.reorder(&waiting.client, turn.turn, turn.turn + 1);
            }
        }
        turn.turn += 1;
        let turn = turn.turn;
        if let Some(class) = self.classes.get_mut(&waiting.class)
            && class.aside.remove(&waiting.number).is_some()
        {
            class.push(turn, waiting);
        }
        // One that has had more than its turn is remembered until the others have had theirs, or it
        // could come back at once and be first again.
        if self.turns.len() > self.sweep_at {
            let reached = self.reached;
            self.turns
                .retain(|_, turn| !turn.classes.is_empty() || turn.turn > reached);
            self.sweep_at = 2 * self.turns.len() + 64;
        }
    }

    /// A candidate has its first free slot again, or none any more.
    pub(super) fn room(&mut self, candidate: &Candidate, free: bool) {
        for class in self.classes.values_mut() {
            if meets(candidate, &class.requirements) {
                match free {
                    true => {
                        class.free += 1;
                        class.retries = (class.retries + RETRIES).min(class.aside.len());
                    }
                    false => class.free = class.free.saturating_sub(1),
                }
            }
        }
    }

    /// Another roster is in force: all is counted anew, and all that was set aside is tried again.
    pub(super) fn roster(&mut self, mut free: impl FnMut(&Requirements) -> u32) {
        for class in self.classes.values_mut() {
            class.free = free(&class.requirements);
            class.retries = class.aside.len();
        }
    }

    /// Whether anything waits, and if so whether something for which `fits` holds.
    pub(super) fn any_class(&self, fits: impl Fn(&Requirements) -> bool) -> Option<bool> {
        let mut all = self.classes.values().map(|c| &c.requirements).peekable();
        all.peek()?;
        Some(all.any(fits))
    }

    /// How many candidates with a free slot meet a class, as the queue counts.
    #[cfg(test)]
    pub(super) fn free(&self, class: &ClassKey) -> Option<u32> {
        self.classes.get(class).map(|c| c.free)
    }

    #[cfg(test)]
    pub(super) fn requirements(&self) -> Vec<(ClassKey, Requirements)> {
        let all = self.classes.iter();
        all.map(|(key, class)| (key.clone(), class.requirements.clone()))
            .collect()
    }
}

impl Class {
    fn head(&self, client: &Client) -> Option<u64> {
        let (number, _) = self.queues.get(client)?.first_key_value()?;
        Some(*number)
    }

    fn push(&mut self, turn: u64, waiting: &Waiting) {
        let before = self.head(&waiting.client);
        self.queues
            .entry(Arc::clone(&waiting.client))
            .or_default()
            .insert(waiting.number, waiting.task);
        self.rehead(turn, &waiting.client, before);
    }

    fn pull(&mut self, turn: u64, waiting: &Waiting) -> bool {
        let before = self.head(&waiting.client);
        let Some(queue) = self.queues.get_mut(&waiting.client) else {
            return false;
        };
        if queue.remove(&waiting.number).is_none() {
            return false;
        }
        if queue.is_empty() {
            self.queues.remove(&waiting.client);
        }
        self.rehead(turn, &waiting.client, before);
        true
    }

    /// Keeps the order right after the first task of a client changed.
    fn rehead(&mut self, turn: u64, client: &Client, before: Option<u64>) {
        let after = self.head(client);
        if before == after {
            return;
        }
        if let Some(number) = before {
            self.order.remove(&(turn, number, Arc::clone(client)));
        }
        if let Some(number) = after {
            self.order.insert((turn, number, Arc::clone(client)));
        }
    }

    fn reorder(&mut self, client: &Client, from: u64, to: u64) {
        if let Some(number) = self.head(client)
            && self.order.remove(&(from, number, Arc::clone(client)))
        {
            self.order.insert((to, number, Arc::clone(client)));
        }
    }

    /// The next of those set aside, if it is to be tried again.
    fn retry(&mut self) -> Option<(u64, Hash, Client)> {
        if self.retries == 0 || self.free == 0 {
            return None;
        }
        self.retries -= 1;
        let from = self.retry_from;
        let next = self.aside.range(from..).next();
        let (number, (task, client)) = next.or_else(|| self.aside.first_key_value())?;
        self.retry_from = number + 1;
        Some((*number, *task, Arc::clone(client)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_protocol::task::DeviceClass;

    fn requirements(gpu: bool) -> Requirements {
        Requirements {
            device: if gpu {
                DeviceClass::Gpu
            } else {
                DeviceClass::Cpu
            },
            device_memory_bytes: 0,
            environments: Vec::new(),
        }
    }

    fn waiting(number: u64, client: &str, gpu: bool) -> Waiting {
        Waiting {
            task: Hash::of(&number.to_le_bytes()),
            number,
            client: Arc::from(client),
            class: ClassKey::new(&requirements(gpu)),
        }
    }

    fn add(queue: &mut Queue, number: u64, client: &str, gpu: bool, free: u32) {
        queue.insert(&waiting(number, client, gpu), &requirements(gpu), || free);
    }

    fn serve(queue: &mut Queue) -> Option<u64> {
        let next = queue.next()?;
        queue.served(&next);
        queue.remove(&next);
        Some(next.number)
    }

    fn drain(queue: &mut Queue) -> Vec<u64> {
        std::iter::from_fn(|| serve(queue)).collect()
    }

    #[test]
    fn clients_take_turns_and_each_goes_in_order() {
        let mut queue = Queue::default();
        for number in 0..5 {
            add(&mut queue, number, "many", false, 1);
        }
        add(&mut queue, 5, "few", false, 1);
        add(&mut queue, 6, "few", false, 1);
        assert_eq!(queue.len(), 7);
        assert_eq!(drain(&mut queue), [0, 5, 1, 6, 2, 3, 4]);
        assert_eq!((queue.len(), queue.classes()), (0, 0));
    }

    #[test]
    fn classes_without_room_hold_up_nobody_and_cost_no_turn() {
        let mut queue = Queue::default();
        for number in 0..100 {
            add(&mut queue, number, "a", true, 0);
        }
        add(&mut queue, 100, "a", false, 1);
        for number in 101..104 {
            add(&mut queue, number, "b", false, 1);
        }
        assert_eq!(drain(&mut queue), [100, 101, 102, 103]);
        assert_eq!(queue.len(), 100);
    }

    #[test]
    fn splitting_requirements_gains_no_turns() {
        let mut queue = Queue::default();
        for number in 0..4 {
            add(&mut queue, number, "a", number % 2 == 0, 1);
        }
        add(&mut queue, 4, "b", false, 1);
        add(&mut queue, 5, "b", false, 1);
        assert_eq!(drain(&mut queue), [0, 4, 1, 5, 2, 3]);
    }

    #[test]
    fn who_comes_back_has_saved_no_turns() {
        let mut queue = Queue::default();
        for number in 0..10 {
            add(&mut queue, number, "a", false, 1);
        }
        for _ in 0..6 {
            serve(&mut queue);
        }
        for number in 10..14 {
            add(&mut queue, number, "b", false, 1);
        }
        assert_eq!(drain(&mut queue), [10, 6, 11, 7, 12, 8, 13, 9]);
    }

    #[test]
    fn one_at_a_time_does_not_starve_who_waits() {
        let mut queue = Queue::default();
        for number in 0..3 {
            add(&mut queue, number, "a", false, 1);
        }
        let mut order = Vec::new();
        for number in 10..14 {
            add(&mut queue, number, "b", false, 1);
            order.extend(serve(&mut queue));
        }
        assert_eq!(order.iter().filter(|n| **n < 10).count(), 2, "{order:?}");
    }

    #[test]
    fn those_set_aside_are_tried_again_when_there_is_room() {
        let mut queue = Queue::default();
        for number in 0..3 {
            add(&mut queue, number, "a", false, 1);
        }
        let first = queue.next().unwrap();
        assert_eq!(first.number, 0);
        queue.set_aside(&first);
        assert_eq!(serve(&mut queue), Some(1));
        assert_eq!(queue.len(), 2);
        queue.roster(|_| 1);
        let again = queue.next().unwrap();
        assert_eq!(again.number, 0);
        // It could not be placed, and is not tried without end.
        assert_eq!(serve(&mut queue), Some(2));
        assert_eq!(queue.next(), None);
        queue.roster(|_| 1);
        assert_eq!(serve(&mut queue), Some(0));
        assert_eq!((queue.len(), queue.classes()), (0, 0));
    }

    #[test]
    fn inserting_twice_and_removing_what_is_not_there_change_nothing() {
        let mut queue = Queue::default();
        add(&mut queue, 1, "a", false, 0);
        add(&mut queue, 1, "a", false, 0);
        assert_eq!(queue.len(), 1);
        queue.remove(&waiting(2, "a", false));
        queue.remove(&waiting(1, "b", false));
        queue.remove(&waiting(1, "a", true));
        assert_eq!(queue.len(), 1);
        queue.remove(&waiting(1, "a", false));
        assert_eq!((queue.len(), queue.classes(), queue.turns.len()), (0, 0, 0));
    }
}
