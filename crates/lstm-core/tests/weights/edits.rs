//! Edits of a file that is right, to see what a reader makes of it.

use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};
use std::cell::Cell;
use std::fmt::Debug;
use std::time::{Duration, Instant};

/// One thing that happens to a file. Places are taken modulo the file's length.
#[derive(Clone, Debug)]
enum Edit {
    FlipBit(usize, u8),
    /// Eight bytes are set: sizes and offsets.
    SetWord(usize, u64),
    /// Digits in a header are replaced.
    SetByte(usize, u8),
    Cut(usize),
    Remove(usize, usize),
    /// A piece is copied to elsewhere.
    Copy(usize, usize, usize),
    Append(Vec<u8>),
    /// What a parser of text may stumble over.
    Insert(usize, &'static str),
}

const WORDS: [&str; 16] = [
    "-1",
    "0",
    "1e999",
    "nan",
    "18446744073709551616",
    "[[",
    "]",
    "{",
    "}",
    "\"",
    "\\u0000",
    " = ",
    "\n",
    ",",
    "null",
    "\u{feff}",
];

/// Most headers are at the file's start.
fn place() -> impl Strategy<Value = usize> {
    prop_oneof![0..16usize, 0..1024usize, any::<usize>()]
}

/// One to three edits.
fn edits() -> impl Strategy<Value = Vec<Edit>> {
    prop::collection::vec(edit(), 1..4)
}

fn edit() -> impl Strategy<Value = Edit> {
    let word = prop_oneof![
        any::<u64>(),
        0..4096u64,
        Just(u64::MAX),
        Just(1 << 62),
        Just(1 << 40)
    ];
    prop_oneof![
        (place(), 0..8u8).prop_map(|(at, bit)| Edit::FlipBit(at, bit)),
        (place(), word).prop_map(|(at, word)| Edit::SetWord(at, word)),
        (place(), prop_oneof![b'0'..=b'9', any::<u8>()]).prop_map(|(at, b)| Edit::SetByte(at, b)),
        place().prop_map(Edit::Cut),
        (place(), 1..64usize).prop_map(|(at, count)| Edit::Remove(at, count)),
        (place(), place(), 1..64usize).prop_map(|(from, to, n)| Edit::Copy(from, to, n)),
        prop::collection::vec(any::<u8>(), 1..32).prop_map(Edit::Append),
        (place(), prop::sample::select(&WORDS[..])).prop_map(|(at, word)| Edit::Insert(at, word)),
    ]
}

fn apply(bytes: &mut Vec<u8>, edit: &Edit) {
    if bytes.is_empty() {
        return;
    }
    let (len, at) = (bytes.len(), |place: usize| place % bytes.len());
    match *edit {
        Edit::FlipBit(place, bit) => {
            let at = at(place);
            bytes[at] ^= 1 << bit;
        }
        Edit::SetWord(place, word) => {
            let at = at(place);
            for (byte, new) in bytes[at..].iter_mut().zip(word.to_le_bytes()) {
                *byte = new;
            }
        }
        Edit::SetByte(place, new) => {
            let at = at(place);
            bytes[at] = new;
        }
        Edit::Cut(place) => {
            let at = at(place);
            bytes.truncate(at);
        }
        Edit::Remove(place, count) => {
            let at = at(place);
            bytes.drain(at..len.min(at + count));
        }
        Edit::Copy(from, to, count) => {
            let (from, to) = (at(from), at(to));
            let count = count.min(len - from).min(len - to);
            bytes.copy_within(from..from + count, to);
        }
        Edit::Append(ref more) => bytes.extend(more),
        Edit::Insert(place, word) => {
            let at = at(place);
            bytes.splice(at..at, word.bytes());
        }
    }
}

/// Time on a core that is too long for a small file.
const LONG: Duration = Duration::from_secs(10);

/// How long this thread has had a core so far, where the system tells.
fn on_a_core() -> Option<Duration> {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = times.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// Reads what is right with other edits each time, and fails if that panics, takes too long or never fails;
/// `read` gives an error where it refuses.
///
/// It runs so many cases as `MUTATED_CASES` says, 300 if it says nothing, and keeps those that fail in
/// `regressions` beside the `source`.
pub fn mutate<T, E: Debug>(
    name: &str,
    source: &'static str,
    whole: &[u8],
    read: impl Fn(&[u8]) -> Result<T, E>,
) {
    read(whole).unwrap_or_else(|error| panic!("{name} as it is: {error:?}"));
    let cases = std::env::var("MUTATED_CASES").ok();
    let mut runner = TestRunner::new(ProptestConfig {
        cases: cases.map_or(300, |cases| cases.parse().expect("a number of cases")),
        failure_persistence: Some(Box::new(FileFailurePersistence::SourceParallel(
            "regressions",
        ))),
        source_file: Some(source),
        ..ProptestConfig::default()
    });
    let (accepted, refused) = (Cell::new(0), Cell::new(0));
    let result = runner.run(&edits(), |edits| {
        let mut bytes = whole.to_vec();
        edits.iter().for_each(|edit| apply(&mut bytes, edit));
        let (start, before) = (Instant::now(), on_a_core());
        let count = match read(&bytes) {
            Ok(_) => &accepted,
            Err(_) => &refused,
        };
        count.set(count.get() + 1);
        let mut took = start.elapsed();
        if took >= LONG {
            // Perhaps the core had other work, or the process was stopped.
            took = on_a_core()
                .zip(before)
                .map_or(took, |(now, then)| now - then);
        }
        prop_assert!(took < LONG, "it took {took:?}");
        Ok(())
    });
    let (accepted, refused) = (accepted.get(), refused.get());
    println!("{name}: {accepted} read, {refused} refused");
    result.unwrap();
    assert!(refused > 0, "no edit of {name} was noticed");
}
