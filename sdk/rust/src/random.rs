/// Random numbers that come from an event: the same ones whenever it is projected. Not for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub(crate) fn new(id: &str, part: u32) -> Self {
        // FNV-1a over the id and the part; the generator below mixes it well.
        let bytes = id.bytes().chain(part.to_le_bytes());
        Self(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        }))
    }

    /// 64 random bits (SplitMix64).
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number from 0 up to, but not, `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The upper half of a product: no bias worth speaking of for an `end` far below 2^64.
        ((u128::from(self.next_u64()) * u128::from(end)) >> 64) as u64
    }

    /// A number from 0 up to, but not, 1.
    pub fn fraction(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A random UUID (version 4) as text.
    pub fn uuid(&mut self) -> String {
        let (high, low) = (self.next_u64(), self.next_u64());
        let high = (high & !0xf000) | 0x4000;
        let low = (low & !(0b11 << 62)) | (0b10 << 62);
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_same_event_gives_the_same_numbers() {
        let (mut one, mut two) = (Random::new("id", 0), Random::new("id", 0));
        assert_eq!(
            [one.next_u64(), one.below(6), one.next_u64()],
            [two.next_u64(), two.below(6), two.next_u64()]
        );
        assert_ne!(Random::new("id", 0).next_u64(), Random::new("id", 1).next_u64());
        assert!((0..1000).all(|_| one.below(6) < 6 && one.fraction() < 1.0));
        let uuid = one.uuid();
        assert_eq!((uuid.len(), &uuid[14..15]), (36, "4"), "{uuid}");
        assert!("89ab".contains(&uuid[19..20]), "{uuid}");
    }

    /// Every SDK reads `wit/golden/random.json`. To write it anew: `LAMPHOUSE_WRITE_GOLDEN=1 cargo test -p
    /// lamphouse-sdk random`.
    #[test]
    fn the_numbers_are_those_of_the_golden_file() {
        let ids = [
            ("", 0),
            ("0193a5e0-0000-7000-8000-000000000001", 0),
            ("0193a5e0-0000-7000-8000-000000000001", 1),
            ("größe-🏮", 70_000),
        ];
        let made: serde_json::Value = ids
            .map(|(id, part)| {
                let mut random = Random::new(id, part);
                serde_json::json!({
                    "id": id,
                    "part": part,
                    "next_u64": [random.next_u64().to_string(), random.next_u64().to_string()],
                    "below_6": [random.below(6), random.below(6), random.below(6)],
                    "below_2_to_the_63": random.below(1 << 63).to_string(),
                    "below_0": random.below(0),
                    "fraction": random.fraction(),
                    "uuid": random.uuid(),
                })
            })
            .into_iter()
            .collect();
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit/golden/random.json");
        if std::env::var_os("LAMPHOUSE_WRITE_GOLDEN").is_some() {
            let vectors: Vec<String> = made
                .as_array()
                .unwrap()
                .iter()
                .map(|vector| vector.to_string())
                .collect();
            std::fs::write(file, format!("[\n{}\n]\n", vectors.join(",\n"))).unwrap();
        }
        let written: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        assert_eq!(written, made);
    }
}
