//! How a recurrence runs on a device: in launches of many steps, or a step a launch.
//!
//! # Arithmetic for an H100
//!
//! No GPU has run these kernels yet. So the choices below come from counting, for an LSTM's forward pass in float32 on
//! 132 multiprocessors at 1.7 GHz, each with 128 multiplications a clock, 64 thousand registers, and 64 bytes a clock
//! from the cache that all share, which gives 5.5 TB/s in all. Per step:
//!
//! | H | B | rows | workgroups × threads | `R`, read from | multiplications | `R`, one workgroup | `R`, all | other memory |
//! | --- | --- | --- | --- | --- | --- | --- | --- | --- |
//! | 64 | 16 | 1 | 16 × 512 | 64 KiB, registers | 0.08 µs | 0 | 0 | 0.02 µs |
//! | 64 | 64 | 1 | 64 × 512 | 64 KiB, registers | 0.08 µs | 0 | 0 | 0.06 µs |
//! | 64 | 256 | 2 | 128 × 512 | 64 KiB, registers | 0.15 µs | 0 | 0 | 0.24 µs |
//! | 128 | 16 | 1 | 16 × 1024 | 256 KiB, cache | 0.3 µs | 2.4 µs | 0.8 µs | 0.03 µs |
//! | 128 | 64 | 2 | 32 × 1024 | 256 KiB, cache | 0.6 µs | 2.4 µs | 1.5 µs | 0.12 µs |
//! | 128 | 256 | 4 | 64 × 1024 | 256 KiB, cache | 1.2 µs | 2.4 µs | 3.0 µs | 0.5 µs |
//! | 256 | 16 | 1 | 16 × 1024 | 1 MiB, cache | 1.2 µs | 9.6 µs | 3.0 µs | 0.06 µs |
//! | 256 | 64 | 2 | 32 × 1024 | 1 MiB, cache | 2.4 µs | 9.6 µs | 6.1 µs | 0.24 µs |
//! | 256 | 256 | 4 | 64 × 1024 | 1 MiB, cache | 4.8 µs | 9.6 µs | 12 µs | 1.0 µs |
//!
//! - A step has to wait besides, whatever its size, for two or three meetings of the workgroup, for the nonlinearities,
//!   which follow one from another, and for what it reads: some 0.3 µs. That is what bounds 64 units. (The input's sums
//!   are asked for before the product, so that their way from memory, 0.4 µs, is not part of it.)
//! - With a thread for each unit, 64 units are two warps for four schedulers, each with 1,300 instructions one after
//!   another: 0.8 µs, with most of a multiprocessor idle. Eight threads a unit have the work of a few dozen
//!   instructions each, and 32 weights, which stay in registers.
//! - The weights of 128 units, 256 KiB, are as many as a multiprocessor has registers. So they come from the cache in
//!   each step, and that bounds it. To have its 64 bytes a clock, 16 KiB must be on their way at any time: a thousand
//!   threads with four reads each. Reading four numbers at a time would ask for the same bytes by fewer instructions,
//!   which are not what there is too little of.
//! - More rows a workgroup cost that bound nothing, until their multiplications take as long, at eight rows; and
//!   more workgroups than a third of the multiprocessors read more than the cache gives. Where the weights
//!   are in registers, rows are spread over all multiprocessors.
//! - Units of one row on several multiprocessors would share the weights, but have to meet in each step, which
//!   no runtime but CUDA's has within a launch.

use super::buffers::Sizes;
use super::shared_product::Cut;
use burn_cubecl::cubecl::client::Client;
use burn_cubecl::cubecl::ir::DeviceProperties;
use burn_cubecl::cubecl::prelude::*;

