//! Products of matrices, tile by tile.
//!
//! The right factor lies in *panels*: a panel has up to four vectors' worth of columns, row after row, so
//! that a tile reads it from front to back. A tile of the result is kept in registers over the whole
//! depth of the product: [`Simd::tile_rows`] rows by the width of a panel.

use super::cell::Rows;
use super::simd::{Kernel, Number, Simd, Vector, vectors};

/// The widest panel, in vectors.
pub(super) const PANEL_VECTORS: usize = 4;

/// A part of the left factor: `depth` columns of it.
#[derive(Clone, Copy)]
pub(super) struct Left<N> {
    /// The first number of the first row.
    pub first: *const N,
    /// Distance in memory of a row from the one before.
    pub row: usize,
    /// Distance in memory of a column from the one before.
    pub column: usize,
    /// Columns, and rows of the panel that they meet.
    pub depth: usize,
    /// Which of the result's vectors it goes into.
    pub into: Into,
}

impl<N> Left<N> {
    /// Its rows, if their numbers lie side by side.
    pub fn rows(self) -> Rows<N> {
        Rows {
            first: self.first.cast_mut(),
            row: self.row,
        }
    }
}

/// Which vectors of a panel a part of a product has. The panel's rows hold those vectors only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Into {
    /// All.
    All,
    /// All but the last of four.
    First,
    /// All but the first of three or four.
    Last,
    /// One of three or four.
    One(usize),
}

/// What the result of a product starts from.
#[derive(Clone, Copy)]
pub(super) enum Start<N> {
    /// Zero.
    Zero,
    /// One row of a panel's width, the same for all rows of the result.
    Row(*const N),
    /// What stands there already.
    There,
}

/// The product of a left factor, whose parts lie side by side, and a panel.
pub(super) struct Product<'a, N> {
    /// What the result starts from.
    pub start: Start<N>,
    /// The left factor.
    pub left: &'a [Left<N>],
    /// The panel, `[sum of the parts' depths, width]`.
    pub panel: *const N,
    /// Its width in vectors, 1 to [`PANEL_VECTORS`].
    pub vectors: usize,
    /// Distance in memory of a row of the panel from the one before; `None` if it is the width.
    pub panel_row: Option<usize>,
    /// Whether both factors are words of [`pairs`](super::pairs).
    pub pairs: bool,
    /// Rows of the left factor and of the result.
    pub rows: usize,
    /// The first number of the result.
    pub result: *mut N,
    /// Distance in memory of a row of the result from the one before.
    pub result_row: usize,
}

impl<N: Number> Product<'_, N> {
    /// Computes it.
    ///
    /// # Safety
    ///
    /// All pointers must be valid for the sizes given, and nobody else may use the result meanwhile.
    pub unsafe fn run(self, simd: Simd) {
        let mut row = 0;
        for rows in evenly(self.rows, simd.tile_rows()) {
            let tile = Tile {
                product: &self,
                row,
            };
            // SAFETY: the caller's promise.
            unsafe { tile.run(simd, rows, self.vectors) };
            row += rows;
        }
    }
}

/// Cuts `count` into as few parts as can be of at most `most`, as even as can be.
pub(super) fn evenly(count: usize, most: usize) -> impl Iterator<Item = usize> {
    let parts = count.div_ceil(most);
    (0..parts).map(move |part| count / parts + usize::from(part < count % parts))
}

/// The rows of a product from `row` that are computed at once.
#[derive(Clone, Copy)]
struct Tile<'a, N> {
    product: &'a Product<'a, N>,
    row: usize,
}

impl<N: Number> Tile<'_, N> {
    /// # Safety
    ///
    /// As [`Product::run`].
    unsafe fn run(self, simd: Simd, rows: usize, vectors: usize) {
        let split = self.product.left.iter().any(|left| left.into != Into::All);
        let form = match (split, self.product.panel_row) {
            (true, _) => SPLIT,
            (false, Some(_)) => STRIDED,
            (false, None) => PLAIN,
        };
        macro_rules! sizes {
            ($run:ident, $pairs:literal: $($rows:literal)*) => {
                match (rows, vectors, form) {
                    $(($rows, 1, PLAIN) => simd.$run(Sized::<_, $rows, 1, PLAIN, $pairs>(self)),
                    ($rows, 2, PLAIN) => simd.$run(Sized::<_, $rows, 2, PLAIN, $pairs>(self)),
                    ($rows, 3, PLAIN) => simd.$run(Sized::<_, $rows, 3, PLAIN, $pairs>(self)),
                    ($rows, 4, PLAIN) => simd.$run(Sized::<_, $rows, 4, PLAIN, $pairs>(self)),
                    ($rows, 3, SPLIT) => simd.$run(Sized::<_, $rows, 3, SPLIT, $pairs>(self)),
                    ($rows, 4, SPLIT) => simd.$run(Sized::<_, $rows, 4, SPLIT, $pairs>(self)),
                    ($rows, 1, STRIDED) => simd.$run(Sized::<_, $rows, 1, STRIDED, $pairs>(self)),
                    ($rows, 2, STRIDED) => simd.$run(Sized::<_, $rows, 2, STRIDED, $pairs>(self)),
                    ($rows, 3, STRIDED) => simd.$run(Sized::<_, $rows, 3, STRIDED, $pairs>(self)),)*
                    _ => unreachable!("tiles are no larger"),
                }
            };
        }
        match self.product.pairs {
            false => sizes!(run, false: 1 2 3 4 5 6),
            true => sizes!(run_pairs, true: 1 2 3 4 5 6),
        }
    }
}

