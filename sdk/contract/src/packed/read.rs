//! Reads the pieces of the packed format: every valid encoding, and nothing that is not there.

use super::PackedError;
use super::write::{EXT_DECIMAL, EXT_JSON, EXT_TIMESTAMP};
use crate::{Decimal, Value, ValueRef};

/// Reads piece after piece from packed bytes. After an error, where it stands is of no use.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

type Result<T> = std::result::Result<T, PackedError>;

/// Entries that memory is reserved for on the word of an array's head; more grow as they come.
pub(super) const RESERVE_MAX: usize = 256;

impl<'a> Reader<'a> {
    /// From the first byte.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Whether every byte was read.
    #[inline]
    pub fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Bytes read so far.
    #[inline]
    pub fn position(&self) -> usize {
        self.at
    }

    /// The bytes that were read since `start`.
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    /// Opens an array; gives how many entries follow. The number is not to be trusted for reserving memory.
    #[inline]
    pub fn array(&mut self) -> Result<usize> {
        match self.byte()? {
            tag @ 0x90..=0x9f => Ok(usize::from(tag & 0x0f)),
            0xdc => Ok(usize::from(u16::from_be_bytes(self.take()?))),
            0xdd => Ok(u32::from_be_bytes(self.take()?) as usize),
            tag => Err(self.unexpected(tag, "an array")),
        }
    }

    /// Opens an array, or reads nil as None.
    #[inline]
    pub fn array_or_nil(&mut self) -> Result<Option<usize>> {
        match self.nil() {
            true => Ok(None),
            false => self.array().map(Some),
        }
    }

    /// An unsigned integer.
    #[inline]
    pub fn uint(&mut self) -> Result<u64> {
        let tag = self.byte()?;
        // The one form that an integer with a sign cannot hold.
        if tag == 0xcf {
            return Ok(u64::from_be_bytes(self.take()?));
        }
        let number = self
            .int_of(tag)?
            .ok_or_else(|| self.unexpected(tag, "an unsigned integer"))?;
        u64::try_from(number).map_err(|_| self.error("an unsigned integer is negative"))
    }

    /// An unsigned integer below 2^32.
    #[inline]
    pub fn uint32(&mut self) -> Result<u32> {
        u32::try_from(self.uint()?).map_err(|_| self.error("a number does not fit 32 bits"))
    }

    /// A signed integer.
    #[inline]
    pub fn int(&mut self) -> Result<i64> {
        let tag = self.byte()?;
        self.int_of(tag)?
            .ok_or_else(|| self.unexpected(tag, "an integer"))
    }