/// Hidden units of a sequence kernel, at most. A workgroup reads all recurrent weights in each step; with
/// more of them that is left to the products of the step kernels, which share them among all rows.
///
/// Measured on lavapipe (B=32, T=50, I=H/2), forward and backward in ms, sequence and step kernels: 80 and
/// 97 at H=64, 259 and 220 at 128, 945 and 626 at 256. There a launch costs next to nothing, so the switch
/// would be at 128. On a GPU the two launches of a step take 5 to 10 µs through wgpu, about what the
/// [arithmetic](self#arithmetic-for-an-h100) has for a step of 256 units. Not yet measured on one.
const UNITS: usize = 256;
/// Rows of a workgroup, at most; each weight that is read serves all of them.
const ROWS: usize = 4;
/// Multiplications of a launch, at most: drivers end launches that take seconds, on Windows two of them.
/// Lavapipe, slower than any GPU, does 1.5 to 2 thousand million a second on two cores.
const WORK: usize = 1 << 31;
/// Rows of a thread of the step kernels.
pub const ROWS_OF_A_STEP: usize = 1;
/// Threads of a workgroup, at most.
const THREADS: usize = 1024;
/// Those where each thread has a unit, or several.
const THREADS_OF_UNITS: usize = 256;
/// Multiprocessors of a GPU that doesn't tell, as none does through wgpu. Most that compute have 20 to 140.
const MULTIPROCESSORS: usize = 64;
/// Threads of a unit, at most: the sum over them is one thread's work.
const SLICES: usize = 8;
/// Parts of workgroup memory that a kernel may not need, each of which has a number a row then.
const NOT_NEEDED: usize = 5;
/// Weights of a thread in registers, at most; a GPU's threads have 255, or as many as all threads leave each other.
const HELD: usize = 64;
/// Threads of a workgroup that holds its weights, at most: with [`HELD`] half the registers of a multiprocessor.
const THREADS_THAT_HOLD: usize = 512;
/// A cache that all multiprocessors share has enough for one of so many at full rate.
const READERS_OF_THE_CACHE: usize = 3;
/// How a recurrence runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Each launch computes many steps.
    Sequence {
        /// Steps of a launch.
        steps: usize,
        /// Rows of a workgroup, a power of two.
        rows: usize,
        /// How its threads share a step's products.
        cut: Cut,
    },
    /// For each step a matrix product, and a launch for everything else.
    Step,
}

/// What the choice depends on.
#[derive(Clone, Copy, Debug)]
struct Device {
    /// Multiprocessors of a GPU, those of [`MULTIPROCESSORS`] if it doesn't tell; 0 of a software adapter.
    multiprocessors: usize,
    /// Bytes of workgroup memory.
    shared_memory: usize,
    /// Threads of a workgroup, at most.
    threads: usize,
    /// Workgroups of a launch, at most.
    workgroups: usize,
}

impl Device {
    fn of(properties: &DeviceProperties) -> Self {
        let hardware = &properties.hardware;
        // (A software adapter is no physical device.)
        let multiprocessors = match hardware.num_streaming_multiprocessors {
            _ if properties.identity.physical.is_none() => 0,
            Some(multiprocessors) => multiprocessors as usize,
            None => MULTIPROCESSORS,
        };
        Self {
            multiprocessors,
            shared_memory: hardware.max_shared_memory_size,
            threads: hardware.max_units_per_cube as usize,
            workgroups: hardware.max_cube_count.0 as usize,
        }
    }

    /// The threads of a workgroup and the rows that are best for them, for which there may be no room.
    fn wanted(self, sizes: Sizes) -> (usize, Cut) {
        let Sizes {
            batch,
            units,
            counts,
            ..
        } = sizes;
        let whole = Cut {
            lanes: units.min(THREADS_OF_UNITS).min(self.threads),
            slices: 1,
            held: false,
        };
        if self.multiprocessors == 0 || whole.lanes < units {
            return (ROWS.min(batch.next_power_of_two()), whole);
        }
        let rows = |workgroups: usize| batch.div_ceil(workgroups.max(1)).next_power_of_two();
        let slices = |threads: usize| (threads.min(self.threads) / units).max(1);
        let largest = |slices: usize| 1 << slices.min(SLICES).ilog2();
        let gates = counts.spec.recurrent_width();
        let held = Cut {
            slices: largest(slices(THREADS_THAT_HOLD)),
            held: true,
            ..whole
        };
        if units % held.slices == 0 && gates * units / held.slices <= HELD {
            return (rows(self.multiprocessors).min(ROWS), held);
        }
        let through_cache = Cut {
            slices: largest(slices(THREADS)),
            ..whole
        };
        let workgroups = self.multiprocessors / READERS_OF_THE_CACHE;
        (rows(workgroups).min(ROWS), through_cache)
    }

    /// The strategy for a recurrence.
    fn strategy(self, sizes: Sizes) -> Strategy {
        let Sizes {
            batch,
            units,
            counts,
            ..
        } = sizes;
        let gates = counts.spec.recurrent_width();
        let (rows, mut cut) = self.wanted(sizes);
        // Bytes of a row: what the kernels need, the parts of products that threads share, and what stands for what isn't
        // needed.
        let of_a_row = |cut: Cut| {
            let parts = match cut.slices {
                1 => 0,
                slices => slices * counts.spec.recurrent_gates.len(),
            };
            ((counts.shared() + parts) * units + NOT_NEEDED) * size_of::<f32>()
        };
        // Rows before slices: of a row more each weight serves all threads.
        while cut.slices > 1 && !cut.held && rows * of_a_row(cut) > self.shared_memory {
            cut.slices /= 2;
        }
        let room = self.shared_memory / of_a_row(cut);
        let Some(rows) = rows.min(room).checked_ilog2().map(|log| 1 << log) else {
            return Strategy::Step;
        };
        let workgroups = batch.div_ceil(rows);
        if units > UNITS || workgroups > self.workgroups {
            return Strategy::Step;
        }
        let work_of_a_step = workgroups * rows * gates * units * units;
        Strategy::Sequence {
            steps: (WORK / work_of_a_step).max(1),
            rows,
            cut,
        }
    }
}

