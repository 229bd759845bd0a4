//! What a batch costs apart from the function. Measures and prints; run it with
//! `cargo test --release -p rudf-jvm --test cost_of_a_batch -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

mod harness;

use std::time::{Duration, Instant};

use harness::{arrays, host, rows, submit, take};
use rudf_segment::control::{self, Kind, Message};
use rustix::net::RecvFlags;

const BATCHES: u32 = 20_000;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Median of five runs of `run`, for each of `BATCHES` batches.
fn each(mut run: impl FnMut()) -> f64 {
    let time = |()| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    median([(); 5].map(time).to_vec()).as_secs_f64() * 1e6 / f64::from(BATCHES)
}

/// A message there and back between two threads of one process: the least that two processes can do.
fn floor() -> f64 {
    let (ours, theirs) = control::pair().unwrap();
    let other = std::thread::spawn(move || {
        while let Some(received) = control::receive(&theirs, RecvFlags::empty()).unwrap() {
            control::send(&theirs, &received.message, &[]).unwrap();
        }
    });
    let message = Message::new(Kind::Batch, 1);
    let each = each(|| {
        for _ in 0..BATCHES {
            control::send(&ours, &message, &[]).unwrap();
            control::receive(&ours, RecvFlags::empty()).unwrap();
        }
    });
    drop(ours);
    other.join().unwrap();
    each
}

#[test]
#[ignore = "measures"]
fn cost_of_a_batch() {
    let host = host();
    println!("floor, a message there and back: {:.1} us", floor());
    let functions = [("row function", rows("f = lambda v: v")), ("function of arrays", arrays("f = lambda v: v"))];
    for (name, udf) in functions {
        let session = udf.open(&host);
        let alone = each(|| {
            for _ in 0..BATCHES {
                submit(&*session, &[1]);
                take(&*session).unwrap();
            }
        });
        let under_way = each(|| {
            submit(&*session, &[1]);
            submit(&*session, &[1]);
            for _ in 2..BATCHES {
                submit(&*session, &[1]);
                take(&*session).unwrap();
            }
            take(&*session).unwrap();
            take(&*session).unwrap();
        });
        println!("{name}: {alone:.1} us for a batch of one row, {under_way:.1} us with three under way");
    }
    let message = rows("f = lambda v: v").message();
    let sessions = each(|| {
        for _ in 0..BATCHES / 100 {
            let session = harness::open(&host, message.clone()).unwrap();
            submit(&*session, &[1]);
            take(&*session).unwrap();
        }
    });
    println!("a session of one batch in a worker that waits: {:.0} us", sessions * 100.0);
    let start = Instant::now();
    let many: Vec<_> = (0..32).map(|_| harness::open(&host, message.clone()).unwrap()).collect();
    println!("a new worker with its session: {:.1} ms", start.elapsed().as_secs_f64() * 1e3 / f64::from(31));
    drop(many);
}
