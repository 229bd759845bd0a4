//! A peer that breaks the protocol in every way: the answer is an error, and what is accepted can be read to its end.
//!
//! This is what stands between a user's code in a worker process and the executor's memory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use proptest::prelude::*;
use rudf_segment::{
    control::{self, Kind, LONGEST_MESSAGE, MAGIC, Message},
    layout::{BATCH_MAGIC, DESCRIPTOR_WORDS, Form, HEADER_WORDS, header_bytes, read_results},
    link::Link,
};
use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create},
    net::{RecvFlags, SendFlags},
};

/// As many cases as `PROPTEST_CASES` says, which proptest's own default would take and `with_cases` would not.
fn cases(usual: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(asked.unwrap_or(usual))
}

/// Kinds by which segments travel, and others.
fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::Result, Kind::Batch, Kind::Failed, Kind::Closed, Kind::Opened, Kind::Forked])
}

/// Numbers of which some hit something.
fn numbers() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0..4_u32, 1 => any::<u32>()]
}

fn lengths() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0_u64), Just(4096), Just(4097), Just(1 << 20), Just(u64::MAX), any::<u64>()]
}

fn messages() -> impl Strategy<Value = Message> {
    let lists = (prop::collection::vec(numbers(), 0..3), prop::collection::vec(numbers(), 0..3));
    let fields = (any::<u64>(), any::<u64>(), lengths(), numbers(), any::<(u32, u32)>());
    (kinds(), fields, lists, prop::collection::vec(any::<u8>(), 0..64)).prop_map(
        |(kind, (session, sequence, length, segment, (code, spent)), (released, retired), text)| Message {
            kind,
            session,
            sequence,
            length,
            segment,
            code,
            spent,
            released,
            retired,
            text,
        },
    )
}

/// What a peer may send in place of a segment.
#[derive(Clone, Debug)]
enum File {
    None,
    Memory { bytes: u64, seals: u32 },
    Device,
    Socket,
}

fn files() -> impl Strategy<Value = File> {
    let seals = prop_oneof![Just(0x1_u32 | 0x2 | 0x4), 0..0x20_u32];
    prop_oneof![
        2 => Just(File::None),
        6 => (prop_oneof![Just(0_u64), Just(1), Just(4096), Just(1 << 20)], seals)
            .prop_map(|(bytes, seals)| File::Memory { bytes, seals }),
        1 => Just(File::Device),
        1 => Just(File::Socket),
    ]
}

fn open(file: &File) -> Option<OwnedFd> {
    Some(match file {
        File::None => return None,
        File::Memory { bytes, seals } => {
            let memory = memfd_create(c"hostile", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
            ftruncate(&memory, *bytes).unwrap();
            fcntl_add_seals(&memory, SealFlags::from_bits_truncate(*seals)).unwrap();
            memory
        }
        File::Device => std::fs::File::open("/dev/zero").unwrap().into(),
        File::Socket => control::pair().unwrap().0,
    })
}

/// Cuts a file to nothing, if that is possible: what is mapped of it would end its reader with a signal.
fn cut(file: &OwnedFd) {
    let _sealed = ftruncate(file, 0);
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn bytes_are_a_message_only_if_a_message_is_those_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(message.encode().unwrap(), bytes);
        }
    }

    #[test]
    fn a_changed_message_is_refused_or_another_message(
        message in messages(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = message.encode().unwrap();
        prop_assert_eq!(&Message::decode(&bytes).unwrap(), &message);
        let shorter = cut.index(bytes.len());
        prop_assert!(Message::decode(&bytes[..shorter]).is_err());
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(other) = Message::decode(&bytes) {
            prop_assert_eq!(other.encode().unwrap(), bytes);
        }
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn whatever_a_peer_sends_is_an_error_or_can_be_read_to_its_end(
        course in prop::collection::vec((messages(), files(), any::<bool>()), 1..12),
    ) {
        let (ours, theirs) = control::pair().unwrap();
        let link = Link::new(ours, 3);
        // Segments 0 and 1 are lent, so that releasing them is right once.
        for session in 0..2 {
            let segment = link.acquire(1).unwrap();
            link.lend(Message { length: 1, ..Message::new(Kind::Batch, session) }, segment).unwrap();
        }
        let mut held = Vec::new();
        for (message, file, hold) in course {
            let file = open(&file);
            let descriptors: Vec<BorrowedFd<'_>> = file.iter().map(|file| file.as_fd()).collect();
            control::send(&theirs, &message, &descriptors).unwrap();
            let Ok(Some(incoming)) = link.receive(RecvFlags::empty()) else { break };
            if let Some(file) = &file {
                cut(file);
            }
            if let Some(segment) = incoming.segment {
                prop_assert_eq!(segment.length() as u64, message.length);
                prop_assert_eq!(segment.copy(usize::MAX).len(), segment.length());
                if hold {
                    held.push(segment);
                }
            }
        }
        for segment in &held {
            prop_assert_eq!(segment.copy(usize::MAX).len(), segment.length());
        }
    }

    #[test]
    fn bytes_that_are_no_message_end_nothing_but_the_exchange(
        mut bytes in prop::collection::vec(any::<u8>(), 1..300), magic in any::<bool>(),
    ) {
        if magic && bytes.len() >= 4 {
            bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        }
        let (ours, theirs) = control::pair().unwrap();
        let link = Link::new(ours, 3);
        rustix::net::send(&theirs, &bytes, SendFlags::NOSIGNAL).unwrap();
        if let Ok(received) = link.receive(RecvFlags::empty()) {
            prop_assert!(received.is_some());
        }
    }
}

fn positions(have: u64) -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => (0..have / 64 + 2).prop_map(|index| index * 64),
        1 => prop::sample::select(vec![0, 1, 63, have, u64::MAX, u64::MAX - 63, 1 << 63]),
    ]
}

