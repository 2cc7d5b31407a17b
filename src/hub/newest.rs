//! What a reader has not been told yet: the newest word on each of many things.
//!
//! Decides what is told, and that it stays little however slowly it is read. A newer word replaces the one
//! still waiting; versions never go back; the end of a thing is told once, and not at all where the reader
//! never heard of it. So what waits is bounded by the things there are and those the reader knows of, and
//! nothing the reader was told stays untrue in silence. Filled by the hub, read by one task.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A word on a thing.
pub trait Word {
    /// Grows with each change of the thing.
    fn version(&self) -> u64;

    /// Whether the thing is no more.
    fn is_over(&self) -> bool;

    /// Tells words of the same version apart: the later one wins if it looks otherwise.
    fn face(&self) -> u8 {
        0
    }
}

/// Which things a reader is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those it named: each is told first as it is, even as over, and remembered for good.
    Named,
    /// Whatever there is: what is over is forgotten once told.
    All,
}

/// The words that wait for one reader. See the module for its laws.
#[derive(Debug)]
pub struct Newest<K, W> {
    scope: Scope,
    inner: Mutex<Inner<K, W>>,
    news: Notify,
}

/// What a reader knows of a thing.
#[derive(Debug, Clone, Copy)]
struct Told {
    version: u64,
    face: u8,
    over: bool,
}

/// Whether a word says nothing new to who knows this version and face.
fn is_stale(word: &impl Word, version: u64, face: u8) -> bool {
    word.version() < version || (word.version() == version && word.face() == face)
}

#[derive(Debug)]
struct Inner<K, W> {
    /// Everything there was at the beginning has been offered.
    open: bool,
    /// What the reader knows: version, and whether over.
    told: HashMap<K, Told>,
    /// In the order of the first word that was not yet told.
    order: BTreeMap<u64, K>,
    waiting: HashMap<K, (u64, W)>,
    next: u64,
}

impl<K: Clone + Eq + Hash, W: Word> Newest<K, W> {
    /// A reader that was told nothing. Until [`Self::open`] it hears nothing.
    pub fn new(scope: Scope) -> Self {
        let inner = Inner {
            open: false,
            told: HashMap::new(),
            order: BTreeMap::new(),
            waiting: HashMap::new(),
            next: 0,
        };
        Self { scope, inner: Mutex::new(inner), news: Notify::new() }
    }

    /// A word on a thing, as a change or as found at the beginning; in any order.
    pub fn push(&self, key: &K, word: W) {
        let mut inner = self.inner.lock();
        let waits = inner
            .waiting
            .get(key)
            .is_some_and(|(_, waiting)| is_stale(&word, waiting.version(), waiting.face()));
        let told = inner.told.get(key).copied();
        if waits || told.is_some_and(|told| is_stale(&word, told.version, told.face)) {
            return;
        }
        if word.is_over() && inner.open {
            let needless = match told {
                Some(told) => told.over,
                None => self.scope == Scope::All,
            };
            if needless {
                inner.drop_waiting(key);
                if let Some(told) = inner.told.get_mut(key) {
                    told.version = word.version();
                }
                return;
            }
        }
        inner.put(key, word);
        drop(inner);
        self.news.notify_one();
    }

