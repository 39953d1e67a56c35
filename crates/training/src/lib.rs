//! The laboratory: fits recurrent cells on long-range-dependency tasks and shows, in numbers and pictures, what
//! the LSTM remembers and the plain RNN forgets. The program `training` is its command line.
//!
//! A room is a module here. Each imports only from those below it, which `tests/rooms.rs` holds:
//!
//! | floor | rooms |
//! | --- | --- |
//! | 8 | [`cli`]: arguments, and who does what |
//! | 7 | [`report`]: pictures of sweeps and runs |
//! | 6 | [`sweep`]: many runs; [`inspect`]: what happens inside a model |
//! | 5 | [`run`]: the folder of a run, resuming, evaluating; [`bench`](mod@bench) |
//! | 4 | [`learn`]: model, update, metrics, checkpoints, progress |
//! | 3 | [`data`]: batches; [`device`]; `weights`: what is in files of others |
//! | 2 | [`settings`]: options and what is refused; [`draw`]: pictures over plotters |
//! | 1 | [`task`]: the tasks, a file each |
//! | 0 | [`names`], [`text`], [`stats`], [`files`] |

pub mod bench;
pub mod cli;
pub mod data;
pub mod device;
pub mod draw;
pub mod files;
pub mod inspect;
pub mod learn;
pub mod names;
pub mod report;
pub mod run;
pub mod settings;
pub mod stats;
pub mod sweep;
pub mod task;
pub mod text;
#[cfg(feature = "files")]
pub mod weights;
