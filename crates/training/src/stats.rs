//! Small statistics: what is said of a handful of runs.

/// The middle of the values, or the mean of the two in the middle; `None` if there are none. Values that
/// are not numbers count as the largest.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    let upper = *sorted.get(half)?;
    Some(match sorted.len().is_multiple_of(2) {
        true => (sorted[half - 1] + upper) / 2.0,
        false => upper,
    })
}

/// The median of the updates that `runs` runs took to solve a task, `solved` of which did: those that didn't
/// count as longer than any. `None` if the median is one of those.
pub fn median_until_solved(solved: &[usize], runs: usize) -> Option<f64> {
    let mut times: Vec<f64> = solved.iter().map(|updates| *updates as f64).collect();
    times.resize(runs.max(solved.len()), f64::INFINITY);
    median(&times).filter(|updates| updates.is_finite())
}

/// The 95 % confidence interval of a share, `hits` of `count` (Wilson 1927). Unlike the textbook's
/// interval around the share it stays within [0, 1] and is not of width zero at 0 or `count` hits, which
/// is what sweeps of a few seeds see most.
pub fn wilson(hits: usize, count: usize) -> (f64, f64) {
    /// The normal distribution's 97.5 % quantile.
    const Z: f64 = 1.959_963_984_540_054;
    if count == 0 {
        return (0.0, 1.0);
    }
    let n = count as f64;
    let share = hits as f64 / n;
    let z2 = Z * Z;
    let middle = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[5.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[f64::NAN, 1.0, 2.0]), Some(2.0));
    }

    #[test]
    fn unsolved_runs_count_as_longest() {
        assert_eq!(median_until_solved(&[300, 100], 3), Some(300.0));
        assert_eq!(median_until_solved(&[300, 100], 4), None);
        assert_eq!(median_until_solved(&[100], 3), None);
        assert_eq!(median_until_solved(&[], 0), None);
        assert_eq!(median_until_solved(&[100, 200], 2), Some(150.0));
    }

    /// Against values computed with statsmodels' `proportion_confint(hits, count, method="wilson")`.
    #[test]
    fn wilson_intervals_are_the_published_ones() {
        for (hits, count, low, high) in [
            (0, 5, 0.0, 0.434_482_464_783_174_87),
            (5, 5, 0.565_517_535_216_825_2, 1.0),
            (3, 5, 0.230_724_281_276_012_9, 0.882_379_225_767_352_2),
            (7, 10, 0.396_778_147_461_544_05, 0.892_208_732_593_926_4),
        ] {
            let (l, h) = wilson(hits, count);
            assert!((l - low).abs() < 1e-9 && (h - high).abs() < 1e-9, "{l} {h}");
        }
        assert_eq!(wilson(0, 0), (0.0, 1.0));
    }
}
