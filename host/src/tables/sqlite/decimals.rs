//! Decimals are text in SQLite. Here is what makes a connection of ours order and sum them by number, exactly.
//!
//! A plain `sqlite3` does not have this: there, a decimal column compares and sorts as text, and `sum` adds doubles;
//! `ORDER BY CAST(total AS REAL)` is near enough for a look. What it reads is always the exact text.

use std::cmp::Ordering;

use lamphouse_contract::Decimal;
use rusqlite::Connection;
use rusqlite::functions::{Aggregate, Context, FunctionFlags, WindowAggregate};
use rusqlite::types::{Value as Stored, ValueRef};

/// Orders texts that are numbers by number.
pub(super) const COLLATION: &str = "lamphouse_decimal";

/// Digits after the point that an average has at the most.
const AVERAGE_SCALE_MAX: u8 = 16;

/// Makes [`COLLATION`] known to a connection.
pub(super) fn register_collation(connection: &Connection) -> rusqlite::Result<()> {
    connection.create_collation(COLLATION, compare)
}

/// Makes `sum` and `avg` exact where their values are decimals. `min` and `max` go by the collation.
pub(super) fn register_aggregates(connection: &Connection) -> rusqlite::Result<()> {
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_window_function("sum", 1, flags, Sum)?;
    connection.create_window_function("avg", 1, flags, Average)
}

/// Numbers by number, then other texts by their bytes.
fn compare(left: &str, right: &str) -> Ordering {
    match (Number::read(left), Number::read(right)) {
        (Some(left), Some(right)) => left.compare(&right),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => left.cmp(right),
    }
}

/// A number of any size, for comparisons.
enum Number {
    Exact(Decimal),
    /// Beyond 38 digits: above or below all decimals.
    Huge(bool),
}

impl Number {
    fn read(text: &str) -> Option<Self> {
        if let Ok(decimal) = Decimal::parse(text) {
            return Some(Self::Exact(decimal));
        }
        // How SQLite writes a large or small double that is compared with a column of text: `1.0e+20`.
        let value: f64 = text.parse().ok()?;
        if !value.is_finite() || !text.ends_with(|sign: char| sign.is_ascii_digit()) {
            return None;
        }
        match Decimal::parse(&format!("{value:.20}")).or_else(|_| Decimal::parse(&format!("{value:.0}"))) {
            Ok(decimal) => Some(Self::Exact(decimal)),
            Err(_) => Some(Self::Huge(value > 0.0)),
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Exact(left), Self::Exact(right)) => left.cmp(right),
            (Self::Exact(_), Self::Huge(above)) => below(*above),
            (Self::Huge(above), Self::Exact(_)) => below(!*above),
            (Self::Huge(left), Self::Huge(right)) => left.cmp(right),
        }
    }
}

fn below(is_below: bool) -> Ordering {
    if is_below {
        Ordering::Less
    } else {
        Ordering::Greater
    }
}

/// What has been added so far. Values can be taken out again, for window functions.
#[derive(Default)]
struct Total {
    values: i64,
    decimals: i64,
    reals: i64,
    /// The exact part: decimals and integers.
    mantissa: i128,
    scale: u8,
    /// The inexact part, with what its additions lost.
    real: f64,
    lost: f64,
}

impl Total {
    /// Adds (or, with `sign` -1, takes out) one value.
    fn add(&mut self, value: ValueRef<'_>, sign: i8) -> rusqlite::Result<()> {
        let step = i64::from(sign);
        match value {
            ValueRef::Null => return Ok(()),
            ValueRef::Integer(value) => self.add_exact(i128::from(value), 0, sign)?,
            ValueRef::Real(value) => self.add_real(value, sign),
            ValueRef::Text(text) => {
                let text = String::from_utf8_lossy(text);
                match Decimal::parse(&text) {
                    Ok(decimal) => {
                        self.decimals += step;
                        self.add_exact(decimal.mantissa(), decimal.scale(), sign)?;
                    }
                    Err(_) => self.add_real(text.trim().parse().unwrap_or(0.0), sign),
                }
            }
            ValueRef::Blob(_) => self.add_real(0.0, sign),
        }
        self.values += step;
        Ok(())
    }

    fn add_exact(&mut self, mantissa: i128, scale: u8, sign: i8) -> rusqlite::Result<()> {
        let common = self.scale.max(scale);
        let lift = |mantissa: i128, scale: u8| mantissa.checked_mul(10i128.pow(u32::from(common - scale)));
        let sum = lift(self.mantissa, self.scale)
            .zip(lift(mantissa * i128::from(sign), scale))
            .and_then(|(sum, value)| sum.checked_add(value));
        self.mantissa = sum.ok_or_else(|| overflow("the sum has more than 38 digits"))?;
        self.scale = common;
        Ok(())
    }

    /// Neumaier's sum: as exact as SQLite's own.
    fn add_real(&mut self, value: f64, sign: i8) {
        self.reals += i64::from(sign);
        let value = value * f64::from(sign);
        let sum = self.real + value;
        self.lost += if self.real.abs() > value.abs() {
            (self.real - sum) + value
        } else {
            (value - sum) + self.real
        };
        self.real = sum;
    }

    fn as_real(&self) -> f64 {
        self.mantissa as f64 / 10f64.powi(i32::from(self.scale)) + self.real + self.lost
    }

    /// NULL of nothing; a double if a double took part; a decimal's text if a decimal did; else an integer.
    fn sum(&self) -> rusqlite::Result<Stored> {
        if self.values == 0 {
            Ok(Stored::Null)
        } else if self.reals > 0 {
            Ok(Stored::Real(self.as_real()))
        } else if self.decimals > 0 {
            decimal(self.mantissa, self.scale)
        } else {
            let sum = i64::try_from(self.mantissa).map_err(|_| overflow("integer overflow"))?;
            Ok(Stored::Integer(sum))
        }
    }

