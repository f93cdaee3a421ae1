//! A logarithm that has the same bits on every machine, unlike that of a mathematical library.

/// Decimal logarithm of a positive number, from additions, multiplications and divisions alone.
pub(crate) fn log10(value: f64) -> f64 {
    const EXPONENT_BIAS: i64 = 1023;
    const MANTISSA_BITS: u32 = 52;
    if !(value.is_normal() && value > 0.0) {
        return log10(f64::MIN_POSITIVE);
    }
    let bits = value.to_bits();
    let exponent = (bits >> MANTISSA_BITS) as i64 - EXPONENT_BIAS;
    let mantissa = f64::from_bits(bits & ((1 << MANTISSA_BITS) - 1) | (EXPONENT_BIAS as u64) << MANTISSA_BITS);
    // ln m = 2 artanh((m - 1) / (m + 1)); for m below 2 the argument is below 1/3 and 18 terms are enough.
    let z = (mantissa - 1.0) / (mantissa + 1.0);
    let series = (0..18).rev().fold(0.0, |sum, term| sum * z * z + 1.0 / f64::from(2 * term + 1));
    (exponent as f64 * std::f64::consts::LN_2 + 2.0 * z * series) / std::f64::consts::LN_10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "it is what this is compared with")]
    fn logarithms_are_right() {
        for value in [1e-9, 0.5, 1.0, 1.999_999, 2.0, 7.0, 1e3, 123_456.789, 1e15] {
            let difference = log10(value) - value.log10();
            assert!(difference.abs() < 1e-13, "{value}: {difference}");
        }
        assert!(log10(0.0) < -300.0 && log10(f64::NAN) < -300.0);
    }
}
