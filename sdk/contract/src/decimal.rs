use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

/// An exact decimal: `mantissa / 10^scale`, 38 digits at the most.
///
/// Equality, order and hash go by the number: `1.5` equals `1.50`. Its text keeps the scale: `1.50` stays `1.50`.
/// A column's values all have the column's scale (see [`crate::semantics::conform_row`]), so that there both agree.
///
/// ```
/// # use lamphouse_contract::Decimal;
/// let price = Decimal::parse("12.50")?;
/// let total = price.checked_mul(3)?.checked_add(&Decimal::from(1))?;
/// assert_eq!(total.to_string(), "38.50");
/// # Ok::<(), lamphouse_contract::DecimalError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Decimal {
    // Two words instead of an i128, so that a `Value` stays 8-byte aligned.
    high: i64,
    low: u64,
    scale: u8,
}

/// Digits of a decimal, in all, and after the point.
pub const DECIMAL_DIGITS_MAX: u8 = 38;

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

impl fmt::Display for DecimalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(text) => {
                write!(
                    f,
                    "'{}' is not a decimal of the form [-]digits[.digits]",
                    crate::semantics::shown(text)
                )
            }
            Self::Overflow => write!(f, "more than {DECIMAL_DIGITS_MAX} digits"),
            Self::Scale { digits, scale } => {
                write!(
                    f,
                    "{digits} digits after the point where {scale} are kept (nothing is rounded)"
                )
            }
        }
    }
}

impl std::error::Error for DecimalError {}

const POWERS: [u128; 39] = {
    let mut powers = [1; 39];
    let mut n = 1;
    while n < 39 {
        powers[n] = powers[n - 1] * 10;
        n += 1;
    }
    powers
};

const MANTISSA_MAX: u128 = POWERS[38] - 1;

impl Decimal {
    /// Nothing, without digits after the point.
    pub const ZERO: Self = Self {
        high: 0,
        low: 0,
        scale: 0,
    };

    /// `mantissa / 10^scale`; more than 38 digits (of either) is an overflow.
    pub const fn new(mantissa: i128, scale: u8) -> Result<Self, DecimalError> {
        if mantissa.unsigned_abs() > MANTISSA_MAX || scale > DECIMAL_DIGITS_MAX {
            return Err(DecimalError::Overflow);
        }
        Ok(Self {
            high: (mantissa >> 64) as i64,
            low: mantissa as u64,
            scale,
        })
    }

    /// The digits as a whole number.
    pub const fn mantissa(&self) -> i128 {
        ((self.high as i128) << 64) | self.low as i128
    }

    /// The mantissa where it fits one word, as nearly all do. Arithmetic of two words is several times slower, above
    /// all in the sandbox, whose words have 64 bits.
    #[inline]
    const fn word(&self) -> Option<i64> {
        let low = self.low as i64;
        if self.high == low >> 63 { Some(low) } else { None }
    }

    /// A mantissa of one word; it has fewer digits than a decimal may have.
    #[inline]
    const fn of_word(mantissa: i64, scale: u8) -> Self {
        Self {
            high: mantissa >> 63,
            low: mantissa as u64,
            scale,
        }
    }

    /// The product where both fit half a word, so that it cannot overflow.
    #[inline]
    fn of_halves(&self, times: i64, scale: u8) -> Option<Self> {
        let own = i32::try_from(self.word()?).ok()?;
        let times = i32::try_from(times).ok()?;
        Some(Self::of_word(i64::from(own) * i64::from(times), scale))
    }

    /// Digits after the point.
    pub const fn scale(&self) -> u8 {
        self.scale
    }

    /// Whether it is nothing.
    pub const fn is_zero(&self) -> bool {
        self.high == 0 && self.low == 0
    }

    /// Whether it is below nothing.
    pub const fn is_negative(&self) -> bool {
        self.high < 0
    }

