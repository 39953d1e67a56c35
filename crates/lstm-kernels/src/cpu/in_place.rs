//! Few rows, few steps: the weights are read in place, without packing.
//!
//! Packing costs about as much as a few passes over the weights. With fewer passes, as in a single step, the cost is
//! that of reading each weight once and in memory order. The sums are added in the order of the
//! packed product and have the same bits, but for a single step on several threads: each adds up what some rows of the
//! weights give. Those sums, and the gradients, differ from those by packed weights in rounding.

use super::Recurrence;
use super::cell::Rows;
use super::element::Element;
use super::memory::Shared;
use super::simd::{Kernel, Simd, Vector, vectors};
use super::team::{BLOCK, Plan};
use std::ops::Range;

/// Rows of a batch that share one pass over the weights.
const TOGETHER: usize = 4;

impl<E: Element> Recurrence<'_, E> {
    /// Whether packing the weights would cost more than it saves.
    ///
    /// Measured on two AVX-512 cores with 1 MiB of L2 each, LSTM inference, in place against packed, in µs: 27 and 27 at
    /// B,T,I,H = 1,4,128,128; 77 to 88 and 76 to 148 at 1,4,256,256; 139 and 108 at 1,8,256,256; 88 and 105 at
    /// 16,1,256,256; 439 and 715 at 1,8,512,512; 970 and 1,147 at 1,16,512,512; 2,590 and 3,364 at 1,16,64,1024; 5,316
    /// and 4,746 at 1,32,64,1024. Weights that fit no core's cache are read from farther away in every step, packed or
    /// not.
    pub(super) fn in_place(&self) -> bool {
        /// Passes over the weights.
        const PASSES: usize = 4;
        /// The same for weights of which there are more than [`MANY`].
        const PASSES_OF_MANY: usize = 16;
        const MANY: usize = 1_500_000;
        let sizes = self.sizes;
        let passes = match sizes.depth() * sizes.hidden * self.spec.sums() > MANY {
            true => PASSES_OF_MANY,
            false => PASSES,
        };
        sizes.batch.div_ceil(TOGETHER) * sizes.time <= passes && !self.by_gates()
    }

    /// Whether it is a single step in which threads needn't meet, with weights in place.
    pub(super) fn is_one_step(&self) -> bool {
        self.sizes.time == 1 && self.spec.second.is_none() && self.in_place()
    }
}

/// In how many slices the weights of a single step are multiplied. That depends on the threads of the plan, not on
/// those that come: the same bits however many do.
pub(super) fn slices(plan: &Plan) -> usize {
    /// What a thread that comes late takes over is little then, and so is what others wait for at the end.
    const OF_A_THREAD: usize = 4;
    match plan.threads() {
        1 => 1,
        threads => threads * OF_A_THREAD,
    }
}

/// The weights of neighbouring units. Their sums, and the gradients of those, are rows `[S, units]`.
pub(super) struct InPlace<'a, E: Element> {
    pub recurrence: &'a Recurrence<'a, E>,
    /// The units, those that fill the last block included.
    pub units: Range<usize>,
}

