//! Threads of the kernels in orders that shuttle chooses: a team that meets, helpers that come, leave and are late by
//! the clock, and a member that panics. (Shuttle's memory is sequentially consistent; Miri and ThreadSanitizer look at
//! what the hardware may do beyond.)
#![allow(dead_code)]

extern crate shuttled as std;

mod cpu {
    #[path = "../../../../crates/lstm-kernels/src/cpu/cores.rs"]
    mod cores;
    mod orders;
    #[path = "../../../../crates/lstm-kernels/src/cpu/pool.rs"]
    mod pool;
    #[path = "../../../../crates/lstm-kernels/src/cpu/team.rs"]
    mod team;
    pub use orders::all;

    /// As in the kernels.
    #[derive(Clone, Copy)]
    struct Sizes {
        batch: usize,
        time: usize,
        input: usize,
        hidden: usize,
    }

    mod weights {
        /// What a team asks panels for.
        pub struct Panels {
            pub of_members: Vec<std::ops::Range<usize>>,
        }
    }
}

fn main() {
    cpu::all();
}
