//! Fresh batches to train on.
//!
//! Burn's `DataLoaderBuilder` draws items of a data set ahead of time, in threads. Here there is no set but a stream of
//! random numbers, whose place a checkpoint must know to go on bit for bit, and several devices get parts of one batch.
//! Drawing a batch takes less than a hundredth of an update.

use super::batch::{Batch, OfTask, Sequence, Stream, random_numbers};
use super::pauses::Pauses;
use crate::task::Task;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;
use burn::train::Interrupter;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// How far the training data is used up: with the seed, all there is to know to go on with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Batches handed out, each good for one update.
    pub updates: usize,
    /// Words drawn from the stream of random numbers.
    pub words: u128,
}

/// Fresh batches for training, never the same twice. Each pass over the loader is the updates until
/// the next pause, or until somebody says stop.
///
/// For several devices burn-train slices the loader, and each slice gives its device a part of every
/// batch: about as many sequences for each. What one update sees is the same on one device or several.
#[derive(Clone)]
pub struct FreshBatches {
    task: Arc<dyn Task>,
    batch: usize,
    pauses: Pauses,
    device: Device,
    stop: Interrupter,
    source: Arc<Mutex<Source>>,
    /// The seed, where the network draws random numbers while it trains: it begins each update with numbers of its
    /// own, so that a resumed run draws the same.
    seed: Option<u64>,
    /// Parts that each batch is cut into, one a device.
    parts: usize,
    /// The part that this loader gives.
    part: usize,
}

/// What the passes and the parts share.
struct Source {
    rng: ChaCha8Rng,
    /// Batches drawn.
    drawn: usize,
    /// Batches whose part was handed out, by part.
    handed_out: Vec<usize>,
    /// Drawn batches that some part has yet to hand out, oldest first.
    waiting: VecDeque<DrawnBatch>,
    /// Updates made at the last evaluation.
    evaluated: usize,
}

/// A batch, and the words taken from the stream of random numbers before it.
struct DrawnBatch {
    batch: Vec<Sequence>,
    words_before: u128,
}

impl Source {
    /// Updates made, as the first part sees it, which is the main device's.
    fn made(&self) -> usize {
        self.handed_out[0]
    }

    /// The rows of the next batch that are the part's, if there is one still.
    fn next(
        &mut self,
        part: usize,
        draw: impl FnOnce(&mut ChaCha8Rng) -> Option<Vec<Sequence>>,
    ) -> Option<Vec<Sequence>> {
        if self.handed_out[part] == self.drawn {
            let words_before = self.rng.get_word_pos();
            let batch = draw(&mut self.rng)?;
            self.drawn += 1;
            self.waiting.push_back(DrawnBatch {
                batch,
                words_before,
            });
        }
        let oldest = self.drawn - self.waiting.len();
        let DrawnBatch { batch, .. } = &self.waiting[self.handed_out[part] - oldest];
        let parts = self.handed_out.len();
        let row = |part: usize| batch.len() * part / parts;
        let rows = batch[row(part)..row(part + 1)].to_vec();
        self.handed_out[part] += 1;
        if self.handed_out.iter().all(|made| *made > oldest) {
            self.waiting.pop_front();
        }
        Some(rows)
    }
}

impl FreshBatches {
    /// Batches from a position on, to be cut into parts for so many devices; a pass ends early once `stop`
    /// is set.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        task: Arc<dyn Task>,
        (batch, parts): (usize, usize),
        pauses: Pauses,
        (seed, is_random): (u64, bool),
        from: Position,
        device: &Device,
        stop: &Interrupter,
    ) -> Self {
        let mut rng = random_numbers(seed, Stream::Training);
        rng.set_word_pos(from.words);
        let source = Source {
            rng,
            drawn: from.updates,
            handed_out: vec![from.updates; parts],
            waiting: VecDeque::new(),
            evaluated: from.updates,
        };
        Self {
            task,
            batch,
            pauses,
            device: device.clone(),
            stop: stop.clone(),
            source: Arc::new(Mutex::new(source)),
            seed: is_random.then_some(seed),
            parts,
            part: 0,
        }
    }

    /// How far the data is used up.
    pub fn position(&self) -> Position {
        let source = self.source();
        let ahead = source.drawn - source.made();
        let next = source.waiting.len().checked_sub(ahead);
        // Other devices may be ahead of the main one, whose checkpoints ask.
        let next = next.and_then(|index| source.waiting.get(index));
        Position {
            updates: source.made(),
            words: next.map_or(source.rng.get_word_pos(), |drawn| drawn.words_before),
        }
    }

    /// Whether it is time for an evaluation; yes but once for so many updates.
    pub fn take_evaluation(&self) -> bool {
        let mut source = self.source();
        let made = source.made();
        let due = self.pauses.is_evaluation(made) && made > source.evaluated;
        if due {
            source.evaluated = made;
        }
        due
    }

    /// Updates until the next pause.
    fn left(&self) -> usize {
        let made = self.source().handed_out[self.part];
        self.pauses.next_pause(made) - made
    }

    fn source(&self) -> std::sync::MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DataLoader<Batch> for FreshBatches {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        Box::new(Pass {
            loader: self,
            done: 0,
            total: self.left(),
        })
    }

    /// The items of this loader are parts of batches, not sequences.
    fn num_items(&self) -> usize {
        self.left() * self.parts
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(Self {
            device: device.clone(),
            ..self.clone()
        })
    }

    /// The loader of a part: burn-train cuts the items into as many equal slices as there are devices.
    fn slice(&self, start: usize, _end: usize) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(Self {
            part: start.checked_div(self.left()).unwrap_or(0),
            ..self.clone()
        })
    }
}

