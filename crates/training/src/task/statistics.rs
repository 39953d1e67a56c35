//! Draws for the tasks' tests of their own statistics.

use super::rule::Task;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

/// `count` sequences as `(input, target)`.
pub fn draw_all(task: &dyn Task, count: usize) -> Vec<(Vec<f32>, Vec<f32>)> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    (0..count)
        .map(|_| {
            let mut input = vec![0.0; task.length() * task.d_input()];
            let mut target = vec![0.0; task.goal().d_target(task.length())];
            task.sample(&mut rng, &mut input, &mut target);
            (input, target)
        })
        .collect()
}

/// `count` sequences of a task with one target, as `(input, target)`.
pub fn draw(task: &dyn Task, count: usize) -> Vec<(Vec<f32>, f32)> {
    let draws = draw_all(task, count).into_iter();
    draws
        .map(|(input, target)| match target[..] {
            [target] => (input, target),
            _ => panic!("one target expected, got {}", target.len()),
        })
        .collect()
}

/// The index of the one in a one-hot step; panics if the step isn't one-hot.
pub fn one_hot(step: &[f32]) -> usize {
    assert_eq!(step.iter().filter(|v| **v == 1.0).count(), 1);
    assert_eq!(step.iter().filter(|v| **v == 0.0).count(), step.len() - 1);
    step.iter().position(|v| *v == 1.0).unwrap()
}

/// Asserts that a share measured on `count` draws is `expected` within five standard errors.
pub fn assert_share(what: &str, hits: usize, count: usize, expected: f64) {
    let share = hits as f64 / count as f64;
    let error = (expected * (1.0 - expected) / count as f64).sqrt();
    assert!(
        (share - expected).abs() < 5.0 * error,
        "{what}: expected {expected}, got {share}"
    );
}