    /// A text.
    #[inline]
    pub fn str(&mut self) -> Result<&'a str> {
        let tag = self.byte()?;
        match self.str_of(tag)? {
            Some(text) => Ok(text),
            None => Err(self.unexpected(tag, "a text")),
        }
    }

    /// A text, or nil as None.
    #[inline]
    pub fn str_or_nil(&mut self) -> Result<Option<&'a str>> {
        match self.nil() {
            true => Ok(None),
            false => self.str().map(Some),
        }
    }

    /// Whether nil is next, which is read then.
    #[inline]
    pub fn nil(&mut self) -> bool {
        let is_nil = self.bytes.get(self.at) == Some(&0xc0);
        self.at += usize::from(is_nil);
        is_nil
    }

    /// Bytes.
    #[inline]
    pub fn bin(&mut self) -> Result<&'a [u8]> {
        let tag = self.byte()?;
        if !(0xc4..=0xc6).contains(&tag) {
            return Err(self.unexpected(tag, "a byte list"));
        }
        let length = self.length(tag - 0xc4)?;
        self.slice(length)
    }

    /// A value; its text is borrowed.
    #[inline]
    pub fn value(&mut self) -> Result<ValueRef<'a>> {
        let tag = self.byte()?;
        Ok(match tag {
            0xc0 => ValueRef::Null,
            0xc2 => ValueRef::Boolean(false),
            0xc3 => ValueRef::Boolean(true),
            0xcb => ValueRef::Real(f64::from_be_bytes(self.take()?)),
            0xca => ValueRef::Real(f64::from(f32::from_be_bytes(self.take()?))),
            0xc4..=0xc6 => {
                let length = self.length(tag - 0xc4)?;
                ValueRef::Bytes(self.slice(length)?)
            }
            0xc7..=0xc9 => {
                let length = self.length(tag - 0xc7)?;
                self.ext(length)?
            }
            0xd4..=0xd8 => self.ext(1 << (tag - 0xd4))?,
            _ => {
                if let Some(text) = self.str_of(tag)? {
                    return Ok(ValueRef::Text(text));
                }
                let number = self.int_of(tag)?;
                ValueRef::Integer(number.ok_or_else(|| self.unexpected(tag, "a value"))?)
            }
        })
    }

    /// A row or a key.
    #[inline]
    pub fn values(&mut self) -> Result<Box<[Value]>> {
        let count = self.array()?;
        self.values_of(count)
    }

    /// So many values, of an array that was opened already.
    pub fn values_of(&mut self, count: usize) -> Result<Box<[Value]>> {
        // A value takes at least one byte, so a count beyond the bytes that are left is a lie.
        self.plausible(count)?;
        let mut values = Vec::with_capacity(count.min(RESERVE_MAX));
        for _ in 0..count {
            values.push(self.value()?.to_value());
        }
        Ok(values.into_boxed_slice())
    }

    /// Refuses an array that cannot be whole in the bytes that are left.
    #[inline]
    pub(super) fn plausible(&self, count: usize) -> Result<()> {
        if count > self.bytes.len() - self.at {
            return Err(self.error("an array is longer than the bytes that are left"));
        }
        Ok(())
    }

    pub(super) fn error(&self, what: impl std::fmt::Display) -> PackedError {
        PackedError(format!("packed bytes, before byte {}: {what}", self.at))
    }

    #[cold]
    fn unexpected(&self, tag: u8, wanted: &str) -> PackedError {
        self.error(format_args!("found tag 0x{tag:02x} where {wanted} is due"))
    }

    #[inline]
    fn byte(&mut self) -> Result<u8> {
        match self.bytes.get(self.at) {
            Some(&byte) => {
                self.at += 1;
                Ok(byte)
            }
            None => Err(self.cut_off()),
        }
    }

    #[inline]
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        match self.bytes[self.at..].first_chunk() {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(self.cut_off()),
        }
    }

    #[inline]
    fn slice(&mut self, length: usize) -> Result<&'a [u8]> {
        match self.bytes[self.at..].get(..length) {
            Some(bytes) => {
                self.at += length;
                Ok(bytes)
            }
            None => Err(self.cut_off()),
        }
    }

    #[cold]
    fn cut_off(&self) -> PackedError {
        PackedError(format!(
            "packed bytes end at byte {}, within a piece that began before",
            self.bytes.len()
        ))
    }

    /// The 8, 16 or 32-bit length after a tag: `width` 0, 1 or 2.
    #[inline]
    fn length(&mut self, width: u8) -> Result<usize> {
        Ok(match width {
            0 => usize::from(self.byte()?),
            1 => usize::from(u16::from_be_bytes(self.take()?)),
            _ => u32::from_be_bytes(self.take()?) as usize,
        })
    }

    /// The integer behind a tag; None if the tag is of something else.
    #[inline]
    fn int_of(&mut self, tag: u8) -> Result<Option<i64>> {
        Ok(Some(match tag {
            0x00..=0x7f => i64::from(tag),
            0xe0..=0xff => i64::from(tag as i8),
            0xcc => i64::from(self.byte()?),
            0xcd => i64::from(u16::from_be_bytes(self.take()?)),
            0xce => i64::from(u32::from_be_bytes(self.take()?)),
            0xcf => i64::try_from(u64::from_be_bytes(self.take()?))
                .map_err(|_| self.error("an integer does not fit 64 bits with a sign"))?,
            0xd0 => i64::from(self.byte()? as i8),
            0xd1 => i64::from(i16::from_be_bytes(self.take()?)),
            0xd2 => i64::from(i32::from_be_bytes(self.take()?)),
            0xd3 => i64::from_be_bytes(self.take()?),
            _ => return Ok(None),
        }))
    }

    #[inline]
    fn str_of(&mut self, tag: u8) -> Result<Option<&'a str>> {
        let length = match tag {
            0xa0..=0xbf => usize::from(tag & 0x1f),
            0xd9..=0xdb => self.length(tag - 0xd9)?,
            _ => return Ok(None),
        };
        let bytes = self.slice(length)?;
        self.utf8(bytes, "a text").map(Some)
    }

    #[inline]
    fn utf8(&self, bytes: &'a [u8], what: &str) -> Result<&'a str> {
        if is_ascii(bytes) {
            // SAFETY: bytes below 0x80 are UTF-8, each by itself.
            return Ok(unsafe { std::str::from_utf8_unchecked(bytes) });
        }
        std::str::from_utf8(bytes).map_err(|error| self.error(format_args!("{what} is not UTF-8: {error}")))
    }

    fn ext(&mut self, length: usize) -> Result<ValueRef<'a>> {
        let kind = self.byte()? as i8;
        let bytes = self.slice(length)?;
        match kind {
            EXT_DECIMAL => Decimal::parse_ascii(bytes)
                .map(ValueRef::Decimal)
                .map_err(|error| self.error(error)),
            EXT_TIMESTAMP => match bytes.try_into() {
                Ok(bytes) => Ok(ValueRef::Timestamp(i64::from_be_bytes(bytes))),
                Err(_) => Err(self.error(format_args!("a timestamp has {length} bytes instead of 8"))),
            },
            EXT_JSON => self.utf8(bytes, "JSON").map(ValueRef::Json),
            _ => Err(self.error(format_args!("extension type {kind} is unknown"))),
        }
    }
}

/// Whether every byte is below 0x80. Most texts are short and are: the standard library's checks look at single bytes up
/// to the next aligned word, which costs the sandbox half of its time to read an event.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let is_high = |word: &[u8; 8]| u64::from_le_bytes(*word) & HIGH != 0;
    match bytes.last_chunk() {
        // The last eight bytes take in what is left behind whole words.
        Some(last) => !is_high(last) && !bytes.as_chunks().0.iter().any(is_high),
        None => bytes.iter().all(|byte| *byte < 0x80),
    }
}
