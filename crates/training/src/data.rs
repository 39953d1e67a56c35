//! From a task's samples to batches on a device: fresh ones for training, fixed ones held out.

use crate::task::{Goal, Task};
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn::train::Interrupter;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Streams of a seed's random numbers, so that training and held-out data never overlap.
#[derive(Clone, Copy)]
pub enum Stream {
    /// Sequences to train on.
    Training = 1,
    /// Sequences to measure on.
    HeldOut = 2,
}

/// The random numbers of one stream.
pub fn random_numbers(seed: u64, stream: Stream) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream as u64);
    rng
}

/// A batch of labelled sequences.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[B, T, I]`
    pub input: Tensor<3>,
    /// What the network must say of each.
    pub target: Target,
}

/// The targets of a batch.
#[derive(Clone, Debug)]
pub enum Target {
    /// Class indices, `[B]`
    Class(Tensor<1, Int>),
    /// Values, `[B]`
    Value(Tensor<1>),
    /// Probabilities of the classes that may come, `[B, T, O]`; all zero at steps that aren't scored
    Steps(Tensor<3>),
}

/// A batch on the host: inputs and targets of all its sequences, one after the other.
struct HostBatch {
    size: usize,
    input: Vec<f32>,
    target: Vec<f32>,
}

impl HostBatch {
    /// A batch of so many sequences, number `k` of which `sample` writes.
    fn new(
        task: &dyn Task,
        size: usize,
        mut sample: impl FnMut(usize, &mut [f32], &mut [f32]),
    ) -> Self {
        let d_sequence = task.length() * task.d_input();
        let d_target = task.goal().d_target(task.length());
        let mut input = vec![0.0; size * d_sequence];
        let mut target = vec![0.0; size * d_target];
        let sequences = input.chunks_exact_mut(d_sequence);
        for (k, (input, target)) in sequences.zip(target.chunks_exact_mut(d_target)).enumerate() {
            sample(k, input, target);
        }
        Self {
            size,
            input,
            target,
        }
    }

    /// A batch of some of the sequences.
    fn rows(&self, rows: Range<usize>) -> Self {
        let cut = |values: &[f32]| {
            let width = values.len() / self.size;
            values[rows.start * width..rows.end * width].to_vec()
        };
        Self {
            size: rows.len(),
            input: cut(&self.input),
            target: cut(&self.target),
        }
    }

    fn draw(task: &dyn Task, size: usize, rng: &mut ChaCha8Rng) -> Self {
        Self::new(task, size, |_, input, target| {
            task.sample(rng, input, target)
        })
    }

    fn to(&self, task: &dyn Task, device: &Device) -> Batch {
        let (size, length) = (self.size, task.length());
        let input = TensorData::new(self.input.clone(), [size, length, task.d_input()]);
        let target = match task.goal() {
            Goal::Class { .. } => {
                let classes: Vec<i32> = self.target.iter().map(|class| *class as i32).collect();
                Target::Class(Tensor::from_data(TensorData::new(classes, [size]), device))
            }
            Goal::Value { .. } => {
                let values = TensorData::new(self.target.clone(), [size]);
                Target::Value(Tensor::from_data(values, device))
            }
            Goal::Steps { count } => {
                let rows = TensorData::new(self.target.clone(), [size, length, count]);
                Target::Steps(Tensor::from_data(rows, device))
            }
        };
        Batch {
            input: Tensor::from_data(input, device),
            target,
        }
    }
}

/// When the training pauses: to look at the held-out data, and to write a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Updates at most.
    pub updates: usize,
    /// Updates between two looks at the held-out data; the last update is followed by one, too.
    pub eval_every: usize,
    /// Updates between two checkpoints; each look is followed by one, too.
    pub checkpoint_every: usize,
}

impl Schedule {
    /// Whether the held-out data is looked at after so many updates.
    fn is_look(&self, made: usize) -> bool {
        made > 0 && (made.is_multiple_of(self.eval_every) || made == self.updates)
    }

    /// The next pause, when so many updates are made.
    fn next_pause(&self, made: usize) -> usize {
        let next = |every: usize| (made / every + 1).saturating_mul(every);
        next(self.eval_every)
            .min(next(self.checkpoint_every))
            .min(self.updates)
    }

    /// The pauses that are left when so many updates are made.
    pub fn pauses_after(&self, made: usize) -> usize {
        let multiples = |every: usize| self.updates / every - made / every;
        let (looks, checkpoints) = (self.eval_every, self.checkpoint_every);
        let both = (looks / gcd(looks, checkpoints)).saturating_mul(checkpoints);
        let at_the_end = made < self.updates
            && !self.updates.is_multiple_of(looks)
            && !self.updates.is_multiple_of(checkpoints);
        multiples(looks) + multiples(checkpoints) - multiples(both) + usize::from(at_the_end)
    }
}

fn gcd(a: usize, b: usize) -> usize {
    match b {
        0 => a,
        _ => gcd(b, a % b),
    }
}

