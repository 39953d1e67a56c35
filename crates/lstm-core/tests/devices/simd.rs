//! Instruction sets that a processor may lack.

/// As `LSTM_CORE_SIMD` names them, each with all before it.
const ALL: [&str; 4] = ["portable", "avx2", "avx512", "avx512bf16"];

/// Says that tests with an instruction set are left out, for want of it.
///
/// # Panics
///
/// If `LSTM_CORE_REQUIRE_SIMD` names it, or one that comes after it.
pub fn skip(name: &str) {
    let place = |name: &str| ALL.iter().position(|other| *other == name);
    if let Ok(required) = std::env::var("LSTM_CORE_REQUIRE_SIMD") {
        let most = place(&required);
        assert!(
            most.is_some() && place(name) > most,
            "LSTM_CORE_REQUIRE_SIMD={required}: of {ALL:?} this processor doesn't have {name}"
        );
    }
    println!("skipped {name}: this processor doesn't have it");
}
