//! Products of pairs of bfloat16, which round what other kernels don't.

/// Whether the kernels multiply pairs of bfloat16 here.
pub fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let chosen = std::env::var("LSTM_CORE_SIMD").is_ok_and(|name| name != "avx512bf16");
        is_x86_feature_detected!("avx512bf16") && !chosen
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}