/// How far the training data is used up: with the seed, all there is to know to go on with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Batches handed out, each good for one update.
    pub updates: usize,
    /// Words drawn from the stream of random numbers.
    pub words: u128,
}

/// Fresh batches for training, never the same twice. Each pass over the loader is the updates until
/// the next pause of the schedule, or until somebody says stop.
///
/// For several devices burn-train slices the loader, and each slice gives its device a part of every
/// batch: about as many sequences for each. What one update sees is the same on one device or several.
#[derive(Clone)]
pub struct FreshBatches {
    task: Arc<dyn Task>,
    batch: usize,
    schedule: Schedule,
    device: Device,
    stop: Interrupter,
    source: Arc<Mutex<Source>>,
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
    waiting: VecDeque<Drawn>,
    /// Updates made when the held-out data was last looked at.
    looked: usize,
}

/// A batch, and the words taken from the stream of random numbers before it.
struct Drawn {
    batch: HostBatch,
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
        draw: impl FnOnce(&mut ChaCha8Rng) -> Option<HostBatch>,
    ) -> Option<HostBatch> {
        if self.handed_out[part] == self.drawn {
            let words_before = self.rng.get_word_pos();
            let batch = draw(&mut self.rng)?;
            self.drawn += 1;
            self.waiting.push_back(Drawn {
                batch,
                words_before,
            });
        }
        let oldest = self.drawn - self.waiting.len();
        let Drawn { batch, .. } = &self.waiting[self.handed_out[part] - oldest];
        let parts = self.handed_out.len();
        let row = |part: usize| batch.size * part / parts;
        let rows = batch.rows(row(part)..row(part + 1));
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
        schedule: Schedule,
        seed: u64,
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
            looked: from.updates,
        };
        Self {
            task,
            batch,
            schedule,
            device: device.clone(),
            stop: stop.clone(),
            source: Arc::new(Mutex::new(source)),
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

    /// Whether it is time to look at the held-out data; yes but once for so many updates.
    fn take_look(&self) -> bool {
        let mut source = self.source();
        let made = source.made();
        let look = self.schedule.is_look(made) && made > source.looked;
        if look {
            source.looked = made;
        }
        look
    }

    /// Updates until the next pause.
    fn left(&self) -> usize {
        let made = self.source().handed_out[self.part];
        self.schedule.next_pause(made) - made
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
            let draw = || HostBatch::draw(&**task, *batch, rng);
            (!stop.should_stop()).then(draw)
        };
        let host = self.loader.source().next(*part, draw)?;
        self.done += 1;
        Some(Ok(host.to(&**task, &self.loader.device)))
    }
}

impl DataLoaderIterator<Batch> for Pass<'_> {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.total, Some("updates".to_string()))
    }
}

/// The sequences that are never trained on, the same in every pass.
#[derive(Clone)]
pub struct HeldOut {
    task: Arc<dyn Task>,
    device: Device,
    batches: Arc<Vec<HostBatch>>,
}

impl HeldOut {
    /// Sequences measured at a time: enough to keep the device busy, few enough for its caches.
    const BATCH: usize = 250;

    /// The task's number of held-out sequences.
    pub fn new(task: Arc<dyn Task>, seed: u64, device: &Device) -> Self {
        let mut rng = random_numbers(seed, Stream::HeldOut);
        let count = task.held_out();
        let batches = (0..count).step_by(Self::BATCH).map(|first| {
            let size = Self::BATCH.min(count - first);
            HostBatch::new(&*task, size, |k, input, target| {
                task.held_out_sample(first + k, &mut rng, input, target)
            })
        });
        Self {
            batches: Arc::new(batches.collect()),
            task,
            device: device.clone(),
        }
    }

    fn part(&self, start: usize, end: usize) -> Self {
        let batches = self.batches[start..end].iter();
        let host = batches.map(|batch| batch.rows(0..batch.size));
        Self {
            batches: Arc::new(host.collect()),
            ..self.clone()
        }
    }
}

impl HeldOut {
    /// The first sequences, at most a batch of them.
    pub fn first(&self, count: usize) -> Option<Batch> {
        let host = self.batches.first()?;
        let first = host.rows(0..count.min(host.size));
        Some(first.to(&*self.task, &self.device))
    }

    /// Input and target of one sequence.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub fn sequence(&self, index: usize) -> (Vec<f32>, Vec<f32>) {
        let HostBatch { input, target, .. } = self.row(index);
        (input, target)
    }

    /// A batch of one sequence.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub fn one(&self, index: usize) -> Batch {
        self.row(index).to(&*self.task, &self.device)
    }

    fn row(&self, index: usize) -> HostBatch {
        let row = index % Self::BATCH;
        self.batches[index / Self::BATCH].rows(row..row + 1)
    }
}

