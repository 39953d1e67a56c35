//! Memory for the kernels.

use super::simd::Number;
use std::marker::PhantomData;
use std::mem::{MaybeUninit, size_of};
use std::ops::Range;

/// Numbers of the kernels' own, in whole cache lines: a vector that straddles two takes twice as long
/// to load.
pub struct Buffer<N> {
    lines: Vec<MaybeUninit<Line>>,
    len: usize,
    numbers: PhantomData<N>,
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [u8; 64]);

impl<N: Number> Buffer<N> {
    /// Room for `len` numbers, with anything in it: to be written before it is read.
    pub fn room(len: usize) -> Self {
        let count = Self::lines(len);
        let mut lines = Vec::with_capacity(count);
        // SAFETY: there is capacity, and what may be uninitialised needs no initialisation.
        unsafe { lines.set_len(count) };
        Self {
            lines,
            len,
            numbers: PhantomData,
        }
    }

    /// Zeros.
    pub fn zeros(len: usize) -> Self {
        Self {
            lines: vec![MaybeUninit::new(Line([0; 64])); Self::lines(len)],
            len,
            numbers: PhantomData,
        }
    }

    /// How many numbers there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many lines hold `len` numbers.
    fn lines(len: usize) -> usize {
        (len * size_of::<N>()).div_ceil(size_of::<Line>())
    }

    /// To be written by several threads.
    pub(super) fn share(&mut self) -> Shared<'_, N> {
        Shared {
            first: self.lines.as_mut_ptr().cast(),
            len: self.len,
            lifetime: PhantomData,
        }
    }

    /// To be read by several threads; nobody may write there.
    pub(super) fn share_to_read(&self) -> Shared<'_, N> {
        Shared {
            first: self.lines.as_ptr().cast::<N>().cast_mut(),
            len: self.len,
            lifetime: PhantomData,
        }
    }
}

/// Runs `write` on room for `len` numbers and returns them.
///
/// # Safety
///
/// `write` must write them all.
pub(super) unsafe fn written<E>(len: usize, write: impl FnOnce(Shared<E>)) -> Vec<E> {
    let mut numbers = Vec::with_capacity(len);
    write(Shared {
        first: numbers.as_mut_ptr(),
        len,
        lifetime: PhantomData,
    });
    // SAFETY: there is capacity, and the caller promises the rest.
    unsafe { numbers.set_len(len) };
    numbers
}

/// Numbers that several threads write, each its own part, and read after they have met.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a, E> {
    first: *mut E,
    len: usize,
    lifetime: PhantomData<&'a mut [E]>,
}

// SAFETY: it only hands out pointers, whose users promise not to write where others read or write.
unsafe impl<E: Send> Send for Shared<'_, E> {}
// SAFETY: as above.
unsafe impl<E: Sync> Sync for Shared<'_, E> {}

impl<'a, E> Shared<'a, E> {
    pub fn new(numbers: &'a mut [E]) -> Self {
        Self {
            first: numbers.as_mut_ptr(),
            len: numbers.len(),
            lifetime: PhantomData,
        }
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Where number `k` lies, or the end.
    pub fn at(&self, k: usize) -> *mut E {
        assert!(k <= self.len);
        // SAFETY: it lies within, as just asserted, or at the end.
        unsafe { self.first.add(k) }
    }

    /// The numbers in `range`.
    ///
    /// # Safety
    ///
    /// They must have been written, and nobody may write there while the slice lives.
    pub unsafe fn read(&self, range: Range<usize>) -> &'a [E] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: it lies within, as just asserted; the caller promises the rest.
        unsafe { std::slice::from_raw_parts(self.first.add(range.start), range.len()) }
    }

    /// The numbers in `range`, to be written.
    ///
    /// # Safety
    ///
    /// Nobody else may read or write there while the slice lives, and what hasn't been written may not
    /// be read.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn write(&self, range: Range<usize>) -> &'a mut [E] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: it lies within, as just asserted; the caller promises the rest.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(range.start), range.len()) }
    }
}
