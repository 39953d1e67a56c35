//! The shapes that a bench is run at.

/// `[B, T, I, H]` from arguments such as `32,50,2,64`, or the defaults; other arguments are cargo's own.
pub fn given_or(defaults: &[[usize; 4]]) -> Vec<[usize; 4]> {
    let given: Vec<_> = std::env::args().skip(1).filter_map(|a| shape(&a)).collect();
    match given.is_empty() {
        true => defaults.to_vec(),
        false => given,
    }
}

fn shape(argument: &str) -> Option<[usize; 4]> {
    let sizes: Result<Vec<_>, _> = argument.split(',').map(str::parse).collect();
    sizes.ok()?.try_into().ok()
}
