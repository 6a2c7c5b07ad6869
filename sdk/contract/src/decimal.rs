use serde::{Deserialize, Serialize};
/// An exact decimal: `mantissa / 10^scale`, 38 digits at the most.
///
/// Stored as two words, so that a [`crate::Value`] stays 8-byte aligned.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Serialize, Deserialize)]
pub struct Decimal {
    high: i64,
    low: u64,
    scale: u8,
}

/// Why a text or a sum is no decimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecimalError {
    /// Not `[-]digits[.digits]`.
    Syntax(String),
    /// More than 38 digits.
    Overflow,
    /// More digits after the point than the column keeps.
    Scale {
        /// Digits after the point.
        digits: u8,
        /// What the column keeps.
        scale: u8,
    },
}

impl Decimal {
    /// `mantissa / 10^scale`; more than 38 digits is an overflow.
    pub fn new(mantissa: i128, scale: u8) -> Result<Self, DecimalError> {
        let _ = (mantissa, scale);
        todo!()
    }
    /// The digits as a whole number.
    pub fn mantissa(&self) -> i128 {
        todo!()
    }
    /// Digits after the point.
    pub fn scale(&self) -> u8 {
        todo!()
    }
    /// Reads `[-]digits[.digits]`.
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        let _ = text;
        todo!()
    }
    /// The same number with another scale; never rounds.
    pub fn rescale(&self, scale: u8) -> Result<Self, DecimalError> {
        let _ = scale;
        todo!()
    }
    /// The sum, at the larger scale.
    pub fn checked_add(&self, other: &Self) -> Result<Self, DecimalError> {
        let _ = other;
        todo!()
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}
