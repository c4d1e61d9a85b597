//! Whether the call that computes is polled.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

/// The waker of the work of one leader, which notes whether the leader is polled when it is woken.
///
/// A caller may poll a call once and leave it, in an arm of `select!` or on a runtime that nobody drives. Its
/// computation goes on only when it is polled, and so it must not be waited for.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// The number of the flight that it leads.
    flight: u64,
    /// What wakes the caller.
    task: Mutex<Option<Waker>>,
    /// Whether it was woken, and not polled since.
    is_woken: AtomicBool,
    polls: AtomicUsize,
    has_panicked: AtomicBool,
}

/// What can be seen of a leader from outside. Two equal ones are signs of the same one, which was not polled between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sign {
    leader: usize,
    polls: usize,
    is_woken: bool,
}

impl Sign {
    /// Whether a leader is stuck that showed `before` some time ago, and now this.
    pub(super) fn is_stuck_since(self, before: Self) -> bool {
        self.is_woken && before == self
    }
}

impl Pulse {
    pub(super) fn new(flight: u64) -> Arc<Self> {
        Arc::new(Self {
            flight,
            task: Mutex::default(),
            is_woken: AtomicBool::new(false),
            polls: AtomicUsize::new(0),
            has_panicked: AtomicBool::new(false),
        })
    }

    pub(super) fn flight(&self) -> u64 {
        self.flight
    }

    pub(super) fn sign(self: &Arc<Self>) -> Sign {
        Sign {
            leader: Arc::as_ptr(self).addr(),
            polls: self.polls.load(Ordering::Acquire),
            is_woken: self.is_woken.load(Ordering::Acquire),
        }
    }

    /// Whether the work of this leader has ended by a panic.
    pub(super) fn has_panicked(&self) -> bool {
        self.has_panicked.load(Ordering::Acquire)
    }

    /// Notes that the work goes on elsewhere, where it has not been polled yet.
    pub(crate) fn handed_on(&self) {
        self.is_woken.store(true, Ordering::Release);
    }

    /// Polls a part of the leader's work, on behalf of the caller whose context this is.
    pub(crate) fn poll<F: Future + ?Sized>(
        self: &Arc<Self>,
        work: Pin<&mut F>,
        context: &mut Context<'_>,
    ) -> Poll<F::Output> {
        let waker = self.begin(context.waker());
        let _current = enter(Some(Arc::clone(self)));
        let _watch = Watch(self);
        work.poll(&mut Context::from_waker(&waker))
    }

    /// Notes that the work is about to be polled, on behalf of the caller whom `task` wakes, and gives what is to wake
    /// it.
    pub(crate) fn begin(self: &Arc<Self>, task: &Waker) -> Waker {
        let task = task.clone();
        let last = self.replace(Some(task));
        drop(last);
        self.polls.fetch_add(1, Ordering::AcqRel);
        // A wake from before is made good by the poll.
        self.is_woken.store(false, Ordering::Release);
        Waker::from(Arc::clone(self))
    }

    /// Notes that the work has ended by a panic.
    pub(crate) fn panicked(&self) {
        self.has_panicked.store(true, Ordering::Release);
    }

    fn replace(&self, task: Option<Waker>) -> Option<Waker> {
        let mut place = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *place, task)
    }
}

impl Wake for Pulse {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        // It is there again when the caller polls.
        if let Some(task) = self.replace(None) {
            task.wake();
        }
    }
}

/// Notes a panic of what is polled.
struct Watch<'a>(&'a Pulse);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.panicked();
        }
    }
}

#[cfg(not(shuttle))]
thread_local! {
    static CURRENT: RefCell<Option<Arc<Pulse>>> = const { RefCell::new(None) };
}
#[cfg(shuttle)]
shuttle::thread_local! {
    static CURRENT: RefCell<Option<Arc<Pulse>>> = RefCell::new(None);
}

/// The leader whose work is being polled on this thread, the innermost one.
pub(crate) fn current() -> Option<Arc<Pulse>> {
    CURRENT.with(|current| current.borrow().clone())
}

/// Makes a leader the current one of this thread, until what this gives is dropped.
pub(crate) fn enter(leader: Option<Arc<Pulse>>) -> Entered {
    Entered(CURRENT.with(|current| current.replace(leader)))
}

#[must_use = "the leader is the current one until this is dropped"]
pub(crate) struct Entered(Option<Arc<Pulse>>);

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.0.take();
        let inner = CURRENT.with(|current| current.replace(before));
        drop(inner);
    }
}