impl<E: Element> InPlace<'_, E> {
    /// The units without those that fill the last block.
    fn real(&self) -> usize {
        self.units.end.min(self.recurrence.sizes.hidden) - self.units.start
    }

    /// The columns of these units of some gates in a matrix, and their sums, the first of which is number `sum`. What
    /// lies side by side in both is one window.
    fn windows(&self, gates: &[usize], sum: usize) -> Vec<Window> {
        let mut windows: Vec<Window> = Vec::with_capacity(gates.len());
        for (gate, sum) in gates.iter().zip(sum..) {
            let window = Window {
                column: gate * self.recurrence.sizes.hidden + self.units.start,
                sum: sum * self.units.len(),
                columns: self.real(),
            };
            match windows.last_mut() {
                Some(last) if last.ends_at(&window) => last.columns += window.columns,
                _ => windows.push(window),
            }
        }
        windows
    }

    fn of_input(&self) -> Matrix<'_, E> {
        let spec = &self.recurrence.spec;
        Matrix {
            numbers: self.recurrence.weights.input,
            width: spec.input_gates.len() * self.recurrence.sizes.hidden,
            windows: self.windows(spec.input_gates, 0),
        }
    }

    fn of_recurrent(&self) -> Matrix<'_, E> {
        let spec = &self.recurrence.spec;
        self.recurrent(self.windows(spec.recurrent_gates, spec.first_recurrent()))
    }

    fn recurrent(&self, windows: Vec<Window>) -> Matrix<'_, E> {
        Matrix {
            numbers: self.recurrence.weights.recurrent,
            width: self.recurrence.spec.recurrent_width() * self.recurrence.sizes.hidden,
            windows,
        }
    }

    /// The sums `b + x W + h R` of `count` rows.
    ///
    /// # Safety
    ///
    /// All must be valid for the sizes of the recurrence, and nobody else may use the sums.
    pub unsafe fn sums(
        &self,
        x: Rows<E::Number>,
        h: Rows<E::Number>,
        sums: Rows<E::Number>,
        count: usize,
    ) {
        let sizes = self.recurrence.sizes;
        // SAFETY: the caller's promise.
        unsafe { self.sums_of(0..sizes.input + sizes.hidden, x, h, sums, count) };
    }

    /// What some of the rows of `W` and `R`, `lines` of `[W; R]`, give to the [sums](Self::sums); the first gives the bias.
    ///
    /// # Safety
    ///
    /// As [`sums`](Self::sums).
    pub unsafe fn sums_of(
        &self,
        lines: Range<usize>,
        x: Rows<E::Number>,
        h: Rows<E::Number>,
        sums: Rows<E::Number>,
        count: usize,
    ) {
        let Recurrence { simd, sizes, .. } = *self.recurrence;
        let input = sizes.input;
        let bias = self.windows(self.recurrence.spec.bias, 0);
        let of_input = lines.start.min(input)..lines.end.min(input);
        let of_recurrent = lines.start.max(input) - input..lines.end.max(input) - input;
        // SAFETY: the caller's promise.
        unsafe {
            for row in 0..count {
                if lines.start > 0 {
                    sums.clear(row, self.recurrence.spec.sums() * self.units.len());
                    continue;
                }
                for window in &bias {
                    let from = &self.recurrence.weights.bias[window.column..][..window.columns];
                    let to = sums.at(row, window.sum);
                    let to = std::slice::from_raw_parts_mut(to, from.len());
                    E::read(simd, from, to);
                }
            }
            self.of_input().add(simd, of_input, x, sums, count);
            self.of_recurrent().add(simd, of_recurrent, h, sums, count);
            self.clear_filling(&bias, sums, count);
        }
    }

    /// The product of `count` rows and a gate of `R` alone, `[units]`.
    ///
    /// # Safety
    ///
    /// As [`sums`](Self::sums).
    pub unsafe fn second(
        &self,
        gate: usize,
        read: Rows<E::Number>,
        product: Rows<E::Number>,
        count: usize,
    ) {
        let matrix = self.recurrent(self.windows(&[gate], 0));
        // SAFETY: the caller's promise.
        unsafe {
            (0..count).for_each(|row| product.clear(row, self.units.len()));
            let lines = 0..self.recurrence.sizes.hidden;
            matrix.add(self.recurrence.simd, lines, read, product, count);
            self.clear_filling(&matrix.windows, product, count);
        }
    }

    /// Adds what the gradients of the sums of `count` rows give by `R` transposed to those of the hidden units `lines`,
    /// or by one gate of it.
    ///
    /// # Safety
    ///
    /// As [`sums`](Self::sums); what fills the last block has gradients of zero.
    pub unsafe fn hidden_gradient(
        &self,
        gate: Option<usize>,
        sums: Rows<E::Number>,
        lines: Range<usize>,
        result: Rows<E::Number>,
        count: usize,
    ) {
        let matrix = match gate {
            Some(gate) => self.recurrent(self.windows(&[gate], 0)),
            None => self.of_recurrent(),
        };
        // SAFETY: the caller's promise.
        unsafe { matrix.add_transposed(self.recurrence.simd, sums, lines, result, count) };
    }

    /// Adds the gradient of the input, `[count, I]`.
    ///
    /// # Safety
    ///
    /// As [`hidden_gradient`](Self::hidden_gradient).
    pub unsafe fn input_gradient(
        &self,
        sums: Rows<E::Number>,
        result: Rows<E::Number>,
        count: usize,
    ) {
        let (matrix, lines) = (self.of_input(), 0..self.recurrence.sizes.input);
        // SAFETY: the caller's promise.
        unsafe { matrix.add_transposed(self.recurrence.simd, sums, lines, result, count) };
    }

    /// The gradient of these units' columns `gates` of some rows of a matrix, from `count` rows of what they were
    /// multiplied with, and of the gradients of the sums from number `sum` on.
    ///
    /// # Safety
    ///
    /// As [`sums`](Self::sums).
    pub unsafe fn weight_gradient(
        &self,
        gates: &[usize],
        sum: usize,
        read: Rows<E::Number>,
        sums: Rows<E::Number>,
        count: usize,
        result: &[Shared<E>],
    ) {
        self.recurrence.simd.run(Outer {
            windows: &self.windows(gates, sum),
            read,
            sums,
            count,
            result,
        });
    }

    /// Zeroes the sums of units that fill the last block, into which neighbouring weights have gone.
    ///
    /// # Safety
    ///
    /// As [`sums`](Self::sums).
    unsafe fn clear_filling(&self, windows: &[Window], sums: Rows<E::Number>, count: usize) {
        let (real, all) = (self.real(), self.units.len());
        for row in 0..count {
            for window in windows {
                // SAFETY: the caller's promise.
                unsafe { sums.at(row, window.sum + real).write_bytes(0, all - real) };
            }
        }
    }
}

