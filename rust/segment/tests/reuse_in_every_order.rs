//! The invariant of the transport in every order: all states that two ends of a link can come to with a few segments are
//! visited, and every step from each of them is taken with real links and real memory.
//!
//! Who refers to a segment changes under one lock at a time, so what happens on several threads is one of these orders.
//! `reuse_under_stress` has the threads, and many more segments.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    thread,
};

use rudf_segment::{
    control::{self, Kind, Message},
    link::{Borrowed, Link},
    memory::Segment,
};
use rustix::net::RecvFlags;

/// Bytes of a batch that are written and checked.
const BYTES: usize = 64;
/// Sizes of batches: all of one size fit each other's segments, and a large one fits no small one's.
const SMALL: usize = BYTES;
const LARGE: usize = 1 << 20;
/// Mappings that a pool keeps, as `memory.rs` has it: one more is retired.
const KEPT_MAPPINGS: usize = 4;
/// Steps after which a walk begins anew, so that ways from the start stay short.
const LONGEST_WALK: usize = 20;

/// How far is gone.
struct Bounds {
    /// Segments that the lender may have in use.
    in_use: usize,
    /// Messages that may be on their way to the borrower.
    on_the_way: usize,
    /// References that the borrower may have to one batch.
    references: usize,
    /// What batches may want.
    capacities: &'static [usize],
    /// Whether the ends may end.
    may_end: bool,
}

/// What one of the ends does next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The lender takes memory and writes a batch.
    Write { capacity: usize },
    /// It lends the oldest batch that it has written, and may go on referring to it.
    Lend { keep: bool },
    /// It gives up the oldest batch that it has written.
    Discard,
    /// It lets go of a batch that it has lent.
    LetGo(usize),
    /// It sends a message, which says what is retired.
    Tell,
    /// It receives a message.
    Hear,
    /// It ends.
    LenderEnds,
    /// The borrower receives a message.
    Receive,
    /// It refers to a batch once more, as an exported array does.
    Share(usize),
    /// It drops one reference.
    Drop(usize),
    /// It sends a message, which says what is released.
    Answer,
    /// It ends.
    BorrowerEnds,
}

/// Steps that are told of where the last one fails.
#[derive(Default)]
struct Steps(Vec<Step>);

impl Drop for Steps {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("failed at the last of {:?}", self.0);
        }
    }
}

/// A batch that somebody refers to: its own number, that of its segment, and the references.
#[derive(Debug)]
struct Held<T> {
    batch: u64,
    segment: u32,
    references: Vec<Arc<T>>,
}

/// Both ends, what they hold, and what is on its way between them.
#[derive(Default)]
struct World {
    taken: Steps,
    lender: Option<Link>,
    borrower: Option<Link>,
    batches: u64,
    written: VecDeque<Held<Segment>>,
    kept: Vec<Held<Segment>>,
    borrowed: Vec<Held<Borrowed>>,
    /// Segments that the lender has not heard back of.
    lent: Vec<u32>,
    /// What is on its way to the borrower: a batch and its segment, or a message about none.
    going: VecDeque<Option<(u64, u32)>>,
    /// What is on its way to the lender: the segments that each message releases.
    coming: VecDeque<Vec<u32>>,
    /// Segments that the borrower has let go of since its last message.
    untold: Vec<u32>,
    /// Segments that lie in the lender's pool, the oldest first.
    free: VecDeque<u32>,
    /// Segments that are gone since the lender's last message.
    retired: Vec<u32>,
    /// All segments there ever were: their capacity, and whether the borrower has got them.
    segments: HashMap<u32, (usize, bool)>,
}

/// The bytes of a batch.
fn pattern(batch: u64) -> [u8; BYTES] {
    let word = batch.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes();
    std::array::from_fn(|at| word[at % 8])
}

