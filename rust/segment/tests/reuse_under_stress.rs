//! The invariant of the transport under stress: a segment is not written again while anything refers to it, whoever that
//! is and on whichever thread it lets go.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::HashMap, sync::mpsc, thread, time::Duration};

use rudf_segment::{
    control::{self, Kind, Message},
    link::{Borrowed, Link},
};
use rustix::net::RecvFlags;

const BATCHES: u64 = 5_000;
const BYTES: usize = 4096;

/// A small generator, so that a failure comes again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Every word of batch `number`.
fn pattern(number: u64) -> [u8; 8] {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()
}

fn check(segment: &Borrowed, number: u64) {
    let bytes = segment.copy(BYTES);
    assert!(bytes.chunks_exact(8).all(|word| word == pattern(number)), "batch {number} has changed");
}

/// Lends batches, at most four unanswered, and reads the answers.
fn lend(link: &Link, kind: Kind) {
    let mut unanswered = 0;
    for number in 0..BATCHES {
        let segment = link.acquire(BYTES).unwrap();
        for word in 0..BYTES / 8 {
            // SAFETY: within the segment, which the link says nobody refers to.
            unsafe { segment.base().add(8 * word).cast::<[u8; 8]>().write(pattern(number)) };
        }
        link.lend(Message { sequence: number, length: BYTES as u64, ..Message::new(kind, 1) }, segment).unwrap();
        unanswered += 1;
        while unanswered > 3 {
            link.receive(RecvFlags::empty()).unwrap().unwrap();
            unanswered -= 1;
        }
    }
    for _ in 0..unanswered {
        link.receive(RecvFlags::empty()).unwrap().unwrap();
    }
}

/// Borrows batches, keeps some for long, and lets go of them on other threads.
fn borrow(link: &Link, seed: u64) {
    let mut random = Random(seed);
    let mut kept: HashMap<u64, Borrowed> = HashMap::new();
    let (sender, receiver) = mpsc::channel::<(u64, Borrowed)>();
    let dropper = thread::spawn(move || {
        for (number, segment) in receiver {
            if number % 64 == 0 {
                thread::sleep(Duration::from_micros(200));
            }
            check(&segment, number);
        }
    });
    for _ in 0..BATCHES {
        let incoming = link.receive(RecvFlags::empty()).unwrap().unwrap();
        let (number, segment) = (incoming.message.sequence, incoming.segment.unwrap());
        check(&segment, number);
        match random.below(8) {
            0 => drop(kept.insert(number, segment)),
            1 | 2 => sender.send((number, segment)).unwrap(),
            _ => drop(segment),
        }
        if kept.len() > 50 {
            let oldest = *kept.keys().nth(random.below(50) as usize).unwrap();
            sender.send((oldest, kept.remove(&oldest).unwrap())).unwrap();
        }
        link.send(Message::new(Kind::Opened, 1), &[]).unwrap();
    }
    for (number, segment) in &kept {
        check(segment, *number);
    }
    drop((kept, sender));
    dropper.join().unwrap();
    // What has been let go of since the last message is told with this one.
    link.send(Message::new(Kind::Closed, 1), &[]).unwrap();
}

fn run(seed: u64) {
    let (ours, theirs) = control::pair().unwrap();
    let (lender, borrower) = (Link::new(ours, 0), Link::new(theirs, usize::MAX));
    let other = thread::spawn(move || {
        borrow(&borrower, seed);
        borrower
    });
    lend(&lender, Kind::Batch);
    let last = lender.receive(RecvFlags::empty()).unwrap().unwrap();
    assert_eq!(last.message.kind, Kind::Closed);
    other.join().unwrap();
    assert_eq!(lender.lent(), 0, "everything was let go of");
}

#[test]
fn a_segment_is_written_again_only_when_nothing_refers_to_it() {
    for seed in [1, 0xDEAD_BEEF, 42] {
        run(seed);
    }
}

#[test]
fn a_segment_that_is_in_use_here_cannot_be_sent_again_or_retired() {
    let (ours, theirs) = control::pair().unwrap();
    let (lender, borrower) = (Link::new(ours, 0), Link::new(theirs, 8));
    lender.lend(Message { length: 1, ..Message::new(Kind::Result, 1) }, lender.acquire(1).unwrap()).unwrap();
    let held = borrower.receive(RecvFlags::empty()).unwrap().unwrap();
    let again = Message { length: 1, segment: 0, ..Message::new(Kind::Result, 1) };
    control::send(lender.socket(), &again, &[]).unwrap();
    let refused = borrower.receive(RecvFlags::empty()).unwrap_err().to_string();
    assert!(refused.contains("still in use"), "{refused}");
    let retired = Message { retired: vec![0], ..Message::new(Kind::Opened, 1) };
    control::send(lender.socket(), &retired, &[]).unwrap();
    let refused = borrower.receive(RecvFlags::empty()).unwrap_err().to_string();
    assert!(refused.contains("still in use"), "{refused}");
    drop(held);
    control::send(lender.socket(), &retired, &[]).unwrap();
    assert!(borrower.receive(RecvFlags::empty()).is_ok());
}

#[test]
fn segments_of_another_link_are_refused() {
    let (ours, _theirs) = control::pair().unwrap();
    let (others, _) = control::pair().unwrap();
    let (link, other) = (Link::new(ours, 0), Link::new(others, 0));
    let foreign = other.acquire(1).unwrap();
    assert!(link.lend(Message::new(Kind::Batch, 1), foreign).unwrap_err().to_string().contains("not of this"));
}