/// Some columns of a row-major matrix.
struct Matrix<'a, E> {
    numbers: &'a [E],
    /// The matrix' columns.
    width: usize,
    windows: Vec<Window>,
}

/// Neighbouring columns of a matrix, and where their sums lie.
struct Window {
    column: usize,
    sum: usize,
    columns: usize,
}

impl Window {
    /// Whether another begins where it ends, in the matrix and in the sums.
    fn ends_at(&self, next: &Self) -> bool {
        [self.column, self.sum].map(|start| start + self.columns) == [next.column, next.sum]
    }
}

impl<E: Element> Matrix<'_, E> {
    /// Adds the product of its rows `lines` with `count` rows to sums.
    ///
    /// # Safety
    ///
    /// A row has a number for each of the matrix' rows, and a row of sums whole vectors for each window.
    unsafe fn add(
        &self,
        simd: Simd,
        lines: Range<usize>,
        left: Rows<E::Number>,
        sums: Rows<E::Number>,
        count: usize,
    ) {
        for row in (0..count).step_by(TOGETHER) {
            // SAFETY: the caller's promise.
            let (left, sums) = unsafe { (left.from(row), sums.from(row)) };
            let (matrix, lines) = (self, lines.clone());
            match count - row {
                1 => simd.run(Add::<_, 1> {
                    matrix,
                    lines,
                    left,
                    sums,
                }),
                2 => simd.run(Add::<_, 2> {
                    matrix,
                    lines,
                    left,
                    sums,
                }),
                3 => simd.run(Add::<_, 3> {
                    matrix,
                    lines,
                    left,
                    sums,
                }),
                _ => simd.run(Add::<_, TOGETHER> {
                    matrix,
                    lines,
                    left,
                    sums,
                }),
            }
        }
    }

    /// Adds to each column of the result the product of the rows' sums and one of the rows `lines` of the matrix.
    ///
    /// # Safety
    ///
    /// As [`add`](Self::add).
    unsafe fn add_transposed(
        &self,
        simd: Simd,
        sums: Rows<E::Number>,
        lines: Range<usize>,
        result: Rows<E::Number>,
        count: usize,
    ) {
        simd.run(Dots {
            matrix: self,
            sums,
            lines,
            result,
            count,
        });
    }

    /// The first column of a window, less than a vector behind its start, from which vectors lie within cache lines in
    /// all rows; 0 too where there is none. With such vectors a step at I = H = 512 takes two thirds of the time.
    #[inline(always)]
    fn aligned<V: Vector>(&self, row: usize, window: &Window) -> usize {
        let whole = [self.width, window.columns].map(|columns| columns % V::LANES == 0);
        if whole != [true; 2] || window.columns < 2 * V::LANES {
            return 0;
        }
        let first = &self.numbers[row * self.width + window.column..];
        let aligned = first.as_ptr().align_offset(V::LANES * size_of::<E>());
        if aligned < V::LANES { aligned } else { 0 }
    }

    /// A vector of each of the `N` rows from `row` on, from `column` of a window on. Beyond the window's end there are
    /// others' numbers.
    ///
    /// # Safety
    ///
    /// The column must be within the window.
    #[inline(always)]
    unsafe fn load<V: Vector<Number = E::Number>, const N: usize>(
        &self,
        row: usize,
        window: &Window,
        column: usize,
    ) -> [V; N] {
        let first = row * self.width + window.column + column;
        let last = first + (N - 1) * self.width;
        if last + V::LANES <= self.numbers.len() {
            // SAFETY: all lie within, as just asked.
            return vectors!(|n| unsafe {
                E::load(self.numbers.as_ptr().add(first + n * self.width))
            });
        }
        vectors!(|n| {
            let rest = &self.numbers[first + n * self.width..];
            let rest = &rest[..rest.len().min(V::LANES)];
            let mut numbers = [E::default(); BLOCK];
            numbers[..rest.len()].copy_from_slice(rest);
            // SAFETY: a vector is at most a block.
            unsafe { E::load(numbers.as_ptr()) }
        })
    }
}