impl Strategy {
    /// The one for a recurrence on a device.
    pub fn of(client: &Client, sizes: Sizes) -> Self {
        Device::of(client.properties()).strategy(sizes)
    }
}

/// The steps of each launch, from and to before, out of `time`.
pub fn launches(time: usize, steps: usize) -> impl Iterator<Item = (usize, usize)> {
    let begins = (0..time).step_by(steps);
    begins.map(move |begin| (begin, (begin + steps).min(time)))
}

/// The grid of a sequence kernel.
pub fn grid(batch: usize, rows: usize, cut: Cut) -> (CubeCount, CubeDim) {
    let workgroups = batch.div_ceil(rows);
    (
        CubeCount::new_1d(workgroups as u32),
        CubeDim::new_1d(cut.threads() as u32),
    )
}

/// The grid of a step kernel.
pub fn grid_of_a_step(client: &Client, batch: usize, units: usize) -> (CubeCount, CubeDim) {
    let threads = batch.div_ceil(ROWS_OF_A_STEP) * units;
    let workgroup = CubeDim::new(client, threads);
    let count = burn_cubecl::cubecl::calculate_cube_count_elemwise(client, threads, workgroup);
    (count, workgroup)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cube::cell::{Counts, Drawn};
    use crate::ops::{CellKind, LstmKind, SLstmKind};

    /// As the module's table says.
    #[test]
    fn strategies_for_an_h100() {
        let h100 = Device {
            multiprocessors: 132,
            shared_memory: 227 << 10,
            threads: 1024,
            workgroups: 1 << 30,
        };
        let counts = Counts::new(CellKind::Lstm(LstmKind::USUAL), Drawn::NOTHING);
        for (units, threads, held) in [(64, 512, true), (128, 1024, false), (256, 1024, false)] {
            let rows = match held {
                true => [1, 1, 2],
                false => [1, 2, 4],
            };
            for (batch, want) in [16, 64, 256].into_iter().zip(rows) {
                let sizes = Sizes::new([batch, 100, units], counts);
                let Strategy::Sequence { rows, cut, .. } = h100.strategy(sizes) else {
                    panic!("{units} units, {batch} rows: step by step");
                };
                let got = (rows, cut.threads(), cut.held);
                assert_eq!(got, (want, threads, held), "{units} units, {batch} rows");
            }
        }
    }

    /// A thread a unit and the most rows, as measured, where an adapter is in software.
    #[test]
    fn a_software_adapter_has_no_use_for_more_threads() {
        let lavapipe = Device {
            multiprocessors: 0,
            shared_memory: 32 << 10,
            threads: 1024,
            workgroups: 1 << 16,
        };
        let counts = Counts::new(CellKind::Lstm(LstmKind::USUAL), Drawn::NOTHING);
        let strategy = lavapipe.strategy(Sizes::new([64, 100, 128], counts));
        let Strategy::Sequence { rows, cut, .. } = strategy else {
            panic!("step by step");
        };
        assert_eq!((rows, cut.threads(), cut.slices), (4, 128, 1));
    }

    /// The largest sum of a kernel's parts is that of an sLSTM backward: eight numbers a unit, and the one part it doesn't
    /// need has one.
    #[test]
    fn what_is_not_needed_has_room() {
        let metal = Device {
            multiprocessors: 32,
            shared_memory: 32 << 10,
            threads: 1024,
            workgroups: 1 << 16,
        };
        let kind = SLstmKind {
            exponential_forget: false,
        };
        let counts = Counts::new(CellKind::SLstm(kind), Drawn::NOTHING);
        let strategy = metal.strategy(Sizes::new([256, 100, 256], counts));
        let Strategy::Sequence { rows, cut, .. } = strategy else {
            panic!("step by step");
        };
        assert_eq!((rows, cut.slices), (2, 1));
        let bytes = |rows: usize| rows * (8 * 256 + 1) * size_of::<f32>();
        assert!(bytes(rows) <= metal.shared_memory && bytes(2 * rows) > metal.shared_memory);
    }

    #[test]
    fn launches_cover_all_steps_once() {
        let all: Vec<_> = launches(10, 4).collect();
        assert_eq!(all, [(0, 4), (4, 8), (8, 10)]);
        assert_eq!(launches(3, 5).collect::<Vec<_>>(), [(0, 3)]);
    }
}
