//! Where skills run: on threads of their own, so that one that never gives its thread back takes
//! nothing from the engine but that thread.
//!
//! A runtime of one thread has no other place than itself: there a skill that blocks, blocks.

use std::{
    any::Any,
    collections::VecDeque,
    fmt, io,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::oneshot,
};

use crate::{
    clock::Deadline,
    error::{Error, ErrorKind, Result},
};

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);
/// How long a skill that was told to stop may go on before its thread is given up.
const GRACE: Duration = Duration::from_secs(1);
/// Threads that skills may block beyond the places there are.
const SPARE: usize = 64;

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How a piece of work ended.
#[derive(Debug)]
pub(super) enum Ended<T> {
    /// By itself.
    Well(T),
    /// It panicked.
    Panicked,
    /// It took too long, and was dropped.
    Late,
    /// It took too long, and its thread cannot be had back.
    Blocked,
}

/// Threads for skills, made when they are needed.
pub(super) struct Threads {
    crew: Arc<Crew>,
}

/// What the threads share.
struct Crew {
    most: usize,
    work: Mutex<Work>,
    called: Condvar,
}

/// The work that waits for a thread, and the threads there are.
#[derive(Default)]
struct Work {
    jobs: VecDeque<Job>,
    threads: usize,
    /// Those that have no job.
    idle: usize,
    /// One of those is on its way to the jobs, and calls the next one if it leaves any: a burst of
    /// jobs that do little wakes few threads.
    is_called: bool,
    is_closed: bool,
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let work = self.crew.lock();
        write!(f, "Threads({} busy)", work.threads - work.idle)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.crew.lock().is_closed = true;
        self.crew.called.notify_all();
    }
}

impl Threads {
    /// Returns threads for `slots` pieces of work at once.
    pub(super) fn new(slots: u32) -> Arc<Self> {
        let (most, work) = (slots as usize + SPARE, Mutex::default());
        Arc::new(Self { crew: Arc::new(Crew { most, work, called: Condvar::new() }) })
    }

    /// Runs `work` at most until `deadline`. Dropping the future drops the work, as soon as it
    /// gives its thread back.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when there is no thread to be had.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
        deadline: Deadline,
    ) -> Result<Ended<T>> {
        let (reply, mut answer) = oneshot::channel();
        // Nothing is ever sent: it is heard when the other end is dropped.
        let (guard, abandoned) = oneshot::channel::<()>();
        let job = async move {
            let work = AssertUnwindSafe(work).catch_unwind();
            let ended = tokio::select! {
                biased;
                ended = work => match ended {
                    Ok(value) => Ended::Well(value),
                    Err(payload) => panicked(&*payload),
                },
                _ = abandoned => Ended::Late,
            };
            drop(reply.send(ended));
        };
        self.start(Box::pin(job))?;
        if let Some(ended) = deadline.run(&mut answer).await {
            return Ok(ended.unwrap_or(Ended::Panicked));
        }
        drop(guard);
        let ended = Deadline::after(GRACE).run(answer).await;
        Ok(ended.map_or(Ended::Blocked, |ended| ended.unwrap_or(Ended::Panicked)))
    }

    fn start(&self, job: Job) -> Result<()> {
        let runtime = Handle::current();
        if runtime.runtime_flavor() == RuntimeFlavor::CurrentThread {
            drop(runtime.spawn(job));
            return Ok(());
        }
        let mut work = self.crew.lock();
        if work.jobs.len() + work.threads - work.idle >= self.crew.most {
            let message = "too many skills do not give their threads back: restart the engine";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        work.jobs.push_back(job);
        self.crew.call(&mut work, &runtime).map_err(|cause| {
            work.jobs.pop_back();
            Error::new(ErrorKind::Unavailable, "there is no thread for the skill").caused_by(cause)
        })
    }
}

impl Crew {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that a thread comes for the next job.
    fn call(self: &Arc<Self>, work: &mut Work, runtime: &Handle) -> io::Result<()> {
        if work.is_called {
            return Ok(());
        }
        if work.idle == 0 {
            let (crew, runtime) = (self.clone(), runtime.clone());
            thread::Builder::new().name("skill".into()).spawn(move || crew.serve(&runtime))?;
            work.threads += 1;
            work.idle += 1;
        } else {
            self.called.notify_one();
        }
        work.is_called = true;
        Ok(())
    }

    /// Does one job after the other, until there is none for a while.
    fn serve(self: Arc<Self>, runtime: &Handle) {
        let mut work = self.lock();
        let mut is_late = false;
        work.is_called = false;
        loop {
            if let Some(job) = work.jobs.pop_front() {
                work.idle -= 1;
                if !work.jobs.is_empty()
                    && let Err(cause) = self.call(&mut work, runtime)
                {
                    tracing::error!(%cause, "there is no thread for a skill: it waits for another");
                }
                drop(work);
                // The runtime may end under it.
                drop(std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(job))));
                (work, is_late) = (self.lock(), false);
                work.idle += 1;
                continue;
            }
            if work.is_closed || is_late {
                work.threads -= 1;
                work.idle -= 1;
                return;
            }
            let waited = self.called.wait_timeout(work, IDLE);
            let (back, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            (work, is_late) = (back, waited.timed_out());
            work.is_called = false;
        }
    }
}

fn panicked<T>(payload: &(dyn Any + Send)) -> Ended<T> {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("a panic without words"), "a skill panicked");
    Ended::Panicked
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_millis(100))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn work_that_blocks_takes_nothing_but_its_thread() {
        let threads = Threads::new(1);
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let spin = async move {
            while !seen.load(Ordering::Relaxed) {
                thread::yield_now();
            }
        };
        assert!(matches!(threads.run(spin, soon()).await.unwrap(), Ended::Blocked));
        let next = threads.run(async { 7 }, Deadline::after(Duration::from_secs(5))).await;
        assert!(matches!(next.unwrap(), Ended::Well(7)));
        stop.store(true, Ordering::Relaxed);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn timers_work_and_threads_are_used_again() {
        let threads = Threads::new(1);
        for _ in 0..50 {
            let nap = async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                thread::current().id()
            };
            let ended = threads.run(nap, Deadline::after(Duration::from_secs(5))).await.unwrap();
            assert!(matches!(ended, Ended::Well(_)));
        }
        assert!(threads.crew.lock().threads <= 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn work_that_waits_for_other_work_gets_a_thread_beside_it() {
        let threads = Threads::new(20);
        for _ in 0..50 {
            let barrier = Arc::new(std::sync::Barrier::new(20));
            let all = (0..20).map(|_| {
                let (threads, barrier) = (threads.clone(), barrier.clone());
                let meet = async move { barrier.wait().is_leader() };
                let until = Deadline::after(Duration::from_secs(20));
                tokio::spawn(async move { threads.run(meet, until).await })
            });
            let mut leaders = 0;
            for one in all.collect::<Vec<_>>() {
                let ended = one.await.unwrap().unwrap();
                leaders += u32::from(matches!(ended, Ended::Well(true)));
            }
            assert_eq!(leaders, 1);
        }
    }

    #[tokio::test]
    async fn a_panic_and_a_late_end_are_told_apart() {
        let threads = Threads::new(1);
        let panics = async { panic!("on purpose") };
        assert!(matches!(threads.run::<()>(panics, soon()).await.unwrap(), Ended::Panicked));
        let hangs = std::future::pending::<()>();
        assert!(matches!(threads.run(hangs, soon()).await.unwrap(), Ended::Late));
    }
}