/// See [`Matrix::add`]; of `R` rows.
struct Add<'a, E: Element, const R: usize> {
    matrix: &'a Matrix<'a, E>,
    lines: Range<usize>,
    left: Rows<E::Number>,
    sums: Rows<E::Number>,
}

impl<E: Element, const R: usize> Kernel for Add<'_, E, R> {
    type Number = E::Number;
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Number = E::Number>>(self) {
        /// The matrix' rows between two writes of the sums.
        const DEPTH: usize = 8;
        let whole = self.lines.end - self.lines.len() % DEPTH;
        for row in (self.lines.start..whole).step_by(DEPTH) {
            self.rows::<V, DEPTH>(row);
        }
        for row in whole..self.lines.end {
            self.rows::<V, 1>(row);
        }
    }
}

impl<E: Element, const R: usize> Add<'_, E, R> {
    /// Adds the products with `N` rows of the matrix.
    #[inline(always)]
    fn rows<V: Vector<Number = E::Number>, const N: usize>(&self, row: usize) {
        for window in &self.matrix.windows {
            // SAFETY: the promise of whoever called `Matrix::add`.
            unsafe {
                let aligned = self.matrix.aligned::<V>(row, window);
                if aligned == 0 {
                    self.columns::<V, N>(row, window, 0..window.columns);
                    continue;
                }
                // The first and the last vector overlap others, so they start with the sums from before.
                let last = window.columns - V::LANES;
                let (second, of_last) = (self.sums(window, aligned), self.sums(window, last));
                self.column::<V, N>(row, window, 0, self.sums(window, 0));
                self.column::<V, N>(row, window, aligned, second);
                self.columns::<V, N>(row, window, aligned + V::LANES..last);
                self.column::<V, N>(row, window, last, of_last);
            }
        }
    }

    /// Adds to the sums of neighbouring columns: of each row of the matrix, several vectors one after another, for so
    /// many sums as there are registers. (A vector of each row in turn has the processor fetch from as many places at
    /// once: a step at I = H = 512 takes 1.15 times as long then, one at 1,024 between 1.4 and 2.4 times.)
    ///
    /// # Safety
    ///
    /// As [`Matrix::add`]; the columns must be within the window.
    #[inline(always)]
    unsafe fn columns<V: Vector<Number = E::Number>, const N: usize>(
        &self,
        row: usize,
        window: &Window,
        columns: Range<usize>,
    ) {
        let end = columns.end;
        // With 512 bits there are 32 registers, else 16.
        // SAFETY: the caller's promise.
        unsafe {
            let rest = match (size_of::<V>(), R) {
                (64, 1) => self.tiles::<V, N, 16>(row, window, columns),
                (64, 2) | (_, 1) => self.tiles::<V, N, 8>(row, window, columns),
                (64, _) | (_, 2) => self.tiles::<V, N, 4>(row, window, columns),
                _ => self.tiles::<V, N, 2>(row, window, columns),
            };
            for column in (rest..end).step_by(V::LANES) {
                self.column::<V, N>(row, window, column, self.sums(window, column));
            }
        }
    }

    /// Adds to the sums of `K` vectors of columns, as often as there are as many, and gives the column where that ends.
    ///
    /// # Safety
    ///
    /// As [`columns`](Self::columns).
    #[inline(always)]
    unsafe fn tiles<V: Vector<Number = E::Number>, const N: usize, const K: usize>(
        &self,
        row: usize,
        window: &Window,
        columns: Range<usize>,
    ) -> usize {
        let Matrix { numbers, width, .. } = *self.matrix;
        let mut column = columns.start;
        while column + K * V::LANES <= columns.end {
            let first = row * width + window.column + column;
            // SAFETY: the columns are within the window, and so is what is read and written.
            unsafe {
                let mut sums = [[V::splat(0.0); R]; K];
                for (k, sums) in sums.iter_mut().enumerate() {
                    *sums = self.sums(window, column + k * V::LANES);
                }
                for n in 0..N {
                    let left: [V; R] = vectors!(|r| V::fill(*self.left.at(r, row + n)));
                    for (k, sums) in sums.iter_mut().enumerate() {
                        let at = first + n * width + k * V::LANES;
                        let right = E::load(numbers.as_ptr().add(at));
                        for (sum, left) in sums.iter_mut().zip(left) {
                            *sum = left.mul_add(right, *sum);
                        }
                    }
                }
                for (k, sums) in sums.into_iter().enumerate() {
                    for (r, sum) in sums.into_iter().enumerate() {
                        sum.store(self.sums.at(r, window.sum + column + k * V::LANES));
                    }
                }
            }
            column += K * V::LANES;
        }
        column
    }

    /// The sums of a vector of columns.
    ///
    /// # Safety
    ///
    /// As [`Matrix::add`]; the column must be within the window.
    #[inline(always)]
    unsafe fn sums<V: Vector<Number = E::Number>>(&self, window: &Window, column: usize) -> [V; R] {
        // SAFETY: the caller's promise.
        vectors!(|r| unsafe { V::load(self.sums.at(r, window.sum + column)) })
    }

    /// Adds to the sums of a vector of columns, which were `sums`.
    ///
    /// # Safety
    ///
    /// As [`Matrix::add`]; the column must be within the window.
    #[inline(always)]
    unsafe fn column<V: Vector<Number = E::Number>, const N: usize>(
        &self,
        row: usize,
        window: &Window,
        column: usize,
        sums: [V; R],
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let right: [V; N] = self.matrix.load(row, window, column);
            for (r, mut sum) in sums.into_iter().enumerate() {
                for (n, right) in right.into_iter().enumerate() {
                    sum = V::fill(*self.left.at(r, row + n)).mul_add(right, sum);
                }
                sum.store(self.sums.at(r, window.sum + column));
            }
        }
    }
}