    /// Reads `[-]digits[.digits]`: no sign but `-`, no exponent, at least one digit on each side of a point.
    /// Digits after the point become the scale; `-0` is `0`.
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        Self::parse_ascii(text.as_bytes())
    }

    /// [`Self::parse`] for bytes that are not known to be UTF-8.
    pub fn parse_ascii(text: &[u8]) -> Result<Self, DecimalError> {
        let syntax = || DecimalError::Syntax(String::from_utf8_lossy(text).into_owned());
        let (negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            _ => (false, text),
        };
        let mut point = None;
        let mut small = 0u64;
        let mut large = 0u128;
        let mut overflow = false;
        for (at, &byte) in digits.iter().enumerate() {
            let digit = byte.wrapping_sub(b'0');
            if digit < 10 {
                // The first 18 digits fit a word; most numbers are done with that.
                if at < 18 {
                    small = small * 10 + u64::from(digit);
                    large = u128::from(small);
                } else {
                    // Bounded, so that ten times as much and nine stays within the 38 digits.
                    overflow |= large > MANTISSA_MAX / 10;
                    large = if overflow {
                        0
                    } else {
                        large * 10 + u128::from(digit)
                    };
                }
            } else if byte == b'.' && point.is_none() && at > 0 {
                point = Some(at);
            } else {
                return Err(syntax());
            }
        }
        let scale = match point {
            None if digits.is_empty() => return Err(syntax()),
            None => 0,
            Some(at) if at + 1 == digits.len() => return Err(syntax()),
            Some(at) => digits.len() - at - 1,
        };
        if overflow || large > MANTISSA_MAX || scale > usize::from(DECIMAL_DIGITS_MAX) {
            return Err(DecimalError::Overflow);
        }
        let mantissa = large as i128;
        Self::new(if negative { -mantissa } else { mantissa }, scale as u8)
    }

    /// The same number with another scale; never rounds. Zeros at the end may go, other digits may not.
    pub fn rescale(&self, scale: u8) -> Result<Self, DecimalError> {
        match scale.cmp(&self.scale) {
            Ordering::Equal => Ok(*self),
            Ordering::Greater => {
                let power = POWERS
                    .get(usize::from(scale - self.scale))
                    .ok_or(DecimalError::Overflow)?;
                if *power <= i32::MAX as u128
                    && let Some(quick) = self.of_halves(*power as i64, scale)
                {
                    return Ok(quick);
                }
                let mantissa = self
                    .mantissa()
                    .checked_mul(*power as i128)
                    .ok_or(DecimalError::Overflow)?;
                Self::new(mantissa, scale)
            }
            Ordering::Less => {
                let power = POWERS[usize::from(self.scale - scale)] as i128;
                let mantissa = self.mantissa();
                if mantissa % power != 0 {
                    return Err(DecimalError::Scale {
                        digits: self.normal().1,
                        scale,
                    });
                }
                Self::new(mantissa / power, scale)
            }
        }
    }

    /// The sum, at the larger scale.
    #[inline]
    pub fn checked_add(&self, other: &Self) -> Result<Self, DecimalError> {
        let mut sum = *self;
        match sum.add_word(other) {
            true => Ok(sum),
            false => self.wide_sum(other),
        }
    }

    /// Adds another of the same scale where both and the sum fit one word; else does nothing and says false.
    #[inline]
    pub(crate) fn add_word(&mut self, other: &Self) -> bool {
        let sum = match (self.word(), other.word()) {
            (Some(left), Some(right)) if self.scale == other.scale => left.checked_add(right),
            _ => None,
        };
        *self = sum.map_or(*self, |sum| Self::of_word(sum, self.scale));
        sum.is_some()
    }

    /// Two numbers of 38 digits may have a sum that two words do not hold.
    fn wide_sum(&self, other: &Self) -> Result<Self, DecimalError> {
        let scale = self.scale.max(other.scale);
        let (left, right) = (self.rescale(scale)?, other.rescale(scale)?);
        let sum = left.mantissa().checked_add(right.mantissa());
        Self::new(sum.ok_or(DecimalError::Overflow)?, scale)
    }

    /// The difference, at the larger scale.
    pub fn checked_sub(&self, other: &Self) -> Result<Self, DecimalError> {
        self.checked_add(&-*other)
    }

    /// So many times itself, at its own scale.
    pub fn checked_mul(&self, times: i64) -> Result<Self, DecimalError> {
        if let Some(quick) = self.of_halves(times, self.scale) {
            return Ok(quick);
        }
        let mantissa = self
            .mantissa()
            .checked_mul(i128::from(times))
            .ok_or(DecimalError::Overflow)?;
        Self::new(mantissa, self.scale)
    }

    /// The canonical text, into a buffer of one's own: no allocation, no formatter.
    pub fn encode<'b>(&self, buffer: &'b mut DecimalBuffer) -> &'b str {
        let text = &mut buffer.0;
        let scale = usize::from(self.scale);
        let mut at = text.len();
        let mut large = self.mantissa().unsigned_abs();
        // Dividing two words is slow; most numbers fit one.
        while large > u128::from(u64::MAX) {
            at -= 1;
            text[at] = b'0' + (large % 10) as u8;
            large /= 10;
        }
        let mut small = large as u64;
        // At least one digit before the point.
        while small > 0 || text.len() - at <= scale {
            at -= 1;
            text[at] = b'0' + (small % 10) as u8;
            small /= 10;
        }
        if scale > 0 {
            let point = text.len() - scale - 1;
            text.copy_within(at..=point, at - 1);
            text[point] = b'.';
            at -= 1;
        }
        if self.is_negative() {
            at -= 1;
            text[at] = b'-';
        }
        std::str::from_utf8(&text[at..]).expect("invariant: digits, point and sign are ASCII")
    }

    /// Mantissa and scale without zeros at the end: equal for equal numbers.
    fn normal(&self) -> (i128, u8) {
        let (mut mantissa, mut scale) = (self.mantissa(), self.scale);
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        (mantissa, scale)
    }
}