struct Pass<'a> {
    loader: &'a FreshBatches,
    done: usize,
    total: usize,
}

impl Iterator for Pass<'_> {
    type Item = Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let FreshBatches {
            task,
            batch,
            stop,
            part,
            ..
        } = self.loader;
        if self.done == self.total {
            return None;
        }
        // A batch that is drawn is one that all devices learn from: a stop comes before it or after.
        let draw = |rng: &mut _| {
            let one = |_| Sequence::new(&**task, |input, target| task.sample(rng, input, target));
            (!stop.should_stop()).then(|| (0..*batch).map(one).collect())
        };
        let sequences = self.loader.source().next(*part, draw)?;
        self.done += 1;
        if let Some(seed) = self.loader.seed {
            let made = self.loader.source().made() as u64;
            self.loader
                .device
                .seed(random_numbers(seed, Stream::Network).random::<u64>() ^ made);
        }
        Some(Ok(
            OfTask(task.clone()).batch(sequences, &self.loader.device)
        ))
    }
}

impl DataLoaderIterator<Batch> for Pass<'_> {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.total, Some("updates".to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Evaluations, HeldOut};
    use super::*;
    use crate::task::TaskName;
    use burn::data::dataloader::split::split_dataloader;

    fn pauses(updates: usize) -> Pauses {
        Pauses {
            updates,
            eval_every: 3,
            checkpoint_every: 2,
        }
    }

    fn from(position: Position, seed: u64, updates: usize, stop: &Interrupter) -> FreshBatches {
        in_parts(1, pauses(updates), position, seed, stop)
    }

    fn in_parts(
        parts: usize,
        pauses: Pauses,
        position: Position,
        seed: u64,
        stop: &Interrupter,
    ) -> FreshBatches {
        let (task, device) = (TaskName::default().with_gap(5), Device::flex());
        FreshBatches::new(
            task,
            (4, parts),
            pauses,
            (seed, false),
            position,
            &device,
            stop,
        )
    }

    fn fresh(seed: u64, updates: usize) -> FreshBatches {
        from(Position::default(), seed, updates, &Interrupter::new())
    }

    fn inputs(loader: &dyn DataLoader<Batch>) -> Vec<Vec<f32>> {
        let batches = loader.iter().map(|batch| batch.unwrap().input.into_data());
        batches.map(|data| data.iter::<f32>().collect()).collect()
    }

    #[test]
    fn passes_are_fresh_and_end_at_the_pauses() {
        let loader = fresh(1, 7);
        assert_eq!(
            [0, 3, 6, 7].map(|made| loader.pauses.pauses_after(made)),
            [5, 3, 1, 0]
        );
        let passes: Vec<_> = (0..5).map(|_| inputs(&loader)).collect();
        let lengths: Vec<_> = passes.iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 1, 1, 2, 1]); // at updates 2, 3, 4, 6, 7
        assert_ne!(passes[0][0], passes[1][0]);
        assert_eq!(loader.position().updates, 7);
        assert!(inputs(&loader).is_empty());
    }

    #[test]
    fn a_data_set_is_held_out_in_its_order_and_whatever_the_seed() {
        let held_out = |seed| {
            let task = TaskName::named("digits-rows").unwrap().with_gap(0);
            inputs(&*HeldOut::new(task, seed, &Device::flex()).batches).concat()
        };
        let test = held_out(1);
        assert_eq!(test, held_out(2));
        let task = TaskName::named("digits-rows").unwrap().with_gap(0);
        assert_eq!(test.len(), 360 * 64);
        for index in [0, 249, 250, 359] {
            let (mut input, mut target) = ([0.0; 64], [0.0]);
            let mut rng = random_numbers(3, Stream::HeldOut);
            task.held_out_sample(index, &mut rng, &mut input, &mut target);
            assert_eq!(test[64 * index..][..64], input);
        }
    }

    #[test]
    fn of_long_sequences_fewer_are_measured_at_a_time_and_the_same() {
        let task = || TaskName::named("first-symbol").unwrap().with_gap(1_000);
        let (usual, few) = (
            HeldOut::new(task(), 1, &Device::flex()),
            HeldOut::of_network(task(), 1, 1_000_000, &Device::flex()),
        );
        let sizes = |held_out: &HeldOut| -> Vec<usize> {
            let batches = held_out
                .batches
                .iter()
                .map(|batch| batch.unwrap().input.dims()[0]);
            batches.collect()
        };
        assert_eq!(sizes(&usual), [250; 8]);
        assert_eq!(sizes(&few), [1; 2_000]);
        assert_eq!(
            inputs(&*usual.batches).concat(),
            inputs(&*few.batches).concat()
        );
        assert_eq!(usual.sequence(999).unwrap(), few.sequence(999).unwrap());
        let units = (1 << 27) / 1_001 / 100;
        let hundred = HeldOut::of_network(task(), 1, units, &Device::flex());
        assert_eq!(sizes(&hundred), [100; 20]);
    }

    #[test]
    fn a_position_is_where_the_data_goes_on() {
        let whole = fresh(1, 7);
        let (first, rest): (Vec<_>, Vec<_>) = (
            inputs(&whole),
            (0..4).flat_map(|_| inputs(&whole)).collect(),
        );
        let begun = fresh(1, 7);
        assert_eq!(inputs(&begun), first);
        let gone_on = from(begun.position(), 1, 7, &Interrupter::new());
        let again: Vec<_> = (0..4).flat_map(|_| inputs(&gone_on)).collect();
        assert_eq!(again, rest);
    }

    #[test]
    fn parts_make_up_the_batches_of_one_device() {
        let whole = fresh(1, 7);
        let cut = in_parts(3, pauses(7), Position::default(), 1, &Interrupter::new());
        assert_eq!(cut.num_items(), 2 * 3);
        let devices = vec![Device::flex(); 3];
        let parts = split_dataloader(Arc::new(cut.clone()), &devices);
        for _ in 0..5 {
            let expected = inputs(&whole);
            // One after the other: each part may be ahead of the others by a whole pass.
            let parts: Vec<_> = parts.iter().rev().map(|part| inputs(&**part)).collect();
            let found: Vec<_> = (0..expected.len())
                .map(|k| {
                    parts
                        .iter()
                        .rev()
                        .flat_map(|part| part[k].clone())
                        .collect()
                })
                .collect::<Vec<Vec<f32>>>();
            assert_eq!(found, expected);
            assert_eq!(cut.position(), whole.position());
        }
        assert!(cut.source().waiting.is_empty());
    }

    #[test]
    fn the_position_is_the_main_devices_though_others_are_ahead() {
        let stop = Interrupter::new();
        let pauses = Pauses {
            updates: 7,
            eval_every: 7,
            checkpoint_every: 7,
        };
        let cut = in_parts(2, pauses, Position::default(), 1, &stop);
        let parts = split_dataloader(Arc::new(cut.clone()), &vec![Device::flex(); 2]);
        let (mut main, mut other) = (parts[0].iter(), parts[1].iter());
        for _ in 0..3 {
            other.next().unwrap().unwrap();
        }
        assert_eq!(cut.position(), Position::default());
        main.next().unwrap().unwrap();
        let position = cut.position();
        assert_eq!(position.updates, 1);
        let again = from(position, 1, 7, &stop);
        let whole = inputs(&fresh(1, 7));
        assert_eq!(inputs(&again)[0], whole[1]);

        // What the other device has learnt from, the main one must learn from too, and no more.
        stop.stop(None);
        assert!(other.next().is_none());
        assert!(main.next().is_some());
        assert!(main.next().is_some());
        assert!(main.next().is_none());
    }

    #[test]
    fn a_stop_ends_the_pass() {
        let stop = Interrupter::new();
        let loader = from(Position::default(), 1, 7, &stop);
        let mut pass = loader.iter();
        assert!(pass.next().is_some());
        stop.stop(None);
        assert!(pass.next().is_none());
        assert_eq!(loader.position().updates, 1);
    }

    #[test]
    fn held_out_data_is_measured_on_once_where_the_pauses_say() {
        let fresh = fresh(1, 7);
        let task = TaskName::default().with_gap(5);
        let held_out = HeldOut::new(task, 1, &Device::flex());
        let evaluations = Evaluations::new(&fresh, &held_out);
        let mut evaluated = vec![];
        while !inputs(&fresh).is_empty() {
            if !inputs(&evaluations).is_empty() {
                evaluated.push(fresh.position().updates);
            }
            assert!(
                inputs(&evaluations).is_empty(),
                "twice after the same update"
            );
        }
        assert_eq!(evaluated, [3, 6, 7]);
    }

    #[test]
    fn a_seed_gives_the_same_batches_twice_and_held_out_data_of_its_own() {
        assert_eq!(inputs(&fresh(1, 3)), inputs(&fresh(1, 3)));
        assert_ne!(inputs(&fresh(1, 3)), inputs(&fresh(2, 3)));
        let task = TaskName::default().with_gap(5);
        let held_out = HeldOut::new(task, 1, &Device::flex());
        let first = inputs(&*held_out.batches);
        assert_eq!(first, inputs(&*held_out.batches));
        assert_eq!(first.iter().map(Vec::len).sum::<usize>(), 2_000 * 10 * 2);
        let training = inputs(&fresh(1, 3));
        assert_ne!(first[0][..20], training[0][..20]);
    }
}
