//! A machine under a lock whose outputs are performed in order, and never under that lock.
//!
//! Performing after unlocking would let two threads overtake each other. So outputs queue beside the
//! machine, and whoever finds nobody performing performs them all, its own and those that arrive
//! meanwhile, one after the other. Performing may drive the same machine again: what that yields is queued
//! and performed next.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// A machine and its outputs still to be performed.
#[derive(Debug)]
pub struct Driver<M, O> {
    inner: Mutex<Inner<M, O>>,
}

#[derive(Debug)]
struct Inner<M, O> {
    machine: M,
    pending: VecDeque<O>,
    performing: bool,
}

impl<M, O> Driver<M, O> {
    /// Takes a machine with the outputs of its making still to be performed; [`Self::drive`] performs
    /// them first.
    pub fn new(machine: M, outputs: Vec<O>) -> Self {
        Self { inner: Mutex::new(Inner { machine, pending: outputs.into(), performing: false }) }
    }

    /// Looks at the machine.
    pub fn read<R>(&self, look: impl FnOnce(&M) -> R) -> R {
        look(&self.inner.lock().machine)
    }

    /// Takes one step, and performs what it leads to unless somebody is performing already.
    pub fn drive<R>(&self, step: impl FnOnce(&mut M, &mut Vec<O>) -> R, mut perform: impl FnMut(O)) -> R {
        let result = {
            let mut inner = self.inner.lock();
            let mut out = Vec::new();
            let result = step(&mut inner.machine, &mut out);
            inner.pending.extend(out);
            if inner.performing || inner.pending.is_empty() {
                return result;
            }
            inner.performing = true;
            result
        };
        let _done = Performing(self);
        loop {
            let batch = {
                let mut inner = self.inner.lock();
                if inner.pending.is_empty() {
                    inner.performing = false;
                    break;
                }
                std::mem::take(&mut inner.pending)
            };
            batch.into_iter().for_each(&mut perform);
        }
        result
    }
}

/// Lets the next one perform even if performing panicked.
struct Performing<'a, M, O>(&'a Driver<M, O>);

impl<M, O> Drop for Performing<'_, M, O> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.inner.lock().performing = false;
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
        };
        driver.drive(|(), out| out.extend([1, 2]), perform);
        assert_eq!(*seen.borrow(), [0, 1, 2, 10]);
    }

    #[test]
    fn many_threads_perform_in_the_order_of_the_steps() {
        let driver = Driver::new(0u32, Vec::new());
        let seen = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        driver.drive(
                            |count, out| {
                                *count += 1;
                                out.push(*count);
                            },
                            |n| seen.lock().push(n),
                        );
                    }
                });
            }
        });
        assert_eq!(*seen.lock(), (1..=4_000).collect::<Vec<_>>());
    }
}