/// Room for the text of any decimal: see [`Decimal::encode`].
#[derive(Clone, Debug)]
pub struct DecimalBuffer([u8; 44]);

impl Default for DecimalBuffer {
    fn default() -> Self {
        Self([0; 44])
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.encode(&mut DecimalBuffer::default()))
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encode(&mut DecimalBuffer::default()))
    }
}

impl std::str::FromStr for Decimal {
    type Err = DecimalError;
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        Self::parse(text)
    }
}

impl Default for Decimal {
    fn default() -> Self {
        Self::ZERO
    }
}

impl From<i64> for Decimal {
    fn from(number: i64) -> Self {
        Self::of_word(number, 0)
    }
}

impl std::ops::Neg for Decimal {
    type Output = Self;
    fn neg(self) -> Self {
        Self::new(-self.mantissa(), self.scale)
            .expect("invariant: the bounds are the same on both sides of zero")
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.scale == other.scale {
            return self.mantissa().cmp(&other.mantissa());
        }
        let scale = self.scale.max(other.scale);
        let at = |number: &Self| {
            number
                .mantissa()
                .checked_mul(POWERS[usize::from(scale - number.scale)] as i128)
        };
        match (at(self), at(other)) {
            (Some(left), Some(right)) => left.cmp(&right),
            // Only one is scaled up; if that overflows, it is the larger in size.
            (None, _) => 0.cmp(&-self.mantissa().signum()),
            (_, None) => 0.cmp(&other.mantissa().signum()),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Decimal {}

impl Hash for Decimal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.normal().hash(state);
    }
}

impl Serialize for Decimal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.encode(&mut DecimalBuffer::default()))
    }
}

/// From text, or from a whole number. A JSON number with a point is refused: it may have been rounded on its way.
impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Decimal;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal as text, or a whole number")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Decimal, E> {
                Decimal::parse(text).map_err(E::custom)
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Decimal, E> {
                Ok(Decimal::from(number))
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Decimal, E> {
                Decimal::new(i128::from(number), 0).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
