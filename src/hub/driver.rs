//! A machine under a lock whose outputs are performed in order, and never under that lock.
//!
//! Performing after unlocking would let two threads overtake each other. So outputs queue beside the
//! machine, and whoever finds nobody performing performs them all, its own and those that arrive
//! meanwhile, one after the other. Performing may drive the same machine again: what that yields is queued
//! and performed next.
//!
//! An output may need time, such as a flush of the disk. Its performer answers [`Flow::Hold`]: the
//! machine still takes its steps, but what follows waits until somebody calls [`Driver::resume`].

use std::collections::VecDeque;

use parking_lot::Mutex;

/// Whether the outputs behind this one may be performed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// They may.
    On,
    /// They wait for [`Driver::resume`], which must come exactly once.
    Hold,
}

/// A machine and its outputs still to be performed.
#[derive(Debug)]
pub struct Driver<M, O> {
    inner: Mutex<Inner<M, O>>,
}

#[derive(Debug)]
struct Inner<M, O> {
    machine: M,
    pending: VecDeque<O>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody performs.
    Idle,
    /// Somebody does.
    Busy,
    /// Somebody does, and the hold it is about to meet is over already.
    Released,
    /// Nobody may until the hold is over.
    Held,
}

impl<M, O> Driver<M, O> {
    /// Takes a machine with the outputs of its making still to be performed; [`Self::drive`] performs
    /// them first.
    pub fn new(machine: M, outputs: Vec<O>) -> Self {
        Self { inner: Mutex::new(Inner { machine, pending: outputs.into(), state: State::Idle }) }
    }

    /// Looks at the machine.
    pub fn read<R>(&self, look: impl FnOnce(&M) -> R) -> R {
        look(&self.inner.lock().machine)
    }

    /// Takes one step, and performs what it leads to unless somebody is performing already.
    pub fn drive<R>(&self, step: impl FnOnce(&mut M, &mut Vec<O>) -> R, perform: impl FnMut(O) -> Flow) -> R {
        let result = {
            let mut inner = self.inner.lock();
            let mut out = Vec::new();
            let result = step(&mut inner.machine, &mut out);
            inner.pending.extend(out);
            if inner.state != State::Idle || inner.pending.is_empty() {
                return result;
            }
            inner.state = State::Busy;
            result
        };
        self.perform(perform);
        result
    }

    /// What an output was held for is done: performs what waits behind it.
    pub fn resume(&self, perform: impl FnMut(O) -> Flow) {
        {
            let mut inner = self.inner.lock();
            match inner.state {
                State::Held => inner.state = State::Busy,
                // It was quicker than the performer, who finds this when it comes to wait.
                State::Busy => {
                    inner.state = State::Released;
                    return;
                }
                State::Idle | State::Released => return,
            }
        }
        self.perform(perform);
    }

    /// Performs what is pending, and what is added meanwhile. The state is [`State::Busy`].
    fn perform(&self, mut perform: impl FnMut(O) -> Flow) {
        let _done = Performing(self);
        loop {
            let mut batch = {
                let mut inner = self.inner.lock();
                if inner.pending.is_empty() {
                    inner.state = State::Idle;
                    return;
                }
                std::mem::take(&mut inner.pending)
            };
            while let Some(output) = batch.pop_front() {
                if perform(output) == Flow::On {
                    continue;
                }
                let mut inner = self.inner.lock();
                if inner.state == State::Released {
                    inner.state = State::Busy;
                    continue;
                }
                batch.append(&mut inner.pending);
                inner.pending = batch;
                inner.state = State::Held;
                return;
            }
        }
    }
}

/// Lets the next one perform even if performing panicked.
struct Performing<'a, M, O>(&'a Driver<M, O>);

impl<M, O> Drop for Performing<'_, M, O> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.inner.lock().state = State::Idle;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn outputs_of_outputs_come_after_those_before_them() {
        let driver = Driver::new((), vec![0]);
        let seen = RefCell::new(Vec::new());
        let perform = |n: u32| {
            seen.borrow_mut().push(n);
            if n == 1 {
                driver.drive(|(), out| out.push(10), |_| panic!("somebody is performing already"));
            }
            Flow::On
        };
        driver.drive(|(), out| out.extend([1, 2]), perform);
        assert_eq!(*seen.borrow(), [0, 1, 2, 10]);
    }

    #[test]
    fn a_hold_keeps_what_follows_until_it_is_over() {
        let driver = Driver::new((), vec![]);
        let seen = RefCell::new(Vec::new());
        let perform = |n: u32| {
            seen.borrow_mut().push(n);
            if n.is_multiple_of(10) { Flow::Hold } else { Flow::On }
        };
        driver.drive(|(), out| out.extend([1, 10, 2]), perform);
        driver.drive(|(), out| out.extend([3, 20, 4]), perform);
        assert_eq!(*seen.borrow(), [1, 10]);
        driver.resume(perform);
        assert_eq!(*seen.borrow(), [1, 10, 2, 3, 20]);
        driver.resume(perform);
        driver.resume(perform);
        assert_eq!(*seen.borrow(), [1, 10, 2, 3, 20, 4]);
        driver.drive(|(), out| out.push(5), perform);
        assert_eq!(seen.borrow().last(), Some(&5));
    }

    #[test]
    fn a_hold_may_be_over_before_it_began() {
        let driver = Driver::new((), vec![]);
        let seen = RefCell::new(Vec::new());
        let perform = |n: u32| {
            seen.borrow_mut().push(n);
            if n == 1 {
                driver.resume(|_| panic!("somebody is performing already"));
                return Flow::Hold;
            }
            Flow::On
        };
        driver.drive(|(), out| out.extend([1, 2]), perform);
        assert_eq!(*seen.borrow(), [1, 2]);
    }

    #[test]
    fn many_threads_perform_in_the_order_of_the_steps() {
        let driver = Driver::new(0u32, Vec::new());
        let seen = Mutex::new(Vec::new());
        let (holds, held) = std::sync::mpsc::channel();
        let list = &seen;
        let perform = move |n: u32| {
            list.lock().push(n);
            if n.is_multiple_of(50) {
                holds.send(()).unwrap();
                return Flow::Hold;
            }
            Flow::On
        };
        std::thread::scope(|scope| {
            let driver = &driver;
            scope.spawn(move || {
                for () in held {
                    driver.resume(|n| {
                        list.lock().push(n);
                        Flow::On
                    });
                }
            });
            for _ in 0..4 {
                let perform = perform.clone();
                scope.spawn(move || {
                    for _ in 0..1_000 {
                        driver.drive(
                            |count, out| {
                                *count += 1;
                                out.push(*count);
                            },
                            &perform,
                        );
                    }
                });
            }
            drop(perform);
        });
        assert_eq!(*seen.lock(), (1..=4_000).collect::<Vec<_>>());
    }
}