impl World {
    /// Two ends that have taken some steps; the borrower maps no more segments than the lender can have at once.
    fn after(bounds: &Bounds, steps: &[Step]) -> Self {
        let (ours, theirs) = control::pair().unwrap();
        let (lender, borrower) = (Link::new(ours, 0), Link::new(theirs, bounds.in_use + KEPT_MAPPINGS));
        let mut world = Self { lender: Some(lender), borrower: Some(borrower), ..Self::default() };
        steps.iter().for_each(|step| world.take(*step));
        world
    }

    fn lender(&self) -> &Link {
        self.lender.as_ref().unwrap()
    }

    fn borrower(&self) -> &Link {
        self.borrower.as_ref().unwrap()
    }

    /// Segments that the lender cannot use now.
    fn in_use(&self) -> HashSet<u32> {
        let held = self.written.iter().chain(&self.kept).map(|held| held.segment);
        held.chain(self.lent.iter().copied()).collect()
    }

    /// Every step that can be taken.
    fn steps(&self, bounds: &Bounds) -> Vec<Step> {
        let mut steps = self.steps_that_let_go();
        if self.lender.is_some() && self.borrower.is_some() {
            self.steps_of_lender(bounds, &mut steps);
            self.steps_of_borrower(bounds, &mut steps);
            steps.extend([Step::LenderEnds, Step::BorrowerEnds].iter().filter(|_| bounds.may_end));
        }
        steps
    }

    fn steps_that_let_go(&self) -> Vec<Step> {
        let mut steps: Vec<_> = self.written.front().map(|_| Step::Discard).into_iter().collect();
        steps.extend((0..self.kept.len()).map(Step::LetGo));
        steps.extend((0..self.borrowed.len()).map(Step::Drop));
        steps
    }

    fn steps_of_lender(&self, bounds: &Bounds, steps: &mut Vec<Step>) {
        if self.in_use().len() < bounds.in_use {
            steps.extend(bounds.capacities.iter().map(|capacity| Step::Write { capacity: *capacity }));
        }
        if self.going.len() < bounds.on_the_way {
            steps.extend(self.written.front().map(|_| [false, true].map(|keep| Step::Lend { keep })).iter().flatten());
            steps.extend(self.retired.first().map(|_| Step::Tell));
        }
        steps.extend(self.coming.front().map(|_| Step::Hear));
    }

    fn steps_of_borrower(&self, bounds: &Bounds, steps: &mut Vec<Step>) {
        steps.extend(self.going.front().map(|_| Step::Receive));
        let shared = |index: &usize| self.borrowed[*index].references.len() < bounds.references;
        steps.extend((0..self.borrowed.len()).filter(shared).map(Step::Share));
        steps.extend(self.untold.first().map(|_| Step::Answer));
    }

    fn take(&mut self, step: Step) {
        self.taken.0.push(step);
        match step {
            Step::Write { capacity } => self.write(capacity),
            Step::Lend { keep } => self.lend(keep),
            Step::Discard => {
                let segment = self.written.pop_front().unwrap().segment;
                self.unless_in_use(segment);
            }
            Step::LetGo(index) => {
                let segment = self.kept.remove(index).segment;
                self.unless_in_use(segment);
            }
            Step::Tell => {
                self.lender().send(Message::new(Kind::Finish, 1), &[]).unwrap();
                self.going.push_back(None);
                self.retired.clear();
            }
            Step::Hear => self.hear(),
            Step::LenderEnds => self.lender = None,
            Step::Receive => self.receive(),
            Step::Share(index) => {
                let references = &mut self.borrowed[index].references;
                references.push(Arc::clone(&references[0]));
            }
            Step::Drop(index) => self.drop(index),
            Step::Answer => {
                self.borrower().send(Message::new(Kind::Opened, 1), &[]).unwrap();
                self.coming.push_back(std::mem::take(&mut self.untold));
            }
            Step::BorrowerEnds => self.borrower = None,
        }
        self.check();
    }

