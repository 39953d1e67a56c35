//! From a task's samples to batches on a device: fresh ones for training, fixed ones held out.

mod batch;
mod fresh;
mod held_out;
mod pauses;

pub use batch::{Batch, Sequence, Target};
pub use fresh::{FreshBatches, Position};
pub use held_out::{Evaluations, HeldOut};
pub use pauses::Pauses;
