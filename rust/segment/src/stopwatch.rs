//! How long Python is at work, in parts that answers tell.

use std::time::{Duration, Instant};

/// A watch that can be stopped and read in between. What a reading leaves of a microsecond comes with the next.
pub struct Stopwatch {
    since: Option<Instant>,
    unread: Duration,
}

impl Stopwatch {
    /// A watch that stands.
    #[must_use]
    pub fn stopped() -> Self {
        Self { since: None, unread: Duration::ZERO }
    }

    /// A watch that runs.
    #[must_use]
    pub fn started() -> Self {
        Self { since: Some(Instant::now()), unread: Duration::ZERO }
    }

    /// Runs on, if it does not run.
    pub fn start(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// Stands, if it runs.
    pub fn pause(&mut self) {
        if let Some(since) = self.since.take() {
            self.unread += since.elapsed();
        }
    }

    /// Microseconds that it has run and that no reading has told; more than an answer holds come with the next.
    fn read(&mut self) -> u32 {
        let micros = u32::try_from(self.unread.as_micros()).unwrap_or(u32::MAX);
        self.unread -= Duration::from_micros(micros.into());
        micros
    }

    /// Stands, and is read.
    pub fn stop(&mut self) -> u32 {
        self.pause();
        self.read()
    }

    /// Is read and runs on.
    pub fn lap(&mut self) -> u32 {
        let micros = self.stop();
        self.start();
        micros
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reading_leaves_comes_with_the_next() {
        let mut watch = Stopwatch { since: None, unread: Duration::from_nanos(1_700) };
        assert_eq!(watch.stop(), 1);
        watch.unread += Duration::from_nanos(400);
        assert_eq!(watch.stop(), 1);
        assert_eq!(watch.stop(), 0);
        watch.unread = Duration::from_micros(u64::from(u32::MAX) + 5);
        assert_eq!((watch.stop(), watch.stop()), (u32::MAX, 5));
    }

    #[test]
    fn it_counts_only_while_it_runs() {
        let mut watch = Stopwatch::stopped();
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(watch.stop(), 0);
        watch.start();
        std::thread::sleep(Duration::from_millis(2));
        assert!(watch.lap() >= 2_000);
        watch.pause();
        assert!(watch.stop() < 1_000_000);
    }
}