    fn write(&mut self, capacity: usize) {
        let segment = self.lender().acquire(capacity).unwrap();
        let number = segment.number().unwrap();
        assert!(!self.in_use().contains(&number), "segment {number} was given out while it is in use");
        match self.free.iter().position(|free| *free == number) {
            Some(index) => drop(self.free.swap_remove_back(index)),
            None if self.free.len() == KEPT_MAPPINGS => self.retire_oldest(),
            None => {}
        }
        let new = (segment.capacity(), false);
        assert!(self.segments.entry(number).or_insert(new).0 >= capacity);
        self.batches += 1;
        // SAFETY: within the segment, which the link says nobody refers to.
        unsafe { segment.base().cast::<[u8; BYTES]>().write(pattern(self.batches)) };
        self.written.push_back(Held { batch: self.batches, segment: number, references: vec![segment] });
    }

    fn retire_oldest(&mut self) {
        let oldest = self.free.pop_front().unwrap();
        if self.segments[&oldest].1 {
            self.retired.push(oldest);
        }
    }

    fn lend(&mut self, keep: bool) {
        let held = self.written.pop_front().unwrap();
        let (batch, segment) = (held.batch, held.segment);
        let message = Message { sequence: batch, length: BYTES as u64, ..Message::new(Kind::Batch, 1) };
        self.lender().lend(message, Arc::clone(&held.references[0])).unwrap();
        if keep {
            self.kept.push(held);
        }
        self.lent.push(segment);
        self.going.push_back(Some((batch, segment)));
        self.retired.clear();
        self.segments.get_mut(&segment).unwrap().1 = true;
    }

    fn hear(&mut self) {
        let released = self.coming.pop_front().unwrap();
        let heard = self.lender().receive(RecvFlags::DONTWAIT).unwrap().unwrap();
        assert_eq!(heard.message.released, released);
        for segment in released {
            self.lent.retain(|lent| *lent != segment);
            self.unless_in_use(segment);
        }
    }

    fn receive(&mut self) {
        let expected = self.going.pop_front().unwrap();
        let received = self.borrower().receive(RecvFlags::DONTWAIT).unwrap().unwrap();
        let Some((batch, segment)) = expected else { return };
        assert_eq!(received.message.sequence, batch);
        self.borrowed.push(Held { batch, segment, references: vec![Arc::new(received.segment.unwrap())] });
    }

    fn drop(&mut self, index: usize) {
        self.borrowed[index].references.pop();
        if self.borrowed[index].references.is_empty() {
            self.untold.push(self.borrowed.remove(index).segment);
        }
    }

    /// The segment lies in the pool again, if nothing refers to it.
    fn unless_in_use(&mut self, segment: u32) {
        if self.lender.is_some() && !self.in_use().contains(&segment) {
            self.free.push_back(segment);
            if self.free.len() > KEPT_MAPPINGS {
                let last = self.free.pop_back().unwrap();
                self.retired.extend(Some(last).filter(|last| self.segments[last].1));
            }
        }
    }

    /// Whoever refers to a batch sees it as it was written.
    fn check(&self) {
        for held in self.written.iter().chain(&self.kept) {
            // SAFETY: nothing writes to it while this refers to it: that is what is tested.
            assert_eq!(unsafe { held.references[0].bytes(BYTES) }, pattern(held.batch), "batch {}", held.batch);
        }
        for held in &self.borrowed {
            assert_eq!(held.references[0].copy(BYTES), pattern(held.batch), "batch {}", held.batch);
        }
        if let Some(lender) = &self.lender {
            assert_eq!(lender.lent(), self.lent.len());
        }
    }

    /// What the next steps depend on: segments in the order in which they are met, each with what it is.
    fn state(&self) -> Vec<u32> {
        let mut names = HashMap::new();
        let mut state = vec![u32::from(self.lender.is_some()) << 1 | u32::from(self.borrower.is_some())];
        let mut list = |segments: &mut dyn Iterator<Item = (u32, usize)>| {
            for (segment, count) in segments {
                let next = u32::try_from(names.len()).unwrap();
                let (capacity, sent) = self.segments[&segment];
                let name = *names.entry(segment).or_insert(next);
                state.extend([name, u32::from(capacity >= LARGE), u32::from(sent), u32::try_from(count).unwrap()]);
            }
            state.push(u32::MAX);
        };
        list(&mut self.written.iter().map(|held| (held.segment, 1)));
        list(&mut self.kept.iter().map(|held| (held.segment, 1)));
        list(&mut self.borrowed.iter().map(|held| (held.segment, held.references.len())));
        list(&mut self.lent.iter().map(|segment| (*segment, 1)));
        list(&mut self.going.iter().flatten().map(|(_, segment)| (*segment, 1)));
        for released in self.coming.iter().chain([&self.untold, &self.retired]) {
            list(&mut released.iter().map(|segment| (*segment, 1)));
        }
        list(&mut self.free.iter().map(|segment| (*segment, 1)));
        state.extend(self.going.iter().map(|message| u32::from(message.is_some())));
        state
    }

