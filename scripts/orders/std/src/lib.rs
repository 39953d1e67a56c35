//! The standard library with shuttle's threads, locks and atomics, and a clock that goes by chance.

pub use std::*;

/// As `std::hint`.
pub mod hint {
    pub use shuttle::hint::*;
}

/// As `std::sync`.
pub mod sync {
    pub use shuttle::sync::MutexGuard;
    use std::cell::UnsafeCell;
    use std::ops::Deref;
    use std::sync::atomic::{AtomicUsize, Ordering};
    pub use std::sync::{Arc, OnceLock, PoisonError};

    static EXECUTION: AtomicUsize = AtomicUsize::new(0);

    /// Says that a new execution begins, in which statics are as they were at first. (Shuttle knows of no statics.)
    pub fn begin() {
        EXECUTION.fetch_add(1, Ordering::Relaxed);
    }

    /// One of shuttle's, made anew in each execution.
    struct Fresh<T, V> {
        of: UnsafeCell<(usize, Option<T>)>,
        first: V,
        make: fn(&V) -> T,
    }

    // SAFETY: shuttle runs all its threads on one.
    unsafe impl<T, V> Sync for Fresh<T, V> {}
    // SAFETY: as above.
    unsafe impl<T, V> Send for Fresh<T, V> {}

    impl<T, V> Deref for Fresh<T, V> {
        type Target = T;

        fn deref(&self) -> &T {
            let now = EXECUTION.load(Ordering::Relaxed);
            // SAFETY: all is on one thread, and what another execution had nobody has any more.
            let (execution, of) = unsafe { &mut *self.of.get() };
            if *execution != now || of.is_none() {
                *execution = now;
                // (What was there has its threads no more.)
                std::mem::forget(of.replace((self.make)(&self.first)));
            }
            of.as_ref().expect("just made")
        }
    }

    macro_rules! fresh {
        ($name:ident of $value:ty) => {
            /// As the standard library's.
            pub struct $name(Fresh<shuttle::sync::atomic::$name, $value>);

            impl $name {
                /// With a value, which it also has at the beginning of each execution.
                pub const fn new(first: $value) -> Self {
                    fn make(first: &$value) -> shuttle::sync::atomic::$name {
                        shuttle::sync::atomic::$name::new(*first)
                    }
                    let of = UnsafeCell::new((0, None));
                    Self(Fresh { of, first, make })
                }
            }

            impl Default for $name {
                fn default() -> Self {
                    Self::new(Default::default())
                }
            }

            impl Deref for $name {
                type Target = shuttle::sync::atomic::$name;

                fn deref(&self) -> &Self::Target {
                    &self.0
                }
            }
        };
    }

    mod atomics {
        use super::{Deref, Fresh, UnsafeCell};
        fresh!(AtomicBool of bool);
        fresh!(AtomicU32 of u32);
        fresh!(AtomicU64 of u64);
        fresh!(AtomicUsize of usize);
    }

    /// As `std::sync::atomic`.
    pub mod atomic {
        pub use super::atomics::*;
        pub use std::sync::atomic::Ordering;
    }

    /// As the standard library's, with a default at the beginning of each execution.
    pub struct Mutex<T>(Fresh<shuttle::sync::Mutex<T>, fn() -> T>);

    impl<T: Default> Mutex<T> {
        /// With the default.
        pub const fn new(value: T) -> Self {
            std::mem::forget(value);
            fn make<T>(first: &fn() -> T) -> shuttle::sync::Mutex<T> {
                shuttle::sync::Mutex::new(first())
            }
            let of = UnsafeCell::new((0, None));
            let first: fn() -> T = T::default;
            Self(Fresh { of, first, make })
        }
    }

    impl<T: Default> Default for Mutex<T> {
        fn default() -> Self {
            Self::new(T::default())
        }
    }

    impl<T> Deref for Mutex<T> {
        type Target = shuttle::sync::Mutex<T>;

        fn deref(&self) -> &Self::Target {
            &self.0
        }
    }
}

/// As `std::thread`.
pub mod thread {
    pub use shuttle::thread::*;
    use std::num::NonZeroUsize;

    /// The cores that there would be.
    pub fn available_parallelism() -> std::io::Result<NonZeroUsize> {
        Ok(NonZeroUsize::new(4).expect("not zero"))
    }
}

/// As `std::time`.
pub mod time {
    use shuttle::rand::Rng;
    pub use std::time::Duration;

    use std::sync::atomic::{AtomicU64, Ordering};

    /// Microseconds, which pass when someone looks.
    #[derive(Clone, Copy)]
    pub struct Instant(u64);

    static CLOCK: AtomicU64 = AtomicU64::new(0);

    impl Instant {
        /// Up to 30 µs after the last time; once in a while a millisecond, as after the loss of a core.
        pub fn now() -> Self {
            let mut rng = shuttle::rand::thread_rng();
            let step = match rng.gen_range(0..50) {
                0 => 1_000,
                _ => rng.gen_range(0..30),
            };
            Self(CLOCK.fetch_add(step, Ordering::Relaxed) + step)
        }

        /// Since then.
        pub fn elapsed(&self) -> Duration {
            Duration::from_micros(Self::now().0 - self.0)
        }
    }
}
