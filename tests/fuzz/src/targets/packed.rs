//! The packed lane. The first byte says what the others are: changes, reads, answers, events,
//! lifted events.
//!
//! *Always:* what is read, written and read again is the same; an error names a byte of the input, in few words.

use lamphouse_contract::packed::{self, PackedError};

use crate::Target;

pub(crate) const PACKED: Target = Target {
    name: "packed",
    run,
    words: &[
        b"\xc0",
        b"\x90",
        b"\x91",
        b"\x92",
        b"\x93\x00\x00",
        b"\x94\x01\x00",
        b"\x94\x02\x00",
        b"\x93\x03\x00",
        b"\x9c",
        b"\xa1k",
        b"\xcb",
        b"\xca",
        b"\xcf",
        b"\xd3",
        b"\xc4\x01",
        b"\xc5\x00\x01",
        b"\xc6\x00\x00\x00\x01",
        b"\xd9\x01",
        b"\xda\x00\x01",
        b"\xdb\x00\x00\x00\x01",
        b"\xdc\x00\x01",
        b"\xdd\x00\x00\x00\x01",
        b"\xc7\x04\x01-1.5",
        b"\xd7\x02",
        b"\xc7\x02\x03{}",
        b"\xd6\x01",
        b"\xff",
        b"\xc3\xa9",
        b"\xed\xa0\x80",
    ],
    bytes_max: 4_096,
    memory_beside_max: 1 << 20,
};

fn run(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else {
        return;
    };
    match kind % 5 {
        0 => round(bytes, |bytes| {
            let changes: Result<Vec<_>, _> = packed::changes(bytes).collect();
            let mut again = Vec::new();
            changes?
                .iter()
                .for_each(|change| packed::write_change(&mut again, change));
            Ok(again)
        }),
        1 => round(bytes, |bytes| {
            let reads: Result<Vec<_>, _> = packed::reads(bytes).collect();
            let mut again = Vec::new();
            reads?
                .iter()
                .for_each(|(table, key)| packed::write_read(&mut again, *table, key));
            Ok(again)
        }),
        2 => round(bytes, |bytes| {
            let rows: Result<Vec<_>, _> = packed::answers(bytes).collect();
            let mut again = Vec::new();
            rows?
                .iter()
                .for_each(|row| packed::write_answer(&mut again, row.as_deref()));
            Ok(again)
        }),
        3 => round(bytes, |bytes| {
            let events: Result<Vec<_>, _> = packed::events(bytes).collect();
            let mut again = Vec::new();
            events?
                .iter()
                .for_each(|event| packed::write_event(&mut again, event));
            Ok(again)
        }),
        _ => round(bytes, |bytes| {
            let lists: Result<Vec<_>, _> = packed::lifted(bytes).collect();
            let mut again = Vec::new();
            for list in lists? {
                packed::write_lifted_count(&mut again, list.len());
                list.iter()
                    .for_each(|lifted| packed::write_lifted(&mut again, lifted));
            }
            Ok(again)
        }),
    }
}

/// Reads and writes, twice: compared as bytes, because a NaN is not equal to itself.
fn round(bytes: &[u8], read_and_write: impl Fn(&[u8]) -> Result<Vec<u8>, PackedError>) {
    match read_and_write(bytes) {
        Ok(once) => {
            // A float 32 becomes a float 64, and takes 4 bytes more; everything else is at most as long.
            assert!(
                once.len() <= 2 * bytes.len(),
                "{} bytes of {}",
                once.len(),
                bytes.len()
            );
            assert_eq!(
                read_and_write(&once),
                Ok(once),
                "what was written is read as something else"
            );
        }
        Err(PackedError(why)) => {
            assert!(why.len() <= 300, "a long message: {why}");
            let after = why.split(" byte ").nth(1).unwrap_or_default();
            let place = after
                .split([':', ','])
                .next()
                .unwrap_or_default()
                .parse::<usize>();
            assert!(
                place.is_ok_and(|place| place <= bytes.len()),
                "no place is named: {why}"
            );
        }
    }
}
