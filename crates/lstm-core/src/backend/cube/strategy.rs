//! How a recurrence runs on a device: in launches of many steps, or a step a launch.

use super::buffers::Sizes;
use burn_cubecl::cubecl::client::Client;
use burn_cubecl::cubecl::prelude::*;

/// Hidden units of a sequence kernel, at most. A workgroup reads all recurrent weights in each step; with
/// more of them that is left to the products of the step kernels, which share them among all rows.
///
/// Measured on lavapipe (B=32, T=50, I=H/2), forward and backward in ms, sequence and step kernels: 80 and
/// 97 at H=64, 259 and 220 at 128, 945 and 626 at 256. There a launch costs next to nothing, so the switch
/// would be at 128; on a GPU two launches a step cost about what it takes to read the weights of 256 units
/// (1 MiB) from its cache. Not yet measured on one.
const UNITS: usize = 256;
/// Threads of a workgroup, at most.
const THREADS: usize = 256;
/// Rows of a workgroup, at most; each weight that is read serves all of them. Not yet measured on a GPU,
/// where fewer would keep more of it busy.
const ROWS: usize = 4;
/// Multiplications of a launch, at most: drivers end launches that take seconds, on Windows two of them.
/// Lavapipe, slower than any GPU, does 1.5 to 2 thousand million a second on two cores.
const WORK: usize = 1 << 31;
/// Rows of a thread of the step kernels.
pub const ROWS_OF_A_STEP: usize = 1;

/// How a recurrence runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Each launch walks over so many steps.
    Sequence {
        /// Steps of a launch.
        steps: usize,
        /// Rows of a workgroup, a power of two.
        rows: usize,
        /// Threads of a workgroup.
        threads: usize,
    },
    /// For each step a matrix product, and a launch for everything else.
    Step,
}

impl Strategy {
    /// The one for a recurrence on a device.
    pub fn of(client: &Client, sizes: Sizes) -> Self {
        let Sizes {
            batch,
            units,
            counts,
            ..
        } = sizes;
        let gates = counts.spec.recurrent_gates.len();
        let hardware = &client.properties().hardware;
        let room = hardware.max_shared_memory_size / (counts.shared() * units * size_of::<f32>());
        let rows = room.min(ROWS).min(batch.next_power_of_two());
        let Some(rows) = rows.checked_ilog2().map(|log| 1 << log) else {
            return Self::Step;
        };
        let workgroups = batch.div_ceil(rows);
        if units > UNITS || workgroups > hardware.max_cube_count.0 as usize {
            return Self::Step;
        }
        let work_of_a_step = workgroups * rows * gates * units * units;
        Self::Sequence {
            steps: (WORK / work_of_a_step).max(1),
            rows,
            threads: units.min(THREADS).min(hardware.max_units_per_cube as usize),
        }
    }
}

/// The steps of each launch, from and to before, out of `time`.
pub fn launches(time: usize, steps: usize) -> impl Iterator<Item = (usize, usize)> {
    let begins = (0..time).step_by(steps);
    begins.map(move |begin| (begin, (begin + steps).min(time)))
}

/// The grid of a sequence kernel.
pub fn grid(batch: usize, rows: usize, threads: usize) -> (CubeCount, CubeDim) {
    let workgroups = batch.div_ceil(rows);
    (
        CubeCount::new_1d(workgroups as u32),
        CubeDim::new_1d(threads as u32),
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

    #[test]
    fn launches_cover_all_steps_once() {
        let all: Vec<_> = launches(10, 4).collect();
        assert_eq!(all, [(0, 4), (4, 8), (8, 10)]);
        assert_eq!(launches(3, 5).collect::<Vec<_>>(), [(0, 3)]);
    }
}