fn amounts(have: u64) -> impl Strategy<Value = u64> {
    prop_oneof![3 => 0..have, 1 => prop::sample::select(vec![u64::MAX, u64::MAX / 8, 1 << 61, have + 1])]
}

const HAVE: u64 = 4096;

fn descriptors() -> impl Strategy<Value = Vec<u64>> {
    let small = || prop_oneof![4 => 0..200_u64, 1 => amounts(HAVE)];
    let buffers = || (positions(HAVE), amounts(HAVE));
    (small(), small(), prop::sample::select(vec![0_u64, 4, 8, 3]), buffers(), buffers(), buffers()).prop_map(
        |(nulls, first, width, validity, offsets, values)| {
            vec![nulls, first, width, validity.0, validity.1, offsets.0, offsets.1, values.0, values.1, 0]
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn results_that_are_accepted_lie_inside_their_segment(
        rows in prop_oneof![4 => 0..200_u64, 1 => amounts(HAVE)],
        columns in prop::collection::vec(descriptors(), 1..3),
        forms in prop::collection::vec(
            prop::sample::select(vec![Form::Bits, Form::Fixed(1), Form::Fixed(4), Form::Fixed(8), Form::Variable]), 1..3),
        count in prop_oneof![8 => 1..3_u64, 1 => any::<u64>()],
    ) {
        let mut words = vec![BATCH_MAGIC, rows, count, 0];
        // Without children, and with the batch's own number of rows: anything else is refused at once.
        words.extend(columns.iter().flat_map(|column| column[..9].iter().copied().chain([0, 0, rows])));
        words.resize(HEADER_WORDS + DESCRIPTOR_WORDS * forms.len(), 0);
        let header: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        prop_assert_eq!(header.len(), header_bytes(forms.len()));
        let Ok((rows, accepted)) = read_results(&header, HAVE as usize, &forms) else { return Ok(()) };
        for (column, form) in accepted.iter().map(|column| column.descriptor).zip(&forms) {
            // What the JVM reads, without a look at anything but these numbers.
            let end = column.first_row + rows as u64;
            let inside = |position: u64, bytes: u64| bytes == 0 || (position != 0 && position + bytes <= HAVE);
            if column.null_count > 0 {
                prop_assert!(inside(column.validity, end.div_ceil(8)));
            }
            match form {
                Form::Bits => prop_assert!(inside(column.values, end.div_ceil(8))),
                Form::Fixed(width) => prop_assert!(inside(column.values, end * *width as u64)),
                Form::Variable => {
                    prop_assert!(matches!(column.offset_width, 4 | 8));
                    prop_assert!(inside(column.offsets, (end + 1) * column.offset_width));
                    prop_assert!(inside(column.values, column.values_length));
                }
                Form::None | Form::List(_) | Form::Struct(_) => prop_assert!(false, "no such form was asked for"),
            }
        }
    }
}

#[test]
fn a_message_of_the_longest_kind_is_taken() {
    let (ours, theirs) = control::pair().unwrap();
    let mut message = Message::new(Kind::Failed, 1);
    message.text = vec![b'x'; LONGEST_MESSAGE - message.encode().unwrap().len()];
    control::send(&theirs, &message, &[]).unwrap();
    let received = Link::new(ours, 1).receive(RecvFlags::empty()).unwrap().unwrap();
    assert_eq!(received.message, message);
}
