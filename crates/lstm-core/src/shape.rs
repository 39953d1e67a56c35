//! Checks of shapes and types, whose messages name operation, expected and got.

use burn::tensor::{DType, Device, Tensor};

/// Panics unless `got` is `expected`; `symbols` is the shape in the documentation's letters, such as `[B, H]`.
///
/// For dimensions of any size, `expected` has `got`'s.
#[track_caller]
pub(crate) fn check<const D: usize>(
    operation: &str,
    what: &str,
    symbols: &str,
    expected: [usize; D],
    got: [usize; D],
) {
    assert!(
        expected == got,
        "{operation}: {what} must be {symbols} = {expected:?}, got {got:?}"
    );
}

/// Panics unless an input, `[B, I]` or `[B, T, I]`, has so many features; returns its shape.
#[track_caller]
pub(crate) fn check_input<const D: usize>(
    operation: &str,
    input: &Tensor<D>,
    d_input: usize,
) -> [usize; D] {
    let got = input.dims();
    let mut expected = got;
    expected[D - 1] = d_input;
    let symbols = if D == 2 { "[B, I]" } else { "[B, T, I]" };
    check(operation, "input", symbols, expected, got);
    got
}

/// Panics on a size of 0.
#[track_caller]
pub(crate) fn at_least_one(operation: &str, what: &str, got: usize) {
    assert!(got > 0, "{operation}: {what} must be at least 1, got 0");
}

/// Panics unless a bound, if there is one, is above zero.
#[track_caller]
pub(crate) fn positive(what: &str, bound: Option<f64>) {
    if let Some(bound) = bound {
        assert!(bound > 0.0, "{what} must be above 0, got {bound}");
    }
}

/// Panics unless a tensor is of the input's type.
#[track_caller]
pub(crate) fn check_type(operation: &str, what: &str, input: DType, got: DType) {
    let (expected, got) = (input.name(), got.name());
    assert!(
        expected == got,
        "{operation}: {what} must be {expected} as the input is, got {got}"
    );
}

/// Panics unless a tensor is on the same device as the `others`, with or without autodiff.
#[track_caller]
pub(crate) fn check_device(
    operation: &str,
    what: &str,
    others: &str,
    expected: &Device,
    got: &Device,
) {
    assert!(
        expected == got,
        "{operation}: {what} must be on {expected:?} as the {others}, got {got:?}"
    );
}