impl DataLoader<Batch> for HeldOut {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        Box::new(HeldOutPass {
            held_out: self,
            done: 0,
        })
    }

    fn num_items(&self) -> usize {
        self.batches.len()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(Self {
            device: device.clone(),
            ..self.clone()
        })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(self.part(start, end))
    }
}

struct HeldOutPass<'a> {
    held_out: &'a HeldOut,
    done: usize,
}

impl Iterator for HeldOutPass<'_> {
    type Item = Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let HeldOut {
            task,
            device,
            batches,
        } = self.held_out;
        let host = batches.get(self.done)?;
        self.done += 1;
        Some(Ok(host.to(&**task, device)))
    }
}

impl DataLoaderIterator<Batch> for HeldOutPass<'_> {
    fn progress(&self) -> Progress {
        Progress::new(
            self.done,
            self.held_out.num_items(),
            Some("batches".to_string()),
        )
    }
}

/// The held-out data where the schedule says to look at it, nothing at the other pauses: burn-train
/// goes through it at each of them.
#[derive(Clone)]
pub struct Looks {
    /// The training data, which knows the updates made.
    pub fresh: FreshBatches,
    /// What is looked at.
    pub held_out: HeldOut,
}

impl DataLoader<Batch> for Looks {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        let done = match self.fresh.take_look() {
            true => 0,
            false => self.held_out.num_items(),
        };
        Box::new(HeldOutPass {
            held_out: &self.held_out,
            done,
        })
    }

    fn num_items(&self) -> usize {
        self.held_out.num_items()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        let held_out = HeldOut {
            device: device.clone(),
            ..self.held_out.clone()
        };
        Arc::new(Self {
            held_out,
            ..self.clone()
        })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Batch>> {
        let held_out = self.held_out.part(start, end);
        Arc::new(Self {
            held_out,
            ..self.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::TaskName;
    use burn::data::dataloader::split::split_dataloader;

    fn from(position: Position, seed: u64, updates: usize, stop: &Interrupter) -> FreshBatches {
        let schedule = Schedule {
            updates,
            eval_every: 3,
            checkpoint_every: 2,
        };
        let task = TaskName::Adding.with_gap(5);
        FreshBatches::new(
            task,
            (4, 1),
            schedule,
            seed,
            position,
            &Device::flex(),
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
            [0, 3, 6, 7].map(|made| loader.schedule.pauses_after(made)),
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
            let task = TaskName::DigitsRows.with_gap(0);
            inputs(&HeldOut::new(task, seed, &Device::flex())).concat()
        };
        let test = held_out(1);
        assert_eq!(test, held_out(2));
        let task = TaskName::DigitsRows.with_gap(0);
        assert_eq!(test.len(), 360 * 64);
        for index in [0, 249, 250, 359] {
            let (mut input, mut target) = ([0.0; 64], [0.0]);
            let mut rng = random_numbers(3, Stream::HeldOut);
            task.held_out_sample(index, &mut rng, &mut input, &mut target);
            assert_eq!(test[64 * index..][..64], input);
        }
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
        let stop = Interrupter::new();
        let whole = fresh(1, 7);
        let cut = FreshBatches::new(
            whole.task.clone(),
            (4, 3),
            whole.schedule,
            1,
            Position::default(),
            &Device::flex(),
            &stop,
        );
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
        let task = TaskName::Adding.with_gap(5);
        let schedule = Schedule {
            updates: 7,
            eval_every: 7,
            checkpoint_every: 7,
        };
        let cut = FreshBatches::new(
            task,
            (4, 2),
            schedule,
            1,
            Position::default(),
            &Device::flex(),
            &stop,
        );
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
    fn held_out_data_is_looked_at_once_where_the_schedule_says() {
        let fresh = fresh(1, 7);
        let task = TaskName::Adding.with_gap(5);
        let looks = Looks {
            held_out: HeldOut::new(task, 1, &Device::flex()),
            fresh: fresh.clone(),
        };
        let mut looked = vec![];
        while !inputs(&fresh).is_empty() {
            if !inputs(&looks).is_empty() {
                looked.push(fresh.position().updates);
            }
            assert!(inputs(&looks).is_empty(), "twice after the same update");
        }
        assert_eq!(looked, [3, 6, 7]);
    }

    #[test]
    fn a_seed_gives_the_same_batches_twice_and_held_out_data_of_its_own() {
        assert_eq!(inputs(&fresh(1, 3)), inputs(&fresh(1, 3)));
        assert_ne!(inputs(&fresh(1, 3)), inputs(&fresh(2, 3)));
        let task = TaskName::Adding.with_gap(5);
        let held_out = HeldOut::new(task, 1, &Device::flex());
        let first = inputs(&held_out);
        assert_eq!(first, inputs(&held_out));
        assert_eq!(first.iter().map(Vec::len).sum::<usize>(), 2_000 * 10 * 2);
        let training = inputs(&fresh(1, 3));
        assert_ne!(first[0][..20], training[0][..20]);
    }
}