    fn average(&self) -> rusqlite::Result<Stored> {
        if self.values == 0 {
            Ok(Stored::Null)
        } else if self.reals > 0 || self.decimals == 0 {
            Ok(Stored::Real(self.as_real() / self.values as f64))
        } else {
            self.decimal_average()
        }
    }

    /// With as many digits after the point as fit, up to a limit; rounded half away from zero.
    fn decimal_average(&self) -> rusqlite::Result<Stored> {
        let (mut mantissa, mut scale) = (self.mantissa, self.scale);
        while scale < AVERAGE_SCALE_MAX.max(self.scale) {
            let Some(longer) = mantissa
                .checked_mul(10)
                .filter(|longer| longer.unsigned_abs() < 10u128.pow(38))
            else {
                break;
            };
            mantissa = longer;
            scale += 1;
        }
        let count = i128::from(self.values);
        let (quotient, rest) = (mantissa / count, mantissa % count);
        let rounds_up = rest.abs() * 2 >= count;
        decimal(quotient + if rounds_up { mantissa.signum() } else { 0 }, scale)
    }
}

fn decimal(mantissa: i128, scale: u8) -> rusqlite::Result<Stored> {
    let decimal = Decimal::new(mantissa, scale).map_err(|_| overflow("the sum has more than 38 digits"))?;
    Ok(Stored::Text(decimal.to_string()))
}

fn overflow(message: &str) -> rusqlite::Error {
    rusqlite::Error::UserFunctionError(message.into())
}

struct Sum;
struct Average;

macro_rules! aggregate {
    ($function:ty, $result:ident) => {
        impl Aggregate<Total, Stored> for $function {
            fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Total> {
                Ok(Total::default())
            }

            fn step(&self, context: &mut Context<'_>, total: &mut Total) -> rusqlite::Result<()> {
                total.add(context.get_raw(0), 1)
            }

            fn finalize(&self, _: &mut Context<'_>, total: Option<Total>) -> rusqlite::Result<Stored> {
                total.unwrap_or_default().$result()
            }
        }

        impl WindowAggregate<Total, Stored> for $function {
            fn value(&self, total: Option<&mut Total>) -> rusqlite::Result<Stored> {
                total.map_or(Ok(Stored::Null), |total| total.$result())
            }

            fn inverse(&self, context: &mut Context<'_>, total: &mut Total) -> rusqlite::Result<()> {
                total.add(context.get_raw(0), -1)
            }
        }
    };
}

aggregate!(Sum, sum);
aggregate!(Average, average);

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(sql: &str) -> String {
        let connection = Connection::open_in_memory().unwrap();
        register_collation(&connection).unwrap();
        register_aggregates(&connection).unwrap();
        let value: Stored = connection.query_row(sql, [], |row| row.get(0)).unwrap();
        format!("{value:?}")
    }

    fn over(values: &str, expression: &str) -> String {
        answer(&format!(
            "WITH v(x) AS (VALUES {values}) SELECT {expression} FROM v"
        ))
    }

    #[test]
    fn sums_of_decimals_are_exact_and_others_stay_what_they_were() {
        assert_eq!(
            over("('0.10'), ('0.20'), ('12345678901234567890.00')", "sum(x)"),
            r#"Text("12345678901234567890.30")"#
        );
        assert_eq!(over("('1.5'), (2), (NULL)", "sum(x)"), r#"Text("3.5")"#);
        assert_eq!(over("(1), (2)", "sum(x)"), "Integer(3)");
        assert_eq!(over("(1), (0.5)", "sum(x)"), "Real(1.5)");
        assert_eq!(over("(NULL)", "sum(x)"), "Null");
        assert_eq!(over("('abc')", "sum(x)"), "Real(0.0)");
    }

    #[test]
    fn averages_of_decimals_are_decimals() {
        assert_eq!(
            over("('1.00'), ('2.00')", "avg(x)"),
            r#"Text("1.5000000000000000")"#
        );
        assert_eq!(
            over("('-1'), ('-1'), ('0')", "avg(x)"),
            r#"Text("-0.6666666666666667")"#
        );
        assert_eq!(over("(1), (2)", "avg(x)"), "Real(1.5)");
    }

    #[test]
    fn a_running_sum_takes_values_out_again() {
        let sql = "WITH v(x) AS (VALUES ('1.10'), ('2.20'), ('3.30')), \
                   s AS (SELECT sum(x) OVER (ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS s FROM v) \
                   SELECT group_concat(s, ' ') FROM s";
        assert_eq!(answer(sql), r#"Text("1.10 3.30 5.50")"#);
    }

    #[test]
    fn the_collation_goes_by_number() {
        let sorted = over(
            "('9'), ('10.5'), ('-3'), ('abc'), ('10.50'), ('1.0e+20'), ('2')",
            "x",
        );
        assert_eq!(sorted, r#"Text("9")"#);
        let sql = "WITH v(x) AS (VALUES ('9'), ('10.5'), ('-3'), ('abc'), ('1.0e+20'), ('2')), \
                   s AS (SELECT x FROM v ORDER BY x COLLATE lamphouse_decimal) SELECT group_concat(x, ' ') FROM s";
        assert_eq!(answer(sql), r#"Text("-3 2 9 10.5 1.0e+20 abc")"#);
        assert_eq!(
            answer("SELECT '1.50' = '1.5' COLLATE lamphouse_decimal"),
            "Integer(1)"
        );
    }
}