/// See [`Matrix::add_transposed`].
struct Dots<'a, E: Element> {
    matrix: &'a Matrix<'a, E>,
    sums: Rows<E::Number>,
    lines: Range<usize>,
    result: Rows<E::Number>,
    count: usize,
}

impl<E: Element> Kernel for Dots<'_, E> {
    type Number = E::Number;
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Number = E::Number>>(self) {
        /// Rows of the matrix at once.
        const LINES: usize = 4;
        let whole = self.lines.end - self.lines.len() % LINES;
        for row in 0..self.count {
            for line in (self.lines.start..whole).step_by(LINES) {
                self.lines::<V, LINES>(row, line);
            }
            for line in whole..self.lines.end {
                self.lines::<V, 1>(row, line);
            }
        }
    }
}

impl<E: Element> Dots<'_, E> {
    #[inline(always)]
    fn lines<V: Vector<Number = E::Number>, const N: usize>(&self, row: usize, line: usize) {
        let mut dots = [V::splat(0.0); N];
        for window in &self.matrix.windows {
            for column in (0..window.columns).step_by(V::LANES) {
                // SAFETY: the promise of whoever called `Matrix::add_transposed`.
                unsafe {
                    let sums = V::load(self.sums.at(row, window.sum + column));
                    let numbers: [V; N] = self.matrix.load(line, window, column);
                    for n in 0..N {
                        dots[n] = sums.mul_add(numbers[n], dots[n]);
                    }
                }
            }
        }
        for (n, dot) in dots.into_iter().enumerate() {
            let mut lanes = [E::Number::default(); BLOCK];
            // SAFETY: a vector is at most a block; and the promise of whoever called `Matrix::add_transposed`.
            unsafe {
                dot.store(lanes.as_mut_ptr());
                *self.result.at(row, line + n) += lanes[..V::LANES].iter().copied().sum();
            }
        }
    }
}

/// See [`InPlace::weight_gradient`].
struct Outer<'a, E: Element> {
    windows: &'a [Window],
    read: Rows<E::Number>,
    sums: Rows<E::Number>,
    count: usize,
    result: &'a [Shared<'a, E>],
}

impl<E: Element> Kernel for Outer<'_, E> {
    type Number = E::Number;
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Number = E::Number>>(self) {
        for (line, result) in self.result.iter().enumerate() {
            for window in self.windows {
                for column in (0..window.columns).step_by(V::LANES) {
                    // SAFETY: the promise of whoever called `InPlace::weight_gradient`.
                    unsafe {
                        let mut gradient = V::splat(0.0);
                        for row in 0..self.count {
                            let sums = V::load(self.sums.at(row, window.sum + column));
                            gradient = V::fill(*self.read.at(row, line)).mul_add(sums, gradient);
                        }
                        let start = window.column + column;
                        let end = window.column + window.columns.min(column + V::LANES);
                        let result = result.write(start..end);
                        if result.len() == V::LANES {
                            E::store(gradient, result.as_mut_ptr());
                        } else {
                            let mut lanes = [E::default(); BLOCK];
                            E::store(gradient, lanes.as_mut_ptr());
                            result.copy_from_slice(&lanes[..result.len()]);
                        }
                    }
                }
            }
        }
    }
}
