//! Panics of any task: the runtime catches them, so somebody has to count.

use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

static HOOKED: Once = Once::new();
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Panics of this process since the first call.
pub fn count() -> usize {
    HOOKED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            COUNT.fetch_add(1, Ordering::Relaxed);
            before(info);
        }));
    });
    COUNT.load(Ordering::Relaxed)
}