    /// All that there was at the beginning has been pushed: the reader may read. Once is enough.
    pub fn open(&self) {
        let mut inner = self.inner.lock();
        if std::mem::replace(&mut inner.open, true) {
            return;
        }
        if self.scope == Scope::All {
            // Kept until now only so that an older word could not come after them.
            let over = inner.waiting.iter().filter(|(_, (_, word))| word.is_over());
            for key in over.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
                inner.drop_waiting(&key);
            }
        }
        drop(inner);
        self.news.notify_one();
    }

    /// The next word, when there is one. Cancel-safe; for one reader.
    pub async fn next(&self) -> W {
        loop {
            if let Some(word) = self.pop() {
                return word;
            }
            self.news.notified().await;
        }
    }

    /// The next word, if there is one now.
    pub fn pop(&self) -> Option<W> {
        let mut inner = self.inner.lock();
        if !inner.open {
            return None;
        }
        let (_, key) = inner.order.pop_first()?;
        let (_, word) = inner.waiting.remove(&key).expect("what stands in the order waits");
        if inner.waiting.is_empty() {
            // A storm leaves no empty table behind.
            inner.waiting = HashMap::new();
        }
        if word.is_over() && self.scope == Scope::All {
            inner.told.remove(&key);
        } else {
            let told = Told { version: word.version(), face: word.face(), over: word.is_over() };
            inner.told.insert(key, told);
        }
        Some(word)
    }

    /// Words that wait.
    pub fn len(&self) -> usize {
        self.inner.lock().waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Clone + Eq + Hash, W> Inner<K, W> {
    fn put(&mut self, key: &K, word: W) {
        if let Some((_, waiting)) = self.waiting.get_mut(key) {
            *waiting = word;
            return;
        }
        let place = self.next;
        self.next += 1;
        self.order.insert(place, key.clone());
        self.waiting.insert(key.clone(), (place, word));
    }

    fn drop_waiting(&mut self, key: &K) {
        if let Some((place, _)) = self.waiting.remove(key) {
            self.order.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Said {
        key: u8,
        version: u64,
        over: bool,
    }

    impl Word for Said {
        fn version(&self) -> u64 {
            self.version
        }

        fn is_over(&self) -> bool {
            self.over
        }
    }

    fn here(key: u8, version: u64) -> Said {
        Said { key, version, over: false }
    }

    fn over(key: u8, version: u64) -> Said {
        Said { key, version, over: true }
    }

    fn told(newest: &Newest<u8, Said>) -> Vec<Said> {
        std::iter::from_fn(|| newest.pop()).collect()
    }

    fn pushed(newest: &Newest<u8, Said>, words: &[Said]) -> Vec<Said> {
        words.iter().for_each(|word| newest.push(&word.key, *word));
        told(newest)
    }

    #[test]
    fn all_that_is_here_is_told_and_an_end_once() {
        let newest = Newest::new(Scope::All);
        assert_eq!(pushed(&newest, &[here(1, 5), over(2, 6), here(2, 5)]), [], "it is not open yet");
        newest.open();
        assert_eq!(told(&newest), [here(1, 5)], "the end came before the read, and wins");
        assert_eq!(pushed(&newest, &[here(1, 6), here(3, 1), here(1, 7)]), [here(1, 7), here(3, 1)]);
        assert_eq!(pushed(&newest, &[here(1, 6)]), [], "an older word");
        assert_eq!(pushed(&newest, &[over(1, 8)]), [over(1, 8)]);
        assert_eq!(pushed(&newest, &[over(1, 9)]), []);
        assert_eq!(pushed(&newest, &[here(4, 1), over(4, 2)]), [], "came and went unseen");
        assert_eq!(pushed(&newest, &[here(1, 10)]), [here(1, 10)]);
    }

    #[test]
    fn the_named_are_told_as_they_are_even_as_absent() {
        let newest = Newest::new(Scope::Named);
        newest.push(&1, over(1, 5));
        newest.push(&2, here(2, 5));
        newest.open();
        assert_eq!(told(&newest), [over(1, 5), here(2, 5)]);
        assert_eq!(pushed(&newest, &[here(1, 6), over(1, 7)]), [], "it is absent, as the reader knows");
        assert_eq!(pushed(&newest, &[here(1, 6)]), [], "and stays so");
        assert_eq!(pushed(&newest, &[over(2, 6)]), [over(2, 6)]);
    }

    #[test]
    fn what_waits_does_not_grow_with_what_happens() {
        let newest = Newest::new(Scope::All);
        newest.open();
        for round in 0..1_000 {
            for key in 0..10 {
                newest.push(&key, here(key, round * 2 + 1));
                newest.push(&key, over(key, round * 2 + 2));
            }
        }
        assert!(newest.is_empty());
        assert!(newest.inner.lock().order.is_empty());
    }

    proptest! {
        /// Whatever the order of reading and happening: versions never go back, no end is told twice or of
        /// what is not known, and in the end the reader knows exactly what is.
        #[test]
        fn a_reader_ends_up_with_the_truth(
            steps in prop::collection::vec((0u8..5, any::<bool>(), any::<bool>()), 0..200),
            opens_at in 0usize..50,
            named: bool,
        ) {
            let newest = Newest::new(if named { Scope::Named } else { Scope::All });
            let mut truth: HashMap<u8, Said> = HashMap::new();
            if named {
                for key in 0..5 {
                    newest.push(&key, over(key, 0));
                    truth.insert(key, over(key, 0));
                }
            }
            let mut known: HashMap<u8, Said> = HashMap::new();
            let read = |newest: &Newest<u8, Said>, known: &mut HashMap<u8, Said>| {
                let Some(word) = newest.pop() else { return false };
                if let Some(before) = known.get(&word.key) {
                    assert!(before.version < word.version);
                    assert!(!(before.over && word.over));
                } else {
                    assert!(named || !word.over);
                }
                if word.over && !named {
                    known.remove(&word.key);
                } else {
                    known.insert(word.key, word);
                }
                true
            };
            for (at, (key, is_over, reads)) in steps.into_iter().enumerate() {
                if at == opens_at {
                    newest.open();
                }
                let word = Said { key, version: at as u64 + 1, over: is_over };
                truth.insert(key, word);
                newest.push(&key, word);
                prop_assert!(newest.len() <= 5);
                if reads {
                    read(&newest, &mut known);
                }
            }
            newest.open();
            while read(&newest, &mut known) {}
            for (key, word) in truth {
                match known.get(&key) {
                    Some(known) if word.over => prop_assert!(known.over && named),
                    Some(known) => prop_assert_eq!(*known, word),
                    None => prop_assert!(word.over && !named),
                }
            }
        }
    }
}