    /// Everything is let go of, and told if both ends are there: then nothing is lent, and the next batch arrives.
    fn wind_down(mut self) {
        let both = self.lender.is_some() && self.borrower.is_some();
        while both && !self.going.is_empty() {
            self.take(Step::Receive);
        }
        while let Some(step) = self.steps_that_let_go().first() {
            self.take(*step);
        }
        if both {
            self.take(Step::Answer);
            while !self.coming.is_empty() {
                self.take(Step::Hear);
            }
            assert_eq!(self.lender().lent(), 0);
            for step in [Step::Write { capacity: SMALL }, Step::Lend { keep: false }, Step::Receive] {
                self.take(step);
            }
        }
    }
}

/// A state that has been met: how it was come to, and the steps that have not been taken from it.
struct Place {
    path: Vec<Step>,
    untaken: Vec<Step>,
}

/// Takes every step from every state that can be reached from the one after `start`, and tells how many states those are.
fn visit(start: &[Step], bounds: &Bounds) -> usize {
    let mut places = HashMap::new();
    let mut met = VecDeque::from([note(&World::after(bounds, start), bounds, &mut places)]);
    while let Some(state) = met.pop_front() {
        while !places[&state].untaken.is_empty() {
            let mut world = World::after(bounds, &places[&state].path);
            let mut at = state.clone();
            // The walk goes on from state to state, so that one way from the start serves for many steps.
            for _ in 0..LONGEST_WALK {
                let Some(step) = places.get_mut(&at).and_then(|place: &mut Place| place.untaken.pop()) else { break };
                world.take(step);
                at = world.state();
                if !places.contains_key(&at) {
                    met.push_back(note(&world, bounds, &mut places));
                }
            }
            world.wind_down();
        }
    }
    places.len()
}

fn note(world: &World, bounds: &Bounds, places: &mut HashMap<Vec<u32>, Place>) -> Vec<u32> {
    places.insert(world.state(), Place { path: world.taken.0.clone(), untaken: world.steps(bounds) });
    world.state()
}

#[test]
fn no_order_of_steps_changes_a_batch_that_is_referred_to() {
    let bounds = Bounds { in_use: 3, on_the_way: 2, references: 2, capacities: &[SMALL], may_end: false };
    let states = visit(&[], &bounds);
    assert!(states > 2_000, "{states} states are fewer than there should be");
}

#[test]
fn no_order_of_steps_changes_a_batch_whose_link_ends() {
    let bounds = Bounds { in_use: 2, on_the_way: 2, references: 2, capacities: &[SMALL], may_end: true };
    let states = visit(&[], &bounds);
    assert!(states > 500, "{states} states are fewer than there should be");
}

#[test]
fn no_order_of_steps_changes_a_batch_while_segments_are_retired() {
    let write = Step::Write { capacity: SMALL };
    let lend = [Step::Lend { keep: false }, Step::Receive, Step::Drop(0)];
    let pool_is_full = [[write; KEPT_MAPPINGS].to_vec(), lend.repeat(KEPT_MAPPINGS), vec![Step::Answer, Step::Hear]];
    let bounds = Bounds { in_use: 2, on_the_way: 1, references: 1, capacities: &[SMALL, LARGE], may_end: false };
    let states = visit(&pool_is_full.concat(), &bounds);
    assert!(states > 1_000, "{states} states are fewer than there should be");
}