/// All parts go into all vectors, and the panel's rows follow each other.
const PLAIN: u8 = 0;
/// Parts go into some of three or four vectors.
const SPLIT: u8 = 1;
/// The panel's rows lie apart.
const STRIDED: u8 = 2;

/// A tile of `R` rows and `N` vectors of `X`, of a product of form `F`, of pairs if `P`.
struct Sized<'a, X, const R: usize, const N: usize, const F: u8, const P: bool>(Tile<'a, X>);

/// Adds the product of a part's rows from `row` on and `C` vectors of a panel to the vectors `O..O + C` of a tile,
/// and returns where the panel ends.
///
/// # Safety
///
/// As [`Product::run`].
#[inline(always)]
#[allow(clippy::needless_range_loop)] // The indices run over registers and memory alike.
unsafe fn add_product<
    V: Vector,
    const R: usize,
    const N: usize,
    const O: usize,
    const C: usize,
    const P: bool,
>(
    sums: &mut [[V; N]; R],
    left: &Left<V::Number>,
    row: usize,
    mut panel: *const V::Number,
    panel_row: usize,
) -> *const V::Number {
    // SAFETY, of all below: the caller's promise.
    let mut column = unsafe { left.first.add(row * left.row) };
    for _ in 0..left.depth {
        let right: [V; C] = vectors!(|n| unsafe { V::load(panel.add(n * V::LANES)) });
        for r in 0..R {
            // (Words of bfloat16 lie where those do.)
            let factor = V::fill(unsafe { column.add(r * left.row).read_unaligned() });
            for n in 0..C {
                sums[r][O + n] = match P {
                    true => factor.add_pairs(right[n], sums[r][O + n]),
                    false => factor.mul_add(right[n], sums[r][O + n]),
                };
            }
        }
        unsafe {
            panel = panel.add(panel_row);
            column = column.add(left.column);
        }
    }
    panel
}

impl<X: Number, const R: usize, const N: usize, const F: u8, const P: bool> Kernel
    for Sized<'_, X, R, N, F, P>
{
    type Number = X;
    type Output = ();

    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // The indices run over registers and memory alike.
    fn run<V: Vector<Number = X>>(self) {
        let Tile { product, row } = self.0;
        // SAFETY, of all below: the promise of whoever called `Product::run`.
        let result = |r: usize, n: usize| unsafe {
            product
                .result
                .add((row + r) * product.result_row + n * V::LANES)
        };
        let mut sums = [[V::splat(0.0); N]; R];
        for r in 0..R {
            for n in 0..N {
                sums[r][n] = match product.start {
                    Start::Zero => V::splat(0.0),
                    Start::Row(start) => unsafe { V::load(start.add(n * V::LANES)) },
                    Start::There => unsafe { V::load(result(r, n)) },
                };
            }
        }
        let mut panel = product.panel;
        let panel_row = match F {
            STRIDED => product.panel_row.unwrap_or(N * V::LANES),
            _ => N * V::LANES,
        };
        for left in product.left {
            panel = unsafe {
                macro_rules! add {
                    ($first:literal, $count:tt, $width:expr) => {
                        add_product::<V, R, N, $first, $count, P>(
                            &mut sums, left, row, panel, $width,
                        )
                    };
                }
                if F != SPLIT {
                    add!(0, N, panel_row)
                } else {
                    match left.into {
                        Into::All => add!(0, N, panel_row),
                        Into::First => add!(0, 3, 3 * V::LANES),
                        Into::Last if N == 3 => add!(1, 2, 2 * V::LANES),
                        Into::Last => add!(1, 3, 3 * V::LANES),
                        Into::One(0) => add!(0, 1, V::LANES),
                        Into::One(1) => add!(1, 1, V::LANES),
                        Into::One(2) => add!(2, 1, V::LANES),
                        Into::One(_) => add!(3, 1, V::LANES),
                    }
                }
            };
        }
        for r in 0..R {
            for n in 0..N {
                unsafe { sums[r][n].store(result(r, n)) };
            }
        }
    }
}
